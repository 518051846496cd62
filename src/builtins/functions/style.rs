//! The session's settings that say how values are written and read.

use std::sync::Arc;

use crate::builtins::Context;
use crate::encode::input::InputContext;
use crate::encode::{DateOrder, DateStyle, IntervalStyle, ObjectNames, TextStyle};

use super::names;

/// How this session writes values as text.
pub fn text_style(context: &Arc<Context>) -> TextStyle {
    let setting = |name: &str| context.session.setting(name).unwrap_or_default().to_ascii_lowercase();
    let date = setting("DateStyle");
    TextStyle {
        time_zone: context.time_zone,
        date_style: match date.split(',').next().unwrap_or_default().trim() {
            "sql" => DateStyle::Sql,
            "postgres" => DateStyle::Postgres,
            "german" => DateStyle::German,
            _ => DateStyle::Iso,
        },
        date_order: match date.rsplit(',').next().unwrap_or_default().trim() {
            "dmy" => DateOrder::Dmy,
            "ymd" => DateOrder::Ymd,
            _ => DateOrder::Mdy,
        },
        interval_style: match setting("IntervalStyle").as_str() {
            "postgres_verbose" => IntervalStyle::PostgresVerbose,
            "sql_standard" => IntervalStyle::SqlStandard,
            "iso_8601" => IntervalStyle::Iso8601,
            _ => IntervalStyle::Postgres,
        },
        extra_float_digits: setting("extra_float_digits").parse().unwrap_or(1),
        bytea_hex: setting("bytea_output") != "escape",
        names: Some(Arc::new(ContextNames(context.clone()))),
    }
}

/// How this session reads values from text.
pub fn input_context(context: &Arc<Context>) -> InputContext {
    InputContext::of_style(&text_style(context), context.transaction_start)
}

/// Names behind OIDs, from the statement's catalog.
#[derive(Debug)]
pub struct ContextNames(pub Arc<Context>);

impl ObjectNames for ContextNames {
    fn name(&self, type_oid: u32, oid: u32) -> Option<String> {
        names::name_of(&self.0, type_oid, oid)
    }
}
