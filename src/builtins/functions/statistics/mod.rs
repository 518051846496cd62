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
        aggregate(9100, "distribution(float8) jsonb", distribution::of()),
        aggregate(9101, "distribution(float8, int4) jsonb", distribution::of()),
        aggregate(9102, "distribution(text) jsonb", distribution::of()),
        aggregate(9103, "distribution(text, int4) jsonb", distribution::of()),
        aggregate(9104, "distribution(bool) jsonb", distribution::of()),
        aggregate(9106, "entropy(float8) float8", distribution::entropy()),
        aggregate(9107, "entropy(text) float8", distribution::entropy()),
        aggregate(9108, "entropy(bool) float8", distribution::entropy()),
        aggregate(9105, "approx_percentile(float8, float8) float8", approx_percentile::of()),
    ];
    for (oid, spec, measure) in [
        (9110, "psi(float8, jsonb) float8", Measure::Psi),
        (9111, "psi(text, jsonb) float8", Measure::Psi),
        (9112, "psi(bool, jsonb) float8", Measure::Psi),
        (9113, "kl_divergence(float8, jsonb) float8", Measure::KlDivergence),
        (9114, "kl_divergence(text, jsonb) float8", Measure::KlDivergence),
        (9115, "kl_divergence(bool, jsonb) float8", Measure::KlDivergence),
        (9116, "chi_square(float8, jsonb) float8", Measure::ChiSquare),
        (9117, "chi_square(text, jsonb) float8", Measure::ChiSquare),
        (9118, "chi_square(bool, jsonb) float8", Measure::ChiSquare),
        (9119, "chi_square_p(float8, jsonb) float8", Measure::ChiSquareP),
        (9120, "chi_square_p(text, jsonb) float8", Measure::ChiSquareP),
        (9121, "chi_square_p(bool, jsonb) float8", Measure::ChiSquareP),
        (9122, "ks_statistic(float8, jsonb) float8", Measure::KsStatistic),
        (9123, "ks_p(float8, jsonb) float8", Measure::KsP),
    ] {
        functions.push(aggregate(oid, spec, comparison::of(measure, None)));
    }
    functions
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
