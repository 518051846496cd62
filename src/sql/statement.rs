//! The closed set of statements. Each variant has one file in `execute` that runs it.

use super::expectation::RowExpectation;
use sqlparser::ast;

use super::alter::{Alter, AlterSchema, Comment, StoredExpression};
use super::change::{Delete, Merge, OnConflict, Update};
use super::copy_statement::{CopyFrom, CopyInto, CopyTo};
use super::external::{Convert, CreateExternalTable};
use super::inspect::Inspect;
use crate::encode::types::PgType;

/// One statement of a query text.
#[derive(Debug, Clone)]
pub struct Parsed {
    pub statement: Statement,
    /// The statement's own text, without the semicolon.
    pub text: String,
    /// Characters of the query text that stand before `text`. Positions in the tree count from the query text's start.
    pub offset: u32,
    /// Positions in the tree are lines and columns of this text: the whole query text.
    pub source: std::sync::Arc<str>,
}

/// What a client can ask for.
#[derive(Debug, Clone)]
pub enum Statement {
    /// Only white space and comments.
    Empty,
    /// SELECT, VALUES, TABLE, WITH.
    Query(Box<ast::Query>),
    Explain(Explain),
    Insert(Box<Insert>),
    Update(Box<Update>),
    Delete(Box<Delete>),
    Merge(Box<Merge>),
    Truncate(Truncate),
    CreateTable(Box<CreateTable>),
    /// ALTER TABLE | VIEW.
    Alter(Box<Alter>),
    AlterSchema(AlterSchema),
    Comment(Comment),
    Refresh(Refresh),
    CreateExternalTable(Box<CreateExternalTable>),
    Convert(Convert),
    CreateSchema(CreateSchema),
    CreateView(Box<CreateView>),
    /// DROP TABLE | VIEW | SCHEMA.
    Drop(Drop),
    CopyFrom(Box<CopyFrom>),
    CopyTo(Box<CopyTo>),
    CopyInto(Box<CopyInto>),
    Set(Set),
    Show(Show),
    /// SHOW TABLES and its kin, DESCRIBE.
    Inspect(Inspect),
    /// RESET name; `None` is RESET ALL.
    Reset(Option<Name>),
    /// BEGIN, or START TRANSACTION: their tags differ.
    Begin {
        modes: TransactionModes,
        start: bool,
    },
    Commit {
        chain: bool,
    },
    Rollback {
        chain: bool,
    },
    Savepoint(Name),
    /// RELEASE SAVEPOINT.
    Release(Name),
    /// ROLLBACK TO SAVEPOINT.
    RollbackTo(Name),
    /// SET TRANSACTION, or SET SESSION CHARACTERISTICS AS TRANSACTION.
    SetTransaction {
        session: bool,
        modes: TransactionModes,
    },
    Prepare(Box<Prepare>),
    Execute(ExecutePrepared),
    /// DEALLOCATE name; `None` is ALL.
    Deallocate(Option<Name>),
    Discard(Discard),
    /// UNLISTEN, which poolers send when they take a connection back: nobody can be listening.
    Unlisten,
    Declare(Box<Declare>),
    Fetch(Fetch),
    /// CLOSE name; `None` is ALL.
    Close(Option<Name>),
    /// Versions, files and statistics of tables.
    Care(super::Care),
    /// Rules of data quality, and VALIDATE.
    Expecting(super::Expecting),
    /// Models, but for SHOW and DESCRIBE.
    Modelling(super::Modelling),
    CreateRole(CreateRole),
    AlterRole(AlterRole),
    DropRole(DropRole),
}

/// An identifier after folding, with its place in the query text (characters from 1, 0 for unknown).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    pub value: String,
    pub position: u32,
}

/// `[[database.]schema.]name`, folded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QualifiedName {
    pub database: Option<String>,
    pub schema: Option<String>,
    pub name: String,
    /// Where the whole name starts (characters from 1, 0 for unknown).
    pub position: u32,
}

impl std::fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for part in [&self.database, &self.schema].into_iter().flatten() {
            write!(f, "{part}.")?;
        }
        f.write_str(&self.name)
    }
}

#[derive(Debug, Clone)]
pub struct Explain {
    pub analyze: bool,
    pub verbose: bool,
    pub json: bool,
    pub statement: Box<Statement>,
}

#[derive(Debug, Clone)]
pub struct Insert {
    pub table: QualifiedName,
    /// Without column names.
    pub alias: Option<ast::TableAlias>,
    pub columns: Vec<Name>,
    /// `None` is DEFAULT VALUES. A VALUES list may hold `DEFAULT` (an identifier expression).
    pub source: Option<Box<ast::Query>>,
    /// So many of the source's first CTEs stand before INSERT, for all of the statement.
    pub with_tables: usize,
    pub replaces: Replaces,
    pub on_conflict: Option<OnConflict>,
    pub returning: Vec<ast::SelectItem>,
}

