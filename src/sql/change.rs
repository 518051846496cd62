//! Statements that change a table's rows: UPDATE, DELETE, MERGE and what INSERT has beyond its rows.

use sqlparser::ast;

use super::statement::{Name, QualifiedName};

/// UPDATE … SET … [FROM …] [WHERE …] [RETURNING …].
#[derive(Debug, Clone)]
pub struct Update {
    pub with: Option<ast::With>,
    pub table: QualifiedName,
    /// Without column names.
    pub alias: Option<ast::TableAlias>,
    pub assignments: Vec<Assignment>,
    pub from: Vec<ast::TableWithJoins>,
    pub condition: Option<ast::Expr>,
    pub returning: Vec<ast::SelectItem>,
}

/// DELETE FROM … [USING …] [WHERE …] [RETURNING …].
#[derive(Debug, Clone)]
pub struct Delete {
    pub with: Option<ast::With>,
    pub table: QualifiedName,
    /// Without column names.
    pub alias: Option<ast::TableAlias>,
    pub using: Vec<ast::TableWithJoins>,
    pub condition: Option<ast::Expr>,
    pub returning: Vec<ast::SelectItem>,
}

/// `column = value`, or `(a, b) = …`.
#[derive(Debug, Clone)]
pub struct Assignment {
    pub columns: Vec<Name>,
    /// Whether they stand in parentheses: then one of them, too, takes a row.
    pub is_row: bool,
    /// Where a field of a column begins: no column has fields that can be assigned.
    pub field: Option<u32>,
    /// Several columns take a row of as many fields or a subquery of as many columns. One may take `DEFAULT` (an identifier
    /// expression).
    pub value: ast::Expr,
}

/// MERGE [WITH SCHEMA EVOLUTION] INTO … USING … ON … WHEN ….
#[derive(Debug, Clone)]
pub struct Merge {
    pub with: Option<ast::With>,
    /// Whether the table gets the source's columns that it lacks.
    pub evolves: bool,
    pub table: QualifiedName,
    /// Without column names.
    pub alias: Option<ast::TableAlias>,
    pub source: ast::TableWithJoins,
    pub condition: ast::Expr,
    pub clauses: Vec<MergeClause>,
    pub returning: Vec<ast::SelectItem>,
}

#[derive(Debug, Clone)]
pub struct MergeClause {
    pub when: MergeWhen,
    pub condition: Option<ast::Expr>,
    pub action: MergeAction,
    /// Where the action's word stands.
    pub position: u32,
}

/// Which rows a clause is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeWhen {
    Matched,
    /// Rows of the source.
    NotMatchedByTarget,
    /// Rows of the target.
    NotMatchedBySource,
}

#[derive(Debug, Clone)]
pub enum MergeAction {
    DoNothing,
    Delete,
    /// UPDATE SET *: every column from the source's of the same name.
    UpdateAll,
    Update(Vec<Assignment>),
    /// INSERT *.
    InsertAll,
    Insert {
        columns: Vec<Name>,
        /// `None` is DEFAULT VALUES.
        values: Option<Vec<ast::Expr>>,
    },
}

impl MergeAction {
    /// Whether a source's column of that name gives a column of the table its value, or may.
    pub fn assigns(&self, column: &str) -> bool {
        match self {
            Self::DoNothing | Self::Delete => false,
            Self::UpdateAll | Self::InsertAll => true,
            Self::Update(assignments) => {
                assignments.iter().flat_map(|assignment| &assignment.columns).any(|name| name.value == column)
            }
            Self::Insert { columns, .. } => columns.iter().any(|name| name.value == column),
        }
    }
}

/// INSERT … ON CONFLICT.
#[derive(Debug, Clone)]
pub struct OnConflict {
    /// The key; none only with DO NOTHING.
    pub columns: Vec<Name>,
    pub action: ConflictAction,
    /// Where the key stands.
    pub target: u32,
}

#[derive(Debug, Clone)]
pub enum ConflictAction {
    Nothing,
    Update { assignments: Vec<Assignment>, condition: Option<Box<ast::Expr>> },
}
