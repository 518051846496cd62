//! EXPLAIN [ANALYZE]: the physical plan in PostgreSQL's layout, with rows and costs from statistics.

use std::sync::Arc;
use std::time::Instant;

use datafusion::common::stats::Precision;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::metrics::MetricValue;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan, ExecutionPlanProperties};
use futures::StreamExt;
use serde_json::{Map, Value, json};

use super::output::{Output, RowsTag};
use super::road::Road;
use super::setting::text_rows;
use crate::encode::types::{OutputColumn, PgType};
use crate::error::{Error, Result};
use crate::lake;
use crate::sql::{Explain, Statement};

/// The one column of every EXPLAIN.
pub(crate) fn columns(json: bool) -> Vec<OutputColumn> {
    vec![OutputColumn::new("QUERY PLAN", if json { PgType::JSON } else { PgType::TEXT })]
}

pub(crate) async fn run(road: &mut Road<'_>, statement: &Explain) -> Result<Output> {
    let Statement::Query(query) = statement.statement.as_ref() else {
        let kind = statement.statement.kind().to_uppercase().replace('_', " ");
        return Err(Error::unsupported(format!("EXPLAIN of {kind}")));
    };
    let planning = Instant::now();
    let bound = road.bind_query(query).await?;
    let (plan, context) = road.physical(bound.plan).await?;
    let planning = planning.elapsed();
    let execution = if statement.analyze {
        let started = Instant::now();
        let mut stream = road.ground.engine.run(Arc::clone(&plan), context)?;
        while let Some(batch) = stream.next().await {
            batch?;
        }
        Some(started.elapsed())
    } else {
        None
    };
    let lines = if statement.json {
        let mut document = Map::new();
        document.insert("Plan".into(), node_json(plan.as_ref(), statement.analyze));
        if let Some(execution) = execution {
            document.insert("Planning Time".into(), json!(milliseconds(planning)));
            document.insert("Execution Time".into(), json!(milliseconds(execution)));
        }
        let text = serde_json::to_string_pretty(&Value::Array(vec![Value::Object(document)]))
            .map_err(|error| Error::internal(error.to_string()))?;
        vec![text]
    } else {
        let mut lines = Vec::new();
        node_lines(plan.as_ref(), 0, statement.analyze, statement.verbose, &mut lines);
        if let Some(execution) = execution {
            lines.push(format!("Planning Time: {:.3} ms", milliseconds(planning)));
            lines.push(format!("Execution Time: {:.3} ms", milliseconds(execution)));
        }
        lines
    };
    let columns = columns(statement.json);
    Ok(Output::Rows {
        stream: text_rows(&columns, vec![lines])?,
        columns: columns.into(),
        tag: RowsTag::Fixed("EXPLAIN"),
    })
}

fn milliseconds(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Rows and bytes that statistics promise for a node; 0 where nothing is known.
fn estimate(plan: &dyn ExecutionPlan) -> (usize, usize) {
    let Ok(statistics) = StatisticsContext::new().compute(plan, &StatisticsArgs::new()) else { return (0, 0) };
    let value = |precision: &Precision<usize>| precision.get_value().copied().unwrap_or(0);
    let rows = value(&statistics.num_rows);
    let bytes = value(&statistics.total_byte_size);
    (rows, bytes.checked_div(rows).unwrap_or(0))
}

/// Cost in PostgreSQL's shape: what the node and all below it read, in rows × 0.01, so that clients find `cost=a..b`.
fn cost(plan: &dyn ExecutionPlan) -> f64 {
    let own = estimate(plan).0 as f64 * 0.01;
    own + plan.children().iter().map(|child| cost(child.as_ref())).sum::<f64>()
}

struct OneLine<'a>(&'a dyn ExecutionPlan, bool);

impl std::fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt_as(if self.1 { DisplayFormatType::Verbose } else { DisplayFormatType::Default }, f)
    }
}

fn node_lines(plan: &dyn ExecutionPlan, depth: usize, analyze: bool, verbose: bool, lines: &mut Vec<String>) {
    let (rows, width) = estimate(plan);
    let total = cost(plan);
    let indent = if depth == 0 { String::new() } else { format!("{}->  ", " ".repeat(2 + (depth - 1) * 6)) };
    let mut line = format!("{indent}{}  (cost=0.00..{total:.2} rows={rows} width={width})", plan.name());
    if analyze {
        line.push_str(&actual(plan));
    }
    lines.push(line);
    let detail = OneLine(plan, verbose).to_string();
    let detail = detail.strip_prefix(plan.name()).unwrap_or(&detail).trim_start_matches([':', ' ']);
    if !detail.is_empty() {
        lines.push(format!("{}{detail}", " ".repeat(2 + depth * 6)));
    }
    if let Some(read) = analyze.then(|| Read::of(plan)).flatten() {
        lines.push(format!("{}{read}", " ".repeat(2 + depth * 6)));
    }
    for child in plan.children() {
        node_lines(child.as_ref(), depth + 1, analyze, verbose, lines);
    }
}

