//! Rules that are sums over files: each file is asked once, by whichever run comes first.
//!
//! ```text
//! rules ─→ parts ┬ kept by an earlier run                   ┐
//!                ├ told by Delta's log                      ├─ a row for each file ─→ the rules' conditions over these
//!                ├ rows that the one scan counts by files   │
//!                └ scans of the files that lack other parts ┘
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Array, AsArray, new_empty_array, new_null_array};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::LogicalPlan;
use futures::StreamExt;
use futures::future::BoxFuture;
use sqlparser::ast::{self, Expr};

use super::check::{Checker, Files, One, Rows};
use super::counting::Counting;
use super::found::{Found, Whence, broken, numbers, scalars};
use super::outcome::counted;
use crate::encode::types::PgType;
use crate::error::Result;
use crate::execute::road::relation_columns;
use crate::lake::parts::FileValues;
use crate::plan::bind::BoundQuery;
use crate::plan::expectation::parts::{InLog, Part, Parts, adds_up, part_name};
use crate::plan::expectation::{self, Asked, Counts};
use crate::plan::relations::{Relation, RelationColumn, Relations, ResolvedTable};
use crate::plan::{self, Parameters};
use crate::quality::is_of_value;
use crate::quality::result::RuleResult;
use crate::sql;

/// Values of parts, of all files together, that are held in memory.
pub(super) const VALUES_MAX: usize = 4 << 20;
/// Conditions and files that the log is asked about.
const DECISIONS_MAX: usize = 1 << 20;
/// Asking the log about a condition takes about as long as asking so many rows.
const LOG_ROWS: u64 = 10_000;
/// So many conditions are asked in any case.
const LOG_CONDITIONS: u64 = 100;
/// Scans of different files: parts that lack others are read with these.
const SCANS_MAX: usize = 4;
/// What the rows of files are called, a name that no rule's own relation has.
const NAME: (&str, &str) = ("lakegate", "parts of files");

/// Rules that are sums over files, and what is known of these.
pub(super) struct ByFile<'a> {
    ones: Vec<(One<'a>, Vec<usize>)>,
    found: Vec<Found>,
    /// Of other rules.
    kept: HashMap<String, FileValues>,
    started: Instant,
}

