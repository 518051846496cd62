//! Functions of the catalog: names, definitions, comments, privileges, visibility.

use arrow::array::ArrayRef;
use arrow::datatypes::Int64Type;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;

use super::Function;
use super::build::{contextual, in_context, scalar};
use super::kernel::{Call, some};
use super::names::{self, find_relation};
use super::type_names::{format_type, typname};
use crate::builtins::{Context, tables};
use crate::catalog::{RelationKind, Role};
use crate::encode::types::{PgType, oid};
use crate::error::{Error, Result, SqlState};

fn to_oid(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(0)
}

fn type_text(call: &Call) -> Result<ArrayRef> {
    let (oids, typmods) = (call.int(0)?, call.int(1)?);
    call.texts(|row, out| {
        let object = to_oid(some!(oids.get(row)));
        let typmod = typmods.get(row).map_or(-1, |typmod| typmod as i32);
        out.push_str(&format_type(PgType { oid: object, typmod }));
        Ok(Some(()))
    })
}

/// Writes something about the object of argument 0; `None` is NULL.
fn about(call: &Call, describe: impl Fn(&Context, u32) -> Option<String>) -> Result<ArrayRef> {
    let (context, oids) = (call.context()?.clone(), call.int(0)?);
    call.texts(|row, out| {
        out.push_str(&some!(describe(&context, to_oid(some!(oids.get(row))))));
        Ok(Some(()))
    })
}

fn user_by_id(call: &Call) -> Result<ArrayRef> {
    about(call, |context, role| {
        let found = context.catalog.role_name(role).map(str::to_owned);
        Some(found.unwrap_or_else(|| format!("unknown (OID={role})")))
    })
}

fn view_definition(call: &Call) -> Result<ArrayRef> {
    about(call, |context, view| {
        let view = context.catalog.relation_by_oid(view)?.2.kind.query()?;
        Some(format!(" {};", view.query.trim().trim_end_matches(';')))
    })
}

fn view_definition_by_name(call: &Call) -> Result<ArrayRef> {
    let (context, texts) = (call.context()?.clone(), call.text(0)?);
    call.texts(|row, out| {
        let view = names::relation(&context, some!(texts.get(row)))?;
        let view = some!(some!(context.catalog.relation_by_oid(view)).2.kind.query());
        out.push(' ');
        out.push_str(view.query.trim().trim_end_matches(';'));
        out.push(';');
        Ok(Some(()))
    })
}

fn constraint_definition(call: &Call) -> Result<ArrayRef> {
    about(call, |context, constraint| {
        let relations = context.catalog.schemas.values().flat_map(|schema| schema.relations.values());
        let checks = relations.filter_map(|relation| match &relation.kind {
            RelationKind::Table(table) => Some(&table.checks),
            RelationKind::View(_) => None,
        });
        let found = checks.flatten().find(|check| check.oid == constraint)?;
        Some(format!("CHECK (({}))", found.expression))
    })
}

fn nothing(call: &Call) -> Result<ArrayRef> {
    call.texts(|_, _| Ok(None))
}

fn expression(call: &Call) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    call.slices(|row| Ok(texts.get(row)))
}

fn comment(call: &Call) -> Result<ArrayRef> {
    about(call, |context, object| {
        if let Some((_, _, relation)) = context.catalog.relation_by_oid(object) {
            return relation.comment.clone();
        }
        context.catalog.schemas.values().find(|schema| schema.oid == object)?.comment.clone()
    })
}

fn column_comment(call: &Call) -> Result<ArrayRef> {
    let (context, oids, columns) = (call.context()?.clone(), call.int(0)?, call.int(1)?);
    call.texts(|row, out| {
        let (object, column) = (some!(oids.get(row)), some!(columns.get(row)));
        let (_, _, relation) = some!(context.catalog.relation_by_oid(to_oid(object)));
        let index = some!(usize::try_from(column).ok().and_then(|column| column.checked_sub(1)));
        out.push_str(some!(some!(relation.columns.get(index)).comment.as_deref()));
        Ok(Some(()))
    })
}

fn table_is_visible(call: &Call) -> Result<ArrayRef> {
    let (context, oids) = (call.context()?.clone(), call.int(0)?);
    call.booleans(|row| {
        let object = to_oid(some!(oids.get(row)));
        if let Some((_, name, _)) = context.catalog.relation_by_oid(object) {
            return Ok(Some(find_relation(&context, &[name.to_owned()]) == Some(object)));
        }
        let system = tables::names().find(|(.., oid)| *oid == object);
        let (_, name, _) = some!(system);
        Ok(Some(find_relation(&context, &[name.to_owned()]) == Some(object)))
    })
}

fn type_is_visible(call: &Call) -> Result<ArrayRef> {
    let oids = call.int(0)?;
    call.booleans(|row| Ok(Some(typname(to_oid(some!(oids.get(row)))).is_some())))
}

