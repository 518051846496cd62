//! NOT NULL and CHECK on rows that are about to be written, with PostgreSQL's errors; before them what is expected of the rows.

use std::sync::Arc;

use arrow::array::{Array, BooleanArray, cast::AsArray};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::physical_expr::PhysicalExpr;

use super::watch::{Quarantine, Refused, Watch};
use crate::error::{Error, Result, SqlState};

/// PostgreSQL cuts each value of a failing row to this many bytes (`ExecBuildSlotValueDescription`).
const VALUE_BYTES_MAX: usize = 64;

/// Writes one value of a row for the DETAIL of an error.
pub trait RowText: Send + Sync + std::fmt::Debug {
    /// The text of a value that is not null, as PostgreSQL's output function gives it.
    fn value(&self, batch: &RecordBatch, column: usize, row: usize) -> String;
}

/// A column of the table behind the gate, in the order of the batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateColumn {
    pub name: String,
    pub not_null: bool,
}

/// A condition that every row must meet.
#[derive(Debug, Clone)]
pub enum Rule {
    /// A boolean expression over the batch's columns.
    Check {
        name: String,
        expr: Arc<dyn PhysicalExpr>,
        /// PostgreSQL's meaning (true): only FALSE violates. Delta's (false): NULL violates too.
        null_passes: bool,
    },
}

/// A row that may not be written.
#[derive(Debug)]
pub struct Violation {
    /// Its number in the batch.
    pub row: usize,
    pub error: Error,
}

/// What the row breaks.
enum Broken<'a> {
    NotNull(&'a GateColumn),
    Check(&'a str),
}

/// The checks of one table, applied to each batch before it is stored. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gate {
    schema: Arc<str>,
    relation: Arc<str>,
    columns: Arc<[GateColumn]>,
    rules: Arc<[Rule]>,
    text: Arc<dyn RowText>,
    watch: Option<Arc<Watch>>,
    quarantine: Option<Arc<dyn Quarantine>>,
}

impl Gate {
    /// A gate for `schema.relation`. The columns are those of the batches, in their order.
    pub fn new(
        schema: impl Into<Arc<str>>,
        relation: impl Into<Arc<str>>,
        columns: Vec<GateColumn>,
        rules: Vec<Rule>,
    ) -> Self {
        Self {
            schema: schema.into(),
            relation: relation.into(),
            columns: columns.into(),
            rules: rules.into(),
            text: Arc::new(ArrowText),
            watch: None,
            quarantine: None,
        }
    }

    /// Adds what is expected of the rows.
    pub fn with_watch(mut self, watch: Arc<Watch>) -> Self {
        self.watch = Some(watch);
        self
    }

    /// Sets where rows go that are put apart.
    pub fn with_quarantine(mut self, quarantine: Arc<dyn Quarantine>) -> Self {
        self.quarantine = Some(quarantine);
        self
    }

    pub fn schema(&self) -> &str {
        &self.schema
    }

    pub fn relation(&self) -> &str {
        &self.relation
    }

    pub fn watch(&self) -> Option<&Arc<Watch>> {
        self.watch.as_ref()
    }

    /// Sets how values are written in DETAIL; the default is close to PostgreSQL's ISO formats.
    pub fn with_text(mut self, text: Arc<dyn RowText>) -> Self {
        self.text = text;
        self
    }

    /// Whether there is nothing to check.
    pub fn is_open(&self) -> bool {
        self.watch.is_none() && self.rules.is_empty() && !self.columns.iter().any(|column| column.not_null)
    }

    /// The same table's gate for rows that passed its constraints: what is expected of them is left to ask.
    pub fn opened(&self) -> Self {
        let columns = self.columns.iter().map(|column| GateColumn { name: column.name.clone(), not_null: false });
        Self { columns: columns.collect(), rules: Arc::new([]), ..self.clone() }
    }

    /// Asks what is expected of the rows. Which of them stay: `None` when all do. `existing` are those that take the place of
    /// other rows.
    ///
    /// # Errors
    /// 23514 for a row that may not come; what an expression's evaluation gives that is no fault of the row's values.
    pub async fn ask(&self, batch: &RecordBatch, existing: Option<&BooleanArray>) -> Result<Option<BooleanArray>> {
        let Some(watch) = &self.watch else { return Ok(None) };
        let watched = watch.ask(batch, existing)?.map_err(|refused| self.refusal(batch, refused))?;
        if let Some(rows) = watched.quarantined {
            let Some(quarantine) = &self.quarantine else {
                return Err(Error::internal("there is no place for rows that are put apart"));
            };
            quarantine.take(rows).await?;
        }
        Ok(watched.kept)
    }

    /// Refuses what only all rows together can tell.
    ///
    /// # Errors
    /// 23514.
    pub fn decide(&self) -> Result<()> {
        self.watch.as_ref().map_or(Ok(()), |watch| watch.decide((&self.schema, &self.relation)))
    }

