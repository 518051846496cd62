//! Arrow values to PostgreSQL's text and binary formats, and back. Pure and synchronous: no I/O, no clock, no session.
//!
//! ```text
//! rows:    RecordBatch ─ encoder per column (type × format) ─→ DataRow messages in one large buffer
//! params:  Bind's bytes ─→ ScalarValue
//! copy:    bytes ⇄ RecordBatch in text, csv and binary
//! ```
//!
//! Called by `protocol` (rows), `query` (params), `execute` and `lake::files` (copy); everybody uses its types. It does not know
//! messages other than DataRow and CopyData.

pub mod binary;
pub mod calendar;
mod cast;
pub mod column;
pub mod copy;
pub mod input;
pub mod params;
pub mod rows;
pub mod text;
pub mod to_text;
pub mod types;

pub use cast::cast;

/// How values are written as text: what DateStyle, IntervalStyle, TimeZone, extra_float_digits and bytea_output say.
#[derive(Debug, Clone, PartialEq)]
pub struct TextStyle {
    pub time_zone: TextTimeZone,
    pub date_style: DateStyle,
    pub date_order: DateOrder,
    pub interval_style: IntervalStyle,
    /// -15 to 3; 1 and above mean the shortest text that reads back the same.
    pub extra_float_digits: i8,
    pub bytea_hex: bool,
    /// Names of what `reg…` OIDs stand for, for those columns' text.
    pub names: Option<std::sync::Arc<dyn ObjectNames>>,
}

impl PartialEq for dyn ObjectNames {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::addr_eq(self, other)
    }
}

/// The zone that `timestamptz` is shown in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextTimeZone {
    Named(chrono_tz::Tz),
    /// Seconds east of Greenwich.
    Fixed(i32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateStyle {
    Iso,
    Sql,
    Postgres,
    German,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateOrder {
    Mdy,
    Dmy,
    Ymd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntervalStyle {
    Postgres,
    PostgresVerbose,
    SqlStandard,
    Iso8601,
}

impl Default for TextStyle {
    fn default() -> Self {
        Self {
            time_zone: TextTimeZone::Named(chrono_tz::UTC),
            date_style: DateStyle::Iso,
            date_order: DateOrder::Mdy,
            interval_style: IntervalStyle::Postgres,
            extra_float_digits: 1,
            bytea_hex: true,
            names: None,
        }
    }
}

/// Names behind OIDs, for `regclass`, `regtype`, `regproc`, `regnamespace`, `regrole` and their kin.
pub trait ObjectNames: Send + Sync + std::fmt::Debug {
    /// The text of the OID as a value of the `reg…` type `type_oid`; `None` prints the number.
    fn name(&self, type_oid: u32, oid: u32) -> Option<String>;
}
