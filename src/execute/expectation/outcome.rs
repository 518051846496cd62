//! What became of a rule, from the numbers that its query gave.

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use arrow::record_batch::RecordBatch;

use crate::encode::types::{OutputColumn, PgType, format_type, oid};
use crate::error::{Error, Result};
use crate::lake::ColumnSpec;
use crate::plan::expectation::Counts;
use crate::quality::result::{RuleResult, Status, suffices};
use crate::quality::{Expectation, SchemaColumn};

pub(super) fn status(holds: bool) -> Status {
    if holds { Status::Passed } else { Status::Failed }
}

pub(super) fn result_of(rule: &Expectation, status: Status) -> RuleResult {
    RuleResult {
        rule: rule.name.clone(),
        rule_oid: rule.oid,
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
        files_read: None,
        files_kept: None,
    }
}

pub(super) fn failed_to_run(rule: &Expectation, error: &Error) -> RuleResult {
    RuleResult { error: Some(error.message().to_owned()), ..result_of(rule, Status::Error) }
}

pub(super) fn counted(rule: &Expectation, Counts { checked, failed }: Counts) -> RuleResult {
    let passed = checked.saturating_sub(failed);
    let threshold = rule.options.mostly.map(|mostly| mostly.to_string());
    let status = status(suffices(passed, checked, rule.options.mostly));
    RuleResult { checked, passed, failed, threshold, ..result_of(rule, status) }
}

pub(super) fn count_at(row: &RecordBatch, index: usize) -> Result<u64> {
    let column = row.columns().get(index).ok_or_else(|| Error::internal("a check has too few columns"))?;
    let numbers = cast(column, &DataType::Int64)?;
    let number = numbers.as_primitive::<Int64Type>().iter().next().flatten().unwrap_or(0);
    Ok(u64::try_from(number).unwrap_or(0))
}

pub(super) fn truth_at(row: &RecordBatch, index: usize) -> Result<Option<bool>> {
    let column = row.columns().get(index).and_then(|column| column.as_boolean_opt());
    let column = column.ok_or_else(|| Error::internal("a check is no condition"))?;
    Ok(column.iter().next().flatten())
}

/// The value as a number, if it is one.
pub(super) fn number_at(row: &RecordBatch, columns: &[OutputColumn], index: usize) -> Option<f64> {
    let numbers = [oid::INT2, oid::INT4, oid::INT8, oid::FLOAT4, oid::FLOAT8, oid::NUMERIC];
    columns.get(index).filter(|column| numbers.contains(&column.ty.oid))?;
    // A decimal's text gives the nearest float; the cast of decimals divides.
    let texts = cast(row.columns().get(index)?, &DataType::Utf8).ok()?;
    texts.as_string_opt::<i32>()?.iter().next().flatten()?.parse().ok()
}

/// What of the table's definition is other than expected.
pub(super) fn schema_result(
    rule: &Expectation,
    wanted: &[SchemaColumn],
    exact: bool,
    columns: &[ColumnSpec],
) -> RuleResult {
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
