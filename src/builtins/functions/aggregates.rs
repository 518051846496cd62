//! Aggregates and window functions.

use datafusion::functions_aggregate as engine_aggregates;
use datafusion::functions_window as engine_windows;

use super::Function;
use super::build::{aggregate, window};
use super::interval_aggregates::{self, Kind};
use super::{count_if, float_total, spread, total};
use engine_aggregates::{
    approx_distinct, array_agg, bit_and_or_xor, bool_and_or, correlation, count, covariance, first_last, min_max, regr,
    stddev, string_agg, variance,
};

pub(super) fn functions() -> Vec<Function> {
    let mut functions = vec![
        aggregate(2803, "count() int8", count::count_udaf()),
        aggregate(2147, "count(any) int8", count::count_udaf()),
        aggregate(2109, "sum(int2) int8", total::integer_sum()),
        aggregate(2108, "sum(int4) int8", total::integer_sum()),
        aggregate(2107, "sum(int8) numeric", total::sum()),
        aggregate(2114, "sum(numeric) numeric", total::sum()),
        aggregate(2110, "sum(float4) float4", float_total::real_sum()),
        aggregate(2111, "sum(float8) float8", float_total::sum()),
        aggregate(2113, "sum(interval) interval", interval_aggregates::of(Kind::Sum)),
        aggregate(2106, "avg(interval) interval", interval_aggregates::of(Kind::Average)),
        aggregate(2818, "regr_count(float8, float8) int8", regr::regr_count_udaf()),
        aggregate(2102, "avg(int2) numeric", total::average()),
        aggregate(2101, "avg(int4) numeric", total::average()),
        aggregate(2100, "avg(int8) numeric", total::average()),
        aggregate(2103, "avg(numeric) numeric", total::average()),
        aggregate(2104, "avg(float4) float8", float_total::average()),
        aggregate(2105, "avg(float8) float8", float_total::average()),
        aggregate(2517, "bool_and(bool) bool", bool_and_or::bool_and_udaf()),
        aggregate(2519, "every(bool) bool", bool_and_or::bool_and_udaf()),
        aggregate(2518, "bool_or(bool) bool", bool_and_or::bool_or_udaf()),
        aggregate(2335, "array_agg(anynonarray) anyarray", array_agg::array_agg_udaf()),
        aggregate(4053, "array_agg(anyarray) anyarray", array_agg::array_agg_udaf()),
        aggregate(3538, "string_agg(text, text) text", string_agg::string_agg_udaf()),
        aggregate(9000, "any_value(anyelement) anyelement", first_last::first_value_udaf()),
        aggregate(2236, "bit_and(int2) int2", bit_and_or_xor::bit_and_udaf()),
        aggregate(2238, "bit_and(int4) int4", bit_and_or_xor::bit_and_udaf()),
        aggregate(2240, "bit_and(int8) int8", bit_and_or_xor::bit_and_udaf()),
        aggregate(2237, "bit_or(int2) int2", bit_and_or_xor::bit_or_udaf()),
        aggregate(2239, "bit_or(int4) int4", bit_and_or_xor::bit_or_udaf()),
        aggregate(2241, "bit_or(int8) int8", bit_and_or_xor::bit_or_udaf()),
        aggregate(6164, "bit_xor(int2) int2", bit_and_or_xor::bit_xor_udaf()),
        aggregate(6165, "bit_xor(int4) int4", bit_and_or_xor::bit_xor_udaf()),
        aggregate(6166, "bit_xor(int8) int8", bit_and_or_xor::bit_xor_udaf()),
        aggregate(2158, "stddev(float8) float8", stddev::stddev_udaf()),
        aggregate(2716, "stddev_samp(float8) float8", stddev::stddev_udaf()),
        aggregate(2728, "stddev_pop(float8) float8", stddev::stddev_pop_udaf()),
        aggregate(2152, "variance(float8) float8", variance::var_samp_udaf()),
        aggregate(2645, "var_samp(float8) float8", variance::var_samp_udaf()),
        aggregate(2722, "var_pop(float8) float8", variance::var_pop_udaf()),
        aggregate(2829, "corr(float8, float8) float8", correlation::corr_udaf()),
        aggregate(2828, "covar_samp(float8, float8) float8", covariance::covar_samp_udaf()),
        aggregate(2827, "covar_pop(float8, float8) float8", covariance::covar_pop_udaf()),
        aggregate(2825, "regr_slope(float8, float8) float8", regr::regr_slope_udaf()),
        aggregate(2826, "regr_intercept(float8, float8) float8", regr::regr_intercept_udaf()),
        aggregate(2824, "regr_r2(float8, float8) float8", regr::regr_r2_udaf()),
        aggregate(2822, "regr_avgx(float8, float8) float8", regr::regr_avgx_udaf()),
        aggregate(2823, "regr_avgy(float8, float8) float8", regr::regr_avgy_udaf()),
        aggregate(2819, "regr_sxx(float8, float8) float8", regr::regr_sxx_udaf()),
        aggregate(2820, "regr_syy(float8, float8) float8", regr::regr_syy_udaf()),
        aggregate(2821, "regr_sxy(float8, float8) float8", regr::regr_sxy_udaf()),
        aggregate(9009, "count_if(bool) int8", count_if::count_if()),
        aggregate(9001, "approx_count_distinct(any) int8", approx_distinct::approx_distinct_udaf()),
    ];
    functions.extend(spreads());
    functions.extend(extremes());
    functions.extend(windows());
    functions
}

