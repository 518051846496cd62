//! The clock, and functions of dates, timestamps and intervals that have no file of their own: ages, `justify_…`.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalMonthDayNanoType, TimestampMicrosecondType};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;

use super::build::{contextual, in_context, scalar};
use super::date_arithmetic::{Moments, from_local, interval, interval_out_of_range, is_infinite, micros_of, to_local};
use super::kernel::{Call, Kernel, Returns, some};
use super::{Function, Volatility};
use crate::builtins::Context;
use crate::encode::calendar::{DATE_INFINITY, DATE_MINUS_INFINITY, MICROS_PER_DAY, civil_from_days, days_in_month};
use crate::encode::types::{PgType, arrow_type};
use crate::error::Result;

fn moment_literal(micros: i64) -> Expr {
    Expr::Literal(ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into())), None)
}

fn local_now(context: &Context) -> i64 {
    to_local(context.time_zone, context.transaction_start.timestamp_micros())
}

fn clock(call: &Call) -> Result<ArrayRef> {
    call.values::<TimestampMicrosecondType>(|_| Ok(Some(chrono::Utc::now().timestamp_micros())))
}

/// Years, months, days between two local times, as a person counts (`timestamp_age`).
fn age_between(later: i64, earlier: i64) -> Result<IntervalMonthDayNano> {
    let negative = later < earlier;
    let (late, early) = if negative { (earlier, later) } else { (later, earlier) };
    let split = |local: i64| {
        let (year, month, day) = civil_from_days(local.div_euclid(MICROS_PER_DAY));
        (year * 12 + i64::from(month) - 1, i64::from(day), local.rem_euclid(MICROS_PER_DAY), year, month)
    };
    let (late_months, late_day, late_time, ..) = split(late);
    let (early_months, early_day, early_time, year, month) = split(early);
    let (mut months, mut days, mut time) = (late_months - early_months, late_day - early_day, late_time - early_time);
    if time < 0 {
        time += MICROS_PER_DAY;
        days -= 1;
    }
    if days < 0 {
        // Borrowed from the month of the earlier date, whichever argument that is.
        days += i64::from(days_in_month(year, month));
        months -= 1;
    }
    if negative { interval(-months, -days, -time) } else { interval(months, days, time) }
}

fn age(call: &Call) -> Result<ArrayRef> {
    let (later, earlier) = (Moments::of(call, 0)?, Moments::of(call, 1)?);
    let zone = call.context_if_any().map(|context| context.time_zone);
    let local = |moment: i64| zone.map_or(moment, |zone| to_local(zone, moment));
    call.values::<IntervalMonthDayNanoType>(|row| {
        let (later, earlier) = (some!(later.get(row)?), some!(earlier.get(row)?));
        if is_infinite(later) || is_infinite(earlier) {
            return Err(interval_out_of_range());
        }
        age_between(local(later), local(earlier)).map(Some)
    })
}

fn is_finite(call: &Call) -> Result<ArrayRef> {
    match call.raw(0)?.data_type() {
        DataType::Date32 => {
            let dates = call.date(0)?;
            call.booleans(|row| Ok(dates.get(row).map(|date| !matches!(date, DATE_INFINITY | DATE_MINUS_INFINITY))))
        }
        DataType::Interval(_) => {
            let values = call.interval(0)?;
            call.booleans(|row| Ok(values.get(row).map(|_| true)))
        }
        _ => {
            let moments = call.timestamp(0)?;
            call.booleans(|row| Ok(moments.get(row).map(|moment| !is_infinite(moment))))
        }
    }
}