    fn refusal(&self, batch: &RecordBatch, refused: Refused) -> Error {
        let Refused { row, rule, error } = refused;
        let message = format!("new row for relation \"{}\" violates expectation \"{rule}\"", self.relation);
        let mut detail = self.failing_row(batch, row);
        if let Some(error) = error {
            detail = format!("{detail}\nIts condition could not be evaluated: {error}");
        }
        Error::new(SqlState::CheckViolation, message)
            .with_detail(detail)
            .with_table(&*self.schema, &*self.relation)
            .with_constraint(rule)
    }

    /// The same table's gate without what is expected of rows: for statements that bring none.
    pub fn unwatched(self) -> Self {
        Self { watch: None, ..self }
    }

    /// The same table's gate that asks nothing.
    pub fn opened_wide(&self) -> Self {
        Self { watch: None, ..self.opened() }
    }

    /// Gives the batch back when every row passes.
    ///
    /// # Errors
    /// 23502 for a null in a NOT NULL column, 23514 for a CHECK, both with the first failing row in DETAIL; what an
    /// expression's evaluation gives. XX000 when the batch has fewer columns than the gate.
    pub fn apply(&self, batch: RecordBatch) -> Result<RecordBatch> {
        match self.first_violation(&batch)? {
            None => Ok(batch),
            Some(violation) => Err(violation.error),
        }
    }

    /// The first row that does not pass, as PostgreSQL would meet it: row by row, in a row first the columns that must not
    /// be null, then the conditions.
    ///
    /// # Errors
    /// What an expression's evaluation gives. XX000 when the batch has fewer columns than the gate.
    pub fn first_violation(&self, batch: &RecordBatch) -> Result<Option<Violation>> {
        if batch.num_columns() < self.columns.len() {
            return Err(Error::internal("rows have fewer columns than the table"));
        }
        let null = self.first_null(batch);
        let mut first = null.map(|(row, column)| (row, Broken::NotNull(column)));
        for rule in self.rules.iter() {
            // A row that is broken already is not asked again.
            let rows = first.as_ref().map_or(batch.num_rows(), |(row, _)| *row);
            let Rule::Check { name, .. } = rule;
            if let Some(row) = violation_of(rule, &batch.slice(0, rows))? {
                first = Some((row, Broken::Check(name)));
            }
        }
        Ok(first.map(|(row, broken)| Violation {
            row,
            error: match broken {
                Broken::NotNull(column) => self.not_null_violation(batch, row, column),
                Broken::Check(name) => self.check_violation(batch, row, name),
            },
        }))
    }

    /// The first row with a null where there may be none, and of it the first column.
    fn first_null(&self, batch: &RecordBatch) -> Option<(usize, &GateColumn)> {
        let mut first: Option<(usize, &GateColumn)> = None;
        for (column, array) in self.columns.iter().zip(batch.columns()).filter(|(column, _)| column.not_null) {
            if let Some(row) = first_null(array.as_ref())
                && first.is_none_or(|(found, _)| row < found)
            {
                first = Some((row, column));
            }
        }
        first
    }

    fn not_null_violation(&self, batch: &RecordBatch, row: usize, column: &GateColumn) -> Error {
        let message = format!(
            "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
            column.name, self.relation
        );
        Error::new(SqlState::NotNullViolation, message)
            .with_detail(self.failing_row(batch, row))
            .with_table(&*self.schema, &*self.relation)
            .with_column(&column.name)
    }

    fn check_violation(&self, batch: &RecordBatch, row: usize, name: &str) -> Error {
        let message = format!("new row for relation \"{}\" violates check constraint \"{name}\"", self.relation);
        Error::new(SqlState::CheckViolation, message)
            .with_detail(self.failing_row(batch, row))
            .with_table(&*self.schema, &*self.relation)
            .with_constraint(name)
    }

    fn failing_row(&self, batch: &RecordBatch, row: usize) -> String {
        let values = (0..self.columns.len()).map(|column| {
            if batch.column(column).is_null(row) { "null".to_owned() } else { cut(self.text.value(batch, column, row)) }
        });
        format!("Failing row contains ({}).", values.collect::<Vec<_>>().join(", "))
    }
}

/// The first row for which the rule does not hold.
fn violation_of(rule: &Rule, batch: &RecordBatch) -> Result<Option<usize>> {
    match rule {
        Rule::Check { name, expr, null_passes } => {
            let value = expr.evaluate(batch)?.into_array(batch.num_rows())?;
            let Some(passed) = value.as_boolean_opt() else {
                return Err(Error::internal(format!("check constraint \"{name}\" is not a condition")));
            };
            Ok(first_violation(passed, *null_passes))
        }
    }
}

fn first_null(array: &dyn Array) -> Option<usize> {
    if array.logical_null_count() == 0 {
        return None;
    }
    let nulls = array.logical_nulls()?;
    (0..array.len()).find(|row| nulls.is_null(*row))
}

fn first_violation(passed: &BooleanArray, null_passes: bool) -> Option<usize> {
    let nulls_violate = !null_passes && passed.null_count() > 0;
    if !nulls_violate && passed.true_count() + passed.null_count() == passed.len() {
        return None;
    }
    passed.iter().position(|value| !value.unwrap_or(null_passes))
}

