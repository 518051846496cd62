//! Rules of data quality, as a table's definition keeps them.

use serde::{Deserialize, Serialize};

/// A rule that a table's rows should keep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expectation {
    pub oid: u32,
    /// Unique among the table's expectations and constraints.
    pub name: String,
    pub rule: ExpectationRule,
    /// Of a set rule: the rows that it is about, as SQL text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    pub action: ViolationAction,
    /// Of a set rule: whether every commit is checked, not VALIDATE alone. Row rules are checked by every write.
    #[serde(default)]
    pub on_commit: bool,
    #[serde(default = "enabled")]
    pub enabled: bool,
    #[serde(default)]
    pub options: ExpectationOptions,
    /// Columns of the table that it reads: they cannot go without it.
    #[serde(default)]
    pub columns: Vec<String>,
    /// OIDs of other relations that it reads: of each name in its condition, in the order in which they stand there, 0 for
    /// what has none; of a foreign key the other table's.
    #[serde(default)]
    pub depends_on: Vec<u32>,
    /// Columns of those relations that have another name now than the texts have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub renamed: Vec<RenamedColumn>,
}

impl Expectation {
    /// What the rule's texts call a column of another relation; `None` for one that has the old name of another column.
    pub fn written<'n>(&'n self, relation: u32, now: &'n str) -> Option<&'n str> {
        let mut renamed = self.renamed.iter().filter(|renamed| renamed.relation == relation);
        match renamed.clone().find(|renamed| renamed.now == now) {
            Some(renamed) => Some(&renamed.name),
            None => (!renamed.any(|renamed| renamed.name == now)).then_some(now),
        }
    }
}

/// A column of a relation that a rule reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenamedColumn {
    /// The relation's OID.
    pub relation: u32,
    /// As the texts have it.
    pub name: String,
    pub now: String,
}

/// What is expected. Conditions are SQL texts whose literals are settled (`plan::settled`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ExpectationRule {
    /// Of each row.
    Row { condition: String },
    /// A condition over aggregates of all rows.
    Aggregate { condition: String },
    /// No two rows have the same values; rows with a NULL among them are left out.
    Unique { columns: Vec<String> },
    /// The values are those of a row of the other table; rows with a NULL among them are left out.
    ForeignKey { columns: Vec<String>, table: u32, referenced: Vec<String> },
    /// The newest value of `expression` is younger than the interval.
    Freshness { expression: String, limit: String },
    /// The number of rows compares so: `BETWEEN 1 AND 10`, `= 5`, `= (SELECT count(*) FROM other)`.
    RowCount { comparison: String },
    /// The columns and types; `exact` forbids others.
    Schema { columns: Vec<SchemaColumn>, exact: bool },
}

impl ExpectationRule {
    /// As results name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Row { .. } => "row",
            Self::Aggregate { .. } => "aggregate",
            Self::Unique { .. } => "unique",
            Self::ForeignKey { .. } => "foreign_key",
            Self::Freshness { .. } => "freshness",
            Self::RowCount { .. } => "row_count",
            Self::Schema { .. } => "schema",
        }
    }

    /// The columns whose values a key is made of; none for rules that are about no key.
    pub fn own_columns(&self) -> &[String] {
        match self {
            Self::Unique { columns } | Self::ForeignKey { columns, .. } => columns,
            Self::Row { .. }
            | Self::Aggregate { .. }
            | Self::Freshness { .. }
            | Self::RowCount { .. }
            | Self::Schema { .. } => &[],
        }
    }

    pub fn is_of_rows(&self) -> bool {
        matches!(self, Self::Row { .. })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaColumn {
    pub name: String,
    /// PostgreSQL's type OID and typmod.
    pub type_oid: u32,
    pub typmod: i32,
    #[serde(default)]
    pub not_null: bool,
}

/// What is done when the rule is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ViolationAction {
    /// It is told and recorded.
    Warn,
    DropRow,
    QuarantineRow,
    /// Nothing is committed.
    Fail,
}

impl ViolationAction {
    /// As SQL has it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Warn => "WARN",
            Self::DropRow => "DROP ROW",
            Self::QuarantineRow => "QUARANTINE ROW",
            Self::Fail => "FAIL",
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ExpectationOptions {
    /// The share of the checked rows that must pass, 0 to 1; all of them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mostly: Option<f64>,
    #[serde(default)]
    pub severity: ExpectationSeverity,
    /// Rows for which the condition is NULL are not counted; otherwise they are violations.
    #[serde(default)]
    pub ignore_nulls: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpectationSeverity {
    Info,
    Warning,
    #[default]
    Error,
    Critical,
}

impl ExpectationSeverity {
    pub const ALL: [Self; 4] = [Self::Info, Self::Warning, Self::Error, Self::Critical];

    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

fn enabled() -> bool {
    true
}