/// Which parts of an interval `justify_…` carries over.
fn justified(call: &Call, hours: bool, days: bool) -> Result<ArrayRef> {
    let values = call.interval(0)?;
    call.values::<IntervalMonthDayNanoType>(|row| {
        let value = some!(values.get(row));
        let (mut months, mut day, mut micros) = (i64::from(value.months), i64::from(value.days), micros_of(value));
        if hours {
            day += micros / MICROS_PER_DAY;
            micros %= MICROS_PER_DAY;
        }
        if days {
            months += day / 30;
            day %= 30;
        }
        if hours && days {
            if months > 0 && (day < 0 || (day == 0 && micros < 0)) {
                day += 30;
                months -= 1;
            } else if months < 0 && (day > 0 || (day == 0 && micros > 0)) {
                day -= 30;
                months += 1;
            }
        } else if days {
            if months > 0 && day < 0 {
                day += 30;
                months -= 1;
            } else if months < 0 && day > 0 {
                day -= 30;
                months += 1;
            }
        }
        if hours {
            if day > 0 && micros < 0 {
                micros += MICROS_PER_DAY;
                day -= 1;
            } else if day < 0 && micros > 0 {
                micros -= MICROS_PER_DAY;
                day += 1;
            }
        }
        interval(months, day, micros).map(Some)
    })
}
fn justify_hours(call: &Call) -> Result<ArrayRef> {
    justified(call, true, false)
}
fn justify_days(call: &Call) -> Result<ArrayRef> {
    justified(call, false, true)
}
fn justify_interval(call: &Call) -> Result<ArrayRef> {
    justified(call, true, true)
}

pub(super) fn functions() -> Vec<Function> {
    let now: fn(&std::sync::Arc<Context>, Vec<Expr>) -> Result<Expr> =
        |context, _| Ok(moment_literal(context.transaction_start.timestamp_micros()));
    let mut functions = vec![
        contextual(1299, "now() timestamptz", now),
        contextual(2647, "transaction_timestamp() timestamptz", now),
        contextual(9002, "current_timestamp() timestamptz", now),
        contextual(2648, "statement_timestamp() timestamptz", |context, _| {
            Ok(moment_literal(context.statement_start.timestamp_micros()))
        }),
        super::build::volatile(2649, "clock_timestamp() timestamptz", clock),
        contextual(9003, "current_date() date", |context, _| {
            let days = local_now(context).div_euclid(MICROS_PER_DAY) as i32;
            Ok(Expr::Literal(ScalarValue::Date32(Some(days)), None))
        }),
        contextual(9004, "localtimestamp() timestamp", |context, _| {
            Ok(Expr::Literal(ScalarValue::TimestampMicrosecond(Some(local_now(context)), None), None))
        }),
        contextual(9005, "localtime() time", |context, _| {
            let micros = local_now(context).rem_euclid(MICROS_PER_DAY);
            Ok(Expr::Literal(ScalarValue::Time64Microsecond(Some(micros)), None))
        }),
        scalar(1373, "isfinite(date) bool", is_finite),
        scalar(2048, "isfinite(timestamp) bool", is_finite),
        scalar(1389, "isfinite(timestamptz) bool", is_finite),
        scalar(1390, "isfinite(interval) bool", is_finite),
        scalar(1175, "justify_hours(interval) interval", justify_hours),
        scalar(1295, "justify_days(interval) interval", justify_days),
        scalar(2711, "justify_interval(interval) interval", justify_interval),
    ];
    functions.extend(ages());
    functions
}

fn ages() -> Vec<Function> {
    vec![
        scalar(2058, "age(timestamp, timestamp) interval", age),
        in_context(1199, "age(timestamptz, timestamptz) interval", age),
        contextual(2059, "age(timestamp) interval", |context, mut arguments| {
            let today = local_now(context).div_euclid(MICROS_PER_DAY) * MICROS_PER_DAY;
            arguments.insert(0, Expr::Literal(ScalarValue::TimestampMicrosecond(Some(today), None), None));
            let returns = Returns::Fixed(arrow_type(PgType::INTERVAL));
            Kernel::new("age", 2059, Volatility::Stable, returns, age).call(arguments)
        }),
        contextual(1386, "age(timestamptz) interval", |context, mut arguments| {
            let today = local_now(context).div_euclid(MICROS_PER_DAY) * MICROS_PER_DAY;
            arguments.insert(0, moment_literal(from_local(context.time_zone, today)));
            let returns = Returns::Fixed(arrow_type(PgType::INTERVAL));
            Kernel::new("age", 1386, Volatility::Stable, returns, age).with_context(context).call(arguments)
        }),
    ]
}
