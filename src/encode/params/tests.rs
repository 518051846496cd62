use chrono::DateTime;
use proptest::prelude::*;

use super::*;
use crate::encode::TextStyle;
use crate::encode::column::ColumnWriter;

fn context() -> InputContext {
    InputContext::utc(DateTime::UNIX_EPOCH)
}

fn column_of(value: &ScalarValue, ty: PgType) -> crate::encode::column::Column {
    let array = value.to_array().unwrap();
    let style = std::sync::Arc::new(TextStyle::default());
    ColumnWriter::new(array.data_type(), ty, &style).unwrap().bind(&array).unwrap()
}

/// Writes a value in both formats and reads it back.
fn assert_round_trips(value: ScalarValue, ty: PgType) {
    let column = column_of(&value, ty);
    let (mut text, mut binary) = (Vec::new(), Vec::new());
    assert!(column.write_text(0, &mut text).unwrap());
    assert!(column.write_binary(0, &mut binary).unwrap());
    let from_text = decode_parameter(Some(&text), Format::Text, ty, &context(), 1);
    assert_eq!(from_text.unwrap(), value, "text {}", String::from_utf8_lossy(&text));
    let from_binary = decode_parameter(Some(&binary), Format::Binary, ty, &context(), 1);
    assert_eq!(from_binary.unwrap(), value, "binary {binary:?}");
}

proptest! {
    #[test]
    fn integers_round_trip(small in any::<i16>(), middle in any::<i32>(), large in any::<i64>(), oid in any::<u32>()) {
        assert_round_trips(ScalarValue::Int16(Some(small)), PgType::INT2);
        assert_round_trips(ScalarValue::Int32(Some(middle)), PgType::INT4);
        assert_round_trips(ScalarValue::Int64(Some(large)), PgType::INT8);
        assert_round_trips(ScalarValue::Int64(Some(i64::from(oid))), PgType::OID);
    }

    #[test]
    fn floats_round_trip(double in any::<f64>(), single in any::<f32>()) {
        prop_assume!(!double.is_nan() && !single.is_nan());
        assert_round_trips(ScalarValue::Float64(Some(double)), PgType::FLOAT8);
        assert_round_trips(ScalarValue::Float32(Some(single)), PgType::FLOAT4);
    }

    #[test]
    fn numerics_round_trip(value in -99_999_999_999_999_999_999_999_999_999_999_999_999_i128..=99_999_999_999_999_999_999_999_999_999_999_999_999, shift in 0_u32..38, scale in 0_i8..=38) {
        let value = value / 10_i128.pow(shift);
        assert_round_trips(ScalarValue::Decimal128(Some(value), 38, scale), PgType::numeric(38, scale));
    }

    #[test]
    fn dates_and_times_round_trip(day in -2_440_588..=2_145_042_905_i32, time in 0..=MICROS_PER_DAY, micros in DAY_MIN * MICROS_PER_DAY..i64::MAX) {
        assert_round_trips(ScalarValue::Date32(Some(day)), PgType::DATE);
        assert_round_trips(ScalarValue::Time64Microsecond(Some(time)), PgType::TIME);
        assert_round_trips(ScalarValue::TimestampMicrosecond(Some(micros), None), PgType::TIMESTAMP);
        assert_round_trips(ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into())), PgType::TIMESTAMPTZ);
    }

    #[test]
    fn intervals_round_trip(months in -2_000_000_000..2_000_000_000_i32, days in any::<i32>(), micros in -9_000_000_000_000_000..9_000_000_000_000_000_i64) {
        let value = IntervalValue { months, days, micros };
        assert_round_trips(ScalarValue::IntervalMonthDayNano(Some(value.to_arrow().unwrap())), PgType::INTERVAL);
    }

    #[test]
    fn bytes_and_texts_round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..40), text in "[^\\x00]{0,20}", id in any::<[u8; 16]>()) {
        assert_round_trips(ScalarValue::Binary(Some(bytes)), PgType::BYTEA);
        assert_round_trips(ScalarValue::Utf8(Some(text)), PgType::TEXT);
        let mut canonical = Vec::new();
        crate::encode::text::push_uuid(&mut canonical, &id);
        assert_round_trips(ScalarValue::Utf8(Some(String::from_utf8(canonical).unwrap())), PgType::UUID);
    }

    #[test]
    fn arrays_of_text_round_trip(items in proptest::collection::vec(proptest::option::of("[^\\x00]{0,8}"), 0..6)) {
        let values: Vec<ScalarValue> = items.into_iter().map(ScalarValue::Utf8).collect();
        assert_round_trips(input::list_of(&values, &arrow::datatypes::DataType::Utf8).unwrap(), PgType::of(1009));
    }

    #[test]
    fn no_bytes_make_a_receive_function_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        for info in crate::encode::types::all_types() {
            let _ = receive(&bytes, PgType::of(info.oid));
        }
    }

    #[test]
    fn no_text_makes_an_input_function_panic(text in "\\PC{0,24}|[0-9:\\-+. /TZPYMDeEx{}\\[\\]\",]{0,24}") {
        for info in crate::encode::types::all_types() {
            let _ = input::parse_scalar(&text, PgType::of(info.oid), &context());
        }
    }
}

#[test]
fn binary_of_the_wrong_length_is_refused() {
    let short = decode_parameter(Some(&[0, 1]), Format::Binary, PgType::INT4, &context(), 3).unwrap_err();
    assert_eq!(short.message(), "insufficient data left in message");
    assert_eq!(short.sqlstate(), SqlState::ProtocolViolation);
    let long = decode_parameter(Some(&[0; 5]), Format::Binary, PgType::INT4, &context(), 3).unwrap_err();
    assert_eq!(long.message(), "incorrect binary data format in bind parameter 3");
    assert_eq!(long.sqlstate(), SqlState::InvalidBinaryRepresentation);
}

#[test]
fn a_numeric_that_is_not_a_number_is_refused() {
    let error = receive(&[0, 0, 0, 0, 0xc0, 0, 0, 0], PgType::NUMERIC).unwrap_err();
    assert_eq!(error.sqlstate(), SqlState::NumericValueOutOfRange);
}

/// As many as that of a table's column would take digits from what stands beside the parameter.
#[test]
fn null_of_a_plain_numeric_has_no_digits() {
    let null = |ty| decode_parameter(None, Format::Binary, ty, &context(), 1).unwrap();
    assert_eq!(null(PgType::NUMERIC), ScalarValue::Decimal128(None, 1, 0));
    let modified = PgType { oid: oid::NUMERIC, typmod: ((10 << 16) | 2) + 4 };
    assert_eq!(null(modified), ScalarValue::Decimal128(None, 10, 2));
}
