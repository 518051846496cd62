//! The rows that break a rule about each row, those for which its condition cannot be evaluated among them: a filter would end
//! the query at such a row.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::{TableType, provider_as_source};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties as _, PlanProperties,
};
use futures::StreamExt as _;

use crate::error::Error;
use crate::quality::{RowRule, ViolationAction, Watch};

/// The rows of a table that break a rule, as a table.
#[derive(Debug)]
pub struct BrokenRows {
    rows: Arc<dyn TableProvider>,
    rule: RowRule,
}

impl BrokenRows {
    /// The rule is compiled against the rows' schema.
    pub fn new(rows: Arc<dyn TableProvider>, rule: RowRule) -> Self {
        // Rows that are put apart are given out.
        Self { rows, rule: RowRule { action: ViolationAction::QuarantineRow, ..rule } }
    }
}

#[async_trait]
impl TableProvider for BrokenRows {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = self.rows.schema();
        let shown = projection.cloned().unwrap_or_else(|| (0..schema.fields().len()).collect());
        let mut read: Vec<usize> = collect_columns(&self.rule.expr).iter().map(|column| column.index()).collect();
        read.extend(&shown);
        read.sort_unstable();
        read.dedup();
        if read.is_empty() {
            read.push(0);
        }
        let places = shown.iter().map(|shown| read.iter().position(|read| read == shown));
        let places: Option<Vec<usize>> = places.collect();
        let places = places.ok_or_else(|| Error::internal("a column of broken rows is not read").into_datafusion())?;
        let rows = LogicalPlanBuilder::scan("rows", provider_as_source(Arc::clone(&self.rows)), Some(read.clone()))?;
        let input = state.create_physical_plan(&rows.build()?).await?;
        let expr = reassign_expr_columns(Arc::clone(&self.rule.expr), &input.schema())?;
        let watch = Watch::new(vec![RowRule { expr, ..self.rule.clone() }], Arc::new(schema.project(&read)?));
        Ok(Arc::new(BrokenRowsExec::new(input, watch, places)?))
    }
}

#[derive(Debug, Clone)]
struct BrokenRowsExec {
    input: Arc<dyn ExecutionPlan>,
    watch: Arc<Watch>,
    /// The input's columns that are given.
    shown: Arc<[usize]>,
    properties: Arc<PlanProperties>,
}

impl BrokenRowsExec {
    fn new(input: Arc<dyn ExecutionPlan>, watch: Watch, shown: Vec<usize>) -> Result<Self> {
        let schema = Arc::new(input.schema().project(&shown)?);
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema),
            input.output_partitioning().clone(),
            input.pipeline_behavior(),
            input.boundedness(),
        ));
        Ok(Self { input, watch: Arc::new(watch), shown: shown.into(), properties })
    }
}

impl DisplayAs for BrokenRowsExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules: Vec<String> = self.watch.results().into_iter().map(|result| result.rule).collect();
        write!(f, "BrokenRowsExec: rule={}", rules.join(", "))
    }
}

impl ExecutionPlan for BrokenRowsExec {
    fn name(&self) -> &'static str {
        "BrokenRowsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(input) = children.into_iter().next() else { return Ok(self) };
        Ok(Arc::new(Self { input, ..self.as_ref().clone() }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let batches = self.input.execute(partition, context)?;
        let (watch, shown) = (Arc::clone(&self.watch), Arc::clone(&self.shown));
        let rows = batches.filter_map(move |batch| {
            let broken = batch.and_then(|batch| match watch.ask(&batch, None).map_err(Error::into_datafusion)? {
                Ok(watched) => Ok(watched.quarantined),
                Err(_) => Err(Error::internal("broken rows were refused").into_datafusion()),
            });
            let rows = match broken {
                Ok(None) => None,
                Ok(Some(broken)) => Some(broken.rows.project(&shown).map_err(DataFusionError::from)),
                Err(error) => Some(Err(error)),
            };
            futures::future::ready(rows)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}
