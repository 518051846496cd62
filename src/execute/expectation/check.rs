//! The rules of a table checked: one scan for all that it can answer, a query for each other one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use futures::StreamExt;
use futures::future::BoxFuture;
use sqlparser::ast;

use crate::builtins::Context;
use crate::catalog::{ReadColumn, View, ViewRead};
use crate::encode::types::{OutputColumn, PgType, format_type, oid};
use crate::error::{Error, Result};
use crate::execute::road::Road;
use crate::lake::ColumnSpec;
use crate::plan::expectation::anomaly::Usual;
use crate::plan::expectation::{self, Asked, Counts, RowItems, ScanItems};
use crate::plan::relations::{Relation, Relations};
use crate::plan::{self, Parameters};
use crate::quality::result::{RuleResult, Status, suffices};
use crate::quality::{Expectation, ExpectationRule, SchemaColumn, ViolationAction, Watch, is_of_value};
use crate::sql;

/// Bytes of one rule's samples.
const SAMPLE_BYTES_MAX: usize = 64 << 10;

/// A table whose rules are checked.
pub(super) struct Checked {
    pub schema: String,
    pub name: String,
    /// Whose rights the rules read other tables with.
    pub owner: u32,
    /// The rows.
    pub relation: Relation,
    /// What the table is defined as.
    pub columns: Vec<ColumnSpec>,
    /// Broken rows to show of each rule.
    pub samples: u32,
}

/// Checks the rules; a result for each, in their order.
///
/// # Errors
/// What is not the rules' own fault: a rule that cannot be evaluated has a result that says so.
pub(super) async fn check(road: &mut Road<'_>, checked: &Checked, rules: &[Expectation]) -> Result<Vec<RuleResult>> {
    let history = history(road, checked, rules).await?;
    let context = plan::rule_context(&road.context);
    let mut checker = Checker { road, checked, context, history, results: BTreeMap::new() };
    let mut scanned = Vec::new();
    let mut others = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let usual = |anomaly: &expectation::anomaly::Anomaly| -> Option<Usual> {
            anomaly.usual(checker.history.get(&rule.name).map(Vec::as_slice).unwrap_or_default())
        };
        let other = checker.other(rule);
        let own = (checked.schema.as_str(), checked.name.as_str());
        match expectation::asked(
            rule,
            own,
            other.as_ref().map(|(schema, name)| (schema.as_str(), name.as_str())),
            usual,
        ) {
            Ok(asked @ (Asked::Rows(_) | Asked::Condition(_))) => scanned.push(One { index, rule, asked }),
            Ok(asked) => others.push(One { index, rule, asked }),
            Err(error) => checker.put(index, failed_to_run(rule, &error)),
        }
    }
    checker.scan(&scanned).await?;
    for one in &others {
        checker.apart(one).await?;
    }
    let mut results = std::mem::take(&mut checker.results);
    for (index, rule) in rules.iter().enumerate() {
        if let Some(result) = results.get_mut(&index)
            && result.status == Status::Failed
            && result.samples.is_none()
        {
            result.samples = checker.samples(rule).await?;
        }
    }
    Ok(results.into_values().collect())
}

/// A rule and what is asked for it.
struct One<'a> {
    index: usize,
    rule: &'a Expectation,
    asked: Asked<'a>,
}

struct Checker<'r, 'g, 'c> {
    road: &'r mut Road<'g>,
    checked: &'c Checked,
    context: Arc<Context>,
    /// Values of rules in earlier runs, newest first.
    history: HashMap<String, Vec<f64>>,
    results: BTreeMap<usize, RuleResult>,
}

