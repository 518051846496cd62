//! What is expected of each row, asked while the rows are written.
//!
//! ```text
//! rows ─→ every rule, once a batch ─┬→ the rows that stay
//!                                   ├→ the rows for quarantine, with the rules that they break
//!                                   └→ a tally for each rule
//! ```
//! A condition that cannot be evaluated for a row (division by zero, a text that is no number) is one that the row breaks. Of
//! several rules that a row breaks, FAIL goes before QUARANTINE ROW, this before DROP ROW, and that before WARN.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListBuilder, StringBuilder};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::physical_expr::PhysicalExpr;
use parking_lot::Mutex;

use super::expectation::{ExpectationOptions, ViolationAction};
use super::proof::Proof;
use super::result::{RowTotals, RuleResult, Status, suffices};
use crate::error::{Error, Result, SqlState};

/// Rows that cannot be evaluated at once are evaluated in so many parts: few rounds to find one such row, and little more than
/// one evaluation for each where all are such.
const PARTS: usize = 16;

/// An expectation of each row, compiled against the rows that are written.
#[derive(Debug, Clone)]
pub struct RowRule {
    pub oid: u32,
    pub name: String,
    /// Its SQL.
    pub condition: String,
    pub expr: Arc<dyn PhysicalExpr>,
    /// What is cheaper than the condition, as long as no row breaks it.
    pub proof: Option<Arc<Proof>>,
    pub action: ViolationAction,
    pub options: ExpectationOptions,
}

/// The rules of one table while one statement writes to it; shared by all that write.
#[derive(Debug)]
pub struct Watch {
    rules: Vec<(RowRule, Tally)>,
    /// Of the rows that the rules are compiled against.
    schema: SchemaRef,
    totals: Mutex<RowTotals>,
}

#[derive(Debug, Default)]
struct Tally {
    checked: AtomicU64,
    failed: AtomicU64,
    /// Of the failed ones, those that were not written.
    removed: AtomicU64,
    nanos: AtomicU64,
    /// The first condition that could not be evaluated.
    error: Mutex<Option<String>>,
}

/// What became of the rule of that number in a batch.
#[derive(Debug, Clone, Copy)]
pub struct RuleCounts {
    pub number: usize,
    /// Rows that the rule was asked of.
    pub checked: u64,
    /// Those that break it.
    pub failed: u64,
}

/// A batch that was asked.
#[derive(Debug)]
pub struct Watched {
    /// Which of its rows stay; `None` when all do.
    pub kept: Option<BooleanArray>,
    pub quarantined: Option<QuarantinedRows>,
}

/// Rows that are put apart.
#[derive(Debug)]
pub struct QuarantinedRows {
    pub rows: RecordBatch,
    /// A list of names for each row: the rules that it breaks.
    pub rules: ArrayRef,
}

/// Takes rows that are put apart, as they come.
#[async_trait]
pub trait Quarantine: Send + Sync + std::fmt::Debug {
    async fn take(&self, rows: QuarantinedRows) -> Result<()>;
}

/// The first row that ends the statement.
#[derive(Debug)]
pub struct Refused {
    pub row: usize,
    pub rule: String,
    /// What the evaluation of its condition ended with.
    pub error: Option<String>,
}

impl Watch {
    /// `schema` is that of the rows which the rules are compiled against; those that come may have other carriers.
    pub fn new(rules: Vec<RowRule>, schema: SchemaRef) -> Self {
        let rules = rules.into_iter().map(|rule| (rule, Tally::default())).collect();
        Self { rules, schema, totals: Mutex::default() }
    }

    /// The rows in the carriers that the rules know: once a batch, not once a rule.
    fn carried(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let fields = self.schema.fields();
        let columns = batch.columns().iter().zip(fields);
        if columns.clone().all(|(column, field)| column.data_type() == field.data_type()) {
            return Ok(batch.clone());
        }
        let columns =
            columns.map(|(column, field)| Ok(cast(column, field.data_type())?)).collect::<Result<Vec<_>>>()?;
        let fields: Vec<Field> = fields.iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }

    /// Whether rows may be left out.
    pub fn removes(&self) -> bool {
        self.actions().any(|action| matches!(action, ViolationAction::DropRow | ViolationAction::QuarantineRow))
    }

