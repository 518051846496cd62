//! Aggregates that are a list of their values and a function of that list: the ordered-set aggregates, JSON's, and others whose
//! state has no smaller form. The list is the engine's `array_agg`, which sorts and merges partial lists.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, new_null_array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Float64Type, IntervalMonthDayNanoType};
use datafusion::logical_expr::{Expr, ReturnFieldArgs};

use super::build::aggregate;
use super::date_arithmetic::scale_interval;
use super::kernel::{Call, Kernel, Returns, Run};
use super::{Function, Volatility, floats, json_build};
use crate::error::{Error, Result, SqlState};

/// How an aggregate that collects is planned.
pub struct Collecting {
    /// What is collected, of the arguments behind the direct ones.
    pub collect: fn(Vec<Expr>) -> Result<Expr>,
    /// The result, of the name, the direct arguments and the list. `lines`: the values are records or arrays.
    pub finish: fn(name: &'static str, direct: Vec<Expr>, list: Expr, lines: bool) -> Result<Expr>,
    /// How many direct arguments come first.
    pub direct: usize,
}

/// Makes the aggregate's value of its direct arguments and its list.
type Finishing = fn(&'static str, Vec<Expr>, Expr, bool) -> Result<Expr>;

/// The aggregates of this kind.
pub fn of(name: &str) -> Option<Collecting> {
    let json = |name: &'static str, _: Vec<Expr>, list: Expr, lines: bool| json_build::collect(name, lines, list);
    let (finish, direct): (Finishing, usize) = match name {
        "json_agg" | "jsonb_agg" | "json_object_agg" | "jsonb_object_agg" => (json, 0),
        "mode" | "percentile_disc" | "percentile_cont" => (of_sorted, usize::from(name != "mode")),
        _ => return None,
    };
    Some(Collecting { collect, finish, direct })
}

fn collect(values: Vec<Expr>) -> Result<Expr> {
    match <[Expr; 2]>::try_from(values) {
        Ok([key, value]) => json_build::member(key, value),
        Err(values) => values.into_iter().next().ok_or_else(|| Error::internal("an aggregate without values")),
    }
}

fn of_sorted(name: &'static str, mut direct: Vec<Expr>, list: Expr, _: bool) -> Result<Expr> {
    let run: Run = match name {
        "mode" => mode,
        "percentile_disc" => discrete,
        _ => continuous,
    };
    direct.insert(0, list);
    Kernel::new(name, 0, Volatility::Immutable, Returns::Of(picked_type), run).call(direct)
}

/// The element of the list, or a list of elements for a list of fractions.
fn picked_type(args: &ReturnFieldArgs) -> Result<DataType> {
    let element = match args.arg_fields.first().map(|field| field.data_type()) {
        Some(DataType::List(field)) => field.data_type().clone(),
        _ => return Err(Error::internal("a list was expected")),
    };
    Ok(match args.arg_fields.get(1).map(|field| field.data_type()) {
        Some(DataType::List(_)) => DataType::new_list(element, true),
        _ => element,
    })
}

/// The sorted values of a row without NULLs.
fn sorted_at(call: &Call, row: usize) -> Result<Option<ArrayRef>> {
    let array = call.raw(0)?;
    let lists = array.as_list_opt::<i32>().ok_or_else(|| Error::internal("a list was expected"))?;
    let at = call.row_of(0, row);
    if lists.is_null(at) {
        return Ok(None);
    }
    let values = lists.value(at);
    let kept = arrow::compute::filter(&values, &arrow::compute::is_not_null(&values)?)?;
    Ok((!kept.is_empty()).then_some(kept))
}

fn element_type(call: &Call) -> Result<DataType> {
    match call.raw(0)?.data_type() {
        DataType::List(field) => Ok(field.data_type().clone()),
        other => Err(Error::internal(format!("a list was expected, not {other}"))),
    }
}

/// One element for each row, or NULL.
fn picked(call: &Call, mut pick: impl FnMut(usize, &ArrayRef) -> Result<ArrayRef>) -> Result<ArrayRef> {
    let mut rows: Vec<ArrayRef> = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        rows.push(match sorted_at(call, row)? {
            Some(values) => pick(row, &values)?,
            None => new_null_array(call.returns, 1),
        });
    }
    let rows: Vec<&dyn Array> = rows.iter().map(|row| row.as_ref()).collect();
    if rows.is_empty() {
        return Ok(arrow::array::new_empty_array(call.returns));
    }
    Ok(arrow::compute::concat(&rows)?)
}

/// The most frequent value; of equally frequent ones the first in the order.
fn mode(call: &Call) -> Result<ArrayRef> {
    picked(call, |_, values| {
        let ranges = arrow::compute::partition(std::slice::from_ref(values))?.ranges();
        let mut best = 0..0;
        for range in ranges {
            if range.len() > best.len() {
                best = range;
            }
        }
        Ok(values.slice(best.start, 1))
    })
}

/// The fractions of a row; a single one is a list of one.
fn fractions(call: &Call, row: usize) -> Result<(Vec<Option<f64>>, bool)> {
    let array = call.raw(1)?;
    let at = call.row_of(1, row);
    let (values, single) = match array.as_list_opt::<i32>() {
        Some(lists) if lists.is_null(at) => return Ok((Vec::new(), true)),
        Some(lists) => (lists.value(at), false),
        None => (array.slice(at, 1), true),
    };
    let values = crate::encode::cast(&values, &DataType::Float64)?;
    let values: Vec<Option<f64>> = values.as_primitive::<Float64Type>().iter().collect();
    for fraction in values.iter().flatten() {
        if !(0.0..=1.0).contains(fraction) {
            let message = format!("percentile value {fraction} is not between 0 and 1");
            return Err(Error::new(SqlState::NumericValueOutOfRange, message));
        }
    }
    Ok((values, single))
}

fn percentiles(call: &Call, pick: impl Fn(&ArrayRef, f64) -> Result<ArrayRef>) -> Result<ArrayRef> {
    let element = element_type(call)?;
    picked(call, |row, values| {
        let (fractions, single) = fractions(call, row)?;
        let found = fractions.iter().map(|fraction| match fraction {
            Some(fraction) => pick(values, *fraction),
            None => Ok(new_null_array(&element, 1)),
        });
        let found = found.collect::<Result<Vec<_>>>()?;
        if let (true, [one]) = (single, found.as_slice()) {
            return Ok(one.clone());
        }
        if found.is_empty() {
            return Ok(new_null_array(call.returns, 1));
        }
        let parts: Vec<&dyn Array> = found.iter().map(|part| part.as_ref()).collect();
        let items = arrow::compute::concat(&parts)?;
        let field = Arc::new(Field::new("item", element.clone(), true));
        Ok(Arc::new(ListArray::try_new(field, OffsetBuffer::from_lengths([items.len()]), items, None)?))
    })
}

/// The first value whose share of the values reaches the fraction.
fn discrete(call: &Call) -> Result<ArrayRef> {
    percentiles(call, |values, fraction| {
        let row = (fraction * values.len() as f64).ceil().max(1.0) as usize - 1;
        Ok(values.slice(row.min(values.len() - 1), 1))
    })
}

/// Between two values in proportion.
fn continuous(call: &Call) -> Result<ArrayRef> {
    percentiles(call, |values, fraction| {
        let place = fraction * (values.len() - 1) as f64;
        let (low, high) = (place.floor() as usize, place.ceil() as usize);
        if low == high {
            return Ok(values.slice(low, 1));
        }
        let share = place - place.floor();
        if let Some(numbers) = values.as_primitive_opt::<Float64Type>() {
            let (low, high) = (numbers.value(low), numbers.value(high));
            let between: ArrayRef = Arc::new(arrow::array::Float64Array::from(vec![low + share * (high - low)]));
            return Ok(floats::canonical(&between));
        }
        let spans = values
            .as_primitive_opt::<IntervalMonthDayNanoType>()
            .ok_or_else(|| Error::internal("percentile_cont of this type"))?;
        let (low, high) = (spans.value(low), spans.value(high));
        let between = arrow::datatypes::IntervalMonthDayNano::new(
            high.months.saturating_sub(low.months),
            high.days.saturating_sub(low.days),
            high.nanoseconds.saturating_sub(low.nanoseconds),
        );
        let part = scale_interval(between, |value| value * share)?;
        let sum = arrow::datatypes::IntervalMonthDayNano::new(
            low.months.saturating_add(part.months),
            low.days.saturating_add(part.days),
            low.nanoseconds.saturating_add(part.nanoseconds),
        );
        Ok(Arc::new(arrow::array::IntervalMonthDayNanoArray::from(vec![sum])))
    })
}

pub(super) fn functions() -> Vec<Function> {
    let list = datafusion::functions_aggregate::array_agg::array_agg_udaf;
    vec![
        aggregate(3984, "mode(anyelement) anyelement", list()),
        aggregate(3972, "percentile_disc(float8, anyelement) anyelement", list()),
        aggregate(3978, "percentile_disc(_float8, anyelement) anyarray", list()),
        aggregate(3974, "percentile_cont(float8, float8) float8", list()),
        aggregate(3976, "percentile_cont(float8, interval) interval", list()),
        aggregate(3980, "percentile_cont(_float8, float8) _float8", list()),
        aggregate(3982, "percentile_cont(_float8, interval) _interval", list()),
    ]
}
