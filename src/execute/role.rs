//! CREATE, ALTER and DROP ROLE. Passwords become SCRAM verifiers before they reach the catalog.

use super::output::Output;
use super::road::Road;
use crate::auth::scram;
use crate::catalog::{Document, Role};
use crate::encode::input;
use crate::error::{Error, Result, Severity, SqlState};
use crate::sql::{AlterRole, CreateRole, DropRole, RoleOptions};

pub(crate) async fn create(road: &mut Road<'_>, statement: &CreateRole) -> Result<Output> {
    let name = statement.name.value.as_str();
    require_role_administration(road, &statement.options, "create role")?;
    if name.starts_with("pg_") {
        return Err(Error::new(SqlState::ReservedName, format!("role name \"{name}\" is reserved"))
            .with_detail("Role names starting with \"pg_\" are reserved."));
    }
    if matches!(name, "public" | "none") {
        return Err(Error::new(SqlState::ReservedName, format!("role name \"{name}\" is reserved")));
    }
    let iterations = road.scram_iterations();
    let verifier = new_verifier(statement.options.password.as_ref(), iterations).await?;
    let mut options = statement.options.clone();
    options.valid_until = valid_until(road, options.valid_until.as_deref())?;
    let if_not_exists = statement.if_not_exists;
    let defined = name.to_owned();
    let created = road
        .define(move |document| {
            let name = defined.as_str();
            if document.roles.contains_key(name) {
                if if_not_exists {
                    return Ok(false);
                }
                return Err(Error::new(SqlState::DuplicateObject, format!("role \"{name}\" already exists")));
            }
            let mut role = Role {
                oid: document.take_oid(),
                superuser: false,
                login: false,
                create_role: false,
                create_database: false,
                inherit: true,
                connection_limit: -1,
                verifier: None,
                valid_until: None,
            };
            apply(&mut role, &options, verifier.as_ref());
            document.roles.insert(name.to_owned(), role);
            Ok(true)
        })
        .await?;
    if !created {
        road.notice(Error::notice(
            Severity::Notice,
            SqlState::DuplicateObject,
            format!("role \"{name}\" already exists, skipping"),
        ));
    }
    Ok(Output::Done("CREATE ROLE".into()))
}

pub(crate) async fn alter(road: &mut Road<'_>, statement: &AlterRole) -> Result<Output> {
    let name = statement.name.value.as_str();
    let only_password = is_only_password(&statement.options) && statement.rename_to.is_none();
    // As in PostgreSQL, everybody may change the own password.
    if !(only_password && name == road.context.user) {
        require_role_administration(road, &statement.options, "alter role")?;
    }
    let iterations = road.scram_iterations();
    let verifier = new_verifier(statement.options.password.as_ref(), iterations).await?;
    let mut options = statement.options.clone();
    options.valid_until = valid_until(road, options.valid_until.as_deref())?;
    let superuser = road.session.superuser;
    let session_user = road.context.session_user.clone();
    let (defined, rename_to) = (name.to_owned(), statement.rename_to.clone());
    road.define(move |document| {
        let name = defined.as_str();
        let Some(role) = document.roles.get_mut(name) else { return Err(missing(name)) };
        if role.superuser && !superuser {
            return Err(Error::new(SqlState::InsufficientPrivilege, "must be superuser to alter superuser roles"));
        }
        apply(role, &options, verifier.as_ref());
        let Some(new_name) = &rename_to else { return keep_a_superuser(document) };
        if name == session_user {
            return Err(Error::new(SqlState::FeatureNotSupported, "session user cannot be renamed"));
        }
        if document.roles.contains_key(&new_name.value) {
            return Err(Error::new(SqlState::DuplicateObject, format!("role \"{}\" already exists", new_name.value)));
        }
        if let Some(role) = document.roles.remove(name) {
            document.roles.insert(new_name.value.clone(), role);
        }
        Ok(())
    })
    .await?;
    Ok(Output::Done("ALTER ROLE".into()))
}

pub(crate) async fn drop(road: &mut Road<'_>, statement: &DropRole) -> Result<Output> {
    require_role_administration(road, &RoleOptions::default(), "drop role")?;
    let superuser = road.session.superuser;
    let current = road.context.user.clone();
    let session_user = road.context.session_user.clone();
    let asked = statement.clone();
    let skipped = road
        .define(move |document| {
            let statement = &asked;
            let mut skipped = Vec::new();
            for name in &statement.names {
                let name = name.value.as_str();
                let Some(role) = document.roles.get(name) else {
                    if statement.if_exists {
                        skipped.push(name.to_owned());
                        continue;
                    }
                    return Err(missing(name));
                };
                if name == current {
                    return Err(Error::new(SqlState::ObjectInUse, "current user cannot be dropped"));
                }
                if name == session_user {
                    return Err(Error::new(SqlState::ObjectInUse, "session user cannot be dropped"));
                }
                if role.superuser && !superuser {
                    return Err(Error::new(SqlState::InsufficientPrivilege, "must be superuser to drop superusers"));
                }
                refuse_owner(document, name, role.oid)?;
                document.roles.remove(name);
            }
            keep_a_superuser(document)?;
            Ok(skipped)
        })
        .await?;
    for name in skipped {
        road.notice(Error::notice(
            Severity::Notice,
            SqlState::UndefinedObject,
            format!("role \"{name}\" does not exist, skipping"),
        ));
    }
    Ok(Output::Done("DROP ROLE".into()))
}

