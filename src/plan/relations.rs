//! What the binder may read: every relation that a statement names, resolved and pinned before binding starts.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use sqlparser::ast::{self, Visit, Visitor};

use crate::encode::types::PgType;
use crate::plan::bind::names::fold;
use crate::plan::bind::source::Source;
use crate::plan::model::{self, PREDICTIONS, UsedModel};

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
    pub filled: Filled,
}

/// What a column holds where a statement gives nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Filled {
    #[default]
    Null,
    /// SQL text of its DEFAULT.
    Default(Arc<str>),
    /// SQL text of an expression over the other columns: nothing else may be given.
    Generated(Arc<str>),
}

impl RelationColumn {
    pub fn new(name: impl Into<String>, ty: PgType) -> Self {
        Self { name: name.into(), ty, not_null: false, filled: Filled::Null }
    }

    pub fn is_generated(&self) -> bool {
        matches!(self.filled, Filled::Generated(_))
    }
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
    /// The text of the query, where it reads files: they are known by their places in it.
    pub text: Arc<str>,
    /// Relations inside the view's query.
    pub relations: Arc<Relations>,
}

/// The relations of one statement, keyed by the name as it is written after folding (`schema` absent when it was not given).
#[derive(Debug, Clone, Default)]
pub struct Relations {
    pub by_name: HashMap<(Option<String>, String), Relation>,
    /// Table functions over files (`read_csv('…')`) and quoted paths, keyed by the call's start position in the text.
    pub by_position: HashMap<u32, Relation>,
    /// Earlier versions (`t VERSION AS OF 3`) and functions over versions (`table_at('t', 3)`), by [`version_key`] and
    /// [`call_key`].
    pub by_version: HashMap<String, Relation>,
    /// What calls of `profile` and `suggest_expectations` say beside the relation, which is in `by_version`.
    pub profiled: HashMap<String, Profiled>,
    /// Models by the texts that name them.
    pub models: HashMap<String, UsedModel>,
    /// The tables behind `by_version`. The relations there have no OIDs: their columns need not be those that the catalog
    /// numbers.
    pub version_reads: Vec<VersionRead>,
    /// Named but absent relations are not errors of the pre-pass: a CTE may have the name. The binder reports them.
    pub missing_schemas: Vec<String>,
}

/// A table that a statement reads at a version: its name as it is written, and what that means.
#[derive(Debug, Clone)]
pub struct VersionRead {
    pub schema: Option<String>,
    pub name: String,
    pub oid: u32,
}

/// A call of a function over the values of a relation.
#[derive(Debug, Clone, Default)]
pub struct Profiled {
    /// The columns that the call names; `None` for all.
    pub columns: Option<Vec<String>>,
    /// The relation's name where it is a table, qualified and quoted.
    pub table: String,
    /// Names of the table's constraints and expectations.
    pub constraints: Vec<String>,
    /// The conditions of its expectations.
    pub expectations: Vec<String>,
}

/// A relation that a statement names, as the asynchronous pre-pass needs it.
#[derive(Debug, Clone)]
pub struct RelationName {
    pub kind: RelationNameKind,
    /// Where it starts in the text, characters from 1; the key of [`Relations::by_position`] for files.
    pub position: u32,
}

#[derive(Debug, Clone)]
pub enum RelationNameKind {
    /// A table, view or CTE; `database.` is dropped after folding.
    Named { database: Option<String>, schema: Option<String>, name: String },
    /// `FROM 's3://…/x.parquet'`.
    Path(String),
    /// `read_csv('…', header => true)` and its kin.
    FileFunction { name: String, arguments: Vec<ast::FunctionArg> },
    /// `t VERSION AS OF 3`; `name` and `schema` as in `Named`.
    Version { schema: Option<String>, name: String, version: Box<ast::TableVersion>, key: String },
    /// `table_at('t', 3)` and its kin, `violations('t', 'rule')`.
    VersionFunction { name: String, arguments: Vec<ast::FunctionArg>, key: String },
    /// The model of `predict('m', …)` or `MODEL m`, by its text.
    Model(String),
    /// `profile('t')` and its kin.
    ProfileFunction { name: String, arguments: Vec<ast::FunctionArg>, key: String },
}

