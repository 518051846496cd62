//! Models in a statement: TRANSFORM's expressions, and calls that predict.

mod anomalies;
mod calls;
mod columns;
mod evaluation;
mod explained;
pub mod facts;
mod named;
mod series;

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::datasource::empty::EmptyTable;
use sqlparser::ast::{self, SelectItem, Spanned as _};

use super::relations::{Relation, RelationColumn, Relations, ResolvedTable};
use crate::encode::types::arrow_type;
use crate::error::{Error, Result};
use crate::models::Feature;
use crate::sql;

pub use anomalies::{Detecting, anomaly_columns};
pub use calls::{ModelCall, calls};
pub use columns::Added;
pub use evaluation::{Evaluated, Told};
pub use explained::{Explaining, explanation_columns};
pub use facts::Facts;
pub use named::{PREDICTIONS, SCHEMA, UsedModel, first_argument, parse_model, written};
pub use series::{Ahead, SeriesRows};

/// What the inputs of a transform are called.
const INPUT: &str = "input";

/// The inputs of a transform as a relation without rows.
pub fn inputs_as_relation(inputs: &[Feature]) -> Relations {
    let fields: Vec<Field> = inputs.iter().map(|input| Field::new(&input.name, arrow_type(input.ty()), true)).collect();
    let table = ResolvedTable {
        schema: String::new(),
        name: INPUT.to_owned(),
        oid: 0,
        columns: inputs.iter().map(|input| RelationColumn::new(&input.name, input.ty())).collect(),
        provider: Arc::new(EmptyTable::new(Arc::new(Schema::new(fields)))),
    };
    let mut relations = Relations::default();
    relations.by_name.insert((None, INPUT.to_owned()), Relation::Table(table));
    relations
}

/// A query that computes one expression over the inputs.
///
/// # Errors
/// None in practice: the text that it is made from parses.
pub fn over_inputs(expression: ast::Expr) -> Result<ast::Query> {
    let mut query = sql::parse_query("SELECT 1 FROM input")?;
    if let ast::SetExpr::Select(select) = query.body.as_mut() {
        select.projection = vec![SelectItem::UnnamedExpr(expression)];
    }
    Ok(query)
}

fn is_prediction(call: &ast::Function) -> bool {
    let name = call.name.0.last().and_then(|part| part.as_ident()).map(sql::fold).unwrap_or_default();
    PREDICTIONS.contains(&name.as_str())
}

/// Refuses what an expression of TRANSFORM may not hold: it is computed for each row alone, in training as in prediction.
///
/// # Errors
/// 0A000 with a position.
pub fn check_transform(expression: &ast::Expr, source: &str) -> Result<()> {
    struct Refused<'a> {
        source: &'a str,
    }
    impl ast::Visitor for Refused<'_> {
        type Break = Error;

        /// Wherever it stands: `ARRAY(SELECT …)` is a call with a query as its arguments.
        fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<Error> {
            let position = sql::span_position(self.source, query.span());
            ControlFlow::Break(Error::unsupported("a subquery in TRANSFORM").at(position))
        }

        fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<Error> {
            let what = match expr {
                ast::Expr::Subquery(_) | ast::Expr::Exists { .. } | ast::Expr::InSubquery { .. } => "a subquery",
                ast::Expr::Function(call) if call.over.is_some() => "a window function",
                ast::Expr::Function(call) if is_prediction(call) => "a prediction",
                ast::Expr::Function(call) => {
                    let name = call.name.0.last().and_then(|part| part.as_ident()).map(sql::fold).unwrap_or_default();
                    let mut found = crate::builtins::functions::lookup(&name);
                    let kind = found.find_map(|function| {
                        use crate::builtins::functions::{Body, Volatility};
                        match (&function.body, function.volatility) {
                            (Body::Aggregate(_), _) => Some("an aggregate"),
                            (Body::Window(_), _) => Some("a window function"),
                            (Body::Set(_), _) => Some("a set-returning function"),
                            (_, Volatility::Volatile) => Some("a volatile function"),
                            _ => None,
                        }
                    });
                    match kind {
                        Some(kind) => kind,
                        None => return ControlFlow::Continue(()),
                    }
                }
                _ => return ControlFlow::Continue(()),
            };
            let position = sql::span_position(self.source, expr.span());
            ControlFlow::Break(Error::unsupported(format!("{what} in TRANSFORM")).at(position))
        }
    }
    match ast::Visit::visit(expression, &mut Refused { source }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}
