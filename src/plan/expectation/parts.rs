//! Rules as sums over a table's files: the aggregates of their conditions, which are computed for each file alone, and the
//! conditions over these.

use std::collections::HashMap;
use std::ops::ControlFlow;

use sqlparser::ast::{self, BinaryOperator, Expr, Visit as _, VisitMut, Visitor, VisitorMut};

use super::asked::{Asked, Condition, RowCounts};
use super::tree::{inner, is_aggregate};
use crate::builtins::functions::{self, Volatility};
use crate::encode::types::{PgType, oid};
use crate::error::{Error, Result};
use crate::plan::bind::names::{fold, last_name};
use crate::plan::incremental::repeats;
use crate::sql;

/// How the values of files give that of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Merge {
    Count,
    Sum,
    Min,
    Max,
    And,
    Or,
}

/// An aggregate whose value over all files follows from its values over each.
#[derive(Debug, Clone)]
pub struct Part {
    pub expr: Expr,
    pub merge: Merge,
    /// Columns of the table that it reads.
    pub columns: Vec<String>,
    /// Whether settings of the session say how its values are written.
    pub of_settings: bool,
    pub in_log: Option<InLog>,
}

/// What Delta's log may say about a file in a part's place.
#[derive(Debug, Clone)]
pub enum InLog {
    Rows,
    NotNull(String),
    Least(String),
    Greatest(String),
    /// The rows for which it is true: where it is of all or of none.
    If(Box<Expr>),
}

/// The parts of many rules, each once.
#[derive(Debug)]
pub struct Parts<'c> {
    columns: &'c [(String, PgType)],
    parts: Vec<Part>,
    known: HashMap<String, usize>,
}

/// The parts of one aggregate.
#[derive(Debug, Clone, Copy)]
enum Whole {
    One(usize),
    /// Sum and number of an average.
    Mean(usize, usize),
}

impl<'c> Parts<'c> {
    pub fn new(columns: &'c [(String, PgType)]) -> Self {
        Self { columns, parts: Vec::new(), known: HashMap::new() }
    }