/// Table functions over a table that they name, resolved by the pre-pass too.
pub const VERSION_FUNCTIONS: &[&str] = &["table_at", "table_changes", VIOLATIONS];

/// The rows of a table that break one of its rules.
pub const VIOLATIONS: &str = "violations";

/// Table functions over the values of a relation, resolved by the pre-pass too.
pub const PROFILE_FUNCTIONS: &[&str] = &["profile", "suggest_expectations"];

/// The same text for the same version of the same name.
pub fn version_key(name: &ast::ObjectName, version: &ast::TableVersion) -> String {
    format!("{name} {version}")
}

/// The same text for the same call.
pub fn call_key(function: &str, arguments: &[ast::FunctionArg]) -> String {
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    format!("{function}({})", arguments.join(", "))
}

/// Table functions that read files: they are resolved by the pre-pass, not by the binder.
pub const FILE_FUNCTIONS: &[&str] = &["read_csv", "read_json", "read_parquet", "read_avro", "read_delta"];

/// Every relation that the query names anywhere, subqueries and CTEs included. Names of CTEs are listed too: a name that
/// resolves to nothing is no error yet. `source` is the text whose lines and columns the tree's spans count.
pub fn names(query: &ast::Query, source: &str) -> Vec<RelationName> {
    collect(query, source)
}

/// The same for a single expression: the subqueries in it.
pub fn names_in_expression(expression: &ast::Expr, source: &str) -> Vec<RelationName> {
    collect(expression, source)
}

/// Names from several trees of one statement.
pub struct NamesOf {
    collector: Collector,
}

impl NamesOf {
    pub fn new(source: &str) -> Self {
        Self { collector: Collector { source: Source::new(source), names: Vec::new() } }
    }

    #[must_use]
    pub fn and(mut self, tree: &impl Visit) -> Self {
        let _ = tree.visit(&mut self.collector);
        self
    }

    pub fn names(self) -> Vec<RelationName> {
        self.collector.names
    }
}

fn collect(tree: &impl Visit, source: &str) -> Vec<RelationName> {
    let mut collector = Collector { source: Source::new(source), names: Vec::new() };
    let _ = tree.visit(&mut collector);
    collector.names
}

struct Collector {
    source: Source,
    names: Vec<RelationName>,
}

impl RelationName {
    /// Whether it names files rather than a relation.
    pub fn is_file(&self) -> bool {
        match self.kind {
            RelationNameKind::Named { .. }
            | RelationNameKind::Version { .. }
            | RelationNameKind::VersionFunction { .. }
            | RelationNameKind::Model(_)
            | RelationNameKind::ProfileFunction { .. } => false,
            RelationNameKind::Path(_) | RelationNameKind::FileFunction { .. } => true,
        }
    }
}

impl Relation {
    /// 0 for what has no OID.
    pub fn oid(&self) -> u32 {
        match self {
            Self::Table(table) => table.oid,
            Self::View(view) => view.oid,
        }
    }
}