/// Variance and deviation of numbers that are no floats.
fn spreads() -> Vec<Function> {
    let of = |name, deviation, population| spread::spread(spread::Measure { name, deviation, population });
    vec![
        aggregate(2156, "stddev(int2) numeric", of("stddev", true, false)),
        aggregate(2155, "stddev(int4) numeric", of("stddev", true, false)),
        aggregate(2154, "stddev(int8) numeric", of("stddev", true, false)),
        aggregate(2159, "stddev(numeric) numeric", of("stddev", true, false)),
        aggregate(2714, "stddev_samp(int2) numeric", of("stddev_samp", true, false)),
        aggregate(2713, "stddev_samp(int4) numeric", of("stddev_samp", true, false)),
        aggregate(2712, "stddev_samp(int8) numeric", of("stddev_samp", true, false)),
        aggregate(2717, "stddev_samp(numeric) numeric", of("stddev_samp", true, false)),
        aggregate(2726, "stddev_pop(int2) numeric", of("stddev_pop", true, true)),
        aggregate(2725, "stddev_pop(int4) numeric", of("stddev_pop", true, true)),
        aggregate(2724, "stddev_pop(int8) numeric", of("stddev_pop", true, true)),
        aggregate(2729, "stddev_pop(numeric) numeric", of("stddev_pop", true, true)),
        aggregate(2150, "variance(int2) numeric", of("variance", false, false)),
        aggregate(2149, "variance(int4) numeric", of("variance", false, false)),
        aggregate(2148, "variance(int8) numeric", of("variance", false, false)),
        aggregate(2153, "variance(numeric) numeric", of("variance", false, false)),
        aggregate(2643, "var_samp(int2) numeric", of("var_samp", false, false)),
        aggregate(2642, "var_samp(int4) numeric", of("var_samp", false, false)),
        aggregate(2641, "var_samp(int8) numeric", of("var_samp", false, false)),
        aggregate(2646, "var_samp(numeric) numeric", of("var_samp", false, false)),
        aggregate(2720, "var_pop(int2) numeric", of("var_pop", false, true)),
        aggregate(2719, "var_pop(int4) numeric", of("var_pop", false, true)),
        aggregate(2718, "var_pop(int8) numeric", of("var_pop", false, true)),
        aggregate(2723, "var_pop(numeric) numeric", of("var_pop", false, true)),
    ]
}

fn extremes() -> Vec<Function> {
    let (min, max) = (min_max::min_udaf, min_max::max_udaf);
    vec![
        aggregate(2133, "min(int2) int2", min()),
        aggregate(2132, "min(int4) int4", min()),
        aggregate(2131, "min(int8) int8", min()),
        aggregate(2134, "min(oid) oid", min()),
        aggregate(2146, "min(numeric) numeric", min()),
        aggregate(2135, "min(float4) float4", min()),
        aggregate(2136, "min(float8) float8", min()),
        aggregate(2145, "min(text) text", min()),
        aggregate(2245, "min(bpchar) bpchar", min()),
        aggregate(2138, "min(date) date", min()),
        aggregate(2139, "min(time) time", min()),
        aggregate(2142, "min(timestamp) timestamp", min()),
        aggregate(2143, "min(timestamptz) timestamptz", min()),
        aggregate(2144, "min(interval) interval", interval_aggregates::of(Kind::Min)),
        aggregate(2051, "min(anyarray) anyarray", min()),
        aggregate(2117, "max(int2) int2", max()),
        aggregate(2116, "max(int4) int4", max()),
        aggregate(2115, "max(int8) int8", max()),
        aggregate(2118, "max(oid) oid", max()),
        aggregate(2130, "max(numeric) numeric", max()),
        aggregate(2119, "max(float4) float4", max()),
        aggregate(2120, "max(float8) float8", max()),
        aggregate(2129, "max(text) text", max()),
        aggregate(2244, "max(bpchar) bpchar", max()),
        aggregate(2122, "max(date) date", max()),
        aggregate(2123, "max(time) time", max()),
        aggregate(2126, "max(timestamp) timestamp", max()),
        aggregate(2127, "max(timestamptz) timestamptz", max()),
        aggregate(2128, "max(interval) interval", interval_aggregates::of(Kind::Max)),
        aggregate(2050, "max(anyarray) anyarray", max()),
    ]
}

fn windows() -> Vec<Function> {
    use engine_windows::{cume_dist, lead_lag, nth_value, ntile, rank, row_number};
    vec![
        window(3100, "row_number() int8", row_number::row_number_udwf()),
        window(3101, "rank() int8", rank::rank_udwf()),
        window(3102, "dense_rank() int8", rank::dense_rank_udwf()),
        window(3103, "percent_rank() float8", rank::percent_rank_udwf()),
        window(3104, "cume_dist() float8", cume_dist::cume_dist_udwf()),
        window(3105, "ntile(int4) int4", ntile::ntile_udwf()),
        window(3106, "lag(anyelement) anyelement", lead_lag::lag_udwf()),
        window(3107, "lag(anyelement, int4) anyelement", lead_lag::lag_udwf()),
        window(3108, "lag(anycompatible, int4, anycompatible) anycompatible", lead_lag::lag_udwf()),
        window(3109, "lead(anyelement) anyelement", lead_lag::lead_udwf()),
        window(3110, "lead(anyelement, int4) anyelement", lead_lag::lead_udwf()),
        window(3111, "lead(anycompatible, int4, anycompatible) anycompatible", lead_lag::lead_udwf()),
        window(3112, "first_value(anyelement) anyelement", nth_value::first_value_udwf()),
        window(3113, "last_value(anyelement) anyelement", nth_value::last_value_udwf()),
        window(3114, "nth_value(anyelement, int4) anyelement", nth_value::nth_value_udwf()),
    ]
}
