//! What names mean at a place in a query: FROM items, and the queries around.

use std::rc::Rc;

use datafusion::common::DFSchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::Expr;
use sqlparser::ast;

use super::cte::Cte;
use super::names::fold;
use super::{Binder, ColumnUse};
use crate::encode::types::PgType;
use crate::error::{Error, Result, SqlState};
use crate::plan::typing::Typed;

/// What surrounds a query: the scope it may refer to, and the CTEs in force.
#[derive(Clone, Default)]
pub(super) struct Environment<'s> {
    pub outer: Option<&'s Scope<'s>>,
    pub ctes: Rc<Vec<Rc<Cte>>>,
    /// Names that WITH gives later in the list than here: for error messages.
    pub pending: Rc<Vec<String>>,
}

/// The names of one query level.
pub(super) struct Scope<'s> {
    pub items: Vec<Item>,
    pub environment: Environment<'s>,
    /// Schema of the plan that `items` are columns of.
    pub schema: DFSchemaRef,
    /// Definitions of the WINDOW clause.
    pub windows: Vec<ast::NamedWindowDefinition>,
}

/// The table column that a column comes straight from; zeros for none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Origin {
    pub table: u32,
    pub attribute: i16,
}

/// One entry of the name space: a table, a subquery, a function, or what a join made of two of them.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// The alias, or the table's name; a join without an alias has none.
    pub name: Option<String>,
    /// The schema of a table without an alias.
    pub schema: Option<String>,
    /// The table's own name where an alias hides it: for hints.
    pub hidden_name: Option<String>,
    /// OID of the table, for `tableoid`.
    pub table_oid: u32,
    pub columns: Vec<ScopeColumn>,
    /// `name.column` works.
    pub relation_visible: bool,
    /// `column` works, and `*` lists them.
    pub columns_visible: bool,
    /// A function that answers one scalar: `f` alone is its value, not a row.
    pub scalar: bool,
    /// Columns that can be named and that `*` leaves out: a file's `_file` and `_file_modified`.
    pub system: Vec<ScopeColumn>,
    pub position: Option<u32>,
}

#[derive(Debug, Clone)]
pub(super) struct ScopeColumn {
    pub name: String,
    pub expr: Expr,
    pub ty: PgType,
    pub origin: Origin,
}

impl Item {
    /// The same item, there for error messages only.
    pub(super) fn out_of_reach(&self) -> Self {
        Self { relation_visible: false, columns_visible: false, ..self.clone() }
    }
}

/// A name that was found.
struct Found<'i> {
    item: &'i Item,
    column: &'i ScopeColumn,
}

impl<'s> Scope<'s> {
    pub(super) fn empty(environment: &Environment<'s>) -> Self {
        Self {
            items: Vec::new(),
            environment: environment.clone(),
            schema: std::sync::Arc::new(datafusion::common::DFSchema::empty()),
            windows: Vec::new(),
        }
    }

    /// This scope and the ones around it, from the inside out.
    pub(super) fn levels(&self) -> impl Iterator<Item = &Scope<'s>> {
        std::iter::successors(Some(self), |scope| scope.environment.outer)
    }

    /// The item that `schema.name` means, and how many levels out it is.
    pub(super) fn item(&self, schema: Option<&str>, name: &str) -> Option<(usize, &Item)> {
        self.levels().enumerate().find_map(|(level, scope)| {
            let named = |item: &&Item| {
                item.relation_visible
                    && item.name.as_deref() == Some(name)
                    && schema.is_none_or(|schema| item.schema.as_deref() == Some(schema))
            };
            scope.items.iter().find(named).map(|item| (level, item))
        })
    }

    fn unqualified(&self, name: &str) -> Result<Option<Found<'_>>> {
        let mut found = None;
        for item in self.items.iter().filter(|item| item.columns_visible) {
            for column in item.columns.iter().filter(|column| column.name == name) {
                if found.replace(Found { item, column }).is_some() {
                    return Err(ambiguous(name));
                }
            }
        }
        Ok(found)
    }

    /// Whether a column of that name is among this level's own columns.
    pub(super) fn has_column(&self, name: &str) -> bool {
        self.items.iter().filter(|item| item.columns_visible).flat_map(|item| &item.columns).any(|c| c.name == name)
    }
}

