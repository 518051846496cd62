//! Distributions of values: `distribution` describes one as a baseline, `psi`, `kl_divergence`, `chi_square`, `ks_statistic`
//! and the p-values compare values with a stored one, `entropy` and `approx_percentile` summarise any number of rows.
//!
//! ```text
//! distribution(x) ── Sketch (numbers) | Tally (categories) ─→ jsonb ─ Baseline ─→ psi(x, baseline) … count values by bin
//! ```
//!
//! All of them are bounded in memory and have states that merge, so they run in parallel. NULL, NaN and the infinities are
//! left out; no values give NULL.

mod approx_percentile;
mod baseline;
mod comparison;
mod distribution;
mod measure;
mod sketch;
mod tails;
mod tally;

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{AggregateUDF, Expr};

use super::Function;
use super::build::aggregate;
use crate::error::Result;
use measure::Measure;

pub(super) fn functions() -> Vec<Function> {
    let mut functions = vec![
        aggregate(9200, "distribution(float8) jsonb", distribution::of()),
        aggregate(9201, "distribution(float8, int4) jsonb", distribution::of()),
        aggregate(9202, "distribution(text) jsonb", distribution::of()),
        aggregate(9203, "distribution(text, int4) jsonb", distribution::of()),
        aggregate(9204, "distribution(bool) jsonb", distribution::of()),
        aggregate(9206, "entropy(float8) float8", distribution::entropy()),
        aggregate(9207, "entropy(text) float8", distribution::entropy()),
        aggregate(9208, "entropy(bool) float8", distribution::entropy()),
        aggregate(9205, "approx_percentile(float8, float8) float8", approx_percentile::of()),
    ];
    for (oid, spec, measure) in [
        (9210, "psi(float8, jsonb) float8", Measure::Psi),
        (9211, "psi(text, jsonb) float8", Measure::Psi),
        (9212, "psi(bool, jsonb) float8", Measure::Psi),
        (9213, "kl_divergence(float8, jsonb) float8", Measure::KlDivergence),
        (9214, "kl_divergence(text, jsonb) float8", Measure::KlDivergence),
        (9215, "kl_divergence(bool, jsonb) float8", Measure::KlDivergence),
        (9216, "chi_square(float8, jsonb) float8", Measure::ChiSquare),
        (9217, "chi_square(text, jsonb) float8", Measure::ChiSquare),
        (9218, "chi_square(bool, jsonb) float8", Measure::ChiSquare),
        (9219, "chi_square_p(float8, jsonb) float8", Measure::ChiSquareP),
        (9220, "chi_square_p(text, jsonb) float8", Measure::ChiSquareP),
        (9221, "chi_square_p(bool, jsonb) float8", Measure::ChiSquareP),
        (9222, "ks_statistic(float8, jsonb) float8", Measure::KsStatistic),
        (9223, "ks_p(float8, jsonb) float8", Measure::KsP),
    ] {
        functions.push(aggregate(oid, spec, comparison::of(measure, None)));
    }
    functions
}

/// Whether it is one of these aggregates. None of them takes DISTINCT: it would undo the frequencies that they tell.
pub fn is_one(name: &str) -> bool {
    Measure::of(name).is_some() || matches!(name, "distribution" | "entropy" | "approx_percentile")
}

/// A comparison with a constant baseline keeps it inside the function, so that it is read once and not carried beside each
/// row: the function and the arguments that are left.
pub fn bound(name: &str, arguments: &[Expr]) -> Result<Option<(Arc<AggregateUDF>, Vec<Expr>)>> {
    let (Some(measure), [value, Expr::Literal(ScalarValue::Utf8(Some(text)), _)]) = (Measure::of(name), arguments)
    else {
        return Ok(None);
    };
    let baseline = baseline::Baseline::parse(text)?;
    Ok(Some((comparison::of(measure, Some(Arc::new(baseline))), vec![value.clone()])))
}
