//! `routines` and `parameters`: the functions.

use arrow::record_batch::RecordBatch;

use super::columns::data_type;
use super::yes_or_no;
use crate::builtins::pg_catalog::{self, ListedFunction};
use crate::builtins::tables::rows::Request;
use crate::error::Result;

/// A name that tells overloads apart, as PostgreSQL makes it up.
fn specific_name(function: &ListedFunction) -> String {
    format!("{}_{}", function.name, function.oid)
}

pub(super) fn routines(request: &Request<'_>) -> Result<RecordBatch> {
    let database = request.context().catalog.database.name.as_str();
    let functions = pg_catalog::listed_functions();
    request
        .rows(&functions)
        .set("specific_catalog", |_| database.to_owned())
        .set("specific_schema", |function| function.schema().0)
        .set("specific_name", specific_name)
        .set("routine_catalog", |_| database.to_owned())
        .set("routine_schema", |function| function.schema().0)
        .set("routine_name", |function| function.name)
        .set("routine_type", |function| (function.kind == 'f').then_some("FUNCTION"))
        .set("data_type", |function| data_type(function.returns))
        .set("type_udt_catalog", |_| database.to_owned())
        .set("type_udt_schema", |_| "pg_catalog")
        .set("type_udt_name", |function| pg_catalog::type_name(function.returns))
        .set("dtd_identifier", |_| "0")
        .set("routine_body", |_| "EXTERNAL")
        .set("external_language", |_| "INTERNAL")
        .set("parameter_style", |_| "GENERAL")
        .set("is_deterministic", |function| yes_or_no(function.volatility == 'i'))
        .set("sql_data_access", |_| "MODIFIES")
        .set("is_null_call", |function| (function.kind == 'f').then(|| yes_or_no(function.strict)))
        .set("schema_level_routine", |_| "YES")
        .set("max_dynamic_result_sets", |_| 0)
        .set("security_type", |_| "INVOKER")
        .set("as_locator", |_| "NO")
        .set("is_udt_dependent", |_| "NO")
        .finish()
}

pub(super) fn parameters(request: &Request<'_>) -> Result<RecordBatch> {
    let database = request.context().catalog.database.name.as_str();
    let functions = pg_catalog::listed_functions();
    let parameters: Vec<(&ListedFunction, i32, u32)> = functions
        .iter()
        .flat_map(|function| (1..).zip(&function.arguments).map(move |(at, argument)| (function, at, *argument)))
        .collect();
    request
        .rows(&parameters)
        .set("specific_catalog", |_| database.to_owned())
        .set("specific_schema", |(function, ..)| function.schema().0)
        .set("specific_name", |(function, ..)| specific_name(function))
        .set("ordinal_position", |(_, at, _)| *at)
        .set("parameter_mode", |_| "IN")
        .set("is_result", |_| "NO")
        .set("as_locator", |_| "NO")
        .set("data_type", |(_, _, argument)| data_type(*argument))
        .set("udt_catalog", |_| database.to_owned())
        .set("udt_schema", |_| "pg_catalog")
        .set("udt_name", |(_, _, argument)| pg_catalog::type_name(*argument))
        .set("dtd_identifier", |(_, at, _)| at.to_string())
        .finish()
}
