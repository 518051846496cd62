//! The rules of a table checked: one scan for all that it can answer, a query for each other one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::LogicalPlan;
use futures::StreamExt;
use futures::future::BoxFuture;
use sqlparser::ast;

use super::counting::Counting;
use super::outcome::{count_at, counted, failed_to_run, number_at, result_of, schema_result, status, truth_at};
use super::sight::Sights;
use crate::builtins::Context;
use crate::catalog::{ReadColumn, View, ViewRead};
use crate::encode::types::PgType;
use crate::error::{Error, Result};
use crate::execute::road::Road;
use crate::lake::{self, ColumnSpec};
use crate::plan::bind::BoundQuery;
use crate::plan::expectation::anomaly::Usual;
use crate::plan::expectation::parts::Parts;
use crate::plan::expectation::{self, Asked, Counts, RowItems, ScanItems};
use crate::plan::relations::{Relation, Relations, ResolvedTable};
use crate::plan::{self, Parameters};
use crate::quality::keys::KeySet;
use crate::quality::result::{RuleResult, Status};
use crate::quality::{Expectation, ExpectationRule, ViolationAction, Watch, is_of_value};
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
    /// Those of the rows, as the rules name them.
    pub columns: Vec<ColumnSpec>,
    /// What the table is defined as.
    pub defined: Vec<ColumnSpec>,
    /// Broken rows to show of each rule.
    pub samples: u32,
    /// Data files of the table.
    pub file_count: u64,
    /// The table, where its files can be asked apart: all its rows are checked.
    pub files: Option<Files>,
}

/// The files of a table whose rows are all checked.
pub(super) struct Files {
    pub table: Arc<lake::Table>,
    /// Whether what is found is kept for the next time; earlier finds are used in any case.
    pub keeps: bool,
    /// Whether these are all the rules that are asked of the table: what is kept for others goes.
    pub all: bool,
}

/// Checks the rules; a result for each, in their order.
///
/// # Errors
/// What is not the rules' own fault: a rule that cannot be evaluated has a result that says so.
pub(super) async fn check(road: &mut Road<'_>, checked: &Checked, rules: &[Expectation]) -> Result<Vec<RuleResult>> {
    let history = history(road, rules).await?;
    let context = plan::rule_context(&road.context);
    let fields = match &checked.relation {
        Relation::Table(table) => table.provider.schema(),
        Relation::View(_) => Arc::new(Schema::empty()),
    };
    let (results, keys, broken) = (BTreeMap::new(), HashMap::new(), HashMap::new());
    let counting = Counting::default();
    let mut checker = Checker { road, checked, context, fields, history, keys, counting, results, broken };
    let mut scanned = Vec::new();
    let mut others = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let usual = |anomaly: &expectation::anomaly::Anomaly| -> Option<Usual> {
            anomaly.usual(checker.history.get(&rule.oid).map(Vec::as_slice).unwrap_or_default())
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
            Ok(asked) if checker.may_see(rule).await? => scanned.push(One { index, rule, asked }),
            Ok(asked) => others.push(One { index, rule, asked }),
            Err(error) => checker.put(index, failed_to_run(rule, &error)),
        }
    }
    let columns: Vec<(String, PgType)> =
        checked.columns.iter().map(|column| (column.name.clone(), column.ty)).collect();
    let mut parts = Parts::new(&columns);
    let (scanned, by_file) = checker.by_files(scanned, &mut parts).await?;
    let rows = checker.counting.rows(&checker, &scanned);
    checker.scan(&scanned, &rows).await?;
    if let Some(by_file) = by_file {
        checker.settle(by_file, &mut parts).await?;
    }
    let open: Vec<&One<'_>> = scanned.iter().filter(|one| !checker.results.contains_key(&one.index)).collect();
    for one in open.into_iter().chain(&others) {
        checker.apart(one).await?;
    }
    let mut results = std::mem::take(&mut checker.results);
    for (index, rule) in rules.iter().enumerate() {
        if let Some(result) = results.get_mut(&index)
            && result.status == Status::Failed
            && result.samples.is_none()
        {
            result.samples = checker.samples(index, rule).await?;
        }
    }
    for result in results.values_mut().filter(|result| result.kind != "schema") {
        // Who does not ask file by file reads all of them.
        result.files_read.get_or_insert(checked.file_count);
        result.files_kept.get_or_insert(0);
    }
    Ok(results.into_values().collect())
}

