//! The running server and the asking session: settings, activity, prepared statements, cursors, time zones.

use arrow::record_batch::RecordBatch;
use chrono::{Offset, TimeZone};
use chrono_tz::{OffsetComponents, OffsetName, TZ_VARIANTS};

use crate::builtins::Activity;
use crate::builtins::tables::rows::{Request, Value};
use crate::error::Result;

pub(super) fn pg_settings(request: &Request<'_>) -> Result<RecordBatch> {
    let settings = request.context().session.settings();
    request
        .rows(&settings)
        .set("name", |row| row.name)
        .set("setting", |row| &row.setting)
        .set("unit", |row| row.unit)
        .set("category", |row| row.category)
        .set("short_desc", |row| row.short_desc)
        .set("context", |row| row.context)
        .set("vartype", |row| row.vartype)
        .set("source", |row| row.source)
        .set("min_val", |row| row.min_val.as_deref())
        .set("max_val", |row| row.max_val.as_deref())
        .set("enumvals", |row| row.enumvals.clone())
        .set("boot_val", |row| row.boot_val.as_deref())
        .set("reset_val", |row| row.reset_val.as_deref())
        .set("pending_restart", |_| false)
        .finish()
}

pub(super) fn pg_stat_activity(request: &Request<'_>) -> Result<RecordBatch> {
    let context = request.context();
    let sessions: Vec<Activity> = context.session.activity();
    request
        .rows(&sessions)
        .set("datid", |_| context.catalog.database.oid)
        .set("datname", |row| &row.database)
        .set("pid", |row| row.pid)
        .set("usesysid", |row| context.catalog.roles.get(&row.user).map(|role| role.oid))
        .set("usename", |row| &row.user)
        .set("application_name", |row| &row.application_name)
        .set("client_addr", |row| row.client_address.map(|address| address.ip().to_string()))
        .set("client_port", |row| row.client_address.map(|address| i32::from(address.port())))
        .set("backend_start", |row| row.backend_start)
        .set("xact_start", |row| row.transaction_start)
        .set("query_start", |row| row.query_start)
        .set("state_change", |row| row.state_change)
        .set("wait_event_type", |row| (row.state != "active").then_some("Client"))
        .set("wait_event", |row| (row.state != "active").then_some("ClientRead"))
        .set("state", |row| row.state)
        .set("query", |row| &row.query)
        .set("backend_type", |_| "client backend")
        .finish()
}

pub(super) fn pg_prepared_statements(request: &Request<'_>) -> Result<RecordBatch> {
    let statements = request.context().session.prepared_statements();
    request
        .rows(&statements)
        .set("name", |row| &row.name)
        .set("statement", |row| &*row.text)
        .set("prepare_time", |row| row.prepared)
        .set("parameter_types", |row| row.parameters.clone())
        .set("result_types", |row| row.results.clone())
        .set("from_sql", |row| row.from_sql)
        .finish()
}

pub(super) fn pg_cursors(request: &Request<'_>) -> Result<RecordBatch> {
    let cursors = request.context().session.cursors();
    request
        .rows(&cursors)
        .set("name", |row| &row.name)
        .set("statement", |row| &*row.text)
        .set("is_holdable", |row| row.hold)
        .set("is_binary", |row| row.binary)
        .set("is_scrollable", |row| row.scroll)
        .set("creation_time", |row| row.created)
        .finish()
}

pub(super) fn pg_timezone_names(request: &Request<'_>) -> Result<RecordBatch> {
    let now = request.context().statement_start.naive_utc();
    request
        .rows(&TZ_VARIANTS)
        .set("name", |zone| zone.name())
        .set("abbrev", |zone| zone.offset_from_utc_datetime(&now).abbreviation().map(str::to_owned))
        .set("utc_offset", |zone| Value::Seconds(zone.offset_from_utc_datetime(&now).fix().local_minus_utc().into()))
        .set("is_dst", |zone| !zone.offset_from_utc_datetime(&now).dst_offset().is_zero())
        .finish()
}
