//! A statement's rows are watched while they are written: what they break is counted, told and kept, and rows that are put
//! apart go into a table of their own, in the same transaction.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, TimestampMicrosecondArray, new_null_array};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use datafusion::error::DataFusionError;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::alter_table;
use super::create_table;
use super::evolve;
use super::ground::Ground;
use super::road::{Road, Target};
use super::row_rules::{quarantine_name, rules_of};
use crate::builtins::Context;
use crate::catalog::{Relation, RelationKind};
use crate::encode::types::PgType;
use crate::error::{Error, Result, Severity, SqlState};
use crate::lake::{ColumnSpec, Input, Operation, WriteMode, WriteRequest, Written};
use crate::observe::ExpectationCounts;
use crate::plan;
use crate::plan::relations::RelationColumn;
use crate::plan::resolve::column_of;
use crate::quality::result::{RuleResult, Run, Status, new_run_id};
use crate::quality::{
    Expectation, ExpectationRule, Gate, Quarantine, QuarantinedRows, RowRule, ViolationAction, Watch,
};
use crate::session::{Arrivals, Handle};
use crate::sql::{self, CreateTable, Name, QualifiedName, Statement};

/// Batches that wait for the quarantine's writer.
const BATCHES_WAITING_MAX: usize = 4;
/// The OID of `text[]`.
const TEXT_ARRAY: u32 = 1009;

/// Whether the statement has to be a transaction of its own: it may write to more than one table, or is checked at its commit.
pub(crate) fn needs_transaction(road: &Road<'_>, statement: &Statement) -> bool {
    let name = match statement {
        Statement::Insert(insert) => &insert.table,
        Statement::Update(update) => &update.table,
        Statement::Delete(delete) => &delete.table,
        Statement::Merge(merge) => &merge.table,
        Statement::CopyFrom(copy) => &copy.table,
        Statement::CopyInto(copy) => &copy.table,
        Statement::Refresh(refresh) => &refresh.name,
        Statement::CreateTable(table) => {
            return table.expectations.iter().any(|rule| rule.action == ViolationAction::QuarantineRow);
        }
        Statement::Truncate(truncate) => {
            return truncate
                .tables
                .iter()
                .any(|name| road.find(name).is_ok_and(|(_, found)| is_checked_at_commit(&found)));
        }
        Statement::Alter(alter) => {
            let found = alter_table::changes_rows(&alter.change).then(|| road.find(&alter.name));
            return found.is_some_and(|found| found.is_ok_and(|(_, found)| is_checked_at_commit(&found)));
        }
        Statement::Explain(explain) if explain.analyze => return needs_transaction(road, &explain.statement),
        _ => return false,
    };
    let Ok((_, relation)) = road.find(name) else { return false };
    is_checked_at_commit(&relation) || !matches!(statement, Statement::Delete(_)) && has_quarantine(&relation)
}

fn has_quarantine(relation: &Relation) -> bool {
    rules_of(relation).iter().any(|rule| rule.enabled && rule.action == ViolationAction::QuarantineRow)
}

/// Whether a commit of the table asks its set rules.
pub(crate) fn is_checked_at_commit(relation: &Relation) -> bool {
    rules_of(relation).iter().any(|rule| rule.enabled && rule.on_commit)
}

/// A statement's checks of one table while it writes.
pub(super) struct Watching {
    ground: Arc<Ground>,
    session: Arc<Handle>,
    watch: Arc<Watch>,
    run: Run,
    /// Whether what is told waits for the transaction's commit.
    staged: bool,
    apart: Option<Apart>,
}

/// The other table that is written.
struct Apart {
    name: String,
    sink: Arc<Sink>,
    writing: AbortOnDropHandle<Result<Written>>,
}

/// What a statement leaves to its transaction.
#[derive(Default)]
pub(super) struct Left {
    quarantine: Option<Arc<crate::lake::Table>>,
    run: Option<Run>,
}

impl Left {
    /// For a statement that ends in the hands of the protocol.
    pub(super) fn arrive(self, arrivals: &Arrivals) {
        if let Some(table) = self.quarantine {
            arrivals.leave(table.location(), Arc::clone(&table));
        }
        if let Some(run) = self.run {
            arrivals.leave_run(run);
        }
    }
}

