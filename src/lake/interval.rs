//! Intervals as Delta tables hold them: ISO 8601 durations with a sign for each part, `P1Y2M-3DT4H5M6.000007S`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, IntervalMonthDayNanoArray, IntervalMonthDayNanoBuilder, StringViewArray};
use arrow::array::{StringViewBuilder, cast::as_string_array};
use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::error::{Error, Result, SqlState};

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// The texts of intervals.
pub(super) fn encode(intervals: &IntervalMonthDayNanoArray) -> StringViewArray {
    let mut builder = StringViewBuilder::with_capacity(intervals.len());
    let mut text = String::new();
    for value in intervals {
        match value {
            None => builder.append_null(),
            Some(value) => {
                text.clear();
                write_iso(value, &mut text);
                builder.append_value(&text);
            }
        }
    }
    builder.finish()
}

fn write_iso(value: IntervalMonthDayNano, text: &mut String) {
    use std::fmt::Write;
    let seconds = value.nanoseconds / NANOS_PER_SECOND as i64;
    let nanos = value.nanoseconds % NANOS_PER_SECOND as i64;
    let parts =
        [(i64::from(value.months / 12), 'Y'), (i64::from(value.months % 12), 'M'), (i64::from(value.days), 'D')];
    text.push('P');
    for (amount, unit) in parts {
        if amount != 0 {
            // Writing to a String cannot fail.
            let _ = write!(text, "{amount}{unit}");
        }
    }
    if value.nanoseconds == 0 {
        if text.len() == 1 {
            text.push_str("T0S");
        }
        return;
    }
    text.push('T');
    for (amount, unit) in [(seconds / 3600, 'H'), (seconds / 60 % 60, 'M')] {
        if amount != 0 {
            let _ = write!(text, "{amount}{unit}");
        }
    }
    let seconds = seconds % 60;
    if seconds != 0 || nanos != 0 {
        let sign = if value.nanoseconds < 0 { "-" } else { "" };
        let _ = write!(text, "{sign}{}", seconds.abs());
        if nanos != 0 {
            let digits = format!("{:09}", nanos.abs());
            let _ = write!(text, ".{}", digits.trim_end_matches('0'));
        }
        text.push('S');
    }
}

/// Reads a duration. `None` for a text that is none or does not fit.
fn parse_iso(text: &str) -> Option<IntervalMonthDayNano> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let text = text.strip_prefix('P')?;
    let (date, time) = text.split_once('T').map_or((text, None), |(date, time)| (date, Some(time)));
    let (mut months, mut days, mut nanos) = (0_i128, 0_i128, 0_i128);
    for part in Parts(date) {
        let (amount, unit) = part?;
        let whole = (amount % NANOS_PER_SECOND == 0).then_some(amount / NANOS_PER_SECOND)?;
        match unit {
            'Y' => months = months.checked_add(whole.checked_mul(12)?)?,
            'M' => months = months.checked_add(whole)?,
            'W' => days = days.checked_add(whole.checked_mul(7)?)?,
            'D' => days = days.checked_add(whole)?,
            _ => return None,
        }
    }
    for part in Parts(time.unwrap_or_default()) {
        let (amount, unit) = part?;
        let seconds = match unit {
            'H' => 3600,
            'M' => 60,
            'S' => 1,
            _ => return None,
        };
        nanos = nanos.checked_add(amount.checked_mul(seconds)?)?;
    }
    if date.is_empty() && time.unwrap_or_default().is_empty() {
        return None;
    }
    let sign = if negative { -1 } else { 1 };
    Some(IntervalMonthDayNano {
        months: i32::try_from(sign * months).ok()?,
        days: i32::try_from(sign * days).ok()?,
        nanoseconds: i64::try_from(sign * nanos).ok()?,
    })
}

/// The numbers of a duration with their units; numbers are in billionths.
struct Parts<'a>(&'a str);

impl Iterator for Parts<'_> {
    type Item = Option<(i128, char)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let text = std::mem::take(&mut self.0);
        let Some((end, unit)) = text.char_indices().find(|(_, c)| c.is_ascii_alphabetic()) else {
            return Some(None);
        };
        let (number, rest) = text.split_at(end);
        self.0 = rest.get(unit.len_utf8()..).unwrap_or_default();
        Some(billionths(number).map(|amount| (amount, unit)))
    }
}

