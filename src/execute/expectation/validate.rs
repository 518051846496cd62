//! VALIDATE: the rules of a table checked on one of its versions, and recorded.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use chrono::Utc;
use sqlparser::ast::Expr;

use super::check::{Checked, Files, check};
use super::{in_place_of, missing, past};
use crate::catalog::RelationKind;
use crate::encode::types::{OutputColumn, PgType, arrow_type};
use crate::error::{Error, Result, SqlState};
use crate::execute::output::{Output, RowsTag};
use crate::execute::road::{Road, Target};
use crate::execute::watched::report;
use crate::lake;
use crate::plan;
use crate::plan::expectation::select;
use crate::plan::relations::Relation;
use crate::quality::result::{RuleResult, Run, Status, new_run_id};
use crate::quality::{Expectation, ExpectationSeverity};
use crate::sql::{self, Validate};

const COLUMNS: &[(&str, PgType)] = &[
    ("rule", PgType::TEXT),
    ("kind", PgType::TEXT),
    ("status", PgType::TEXT),
    ("checked", PgType::INT8),
    ("passed", PgType::INT8),
    ("failed", PgType::INT8),
    ("value", PgType::FLOAT8),
    ("threshold", PgType::TEXT),
    ("severity", PgType::TEXT),
    ("ms", PgType::FLOAT8),
    ("error", PgType::TEXT),
    ("samples", PgType::JSONB),
];

/// Rules that the error of `fail_on_error` tells one by one.
const TOLD_MAX: usize = 20;

/// The columns of the answer. Parameters of the statement learn their types.
pub(super) async fn columns(road: &mut Road<'_>, statement: &Validate) -> Result<Vec<OutputColumn>> {
    let (_, table, target, oid) = found(road, statement).await?;
    rows(road, &target, table, oid, statement.condition.as_deref()).await?;
    Ok(output())
}

pub(super) async fn run(road: &mut Road<'_>, statement: &Validate) -> Result<Output> {
    let (owner, table, target, oid) = found(road, statement).await?;
    let relation = rows(road, &target, Arc::clone(&table), oid, statement.condition.as_deref()).await?;
    let names = match &statement.version {
        Some(_) => past::names_now(road, &statement.table, &table).await?,
        None => Vec::new(),
    };
    let is_renamed = names.iter().any(|(then, now)| then != now);
    let relation = if is_renamed { past::renamed(road, &target, relation, &names)? } else { relation };
    let mut columns = table.columns().to_vec();
    for (column, (_, now)) in columns.iter_mut().zip(&names) {
        column.name.clone_from(now);
    }
    let rules = chosen(road, statement, &target)?;
    let checked = Checked {
        schema: target.schema.clone(),
        name: target.name.clone(),
        owner,
        relation,
        columns,
        defined: table.columns().to_vec(),
        samples: statement.samples,
        file_count: table.num_files() as u64,
        files: (statement.condition.is_none() && !is_renamed).then(|| Files {
            table: Arc::clone(&table),
            keeps: statement.version.is_none() && !table.is_private(),
            all: statement.only.is_empty(),
        }),
    };
    // Only what stands for the table now is history.
    let is_whole = statement.condition.is_none()
        && statement.version.is_none()
        && !table.is_private()
        && road.session.forbid_block("VALIDATE").is_ok();
    let at = Utc::now();
    let results = check(road, &checked, &rules).await?;
    let run = Run {
        id: new_run_id(),
        at,
        table: format!("{}.{}", target.schema, target.name),
        place: None,
        owner: road.snapshot.role_name(owner).unwrap_or_default().to_owned(),
        role: road.context.user.clone(),
        source: "VALIDATE".to_owned(),
        whole: is_whole,
        // What nobody else sees has no version yet.
        table_version: (!table.is_changed_privately()).then(|| table.seen_version()),
        results,
        rows: None,
        passed: None,
    };
    record(road, &run).await?;
    if statement.fail_on_error {
        refuse_broken(&run.results, &target)?;
    }
    let batch = batch(&run.results)?;
    let stream = Box::pin(futures::stream::once(async move { Ok(batch) }));
    Ok(Output::Rows { columns: output().into(), stream, tag: RowsTag::Counted("VALIDATE") })
}

/// Writes a run to the log, where everybody can read it from then on.
async fn record(road: &Road<'_>, run: &Run) -> Result<()> {
    report(road.ground, run);
    let lake = Arc::clone(&road.ground.lake);
    let (run, memory) = (run.clone(), Arc::clone(road.ground.engine.memory_pool()));
    let recorded = async move {
        lake.log_expectations(run, memory).await?;
        lake.flush_expectations().await
    };
    road.ground.engine.compute(recorded).await
}

/// The table at the version that is asked for; its owner and its OID.
async fn found(road: &mut Road<'_>, statement: &Validate) -> Result<(u32, Arc<lake::Table>, Target, u32)> {
    let (schema, relation) = road.find(&statement.table)?;
    if !matches!(relation.kind, RelationKind::Table(_)) {
        let message = format!("\"{}\" is not a table", statement.table.name);
        let position = statement.table.position;
        return Err(Error::new(SqlState::WrongObjectType, message).at((position > 0).then_some(position)));
    }
    let newest = road.opened(&statement.table).await?;
    let table = match &statement.version {
        Some(version) => road.version(&newest, version).await?,
        None => newest,
    };
    let target = Target { schema, name: statement.table.name.clone(), table: Arc::clone(&table) };
    Ok((relation.owner, table, target, relation.oid))
}

