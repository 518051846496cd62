//! Values to text, as a cast to text writes them.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;

use super::date_arithmetic::{micros_of, to_local};
use crate::encode::calendar::{
    DATE_INFINITY, DATE_MINUS_INFINITY, MICROS_PER_DAY, MICROS_PER_SECOND, TIMESTAMP_INFINITY,
    TIMESTAMP_MINUS_INFINITY, civil_from_days, offset_at,
};
use crate::encode::types::{PgType, element_of, oid};
use crate::encode::{DateStyle, IntervalStyle, TextStyle};
use crate::error::{Error, Result};

/// The texts of an array whose values have the PostgreSQL type `ty`.
pub fn texts(array: &ArrayRef, ty: PgType, style: &TextStyle) -> Result<ArrayRef> {
    if matches!(array.data_type(), DataType::Utf8) {
        return Ok(array.clone());
    }
    let mut builder = StringBuilder::with_capacity(array.len(), array.len() * 12);
    let mut buffer = String::new();
    let array = plain(array)?;
    for row in 0..array.len() {
        if array.is_null(row) {
            builder.append_null();
            continue;
        }
        buffer.clear();
        write_value(&mut buffer, &array, row, ty, style)?;
        builder.append_value(&buffer);
    }
    Ok(Arc::new(builder.finish()))
}

/// Strings of any kind as `Utf8`, bytes of any kind as `Binary`, 32-bit units as microseconds.
pub fn plain(array: &ArrayRef) -> Result<ArrayRef> {
    let target = match array.data_type() {
        DataType::Utf8View | DataType::LargeUtf8 | DataType::Dictionary(_, _) => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Timestamp(unit, zone) if *unit != TimeUnit::Microsecond => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        _ => return Ok(array.clone()),
    };
    Ok(arrow::compute::cast(array, &target)?)
}

