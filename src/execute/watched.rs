//! A statement's rows are watched while they are written: what they break is counted, told and kept, and rows that are put
//! apart go into a table of their own, in the same transaction.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use chrono::Utc;
use serde_json::json;

use super::alter_table;
use super::expectation::{keep_passed, passed};
use super::ground::Ground;
use super::quarantine::{Apart, WRITER_GONE};
use super::road::Road;
use super::row_rules::rules_of;
use crate::builtins::Context;
use crate::catalog::{Relation, RelationKind};
use crate::error::{Error, Result, Severity, SqlState};
use crate::lake::{ColumnSpec, Operation, Written};
use crate::observe::ExpectationCounts;
use crate::plan;
use crate::plan::relations::RelationColumn;
use crate::plan::resolve::column_of;
use crate::quality::result::{RuleResult, Run, Status, new_run_id};
use crate::quality::{Expectation, ExpectationRule, Gate, RowRule, ViolationAction, Watch};
use crate::session::{Arrivals, Handle};
use crate::sql::{self, Statement};

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

/// Whether rows of the table may be put apart.
pub(super) fn has_quarantine(relation: &Relation) -> bool {
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
    /// Whether the commit is this statement's own: what is told waits for it.
    own: bool,
    apart: Option<Apart>,
}

/// What a statement leaves to its transaction.
#[derive(Default)]
pub(super) struct Left {
    quarantine: Option<Arc<crate::lake::Table>>,
    run: Option<Run>,
    /// Told when the transaction has committed.
    notice: Option<Error>,
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
        if let Some(notice) = self.notice {
            arrivals.leave_notice(notice);
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
        self.watched_as(gate, columns, operation, false).await
    }

    /// The same; `anew`: the rows take the place of all others, as those that are put apart do.
    pub(super) async fn watched_as(
        &mut self,
        gate: Gate,
        columns: &[ColumnSpec],
        operation: &Operation,
        anew: bool,
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
            rows: None,
            passed: None,
        };
        let (mut gate, mut apart) = (gate, None);
        if watch.quarantines() {
            if !self.staged {
                return Err(Error::internal("rows are put apart outside a transaction"));
            }
            let target = Box::pin(self.quarantine((&schema, &relation), columns, owner)).await?;
            let begun = self.put_apart(target, columns, &run, anew)?;
            gate = gate.with_quarantine(begun.sink());
            apart = Some(begun);
        }
        let (ground, session) = (Arc::clone(self.ground), Arc::clone(self.session.handle()));
        let own = self.staged && !self.session.transaction.in_block();
        Ok((gate, Some(Watching { ground, session, watch, run, staged: self.staged, own, apart })))
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
            pins.notices.extend(left.notice);
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
    let (oid, name, condition) = (rule.oid, rule.name.clone(), condition.clone());
    Ok(Some(RowRule { oid, name, condition, expr: bound.expr, proof: bound.proof, action: rule.action, options }))
}

impl Watching {
    /// Ends the other table's write, counts, tells and keeps what became of the rules.
    ///
    /// # Errors
    /// The outcome's, or the other table's.
    pub(super) async fn settle(mut self, outcome: Result<Written>) -> Result<(Written, Left)> {
        let (outcome, quarantine) = self.joined(outcome).await;
        self.run.results = self.watch.results();
        self.run.rows = Some(self.watch.totals());
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
                let mut left = Left { quarantine, run: None, notice: self.told() };
                if !self.own
                    && let Some(notice) = left.notice.take()
                {
                    self.session.notice(notice);
                }
                self.run.passed = passed(&self.watch, &written);
                if self.asked_nothing() {
                    return Ok((written, left));
                }
                if self.staged {
                    self.run.place = written.table.as_ref().map(|table| table.location().to_owned());
                    left.run = Some(self.run);
                } else {
                    self.run.table_version = Some(written.version);
                    Box::pin(keep(&self.ground, &self.session, &self.run)).await;
                    if let (Some(passed), Some(table)) = (self.run.passed.take(), &written.table) {
                        Box::pin(keep_passed(&self.ground, passed, Arc::clone(table))).await;
                    }
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
        apart.close();
        let ended = (&mut apart.writing).await;
        let ended = ended.unwrap_or_else(|error| Err(Error::internal(format!("{WRITER_GONE}: {error}"))));
        match (outcome, ended) {
            (_, Err(error)) => (Err(error), None),
            (outcome, Ok(written)) => (outcome, written.table),
        }
    }

    /// Whether the statement found no row to write, of which there need be none.
    fn asked_nothing(&self) -> bool {
        matches!(self.run.source.as_str(), "UPDATE" | "MERGE") && self.watch.totals().checked == 0
    }

    /// One notice for all that did not pass.
    fn told(&self) -> Option<Error> {
        let broken: Vec<&RuleResult> = self.run.results.iter().filter(|result| result.failed > 0).collect();
        if broken.is_empty() {
            return None;
        }
        let (_, relation) = self.run.table.split_once('.').unwrap_or(("", &self.run.table));
        let rows = self.watch.totals();
        let counts = [("dropped", rows.dropped), ("quarantined", rows.quarantined), ("warned of", rows.warned)];
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
        if let Some(apart) = self.apart.as_ref().filter(|_| rows.quarantined > 0) {
            hint = format!("The quarantined rows are in \"{}\". {hint}", apart.name);
        }
        let notice = Error::notice(Severity::Notice, SqlState::SuccessfulCompletion, message);
        Some(notice.with_detail(lines.collect::<Vec<_>>().join("\n")).with_hint(hint))
    }
}

/// Whether a rule ended the statement, and not a CHECK: both share one space of names.
fn is_verdict(run: &Run, error: &Error) -> bool {
    let is_rule = |name: &str| run.results.iter().any(|result| result.rule == name);
    // The quarantine's CHECKs may be called like rules too.
    let is_of_table = error.table().is_some_and(|table| run.table.ends_with(&format!(".{table}")));
    error.sqlstate() == SqlState::CheckViolation && is_of_table && error.constraint().is_some_and(is_rule)
}

/// Nothing was written: nobody's rows went anywhere.
pub(super) fn undone(run: &mut Run) {
    for result in &mut run.results {
        (result.dropped, result.quarantined) = (0, 0);
    }
    if let Some(rows) = &mut run.rows {
        (rows.dropped, rows.quarantined, rows.warned) = (0, 0, 0);
    }
}

/// The same, and the rule that ended the statement has failed.
fn refused(run: &mut Run, error: &Error) {
    undone(run);
    for result in &mut run.results {
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