impl Visitor for Collector {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<Self::Break> {
        self.table_commands(&query.body);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &ast::TableFactor) -> ControlFlow<Self::Break> {
        match factor {
            ast::TableFactor::Table { name, args: None, version: Some(version), .. } => self.version(name, version),
            ast::TableFactor::Table { name, args: None, .. } => self.named(name),
            ast::TableFactor::Table { name, args: Some(arguments), .. } => self.function(name, &arguments.args),
            ast::TableFactor::Function { name, args, .. } => self.function(name, args),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<Self::Break> {
        if let ast::Expr::Function(call) = expr
            && let [ast::ObjectNamePart::Identifier(name)] = call.name.0.as_slice()
            && let ast::FunctionArguments::List(list) = &call.args
            && PREDICTIONS.contains(&fold(name).as_str())
            && let Some((text, expr)) = model::first_argument(&list.args)
        {
            let position = self.source.position(ast::Spanned::span(expr)).unwrap_or(0);
            self.names.push(RelationName { kind: RelationNameKind::Model(text.to_owned()), position });
        }
        ControlFlow::Continue(())
    }
}

impl Collector {
    /// `TABLE t` stands for a query and names a relation without being a table factor.
    fn table_commands(&mut self, body: &ast::SetExpr) {
        match body {
            ast::SetExpr::Table(table) => {
                if let Some(name) = &table.table_name {
                    let schema = table.schema_name.clone();
                    let kind = RelationNameKind::Named { database: None, schema, name: name.clone() };
                    self.names.push(RelationName { kind, position: 0 });
                }
            }
            ast::SetExpr::SetOperation { left, right, .. } => {
                self.table_commands(left);
                self.table_commands(right);
            }
            _ => {}
        }
    }

    fn named(&mut self, name: &ast::ObjectName) {
        let parts: Vec<&ast::Ident> = name.0.iter().filter_map(ast::ObjectNamePart::as_ident).collect();
        let position = parts.first().and_then(|part| self.source.position(part.span)).unwrap_or(0);
        let kind = match parts.as_slice() {
            [path] if path.quote_style == Some('\'') => RelationNameKind::Path(path.value.clone()),
            [name] => RelationNameKind::Named { database: None, schema: None, name: fold(name) },
            [schema, name] => RelationNameKind::Named { database: None, schema: Some(fold(schema)), name: fold(name) },
            [database, schema, name] => {
                RelationNameKind::Named { database: Some(fold(database)), schema: Some(fold(schema)), name: fold(name) }
            }
            _ => return,
        };
        self.names.push(RelationName { kind, position });
    }

    fn version(&mut self, of: &ast::ObjectName, version: &ast::TableVersion) {
        let parts: Vec<&ast::Ident> = of.0.iter().filter_map(ast::ObjectNamePart::as_ident).collect();
        let position = parts.first().and_then(|part| self.source.position(part.span)).unwrap_or(0);
        let (schema, name) = match parts.as_slice() {
            [name] => (None, fold(name)),
            [schema, name] | [_, schema, name] => (Some(fold(schema)), fold(name)),
            _ => return,
        };
        let key = version_key(of, version);
        let kind = RelationNameKind::Version { schema, name, version: Box::new(version.clone()), key };
        self.names.push(RelationName { kind, position });
    }

    fn function(&mut self, name: &ast::ObjectName, arguments: &[ast::FunctionArg]) {
        let Some(ident) = name.0.last().and_then(ast::ObjectNamePart::as_ident) else { return };
        let folded = fold(ident);
        if let [schema, _] = name.0.as_slice()
            && schema.as_ident().is_some_and(|schema| fold(schema) == model::SCHEMA)
        {
            for parts in arguments.iter().filter_map(crate::sql::model_argument) {
                let position = parts.first().and_then(|part| self.source.position(part.span)).unwrap_or(0);
                self.names.push(RelationName { kind: RelationNameKind::Model(model::written(parts)), position });
            }
            return;
        }
        let arguments = arguments.to_vec();
        let kind = if FILE_FUNCTIONS.contains(&folded.as_str()) {
            RelationNameKind::FileFunction { name: folded, arguments }
        } else if VERSION_FUNCTIONS.contains(&folded.as_str()) {
            let key = call_key(&folded, &arguments);
            RelationNameKind::VersionFunction { name: folded, arguments, key }
        } else if PROFILE_FUNCTIONS.contains(&folded.as_str()) {
            let key = call_key(&folded, &arguments);
            RelationNameKind::ProfileFunction { name: folded, arguments, key }
        } else {
            return;
        };
        let first = name.0.first().and_then(ast::ObjectNamePart::as_ident).unwrap_or(ident);
        let position = self.source.position(first.span).unwrap_or(0);
        self.names.push(RelationName { kind, position });
    }
}