/// Cuts a value as PostgreSQL does: at a character's start, with three dots.
fn cut(mut value: String) -> String {
    if value.len() <= VALUE_BYTES_MAX {
        return value;
    }
    let end = (0..=VALUE_BYTES_MAX).rev().find(|end| value.is_char_boundary(*end)).unwrap_or(0);
    value.truncate(end);
    value.push_str("...");
    value
}

/// Arrow's own texts, mended where PostgreSQL's differ in the common types.
#[derive(Debug)]
struct ArrowText;

const TEXT_OPTIONS: FormatOptions<'static> = FormatOptions::new()
    .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
    .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f+00"))
    .with_time_format(Some("%H:%M:%S%.f"));

impl RowText for ArrowText {
    fn value(&self, batch: &RecordBatch, column: usize, row: usize) -> String {
        let array = batch.column(column);
        let text = ArrayFormatter::try_new(array, &TEXT_OPTIONS)
            .and_then(|formatter| formatter.value(row).try_to_string())
            .unwrap_or_else(|_| "?".to_owned());
        match array.data_type() {
            DataType::Boolean if text == "true" => "t".to_owned(),
            DataType::Boolean => "f".to_owned(),
            DataType::Float32 | DataType::Float64 => text.strip_suffix(".0").map_or(text.clone(), str::to_owned),
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => format!("\\x{text}"),
            _ => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int32Array, StringArray};
    use arrow::datatypes::Schema;
    use datafusion::logical_expr::Operator;
    use datafusion::physical_expr::expressions::{BinaryExpr, Column, lit};

    use super::*;

    fn batch() -> RecordBatch {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("a", Arc::new(Int32Array::from(vec![Some(1), None, Some(-3)]))),
            ("b", Arc::new(StringArray::from(vec![Some("x"), Some("y"), None]))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
    }

    fn gate(not_null: [bool; 2], rules: Vec<Rule>) -> Gate {
        let columns = ["a", "b"].iter().zip(not_null);
        let columns = columns.map(|(name, not_null)| GateColumn { name: (*name).to_owned(), not_null });
        Gate::new("public", "t", columns.collect(), rules)
    }

    fn positive(null_passes: bool) -> Rule {
        let expr = BinaryExpr::new(Arc::new(Column::new("a", 0)), Operator::Gt, lit(0_i32));
        Rule::Check { name: "a_positive".to_owned(), expr: Arc::new(expr), null_passes }
    }

    #[test]
    fn the_first_null_row_is_told_with_its_column() {
        let error = gate([true, true], vec![]).apply(batch()).unwrap_err();
        assert_eq!(error.sqlstate(), SqlState::NotNullViolation);
        assert_eq!(error.message(), "null value in column \"a\" of relation \"t\" violates not-null constraint");
        assert_eq!(error.detail(), Some("Failing row contains (null, y)."));
        assert_eq!((error.schema(), error.table(), error.column()), (Some("public"), Some("t"), Some("a")));
    }

    #[test]
    fn null_passes_a_check_of_postgresql_but_not_one_of_delta() {
        let error = gate([false, false], vec![positive(true)]).apply(batch()).unwrap_err();
        assert_eq!(error.message(), "new row for relation \"t\" violates check constraint \"a_positive\"");
        assert_eq!(error.detail(), Some("Failing row contains (-3, null)."));
        assert_eq!(error.constraint(), Some("a_positive"));
        let error = gate([false, false], vec![positive(false)]).apply(batch()).unwrap_err();
        assert_eq!(error.detail(), Some("Failing row contains (null, y)."));
    }

    #[test]
    fn the_first_row_is_told_whatever_it_breaks() {
        let columns: Vec<(&str, ArrayRef, bool)> = vec![
            ("a", Arc::new(Int32Array::from(vec![Some(1), Some(-3), None])), true),
            ("b", Arc::new(StringArray::from(vec!["x", "y", "z"])), true),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let gate = gate([true, false], vec![positive(false)]);
        let violation = gate.first_violation(&batch).unwrap().unwrap();
        assert_eq!((violation.row, violation.error.constraint()), (1, Some("a_positive")));
        let violation = gate.first_violation(&batch.slice(2, 1)).unwrap().unwrap();
        assert_eq!((violation.row, violation.error.column()), (0, Some("a")));
        assert!(gate.opened().is_open() && gate.opened().first_violation(&batch).unwrap().is_none());
    }

    #[test]
    fn rows_that_pass_come_back_unchanged() {
        let rows = batch().slice(0, 1);
        assert_eq!(gate([true, true], vec![positive(false)]).apply(rows.clone()).unwrap(), rows);
        assert!(gate([false, false], vec![]).is_open());
        let empty = RecordBatch::new_empty(Arc::new(Schema::new(batch().schema().fields().clone())));
        assert_eq!(gate([true, true], vec![positive(false)]).apply(empty).unwrap().num_rows(), 0);
    }

    #[test]
    fn long_values_are_cut_at_a_character() {
        assert_eq!(cut("ä".repeat(40)), format!("{}...", "ä".repeat(32)));
        assert_eq!(cut("x".repeat(64)), "x".repeat(64));
    }
}