impl Checker<'_, '_, '_> {
    fn put(&mut self, index: usize, result: RuleResult) {
        self.results.insert(index, result);
    }

    /// Schema and name of the table that a foreign key refers to.
    fn other(&self, rule: &Expectation) -> Option<(String, String)> {
        let ExpectationRule::ForeignKey { table, .. } = &rule.rule else { return None };
        let (schema, name, _) = self.road.snapshot.relation_by_oid(*table)?;
        Some((schema.to_owned(), name.to_owned()))
    }

    /// All the rules in one scan. If one of them cannot be computed, it is found by halves.
    fn scan<'s>(&'s mut self, ones: &'s [One<'_>]) -> BoxFuture<'s, Result<()>> {
        Box::pin(async move {
            if ones.is_empty() {
                return Ok(());
            }
            let error = match self.scan_once(ones).await {
                Ok(()) => return Ok(()),
                Err(error) if is_of_rule(&error) => error,
                Err(error) => return Err(error),
            };
            if let [one] = ones {
                let is_of_rows = matches!(one.asked, Asked::Rows(_)) && is_of_value(&error);
                let result = match is_of_rows {
                    true => self.row_by_row(one.rule).await?,
                    false => failed_to_run(one.rule, &error),
                };
                self.put(one.index, result);
                return Ok(());
            }
            let (left, right) = ones.split_at(ones.len() / 2);
            self.scan(left).await?;
            self.scan(right).await
        })
    }

    async fn scan_once(&mut self, ones: &[One<'_>]) -> Result<()> {
        let mut items = ScanItems::default();
        let places: Vec<Option<RowItems>> = ones.iter().map(|one| items.add(&one.asked)).collect();
        let query = expectation::select(items.into_items(), (&self.checked.schema, &self.checked.name), None)?;
        let mut reads: Vec<ViewRead> = Vec::new();
        for one in ones {
            for read in self.reads(one.rule) {
                match reads.iter().find(|known| known.schema == read.schema && known.name == read.name) {
                    None => reads.push(read),
                    Some(known) if known.oid == read.oid => {}
                    // Two rules mean different tables by one name.
                    Some(_) if ones.len() > 1 => return Err(Error::unsupported("these expectations in one scan")),
                    Some(_) => {}
                }
            }
        }
        let started = Instant::now();
        let (row, columns) = self.row(&query, reads).await?;
        let elapsed = started.elapsed().as_secs_f64() * 1000.0;
        for (one, place) in ones.iter().zip(places) {
            let Some(place) = place else { continue };
            let mut result = match place {
                RowItems::Rows { checked, passed } => {
                    let checked = count_at(&row, checked)?;
                    let passed = count_at(&row, passed)?;
                    counted(one.rule, Counts { checked, failed: checked.saturating_sub(passed) })
                }
                RowItems::Condition { holds, rows, value } => {
                    let value = value.and_then(|value| number_at(&row, &columns, value));
                    let threshold = match &one.asked {
                        Asked::Condition(condition) => condition.threshold.clone(),
                        Asked::Rows(_) | Asked::Query(_) | Asked::Schema { .. } => None,
                    };
                    let empty = count_at(&row, rows)? == 0;
                    let holds = truth_at(&row, holds)?.unwrap_or(empty || one.rule.options.ignore_nulls);
                    RuleResult { value, threshold, ..result_of(one.rule, status(holds)) }
                }
            };
            result.ms = (ones.len() == 1).then_some(elapsed);
            self.put(one.index, result);
        }
        Ok(())
    }

    /// A rule about each row that some row makes fail: such a row breaks it, and the others are asked as ever.
    async fn row_by_row(&mut self, rule: &Expectation) -> Result<RuleResult> {
        let columns = &self.checked.columns;
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let list = names.iter().map(|name| expectation::quoted(name)).collect::<Vec<_>>().join(", ");
        let text =
            format!("SELECT {list} FROM {}", expectation::relation_text(&self.checked.schema, &self.checked.name));
        let relations = self.relations(Relations::default());
        let query = sql::parse_query(&text)?;
        let bound = plan::bind_query(&query, &self.context, &relations, "", &mut Parameters::none())?;
        let mut stream = self.road.start(bound.plan).await?;
        let mut watch: Option<(SchemaRef, Arc<Watch>)> = None;
        // Nothing is refused or left out here.
        let counted = Expectation { action: ViolationAction::Warn, enabled: true, ..rule.clone() };
        while let Some(batch) = stream.next().await.transpose()? {
            let fields = batch
                .schema()
                .fields()
                .iter()
                .zip(&names)
                .map(|(field, name)| Field::new(*name, field.data_type().clone(), true))
                .collect::<Vec<_>>();
            let rows: SchemaRef = Arc::new(Schema::new(fields));
            let batch = RecordBatch::try_new(Arc::clone(&rows), batch.columns().to_vec())?;
            let known = match &watch {
                Some((schema, known)) if *schema == rows => Arc::clone(known),
                Some(_) => return Err(Error::internal("the rows of a table changed their types")),
                None => {
                    let made =
                        self.road.watch_of(&self.checked.name, columns, &rows, std::slice::from_ref(&counted))?;
                    let made = made.ok_or_else(|| Error::internal("a rule about each row is none"))?;
                    watch = Some((rows, Arc::clone(&made)));
                    made
                }
            };
            drop(known.ask(&batch, None)?);
        }
        let results = watch.map(|(_, watch)| watch.results()).unwrap_or_default();
        Ok(match results.into_iter().next() {
            Some(result) => RuleResult { action: rule.action, ..result },
            None => result_of(rule, Status::Passed),
        })
    }

    /// With the table that is checked among them.
    fn relations(&self, mut relations: Relations) -> Relations {
        let own = (Some(self.checked.schema.clone()), self.checked.name.clone());
        relations.by_name.insert(own, self.checked.relation.clone());
        relations
    }

    /// A rule that needs more than the scan.
    async fn apart(&mut self, one: &One<'_>) -> Result<()> {
        let started = Instant::now();
        let result = match &one.asked {
            Asked::Query(text) => match self.counts(one.rule, text).await {
                Ok(counts) => counted(one.rule, counts),
                Err(error) if is_of_rule(&error) => failed_to_run(one.rule, &error),
                Err(error) => return Err(error),
            },
            Asked::Schema { columns, exact } => schema_result(one.rule, columns, *exact, &self.checked.columns),
            Asked::Rows(_) | Asked::Condition(_) => return Err(Error::internal("a rule of the scan was asked apart")),
        };
        let ms = Some(started.elapsed().as_secs_f64() * 1000.0);
        self.put(one.index, RuleResult { ms, ..result });
        Ok(())
    }

    async fn counts(&mut self, rule: &Expectation, text: &str) -> Result<Counts> {
        let reads = self.reads(rule);
        let (row, _) = self.row(&sql::parse_query(text)?, reads).await?;
        Ok(Counts { checked: count_at(&row, 0)?, failed: count_at(&row, 1)? })
    }

    /// What the names in a rule's text mean.
    fn reads(&self, rule: &Expectation) -> Vec<ViewRead> {
        let condition = match &rule.rule {
            ExpectationRule::ForeignKey { table, .. } => {
                return self
                    .other(rule)
                    .and_then(|(schema, name)| self.read(Some(&schema), &name, *table))
                    .into_iter()
                    .collect();
            }
            ExpectationRule::Aggregate { condition } => sql::parse_expression(condition),
            ExpectationRule::RowCount { comparison } => sql::parse_expression(&format!("count(*) {comparison}")),
            ExpectationRule::Row { .. }
            | ExpectationRule::Unique { .. }
            | ExpectationRule::Freshness { .. }
            | ExpectationRule::Schema { .. } => return Vec::new(),
        };
        let Ok(condition) = condition else { return Vec::new() };
        let names = expectation::own_relations(&condition, "");
        let reads = names.iter().zip(&rule.depends_on).filter_map(|(name, oid)| {
            let (schema, name) = expectation::written(name)?;
            self.read(schema, name, *oid)
        });
        reads.collect()
    }

    fn read(&self, schema: Option<&str>, name: &str, oid: u32) -> Option<ViewRead> {
        let (_, _, relation) = self.road.snapshot.relation_by_oid(oid)?;
        let columns = relation.columns.iter();
        let columns =
            columns.map(|column| ReadColumn { name: column.name.clone(), now: column.name.clone() }).collect();
        Some(ViewRead { schema: schema.map(str::to_owned), name: name.to_owned(), oid, columns })
    }

    /// The one row of a query over the table.
    async fn row(&mut self, query: &ast::Query, reads: Vec<ViewRead>) -> Result<(RecordBatch, Vec<OutputColumn>)> {
        let (mut batches, columns) = self.batches(query, reads).await?;
        match batches.pop() {
            Some(row) if row.num_rows() == 1 => Ok((row, columns)),
            Some(_) | None => Err(Error::internal("a check gave other than one row")),
        }
    }

    /// The rows of a query that gives few.
    async fn batches(
        &mut self,
        query: &ast::Query,
        reads: Vec<ViewRead>,
    ) -> Result<(Vec<RecordBatch>, Vec<OutputColumn>)> {
        let view = View {
            query: String::new(),
            search_path: vec!["pg_catalog".to_owned()],
            depends_on: Vec::new(),
            reads,
            files: None,
        };
        let relations = self.road.resolve_materialized(query, &view, self.checked.owner).await?;
        let relations = self.relations(relations);
        let bound = plan::bind_query(query, &self.context, &relations, "", &mut Parameters::none())?;
        let mut stream = self.road.start(bound.plan).await?;
        let mut batches = Vec::new();
        while let Some(batch) = stream.next().await.transpose()? {
            if batch.num_rows() > 0 {
                batches.push(batch);
            }
        }
        Ok((batches, bound.columns))
    }

    /// Some of the rows that break a rule, as a JSON array.
    async fn samples(&mut self, rule: &Expectation) -> Result<Option<String>> {
        let other = self.other(rule);
        let own = (self.checked.schema.as_str(), self.checked.name.as_str());
        let other = other.as_ref().map(|(schema, name)| (schema.as_str(), name.as_str()));
        let Ok(rows) = expectation::violations(rule, own, other) else { return Ok(None) };
        if self.checked.samples == 0 {
            return Ok(None);
        }
        let text = format!("SELECT to_jsonb(broken)::text FROM ({rows} LIMIT {}) AS broken", self.checked.samples);
        let reads = self.reads(rule);
        let (batches, _) = match self.batches(&sql::parse_query(&text)?, reads).await {
            Ok(found) => found,
            Err(error) if is_of_rule(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut samples = String::from("[");
        'all: for batch in &batches {
            let Some(column) = batch.columns().first() else { continue };
            let texts = cast(column, &DataType::Utf8)?;
            for text in texts.as_string::<i32>().iter().flatten() {
                if samples.len() + text.len() > SAMPLE_BYTES_MAX {
                    break 'all;
                }
                if samples.len() > 1 {
                    samples.push_str(", ");
                }
                samples.push_str(text);
            }
        }
        samples.push(']');
        Ok(Some(samples))
    }
}

/// The values of rules with is_anomaly in earlier runs, newest first.
async fn history(road: &mut Road<'_>, checked: &Checked, rules: &[Expectation]) -> Result<HashMap<String, Vec<f64>>> {
    let mut history = HashMap::new();
    for rule in rules {
        let ExpectationRule::Aggregate { condition } = &rule.rule else { continue };
        let Ok(mut condition) = sql::parse_expression(condition) else { continue };
        let Ok(Some(anomaly)) = expectation::anomaly::taken(&mut condition, "", |_| None) else { continue };
        let text = format!(
            "SELECT value FROM lakegate.expectation_metrics WHERE \"table\" = {} AND rule = {} ORDER BY run_id DESC LIMIT {}",
            constant(&format!("{}.{}", checked.schema, checked.name)),
            constant(&rule.name),
            anomaly.last
        );
        let query = sql::parse_query(&text)?;
        let relations = road.resolve(&plan::relations::names(&query, "")).await?;
        let bound = plan::bind_query(&query, &road.context, &relations, "", &mut Parameters::none())?;
        let mut stream = road.start(bound.plan).await?;
        let mut values = Vec::new();
        while let Some(batch) = stream.next().await.transpose()? {
            let Some(column) = batch.columns().first() else { continue };
            values.extend(column.as_primitive::<Float64Type>().iter().flatten().filter(|value| value.is_finite()));
        }
        history.insert(rule.name.clone(), values);
    }
    Ok(history)
}

fn constant(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Whether an error tells of a rule and not of what runs it: of data, names, types, or what is not supported.
fn is_of_rule(error: &Error) -> bool {
    is_of_value(error)
}

fn status(holds: bool) -> Status {
    if holds { Status::Passed } else { Status::Failed }
}

fn result_of(rule: &Expectation, status: Status) -> RuleResult {
    RuleResult {
        rule: rule.name.clone(),
        kind: rule.rule.kind(),
        action: rule.action,
        status,
        checked: 0,
        passed: 0,
        failed: 0,
        dropped: 0,
        quarantined: 0,
        value: None,
        threshold: None,
        severity: rule.options.severity,
        ms: None,
        error: None,
        samples: None,
    }
}

fn failed_to_run(rule: &Expectation, error: &Error) -> RuleResult {
    RuleResult { error: Some(error.message().to_owned()), ..result_of(rule, Status::Error) }
}

fn counted(rule: &Expectation, Counts { checked, failed }: Counts) -> RuleResult {
    let passed = checked.saturating_sub(failed);
    let threshold = rule.options.mostly.map(|mostly| mostly.to_string());
    let status = status(suffices(passed, checked, rule.options.mostly));
    RuleResult { checked, passed, failed, threshold, ..result_of(rule, status) }
}

fn count_at(row: &RecordBatch, index: usize) -> Result<u64> {
    let column = row.columns().get(index).ok_or_else(|| Error::internal("a check has too few columns"))?;
    let numbers = cast(column, &DataType::Int64)?;
    let number = numbers.as_primitive::<Int64Type>().iter().next().flatten().unwrap_or(0);
    Ok(u64::try_from(number).unwrap_or(0))
}

fn truth_at(row: &RecordBatch, index: usize) -> Result<Option<bool>> {
    let column = row.columns().get(index).and_then(|column| column.as_boolean_opt());
    let column = column.ok_or_else(|| Error::internal("a check is no condition"))?;
    Ok(column.iter().next().flatten())
}

/// The value as a number, if it is one.
fn number_at(row: &RecordBatch, columns: &[OutputColumn], index: usize) -> Option<f64> {
    let numbers = [oid::INT2, oid::INT4, oid::INT8, oid::FLOAT4, oid::FLOAT8, oid::NUMERIC];
    columns.get(index).filter(|column| numbers.contains(&column.ty.oid))?;
    // A decimal's text gives the nearest float; the cast of decimals divides.
    let texts = cast(row.columns().get(index)?, &DataType::Utf8).ok()?;
    texts.as_string_opt::<i32>()?.iter().next().flatten()?.parse().ok()
}

/// What of the table's definition is other than expected.
fn schema_result(rule: &Expectation, wanted: &[SchemaColumn], exact: bool, columns: &[ColumnSpec]) -> RuleResult {
    let mut differences = Vec::new();
    for want in wanted {
        let words =
            |ty: PgType, not_null: bool| format!("{}{}", format_type(ty), if not_null { " NOT NULL" } else { "" });
        let Some(found) = columns.iter().find(|column| column.name == want.name) else {
            differences.push(serde_json::json!({"column": want.name, "problem": "missing"}));
            continue;
        };
        let ty = PgType { oid: want.type_oid, typmod: want.typmod };
        let other_type = want.type_oid != 0 && found.ty != ty;
        if other_type || want.not_null && !found.not_null {
            let wanted_type = if want.type_oid == 0 { found.ty } else { ty };
            differences.push(serde_json::json!({
                "column": want.name,
                "problem": "different",
                "expected": words(wanted_type, want.not_null),
                "found": words(found.ty, want.not_null && found.not_null),
            }));
        }
    }
    if exact {
        let unexpected = columns.iter().filter(|column| !wanted.iter().any(|want| want.name == column.name));
        differences
            .extend(unexpected.map(|column| serde_json::json!({"column": column.name, "problem": "unexpected"})));
    }
    let samples = serde_json::Value::Array(differences.clone()).to_string();
    RuleResult {
        value: Some(differences.len() as f64),
        threshold: Some("0".to_owned()),
        samples: (!differences.is_empty()).then(|| crate::encode::input::jsonb(&samples).ok()).flatten(),
        ..result_of(rule, status(differences.is_empty()))
    }
}
