//! The encoder against a slow one that knows only values, and columns of every accepted layout.

use std::sync::Arc;

use arrow::array::*;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use bytes::BytesMut;

use super::*;
use crate::encode::rows::RowEncoder;
use crate::encode::types::{Format, OutputColumn, pg_type_of};

fn style() -> Arc<TextStyle> {
    Arc::new(TextStyle::default())
}

fn texts(array: ArrayRef, ty: PgType) -> Vec<Option<String>> {
    let column = ColumnWriter::new(array.data_type(), ty, &style()).unwrap().bind(&array).unwrap();
    let text = |row| {
        let mut out = Vec::new();
        column.write_text(row, &mut out).unwrap().then(|| String::from_utf8(out).unwrap())
    };
    (0..array.len()).map(text).collect()
}

fn some(values: &[&str]) -> Vec<Option<String>> {
    values.iter().map(|value| Some((*value).to_owned())).collect()
}

#[test]
fn every_layout_of_a_string_is_written() {
    let plain: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("longer than twelve bytes")]));
    let expected = vec![Some("a".to_owned()), None, Some("longer than twelve bytes".to_owned())];
    let dictionary = |key| DataType::Dictionary(Box::new(key), Box::new(DataType::Utf8));
    for layout in [
        DataType::Utf8,
        DataType::LargeUtf8,
        DataType::Utf8View,
        dictionary(DataType::UInt16),
        dictionary(DataType::Int8),
    ] {
        let array = cast(&plain, &layout).unwrap();
        assert_eq!(texts(array, PgType::TEXT), expected, "{layout}");
    }
}

#[test]
fn numbers_of_other_widths_are_written() {
    assert_eq!(
        texts(Arc::new(UInt64Array::from(vec![u64::MAX])), PgType::numeric(20, 0)),
        some(&["18446744073709551615"])
    );
    assert_eq!(texts(Arc::new(UInt8Array::from(vec![255])), PgType::INT2), some(&["255"]));
    assert_eq!(texts(Arc::new(Int64Array::from(vec![7])), PgType::INT2), some(&["7"]));
    assert_eq!(texts(Arc::new(Int64Array::from(vec![4_294_967_295])), PgType::OID), some(&["4294967295"]));
    let decimal = Decimal256Array::from(vec![arrow::datatypes::i256::from_i128(-1050)]).with_precision_and_scale(50, 2);
    assert_eq!(texts(Arc::new(decimal.unwrap()), PgType::NUMERIC), some(&["-10.50"]));
    let stored = Decimal128Array::from(vec![15_000_000_000, 0, 10]).with_precision_and_scale(38, 10).unwrap();
    assert_eq!(texts(Arc::new(stored), PgType::NUMERIC), some(&["1.5", "0", "0.000000001"]));
}

#[test]
fn times_of_other_units_are_written() {
    let nanos = TimestampNanosecondArray::from(vec![1_500_000_000]).with_timezone("Europe/Berlin");
    assert_eq!(texts(Arc::new(nanos), PgType::TIMESTAMPTZ), some(&["1970-01-01 00:00:01.5+00"]));
    let seconds = TimestampSecondArray::from(vec![-1]);
    assert_eq!(texts(Arc::new(seconds), PgType::TIMESTAMP), some(&["1969-12-31 23:59:59"]));
    let millis = Time32MillisecondArray::from(vec![1500]);
    assert_eq!(texts(Arc::new(millis), PgType::TIME), some(&["00:00:01.5"]));
    let date = Date64Array::from(vec![86_400_000]);
    assert_eq!(texts(Arc::new(date), PgType::DATE), some(&["1970-01-02"]));
    let months = IntervalYearMonthArray::from(vec![14]);
    assert_eq!(texts(Arc::new(months), PgType::INTERVAL), some(&["1 year 2 mons"]));
    let duration = DurationSecondArray::from(vec![3661]);
    assert_eq!(texts(Arc::new(duration), PgType::INTERVAL), some(&["01:01:01"]));
    let stored = StringArray::from(vec!["P1DT2H"]);
    assert_eq!(texts(Arc::new(stored), PgType::INTERVAL), some(&["1 day 02:00:00"]));
}

#[test]
fn records_and_maps_are_written() {
    let record = StructArray::from(vec![
        (Arc::new(Field::new("a", DataType::Int32, true)), Arc::new(Int32Array::from(vec![Some(1), None])) as ArrayRef),
        (
            Arc::new(Field::new("b", DataType::Utf8, true)),
            Arc::new(StringArray::from(vec!["a b", "q\"\\"])) as ArrayRef,
        ),
    ]);
    let record: ArrayRef = Arc::new(record);
    assert_eq!(texts(Arc::clone(&record), PgType::RECORD), some(&["(1,\"a b\")", "(,\"q\"\"\\\\\")"]));
    assert_eq!(
        texts(record, PgType::JSONB),
        some(&["{\"a\": 1, \"b\": \"a b\"}", "{\"a\": null, \"b\": \"q\\\"\\\\\"}"])
    );
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    map.keys().append_value("k");
    map.values().append_value(5);
    map.append(true).unwrap();
    assert_eq!(texts(Arc::new(map.finish()), PgType::JSONB), some(&["{\"k\": 5}"]));
}