    /// Whether rows may be put apart.
    pub fn quarantines(&self) -> bool {
        self.actions().any(|action| action == ViolationAction::QuarantineRow)
    }

    fn actions(&self) -> impl Iterator<Item = ViolationAction> {
        self.rules.iter().map(|(rule, _)| rule.action)
    }

    /// Asks every rule about every row. `existing` are the rows that take the place of others: they cannot be left out, so
    /// rules that would do that refuse them.
    ///
    /// # Errors
    /// What an evaluation gives that is no fault of the row's values.
    pub fn ask(
        &self,
        batch: &RecordBatch,
        existing: Option<&BooleanArray>,
    ) -> Result<std::result::Result<Watched, Refused>> {
        let rows = batch.num_rows();
        let carried = self.carried(batch)?;
        let mut refused: Option<Refused> = None;
        let mut broken: Vec<(&RowRule, BooleanBuffer)> = Vec::new();
        let (mut dropped, mut quarantined): (Option<BooleanBuffer>, Option<BooleanBuffer>) = (None, None);
        for (rule, tally) in &self.rules {
            let Some(failed) = tally.ask(rule, &carried)?.failed else { continue };
            let (refusing, removing) = match (rule.action, existing) {
                (ViolationAction::Warn, _) => (None, None),
                // Whether they are too many is known at the end.
                (ViolationAction::Fail, _) if rule.options.mostly.is_some() => (None, None),
                (ViolationAction::Fail, _) => (Some(failed.clone()), None),
                (ViolationAction::DropRow | ViolationAction::QuarantineRow, None) => (None, Some(failed.clone())),
                (ViolationAction::DropRow | ViolationAction::QuarantineRow, Some(existing)) => {
                    let existing = existing.values();
                    (Some(&failed & existing), Some(&failed & &!existing))
                }
            };
            if let Some(row) = refusing.as_ref().and_then(|rows| rows.set_indices().next())
                && refused.as_ref().is_none_or(|first| row < first.row)
            {
                refused = Some(Refused { row, rule: rule.name.clone(), error: tally.error.lock().clone() });
            }
            if let Some(removing) = removing {
                tally.removed.fetch_add(removing.count_set_bits() as u64, Ordering::Relaxed);
                let gone = if rule.action == ViolationAction::DropRow { &mut dropped } else { &mut quarantined };
                *gone = Some(match gone.take() {
                    Some(before) => &before | &removing,
                    None => removing,
                });
            }
            broken.push((rule, failed));
        }
        if refused.is_some() {
            (dropped, quarantined) = (None, None);
        }
        let quarantined = quarantined.filter(|rows| rows.count_set_bits() > 0);
        let gone = match (dropped, &quarantined) {
            (Some(dropped), Some(quarantined)) => Some(&dropped | quarantined),
            (gone, None) => gone,
            (None, Some(quarantined)) => Some(quarantined.clone()),
        };
        self.count(rows, &broken, quarantined.as_ref(), gone.as_ref());
        if let Some(refused) = refused {
            return Ok(Err(refused));
        }
        let quarantined = match quarantined {
            Some(mask) => {
                let rules = names(&broken, &mask);
                let rows = filter_record_batch(batch, &BooleanArray::new(mask, None))?;
                Some(QuarantinedRows { rows, rules })
            }
            None => None,
        };
        let kept = gone.filter(|gone| gone.count_set_bits() > 0).map(|gone| BooleanArray::new(!&gone, None));
        debug_assert!(kept.as_ref().is_none_or(|kept| kept.len() == rows));
        Ok(Ok(Watched { kept, quarantined }))
    }

    /// Asks some of the rules, by their numbers, about every row: how many were asked of each, and how many break it.
    ///
    /// # Errors
    /// What an evaluation gives that is no fault of the row's values.
    pub fn count_each(&self, batch: &RecordBatch, is_asked: impl Fn(usize) -> bool) -> Result<Vec<RuleCounts>> {
        let carried = self.carried(batch)?;
        let asked = self.rules.iter().enumerate().filter(|(number, _)| is_asked(*number));
        let counts = asked.map(|(number, (rule, tally))| {
            let Asked { checked, failed } = tally.ask(rule, &carried)?;
            let failed = failed.map_or(0, |failed| failed.count_set_bits() as u64);
            Ok(RuleCounts { number, checked, failed })
        });
        counts.collect()
    }

