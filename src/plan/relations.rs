//! What the binder may read: every relation that a statement names, resolved and pinned before binding starts.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::catalog::TableProvider;

use crate::encode::types::PgType;

/// A relation ready to be scanned, or a view to be expanded.
#[derive(Debug, Clone)]
pub enum Relation {
    Table(ResolvedTable),
    View(ResolvedView),
}

/// A table pinned at one version, or a system table.
#[derive(Debug, Clone)]
pub struct ResolvedTable {
    pub schema: String,
    pub name: String,
    /// 0 for what has no OID.
    pub oid: u32,
    /// In attribute order; the provider's schema has the same columns in the same order.
    pub columns: Vec<RelationColumn>,
    pub provider: Arc<dyn TableProvider>,
}

#[derive(Debug, Clone)]
pub struct RelationColumn {
    pub name: String,
    pub ty: PgType,
    pub not_null: bool,
}

/// A view's text; the names in it were resolved by the pre-pass too, under the view's own `search_path`.
#[derive(Debug, Clone)]
pub struct ResolvedView {
    pub schema: String,
    pub name: String,
    pub oid: u32,
    /// Names and types that the view promised when it was created.
    pub columns: Vec<RelationColumn>,
    pub query: Arc<sqlparser::ast::Query>,
    /// Relations inside the view's query.
    pub relations: Arc<Relations>,
}

/// The relations of one statement, keyed by the name as it is written after folding (`schema` absent when it was not given).
#[derive(Debug, Clone, Default)]
pub struct Relations {
    pub by_name: HashMap<(Option<String>, String), Relation>,
    /// Table functions over files (`read_csv('…')`) and quoted paths, keyed by the call's start position in the text.
    pub by_position: HashMap<u32, Relation>,
    /// Named but absent relations are not errors of the pre-pass: a CTE may have the name. The binder reports them.
    pub missing_schemas: Vec<String>,
}
