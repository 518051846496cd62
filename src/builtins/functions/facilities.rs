//! Functions about a server's objects and facilities that psql and drivers ask for: visibility, sizes as text, encodings,
//! descriptions, and the definitions of what a lake has none of (rules, triggers, statistics, publications).

use std::fmt::Write as _;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;

use super::build::{contextual, in_context, scalar};
use super::kernel::{Call, some};
use super::type_names::{format_type, typname};
use super::{Function, names};
use crate::builtins::Context;
use crate::catalog::{FIRST_USER_OID, RelationKind};
use crate::encode::types::{PgType, oid};
use crate::error::{Error, Result, SqlState};

/// PostgreSQL's `pg_enc` for UTF8, the only encoding here.
const UTF8: i32 = 6;

/// Names of PostgreSQL's encodings by number: clients translate between the two.
const ENCODINGS: [&str; 42] = [
    "SQL_ASCII",
    "EUC_JP",
    "EUC_CN",
    "EUC_KR",
    "EUC_TW",
    "EUC_JIS_2004",
    "UTF8",
    "MULE_INTERNAL",
    "LATIN1",
    "LATIN2",
    "LATIN3",
    "LATIN4",
    "LATIN5",
    "LATIN6",
    "LATIN7",
    "LATIN8",
    "LATIN9",
    "LATIN10",
    "WIN1256",
    "WIN1258",
    "WIN866",
    "WIN874",
    "KOI8R",
    "WIN1251",
    "WIN1252",
    "ISO_8859_5",
    "ISO_8859_6",
    "ISO_8859_7",
    "ISO_8859_8",
    "WIN1250",
    "WIN1253",
    "WIN1254",
    "WIN1255",
    "WIN1257",
    "KOI8U",
    "SJIS",
    "BIG5",
    "GBK",
    "UHC",
    "GB18030",
    "JOHAB",
    "SHIFT_JIS_2004",
];

fn encoding_name(call: &Call) -> Result<ArrayRef> {
    let codes = call.int(0)?;
    call.slices(|row| {
        let code = some!(codes.get(row));
        Ok(Some(usize::try_from(code).ok().and_then(|code| ENCODINGS.get(code)).copied().unwrap_or_default()))
    })
}

/// -1 for an unknown name; case and punctuation do not matter.
fn encoding_number(call: &Call) -> Result<ArrayRef> {
    let plain = |name: &str| name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let named = call.text(0)?;
    call.values::<Int32Type>(|row| {
        let name = plain(some!(named.get(row)));
        if name == "unicode" {
            return Ok(Some(UTF8));
        }
        Ok(Some(ENCODINGS.iter().position(|known| plain(known) == name).map_or(-1, |at| at as i32)))
    })
}

/// Objects of kinds that only the system has: found in `pg_catalog`, which every search path holds; NULL for unknown ones.
fn is_visible(call: &Call) -> Result<ArrayRef> {
    let oids = call.int(0)?;
    call.booleans(|row| Ok((some!(oids.get(row)) < i64::from(FIRST_USER_OID)).then_some(true)))
}

/// `pg_size_pretty`: up to 10240 of a unit, rounded half away from zero.
pub(super) fn write_size(bytes: i64, out: &mut String) {
    const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    // Twice the size from kB on, so that the last division rounds.
    let (mut size, mut at) = (i128::from(bytes), 0);
    while at + 1 < UNITS.len() && size.abs() >= if at == 0 { 10 * 1024 } else { 20 * 1024 - 1 } {
        size = if at == 0 { size >> 9 } else { size >> 10 };
        at += 1;
    }
    if at > 0 {
        size = (size + i128::from(size > 0) - i128::from(size < 0)) / 2;
    }
    let unit = UNITS.get(at).copied().unwrap_or_default();
    let _ = write!(out, "{size} {unit}");
}

fn size_text(call: &Call) -> Result<ArrayRef> {
    let sizes = call.int(0)?;
    call.texts(|row, out| {
        write_size(some!(sizes.get(row)), out);
        Ok(Some(()))
    })
}

/// The space that something takes is known to the object store only.
fn no_size(call: &Call) -> Result<ArrayRef> {
    call.values::<Int64Type>(|_| Ok(None))
}

fn no_text(call: &Call) -> Result<ArrayRef> {
    call.texts(|_, _| Ok(None))
}

/// The only tablespaces are PostgreSQL's two built-in ones, which have no place of their own.
fn empty_text(call: &Call) -> Result<ArrayRef> {
    let oids = call.int(0)?;
    call.texts(|row, _| Ok(oids.get(row).map(|_| ())))
}

fn never(call: &Call) -> Result<ArrayRef> {
    let objects = call.int(0)?;
    call.booleans(|row| Ok(objects.get(row).map(|_| false)))
}