impl Road<'_> {
    /// What is expected of a table's rows, compiled against the rows that are written; `None` when nothing is.
    pub(in crate::execute) fn watch_of(
        &self,
        relation: &str,
        columns: &[ColumnSpec],
        rows: &SchemaRef,
        rules: &[Expectation],
    ) -> Result<Option<Arc<Watch>>> {
        let mut compiled = Vec::new();
        // The same for every session.
        let context = plan::rule_context(&self.context);
        let columns: Vec<RelationColumn> = columns.iter().map(column_of).collect();
        for rule in rules.iter().filter(|rule| rule.enabled) {
            compiled.extend(row_rule(relation, &columns, rows, rule, &context)?);
        }
        Ok((!compiled.is_empty()).then(|| Arc::new(Watch::new(compiled, Arc::clone(rows)))))
    }

    /// Begins to watch: where rows may be put apart, their table stands ready and is written beside the other one.
    pub(super) async fn watched(
        &mut self,
        gate: Gate,
        columns: &[ColumnSpec],
        operation: &Operation,
    ) -> Result<(Gate, Option<Watching>)> {
        let Some(watch) = gate.watch().cloned() else { return Ok((gate, None)) };
        let (schema, relation) = (gate.schema().to_owned(), gate.relation().to_owned());
        let owner = self.snapshot.relation(&schema, &relation).map(|relation| relation.owner);
        let owner_name =
            owner.and_then(|owner| self.snapshot.role_name(owner)).unwrap_or(&self.context.user).to_owned();
        let run = Run {
            id: new_run_id(),
            at: Utc::now(),
            table: format!("{schema}.{relation}"),
            place: None,
            owner: owner_name,
            role: self.context.user.clone(),
            // Delta has one word for all that only adds.
            source: if operation.name == "WRITE" { "INSERT".to_owned() } else { operation.name.clone() },
            table_version: None,
            whole: false,
            results: Vec::new(),
        };
        let (mut gate, mut apart) = (gate, None);
        if watch.quarantines() {
            if !self.staged {
                return Err(Error::internal("rows are put apart outside a transaction"));
            }
            let target = Box::pin(self.quarantine((&schema, &relation), columns, owner)).await?;
            let begun = self.put_apart(target, columns, &run);
            gate = gate.with_quarantine(Arc::clone(&begun.sink) as Arc<dyn Quarantine>);
            apart = Some(begun);
        }
        let (ground, session) = (Arc::clone(self.ground), Arc::clone(self.session.handle()));
        Ok((gate, Some(Watching { ground, session, watch, run, staged: self.staged, apart })))
    }

    fn put_apart(&self, target: Target, columns: &[ColumnSpec], run: &Run) -> Apart {
        let (sender, receiver) =
            mpsc::channel::<std::result::Result<RecordBatch, DataFusionError>>(BATCHES_WAITING_MAX);
        let schema = Arc::clone(target.table.arrow_schema());
        let batches = futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|batch| (batch, receiver))
        });
        let stream = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), batches));
        let request = WriteRequest {
            mode: WriteMode::Append(target.table),
            input: Input::Streams(vec![stream]),
            gate: Gate::new(&*target.schema, &*target.name, Vec::new(), Vec::new()),
            operation: self.operation("QUARANTINE"),
            memory: Arc::clone(self.ground.engine.memory_pool()),
            cancel: self.token.clone(),
        };
        let (lake, engine) = (Arc::clone(&self.ground.lake), Arc::clone(&self.ground.engine));
        let writing = tokio::spawn(async move { engine.compute(async move { lake.write(request).await }).await });
        let names = columns.iter().map(|column| column.name.clone()).collect();
        let (run_id, at, source) = (run.id.clone(), run.at, run.source.clone());
        let sink = Sink { sender: Mutex::new(Some(sender)), schema, names, run_id, at, source };
        Apart { name: target.name, sink: Arc::new(sink), writing: AbortOnDropHandle::new(writing) }
    }

    /// The table that rows of another one are put apart in: made or widened to have all of its columns.
    pub(super) async fn quarantine(
        &mut self,
        (schema, relation): (&str, &str),
        columns: &[ColumnSpec],
        owner: Option<u32>,
    ) -> Result<Target> {
        let name = quarantine_name(relation);
        let named = QualifiedName { database: None, schema: Some(schema.to_owned()), name: name.clone(), position: 0 };
        if self.snapshot.relation(schema, &name).is_none() {
            let statement = CreateTable { columns: quarantine_columns(columns), ..sql::empty_table(named.clone()) };
            create_table::run(self, &statement).await?;
            if let Some(owner) = owner.filter(|owner| *owner != self.role_oid()) {
                let (schema, name) = (schema.to_owned(), name.clone());
                let change = move |document: &mut crate::catalog::Document| {
                    let relations = document.schemas.get_mut(&schema).map(|schema| &mut schema.relations);
                    if let Some(relation) = relations.and_then(|relations| relations.get_mut(&name)) {
                        relation.owner = owner;
                    }
                    Ok(())
                };
                self.define(change).await?;
            }
            if !self.staged {
                let staleness = std::time::Duration::ZERO;
                self.snapshot = self.ground.catalog.fresh(staleness).await?;
            }
        }
        let target = self.target(&named, "insert into").await?;
        let has = |name: &str| target.table.columns().iter().any(|column| column.name == name);
        let missing: Vec<ColumnSpec> = quarantine_columns(columns)
            .into_iter()
            .filter(|column| !has(&column.name.value))
            .filter_map(|column| Some(ColumnSpec::new(&column.name.value, column.ty?)))
            .collect();
        if missing.is_empty() || !self.staged {
            return Ok(target);
        }
        let key = (target.schema.clone(), target.name.clone());
        let target = evolve::evolve(target, &missing).await?;
        evolve::record(self, key, missing).await?;
        if let Some(pins) = self.session.transaction.pins_mut() {
            pins.replace(target.table.location(), Arc::clone(&target.table));
        }
        Ok(target)
    }

    /// Ends the watch of a statement, whether it went well or not.
    pub(super) async fn settle(&mut self, watching: Option<Watching>, outcome: Result<Written>) -> Result<Written> {
        let Some(watching) = watching else { return outcome };
        let (written, left) = watching.settle(outcome).await?;
        if let Some(pins) = self.session.transaction.pins_mut() {
            if let Some(table) = left.quarantine.filter(|table| table.is_changed_privately()) {
                pins.replace(table.location(), Arc::clone(&table));
            }
            pins.runs.extend(left.run);
        }
        Ok(written)
    }
}