/// Which rows of the table an INSERT takes away.
#[derive(Debug, Clone)]
pub enum Replaces {
    None,
    /// OVERWRITE: all.
    All,
    /// OVERWRITE … PARTITION (column = value, …): those of the partitions with these values, which the new rows get.
    Partitions(Vec<PartitionValue>),
    /// REPLACE WHERE: those for which it is true. New rows must meet it too.
    Where(Box<ast::Expr>),
}

/// A column of PARTITION; one without a value has its values in the rows.
#[derive(Debug, Clone)]
pub struct PartitionValue {
    pub column: Name,
    /// A constant.
    pub value: Option<ast::Expr>,
}

#[derive(Debug, Clone)]
pub struct Truncate {
    pub tables: Vec<QualifiedName>,
}

#[derive(Debug, Clone)]
pub struct CreateTable {
    pub name: QualifiedName,
    pub or_replace: bool,
    pub if_not_exists: bool,
    pub columns: Vec<ColumnDefinition>,
    pub checks: Vec<CheckConstraint>,
    pub expectations: Vec<RowExpectation>,
    pub partitioned_by: Vec<Name>,
    /// `None`: the user said nothing.
    pub cluster_by: Option<Vec<Name>>,
    pub location: Option<String>,
    pub comment: Option<String>,
    /// TBLPROPERTIES or WITH.
    pub properties: Vec<(String, String)>,
    /// AS SELECT …; `columns` then may give names only.
    pub query: Option<Box<ast::Query>>,
    /// WITH NO DATA.
    pub no_data: bool,
    pub temporary: bool,
    /// CREATE MATERIALIZED VIEW: the text of the query as the user wrote it.
    pub materialized: Option<String>,
    pub on_commit: Option<OnCommit>,
    /// Of a materialized view: how often it is refreshed.
    pub refresh_every: Option<RefreshEvery>,
}

/// REFRESH MATERIALIZED VIEW.
#[derive(Debug, Clone)]
pub struct Refresh {
    pub name: QualifiedName,
    /// WITH NO DATA: it is emptied.
    pub no_data: bool,
}

#[derive(Debug, Clone)]
pub struct ColumnDefinition {
    pub name: Name,
    /// `None` only in CREATE TABLE t (a, b) AS.
    pub ty: Option<PgType>,
    pub not_null: bool,
    pub comment: Option<String>,
    pub default: Option<StoredExpression>,
    /// GENERATED ALWAYS AS (…) STORED.
    pub generated: Option<StoredExpression>,
}

/// CHECK (expression), of a column or of the table.
#[derive(Debug, Clone)]
pub struct CheckConstraint {
    /// `None`: named as PostgreSQL does, `table_column_check` or `table_check`.
    pub name: Option<Name>,
    /// The column whose definition holds it.
    pub column: Option<String>,
    pub expression: Box<ast::Expr>,
    /// The expression as the user wrote it.
    pub text: String,
}

impl CheckConstraint {
    /// The column, if the expression names just one: PostgreSQL then names the constraint after it.
    pub fn only_column(&self) -> Option<String> {
        let mut names = super::column_names(&self.expression);
        if names.len() == 1 { names.pop_first() } else { None }
    }
}

#[derive(Debug, Clone)]
pub struct CreateSchema {
    pub name: Name,
    pub if_not_exists: bool,
    /// AUTHORIZATION role.
    pub owner: Option<Name>,
}