/// The type names of an `oidvector`, as `\do` and `\da` print them.
fn vector_types(call: &Call) -> Result<ArrayRef> {
    let vectors = call.raw(0)?.clone();
    let lists = arrow::array::AsArray::as_list_opt::<i32>(&vectors)
        .ok_or_else(|| Error::internal("an oidvector is no list"))?
        .clone();
    call.texts(|row, out| {
        let at = call.row_of(0, row);
        if arrow::array::Array::is_null(&lists, at) {
            return Ok(None);
        }
        let numbers = crate::encode::cast(&lists.value(at), &DataType::Int64)?;
        let numbers = arrow::array::AsArray::as_primitive::<Int64Type>(&numbers).clone();
        for (index, number) in numbers.iter().enumerate() {
            if index > 0 {
                out.push_str(", ");
            }
            out.push_str(&format_type(PgType::of(number.and_then(|number| u32::try_from(number).ok()).unwrap_or(0))));
        }
        Ok(Some(()))
    })
}

/// `pg_has_role(user, role, privilege)`: a superuser is a member of every role, and a role of itself.
fn has_role(call: &Call) -> Result<ArrayRef> {
    let context = call.context()?.clone();
    let missing = |name: String| Error::new(SqlState::UndefinedObject, format!("role \"{name}\" does not exist"));
    let role_at = |index: usize, row: usize| -> Result<Option<crate::catalog::Role>> {
        if call.raw(index)?.data_type().is_integer() {
            let wanted = some!(call.int(index)?.get(row));
            return Ok(context.catalog.roles.values().find(|role| i64::from(role.oid) == wanted).cloned());
        }
        let texts = call.text(index)?;
        let name = some!(texts.get(row));
        context.catalog.roles.get(name).cloned().map(Some).ok_or_else(|| missing(name.to_owned()))
    };
    call.booleans(|row| {
        let own = context.catalog.roles.get(&context.user).cloned();
        let user = some!(if call.len() > 2 { role_at(0, row)? } else { own });
        let role = some!(role_at(call.len() - 2, row)?);
        Ok(Some(user.superuser || user.oid == role.oid))
    })
}

/// `pg_describe_object(class, object, column)`.
fn describe_object(call: &Call) -> Result<ArrayRef> {
    let (context, objects, columns) = (call.context()?.clone(), call.int(1)?, call.int(2)?);
    call.texts(|row, out| {
        let (object, column) = (some!(objects.get(row)), some!(columns.get(row)));
        out.push_str(&some!(described(&context, u32::try_from(object).unwrap_or(0), column)));
        Ok(Some(()))
    })
}

fn described(context: &Context, object: u32, column: i64) -> Option<String> {
    if let Some((_, _, relation)) = context.catalog.relation_by_oid(object) {
        let name = names::name_of(context, oid::REGCLASS, object)?;
        let kind = match &relation.kind {
            RelationKind::Table(_) => "table",
            RelationKind::View(_) => "view",
        };
        let whole = format!("{kind} {name}");
        return match usize::try_from(column).ok().and_then(|at| at.checked_sub(1)) {
            Some(at) => Some(format!("column {} of {whole}", names::quote(&relation.columns.get(at)?.name))),
            None => Some(whole),
        };
    }
    if let Some(schema) = names::schema_name(context, object) {
        return Some(format!("schema {}", names::quote(schema)));
    }
    if let Some(role) = context.catalog.role_name(object) {
        return Some(format!("role {}", names::quote(role)));
    }
    if typname(object).is_some() {
        return Some(format!("type {}", format_type(PgType::of(object))));
    }
    let function = super::all().iter().find(|function| function.oid == object)?;
    let arguments: Vec<String> = function.arguments.iter().map(|ty| format_type(PgType::of(*ty))).collect();
    Some(format!("function {}({})", function.name, arguments.join(",")))
}

/// The part before or after the first `=` of each option.
fn option_parts(call: &Call, part: fn(&str) -> Option<&str>) -> Result<ArrayRef> {
    let options = call.raw(0)?.clone();
    let lists = arrow::array::AsArray::as_list_opt::<i32>(&options)
        .ok_or_else(|| Error::internal("options are no list"))?
        .clone();
    call.text_lists(|row, out| {
        let at = call.row_of(0, row);
        if arrow::array::Array::is_null(&lists, at) {
            return Ok(None);
        }
        let texts = crate::encode::cast(&lists.value(at), &DataType::Utf8)?;
        let texts = arrow::array::AsArray::as_string::<i32>(&texts).clone();
        for text in &texts {
            out.append_option(text.and_then(part));
        }
        Ok(Some(()))
    })
}

pub(super) fn option_names(call: &Call) -> Result<ArrayRef> {
    option_parts(call, |option| Some(option.split_once('=').map_or(option, |(name, _)| name)))
}