    pub fn columns(&self) -> &'c [(String, PgType)] {
        self.columns
    }

    pub fn all(&self) -> &[Part] {
        &self.parts
    }

    /// The number of the part that an expression is.
    pub fn number(&self, expr: &Expr) -> Option<usize> {
        self.known.get(&expr.to_string()).copied()
    }

    /// The numbers of the parts that a rule follows from; `None` for a rule that asks for more, of which nothing is kept.
    pub fn add(&mut self, asked: &Asked<'_>) -> Option<Vec<usize>> {
        let exprs = expressions(asked);
        if exprs.is_empty() || !exprs.iter().all(|expr| self.is_made_of_parts(expr)) {
            return None;
        }
        let mut numbers = Vec::new();
        for expr in exprs {
            let _ = visit_aggregates(expr, |call| {
                match self.whole(call) {
                    Some(Whole::One(number)) => numbers.push(number),
                    Some(Whole::Mean(sum, count)) => numbers.extend([sum, count]),
                    None => return ControlFlow::Break(()),
                }
                ControlFlow::Continue(())
            });
        }
        numbers.sort_unstable();
        numbers.dedup();
        Some(numbers)
    }

    /// The part that an aggregate is, if it is one.
    pub fn one(&mut self, aggregate: &Expr) -> Option<&Part> {
        let Expr::Function(call) = aggregate else { return None };
        let number = self.part(call)?;
        self.parts.get(number)
    }

    /// The same over rows that hold the parts in columns of these names, one row a file.
    ///
    /// # Errors
    /// For what was not [added](Self::add).
    pub fn merged<'a>(&mut self, asked: &Asked<'a>, types: &[Option<PgType>]) -> Result<Asked<'a>> {
        Ok(match asked {
            Asked::Rows(counts) => Asked::Rows(Box::new(RowCounts {
                checked: self.over_parts(&counts.checked, types)?,
                passed: self.over_parts(&counts.passed, types)?,
            })),
            Asked::Condition(condition) => Asked::Condition(Box::new(Condition {
                holds: self.over_parts(&condition.holds, types)?,
                rows: self.over_parts(&condition.rows, types)?,
                value: condition.value.as_ref().map(|value| self.over_parts(value, types)).transpose()?,
                threshold: condition.threshold.clone(),
            })),
            Asked::Query(_) | Asked::Schema { .. } => return Err(Error::internal("a rule is no sum over files")),
        })
    }

    fn over_parts(&mut self, expr: &Expr, types: &[Option<PgType>]) -> Result<Expr> {
        let mut expr = expr.clone();
        let mut over = OverParts { parts: self, types, queries: 0 };
        match VisitMut::visit(&mut expr, &mut over) {
            ControlFlow::Continue(()) => Ok(expr),
            ControlFlow::Break(error) => Err(error),
        }
    }

    fn is_made_of_parts(&self, expr: &Expr) -> bool {
        let found = visit_aggregates(expr, |call| match merge_of(call) {
            Some(_) if self.value(call).is_some() => ControlFlow::Continue(()),
            Some(_) | None => ControlFlow::Break(()),
        });
        found.is_continue()
    }

    /// What the aggregate reads, if it is the same each time.
    fn value(&self, call: &ast::Function) -> Option<Value<'_>> {
        let mut value = Value { columns: self.columns, read: Vec::new(), of_settings: false };
        let arguments = arguments(call)?;
        let exprs = arguments.iter().filter_map(|argument| match argument {
            ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Some(expr),
            _ => None,
        });
        let mut exprs = exprs.chain(call.filter.as_deref());
        exprs.all(|expr| expr.visit(&mut value).is_continue()).then_some(value)
    }

    fn whole(&mut self, call: &ast::Function) -> Option<Whole> {
        if last_name(&call.name) != "avg" {
            return self.part(call).map(Whole::One);
        }
        let named = |name: &str| -> Option<ast::Function> {
            let Expr::Function(other) = sql::parse_expression(&format!("{name}(1)")).ok()? else { return None };
            Some(ast::Function { name: other.name, ..call.clone() })
        };
        Some(Whole::Mean(self.part(&named("sum")?)?, self.part(&named("count")?)?))
    }

    fn part(&mut self, call: &ast::Function) -> Option<usize> {
        let expr = Expr::Function(call.clone());
        let text = expr.to_string();
        if let Some(number) = self.known.get(&text) {
            return Some(*number);
        }
        let merge = merge_of(call)?;
        let Value { read, of_settings, .. } = self.value(call)?;
        let part = Part { expr, merge, columns: read, of_settings, in_log: self.in_log(call) };
        self.parts.push(part);
        self.known.insert(text, self.parts.len() - 1);
        Some(self.parts.len() - 1)
    }

    fn in_log(&self, call: &ast::Function) -> Option<InLog> {
        let name = last_name(&call.name);
        let argument = match arguments(call)? {
            [] => None,
            [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Wildcard)] => None,
            [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr))] => Some(expr),
            _ => return None,
        };
        match (name.as_str(), argument, call.filter.as_deref()) {
            ("count", None, None) => return Some(InLog::Rows),
            ("count", None, Some(filter)) => return Some(InLog::If(Box::new(filter.clone()))),
            ("count_if", Some(condition), None) => return Some(InLog::If(Box::new(condition.clone()))),
            _ => {}
        }
        let (Expr::Identifier(column), None) = (inner(argument?), &call.filter) else { return None };
        let column = fold(column);
        match name.as_str() {
            "count" => Some(InLog::NotNull(column)),
            "min" => Some(InLog::Least(column)),
            "max" => Some(InLog::Greatest(column)),
            _ => None,
        }
    }
}

/// The name of the column that holds a part.
pub fn part_name(number: usize) -> String {
    format!("part{number}")
}

/// Whether the values of a part of that type add up to the same in any order.
pub fn adds_up(merge: Merge, ty: PgType) -> bool {
    match merge {
        Merge::Count => ty.oid == oid::INT8,
        Merge::Sum => matches!(ty.oid, oid::INT8 | oid::NUMERIC),
        Merge::And | Merge::Or => ty.oid == oid::BOOL,
        Merge::Min | Merge::Max => matches!(
            ty.oid,
            oid::INT2
                | oid::INT4
                | oid::INT8
                | oid::NUMERIC
                | oid::FLOAT4
                | oid::FLOAT8
                | oid::TEXT
                | oid::VARCHAR
                | oid::DATE
                | oid::TIME
                | oid::TIMESTAMP
                | oid::TIMESTAMPTZ
        ),
    }
}