#[test]
fn lists_of_every_layout_are_written() {
    let mut list = ListBuilder::new(Int32Builder::new());
    list.append_value([Some(1), None]);
    list.append_value([]);
    let list: ArrayRef = Arc::new(list.finish());
    let item = Arc::new(Field::new_list_field(DataType::Int32, true));
    for layout in [DataType::List(Arc::clone(&item)), DataType::LargeList(item)] {
        let array = cast(&list, &layout).unwrap();
        assert_eq!(texts(array, PgType::of(1007)), some(&["{1,NULL}", "{}"]), "{layout}");
    }
}

/// A batch with NULLs in every other row of most columns.
fn mixed_batch(rows: usize) -> RecordBatch {
    let null_at = |row: usize, step: usize| row % step == step - 1;
    let int: Int64Array = (0..rows).map(|row| (!null_at(row, 3)).then_some(row as i64 * 7 - 50)).collect();
    let decimal: Decimal128Array =
        (0..rows).map(|row| (!null_at(row, 4)).then_some(row as i128 * 12_345 - 5)).collect();
    let text: StringViewArray = (0..rows).map(|row| (!null_at(row, 5)).then(|| "x".repeat(row % 40))).collect();
    let day: Date32Array = (0..rows).map(|row| Some(row as i32 * 1000 - 400_000)).collect();
    let moment: TimestampMicrosecondArray =
        (0..rows).map(|row| (!null_at(row, 2)).then_some(row as i64 * 99_999_999_999)).collect();
    let flag: BooleanArray = (0..rows).map(|row| Some(row % 2 == 0)).collect();
    let float: Float64Array = (0..rows).map(|row| Some(row as f64 / 7.0)).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("int", Arc::new(int)),
        ("decimal", Arc::new(decimal.with_precision_and_scale(15, 2).unwrap())),
        ("text", Arc::new(text)),
        ("day", Arc::new(day)),
        ("moment", Arc::new(moment.with_timezone("UTC"))),
        ("flag", Arc::new(flag)),
        ("float", Arc::new(float)),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn outputs(schema: &Schema) -> Vec<OutputColumn> {
    schema.fields().iter().map(|field| OutputColumn::new(field.name(), pg_type_of(field.data_type()))).collect()
}

/// One message after the other, each value on its own.
fn slow(batch: &RecordBatch, formats: &[Format]) -> Vec<u8> {
    let mut all = Vec::new();
    for row in 0..batch.num_rows() {
        let mut body = (batch.num_columns() as u16).to_be_bytes().to_vec();
        for (array, format) in batch.columns().iter().zip(formats) {
            let one = array.slice(row, 1);
            let ty = pg_type_of(one.data_type());
            let column = ColumnWriter::new(one.data_type(), ty, &style()).unwrap().bind(&one).unwrap();
            let mut value = Vec::new();
            let there = match format {
                Format::Text => column.write_text(0, &mut value).unwrap(),
                Format::Binary => column.write_binary(0, &mut value).unwrap(),
            };
            let length = if there { value.len() as i32 } else { -1 };
            body.extend_from_slice(&length.to_be_bytes());
            body.extend_from_slice(&value);
        }
        all.push(b'D');
        all.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        all.extend_from_slice(&body);
    }
    all
}

#[test]
fn rows_are_what_the_slow_encoder_writes() {
    let batch = mixed_batch(1000);
    let schema = batch.schema();
    let columns = outputs(&schema);
    let mixed =
        [Format::Text, Format::Binary, Format::Text, Format::Binary, Format::Text, Format::Binary, Format::Text];
    for formats in [vec![Format::Text; 7], vec![Format::Binary; 7], mixed.to_vec()] {
        let mut encoder = RowEncoder::new(&schema, &columns, &formats, &style()).unwrap();
        let mut whole = BytesMut::new();
        assert_eq!(encoder.encode(&batch, 0, usize::MAX, &mut whole).unwrap(), 1000);
        assert_eq!(whole.as_ref(), slow(&batch, &formats), "{formats:?}");
        let sliced = batch.slice(13, 50);
        let mut part = BytesMut::new();
        assert_eq!(encoder.encode(&sliced, 0, usize::MAX, &mut part).unwrap(), 50);
        assert_eq!(part.as_ref(), slow(&sliced, &formats), "{formats:?}");
    }
}

#[test]
fn encoding_stops_at_the_limit_and_goes_on_where_it_stopped() {
    let batch = mixed_batch(500);
    let schema = batch.schema();
    let formats = [Format::Text];
    let mut encoder = RowEncoder::new(&schema, &outputs(&schema), &formats, &style()).unwrap();
    let (mut all, mut row) = (Vec::new(), 0);
    while row < batch.num_rows() {
        let mut piece = BytesMut::new();
        let rows = encoder.encode(&batch, row, 1000, &mut piece).unwrap();
        assert!(rows > 0 && piece.len() < 1500);
        row += rows;
        all.extend_from_slice(&piece);
    }
    assert_eq!(all, slow(&batch, &[Format::Text; 7]));
}

#[test]
fn a_wrong_number_of_formats_is_refused() {
    let batch = mixed_batch(1);
    let schema = batch.schema();
    let error = RowEncoder::new(&schema, &outputs(&schema), &[Format::Text; 2], &style()).unwrap_err();
    assert_eq!(error.message(), "bind message has 2 result formats but query has 7 columns");
}

#[test]
fn a_timestamp_without_zone_is_not_moved() {
    let moments = TimestampMillisecondArray::from(vec![0]);
    assert_eq!(moments.data_type(), &DataType::Timestamp(TimeUnit::Millisecond, None));
    assert_eq!(texts(Arc::new(moments), PgType::TIMESTAMP), some(&["1970-01-01 00:00:00"]));
}