fn billionths(number: &str) -> Option<i128> {
    let (negative, digits) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || fraction.len() > 9 || !(whole.bytes().chain(fraction.bytes())).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let whole = whole.parse::<i64>().ok()?;
    let fraction = format!("{fraction:0<9}").parse::<i64>().ok()?;
    let amount = i128::from(whole) * NANOS_PER_SECOND + i128::from(fraction);
    Some(if negative { -amount } else { amount })
}

/// The intervals of texts.
///
/// # Errors
/// XX001 for a text that is no duration: the table holds something else than was noted.
fn decode<'a>(texts: impl ExactSizeIterator<Item = Option<&'a str>>) -> Result<IntervalMonthDayNanoArray> {
    let mut builder = IntervalMonthDayNanoBuilder::with_capacity(texts.len());
    for text in texts {
        match text {
            None => builder.append_null(),
            Some(text) => builder.append_value(parse_iso(text).ok_or_else(|| {
                Error::new(SqlState::DataCorrupted, format!("invalid interval in a table's file: \"{text}\""))
            })?),
        }
    }
    Ok(builder.finish())
}

/// The function that a scan puts on stored intervals.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DecodeInterval {
    signature: Signature,
}

impl DecodeInterval {
    pub(super) fn new() -> Self {
        Self { signature: Signature::exact(vec![DataType::Utf8View], Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for DecodeInterval {
    fn name(&self) -> &str {
        "lakegate_decode_interval"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let rows = args.number_rows;
        let Some(argument) = args.args.into_iter().next() else {
            return Err(DataFusionError::Internal("an interval's text is missing".to_owned()));
        };
        let texts = argument.into_array(rows)?;
        let decoded = match texts.data_type() {
            DataType::Utf8View => decode(texts.as_string_view().iter()),
            DataType::Utf8 => decode(as_string_array(&texts).iter()),
            other => Err(Error::internal(format!("an interval is stored as {other}"))),
        };
        let decoded: ArrayRef = Arc::new(decoded.map_err(Error::into_datafusion)?);
        Ok(ColumnarValue::Array(decoded))
    }
}

/// The array as intervals, whatever it was.
pub(super) fn as_intervals(array: &ArrayRef) -> Option<&IntervalMonthDayNanoArray> {
    array.as_primitive_opt::<IntervalMonthDayNanoType>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn interval(months: i32, days: i32, nanoseconds: i64) -> IntervalMonthDayNano {
        IntervalMonthDayNano { months, days, nanoseconds }
    }

    fn text(value: IntervalMonthDayNano) -> String {
        let mut text = String::new();
        write_iso(value, &mut text);
        text
    }

    #[test]
    fn intervals_are_iso_8601() {
        for (value, expected) in [
            (interval(0, 0, 0), "PT0S"),
            (interval(14, -3, 14_706_000_007_000), "P1Y2M-3DT4H5M6.000007S"),
            (interval(-14, 0, -1_500_000_000), "P-1Y-2MT-1.5S"),
            (interval(0, 0, -500_000_000), "PT-0.5S"),
            (interval(0, 1, 0), "P1D"),
        ] {
            assert_eq!(text(value), expected);
            assert_eq!(parse_iso(expected), Some(value));
        }
        assert_eq!(parse_iso("-P1WT1H"), Some(interval(0, -7, -3_600_000_000_000)));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "P", "PT", "1D", "P1", "P1.5D", "PxD", "P1H", "PT1D", "P99999999999Y", "P1D2", "PT.5S"] {
            assert_eq!(parse_iso(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_interval_reads_back(months: i32, days: i32, nanoseconds: i64) {
            let value = interval(months, days, nanoseconds);
            prop_assert_eq!(parse_iso(&text(value)), Some(value));
        }

        #[test]
        fn no_text_panics(text in "[-P0-9YMWDTHS.+é]{0,20}") {
            let _ = parse_iso(&text);
        }
    }
}