pub(super) fn option_values(call: &Call) -> Result<ArrayRef> {
    option_parts(call, |option| option.split_once('=').map(|(_, value)| value))
}

pub(super) fn functions() -> Vec<Function> {
    let zero = |_: &std::sync::Arc<Context>, _: Vec<Expr>| Ok(Expr::Literal(ScalarValue::Int64(Some(0)), None));
    let no = |_: &std::sync::Arc<Context>, _: Vec<Expr>| Ok(Expr::Literal(ScalarValue::Boolean(Some(false)), None));
    let mut functions = vec![
        scalar(1597, "pg_encoding_to_char(int4) name", encoding_name),
        scalar(1264, "pg_char_to_encoding(name) int4", encoding_number),
        scalar(2288, "pg_size_pretty(int8) text", size_text),
        scalar(3166, "pg_size_pretty(numeric) text", size_text),
        scalar(2168, "pg_database_size(name) int8", no_size),
        scalar(2324, "pg_database_size(oid) int8", no_size),
        scalar(2322, "pg_tablespace_size(oid) int8", no_size),
        scalar(2323, "pg_tablespace_size(name) int8", no_size),
        scalar(2998, "pg_indexes_size(regclass) int8", no_size),
        scalar(2325, "pg_relation_size(regclass) int8", no_size),
        scalar(2332, "pg_relation_size(regclass, text) int8", no_size),
        scalar(2286, "pg_total_relation_size(regclass) int8", no_size),
        scalar(2997, "pg_table_size(regclass) int8", no_size),
        scalar(3778, "pg_tablespace_location(oid) text", empty_text),
        scalar(6197, "pg_get_function_sqlbody(oid) text", no_text),
        scalar(3808, "pg_get_function_arg_default(oid, int4) text", no_text),
        scalar(6174, "pg_get_statisticsobjdef_columns(oid) text", no_text),
        scalar(3408, "pg_get_partition_constraintdef(oid) text", no_text),
        scalar(2504, "pg_get_ruledef(oid, bool) text", no_text),
        scalar(2730, "pg_get_triggerdef(oid, bool) text", no_text),
        scalar(6121, "pg_relation_is_publishable(regclass) bool", never),
        scalar(2855, "pg_is_other_temp_schema(oid) bool", never),
        contextual(2854, "pg_my_temp_schema() oid", zero),
        scalar(1349, "oidvectortypes(oidvector) text", vector_types),
        in_context(3537, "pg_describe_object(oid, oid, int4) text", describe_object),
        contextual(315, "pg_jit_available() bool", no),
        contextual(3163, "pg_trigger_depth() int4", |_, _| Ok(Expr::Literal(ScalarValue::Int32(Some(0)), None))),
        scalar(3298, "row_security_active(oid) bool", never),
    ];
    functions.extend(visibility());
    functions.extend(roles());
    functions
}

fn visibility() -> Vec<Function> {
    [
        (2082, "pg_operator_is_visible(oid) bool"),
        (2083, "pg_opclass_is_visible(oid) bool"),
        (3829, "pg_opfamily_is_visible(oid) bool"),
        (2093, "pg_conversion_is_visible(oid) bool"),
        (3815, "pg_collation_is_visible(oid) bool"),
        (3403, "pg_statistics_obj_is_visible(oid) bool"),
        (3756, "pg_ts_parser_is_visible(oid) bool"),
        (3757, "pg_ts_dict_is_visible(oid) bool"),
        (3758, "pg_ts_config_is_visible(oid) bool"),
        (3768, "pg_ts_template_is_visible(oid) bool"),
    ]
    .map(|(number, spec)| scalar(number, spec, is_visible))
    .into()
}

fn roles() -> Vec<Function> {
    vec![
        in_context(2705, "pg_has_role(name, name, text) bool", has_role),
        in_context(2706, "pg_has_role(name, oid, text) bool", has_role),
        in_context(2707, "pg_has_role(oid, name, text) bool", has_role),
        in_context(2708, "pg_has_role(oid, oid, text) bool", has_role),
        in_context(2709, "pg_has_role(name, text) bool", has_role),
        in_context(2710, "pg_has_role(oid, text) bool", has_role),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As PostgreSQL 15 prints them.
    #[test]
    fn sizes_are_rounded_to_the_unit() {
        let cases = [
            (0, "0 bytes"),
            (10239, "10239 bytes"),
            (10240, "10 kB"),
            (8192, "8192 bytes"),
            (16384, "16 kB"),
            (10485247, "10239 kB"),
            (10485248, "10 MB"),
            (-10240, "-10 kB"),
            (1_000_000_000_000_000, "909 TB"),
        ];
        for (bytes, expected) in cases {
            let mut out = String::new();
            write_size(bytes, &mut out);
            assert_eq!(out, expected);
        }
    }
}