/// A rule compiled against rows of these columns; `None` for one that is not about each row.
pub(super) fn row_rule(
    relation: &str,
    columns: &[RelationColumn],
    rows: &SchemaRef,
    rule: &Expectation,
    context: &Arc<Context>,
) -> Result<Option<RowRule>> {
    let ExpectationRule::Row { condition } = &rule.rule else { return Ok(None) };
    let expression = sql::parse_expression(condition)?;
    let bound = plan::expectation_on_rows(relation, columns, &expression, rows, context, condition)?;
    let options = rule.options.clone();
    let (oid, name) = (rule.oid, rule.name.clone());
    Ok(Some(RowRule { oid, name, expr: bound.expr, proof: bound.proof, action: rule.action, options }))
}

/// A table's columns as its quarantine has them.
fn quarantine_columns(columns: &[ColumnSpec]) -> Vec<sql::ColumnDefinition> {
    let own = columns.iter().map(|column| (column.name.as_str(), column.ty));
    let added = [
        ("_rules", PgType::of(TEXT_ARRAY)),
        ("_run_id", PgType::TEXT),
        ("_at", PgType::TIMESTAMPTZ),
        ("_source", PgType::TEXT),
    ];
    let definition = |(name, ty): (&str, PgType)| sql::ColumnDefinition {
        name: Name { value: name.to_owned(), position: 0 },
        ty: Some(ty),
        not_null: false,
        comment: None,
        default: None,
        generated: None,
    };
    own.chain(added).map(definition).collect()
}

/// The way of rows into the quarantine's writer.
#[derive(Debug)]
struct Sink {
    sender: Mutex<Option<mpsc::Sender<std::result::Result<RecordBatch, DataFusionError>>>>,
    schema: SchemaRef,
    /// Of the columns that rows have, in their order.
    names: Vec<String>,
    run_id: String,
    at: DateTime<Utc>,
    source: String,
}