fn function_is_visible(call: &Call) -> Result<ArrayRef> {
    let oids = call.int(0)?;
    call.booleans(|row| {
        let object = to_oid(some!(oids.get(row)));
        Ok(Some(super::all().iter().any(|function| function.oid == object)))
    })
}

/// The text of a function's arguments or result.
fn of_function(call: &Call, describe: fn(&Function) -> String) -> Result<ArrayRef> {
    about(call, |_, object| super::all().iter().find(|function| function.oid == object).map(describe))
}

fn function_arguments(call: &Call) -> Result<ArrayRef> {
    of_function(call, |function| {
        let last = function.arguments.len().saturating_sub(1);
        let types = function.arguments.iter().enumerate().map(|(at, ty)| {
            let variadic = if function.variadic && at == last { "VARIADIC " } else { "" };
            format!("{variadic}{}", format_type(PgType::of(*ty)))
        });
        types.collect::<Vec<_>>().join(", ")
    })
}

fn function_result(call: &Call) -> Result<ArrayRef> {
    of_function(call, |function| {
        let set = if function.returns_set { "SETOF " } else { "" };
        format!("{set}{}", format_type(PgType::of(function.returns)))
    })
}

/// The role that a privilege is asked of: the one named, or the current one.
fn asked_role<'c>(context: &'c Context, name: Option<&str>) -> Result<&'c Role> {
    let name = name.unwrap_or(&context.user);
    let found = context.catalog.roles.get(name);
    found.ok_or_else(|| Error::new(SqlState::UndefinedObject, format!("role \"{name}\" does not exist")))
}

/// A superuser may everything, an owner everything with what is his; system objects may be read by all.
fn relation_privilege(call: &Call) -> Result<ArrayRef> {
    let context = call.context()?.clone();
    let with_role = call.len() > 2 && matches!(call.name, "has_table_privilege" | "has_any_column_privilege");
    let roles = if with_role { Some(call.text(0)?) } else { None };
    let at = usize::from(with_role);
    let by_oid = call.raw(at)?.data_type().is_integer();
    let (texts, oids) = if by_oid { (None, Some(call.int(at)?)) } else { (Some(call.text(at)?), None) };
    let privileges = call.text(call.len() - 1)?;
    call.booleans(|row| {
        let role = match &roles {
            Some(roles) => asked_role(&context, Some(some!(roles.get(row))))?,
            None => asked_role(&context, None)?,
        };
        let object = match (&texts, &oids) {
            (Some(texts), _) => names::relation(&context, some!(texts.get(row)))?,
            (_, Some(oids)) => to_oid(some!(oids.get(row))),
            _ => return Ok(None),
        };
        let privilege = some!(privileges.get(row));
        Ok(match context.catalog.relation_by_oid(object) {
            Some((_, _, relation)) => Some(role.superuser || role.oid == relation.owner),
            None if names::name_of(&context, oid::REGCLASS, object).is_some() => {
                Some(role.superuser || privilege.trim().eq_ignore_ascii_case("select"))
            }
            None => None,
        })
    })
}

/// Schemas, databases, functions, types: may be used by all, changed by superusers and owners.
fn use_privilege(call: &Call) -> Result<ArrayRef> {
    let context = call.context()?.clone();
    let roles = if call.len() > 2 { Some(call.text(0)?) } else { None };
    let privileges = call.text(call.len() - 1)?;
    call.booleans(|row| {
        let role = match &roles {
            Some(roles) => asked_role(&context, Some(some!(roles.get(row))))?,
            None => asked_role(&context, None)?,
        };
        let privilege = some!(privileges.get(row)).trim().to_ascii_lowercase();
        let harmless = matches!(privilege.as_str(), "usage" | "connect" | "execute" | "temp" | "temporary");
        Ok(Some(role.superuser || harmless))
    })
}

/// `to_regclass` and its kin: NULL for what there is not.
fn to_reg(call: &Call, find: impl Fn(&Context, &str) -> Option<u32>) -> Result<ArrayRef> {
    let (context, texts) = (call.context()?.clone(), call.text(0)?);
    call.values::<Int64Type>(|row| Ok(find(&context, some!(texts.get(row))).map(i64::from)))
}

fn to_regclass(call: &Call) -> Result<ArrayRef> {
    to_reg(call, |context, text| names::parts(text).ok().and_then(|parts| find_relation(context, &parts)))
}
fn to_regtype(call: &Call) -> Result<ArrayRef> {
    to_reg(call, |_, text| super::type_names::parse_type(text).map(|ty| ty.oid))
}
fn to_regnamespace(call: &Call) -> Result<ArrayRef> {
    to_reg(call, |context, text| names::schema(context, text).ok())
}
fn to_regrole(call: &Call) -> Result<ArrayRef> {
    to_reg(call, |context, text| names::role(context, text).ok())
}
fn to_regproc(call: &Call) -> Result<ArrayRef> {
    to_reg(call, |_, text| {
        let mut found = super::lookup(text.trim());
        let first = found.next()?;
        found.next().is_none().then_some(first.oid)
    })
}

