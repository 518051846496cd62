//! INSERT's source: the query's columns put in the table's order and cast as an assignment casts.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, lit};
use sqlparser::ast;

use super::expression::{Clause, Context};
use super::filled::given_to_generated;
use super::names::unique;
use super::scope::{Environment, Origin, Scope};
use super::{Binder, Bound, BoundColumn, BoundQuery, Unknowns};
use crate::encode::types::{OutputColumn, PgType, arrow_type};
use crate::error::{Error, Result, SqlState};
use crate::plan::relations::RelationColumn;
use crate::plan::typing::{self, Coercion, Typed};
use crate::sql::Name;

/// Where rows are inserted.
#[derive(Clone, Copy)]
pub(super) struct Into<'a> {
    pub(super) table: &'a str,
    pub(super) columns: &'a [RelationColumn],
    /// The columns that the statement names; none for all.
    pub(super) targets: &'a [Name],
    /// Values of columns that the rows do not have, by the columns' numbers.
    pub(super) fixed: &'a [(usize, Typed)],
}

/// One value of a VALUES list under an INSERT.
enum Given {
    Value(Typed),
    Default,
}

impl Binder<'_> {
    /// A plan whose output is exactly the table's columns, in order. Columns without a value have their default. `source`: `None` is
    /// DEFAULT VALUES; a VALUES list may hold DEFAULT.
    pub fn bind_insert(
        &self,
        table: &str,
        columns: &[RelationColumn],
        targets: &[Name],
        source: Option<&ast::Query>,
    ) -> Result<BoundQuery> {
        self.bind_insert_into(&Into { table, columns, targets, fixed: &[] }, source)
    }

    /// The same, where some columns have their values already.
    pub(super) fn bind_insert_into(&self, into: &Into<'_>, source: Option<&ast::Query>) -> Result<BoundQuery> {
        let Into { table, columns, targets, fixed } = *into;
        let mut chosen = self.insert_targets(table, columns, targets)?;
        let is_fixed = |index: &usize| fixed.iter().any(|(known, _)| known == index);
        if targets.is_empty() {
            chosen.retain(|index| !is_fixed(index));
        } else if let Some(twice) = chosen.iter().position(is_fixed).and_then(|at| targets.get(at)) {
            let message = format!("column \"{}\" specified more than once", twice.value);
            return Err(Error::new(SqlState::DuplicateColumn, message).at(twice.position));
        }
        let environment = Environment::default();
        let bound = match source {
            None => self.insert_values(vec![Vec::new()], columns, &chosen, targets)?,
            Some(query) => match plain_values(query) {
                Some(values) => {
                    let rows = self.insert_rows(values, &environment)?;
                    self.insert_values(rows, columns, &chosen, targets)?
                }
                None => {
                    let bound = self.query(query, &environment, Unknowns::Wait)?;
                    self.insert_query(bound, columns, &chosen, targets)?
                }
            },
        };
        self.table_shape(bound, columns, &chosen, fixed)
    }

    /// Indexes of the columns that get values: those named, or all.
    pub(super) fn insert_targets(
        &self,
        table: &str,
        columns: &[RelationColumn],
        targets: &[Name],
    ) -> Result<Vec<usize>> {
        if targets.is_empty() {
            return Ok((0..columns.len()).collect());
        }
        let mut chosen = Vec::new();
        for target in targets {
            let position = (target.position > 0).then_some(target.position);
            let Some(index) = columns.iter().position(|column| column.name == target.value) else {
                let message = format!("column \"{}\" of relation \"{table}\" does not exist", target.value);
                return Err(Error::new(SqlState::UndefinedColumn, message).at(position));
            };
            if chosen.contains(&index) {
                let message = format!("column \"{}\" specified more than once", target.value);
                return Err(Error::new(SqlState::DuplicateColumn, message).at(position));
            }
            chosen.push(index);
        }
        Ok(chosen)
    }

    fn insert_rows(&self, values: &ast::Values, environment: &Environment<'_>) -> Result<Vec<Vec<Given>>> {
        let scope = Scope::empty(environment);
        let context = Context::new(&scope, Clause::Values);
        let mut rows = Vec::new();
        for row in &values.rows {
            let mut given = Vec::new();
            for expr in &row.content {
                given.push(if is_default(expr) { Given::Default } else { Given::Value(self.expr(expr, &context)?) });
            }
            rows.push(given);
        }
        Ok(rows)
    }

    /// Each value is cast to its own column: in an INSERT the list's values need no common type.
    fn insert_values(
        &self,
        rows: Vec<Vec<Given>>,
        columns: &[RelationColumn],
        chosen: &[usize],
        targets: &[Name],
    ) -> Result<Bound> {
        let width = rows.first().map_or(0, Vec::len);
        let mut cast_rows = Vec::new();
        for row in rows {
            if row.len() != width {
                let position = row.iter().find_map(value_position);
                let message = "VALUES lists must all be the same length";
                return Err(Error::new(SqlState::SyntaxError, message).at(position));
            }
            check_count(row.len(), chosen.len(), targets, |index| row.get(index).and_then(value_position))?;
            let mut values = Vec::new();
            for (given, index) in row.into_iter().zip(chosen) {
                let Some(column) = columns.get(*index) else { continue };
                values.push(match given {
                    Given::Default => self.default_of(column)?,
                    Given::Value(value) => self.inserted(value, column)?,
                });
            }
            cast_rows.push(values);
        }
        if width == 0 {
            let plan = LogicalPlanBuilder::empty(true).build()?;
            return Ok(Bound { plan, columns: Vec::new() });
        }
        self.values_of(cast_rows, Unknowns::Text)
    }

    fn insert_query(
        &self,
        bound: Bound,
        columns: &[RelationColumn],
        chosen: &[usize],
        targets: &[Name],
    ) -> Result<Bound> {
        let position = |index: usize| bound.columns.get(index).and_then(|column| column.position);
        check_count(bound.columns.len(), chosen.len(), targets, position)?;
        let mut exprs = Vec::new();
        let mut out = Vec::new();
        for (index, target) in chosen.iter().take(bound.columns.len()).enumerate() {
            let (Some(value), Some(column)) = (bound.operand(index), columns.get(*target)) else { continue };
            exprs.push(self.inserted(value, column)?.expr);
            out.push(column.clone());
        }
        let names = unique(out.iter().map(|column| column.name.as_str()));
        let exprs = exprs.into_iter().zip(names).map(|(expr, name)| expr.alias(name));
        let plan = LogicalPlanBuilder::from(bound.plan).project(exprs.collect::<Vec<_>>())?.build()?;
        let columns = out
            .into_iter()
            .map(|column| BoundColumn {
                name: column.name,
                ty: column.ty,
                origin: Origin::default(),
                position: None,
                unsettled: None,
            })
            .collect();
        Ok(Bound { plan, columns })
    }

    /// A value that INSERT gives a column.
    pub(super) fn inserted(&self, value: Typed, column: &RelationColumn) -> Result<Typed> {
        if column.is_generated() {
            let message = format!("cannot insert a non-DEFAULT value into column \"{}\"", column.name);
            return Err(given_to_generated(column, message));
        }
        self.assigned(value, column)
    }

    pub(super) fn assigned(&self, value: Typed, column: &RelationColumn) -> Result<Typed> {
        let (given, position) = (value.ty, value.position);
        let mut cast = typing::coerce(self.typing, value, column.ty, Coercion::Assignment).map_err(|error| {
            if !matches!(error.sqlstate(), SqlState::DatatypeMismatch | SqlState::CannotCoerce) {
                return error;
            }
            let message = format!(
                "column \"{}\" is of type {} but expression is of type {}",
                column.name,
                type_words(PgType::of(column.ty.oid)),
                type_words(PgType::of(given.oid))
            );
            Error::new(SqlState::DatatypeMismatch, message)
                .with_hint("You will need to rewrite or cast the expression.")
                .at(position)
        })?;
        cast.ty = column.ty;
        Ok(cast)
    }

    /// The table's columns in order, its own values where nothing was given.
    fn table_shape(
        &self,
        bound: Bound,
        columns: &[RelationColumn],
        chosen: &[usize],
        fixed: &[(usize, Typed)],
    ) -> Result<BoundQuery> {
        let given = bound.exprs();
        let names = unique(columns.iter().map(|column| column.name.as_str()));
        let mut exprs: Vec<Expr> = Vec::new();
        for (index, (column, name)) in columns.iter().zip(&names).enumerate() {
            let value = chosen.iter().position(|target| *target == index).and_then(|at| given.get(at)).cloned();
            let known = fixed.iter().find(|(known, _)| *known == index).map(|(_, value)| value.expr.clone());
            let value = match value.or(known) {
                Some(value) => value,
                None => self.default_of(column)?.expr,
            };
            exprs.push(value.alias(name));
        }
        let plan = LogicalPlanBuilder::from(bound.plan).project(exprs)?.build()?;
        let shape = columns.iter().map(|column| OutputColumn::new(column.name.clone(), column.ty)).collect();
        let bound = self.with_generated(BoundQuery { plan, columns: shape }, columns)?;
        Ok(BoundQuery { plan: self.unnested(bound.plan)?, ..bound })
    }
}