    /// Counts the rows of a batch, each once.
    fn count(
        &self,
        rows: usize,
        broken: &[(&RowRule, BooleanBuffer)],
        quarantined: Option<&BooleanBuffer>,
        gone: Option<&BooleanBuffer>,
    ) {
        let count = |rows: Option<&BooleanBuffer>| rows.map_or(0, BooleanBuffer::count_set_bits) as u64;
        let failed = union(broken.iter().map(|(_, failed)| failed));
        let warns = broken.iter().filter(|(rule, _)| rule.action == ViolationAction::Warn);
        let warned = union(warns.map(|(_, failed)| failed)).map(|warned| match gone {
            Some(gone) => &warned & &!gone,
            None => warned,
        });
        let mut totals = self.totals.lock();
        totals.checked += rows as u64;
        totals.failed += count(failed.as_ref());
        totals.quarantined += count(quarantined);
        totals.dropped += count(gone).saturating_sub(count(quarantined));
        totals.warned += count(warned.as_ref());
    }

    /// The rows so far.
    pub fn totals(&self) -> RowTotals {
        *self.totals.lock()
    }

    /// What became of each rule so far.
    pub fn results(&self) -> Vec<RuleResult> {
        self.rules.iter().map(|(rule, tally)| tally.result(rule)).collect()
    }

    /// The rules that hold for each row that stayed.
    pub fn unbroken(&self) -> impl Iterator<Item = &RowRule> {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let rules = self.rules.iter().filter(move |(_, tally)| of(&tally.failed) == of(&tally.removed));
        // For NULLs the others do not hold.
        rules.map(|(rule, _)| rule).filter(|rule| !rule.options.ignore_nulls)
    }

    /// The first rule of FAIL that too many rows broke, all rows being known.
    ///
    /// # Errors
    /// 23514.
    pub fn decide(&self, relation: (&str, &str)) -> Result<()> {
        let (schema, relation) = relation;
        for (rule, tally) in self.rules.iter().filter(|(rule, _)| rule.action == ViolationAction::Fail) {
            let result = tally.result(rule);
            if result.status != Status::Failed {
                continue;
            }
            let message = format!("new rows for relation \"{relation}\" violate expectation \"{}\"", rule.name);
            let detail = format!(
                "{} of {} rows failed; at least {} of them must pass.",
                result.failed,
                result.checked,
                result.threshold.unwrap_or_default()
            );
            return Err(Error::new(SqlState::CheckViolation, message)
                .with_detail(detail)
                .with_table(schema, relation)
                .with_constraint(&rule.name));
        }
        Ok(())
    }
}

/// The rows of any of them.
fn union<'b>(all: impl Iterator<Item = &'b BooleanBuffer>) -> Option<BooleanBuffer> {
    all.fold(None, |union: Option<BooleanBuffer>, rows| Some(union.map_or_else(|| rows.clone(), |union| &union | rows)))
}

