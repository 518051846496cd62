//! OPTIMIZE and REORG: the same rows in fewer and better files.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::AsArray;
use sqlparser::ast;

use crate::encode::types::PgType;
use crate::error::{Error, Result, SqlState};
use crate::execute::output::{Output, RowsTag};
use crate::execute::road::{Road, Target, relation_columns};
use crate::lake::{Arranged, Arrangement, Scope};
use crate::plan;
use crate::sql::{Optimize, QualifiedName};

pub(super) const COLUMNS: &[(&str, PgType)] = &[
    ("path", PgType::TEXT),
    ("files_added", PgType::INT8),
    ("files_removed", PgType::INT8),
    ("bytes_added", PgType::INT8),
    ("bytes_removed", PgType::INT8),
    ("partitions", PgType::INT8),
    ("rows", PgType::INT8),
    ("version", PgType::INT8),
];

pub(super) async fn run(road: &mut Road<'_>, statement: &Optimize) -> Result<Output> {
    let target = road.target(&statement.table, "optimize").await?;
    let files = match &statement.condition {
        Some(condition) => Some(files_of_partitions(road, &target, condition)?),
        None => None,
    };
    for column in &statement.order {
        let name = &column.value;
        if !target.table.columns().iter().any(|known| known.name == *name) {
            let message = format!("column \"{name}\" of relation \"{}\" does not exist", target.name);
            return Err(Error::new(SqlState::UndefinedColumn, message).at(column.position));
        }
        if target.table.partition_columns().contains(name) {
            let message = format!("rows cannot be ordered by \"{name}\", which the table is partitioned by");
            return Err(Error::new(SqlState::InvalidColumnReference, message).at(column.position));
        }
    }
    let named: Vec<String> = statement.order.iter().map(|column| column.value.clone()).collect();
    // Without ZORDER the small files alone are put in the table's own order.
    let scope = if statement.full || !named.is_empty() { Scope::All } else { Scope::Small };
    let done = arrange(road, &target, files, scope, named).await?;
    answer(&target, &done, "OPTIMIZE")
}

/// REORG TABLE … APPLY (PURGE): files with deleted rows in them are written anew without these.
pub(super) async fn purge(road: &mut Road<'_>, name: &QualifiedName) -> Result<Output> {
    let target = road.target(name, "reorganize").await?;
    let done = arrange(road, &target, None, Scope::Purged, Vec::new()).await?;
    answer(&target, &done, "REORG")
}

/// Writes files of a table anew, by the columns given or the table's own.
pub(super) async fn arrange(
    road: &Road<'_>,
    target: &Target,
    files: Option<HashSet<usize>>,
    scope: Scope,
    order: Vec<String>,
) -> Result<Arranged> {
    let table = Arc::clone(&target.table);
    let mut operation = road.operation(if scope == Scope::Purged { "REORG" } else { "OPTIMIZE" });
    let order = if order.is_empty() { table.cluster_columns() } else { order };
    let listed = serde_json::to_string(&order).unwrap_or_default();
    operation.parameters = vec![("zOrderBy".to_owned(), listed)];
    let arrangement = Arrangement {
        table,
        files,
        scope,
        order,
        target_bytes: None,
        state: road.state(),
        operation,
        memory: Arc::clone(road.ground.engine.memory_pool()),
        cancel: road.token.clone(),
    };
    let lake = Arc::clone(&road.ground.lake);
    road.ground.engine.compute(async move { lake.arrange(arrangement).await }).await
}

fn answer(target: &Target, done: &Arranged, tag: &'static str) -> Result<Output> {
    let path: arrow::array::ArrayRef =
        Arc::new(arrow::array::StringArray::from(vec![target.table.location().to_owned()]));
    let numbers = [
        done.added_files,
        done.removed_files,
        done.added_bytes,
        done.removed_bytes,
        done.partitions,
        done.rows,
        done.version,
    ];
    let values = std::iter::once(path).chain(numbers.map(super::bigint)).collect();
    super::answer(COLUMNS, values, RowsTag::Fixed(tag))
}

/// Numbers of the files in the partitions for which the condition is true.
fn files_of_partitions(road: &Road<'_>, target: &Target, condition: &ast::Expr) -> Result<HashSet<usize>> {
    let columns = relation_columns(&target.table);
    let bound = plan::bind_condition(&target.name, &columns, condition, &road.context, &road.source)?;
    let partition = target.table.partition_columns();
    if let Some(other) = bound.column_refs().into_iter().find(|column| !partition.contains(&column.name)) {
        let message = format!("OPTIMIZE … WHERE cannot ask for column \"{}\"", other.name);
        return Err(Error::new(SqlState::InvalidColumnReference, message)
            .with_detail("Only the columns that the table is partitioned by tell which files to write anew."));
    }
    let rows = target.table.partition_rows()?;
    let schema = rows.schema();
    let condition = plan::condition_on_rows(&target.name, &columns, condition, &schema, &road.context, &road.source)?;
    let chosen = condition.evaluate(&rows)?.into_array(rows.num_rows())?;
    let Some(chosen) = chosen.as_boolean_opt() else {
        return Err(Error::internal("a condition gave no truth values"));
    };
    Ok(chosen.iter().enumerate().filter(|(_, chosen)| *chosen == Some(true)).map(|(number, _)| number).collect())
}
