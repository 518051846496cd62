//! Files that a scan need not read: by the values of their partitions, and by what the log says about their columns.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, UInt64Array};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::Session;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, ColumnStatistics, DFSchema, ScalarValue};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, Operator};
use datafusion::physical_expr::expressions::{Column as PhysicalColumn, cast};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricBuilder;

use super::LakeScan;
use crate::lake::data_file::DataFile;

/// Names of a scan's counts of files.
pub const FILES_SKIPPED: [&str; 2] = ["files_skipped_by_partition", "files_skipped_by_statistics"];

/// Notes in the first scan of the plan what was left out of it.
pub(super) fn tell_skipped(plan: &dyn ExecutionPlan, skipped: Skipped) {
    if let Some(source) = plan.downcast_ref::<DataSourceExec>() {
        if let Some(config) = source.data_source().downcast_ref::<FileScanConfig>() {
            let metrics = config.file_source().metrics();
            for (name, count) in FILES_SKIPPED.into_iter().zip([skipped.partition, skipped.statistics]) {
                MetricBuilder::new(metrics).global_counter(name).add(count);
            }
        }
        return;
    }
    if let Some(child) = plan.children().first() {
        tell_skipped(child.as_ref(), skipped);
    }
}

impl LakeScan {
    /// Whether the filter says the same of all rows of a file, which the log tells.
    fn is_of_partitions(&self, filter: &Expr) -> bool {
        let columns = filter.column_refs();
        let partitions = &self.table.partition_fields;
        !self.table.special
            && !columns.is_empty()
            && !filter.is_volatile()
            && columns.iter().all(|column| partitions.iter().any(|field| field.name() == &column.name))
    }

    /// A row for each of these files: its values of the partition columns.
    fn partition_values(&self, files: &[usize]) -> Result<RecordBatch> {
        let partitions = Arc::new(Schema::new(self.table.partition_fields.clone()));
        let mut columns = Vec::with_capacity(partitions.fields().len());
        for (index, field) in partitions.fields().iter().enumerate() {
            let null = ScalarValue::try_from(field.data_type())?;
            let values = files.iter().map(|number| {
                let file = self.data_files().get(*number);
                file.and_then(|file| file.partition.get(index)).cloned().unwrap_or_else(|| null.clone())
            });
            let values = if files.is_empty() { null.to_array_of_size(0)? } else { ScalarValue::iter_to_array(values)? };
            let column: Arc<dyn PhysicalExpr> = Arc::new(PhysicalColumn::new("value", 0));
            let stored = Schema::new(vec![Field::new("value", values.data_type().clone(), true)]);
            let batch = RecordBatch::try_new(Arc::new(stored.clone()), vec![values])?;
            let wanted = cast(column, &stored, field.data_type().clone())?;
            columns.push(wanted.evaluate(&batch)?.into_array(files.len())?);
        }
        Ok(RecordBatch::try_new(partitions, columns)?)
    }

    /// Whether the filter gives a value for every file.
    fn evaluates(&self, filter: &Expr) -> bool {
        let files: Vec<usize> = (0..self.data_files().len()).collect();
        let evaluate = || {
            let rows = self.partition_values(&files)?;
            let schema = DFSchema::try_from(rows.schema())?;
            let (filter, context) = (unqualified(filter.clone())?, PhysicalPlanningContext::default());
            let filter = create_physical_expr(&filter, &schema, &ExecutionProps::new(), &context)?;
            filter.evaluate(&rows)?.into_array(files.len())
        };
        evaluate().is_ok()
    }

    /// Whether the log alone decides the filter for each file.
    pub(super) fn decides(&self, filter: &Expr) -> bool {
        self.is_of_partitions(filter) && (cannot_fail(filter) || self.evaluates(filter))
    }

    /// Numbers of the files that hold rows for the filters of partition columns, and may hold some for the others.
    pub(super) fn select(&self, state: &dyn Session, filters: &[Expr]) -> Result<(Vec<usize>, Skipped)> {
        let (of_partitions, others): (Vec<Expr>, Vec<Expr>) =
            filters.iter().cloned().partition(|filter| self.is_of_partitions(filter));
        let (mut files, mut skipped) = self.prune(state, &others)?;
        if let Some(only) = &self.only {
            files.retain(|number| only.binary_search(number).is_ok());
        }
        if of_partitions.is_empty() {
            return Ok((files, skipped));
        }
        let rows = self.partition_values(&files)?;
        let partitions_schema = DFSchema::try_from(rows.schema())?;
        let before = files.len();
        let mut keep = vec![true; before];
        for filter in of_partitions {
            let decides = self.decides(&filter);
            let filter = state.create_physical_expr(unqualified(filter)?, &partitions_schema)?;
            match filter.evaluate(&rows).and_then(|value| value.into_array(before)) {
                Ok(value) => {
                    keep.iter_mut().zip(value.as_boolean()).for_each(|(keep, value)| *keep &= value.unwrap_or(false));
                }
                Err(error) if decides => return Err(error),
                // Another filter may reject the rows that it fails on: it runs above the scan, too.
                Err(_) => {}
            }
        }
        let mut keep = keep.into_iter();
        files.retain(|_| keep.next().unwrap_or(true));
        skipped.partition += before - files.len();
        Ok((files, skipped))
    }