fn expressions<'a>(asked: &'a Asked<'_>) -> Vec<&'a Expr> {
    match asked {
        Asked::Rows(counts) => vec![&counts.checked, &counts.passed],
        Asked::Condition(condition) => {
            [&condition.holds, &condition.rows].into_iter().chain(&condition.value).collect()
        }
        Asked::Query(_) | Asked::Schema { .. } => Vec::new(),
    }
}

fn arguments(call: &ast::Function) -> Option<&[ast::FunctionArg]> {
    match &call.args {
        ast::FunctionArguments::List(list) if list.duplicate_treatment.is_none() && list.clauses.is_empty() => {
            Some(&list.args)
        }
        _ => None,
    }
}

fn merge_of(call: &ast::Function) -> Option<Merge> {
    let is_plain = call.over.is_none()
        && call.within_group.is_empty()
        && call.null_treatment.is_none()
        && matches!(call.parameters, ast::FunctionArguments::None);
    if !is_plain || arguments(call)?.len() > 1 {
        return None;
    }
    match last_name(&call.name).as_str() {
        "count" | "count_if" => Some(Merge::Count),
        "sum" | "avg" => Some(Merge::Sum),
        "min" => Some(Merge::Min),
        "max" => Some(Merge::Max),
        "bool_and" | "every" => Some(Merge::And),
        "bool_or" => Some(Merge::Or),
        _ => None,
    }
}

/// Visits the aggregates of an expression; those of its subqueries are theirs.
fn visit_aggregates(expr: &Expr, visit: impl FnMut(&ast::Function) -> ControlFlow<()>) -> ControlFlow<()> {
    expr.visit(&mut Aggregates { visit, queries: 0 })
}

struct Aggregates<F> {
    visit: F,
    queries: usize,
}

impl<F: FnMut(&ast::Function) -> ControlFlow<()>> Visitor for Aggregates<F> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &ast::Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &ast::Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(call) if self.queries == 0 && is_aggregate(call) => (self.visit)(call),
            _ => ControlFlow::Continue(()),
        }
    }
}

struct OverParts<'p, 'c> {
    parts: &'p mut Parts<'c>,
    types: &'p [Option<PgType>],
    queries: usize,
}

impl OverParts<'_, '_> {
    fn merged(&mut self, call: &ast::Function) -> Result<Expr> {
        let unknown = || Error::internal("a part of a rule is not known");
        let text = match self.parts.whole(call).ok_or_else(unknown)? {
            Whole::One(number) => {
                let part = self.parts.parts.get(number).ok_or_else(unknown)?;
                let column = part_name(number);
                let ty = self.types.get(number).copied().flatten().ok_or_else(unknown)?;
                match part.merge {
                    Merge::Count => format!("(coalesce(sum({column}), 0)::bigint)"),
                    // The sum of bigints is a numeric.
                    Merge::Sum if ty.oid == oid::INT8 => format!("(sum({column})::bigint)"),
                    Merge::Sum => format!("(sum({column}))"),
                    Merge::Min => format!("(min({column}))"),
                    Merge::Max => format!("(max({column}))"),
                    Merge::And => format!("(bool_and({column}))"),
                    Merge::Or => format!("(bool_or({column}))"),
                }
            }
            // Of numerics, with the digits that avg has.
            Whole::Mean(sum, count) => {
                format!("(sum({})::numeric / nullif(sum({})::numeric, 0))", part_name(sum), part_name(count))
            }
        };
        sql::parse_expression(&text)
    }
}

impl VisitorMut for OverParts<'_, '_> {
    type Break = Error;

    fn pre_visit_query(&mut self, _: &mut ast::Query) -> ControlFlow<Error> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut ast::Query) -> ControlFlow<Error> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let Expr::Function(call) = expr else { return ControlFlow::Continue(()) };
        if self.queries > 0 || !is_aggregate(call) {
            return ControlFlow::Continue(());
        }
        match self.merged(call) {
            Ok(merged) => {
                *expr = merged;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}

/// Looks at an expression over rows: whether it gives the same for a row whenever it is asked, and what it reads.
struct Value<'c> {
    columns: &'c [(String, PgType)],
    read: Vec<String>,
    of_settings: bool,
}