fn no(_: &std::sync::Arc<Context>, _: Vec<Expr>) -> Result<Expr> {
    Ok(Expr::Literal(ScalarValue::Utf8(None), None))
}

pub(super) fn functions() -> Vec<Function> {
    let mut functions = vec![
        scalar(1081, "format_type(oid, int4) text", type_text).not_strict(),
        in_context(1642, "pg_get_userbyid(oid) name", user_by_id),
        in_context(1641, "pg_get_viewdef(oid) text", view_definition),
        in_context(2506, "pg_get_viewdef(oid, bool) text", view_definition),
        in_context(1640, "pg_get_viewdef(text) text", view_definition_by_name),
        in_context(1387, "pg_get_constraintdef(oid) text", constraint_definition),
        in_context(2508, "pg_get_constraintdef(oid, bool) text", constraint_definition),
        scalar(1643, "pg_get_indexdef(oid) text", nothing),
        scalar(2507, "pg_get_indexdef(oid, int4, bool) text", nothing),
        scalar(2098, "pg_get_functiondef(oid) text", nothing),
        scalar(3352, "pg_get_partkeydef(oid) text", nothing),
        scalar(1662, "pg_get_triggerdef(oid) text", nothing),
        scalar(1573, "pg_get_ruledef(oid) text", nothing),
        scalar(1716, "pg_get_expr(pg_node_tree, oid) text", expression),
        scalar(2509, "pg_get_expr(pg_node_tree, oid, bool) text", expression),
        contextual(1665, "pg_get_serial_sequence(text, text) text", no),
        in_context(2162, "pg_get_function_arguments(oid) text", function_arguments),
        in_context(2232, "pg_get_function_identity_arguments(oid) text", function_arguments),
        in_context(2165, "pg_get_function_result(oid) text", function_result),
        in_context(1348, "obj_description(oid) text", comment),
        in_context(1215, "obj_description(oid, name) text", comment),
        in_context(1216, "col_description(oid, int4) text", column_comment),
        scalar(1993, "shobj_description(oid, name) text", nothing),
        in_context(3495, "to_regclass(text) regclass", to_regclass),
        in_context(3493, "to_regtype(text) regtype", to_regtype),
        in_context(3494, "to_regproc(text) regproc", to_regproc),
        in_context(4086, "to_regnamespace(text) regnamespace", to_regnamespace),
        in_context(4093, "to_regrole(text) regrole", to_regrole),
    ];
    functions.extend(visibility());
    functions.extend(privileges());
    functions
}

fn visibility() -> Vec<Function> {
    vec![
        in_context(2079, "pg_table_is_visible(oid) bool", table_is_visible),
        scalar(2080, "pg_type_is_visible(oid) bool", type_is_visible),
        scalar(2081, "pg_function_is_visible(oid) bool", function_is_visible),
    ]
}

fn privileges() -> Vec<Function> {
    let relation = |spec| in_context(0, spec, relation_privilege);
    let usage = |spec| in_context(0, spec, use_privilege);
    let mut functions = vec![
        relation("has_table_privilege(text, text) bool"),
        relation("has_table_privilege(oid, text) bool"),
        relation("has_table_privilege(name, text, text) bool"),
        relation("has_table_privilege(name, oid, text) bool"),
        relation("has_any_column_privilege(text, text) bool"),
        relation("has_any_column_privilege(oid, text) bool"),
        relation("has_any_column_privilege(name, text, text) bool"),
        relation("has_any_column_privilege(name, oid, text) bool"),
        usage("has_schema_privilege(text, text) bool"),
        usage("has_schema_privilege(oid, text) bool"),
        usage("has_schema_privilege(name, text, text) bool"),
        usage("has_schema_privilege(name, oid, text) bool"),
        usage("has_database_privilege(text, text) bool"),
        usage("has_database_privilege(oid, text) bool"),
        usage("has_database_privilege(name, text, text) bool"),
        usage("has_function_privilege(oid, text) bool"),
        relation("has_column_privilege(text, text, text) bool"),
        relation("has_column_privilege(oid, text, text) bool"),
        relation("has_column_privilege(oid, int2, text) bool"),
        usage("has_type_privilege(oid, text) bool"),
        usage("has_type_privilege(name, oid, text) bool"),
        usage("has_language_privilege(oid, text) bool"),
        usage("has_tablespace_privilege(name, text) bool"),
        usage("has_tablespace_privilege(oid, text) bool"),
    ];
    // PostgreSQL numbers these families without gaps that matter to a client: ours follow one another.
    for (oid, function) in (9100..).zip(&mut functions) {
        function.oid = oid;
    }
    functions
}