    /// Numbers of the files that may hold rows for the filters.
    pub(in crate::lake) fn prune(&self, state: &dyn Session, filters: &[Expr]) -> Result<(Vec<usize>, Skipped)> {
        let files = self.data_files();
        let all = || ((0..files.len()).collect(), Skipped::default());
        let Some(filter) = conjunction(filters.iter().cloned()) else { return Ok(all()) };
        let filter = state.create_physical_expr(filter, &DFSchema::try_from(Arc::clone(&self.schema))?)?;
        // What cannot be used for pruning is no error: the filter itself runs above the scan.
        let builder = PruningPredicateBuilder::new().with_file_schema(Arc::clone(&self.schema));
        let Some(predicate) = builder.build(filter) else { return Ok(all()) };
        let schema = self.scanned.table_schema();
        let count = |kept: &[bool]| kept.iter().filter(|keep| !**keep).count();
        let kept = predicate.prune(&LogStatistics { files, schema, first: 0 })?;
        let mut skipped = Skipped { partition: 0, statistics: count(&kept) };
        if skipped.statistics > 0 && !self.table.partition_fields.is_empty() {
            let first = self.scanned.file_schema().fields().len();
            skipped.partition = count(&predicate.prune(&LogStatistics { files, schema, first })?);
            skipped.statistics = skipped.statistics.saturating_sub(skipped.partition);
        }
        Ok((kept.iter().enumerate().filter_map(|(number, keep)| keep.then_some(number)).collect(), skipped))
    }
}

/// Whether it is comparisons of columns and constants.
pub(in crate::lake) fn cannot_fail(filter: &Expr) -> bool {
    let harmless = |expr: &Expr| match expr {
        Expr::BinaryExpr(binary) => binary.op.supports_propagation() || binary.op == Operator::Or,
        Expr::Column(_)
        | Expr::Literal(..)
        | Expr::Not(_)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsNotTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsNotFalse(_)
        | Expr::InList(_)
        | Expr::Between(_)
        | Expr::Like(_) => true,
        _ => false,
    };
    !filter.exists(|expr| Ok(!harmless(expr))).unwrap_or(true)
}

/// Columns by their names alone.
pub(in crate::lake) fn unqualified(expr: Expr) -> Result<Expr> {
    let bare = expr.transform(|expr| match expr {
        Expr::Column(column) => Ok(Transformed::yes(Expr::Column(Column::from_name(column.name)))),
        other => Ok(Transformed::no(other)),
    });
    bare.map(|bare| bare.data)
}

/// Files that a scan need not look at, as EXPLAIN ANALYZE tells them.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::lake) struct Skipped {
    /// By the values of their partitions.
    partition: usize,
    /// By the bounds of their columns alone.
    statistics: usize,
}

/// What the log says about the files, for pruning. Bounds that are not a column's own values serve as well.
struct LogStatistics<'a> {
    files: &'a [Arc<DataFile>],
    schema: &'a SchemaRef,
    /// Nothing is told of columns before this one.
    first: usize,
}

impl LogStatistics<'_> {
    fn values(&self, column: &Column, of: impl Fn(&ColumnStatistics) -> &Precision<ScalarValue>) -> Option<ArrayRef> {
        let index = self.schema.index_of(column.name()).ok().filter(|index| *index >= self.first)?;
        let null = ScalarValue::try_from(self.schema.field(index).data_type()).ok()?;
        let values = self.files.iter().map(|file| {
            let statistics = file.statistics.column_statistics.get(index);
            statistics.and_then(|statistics| of(statistics).get_value()).unwrap_or(&null).clone()
        });
        ScalarValue::iter_to_array(values).ok()
    }
}

impl PruningStatistics for LogStatistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, |statistics| &statistics.min_value)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, |statistics| &statistics.max_value)
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let index = self.schema.index_of(column.name()).ok().filter(|index| *index >= self.first)?;
        let counts = self.files.iter().map(|file| {
            let count = file.statistics.column_statistics.get(index)?.null_count.get_value().copied()?;
            Some(count as u64)
        });
        Some(Arc::new(counts.collect::<UInt64Array>()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.files.iter().map(|file| file.stored_rows()).collect::<UInt64Array>()))
    }

    fn contained(&self, _: &Column, _: &std::collections::HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