impl Value<'_> {
    fn read(&mut self, name: &ast::Ident) -> bool {
        let name = fold(name);
        let is_column = self.columns.iter().any(|(column, _)| *column == name);
        if is_column && !self.read.contains(&name) {
            self.read.push(name);
        }
        is_column
    }

    /// A text may say `today`; names of relations and roles mean what the catalog says.
    fn is_cast_repeatable(&mut self, expr: &Expr, to: &ast::DataType) -> bool {
        let to = to.to_string().to_ascii_lowercase();
        let is_one_of = |names: &[&str]| names.iter().any(|name| to.starts_with(name));
        if is_one_of(&["int", "bigint", "smallint", "numeric", "dec", "real", "double", "float", "bool", "uuid"]) {
            return !to.starts_with("interval") || self.is_of_time_or_literal(expr);
        }
        if is_one_of(&["date", "time"]) {
            return self.is_of_time_or_literal(expr);
        }
        self.of_settings = true;
        is_one_of(&["text", "varchar", "char", "json"])
    }

    fn is_of_time_or_literal(&self, expr: &Expr) -> bool {
        match inner(expr) {
            value @ Expr::Value(_) => repeats(value),
            Expr::Identifier(name) => {
                let name = fold(name);
                let ty = self.columns.iter().find(|(column, _)| *column == name).map(|(_, ty)| ty.oid);
                matches!(ty, Some(oid::DATE | oid::TIME | oid::TIMESTAMP | oid::TIMESTAMPTZ | oid::INTERVAL))
            }
            _ => false,
        }
    }
}

impl Visitor for Value<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &ast::Query) -> ControlFlow<()> {
        ControlFlow::Break(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        // Texts are no moments: rules were settled.
        let is_same = (matches!(expr, Expr::Value(_)) || repeats(expr))
            && match expr {
                // The name of the table alone is the whole row.
                Expr::Identifier(name) => self.read(name),
                Expr::CompoundIdentifier(names) => names.last().is_some_and(|name| self.read(name)),
                Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => false,
                Expr::Function(call) => {
                    let name = last_name(&call.name);
                    self.of_settings |=
                        functions::lookup(&name).any(|function| function.volatility != Volatility::Immutable);
                    true
                }
                Expr::BinaryOp { op: BinaryOperator::StringConcat, .. } => {
                    self.of_settings = true;
                    true
                }
                Expr::Cast { expr, data_type, .. } => self.is_cast_repeatable(expr, data_type),
                _ => true,
            };
        if is_same { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(condition: &str) -> Option<Vec<String>> {
        let columns = [
            ("a".to_owned(), PgType::INT4),
            ("s".to_owned(), PgType::TEXT),
            ("at".to_owned(), PgType::of(oid::TIMESTAMPTZ)),
        ];
        let condition = Condition {
            holds: sql::parse_expression(condition).unwrap(),
            rows: sql::parse_expression("count(*)").unwrap(),
            value: None,
            threshold: None,
        };
        let mut parts = Parts::new(&columns);
        parts.add(&Asked::Condition(Box::new(condition)))?;
        Some(parts.all().iter().map(|part| part.expr.to_string()).collect())
    }

    #[test]
    fn what_is_the_same_each_time_is_kept() {
        for (condition, wanted) in [
            ("sum(a) < 5 AND min(s) > 'a'", vec!["sum(a)", "min(s)", "count(*)"]),
            (
                "avg(a) FILTER (WHERE s = 'x') < 5",
                vec!["sum(a) FILTER (WHERE s = 'x')", "count(a) FILTER (WHERE s = 'x')", "count(*)"],
            ),
            ("max(at::date) > current_date - 3", vec!["max(at::date)", "count(*)"]),
            ("count(*) = (SELECT count(*) FROM u)", vec!["count(*)"]),
        ] {
            assert_eq!(parts(condition), Some(wanted.into_iter().map(str::to_owned).collect()), "{condition}");
        }
        for condition in [
            "count(DISTINCT a) = 3",
            "count_if(at > now()) = 3",
            "max(s::date) > '2024-01-01'",
            "stddev(a) < 3",
            "count_if(a = (SELECT 1)) = 3",
            "count_if(s = current_user) = 3",
            "count(t) = 3",
            "string_agg(s, ',') = 'a'",
            "max(s::regclass::oid) = 3",
            "percentile_cont(0.5) WITHIN GROUP (ORDER BY a) = 3",
        ] {
            assert_eq!(parts(condition), None, "{condition}");
        }
    }
}