pub(super) fn null_of(ty: PgType) -> Typed {
    let null = ScalarValue::try_from(&arrow_type(ty)).unwrap_or(ScalarValue::Null);
    Typed { expr: lit(null), ty, position: None }
}

fn value_position(given: &Given) -> Option<u32> {
    match given {
        Given::Value(value) => value.position,
        Given::Default => None,
    }
}

/// The VALUES list that is the whole source.
fn plain_values(query: &ast::Query) -> Option<&ast::Values> {
    let plain = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.locks.is_empty();
    match query.body.as_ref() {
        ast::SetExpr::Values(values) if plain => Some(values),
        _ => None,
    }
}

pub(super) fn is_default(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
}

/// More values than columns, or fewer than columns were named.
pub(super) fn check_count(
    given: usize,
    wanted: usize,
    targets: &[Name],
    position: impl Fn(usize) -> Option<u32>,
) -> Result<()> {
    if given > wanted {
        let message = "INSERT has more expressions than target columns";
        return Err(Error::new(SqlState::SyntaxError, message).at(position(wanted)));
    }
    if given > 0 && given < wanted && !targets.is_empty() {
        let message = "INSERT has more target columns than expressions";
        let at = targets.get(given).map(|target| target.position).filter(|position| *position > 0);
        return Err(Error::new(SqlState::SyntaxError, message).at(at));
    }
    Ok(())
}

/// The type as error messages write it.
pub(super) fn type_words(ty: PgType) -> String {
    crate::encode::types::type_words(ty.oid)
}