/// Appends the text of one value, which is not NULL. The array is [`plain`].
pub fn write_value(out: &mut String, array: &ArrayRef, row: usize, ty: PgType, style: &TextStyle) -> Result<()> {
    match array.data_type() {
        DataType::Utf8 => out.push_str(array.as_string::<i32>().value(row)),
        DataType::Boolean => out.push_str(if array.as_boolean().value(row) { "true" } else { "false" }),
        DataType::Int16 => push(out, array.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => push(out, array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => {
            let value = array.as_primitive::<Int64Type>().value(row);
            let name = style.names.as_ref().filter(|_| ty.oid != oid::INT8);
            match name.and_then(|names| names.name(ty.oid, u32::try_from(value).ok()?)) {
                Some(name) => out.push_str(&name),
                None => push(out, value),
            }
        }
        DataType::Float32 => float4(out, array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => float8(out, array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(precision, scale) => {
            decimal(out, array.as_primitive::<Decimal128Type>().value(row), *precision, *scale);
        }
        DataType::Date32 => date(out, array.as_primitive::<Date32Type>().value(row), style),
        DataType::Time64(_) => time(out, array.as_primitive::<Time64MicrosecondType>().value(row)),
        DataType::Timestamp(_, zone) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            if zone.is_some() { timestamptz(out, micros, style) } else { timestamp(out, micros, style) }
        }
        DataType::Interval(_) => {
            interval(out, array.as_primitive::<IntervalMonthDayNanoType>().value(row), style.interval_style);
        }
        DataType::Binary => bytea(out, array.as_binary::<i32>().value(row), style.bytea_hex),
        DataType::List(_) => list(out, &array.as_list::<i32>().value(row), ty, style)?,
        DataType::Struct(_) => record(out, array.as_struct(), row, style)?,
        DataType::Null => {}
        other => return Err(Error::internal(format!("no text form of {other}"))),
    }
    Ok(())
}

fn push(out: &mut String, value: impl itoa::Integer) {
    out.push_str(itoa::Buffer::new().format(value));
}

pub fn float8(out: &mut String, value: f64) {
    let mut buffer = ryu::Buffer::new();
    if special(out, value) {
        return;
    }
    shortest(out, buffer.format_finite(value), 15);
}

fn float4(out: &mut String, value: f32) {
    let mut buffer = ryu::Buffer::new();
    if special(out, value.into()) {
        return;
    }
    shortest(out, buffer.format_finite(value), 6);
}

fn special(out: &mut String, value: f64) -> bool {
    let word = match value {
        value if value.is_nan() => "NaN",
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        _ => return false,
    };
    out.push_str(word);
    true
}

/// The shortest digits in C's `%g` layout: an exponent below -4 or from `digits_max` on.
fn shortest(out: &mut String, text: &str, digits_max: i32) {
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_start_matches('0');
    let point = whole.len() as i32 + exponent - (all.len() - digits.len()) as i32;
    let digits = digits.trim_end_matches('0');
    out.push_str(sign);
    if digits.is_empty() {
        out.push('0');
        return;
    }
    let exponent = point - 1;
    if exponent < -4 || exponent >= digits_max {
        let (first, rest) = digits.split_at(1);
        out.push_str(first);
        if !rest.is_empty() {
            out.push('.');
            out.push_str(rest);
        }
        let _ = write!(out, "e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
    } else if point <= 0 {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', point.unsigned_abs() as usize));
        out.push_str(digits);
    } else {
        let point = point as usize;
        out.push_str(digits.get(..point).unwrap_or(digits));
        if digits.len() > point {
            out.push('.');
            out.push_str(digits.get(point..).unwrap_or_default());
        } else {
            out.extend(std::iter::repeat_n('0', point - digits.len()));
        }
    }
}

/// A decimal; one of an unconstrained column without trailing zeros.
pub fn decimal(out: &mut String, value: i128, precision: u8, scale: i8) {
    let start = out.len();
    if value < 0 {
        out.push('-');
    }
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value.unsigned_abs());
    let scale_digits = usize::from(scale.max(0).unsigned_abs());
    if scale < 0 {
        out.push_str(digits);
        out.extend(std::iter::repeat_n('0', usize::from(scale.unsigned_abs())));
    } else if scale_digits == 0 {
        out.push_str(digits);
    } else if digits.len() > scale_digits {
        let (whole, fraction) = digits.split_at(digits.len() - scale_digits);
        out.push_str(whole);
        out.push('.');
        out.push_str(fraction);
    } else {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', scale_digits - digits.len()));
        out.push_str(digits);
    }
    if (precision, scale) == crate::encode::types::NUMERIC_COLUMN {
        let kept = out.trim_end_matches('0').trim_end_matches('.').len().max(start);
        out.truncate(kept);
    }
}

/// Year, month and day in the style's order; whether the year is before Christ.
fn civil(out: &mut String, days: i64, style: &TextStyle) -> bool {
    let (year, month, day) = civil_from_days(days);
    let (shown, bc) = if year <= 0 { (1 - year, true) } else { (year, false) };
    let day_first = style.date_order == crate::encode::DateOrder::Dmy;
    let _ = match style.date_style {
        DateStyle::Iso => write!(out, "{shown:04}-{month:02}-{day:02}"),
        DateStyle::German => write!(out, "{day:02}.{month:02}.{shown:04}"),
        DateStyle::Sql if day_first => write!(out, "{day:02}/{month:02}/{shown:04}"),
        DateStyle::Sql => write!(out, "{month:02}/{day:02}/{shown:04}"),
        DateStyle::Postgres if day_first => write!(out, "{day:02}-{month:02}-{shown:04}"),
        DateStyle::Postgres => write!(out, "{month:02}-{day:02}-{shown:04}"),
    };
    bc
}

fn date(out: &mut String, days: i32, style: &TextStyle) {
    match days {
        DATE_INFINITY => out.push_str("infinity"),
        DATE_MINUS_INFINITY => out.push_str("-infinity"),
        days => {
            if civil(out, days.into(), style) {
                out.push_str(" BC");
            }
        }
    }
}

fn time(out: &mut String, micros: i64) {
    let seconds = micros / MICROS_PER_SECOND;
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    fraction(out, micros % MICROS_PER_SECOND);
}

fn fraction(out: &mut String, micros: i64) {
    if micros != 0 {
        let text = format!(".{:06}", micros.abs());
        out.push_str(text.trim_end_matches('0'));
    }
}

fn timestamp(out: &mut String, micros: i64, style: &TextStyle) {
    if infinite(out, micros) {
        return;
    }
    if moment(out, micros, style) {
        out.push_str(" BC");
    }
}

fn infinite(out: &mut String, micros: i64) -> bool {
    match micros {
        TIMESTAMP_INFINITY => out.push_str("infinity"),
        TIMESTAMP_MINUS_INFINITY => out.push_str("-infinity"),
        _ => return false,
    }
    true
}

fn moment(out: &mut String, micros: i64, style: &TextStyle) -> bool {
    let bc = civil(out, micros.div_euclid(MICROS_PER_DAY), style);
    out.push(' ');
    time(out, micros.rem_euclid(MICROS_PER_DAY));
    bc
}

fn timestamptz(out: &mut String, micros: i64, style: &TextStyle) {
    if infinite(out, micros) {
        return;
    }
    let offset = offset_at(style.time_zone, micros);
    let bc = moment(out, to_local(style.time_zone, micros), style);
    let (sign, offset) = if offset < 0 { ('-', -offset) } else { ('+', offset) };
    let _ = write!(out, "{sign}{:02}", offset / 3600);
    if offset % 3600 != 0 {
        let _ = write!(out, ":{:02}", offset / 60 % 60);
    }
    if offset % 60 != 0 {
        let _ = write!(out, ":{:02}", offset % 60);
    }
    if bc {
        out.push_str(" BC");
    }
}

/// `1 year 2 mons 3 days 04:05:06`; the ISO 8601 form when that is the style.
fn interval(out: &mut String, value: IntervalMonthDayNano, style: IntervalStyle) {
    let micros = micros_of(value);
    let (years, months) = (value.months / 12, value.months % 12);
    if style == IntervalStyle::Iso8601 {
        return interval_iso(out, years, months, value.days, micros);
    }
    let start = out.len();
    let mut negative_before = false;
    for (count, unit) in [(years, "year"), (months, "mon"), (value.days, "day")] {
        if count == 0 {
            continue;
        }
        if out.len() > start {
            out.push(' ');
        }
        let plus = if negative_before && count > 0 { "+" } else { "" };
        let plural = if count == 1 { "" } else { "s" };
        let _ = write!(out, "{plus}{count} {unit}{plural}");
        negative_before = count < 0;
    }
    if micros != 0 || out.len() == start {
        if out.len() > start {
            out.push(' ');
        }
        if micros < 0 {
            out.push('-');
        } else if negative_before {
            out.push('+');
        }
        time(out, micros.abs());
    }
}

fn interval_iso(out: &mut String, years: i32, months: i32, days: i32, micros: i64) {
    let start = out.len();
    out.push('P');
    for (count, unit) in [(years, 'Y'), (months, 'M'), (days, 'D')] {
        if count != 0 {
            let _ = write!(out, "{count}{unit}");
        }
    }
    if micros != 0 {
        out.push('T');
        let seconds = micros / MICROS_PER_SECOND;
        for (count, unit) in [(seconds / 3600, 'H'), (seconds / 60 % 60, 'M')] {
            if count != 0 {
                let _ = write!(out, "{count}{unit}");
            }
        }
        let rest = micros % MICROS_PER_SECOND;
        if seconds % 60 != 0 || rest != 0 {
            let sign = if seconds % 60 == 0 && rest < 0 { "-" } else { "" };
            let _ = write!(out, "{sign}{}", seconds % 60);
            fraction(out, rest);
            out.push('S');
        }
    }
    if out.len() == start + 1 {
        out.push_str("T0S");
    }
}

fn bytea(out: &mut String, bytes: &[u8], hex: bool) {
    if hex {
        out.push_str("\\x");
        for byte in bytes {
            let _ = write!(out, "{byte:02x}");
        }
        return;
    }
    for byte in bytes {
        match byte {
            b'\\' => out.push_str("\\\\"),
            0x20..=0x7e => out.push(char::from(*byte)),
            other => {
                let _ = write!(out, "\\{other:03o}");
            }
        }
    }
}

fn list(out: &mut String, items: &ArrayRef, ty: PgType, style: &TextStyle) -> Result<()> {
    let items = plain(items)?;
    let nested = matches!(items.data_type(), DataType::List(_));
    let element = if nested { ty } else { PgType::of(element_of(ty.oid).unwrap_or(oid::TEXT)) };
    let vector = matches!(ty.oid, oid::INT2VECTOR | oid::OIDVECTOR);
    let mut item = String::new();
    if !vector {
        out.push('{');
    }
    for row in 0..items.len() {
        if row > 0 {
            out.push(if vector { ' ' } else { ',' });
        }
        if items.is_null(row) {
            out.push_str("NULL");
            continue;
        }
        if let Some(booleans) = items.as_boolean_opt() {
            out.push(if booleans.value(row) { 't' } else { 'f' });
            continue;
        }
        item.clear();
        write_value(&mut item, &items, row, element, style)?;
        if nested { out.push_str(&item) } else { quoted_item(out, &item) }
    }
    if !vector {
        out.push('}');
    }
    Ok(())
}

fn quoted_item(out: &mut String, item: &str) {
    let needs = item.is_empty()
        || item.eq_ignore_ascii_case("null")
        || item
            .contains(|c: char| matches!(c, '{' | '}' | ',' | '"' | '\\') || c.is_ascii_whitespace() || c == '\u{b}');
    if !needs {
        out.push_str(item);
        return;
    }
    out.push('"');
    for c in item.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

fn record(out: &mut String, fields: &StructArray, row: usize, style: &TextStyle) -> Result<()> {
    out.push('(');
    let mut item = String::new();
    for (at, column) in fields.columns().iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        if column.is_null(row) {
            continue;
        }
        item.clear();
        let column = plain(column)?;
        let ty = crate::encode::types::pg_type_of(column.data_type());
        match column.as_boolean_opt() {
            Some(booleans) => item.push(if booleans.value(row) { 't' } else { 'f' }),
            None => write_value(&mut item, &column, row, ty, style)?,
        }
        let special = |c: char| matches!(c, '(' | ')' | ',' | '"' | '\\') || c.is_ascii_whitespace();
        if item.is_empty() || item.contains(special) {
            let _ = write!(out, "\"{}\"", item.replace('\\', "\\\\").replace('"', "\"\""));
        } else {
            out.push_str(&item);
        }
    }
    out.push(')');
    Ok(())
}