impl Sink {
    fn batch(&self, quarantined: &QuarantinedRows) -> Result<RecordBatch> {
        // What does not fit the column that an older definition of the table left here is lost to NULL, never the load.
        let lenient = CastOptions { safe: true, ..CastOptions::default() };
        let rows = quarantined.rows.num_rows();
        let text = |value: &str| Arc::new(StringArray::from(vec![value; rows])) as ArrayRef;
        let arrays = self.schema.fields().iter().map(|field| {
            let ty = field.data_type();
            Ok(match field.name().as_str() {
                "_rules" => cast(&quarantined.rules, ty)?,
                "_run_id" => cast(&text(&self.run_id), ty)?,
                "_source" => cast(&text(&self.source), ty)?,
                "_at" => {
                    let at = TimestampMicrosecondArray::from(vec![self.at.timestamp_micros(); rows]);
                    cast(&(Arc::new(at.with_timezone("UTC")) as ArrayRef), ty)?
                }
                name => match self.names.iter().position(|own| own == name) {
                    Some(index) => cast_with_options(quarantined.rows.column(index), ty, &lenient)
                        .unwrap_or_else(|_| new_null_array(ty, rows)),
                    None => new_null_array(ty, rows),
                },
            })
        });
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), arrays.collect::<Result<_>>()?)?)
    }
}

#[async_trait]
impl Quarantine for Sink {
    async fn take(&self, rows: QuarantinedRows) -> Result<()> {
        let batch = self.batch(&rows)?;
        let sender = self.sender.lock().clone();
        let Some(sender) = sender else { return Err(Error::internal("rows were put apart after their end")) };
        // A closed channel means that the writer failed: its error is the statement's.
        sender.send(Ok(batch)).await.map_err(|_| Error::internal(WRITER_GONE))
    }
}

const WRITER_GONE: &str = "the writer of rows that are put apart is gone";

impl Watching {
    /// Ends the other table's write, counts, tells and keeps what became of the rules.
    ///
    /// # Errors
    /// The outcome's, or the other table's.
    pub(super) async fn settle(mut self, outcome: Result<Written>) -> Result<(Written, Left)> {
        let (outcome, quarantine) = self.joined(outcome).await;
        self.run.results = self.watch.results();
        match outcome {
            Err(error) => {
                // Who is to mend the rows needs to know what became of them.
                if is_verdict(&self.run, &error) {
                    refused(&mut self.run, &error);
                    Box::pin(keep(&self.ground, &self.session, &self.run)).await;
                }
                Err(error)
            }
            Ok(written) => {
                self.tell();
                let mut left = Left { quarantine, run: None };
                if self.staged {
                    self.run.place = written.table.as_ref().map(|table| table.location().to_owned());
                    left.run = Some(self.run);
                } else {
                    self.run.table_version = Some(written.version);
                    Box::pin(keep(&self.ground, &self.session, &self.run)).await;
                }
                Ok((written, left))
            }
        }
    }

    async fn joined(&mut self, outcome: Result<Written>) -> (Result<Written>, Option<Arc<crate::lake::Table>>) {
        let Some(apart) = &mut self.apart else { return (outcome, None) };
        let gone = matches!(&outcome, Err(error) if error.message() == WRITER_GONE);
        if outcome.is_err() && !gone {
            return (outcome, None);
        }
        apart.sink.sender.lock().take();
        let ended = (&mut apart.writing).await;
        let ended = ended.unwrap_or_else(|error| Err(Error::internal(format!("{WRITER_GONE}: {error}"))));
        match (outcome, ended) {
            (_, Err(error)) => (Err(error), None),
            (outcome, Ok(written)) => (outcome, written.table),
        }
    }

