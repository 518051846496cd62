//! `profile('t')` and `suggest_expectations('t')`: tables whose rows are made of one pass over another plan's rows.
//!
//! ```text
//! ProfileTable ─ scan ─→ ProfileExec ─ a task for each partition of its input: quality::profile::Profiler
//!                                    └ merged ─→ rows of figures, or: candidates for UNIQUE counted ─→ rows of suggestions
//! ```

mod exec;
mod rows;
mod unique;

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_plan::ExecutionPlan;

use crate::encode::TextStyle;
use crate::encode::column::ColumnWriter;
use crate::encode::types::{self, PgType, arrow_type, oid};
use crate::error::{Error, Result};
use crate::quality::profile::{Kind, ProfiledColumn, ValueTexts, Wanted};
use crate::quality::suggest::SuggestedTable;
use exec::ProfileExec;
use unique::Counting;

pub use rows::{PROFILE_COLUMNS, SUGGESTION_COLUMNS};

/// What becomes of the figures.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A row for each column; the columns' types as they are shown.
    Figures(Arc<[PgType]>),
    Suggestions(Arc<SuggestedTable>),
}

impl Answer {
    /// Names and types of the columns.
    pub fn columns(&self) -> &'static [(&'static str, PgType)] {
        match self {
            Self::Figures(_) => PROFILE_COLUMNS,
            Self::Suggestions(_) => SUGGESTION_COLUMNS,
        }
    }
}

/// The profile of a plan's rows as a table.
#[derive(Debug)]
pub struct ProfileTable {
    input: LogicalPlan,
    columns: Arc<[ProfiledColumn]>,
    answer: Answer,
    schema: SchemaRef,
}

impl ProfileTable {
    /// The input's columns are the profiled ones, in order.
    pub fn new(input: LogicalPlan, columns: Vec<ProfiledColumn>, answer: Answer) -> Self {
        let fields = answer.columns().iter().map(|(name, ty)| types::field(*name, *ty, true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Self { input, columns: columns.into(), answer, schema }
    }
}

#[async_trait]
impl TableProvider for ProfileTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
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
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        let input = state.create_physical_plan(&self.input).await?;
        let shown = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let counting = match (&self.answer, state.as_any().downcast_ref::<SessionState>()) {
            (Answer::Suggestions(_), Some(state)) => {
                Some(Arc::new(Counting { input: self.input.clone(), state: state.clone() }))
            }
            _ => None,
        };
        let wanted = match &self.answer {
            Answer::Figures(_) => rows::wanted(&shown),
            Answer::Suggestions(_) => Wanted { values: true, patterns: true },
        };
        let schema = Arc::new(self.schema.project(&shown)?);
        let columns = Arc::clone(&self.columns);
        Ok(Arc::new(ProfileExec::new(input, columns, wanted, self.answer.clone(), (schema, shown), counting)))
    }
}

/// A column of that type, which the plan carries as `carrier`, ready to be profiled. `style` says how its values are written.
pub fn profiled_column(name: &str, ty: PgType, carrier: &DataType, style: &Arc<TextStyle>) -> Result<ProfiledColumn> {
    let own = arrow_type(ty);
    let (kind, stored, shown) = match ty.oid {
        oid::INT2 | oid::INT4 | oid::INT8 => (Kind::Number, DataType::Int64, own),
        oid::FLOAT4 | oid::FLOAT8 => (Kind::Number, DataType::Float64, own),
        oid::NUMERIC => {
            let decimal = if matches!(carrier, DataType::Decimal128(..)) { carrier.clone() } else { own };
            (Kind::Number, decimal.clone(), decimal)
        }
        oid::BOOL => (Kind::Flag, own.clone(), own),
        oid::DATE | oid::TIME | oid::TIMESTAMP | oid::TIMESTAMPTZ => (Kind::Moment, own.clone(), own),
        oid::TEXT | oid::VARCHAR | oid::NAME | oid::CHAR => (Kind::Text, own.clone(), own),
        oid::BPCHAR => (Kind::PaddedText, own.clone(), own),
        oid::BYTEA => (Kind::Bytes, own.clone(), own),
        oid::UUID => (Kind::Token, own.clone(), own),
        _ => (Kind::Opaque, carrier.clone(), carrier.clone()),
    };
    let texts = Arc::new(Written(ColumnWriter::new(&shown, ty, style)?));
    Ok(ProfiledColumn { name: name.to_owned(), kind, stored, shown, texts })
}

/// The output functions of PostgreSQL's types.
#[derive(Debug)]
struct Written(ColumnWriter);

impl ValueTexts for Written {
    fn each(&self, values: &ArrayRef, visit: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        let column = self.0.bind(values)?;
        let mut text = Vec::new();
        for row in 0..values.len() {
            text.clear();
            let is_value = column.write_text(row, &mut text)?;
            visit(is_value.then_some(text.as_slice()));
        }
        Ok(())
    }
}

fn out_of_order(what: &str) -> datafusion::error::DataFusionError {
    Error::internal(what.to_owned()).into_datafusion()
}
