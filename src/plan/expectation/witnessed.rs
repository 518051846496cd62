//! A bound SELECT of aggregates over a table, with witnesses who see the same rows in the same scan. Each of them is an
//! aggregate that only its own plan has, and whose value is how many rows it saw.

use std::hash::{Hash, Hasher};
use std::mem::size_of_val;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Column, ScalarValue};
use datafusion::error::Result as EngineResult;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{
    Accumulator, Aggregate, AggregateUDF, AggregateUDFImpl, Expr, LogicalPlan, LogicalPlanBuilder, Signature,
    Volatility,
};

use crate::error::{Error, Result};
use crate::quality::witness::Witness;

/// The plan of such a SELECT while witnesses are added.
#[derive(Debug)]
pub struct Witnessed {
    items: Vec<Expr>,
    aggregate: Aggregate,
}

impl Witnessed {
    /// # Errors
    /// For a plan that is not one of aggregates over all rows.
    pub fn new(plan: LogicalPlan) -> Result<Self> {
        let unexpected = || Error::internal("rules about all rows were not bound as aggregates");
        let LogicalPlan::Projection(projection) = plan else { return Err(unexpected()) };
        match Arc::unwrap_or_clone(projection.input) {
            LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => {
                Ok(Self { items: projection.expr, aggregate })
            }
            _ => Err(unexpected()),
        }
    }

    /// Adds a witness of these columns of the table. `filter` is an item of the SELECT that counts with count_if the rows
    /// that it is to see.
    ///
    /// # Errors
    /// For other columns and other items.
    pub fn add(&mut self, columns: &[String], filter: Option<usize>, witness: Arc<dyn Witness>) -> Result<()> {
        let arguments = columns.iter().map(|name| self.column(name)).collect::<Result<Vec<_>>>()?;
        let filter = filter.map(|item| self.condition(item)).transpose()?;
        let signature = Signature::any(arguments.len(), Volatility::Volatile);
        let witnesses = Witnesses { name: format!("witness {}", self.items.len()), signature, witness };
        let udaf = Arc::new(AggregateUDF::from(witnesses));
        let call = AggregateFunction::new_udf(udaf, arguments, false, filter.map(Box::new), Vec::new(), None);
        let call = Expr::AggregateFunction(call);
        self.items.push(Expr::Column(Column::from_name(call.schema_name().to_string())));
        self.aggregate.aggr_expr.push(call);
        Ok(())
    }

    fn column(&self, name: &str) -> Result<Expr> {
        let schema = self.aggregate.input.schema();
        let found = schema.iter().find(|(_, field)| field.name() == name);
        let (qualifier, field) = found.ok_or_else(|| Error::internal(format!("no column \"{name}\" in a scan")))?;
        Ok(Expr::Column(Column::new(qualifier.cloned(), field.name())))
    }

    /// What an item of the SELECT counts.
    fn condition(&self, item: usize) -> Result<Expr> {
        let counted = self.items.get(item).and_then(|item| match unaliased(item) {
            Expr::Column(column) => {
                let is_it = |call: &&Expr| call.schema_name().to_string() == column.name;
                self.aggregate.aggr_expr.iter().find(is_it)
            }
            _ => None,
        });
        match counted.map(unaliased) {
            Some(Expr::AggregateFunction(call)) if call.func.name() == "count_if" && call.params.filter.is_none() => {
                call.params.args.first().cloned().ok_or_else(|| Error::internal("count_if of nothing"))
            }
            _ => Err(Error::internal("a filter was not bound as what is counted")),
        }
    }

    /// The plan; its row has more columns than before.
    ///
    /// # Errors
    /// Those of the engine's planner.
    pub fn plan(self) -> Result<LogicalPlan> {
        let Aggregate { input, aggr_expr, .. } = self.aggregate;
        let builder = LogicalPlanBuilder::from(Arc::unwrap_or_clone(input));
        Ok(builder.aggregate(Vec::<Expr>::new(), aggr_expr)?.project(self.items)?.build()?)
    }
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

#[derive(Debug)]
struct Witnesses {
    name: String,
    signature: Signature,
    witness: Arc<dyn Witness>,
}

impl PartialEq for Witnesses {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.witness, &other.witness)
    }
}

impl Eq for Witnesses {}

impl Hash for Witnesses {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl AggregateUDFImpl for Witnesses {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> EngineResult<DataType> {
        Ok(DataType::Int64)
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn accumulator(&self, _args: AccumulatorArgs) -> EngineResult<Box<dyn Accumulator>> {
        Ok(Box::new(Seeing { witness: Arc::clone(&self.witness), rows: 0 }))
    }

    fn default_value(&self, _data_type: &DataType) -> EngineResult<ScalarValue> {
        Ok(ScalarValue::Int64(Some(0)))
    }
}

#[derive(Debug)]
struct Seeing {
    witness: Arc<dyn Witness>,
    rows: i64,
}

impl Accumulator for Seeing {
    fn update_batch(&mut self, values: &[ArrayRef]) -> EngineResult<()> {
        self.rows += values.first().map_or(0, |values| values.len()) as i64;
        self.witness.see(values).map_err(Error::into_datafusion)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> EngineResult<()> {
        let counts = states.first().and_then(|states| states.as_primitive_opt::<Int64Type>());
        let counts = counts.ok_or_else(|| Error::internal("a witness of other states").into_datafusion())?;
        self.rows += counts.iter().flatten().sum::<i64>();
        Ok(())
    }

    fn state(&mut self) -> EngineResult<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Int64(Some(self.rows))])
    }

    fn evaluate(&mut self) -> EngineResult<ScalarValue> {
        Ok(ScalarValue::Int64(Some(self.rows)))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}