/// What the metrics of a node that ran say.
fn actual(plan: &dyn ExecutionPlan) -> String {
    let Some(metrics) = plan.metrics() else { return String::new() };
    let rows = metrics.output_rows().unwrap_or(0);
    let busy = metrics.elapsed_compute().unwrap_or(0) as f64 / 1e6;
    format!(" (actual time={busy:.3} rows={rows} loops={})", plan.output_partitioning().partition_count())
}

/// What a scan of a table read of it.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    files: usize,
    skipped_by_partition: usize,
    skipped_by_statistics: usize,
    row_groups: usize,
    row_groups_pruned: usize,
}

impl Read {
    /// `None` for a node that is no scan of a table.
    fn of(plan: &dyn ExecutionPlan) -> Option<Self> {
        let source = plan.downcast_ref::<DataSourceExec>()?;
        let config = source.data_source().downcast_ref::<FileScanConfig>()?;
        let metrics = plan.metrics()?;
        let [by_partition, by_statistics] =
            lake::FILES_SKIPPED.map(|name| metrics.sum_by_name(name).map(|count| count.as_usize()));
        let mut files: Vec<_> = config.file_groups.iter().flat_map(FileGroup::iter).map(|file| file.path()).collect();
        files.sort_unstable();
        // A large file may be read in several parts.
        files.dedup();
        let mut read = Self {
            files: files.len(),
            skipped_by_partition: by_partition.unwrap_or(0),
            skipped_by_statistics: by_statistics.unwrap_or(0),
            row_groups: 0,
            row_groups_pruned: 0,
        };
        for metric in metrics.iter() {
            if let MetricValue::PruningMetrics { name, pruning_metrics } = metric.value()
                && name == "row_groups_pruned_statistics"
            {
                read.row_groups += pruning_metrics.matched();
                read.row_groups_pruned += pruning_metrics.pruned();
            }
        }
        Some(read)
    }
}

impl std::fmt::Display for Read {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { files, skipped_by_partition, skipped_by_statistics, row_groups, row_groups_pruned } = self;
        write!(f, "Files: {files} read, {skipped_by_partition} skipped by partition, ")?;
        write!(f, "{skipped_by_statistics} skipped by statistics")?;
        write!(f, "  Row Groups: {row_groups} read, {row_groups_pruned} skipped")
    }
}

fn node_json(plan: &dyn ExecutionPlan, analyze: bool) -> Value {
    let (rows, width) = estimate(plan);
    let mut node = Map::new();
    node.insert("Node Type".into(), json!(plan.name()));
    node.insert("Startup Cost".into(), json!(0.0));
    node.insert("Total Cost".into(), json!((cost(plan) * 100.0).round() / 100.0));
    node.insert("Plan Rows".into(), json!(rows));
    node.insert("Plan Width".into(), json!(width));
    node.insert("Detail".into(), json!(OneLine(plan, false).to_string()));
    if analyze && let Some(metrics) = plan.metrics() {
        node.insert("Actual Rows".into(), json!(metrics.output_rows().unwrap_or(0)));
        node.insert("Actual Total Time".into(), json!(metrics.elapsed_compute().unwrap_or(0) as f64 / 1e6));
    }
    if let Some(read) = analyze.then(|| Read::of(plan)).flatten() {
        node.insert("Files Read".into(), json!(read.files));
        node.insert("Files Skipped by Partition".into(), json!(read.skipped_by_partition));
        node.insert("Files Skipped by Statistics".into(), json!(read.skipped_by_statistics));
        node.insert("Row Groups Read".into(), json!(read.row_groups));
        node.insert("Row Groups Skipped".into(), json!(read.row_groups_pruned));
    }
    let children: Vec<Value> = plan.children().iter().map(|child| node_json(child.as_ref(), analyze)).collect();
    if !children.is_empty() {
        node.insert("Plans".into(), Value::Array(children));
    }
    Value::Object(node)
}
