//! The one road of rows into a table: its gate, what fills the columns that the data has not, the write.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;

use super::{Road, Target, relation_columns};
use crate::error::{Error, Result};
use crate::execute::copy_rows::Fill;
use crate::execute::row_text::SessionText;
use crate::execute::{refresh, standing, watched};
use crate::lake::{ColumnSpec, Input, Operation, TableCheck, TableSpec, WriteMode, WriteRequest, Written};
use crate::plan::relations::{Filled, RelationColumn};
use crate::plan::{self, Purpose};
use crate::quality::Expectation;
use crate::quality::gate::{Gate, GateColumn, Rule};

impl Road<'_> {
    /// The gate of a table: NOT NULL and its CHECKs, compiled against the rows that are written.
    pub(crate) fn gate(&self, target: &Target) -> Result<Gate> {
        let (table, rows) = (&target.table, target.table.arrow_schema());
        let gate = self.gate_of((&target.schema, &target.name), table.columns(), rows, table.check_constraints())?;
        let rules = watched::rules(self, &target.schema, &target.name);
        Ok(match self.watch_of(&target.name, table.columns(), rows, rules)? {
            Some(watch) => gate.with_watch(watch),
            None => gate,
        })
    }

    /// The gate of a table that is about to be made.
    pub(crate) fn gate_of_new(
        &self,
        (schema, name): (&str, &str),
        spec: &TableSpec,
        rules: &[Expectation],
    ) -> Result<Gate> {
        let checks = spec.checks.iter().cloned();
        let checks = checks.map(|(name, expression)| TableCheck { name, expression, null_passes: true }).collect();
        let rows = spec.engine_schema();
        let gate = self.gate_of((schema, name), &spec.columns, &rows, checks)?;
        Ok(match self.watch_of(name, &spec.columns, &rows, rules)? {
            Some(watch) => gate.with_watch(watch),
            None => gate,
        })
    }

    pub(in crate::execute) fn gate_of(
        &self,
        (schema, name): (&str, &str),
        columns: &[ColumnSpec],
        rows: &SchemaRef,
        checks: Vec<TableCheck>,
    ) -> Result<Gate> {
        let types = columns.iter().map(|column| column.ty).collect();
        let text = SessionText { types, style: Arc::new(self.style()) };
        let not_null =
            columns.iter().map(|column| GateColumn { name: column.name.clone(), not_null: column.not_null }).collect();
        let mut rules = Vec::with_capacity(checks.len());
        for check in checks {
            let expr = self.compiled(name, columns, rows, &check).map_err(|error| {
                Error::unsupported(format!("check constraint \"{}\" of another program", check.name))
                    .with_detail(error.message().to_owned())
            })?;
            rules.push(Rule::Check { name: check.name, expr, null_passes: check.null_passes });
        }
        Ok(Gate::new(schema, name, not_null, rules).with_text(Arc::new(text)))
    }

    /// A condition over rows, ready to be evaluated.
    pub(in crate::execute) fn compiled(
        &self,
        relation: &str,
        columns: &[ColumnSpec],
        rows: &SchemaRef,
        condition: &TableCheck,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let columns: Vec<RelationColumn> = columns.iter().map(plan::resolve::column_of).collect();
        let text = condition.expression.as_str();
        let expression = crate::sql::parse_expression(text)?;
        plan::condition_on_rows(relation, &columns, &expression, rows, &self.context, text)
    }

    /// What the table itself puts into the columns that COPY's data has not.
    pub(in crate::execute) fn fills(&self, target: &Target, chosen: &[usize]) -> Result<Vec<Fill>> {
        let columns = relation_columns(&target.table);
        let rows = target.table.arrow_schema();
        let mut fills = Vec::new();
        for purpose in [Purpose::Default, Purpose::Generated] {
            for (index, column) in columns.iter().enumerate().filter(|(index, _)| !chosen.contains(index)) {
                let text = match (&column.filled, purpose) {
                    (Filled::Default(text), Purpose::Default) | (Filled::Generated(text), Purpose::Generated) => text,
                    _ => continue,
                };
                let over = (target.name.as_str(), columns.as_slice());
                fills.push((index, plan::stored_on_rows(over, column, purpose, rows, &self.context, text)?));
            }
        }
        Ok(fills)
    }

    /// Runs rows through the gate into a table: the one road of all statements that write.
    pub(crate) async fn write(
        &mut self,
        mode: WriteMode,
        input: Input,
        gate: Gate,
        operation: impl Into<Operation>,
    ) -> Result<Written> {
        let operation = operation.into();
        let columns = match &mode {
            WriteMode::Append(table) | WriteMode::Overwrite(table) => table.columns().to_vec(),
            WriteMode::Change(change) => change.table.columns().to_vec(),
            WriteMode::Redefine(redefinition) => redefinition.table.columns().to_vec(),
            WriteMode::Create(spec) | WriteMode::Replace(spec, _) => spec.columns.clone(),
        };
        // What an earlier query of a materialized view put apart goes with its rows.
        let anew = operation.name == refresh::NAME && matches!(mode, WriteMode::Overwrite(_));
        let (gate, watching) = Box::pin(self.watched_as(gate, &columns, &operation, anew)).await?;
        let outcome = self.write_apart(mode, input, gate, operation).await;
        let written = Box::pin(self.settle(watching, outcome)).await?;
        if let (Some(table), Some(pins)) = (&written.table, self.session.transaction.pins_mut())
            && table.is_changed_privately()
        {
            pins.replace(table.location(), Arc::clone(table));
        }
        Ok(written)
    }

    /// The same, where what is written to a private table is this statement's to commit and not the transaction's.
    pub(crate) async fn write_apart(
        &mut self,
        mode: WriteMode,
        input: Input,
        gate: Gate,
        operation: impl Into<Operation>,
    ) -> Result<Written> {
        let _interest = match &input {
            Input::Plan(plan, _) => self.ground.engine.interest(plan),
            Input::Streams(_) => None,
        };
        let table = match &mode {
            WriteMode::Append(table) | WriteMode::Overwrite(table) => Some(table),
            WriteMode::Change(change) => Some(&change.table),
            WriteMode::Redefine(_) | WriteMode::Create(_) | WriteMode::Replace(..) => None,
        };
        let standing = table.filter(|_| !self.staged).map(|table| standing::of_statement(self, table));
        let request = WriteRequest {
            mode,
            input,
            gate,
            operation: Operation {
                user: Some(self.context.user.clone()),
                decision: self.decision.clone(),
                standing,
                ..operation.into()
            },
            memory: Arc::clone(self.ground.engine.memory_pool()),
            cancel: self.token.clone(),
        };
        let lake = Arc::clone(&self.ground.lake);
        self.ground.engine.compute(async move { lake.write(request).await }).await
    }

    /// Commits what was written to a private table.
    pub(crate) async fn commit_apart(&self, written: Written, operation: Operation) -> Result<Written> {
        let Some(table) = written.table.clone() else {
            return Err(Error::internal("a transaction's own version could not be read"));
        };
        let operation = Operation { standing: Some(standing::of_statement(self, &table)), ..operation };
        let lake = Arc::clone(&self.ground.lake);
        self.ground.engine.compute(async move { lake.commit_private(&table, &operation).await }).await?;
        Ok(written)
    }

    /// What a commit tells of this statement.
    pub(crate) fn operation(&self, name: &str) -> Operation {
        let (user, decision) = (Some(self.context.user.clone()), self.decision.clone());
        Operation { user, decision, ..Operation::new(name) }
    }
}