    /// One notice for all that did not pass.
    fn tell(&self) {
        let broken: Vec<&RuleResult> = self.run.results.iter().filter(|result| result.failed > 0).collect();
        if broken.is_empty() {
            return;
        }
        let (_, relation) = self.run.table.split_once('.').unwrap_or(("", &self.run.table));
        let warned = broken.iter().filter(|result| result.action == ViolationAction::Warn);
        let warned: u64 = warned.map(|result| result.failed).sum();
        let dropped: u64 = broken.iter().map(|result| result.dropped).sum();
        let quarantined: u64 = broken.iter().map(|result| result.quarantined).sum();
        let counts = [("dropped", dropped), ("quarantined", quarantined), ("warned of", warned)];
        let counts = counts.iter().filter(|(_, count)| *count > 0);
        let mut counts: Vec<String> = counts.map(|(what, count)| format!("{count} {what}")).collect();
        if counts.is_empty() {
            counts.push("within their tolerance".to_owned());
        }
        let message = format!("rows for relation \"{relation}\" violate expectations: {}", counts.join(", "));
        let lines = broken.iter().map(|result| {
            let error = result.error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default();
            let (rule, failed, checked) = (&result.rule, result.failed, result.checked);
            format!("{rule}: {failed} of {checked} rows failed, {}{error}", result.action.words())
        });
        let mut hint = "See lakegate.expectation_results.".to_owned();
        if let Some(apart) = self.apart.as_ref().filter(|_| quarantined > 0) {
            hint = format!("The quarantined rows are in \"{}\". {hint}", apart.name);
        }
        self.session.notice(
            Error::notice(Severity::Notice, SqlState::SuccessfulCompletion, message)
                .with_detail(lines.collect::<Vec<_>>().join("\n"))
                .with_hint(hint),
        );
    }
}

/// Whether a rule ended the statement, and not a CHECK: both share one space of names.
fn is_verdict(run: &Run, error: &Error) -> bool {
    let is_rule = |name: &str| run.results.iter().any(|result| result.rule == name);
    error.sqlstate() == SqlState::CheckViolation && error.constraint().is_some_and(is_rule)
}

/// Nothing was written: the rule that ended the statement has failed, and nobody's rows went anywhere.
fn refused(run: &mut Run, error: &Error) {
    for result in &mut run.results {
        (result.dropped, result.quarantined) = (0, 0);
        if error.constraint() == Some(&result.rule) {
            result.status = Status::Failed;
        }
    }
    run.results.retain(|result| result.checked > 0 || result.status == Status::Failed);
}

/// What metrics and the webhook tell of a run.
pub(super) fn report(ground: &Ground, run: &Run) {
    let mut failed = Vec::new();
    for result in &run.results {
        let of = ExpectationCounts { checked: result.checked, failed: result.failed };
        ground.metrics.expectation((&run.table, &result.rule), result.status.word(), of);
        if result.status != Status::Passed {
            failed.push(json!({
                "rule": result.rule, "kind": result.kind, "action": result.action.words(),
                "status": result.status.word(), "severity": result.severity.word(), "checked": result.checked,
                "failed": result.failed, "dropped": result.dropped, "quarantined": result.quarantined,
                "value": result.value, "threshold": result.threshold, "error": result.error,
            }));
        }
    }
    if let Some(webhook) = ground.webhook.as_ref().filter(|_| !failed.is_empty()) {
        webhook.send(&json!({
            "event": "expectations_failed", "run_id": run.id, "at": run.at.to_rfc3339(), "table": run.table,
            "role": run.role, "source": run.source, "table_version": run.table_version, "results": failed,
        }));
    }
}

/// Tells of a run and adds it to the log: that this fails undoes no statement, and is told.
pub(crate) async fn keep(ground: &Arc<Ground>, session: &Handle, run: &Run) {
    report(ground, run);
    let kept = ground.lake.log_expectations(run.clone(), Arc::clone(ground.engine.memory_pool())).await;
    if let Err(error) = kept {
        let message = format!("results of expectations could not be logged: {}", error.message());
        session.notice(Error::notice(Severity::Warning, error.sqlstate(), message));
    }
}

/// The rules of a table that the catalog knows.
pub(super) fn rules<'a>(road: &'a Road<'_>, schema: &str, name: &str) -> &'a [Expectation] {
    match road.snapshot.relation(schema, name).map(|relation| &relation.kind) {
        Some(RelationKind::Table(table)) => &table.expectations,
        Some(RelationKind::View(_)) | None => &[],
    }
}