pub(super) fn ambiguous(name: &str) -> Error {
    Error::new(SqlState::AmbiguousColumn, format!("column reference \"{name}\" is ambiguous"))
}

/// A reference as it is used `level` scopes further in.
pub(super) fn at_level(expr: &Expr, level: usize, home: &DFSchemaRef) -> Result<Expr> {
    if level == 0 {
        return Ok(expr.clone());
    }
    let outer = expr.clone().transform(|expr| match expr {
        Expr::Column(column) => {
            let field = home.qualified_field_from_column(&column)?.1;
            Ok(Transformed::yes(Expr::OuterReferenceColumn(field.clone(), column)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(outer.data)
}

/// A column as the value of a name.
pub(super) struct Resolved {
    pub typed: Typed,
    pub origin: Origin,
}

impl Binder<'_> {
    /// `column`: the innermost level that has it wins; then a whole row of that name.
    pub(super) fn unqualified_column(&self, ident: &ast::Ident, scope: &Scope<'_>) -> Result<Resolved> {
        let name = fold(ident);
        let position = self.position(ident.span);
        for (level, home) in scope.levels().enumerate() {
            if let Some(found) = home.unqualified(&name).map_err(|error| error.at(position))? {
                return self.use_column(&found, level, home, position);
            }
        }
        if let Some((level, item)) = scope.item(None, &name) {
            return self.whole_row(item, level, scope, position);
        }
        if let Some(system) = system_column(&name, visible_table(scope), position) {
            return system;
        }
        Err(self.no_column(&name, scope).at(position))
    }

    /// `relation.column` or `schema.relation.column`.
    pub(super) fn qualified_column(&self, idents: &[ast::Ident], scope: &Scope<'_>) -> Result<Resolved> {
        let position = idents.first().and_then(|ident| self.position(ident.span));
        let parts: Vec<String> = idents.iter().map(fold).collect();
        let (schema, relation, name) = match parts.as_slice() {
            [relation, name] => (None, relation, name),
            [schema, relation, name] => (Some(schema.as_str()), relation, name),
            [_database, schema, relation, name] => (Some(schema.as_str()), relation, name),
            _ => {
                let message = format!("improper qualified name (too many dotted names): {}", parts.join("."));
                return Err(Error::new(SqlState::SyntaxError, message).at(position));
            }
        };
        let Some((level, item)) = scope.item(schema, relation) else {
            return Err(self.no_relation(relation, scope).at(position));
        };
        let home = scope.levels().nth(level).unwrap_or(scope);
        let mut named = item.columns.iter().filter(|column| column.name == *name);
        match (named.next(), named.next()) {
            (Some(column), None) => self.use_column(&Found { item, column }, level, home, position),
            (Some(_), Some(_)) => Err(ambiguous(name).at(position)),
            (None, _) => system_column(name, Some(item), position)
                .unwrap_or_else(|| Err(self.no_qualified_column(relation, name, scope).at(position))),
        }
    }

    fn use_column(&self, found: &Found<'_>, level: usize, home: &Scope<'_>, position: Option<u32>) -> Result<Resolved> {
        let label = match &found.item.name {
            Some(relation) => format!("{relation}.{}", found.column.name),
            None => found.column.name.clone(),
        };
        let mut uses = self.uses.borrow_mut();
        for column in found.column.expr.column_refs() {
            uses.push(ColumnUse { column: column.clone(), label: label.clone(), position });
        }
        let expr = at_level(&found.column.expr, level, &home.schema)?;
        let typed = Typed { expr, ty: found.column.ty, position };
        Ok(Resolved { typed, origin: found.column.origin })
    }

    /// `t` where `t` is a FROM item: its row, or its value when it is a scalar function's.
    pub(super) fn whole_row(
        &self,
        item: &Item,
        level: usize,
        scope: &Scope<'_>,
        position: Option<u32>,
    ) -> Result<Resolved> {
        let home = scope.levels().nth(level).unwrap_or(scope);
        if let (true, Some(column)) = (item.scalar, item.columns.first()) {
            return self.use_column(&Found { item, column }, level, home, position);
        }
        let mut fields = Vec::new();
        for column in &item.columns {
            let value = self.use_column(&Found { item, column }, level, home, position)?;
            fields.push((column.name.clone(), value.typed.expr, column.ty));
        }
        let typed = Typed { expr: super::expression::row::record(fields), ty: PgType::RECORD, position };
        Ok(Resolved { typed, origin: Origin::default() })
    }

    /// The columns that `relation.*` stands for.
    pub(super) fn relation_wildcard(
        &self,
        idents: &[ast::Ident],
        scope: &Scope<'_>,
    ) -> Result<Vec<(String, Resolved)>> {
        self.wildcard_of(idents, scope, &|_| true)
    }

    /// Of the columns that `relation.*` stands for those of some names.
    pub(super) fn wildcard_of(
        &self,
        idents: &[ast::Ident],
        scope: &Scope<'_>,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<(String, Resolved)>> {
        let position = idents.first().and_then(|ident| self.position(ident.span));
        let parts: Vec<String> = idents.iter().map(fold).collect();
        let (schema, relation) = match parts.as_slice() {
            [relation] => (None, relation),
            [.., schema, relation] => (Some(schema.as_str()), relation),
            [] => return Err(Error::internal("an empty name before .*")),
        };
        let Some((level, item)) = scope.item(schema, relation) else {
            return Err(self.no_relation(relation, scope).at(position));
        };
        let home = scope.levels().nth(level).unwrap_or(scope);
        item.columns
            .iter()
            .filter(|column| wanted(&column.name))
            .map(|column| {
                let value = self.use_column(&Found { item, column }, level, home, position)?;
                Ok((column.name.clone(), value))
            })
            .collect()
    }

    /// The columns that `*` stands for: 42601 without a FROM clause.
    pub(super) fn wildcard(&self, scope: &Scope<'_>, position: Option<u32>) -> Result<Vec<(String, Resolved)>> {
        if scope.items.iter().all(|item| !item.columns_visible) {
            let message = "SELECT * with no tables specified is not valid";
            return Err(Error::new(SqlState::SyntaxError, message).at(position));
        }
        let mut columns = Vec::new();
        for item in scope.items.iter().filter(|item| item.columns_visible) {
            for column in &item.columns {
                let value = self.use_column(&Found { item, column }, 0, scope, position)?;
                columns.push((column.name.clone(), value));
            }
        }
        Ok(columns)
    }
}

fn visible_table<'i>(scope: &'i Scope<'_>) -> Option<&'i Item> {
    let has_system_columns = |item: &&Item| item.table_oid != 0 || !item.system.is_empty();
    let mut tables = scope.items.iter().filter(|item| item.relation_visible).filter(has_system_columns);
    match (tables.next(), tables.next()) {
        (Some(table), None) => Some(table),
        _ => None,
    }
}

/// `tableoid` is a constant of the table; the other system columns are places in a heap, which a lake has not.
fn system_column(name: &str, item: Option<&Item>, position: Option<u32>) -> Option<Result<Resolved>> {
    let item = item?;
    if let Some(column) = item.system.iter().find(|column| column.name == name) {
        let typed = Typed { expr: column.expr.clone(), ty: column.ty, position };
        return Some(Ok(Resolved { typed, origin: Origin::default() }));
    }
    if item.table_oid == 0 {
        return None;
    }
    match name {
        "tableoid" => {
            let expr = datafusion::logical_expr::lit(i64::from(item.table_oid));
            Some(Ok(Resolved { typed: Typed { expr, ty: PgType::OID, position }, origin: Origin::default() }))
        }
        "ctid" | "xmin" | "xmax" | "cmin" | "cmax" => {
            Some(Err(Error::unsupported(format!("the system column \"{name}\"")).at(position)))
        }
        _ => None,
    }
}

/// The name of a column expression, without its qualifier.
pub(super) fn name_of(expr: &Expr) -> String {
    match expr {
        Expr::Column(column) => column.name.clone(),
        other => other.schema_name().to_string(),
    }
}

/// The expression of an inner query as one of the scope around it: its outer columns become columns.
pub(super) fn moved_out(expr: &Expr, home: &DFSchemaRef) -> Result<Expr> {
    let moved = expr.clone().transform(|expr| match expr {
        Expr::OuterReferenceColumn(_, column) if home.has_column(&column) => Ok(Transformed::yes(Expr::Column(column))),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(moved.data)
}
