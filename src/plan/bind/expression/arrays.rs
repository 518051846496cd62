//! Array constructors: `ARRAY[…]` and `ARRAY(SELECT …)`.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, SortExpr, lit};
use sqlparser::ast;

use super::super::Binder;
use super::Context;
use crate::encode::types::{PgType, array_of, arrow_type, element_of};
use crate::error::{Error, Result, SqlState};
use crate::plan::typing::{self, Coercion, Typed};

impl Binder<'_> {
    pub(super) fn array(&self, array: &ast::Array, context: &Context<'_, '_>, position: Option<u32>) -> Result<Typed> {
        if array.elem.is_empty() {
            return Err(Error::new(SqlState::IndeterminateDatatype, "cannot determine type of empty array")
                .with_hint("Explicitly cast to the desired type, for example ARRAY[]::integer[].")
                .at(position));
        }
        check_dimensions(&array.elem)?;
        let values = self.exprs(&array.elem, context)?;
        let common = typing::common_type(self.typing, &values, "ARRAY")?;
        let element = if common.oid == PgType::UNKNOWN.oid { PgType::TEXT } else { common };
        let ty = array_type(element).map_err(|error| error.at(position))?;
        let values = values
            .into_iter()
            .map(|value| typing::coerce(self.typing, value, element, Coercion::Implicit).map(|value| value.expr))
            .collect::<Result<Vec<_>>>()?;
        Ok(Typed { expr: datafusion::functions_nested::expr_fn::make_array(values), ty, position })
    }

    /// `ARRAY[…]::type[]`: each element is cast by itself.
    pub(super) fn array_of_type(
        &self,
        array: &ast::Array,
        element: PgType,
        ty: PgType,
        context: &Context<'_, '_>,
        position: Option<u32>,
    ) -> Result<Typed> {
        if array.elem.is_empty() {
            return Ok(Typed { expr: empty_array(ty), ty, position });
        }
        let mut values = Vec::new();
        for value in &array.elem {
            let value = match value {
                ast::Expr::Array(inner) => self.array_of_type(inner, element, ty, context, position)?,
                other => {
                    let start = self.start(other);
                    typing::cast(self.typing, self.expr(other, context)?, element, start)?
                }
            };
            values.push(value.expr);
        }
        Ok(Typed { expr: datafusion::functions_nested::expr_fn::make_array(values), ty, position })
    }

    /// `ARRAY(SELECT x …)`: the column's values in the query's order; no rows give an empty array.
    pub(super) fn array_subquery(
        &self,
        query: &ast::Query,
        context: &Context<'_, '_>,
        position: Option<u32>,
    ) -> Result<Typed> {
        let bound = self.inner_query(query, context)?;
        let [column] = bound.columns.as_slice() else {
            return Err(super::super::subquery::one_column().at(position));
        };
        let ty = array_type(column.ty).map_err(|error| error.at(position))?;
        let Some(value) = bound.exprs().pop() else { return Err(Error::internal("a query without columns")) };
        let (input, value, sorts) = ordered(&bound.plan, value);
        let aggregate = datafusion::functions_aggregate::array_agg::array_agg_udaf();
        let call = datafusion::logical_expr::expr::AggregateFunction::new_udf(
            aggregate,
            vec![value],
            false,
            None,
            sorts,
            None,
        );
        let name = self.unique("array");
        let plan = LogicalPlanBuilder::from(input)
            .aggregate(Vec::<Expr>::new(), vec![Expr::AggregateFunction(call).alias(name)])?
            .build()?;
        let collected = Expr::ScalarSubquery(super::super::subquery::subquery(plan));
        let expr = datafusion::functions::core::expr_fn::coalesce(vec![collected, empty_array(ty)]);
        Ok(Typed { expr, ty, position })
    }
}

/// 2202E for rows of a matrix that are not equally long.
fn check_dimensions(elements: &[ast::Expr]) -> Result<()> {
    let lengths: Vec<Option<usize>> = elements
        .iter()
        .map(|element| match element {
            ast::Expr::Array(inner) => Some(inner.elem.len()),
            _ => None,
        })
        .collect();
    let matrix = lengths.iter().all(Option::is_some);
    if matrix && lengths.windows(2).any(|pair| matches!(pair, [a, b] if a != b)) {
        let message = "multidimensional arrays must have array expressions with matching dimensions";
        return Err(Error::new(SqlState::ArraySubscriptError, message));
    }
    Ok(())
}

/// A plan's only column as an expression over the plan below its projection, with the sort keys that order the rows.
/// A sort below an aggregate orders nothing, so the aggregate has to sort by itself.
fn ordered(plan: &LogicalPlan, value: Expr) -> (LogicalPlan, Expr, Vec<SortExpr>) {
    let (input, value) = match plan {
        LogicalPlan::Projection(projection) => match projection.expr.as_slice() {
            [only] => (Arc::clone(&projection.input), only.clone().unalias()),
            _ => (Arc::new(plan.clone()), value),
        },
        _ => (Arc::new(plan.clone()), value),
    };
    if let LogicalPlan::Sort(sort) = input.as_ref() {
        return (sort.input.as_ref().clone(), value, sort.expr.clone());
    }
    let sorts = match input.as_ref() {
        LogicalPlan::Limit(limit) => match limit.input.as_ref() {
            LogicalPlan::Sort(sort) => sort.expr.clone(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    (Arc::unwrap_or_clone(input), value, sorts)
}

/// The array type of an element type; an array of arrays has its element's type in PostgreSQL.
pub(in super::super) fn array_type(element: PgType) -> Result<PgType> {
    if element_of(element.oid).is_some() {
        return Ok(element);
    }
    match array_of(element.oid) {
        Some(oid) => Ok(PgType { oid, typmod: element.typmod }),
        None => Err(Error::new(SqlState::UndefinedObject, "could not find array type for this data type")),
    }
}

fn empty_array(ty: PgType) -> Expr {
    let element = PgType { oid: element_of(ty.oid).unwrap_or(PgType::TEXT.oid), typmod: ty.typmod };
    lit(ScalarValue::List(ScalarValue::new_list_nullable(&[], &arrow_type(element))))
}
