//! What the statements that look after tables say.

use sqlparser::ast;

use super::statement::{Name, QualifiedName};

/// A statement about versions, files or statistics of tables.
#[derive(Debug, Clone)]
pub enum Care {
    /// DESCRIBE HISTORY t [LIMIT n].
    History {
        table: QualifiedName,
        limit: Option<u64>,
    },
    /// DESCRIBE DETAIL t.
    Detail(QualifiedName),
    /// RESTORE [TABLE] t TO VERSION | TIMESTAMP AS OF ….
    Restore {
        table: QualifiedName,
        version: Box<ast::TableVersion>,
    },
    Optimize(Optimize),
    /// REORG TABLE t APPLY (PURGE).
    Purge(QualifiedName),
    Vacuum(Vacuum),
    Analyze(Vec<CaredTable>),
}

/// OPTIMIZE t [FULL] [WHERE …] [ZORDER BY (…)].
#[derive(Debug, Clone)]
pub struct Optimize {
    pub table: QualifiedName,
    /// Files that are large enough are written anew too.
    pub full: bool,
    pub condition: Option<Box<ast::Expr>>,
    pub order: Vec<Name>,
}

/// VACUUM, PostgreSQL's and Delta's.
#[derive(Debug, Clone)]
pub struct Vacuum {
    /// None: all tables.
    pub tables: Vec<CaredTable>,
    /// Small files are put together first.
    pub full: bool,
    pub analyze: bool,
    pub verbose: bool,
    /// RETAIN n HOURS.
    pub retain_hours: Option<f64>,
    /// DRY RUN: tells the files and removes none.
    pub dry_run: bool,
}

/// `t [(a, b)]`.
#[derive(Debug, Clone)]
pub struct CaredTable {
    pub name: QualifiedName,
    pub columns: Vec<Name>,
}

impl Care {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::History { .. } => "describe_history",
            Self::Detail(_) => "describe_detail",
            Self::Restore { .. } => "restore",
            Self::Optimize(_) => "optimize",
            Self::Purge(_) => "reorg",
            Self::Vacuum(_) => "vacuum",
            Self::Analyze(_) => "analyze",
        }
    }
}