/// A rule and what is asked for it.
#[derive(Clone)]
pub(super) struct One<'a> {
    pub index: usize,
    pub rule: &'a Expectation,
    pub asked: Asked<'a>,
}

/// What rules are asked of, under the name that their queries have for it.
pub(super) struct Rows {
    pub schema: String,
    pub name: String,
    pub relation: Relation,
    /// Whether these are the table's, which can be asked one by one.
    pub are_single: bool,
}

pub(super) struct Checker<'r, 'g, 'c> {
    pub road: &'r mut Road<'g>,
    pub checked: &'c Checked,
    pub context: Arc<Context>,
    /// How the table's columns come out of a scan.
    pub fields: SchemaRef,
    /// What foreign keys refer to, by rule.
    pub keys: HashMap<String, Arc<KeySet>>,
    /// What the one scan counts file by file.
    pub counting: Counting,
    /// Values of rules in earlier runs, newest first.
    history: HashMap<u32, Vec<f64>>,
    pub results: BTreeMap<usize, RuleResult>,
    /// Files with rows that break a rule about each row.
    pub broken: HashMap<usize, Vec<usize>>,
}

impl Checker<'_, '_, '_> {
    fn put(&mut self, index: usize, result: RuleResult) {
        self.results.insert(index, result);
    }

    /// The rows that are checked.
    pub(super) fn rows(&self) -> Rows {
        let Checked { schema, name, relation, .. } = self.checked;
        Rows { schema: schema.clone(), name: name.clone(), relation: relation.clone(), are_single: true }
    }

    /// Schema and name of the table that a foreign key refers to.
    pub(super) fn other(&self, rule: &Expectation) -> Option<(String, String)> {
        let ExpectationRule::ForeignKey { table, .. } = &rule.rule else { return None };
        let (schema, name, _) = self.road.snapshot.relation_by_oid(*table)?;
        Some((schema.to_owned(), name.to_owned()))
    }

    /// All the rules in one scan. If one of them cannot be computed, it is found by halves.
    pub(super) fn scan<'s>(&'s mut self, ones: &'s [One<'_>], rows: &'s Rows) -> BoxFuture<'s, Result<()>> {
        Box::pin(async move {
            if ones.is_empty() {
                return Ok(());
            }
            let error = match self.scan_once(ones, rows).await {
                Ok(()) => return Ok(()),
                Err(error) if is_of_value(&error) => error,
                Err(error) => return Err(error),
            };
            if let [one] = ones {
                let is_of_rows = rows.are_single && matches!(one.asked, Asked::Rows(_));
                let result = match is_of_rows {
                    true => self.row_by_row(one.rule).await?,
                    false => failed_to_run(one.rule, &error),
                };
                self.put(one.index, result);
                return Ok(());
            }
            let (left, right) = ones.split_at(ones.len() / 2);
            self.scan(left, rows).await?;
            self.scan(right, rows).await
        })
    }

    async fn scan_once(&mut self, ones: &[One<'_>], rows: &Rows) -> Result<()> {
        let mut items = ScanItems::default();
        // Witnesses see the table's own rows.
        let sights = if rows.are_single { self.sights(ones, rows, &mut items)? } else { Sights::default() };
        let apart = |at| sights.has(at);
        let places: Vec<Option<RowItems>> =
            ones.iter().enumerate().map(|(at, one)| if apart(at) { None } else { items.add(&one.asked) }).collect();
        let query = expectation::select(items.into_items()?, (&rows.schema, &rows.name), None)?;
        let mut reads: Vec<ViewRead> = Vec::new();
        for (_, one) in ones.iter().enumerate().filter(|(at, _)| !apart(*at)) {
            for read in self.reads(one.rule) {
                match reads.iter().find(|known| known.schema == read.schema && known.name == read.name) {
                    None => reads.push(read),
                    Some(known) if known.oid == read.oid && known.columns == read.columns => {}
                    // Two rules mean different tables, or columns, by one name.
                    Some(_) if ones.len() > 1 => return Err(Error::unsupported("these expectations in one scan")),
                    Some(_) => {}
                }
            }
        }
        let started = Instant::now();
        let bound = self.bound(&query, reads, rows).await?;
        let (row, columns) = (self.row(sights.added_to(bound.plan)?).await?, bound.columns);
        let elapsed = started.elapsed().as_secs_f64() * 1000.0;
        if let Some(counting) = &sights.counting {
            self.counting.take(counting);
        }
        let seen = sights.results(self, ones, |item| count_at(&row, item)).await?;
        for (one, result) in ones.iter().zip(seen) {
            if let Some(result) = result {
                let ms = (ones.len() == 1).then_some(elapsed);
                self.put(one.index, RuleResult { ms, ..result });
            }
        }
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
            result.ms = (ones.len() == 1 && rows.are_single).then_some(elapsed);
            self.put(one.index, result);
        }
        Ok(())
    }

    /// A rule about each row that some row makes fail: such a row breaks it, and the others are asked as ever.
    pub(super) async fn row_by_row(&mut self, rule: &Expectation) -> Result<RuleResult> {
        let columns = &self.checked.columns;
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let list = names.iter().map(|name| expectation::quoted(name)).collect::<Vec<_>>().join(", ");
        let text =
            format!("SELECT {list} FROM {}", expectation::relation_text(&self.checked.schema, &self.checked.name));
        let relations = self.relations(Relations::default(), &self.rows());
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
    pub(super) fn relations(&self, mut relations: Relations, rows: &Rows) -> Relations {
        relations.by_name.insert((Some(rows.schema.clone()), rows.name.clone()), rows.relation.clone());
        relations
    }

    /// A rule that needs more than the scan.
    async fn apart(&mut self, one: &One<'_>) -> Result<()> {
        let started = Instant::now();
        let result = match &one.asked {
            Asked::Query(text) => match self.counts(one.rule, text).await {
                Ok(counts) => counted(one.rule, counts),
                Err(error) if is_of_value(&error) => failed_to_run(one.rule, &error),
                Err(error) => return Err(error),
            },
            Asked::Schema { columns, exact } => schema_result(one.rule, columns, *exact, &self.checked.defined),
            Asked::Rows(_) | Asked::Condition(_) => return Err(Error::internal("a rule of the scan was asked apart")),
        };
        let ms = Some(started.elapsed().as_secs_f64() * 1000.0);
        self.put(one.index, RuleResult { ms, ..result });
        Ok(())
    }

    async fn counts(&mut self, rule: &Expectation, text: &str) -> Result<Counts> {
        let reads = self.reads(rule);
        let rows = self.rows();
        let bound = self.bound(&sql::parse_query(text)?, reads, &rows).await?;
        let row = self.row(bound.plan).await?;
        Ok(Counts { checked: count_at(&row, 0)?, failed: count_at(&row, 1)? })
    }

    /// What the names in a rule's text mean.
    pub(super) fn reads(&self, rule: &Expectation) -> Vec<ViewRead> {
        let condition = match &rule.rule {
            ExpectationRule::ForeignKey { table, .. } => {
                return self
                    .other(rule)
                    .and_then(|(schema, name)| self.read(rule, Some(&schema), &name, *table))
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
            self.read(rule, schema, name, *oid)
        });
        reads.collect()
    }

    fn read(&self, rule: &Expectation, schema: Option<&str>, name: &str, oid: u32) -> Option<ViewRead> {
        let (_, _, relation) = self.road.snapshot.relation_by_oid(oid)?;
        let columns = relation.columns.iter().filter_map(|column| {
            let name = rule.written(oid, &column.name)?.to_owned();
            Some(ReadColumn { name, now: column.name.clone() })
        });
        let columns = columns.collect();
        Some(ViewRead { schema: schema.map(str::to_owned), name: name.to_owned(), oid, columns })
    }

    /// The one row of a plan.
    async fn row(&mut self, plan: LogicalPlan) -> Result<RecordBatch> {
        let mut batches = self.batches(plan).await?;
        match batches.pop() {
            Some(row) if row.num_rows() == 1 => Ok(row),
            Some(_) | None => Err(Error::internal("a check gave other than one row")),
        }
    }

    /// A query over the rows.
    pub(super) async fn bound(&mut self, query: &ast::Query, reads: Vec<ViewRead>, rows: &Rows) -> Result<BoundQuery> {
        let view = View {
            query: String::new(),
            search_path: vec!["pg_catalog".to_owned()],
            depends_on: Vec::new(),
            reads,
            models: Vec::new(),
            files: None,
        };
        let relations = self.road.resolve_materialized(query, &view, self.checked.owner).await?;
        let relations = self.relations(relations, rows);
        plan::bind_query(query, &self.context, &relations, "", &mut Parameters::none())
    }

    /// The rows of a plan that gives few.
    pub(super) async fn batches(&mut self, plan: LogicalPlan) -> Result<Vec<RecordBatch>> {
        let mut stream = self.road.start(plan).await?;
        let mut batches = Vec::new();
        while let Some(batch) = stream.next().await.transpose()? {
            if batch.num_rows() > 0 {
                batches.push(batch);
            }
        }
        Ok(batches)
    }

    /// The table for a rule about each row: the rows that break it and no others.
    fn broken_rows(&self, rule: &Expectation, rows: &Rows) -> Result<Option<Relation>> {
        let (ExpectationRule::Row { condition }, Relation::Table(table)) = (&rule.rule, &rows.relation) else {
            return Ok(None);
        };
        let own = (self.checked.name.as_str(), table.columns.as_slice(), &table.provider);
        let provider = plan::broken_rows(own, rule, condition, &self.context)?;
        Ok(Some(Relation::Table(ResolvedTable { provider, ..table.clone() })))
    }

    /// Some of the rows that break a rule, as a JSON array.
    async fn samples(&mut self, index: usize, rule: &Expectation) -> Result<Option<String>> {
        let other = self.other(rule);
        let own = (self.checked.schema.as_str(), self.checked.name.as_str());
        let other = other.as_ref().map(|(schema, name)| (schema.as_str(), name.as_str()));
        let Ok(broken) = expectation::violations(rule, own, other) else { return Ok(None) };
        if self.checked.samples == 0 {
            return Ok(None);
        }
        // The name alone would mean a column that is called like it.
        let mut row = "broken".to_owned();
        while self.checked.columns.iter().any(|column| column.name == row) {
            row.push('_');
        }
        let text = format!("SELECT to_jsonb({row})::text FROM ({broken} LIMIT {}) AS {row}", self.checked.samples);
        let reads = self.reads(rule);
        let mut rows = self.rows_of(index);
        let bound = match self.broken_rows(rule, &rows) {
            Ok(own) => {
                rows.relation = own.unwrap_or(rows.relation);
                self.bound(&sql::parse_query(&text)?, reads, &rows).await
            }
            Err(error) => Err(error),
        };
        let found = match bound {
            Ok(bound) => self.batches(bound.plan).await,
            Err(error) => Err(error),
        };
        let batches = match found {
            Ok(found) => found,
            Err(error) if is_of_value(&error) => return Ok(None),
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

/// The values of rules with is_anomaly in earlier runs over the whole table, newest first.
async fn history(road: &mut Road<'_>, rules: &[Expectation]) -> Result<HashMap<u32, Vec<f64>>> {
    let mut history = HashMap::new();
    for rule in rules {
        let ExpectationRule::Aggregate { condition } = &rule.rule else { continue };
        let Ok(mut condition) = sql::parse_expression(condition) else { continue };
        let Ok(Some(anomaly)) = expectation::anomaly::taken(&mut condition, "", |_| None) else { continue };
        let text = format!(
            "SELECT value FROM lakegate.expectation_results WHERE rule_oid = {} AND whole AND value IS NOT NULL \
             ORDER BY run_id DESC LIMIT {}",
            rule.oid, anomaly.last
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
        history.insert(rule.oid, values);
    }
    Ok(history)
}