impl Tally {
    fn ask(&self, rule: &RowRule, batch: &RecordBatch) -> Result<Asked> {
        let begun = Instant::now();
        let asked = asked_rows(rule, self, batch)?;
        let failed = asked.failed.as_ref().map_or(0, BooleanBuffer::count_set_bits) as u64;
        self.nanos.fetch_add(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.checked.fetch_add(asked.checked, Ordering::Relaxed);
        self.failed.fetch_add(failed, Ordering::Relaxed);
        Ok(asked)
    }

    fn result(&self, rule: &RowRule) -> RuleResult {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (checked, failed, removed) = (of(&self.checked), of(&self.failed), of(&self.removed));
        let passed = checked.saturating_sub(failed);
        let mostly = rule.options.mostly;
        let is = |action| if rule.action == action { removed } else { 0 };
        RuleResult {
            rule: rule.name.clone(),
            rule_oid: rule.oid,
            kind: "row",
            action: rule.action,
            status: if suffices(passed, checked, mostly) { Status::Passed } else { Status::Failed },
            checked,
            passed,
            failed,
            dropped: is(ViolationAction::DropRow),
            quarantined: is(ViolationAction::QuarantineRow),
            value: None,
            threshold: mostly.map(|share| share.to_string()),
            severity: rule.options.severity,
            ms: Some(Duration::from_nanos(of(&self.nanos)).as_secs_f64() * 1e3),
            error: self.error.lock().clone(),
            samples: None,
            files_read: None,
            files_kept: None,
        }
    }
}

/// The rows of a batch that a rule was asked of.
struct Asked {
    checked: u64,
    /// Those that break it, `None` when none does.
    failed: Option<BooleanBuffer>,
}

fn asked_rows(rule: &RowRule, tally: &Tally, batch: &RecordBatch) -> Result<Asked> {
    if rule.proof.as_ref().is_some_and(|proof| proof.holds(batch)) {
        return Ok(Asked { checked: batch.num_rows() as u64, failed: None });
    }
    let mut errors = Errors { tally, rows: Vec::new() };
    let passed = evaluate(&rule.expr, batch, 0..batch.num_rows(), &mut errors)?;
    let asked = if rule.options.ignore_nulls { passed.len() - passed.null_count() } else { passed.len() };
    let checked = (asked + unasked(&errors, rule)) as u64;
    if errors.rows.is_empty() && passed.true_count() == asked {
        return Ok(Asked { checked, failed: None });
    }
    let mut failed = match passed.nulls() {
        None => !passed.values(),
        Some(nulls) if rule.options.ignore_nulls => &!passed.values() & nulls.inner(),
        Some(nulls) => !&(passed.values() & nulls.inner()),
    };
    if rule.options.ignore_nulls && !errors.rows.is_empty() {
        let mut bits: Vec<bool> = failed.iter().collect();
        errors.rows.iter().for_each(|row| {
            if let Some(bit) = bits.get_mut(*row) {
                *bit = true;
            }
        });
        failed = BooleanBuffer::from(bits);
    }
    Ok(Asked { checked, failed: Some(failed) })
}

/// Rows with an error stand as NULL among the passed ones, and were asked all the same.
fn unasked(errors: &Errors<'_>, rule: &RowRule) -> usize {
    if rule.options.ignore_nulls { errors.rows.len() } else { 0 }
}

/// Whether an error tells of an expression and the values it was evaluated for, and not of who evaluates it: memory, a store,
/// an end that was asked for.
pub fn is_of_value(error: &Error) -> bool {
    ["0A", "21", "22", "23", "42", "54"].iter().any(|class| error.sqlstate().code().starts_with(class))
}

struct Errors<'a> {
    tally: &'a Tally,
    rows: Vec<usize>,
}

/// The condition for each row; NULL for a row whose evaluation fails, which is found in parts of parts.
fn evaluate(
    expr: &Arc<dyn PhysicalExpr>,
    batch: &RecordBatch,
    rows: Range<usize>,
    errors: &mut Errors<'_>,
) -> Result<BooleanArray> {
    let part = batch.slice(rows.start, rows.len());
    let value = expr.evaluate(&part).and_then(|value| value.into_array(part.num_rows()));
    let error = match value {
        Ok(value) => {
            let passed = value.as_boolean_opt().cloned();
            return passed.ok_or_else(|| Error::internal("an expectation is not a condition"));
        }
        Err(error) => Error::from(error),
    };
    if !is_of_value(&error) {
        return Err(error);
    }
    if rows.len() <= 1 {
        errors.tally.error.lock().get_or_insert_with(|| error.message().to_owned());
        errors.rows.push(rows.start);
        return Ok(BooleanArray::new_null(rows.len()));
    }
    let mut parts = Vec::with_capacity(PARTS);
    let size = rows.len().div_ceil(PARTS);
    for start in rows.clone().step_by(size) {
        parts.push(evaluate(expr, batch, start..(start + size).min(rows.end), errors)?);
    }
    let parts: Vec<&dyn Array> = parts.iter().map(|part| part as &dyn Array).collect();
    Ok(arrow::compute::concat(&parts)?.as_boolean().clone())
}

/// For each row of the mask the names of the rules that it breaks.
fn names(broken: &[(&RowRule, BooleanBuffer)], mask: &BooleanBuffer) -> ArrayRef {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for row in mask.set_indices() {
        for (rule, failed) in broken {
            if failed.value(row) {
                lists.values().append_value(&rule.name);
            }
        }
        lists.append(true);
    }
    Arc::new(lists.finish())
}
