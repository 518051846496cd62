//! ALTER SCHEMA … RENAME TO, OWNER TO.

use super::alter::owner_oid;
use super::create_schema::{check_name, require_create};
use super::drop::require_owner;
use super::output::Output;
use super::road::{Road, is_system_schema};
use crate::error::{Error, Result, SqlState};
use crate::sql::{AlterSchema, AlterSchemaChange};

pub(crate) async fn run(road: &mut Road<'_>, statement: &AlterSchema) -> Result<Output> {
    let name = statement.name.value.clone();
    let missing = |name: &str| Error::new(SqlState::InvalidSchemaName, format!("schema \"{name}\" does not exist"));
    if is_system_schema(&name) {
        return Err(Error::new(SqlState::InsufficientPrivilege, format!("must be owner of schema {name}")));
    }
    let Some(schema) = road.snapshot.schemas.get(&name) else { return Err(missing(&name)) };
    require_owner((road.session.superuser, road.role_oid()), schema.owner, "schema", &name)?;
    match &statement.change {
        AlterSchemaChange::RenameTo(to) => {
            require_create(road)?;
            check_name(&to.value)?;
            let to = to.value.clone();
            road.define(move |document| {
                if document.schemas.contains_key(&to) {
                    return Err(Error::new(SqlState::DuplicateSchema, format!("schema \"{to}\" already exists")));
                }
                let Some(schema) = document.schemas.remove(&name) else { return Err(missing(&name)) };
                document.schemas.insert(to.clone(), schema);
                Ok(())
            })
            .await?;
        }
        AlterSchemaChange::Owner(owner) => {
            let owner = owner_oid(road, owner)?;
            road.define(move |document| {
                let Some(schema) = document.schemas.get_mut(&name) else { return Err(missing(&name)) };
                schema.owner = owner;
                Ok(())
            })
            .await?;
        }
    }
    Ok(Output::Done("ALTER SCHEMA".into()))
}
