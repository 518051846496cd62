//! What becomes of the rows of an altered table: asked whether they fit, or written anew.

use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use futures::StreamExt;

use crate::encode::types::PgType;
use crate::error::{Error, Result, SqlState};
use crate::execute::alter_draft::{Draft, Scan};
use crate::execute::road::Road;
use crate::plan;
use crate::plan::bind::BoundQuery;
use crate::plan::relations::RelationColumn;
use crate::plan::resolve::column_of;

pub(super) fn scan_of(draft: &Draft) -> Result<LogicalPlanBuilder> {
    Ok(LogicalPlanBuilder::scan("altered", provider_as_source(draft.table.provider()?), None)?)
}

/// All rows as the new definition has them.
pub(super) fn new_rows(draft: &Draft) -> Result<LogicalPlan> {
    let mut values = Vec::with_capacity(draft.columns.len());
    for (index, column) in draft.columns.iter().enumerate() {
        let value = plan::over_rows(column.value.clone(), &draft.old, draft.table.arrow_schema())?;
        values.push(value.alias(format!("altered:{index}")));
    }
    let plan = scan_of(draft)?.project(values)?.build()?;
    let wanted: Vec<(String, PgType)> =
        draft.columns.iter().map(|column| (column.spec.name.clone(), column.spec.ty)).collect();
    plan::cast_columns(BoundQuery { plan, columns: Vec::new() }, &wanted)
}

/// Whether a row that is there breaks a new rule.
pub(super) async fn ask(road: &Road<'_>, draft: &Draft, scan: &Scan) -> Result<()> {
    if !draft.has_rows() {
        return Ok(());
    }
    let (condition, error) = match scan {
        Scan::NotNull(index) => {
            let Some(column) = draft.columns.get(*index) else { return Ok(()) };
            (column.value.clone().is_null(), contains_nulls(draft, &column.spec.name))
        }
        Scan::Check(name) => {
            let Some(check) = draft.checks.iter().find(|check| check.name == *name) else { return Ok(()) };
            let columns: Vec<RelationColumn> = draft.columns.iter().map(|column| column_of(&column.spec)).collect();
            let expression = crate::sql::parse_expression(&check.expression)?;
            let condition = plan::bind_condition(&draft.name, &columns, &expression, &road.context, &check.expression)?;
            // Columns that are new hold NULL in the rows that are there.
            let condition = over_old(condition, draft)?;
            (condition.is_false(), violated(draft, name))
        }
    };
    let condition = plan::over_rows(condition, &draft.old, draft.table.arrow_schema())?;
    let plan = scan_of(draft)?.filter(condition)?.limit(0, Some(1))?.build()?;
    let mut rows = road.start(plan).await?;
    while let Some(batch) = rows.next().await.transpose()? {
        if batch.num_rows() > 0 {
            return Err(error);
        }
    }
    Ok(())
}

/// A condition on the new columns as one on the old ones.
pub(super) fn over_old(condition: Expr, draft: &Draft) -> Result<Expr> {
    use datafusion::common::tree_node::{Transformed, TreeNode as _};
    let replaced = condition.transform_up(|expr| {
        let Expr::Column(column) = &expr else { return Ok(Transformed::no(expr)) };
        let found = draft.columns.iter().find(|other| other.spec.name == column.name);
        Ok(found.map_or(Transformed::no(expr), |found| Transformed::yes(found.value.clone())))
    })?;
    Ok(replaced.data)
}

pub(super) fn contains_nulls(draft: &Draft, column: &str) -> Error {
    let message = format!("column \"{column}\" of relation \"{}\" contains null values", draft.name);
    Error::new(SqlState::NotNullViolation, message).with_table(&draft.schema, &draft.name).with_column(column)
}

pub(super) fn violated(draft: &Draft, constraint: &str) -> Error {
    let message = format!("check constraint \"{constraint}\" of relation \"{}\" is violated by some row", draft.name);
    Error::new(SqlState::CheckViolation, message).with_table(&draft.schema, &draft.name).with_constraint(constraint)
}

/// The gate speaks of new rows; these are the ones that were there.
pub(super) fn of_old_row(error: Error, draft: &Draft) -> Error {
    match (error.sqlstate(), error.column(), error.constraint()) {
        (SqlState::NotNullViolation, Some(column), _) => contains_nulls(draft, column),
        (SqlState::CheckViolation, _, Some(constraint)) => violated(draft, constraint),
        _ => error,
    }
}