impl Checker<'_, '_, '_> {
    /// Finds what there is to find of rules that are sums over files. Left are the other rules, and those about each row that
    /// the one scan is to [count](Checker::counting) in some files.
    pub(super) async fn by_files<'a>(
        &mut self,
        ones: Vec<One<'a>>,
        parts: &mut Parts<'_>,
    ) -> Result<(Vec<One<'a>>, Option<ByFile<'a>>)> {
        let checked = self.checked;
        let Some(files) = checked.files.as_ref().filter(|files| files.table.has_plain_files()) else {
            return Ok((ones, None));
        };
        let started = Instant::now();
        let (mut mine, mut others) = (Vec::new(), Vec::new());
        for one in ones {
            match parts.add(&one.asked) {
                Some(numbers) => mine.push((one, numbers)),
                None => others.push(one),
            }
        }
        let values = parts.all().len().saturating_mul(files.table.num_files());
        if values > VALUES_MAX {
            tracing::debug!(table = files.table.location(), values, "too many files to ask each for the rules");
            others.extend(mine.into_iter().map(|(one, _)| one));
            return Ok((others, None));
        }
        if mine.is_empty() {
            return Ok((others, None));
        }
        let mut counting = Counting::new(self, mine.iter().map(|(one, _)| one));
        let apart = mine.iter().filter(|(one, _)| !counting.has(one.index));
        let apart: HashSet<usize> = apart.flat_map(|(_, numbers)| numbers).copied().collect();
        let mut kept = self.kept(files).await?;
        let known = |part: &Part| self.known(part, parts.columns(), &mut kept, files.table.num_files());
        let mut found: Vec<Found> = parts.all().iter().map(known).collect();
        let mut unknown = Vec::new();
        for (number, found) in found.iter_mut().enumerate().filter(|(_, found)| found.ty.is_none()) {
            if apart.contains(&number) {
                unknown.push(number);
            } else {
                found.ty = Some(PgType::INT8);
                found.add(Whence::Log, new_empty_array(&DataType::Int64));
            }
        }
        self.learn_types(parts.all(), &mut found, &unknown)?;
        self.ask_log(files, parts.all(), &mut found).await?;
        self.read_missing(files, parts.all(), &mut found, &apart).await?;
        let mut by_file = Vec::new();
        for (one, numbers) in mine {
            let of = || numbers.iter().filter_map(|number| found.get(*number));
            if matches!(one.asked, Asked::Rows(_)) && of().any(|found| found.breaks) {
                let result = self.row_by_row(one.rule).await?;
                self.results.insert(one.index, result);
            } else if of().any(|found| found.failed) {
                counting.forget(one.index);
                others.push(one);
            } else {
                let missing: BTreeSet<usize> = of().flat_map(Found::missing).collect();
                if counting.is_asked_of(one.index, files.table.num_files(), &missing) {
                    others.push(one.clone());
                }
                by_file.push((one, numbers));
            }
        }
        self.counting = counting;
        Ok((others, Some(ByFile { ones: by_file, found, kept, started })))
    }

    /// Answers the rules, the scan having counted what was left to it.
    pub(super) async fn settle(&mut self, by_file: ByFile<'_>, parts: &mut Parts<'_>) -> Result<()> {
        let Some(files) = self.checked.files.as_ref() else { return Ok(()) };
        let ByFile { ones, mut found, kept, started } = by_file;
        for (one, _) in &ones {
            let Some(counted) = self.counting.counted(one.index) else { continue };
            let Some((checked, passed)) = numbers_of(parts, &one.asked) else { continue };
            for (number, all) in [(checked, true), (passed, false)] {
                if let Some(found) = found.get_mut(number) {
                    found.count_scanned(
                        counted
                            .files
                            .iter()
                            .map(|(file, counts)| (*file, if all { counts.checked } else { counts.passed })),
                    );
                }
            }
        }
        // What the scan was to count and did not, because a rule of these was asked otherwise.
        found.iter_mut().for_each(|found| found.failed |= found.at.iter().any(Option::is_none));
        let (mut finals, mut read, mut not_kept) = (Vec::new(), HashMap::new(), Vec::new());
        let types: Vec<Option<PgType>> = found.iter().map(|found| found.ty).collect();
        for (one, numbers) in ones {
            let of: Vec<&Found> = numbers.iter().filter_map(|number| found.get(*number)).collect();
            if self.results.contains_key(&one.index) {
                continue;
            }
            let most = |whence| of.iter().map(|found| found.count(whence)).max().unwrap_or(0);
            let scanned = most(Whence::Scan);
            read.insert(one.index, (scanned, most(Whence::Kept).min(files.table.num_files() as u64 - scanned)));
            let both = numbers_of(parts, &one.asked);
            if let Some((checked, passed)) = both
                && let (Some(checked), Some(passed)) = (found.get(checked), found.get(passed))
            {
                self.broken.insert(one.index, broken(checked, passed, self.checked.samples.into())?);
                if self.counting.has(one.index) {
                    let (checked, passed) = (checked.sum()?, passed.sum()?);
                    let counts = Counts { checked, failed: checked.saturating_sub(passed) };
                    let error = self.counting.counted(one.index).and_then(|counted| counted.error.clone());
                    // The error would be lost.
                    not_kept.extend(error.is_some().then_some(both).flatten().map(|(_, passed)| passed));
                    self.results.insert(one.index, RuleResult { error, ..counted(one.rule, counts) });
                    continue;
                }
            }
            let asked = parts.merged(&one.asked, &types)?;
            finals.push(One { asked, ..one });
        }
        if !finals.is_empty() {
            let rows = rows_of(&found)?;
            self.scan(&finals, &rows).await?;
        }
        let ms = (read.len() == 1).then(|| started.elapsed().as_secs_f64() * 1000.0);
        for (index, (scanned, kept)) in read {
            if let Some(result) = self.results.get_mut(&index) {
                result.ms = ms;
                (result.files_read, result.files_kept) = (Some(scanned), Some(kept));
            }
        }
        fail(&mut found, &not_kept);
        self.keep(files, found, kept).await
    }

    fn bound_items(&self, items: Vec<Expr>, rows: &Rows) -> Result<BoundQuery> {
        let query = expectation::select(items, (&rows.schema, &rows.name), None)?;
        let relations = self.relations(Relations::default(), rows);
        plan::bind_query(&query, &self.context, &relations, "", &mut Parameters::none())
    }

    /// Finds the types of parts of which nothing is kept, and which of these depend on the order of the rows.
    fn learn_types(&self, parts: &[Part], found: &mut [Found], numbers: &[usize]) -> Result<()> {
        if numbers.is_empty() {
            return Ok(());
        }
        let items = numbers.iter().filter_map(|number| parts.get(*number)).map(|part| part.expr.clone());
        let bound = match self.bound_items(items.collect(), &self.rows()) {
            Ok(bound) => bound,
            Err(error) if is_of_value(&error) => {
                let (left, right) = numbers.split_at(numbers.len() / 2);
                if left.is_empty() {
                    fail(found, numbers);
                    return Ok(());
                }
                self.learn_types(parts, found, left)?;
                return self.learn_types(parts, found, right);
            }
            Err(error) => return Err(error),
        };
        for ((number, column), field) in numbers.iter().zip(&bound.columns).zip(bound.plan.schema().fields()) {
            let (Some(part), Some(found)) = (parts.get(*number), found.get_mut(*number)) else { continue };
            found.ty = Some(column.ty);
            found.failed = !adds_up(part.merge, column.ty);
            // Its type, where there is no file.
            found.add(Whence::Log, new_empty_array(field.data_type()));
        }
        Ok(())
    }

    /// Takes what Delta's log says about files.
    async fn ask_log(&self, files: &Files, parts: &[Part], found: &mut [Found]) -> Result<()> {
        let table = &files.table;
        let rows = table.rows_of_files();
        let mut conditions = Vec::new();
        for (number, (part, found)) in parts.iter().zip(&mut *found).enumerate() {
            if found.failed || found.at.iter().all(Option::is_some) {
                continue;
            }
            match &part.in_log {
                None => {}
                Some(InLog::Rows) => found.tell(numbers(&rows)),
                Some(InLog::NotNull(column)) => found.tell(numbers(&table.known_of_files(column))),
                Some(InLog::Least(column)) => found.tell(scalars(found, table.extremes_of_files(column, false))),
                Some(InLog::Greatest(column)) => found.tell(scalars(found, table.extremes_of_files(column, true))),
                Some(InLog::If(condition)) => conditions.push((number, condition)),
            }
        }
        let worth = LOG_CONDITIONS.max(rows.iter().flatten().sum::<u64>() / LOG_ROWS);
        if conditions.len().saturating_mul(table.num_files()) > DECISIONS_MAX || conditions.len() as u64 > worth {
            return Ok(());
        }
        let mut exprs = Vec::new();
        for (number, condition) in conditions {
            let Ok(bound) = self.bound_items(vec![condition.as_ref().clone()], &self.rows()) else { continue };
            if let LogicalPlan::Projection(projection) = &bound.plan
                && let [expr] = projection.expr.as_slice()
            {
                exprs.push((number, expr.clone().unalias()));
            }
        }
        let (table, state) = (Arc::clone(table), self.road.state());
        let decide = async move {
            let decided = exprs.iter().map(|(number, expr)| {
                // What the log cannot be asked is read.
                Ok((*number, table.decided_of_files(state.as_ref(), expr).unwrap_or_default()))
            });
            decided.collect::<Result<Vec<_>>>()
        };
        for (number, decided) in self.road.ground.engine.compute(decide).await? {
            let Some(found) = found.get_mut(number) else { continue };
            let counts = decided.iter().zip(&rows).map(|(decided, rows)| match decided {
                Some(true) => *rows,
                Some(false) => Some(0),
                None => None,
            });
            found.tell(numbers(&counts.collect::<Vec<_>>()));
        }
        Ok(())
    }

    /// Reads the files of which a wanted part is not known, those that the same parts lack in one scan.
    async fn read_missing(
        &mut self,
        files: &Files,
        parts: &[Part],
        found: &mut [Found],
        wanted: &HashSet<usize>,
    ) -> Result<()> {
        let mut scans: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
        let of_wanted = |(number, found): &(usize, &Found)| wanted.contains(number) && !found.failed;
        for (number, found) in found.iter().enumerate().filter(of_wanted) {
            let missing = found.missing();
            if !missing.is_empty() {
                scans.entry(missing).or_default().push(number);
            }
        }
        let mut scans: Vec<(Vec<usize>, Vec<usize>)> = scans.into_iter().collect();
        scans.sort_by_key(|(files, _)| std::cmp::Reverse(files.len()));
        while scans.len() > SCANS_MAX {
            let (Some((files, numbers)), Some(last)) = (scans.pop(), scans.last_mut()) else { break };
            last.0.extend(files);
            last.0.sort_unstable();
            last.0.dedup();
            last.1.extend(numbers);
        }
        for (missing, numbers) in scans {
            let provider = files.table.tagged_provider_of(missing.clone());
            let tags = provider.schema();
            let mut columns = relation_columns(&files.table);
            let own = columns.len();
            columns.extend(
                tags.fields()
                    .iter()
                    .skip(own)
                    .zip([PgType::INT4, PgType::INT8])
                    .map(|(field, ty)| RelationColumn::new(field.name(), ty)),
            );
            let tag = columns.get(own).map(|column| column.name.clone()).unwrap_or_default();
            let (schema, name) = (self.checked.schema.clone(), self.checked.name.clone());
            let table = ResolvedTable { schema: schema.clone(), name: name.clone(), oid: 0, columns, provider };
            let rows = Rows { schema, name, relation: Relation::Table(table), are_single: false };
            let scan = Scan { rows: &rows, tag: &tag, files: &missing, parts };
            self.read_files(&scan, found, &numbers).await?;
        }
        Ok(())
    }

    /// One scan. If one of the parts cannot be computed, it is found by halves.
    fn read_files<'s>(
        &'s mut self,
        scan: &'s Scan<'_>,
        found: &'s mut [Found],
        numbers: &'s [usize],
    ) -> BoxFuture<'s, Result<()>> {
        Box::pin(async move {
            let error = match self.read_once(scan, found, numbers).await {
                Ok(()) => return Ok(()),
                Err(error) if is_of_value(&error) => error,
                Err(error) => return Err(error),
            };
            let (left, right) = numbers.split_at(numbers.len() / 2);
            if left.is_empty() {
                tracing::debug!(%error, "a rule cannot be asked file by file");
                fail(found, numbers);
                for number in numbers {
                    if let Some(found) = found.get_mut(*number) {
                        found.breaks = error.sqlstate().code().starts_with("22");
                    }
                }
                return Ok(());
            }
            self.read_files(scan, found, left).await?;
            self.read_files(scan, found, right).await
        })
    }

    async fn read_once(&mut self, scan: &Scan<'_>, found: &mut [Found], numbers: &[usize]) -> Result<()> {
        let rows = scan.rows;
        let tag = expectation::quoted(scan.tag);
        let from = expectation::relation_text(&rows.schema, &rows.name);
        let mut query = sql::parse_query(&format!("SELECT {tag} FROM {from} GROUP BY {tag}"))?;
        if let ast::SetExpr::Select(select) = query.body.as_mut() {
            let items = numbers.iter().filter_map(|number| scan.parts.get(*number));
            select.projection.extend(items.map(|part| ast::SelectItem::UnnamedExpr(part.expr.clone())));
        }
        let relations = self.relations(Relations::default(), rows);
        let bound = plan::bind_query(&query, &self.context, &relations, "", &mut Parameters::none())?;
        let types: Vec<DataType> = bound.plan.schema().fields().iter().map(|field| field.data_type().clone()).collect();
        let mut stream = self.road.start(bound.plan).await?;
        let (mut tags, mut columns) = (Vec::new(), vec![Vec::new(); numbers.len()]);
        while let Some(batch) = stream.next().await.transpose()? {
            let Some((tag, values)) = batch.columns().split_first() else { continue };
            let tag = cast(tag, &DataType::Int32)?;
            tags.extend(tag.as_primitive::<Int32Type>().iter().map(|file| usize::try_from(file.unwrap_or(-1)).ok()));
            columns.iter_mut().zip(values).for_each(|(column, values)| column.push(Arc::clone(values)));
        }
        for ((number, arrays), ty) in numbers.iter().zip(columns).zip(types.iter().skip(1)) {
            let Some(found) = found.get_mut(*number) else { continue };
            let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
            let values = if arrays.is_empty() { new_empty_array(ty) } else { concat(&arrays)? };
            // Of a file without rows there is none.
            let nothing = found.add(Whence::Scan, new_null_array(ty, 1));
            let source = found.add(Whence::Scan, values);
            for file in scan.files {
                if let Some(at) = found.at.get_mut(*file) {
                    *at = Some((nothing, 0));
                }
            }
            for (row, file) in tags.iter().enumerate() {
                if let Some(at) = file.and_then(|file| found.at.get_mut(file)) {
                    *at = Some((source, row));
                }
            }
        }
        Ok(())
    }

    /// The rows in which the broken ones of a rule are.
    pub(super) fn rows_of(&self, index: usize) -> Rows {
        let rows = self.rows();
        let (Some(files), Some(broken)) = (&self.checked.files, self.broken.get(&index)) else { return rows };
        let Relation::Table(own) = &rows.relation else { return rows };
        let relation =
            Relation::Table(ResolvedTable { provider: files.table.provider_of(broken.clone()), ..own.clone() });
        Rows { relation, ..rows }
    }
}