/// The rows that are checked. The statement's own condition means what the session says; the rules do not.
async fn rows(
    road: &mut Road<'_>,
    target: &Target,
    table: Arc<lake::Table>,
    oid: u32,
    condition: Option<&Expr>,
) -> Result<Relation> {
    let all = road.as_relation(target, oid)?;
    let Some(condition) = condition else { return Ok(all) };
    let everything = sql::parse_query("SELECT * FROM t")?;
    let mut query = select(Vec::new(), (&target.schema, &target.name), Some(condition.clone()))?;
    if let (sqlparser::ast::SetExpr::Select(select), sqlparser::ast::SetExpr::Select(everything)) =
        (query.body.as_mut(), *everything.body)
    {
        select.projection = everything.projection;
    }
    let mut relations = road.resolve(&plan::relations::names_in_expression(condition, &road.source)).await?;
    relations.by_name.insert((Some(target.schema.clone()), target.name.clone()), all);
    let bound = plan::bind_query(&query, &road.context, &relations, &road.source, &mut road.parameters)?;
    let columns = table.columns().iter().map(plan::resolve::column_of).collect();
    Ok(in_place_of(target, columns, bound.plan))
}

/// The rules that the statement names, or those that are enabled.
fn chosen(road: &Road<'_>, statement: &Validate, target: &Target) -> Result<Vec<Expectation>> {
    let relation = road.snapshot.relation(&target.schema, &target.name);
    let rules = match relation.map(|relation| &relation.kind) {
        Some(RelationKind::Table(table)) => table.expectations.as_slice(),
        Some(RelationKind::View(_)) | None => &[],
    };
    for name in &statement.only {
        if !rules.iter().any(|rule| rule.name == name.value) {
            return Err(missing(&name.value, &target.name).at(name.position));
        }
    }
    let is_chosen = |rule: &&Expectation| {
        let named = statement.only.iter().any(|name| name.value == rule.name);
        named || statement.only.is_empty() && rule.enabled
    };
    Ok(rules.iter().filter(is_chosen).cloned().collect())
}

/// 23514 when a rule of weight is broken.
fn refuse_broken(results: &[RuleResult], target: &Target) -> Result<()> {
    let is_grave = |result: &&RuleResult| {
        let weighs = matches!(result.severity, ExpectationSeverity::Error | ExpectationSeverity::Critical);
        weighs && result.status != Status::Passed
    };
    let broken: Vec<&RuleResult> = results.iter().filter(is_grave).collect();
    let Some(first) = broken.first() else { return Ok(()) };
    let message = match broken.len() {
        1 => format!("relation \"{}\" violates expectation \"{}\"", target.name, first.rule),
        count => format!("relation \"{}\" violates {count} expectations", target.name),
    };
    let told: Vec<String> = broken.iter().take(TOLD_MAX).map(|result| told(result)).collect();
    Err(Error::new(SqlState::CheckViolation, message)
        .with_detail(told.join("\n"))
        .with_table(&target.schema, &target.name)
        .with_constraint(&first.rule))
}

/// What became of a broken rule, in a line.
pub(super) fn told(result: &RuleResult) -> String {
    let what = match (result.value, &result.error) {
        (_, Some(error)) => format!("it could not be evaluated: {error}"),
        (None, None) if result.checked > 0 => format!("{} of {} rows failed", result.failed, result.checked),
        (Some(value), None) => format!("the value is {value}"),
        (None, None) => "the condition is not true".to_owned(),
    };
    let threshold = result.threshold.as_ref().filter(|_| result.error.is_none());
    let threshold = threshold.map_or(String::new(), |threshold| format!(", the threshold {threshold}"));
    format!("Expectation \"{}\": {what}{threshold}.", result.rule)
}

fn output() -> Vec<OutputColumn> {
    COLUMNS.iter().map(|(name, ty)| OutputColumn::new(*name, *ty)).collect()
}

fn batch(results: &[RuleResult]) -> Result<RecordBatch> {
    let text = |of: &dyn Fn(&RuleResult) -> Option<String>| -> ArrayRef {
        Arc::new(results.iter().map(of).collect::<StringArray>())
    };
    let number = |of: &dyn Fn(&RuleResult) -> u64| -> ArrayRef {
        Arc::new(results.iter().map(|result| i64::try_from(of(result)).ok()).collect::<Int64Array>())
    };
    let float = |of: &dyn Fn(&RuleResult) -> Option<f64>| -> ArrayRef {
        Arc::new(results.iter().map(of).collect::<Float64Array>())
    };
    let values = vec![
        text(&|result| Some(result.rule.clone())),
        text(&|result| Some(result.kind.to_owned())),
        text(&|result| Some(result.status.word().to_owned())),
        number(&|result| result.checked),
        number(&|result| result.passed),
        number(&|result| result.failed),
        float(&|result| result.value),
        text(&|result| result.threshold.clone()),
        text(&|result| Some(result.severity.word().to_owned())),
        float(&|result| result.ms),
        text(&|result| result.error.clone()),
        text(&|result| result.samples.clone()),
    ];
    let fields: Vec<Field> = COLUMNS.iter().map(|(name, ty)| Field::new(*name, arrow_type(*ty), true)).collect();
    let values = values.into_iter().zip(&fields).map(|(values, field)| crate::encode::cast(&values, field.data_type()));
    let values = values.collect::<std::result::Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), values)?)
}