#[derive(Debug, Clone)]
pub struct CreateView {
    pub name: QualifiedName,
    pub temporary: bool,
    pub or_replace: bool,
    pub columns: Vec<Name>,
    pub query: Box<ast::Query>,
    /// The text of the query as the user wrote it, kept for `pg_get_viewdef` and re-parsed at use.
    pub query_text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropKind {
    Table,
    View,
    MaterializedView,
    Schema,
}

#[derive(Debug, Clone)]
pub struct Drop {
    pub kind: DropKind,
    pub if_exists: bool,
    /// For schemas only `name` is set.
    pub names: Vec<QualifiedName>,
    pub cascade: bool,
}

/// SET [SESSION | LOCAL] name = value, also SET TIME ZONE, SET NAMES, SET SCHEMA, SET ROLE, SET SESSION AUTHORIZATION.
#[derive(Debug, Clone)]
pub struct Set {
    pub name: Name,
    /// `None` is DEFAULT. A list (search_path) is joined as PostgreSQL does: `a, "B"`.
    pub value: Option<String>,
    pub local: bool,
}

#[derive(Debug, Clone)]
pub enum Show {
    All,
    Setting(Name),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TransactionModes {
    pub isolation: Option<Isolation>,
    pub read_only: Option<bool>,
    pub deferrable: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    ReadUncommitted,
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

#[derive(Debug, Clone)]
pub struct Prepare {
    pub name: Name,
    pub types: Vec<PgType>,
    pub statement: Parsed,
}

#[derive(Debug, Clone)]
pub struct ExecutePrepared {
    pub name: Name,
    pub arguments: Vec<ast::Expr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discard {
    All,
    Plans,
    Sequences,
    Temp,
}

#[derive(Debug, Clone)]
pub struct Declare {
    pub name: Name,
    pub binary: bool,
    /// SCROLL asked for: `Some(true)`; NO SCROLL: `Some(false)`.
    pub scroll: Option<bool>,
    pub hold: bool,
    pub query: Box<ast::Query>,
}

/// FETCH and MOVE.
#[derive(Debug, Clone)]
pub struct Fetch {
    pub cursor: Name,
    pub direction: FetchDirection,
    /// MOVE: count rows, send none.
    pub moves: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchDirection {
    Forward(u64),
    ForwardAll,
    Backward(u64),
    BackwardAll,
    Absolute(i64),
    Relative(i64),
}

#[derive(Debug, Clone, Default)]
pub struct RoleOptions {
    pub superuser: Option<bool>,
    pub login: Option<bool>,
    pub create_role: Option<bool>,
    pub create_database: Option<bool>,
    pub inherit: Option<bool>,
    pub connection_limit: Option<i32>,
    /// `Some(None)` is PASSWORD NULL.
    pub password: Option<Option<String>>,
    pub valid_until: Option<String>,
}

#[derive(Debug, Clone)]
pub struct CreateRole {
    pub name: Name,
    /// CREATE USER: LOGIN unless said otherwise (already folded into `options`).
    pub options: RoleOptions,
    pub if_not_exists: bool,
}

#[derive(Debug, Clone)]
pub struct AlterRole {
    pub name: Name,
    pub options: RoleOptions,
    pub rename_to: Option<Name>,
}

/// What becomes of a temporary table at the end of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnCommit {
    PreserveRows,
    DeleteRows,
    Drop,
}

/// REFRESH EVERY: an interval's text, and where it stands.
#[derive(Debug, Clone)]
pub struct RefreshEvery {
    pub interval: String,
    pub position: u32,
}

#[derive(Debug, Clone)]
pub struct DropRole {
    pub names: Vec<Name>,
    pub if_exists: bool,
}

impl Statement {
    /// The word under which metrics and `log_statement` count the statement, e.g. `select`, `copy`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Query(_) => "select",
            Self::Explain(_) => "explain",
            Self::Insert(_) => "insert",
            Self::Update(_) => "update",
            Self::Delete(_) => "delete",
            Self::Merge(_) => "merge",
            Self::Inspect(_) => "show",
            Self::Alter(alter) if alter.kind == super::AlterKind::View => "alter_view",
            Self::Alter(_) => "alter_table",
            Self::AlterSchema(_) => "alter_schema",
            Self::Comment(_) => "comment",
            Self::Refresh(_) => "refresh",
            Self::CreateExternalTable(_) => "create_table",
            Self::Convert(_) => "convert",
            Self::Truncate(_) => "truncate",
            Self::CreateTable(_) => "create_table",
            Self::CreateSchema(_) => "create_schema",
            Self::CreateView(_) => "create_view",
            Self::Drop(_) => "drop",
            Self::CopyFrom(_) => "copy_from",
            Self::CopyTo(_) => "copy_to",
            Self::CopyInto(_) => "copy_into",
            Self::Set(_) | Self::SetTransaction { .. } => "set",
            Self::Show(_) => "show",
            Self::Reset(_) => "reset",
            Self::Begin { .. } => "begin",
            Self::Commit { .. } => "commit",
            Self::Rollback { .. } => "rollback",
            Self::Savepoint(_) => "savepoint",
            Self::Release(_) => "release",
            Self::RollbackTo(_) => "rollback_to",
            Self::Prepare(_) => "prepare",
            Self::Execute(_) => "execute",
            Self::Deallocate(_) => "deallocate",
            Self::Discard(_) => "discard",
            Self::Unlisten => "unlisten",
            Self::Declare(_) => "declare",
            Self::Fetch(fetch) if fetch.moves => "move",
            Self::Fetch(_) => "fetch",
            Self::Close(_) => "close",
            Self::Care(care) => care.kind(),
            Self::Expecting(expecting) => expecting.kind(),
            Self::Modelling(modelling) => modelling.kind(),
            Self::CreateRole(_) => "create_role",
            Self::AlterRole(_) => "alter_role",
            Self::DropRole(_) => "drop_role",
        }
    }
}