/// Files that are read once for some parts.
struct Scan<'s> {
    rows: &'s Rows,
    tag: &'s str,
    files: &'s [usize],
    parts: &'s [Part],
}

/// The numbers of the parts that a rule about each row is made of: rows that were asked, rows that passed.
fn numbers_of(parts: &Parts<'_>, asked: &Asked<'_>) -> Option<(usize, usize)> {
    let Asked::Rows(counts) = asked else { return None };
    Some((parts.number(&counts.checked)?, parts.number(&counts.passed)?))
}

/// Nothing is known of these.
fn fail(found: &mut [Found], numbers: &[usize]) {
    for number in numbers {
        if let Some(found) = found.get_mut(*number) {
            found.failed = true;
        }
    }
}

/// What was found, a row for each file.
fn rows_of(found: &[Found]) -> Result<Rows> {
    let (mut fields, mut arrays, mut columns) = (Vec::new(), Vec::new(), Vec::new());
    for (number, found) in found.iter().enumerate().filter(|(_, found)| !found.failed) {
        let (Some(ty), values) = (found.ty, found.values()?) else { continue };
        fields.push(Field::new(part_name(number), values.data_type().clone(), true));
        arrays.push(values);
        columns.push(RelationColumn::new(part_name(number), ty));
    }
    let (schema, name) = (NAME.0.to_owned(), NAME.1.to_owned());
    let fields = Arc::new(Schema::new(fields));
    let batches = match arrays.is_empty() {
        true => Vec::new(),
        false => vec![RecordBatch::try_new(Arc::clone(&fields), arrays)?],
    };
    let provider = Arc::new(MemTable::try_new(fields, vec![batches])?);
    let table = ResolvedTable { schema: schema.clone(), name: name.clone(), oid: 0, columns, provider };
    Ok(Rows { schema, name, relation: Relation::Table(table), are_single: false })
}