fn missing(name: &str) -> Error {
    Error::new(SqlState::UndefinedObject, format!("role \"{name}\" does not exist"))
}

/// Superusers may do anything with roles; CREATEROLE anything but what makes or touches superusers.
fn require_role_administration(road: &Road<'_>, options: &RoleOptions, action: &str) -> Result<()> {
    if road.session.superuser {
        return Ok(());
    }
    if options.superuser == Some(true) {
        return Err(Error::new(SqlState::InsufficientPrivilege, "must be superuser to create superusers"));
    }
    let may = road.snapshot.roles.get(&road.context.user).is_some_and(|role| role.create_role);
    if may {
        return Ok(());
    }
    Err(Error::new(SqlState::InsufficientPrivilege, format!("permission denied to {action}")))
}

fn is_only_password(options: &RoleOptions) -> bool {
    let RoleOptions {
        superuser,
        login,
        create_role,
        create_database,
        inherit,
        connection_limit,
        password,
        valid_until,
    } = options;
    password.is_some()
        && superuser.is_none()
        && login.is_none()
        && create_role.is_none()
        && create_database.is_none()
        && inherit.is_none()
        && connection_limit.is_none()
        && valid_until.is_none()
}

/// `Some(None)` removes the verifier; hashing takes milliseconds and leaves the async threads alone.
async fn new_verifier(password: Option<&Option<String>>, iterations: u32) -> Result<Option<Option<String>>> {
    let Some(password) = password else { return Ok(None) };
    let Some(password) = password.clone() else { return Ok(Some(None)) };
    if password.is_empty() {
        return Ok(Some(None));
    }
    let verifier = tokio::task::spawn_blocking(move || scram::verifier_to_store(&password, iterations))
        .await
        .map_err(|error| Error::internal("hashing a password failed").with_source(error))??;
    Ok(Some(Some(verifier)))
}

/// The moment as RFC 3339, or `infinity`; 22007 for what is none.
fn valid_until(road: &Road<'_>, text: Option<&str>) -> Result<Option<String>> {
    let Some(text) = text else { return Ok(None) };
    let micros = input::timestamptz(text, -1, &road.input_context())?;
    Ok(Some(match micros {
        i64::MAX => "infinity".to_owned(),
        // A moment before all others: the password is not valid.
        i64::MIN => chrono::DateTime::<chrono::Utc>::MIN_UTC.to_rfc3339(),
        micros => chrono::DateTime::from_timestamp_micros(micros)
            .unwrap_or(chrono::DateTime::<chrono::Utc>::MAX_UTC)
            .to_rfc3339(),
    }))
}

fn apply(role: &mut Role, options: &RoleOptions, verifier: Option<&Option<String>>) {
    let RoleOptions {
        superuser,
        login,
        create_role,
        create_database,
        inherit,
        connection_limit,
        password: _,
        valid_until,
    } = options;
    role.superuser = superuser.unwrap_or(role.superuser);
    role.login = login.unwrap_or(role.login);
    role.create_role = create_role.unwrap_or(role.create_role);
    role.create_database = create_database.unwrap_or(role.create_database);
    role.inherit = inherit.unwrap_or(role.inherit);
    role.connection_limit = connection_limit.unwrap_or(role.connection_limit);
    if let Some(verifier) = verifier {
        role.verifier = verifier.clone();
    }
    if let Some(until) = valid_until {
        role.valid_until = Some(until.clone());
    }
}

/// A server without a superuser who may log in could never be administered again.
fn keep_a_superuser(document: &Document) -> Result<()> {
    if document.roles.values().any(|role| role.superuser && role.login) {
        return Ok(());
    }
    Err(Error::new(SqlState::DependentObjectsStillExist, "the last superuser who may log in cannot be taken away"))
}

fn refuse_owner(document: &Document, name: &str, oid: u32) -> Result<()> {
    let mut owned = Vec::new();
    if document.database.owner == oid {
        owned.push(format!("owner of database {}", document.database.name));
    }
    for (schema_name, schema) in &document.schemas {
        if schema.owner == oid {
            owned.push(format!("owner of schema {schema_name}"));
        }
        for (relation_name, relation) in &schema.relations {
            if relation.owner == oid {
                owned.push(format!("owner of {} {schema_name}.{relation_name}", relation.kind.noun()));
            }
        }
        for (model_name, model) in &schema.models {
            if model.owner == oid {
                owned.push(format!("owner of model {schema_name}.{model_name}"));
            } else if model.users.contains(&oid) {
                owned.push(format!("privileges for model {schema_name}.{model_name}"));
            }
        }
    }
    if owned.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        SqlState::DependentObjectsStillExist,
        format!("role \"{name}\" cannot be dropped because some objects depend on it"),
    )
    .with_detail(owned.join("\n")))
}
