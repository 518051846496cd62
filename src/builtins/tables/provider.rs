//! The provider of a system table: makes one batch of rows when it is scanned.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;

use super::definitions::Definition;
use super::rows::Request;
use crate::builtins::{Context, information_schema, lakegate, pg_catalog};

#[derive(Debug)]
pub(super) struct SystemTableProvider {
    definition: &'static Definition,
    context: Arc<Context>,
}

impl SystemTableProvider {
    pub(super) fn new(definition: &'static Definition, context: Arc<Context>) -> Self {
        Self { definition, context }
    }
}

#[async_trait]
impl TableProvider for SystemTableProvider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.definition.arrow)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let request = Request::new(self.definition, &self.context, projection.map(Vec::as_slice));
        let batch = match self.definition.schema {
            "information_schema" => information_schema::rows(&request),
            "lakegate" => lakegate::rows(&request),
            _ => pg_catalog::rows(&request),
        }
        .map_err(|error| DataFusionError::External(Box::new(error)))?;
        let schema = batch.schema();
        Ok(MemorySourceConfig::try_new_exec(&[vec![batch]], schema, None)?)
    }
}
