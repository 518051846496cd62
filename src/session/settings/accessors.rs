//! Settings as the types that the server works with.

use std::time::Duration;

use super::value::Value;
use super::{Key, POSITIONS, Settings, date_style, search_path, time_zone};
use crate::encode::{IntervalStyle, TextStyle, TextTimeZone};
use crate::error::Severity;
use crate::session::transaction::Isolation;

/// The values of `log_statement`: each logs what those before it log, and more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Logged {
    None,
    /// Statements that define.
    Ddl,
    /// Statements that write.
    Mod,
    All,
}

impl Settings {
    fn known(&self, name: &str) -> Option<&Value> {
        self.value(&Key::Known(*POSITIONS.get(name)?))
    }

    fn number(&self, name: &str) -> i64 {
        match self.known(name) {
            Some(Value::Int(number)) => *number,
            Some(Value::Bool(_) | Value::Text(_)) | None => 0,
        }
    }

    fn flag(&self, name: &str) -> bool {
        matches!(self.known(name), Some(Value::Bool(true)))
    }

    fn text(&self, name: &str) -> &str {
        match self.known(name) {
            Some(Value::Text(text)) => text,
            Some(Value::Bool(_) | Value::Int(_)) | None => "",
        }
    }

    /// A time limit in milliseconds; 0 is none.
    fn limit(&self, name: &str) -> Option<Duration> {
        u64::try_from(self.number(name)).ok().filter(|ms| *ms > 0).map(Duration::from_millis)
    }

    pub fn statement_timeout(&self) -> Option<Duration> {
        self.limit("statement_timeout")
    }
    pub fn transaction_timeout(&self) -> Option<Duration> {
        self.limit("transaction_timeout")
    }
    pub fn idle_session_timeout(&self) -> Option<Duration> {
        self.limit("idle_session_timeout")
    }
    pub fn idle_in_transaction_session_timeout(&self) -> Option<Duration> {
        self.limit("idle_in_transaction_session_timeout")
    }
    /// Statements that take longer are logged; zero logs all, `None` none.
    pub fn log_min_duration_statement(&self) -> Option<Duration> {
        u64::try_from(self.number("log_min_duration_statement")).ok().map(Duration::from_millis)
    }
    pub fn batch_rows(&self) -> usize {
        usize::try_from(self.number("lakegate.batch_rows")).unwrap_or(0).max(1)
    }
    /// Partitions that run at the same time; `None` takes the server's number.
    pub fn target_partitions(&self) -> Option<usize> {
        usize::try_from(self.number("lakegate.target_partitions")).ok().filter(|partitions| *partitions > 0)
    }
    /// Whether VACUUM keeps to the retention time of tables.
    pub fn retention_check(&self) -> bool {
        self.flag("lakegate.retention_check")
    }
    /// How old a table's version may be; zero reads the newest.
    pub fn table_staleness(&self) -> Duration {
        self.limit("lakegate.table_staleness").unwrap_or_default()
    }
    /// How old the catalog may be; zero reads the newest.
    pub fn catalog_staleness(&self) -> Duration {
        self.limit("lakegate.catalog_staleness").unwrap_or_default()
    }
    pub fn scram_iterations(&self) -> u32 {
        u32::try_from(self.number("scram_iterations")).unwrap_or(4096)
    }
    pub fn application_name(&self) -> &str {
        self.text("application_name")
    }
    /// Which statements are logged when they start.
    pub fn log_statement(&self) -> Logged {
        match self.text("log_statement") {
            "ddl" => Logged::Ddl,
            "mod" => Logged::Mod,
            "all" => Logged::All,
            _ => Logged::None,
        }
    }
    /// The current role by SET ROLE; `None` for `none`.
    pub fn role(&self) -> Option<&str> {
        Some(self.text("role")).filter(|role| !role.is_empty() && !role.eq_ignore_ascii_case("none"))
    }
    /// Whether the current role is a superuser.
    pub fn is_superuser(&self) -> bool {
        self.flag("is_superuser")
    }
    pub fn transaction_read_only(&self) -> bool {
        self.flag("transaction_read_only")
    }
    pub fn transaction_deferrable(&self) -> bool {
        self.flag("transaction_deferrable")
    }
    pub fn transaction_isolation(&self) -> Isolation {
        isolation(self.text("transaction_isolation"))
    }

    /// Whether a notice of this level goes to the client, by `client_min_messages`. INFO always does.
    pub fn shows_message(&self, severity: Severity) -> bool {
        let least = match self.text("client_min_messages") {
            "error" => 4,
            "warning" => 3,
            "notice" => 2,
            "log" => 1,
            _ => 0,
        };
        let level = match severity {
            Severity::Debug => 0,
            Severity::Log => 1,
            Severity::Notice => 2,
            Severity::Warning => 3,
            Severity::Error | Severity::Fatal | Severity::Info => 4,
        };
        level >= least
    }

    /// Schemas to search, `$user` kept as it is.
    pub fn search_path(&self) -> Vec<String> {
        search_path::identifiers(self.text("search_path")).unwrap_or_default()
    }

    pub fn time_zone(&self) -> TextTimeZone {
        time_zone::parse(self.text("timezone")).map_or(TextTimeZone::Named(chrono_tz::UTC), |named| named.zone)
    }

    /// How values are written as text; without names of `reg…` values, which need a catalog.
    pub fn text_style(&mut self) -> TextStyle {
        if let Some(style) = &self.style {
            return style.clone();
        }
        let defaults = TextStyle::default();
        let (date_style, date_order) =
            date_style::parse(self.text("datestyle")).unwrap_or((defaults.date_style, defaults.date_order));
        let style = TextStyle {
            time_zone: self.time_zone(),
            date_style,
            date_order,
            interval_style: interval_style(self.text("intervalstyle")),
            extra_float_digits: i8::try_from(self.number("extra_float_digits")).unwrap_or(1),
            bytea_hex: self.text("bytea_output") != "escape",
            names: None,
        };
        self.style.insert(style).clone()
    }
}

fn interval_style(name: &str) -> IntervalStyle {
    match name {
        "postgres_verbose" => IntervalStyle::PostgresVerbose,
        "sql_standard" => IntervalStyle::SqlStandard,
        "iso_8601" => IntervalStyle::Iso8601,
        _ => IntervalStyle::Postgres,
    }
}

fn isolation(name: &str) -> Isolation {
    match name {
        "serializable" => Isolation::Serializable,
        "repeatable read" => Isolation::RepeatableRead,
        "read uncommitted" => Isolation::ReadUncommitted,
        _ => Isolation::ReadCommitted,
    }
}

/// The name of a level as settings have it.
pub fn isolation_name(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::Serializable => "serializable",
        Isolation::RepeatableRead => "repeatable read",
        Isolation::ReadCommitted => "read committed",
        Isolation::ReadUncommitted => "read uncommitted",
    }
}
