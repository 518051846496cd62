//! Rows a second of the encoder on TPC-H lineitem's sixteen columns, on one core.

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringViewArray};
use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lakegate::encode::TextStyle;
use lakegate::encode::rows::RowEncoder;
use lakegate::encode::types::{Format, OutputColumn, pg_type_of};

const ROWS: usize = 8192;

fn money(at: usize) -> i128 {
    (at as i128 * 104_729) % 9_000_000 + 90_000
}

fn words(choices: &'static [&'static str]) -> ArrayRef {
    Arc::new((0..ROWS).map(|at| choices.get(at * 7 % choices.len()).copied()).collect::<StringViewArray>())
}

fn decimals(value: impl Fn(usize) -> i128) -> Option<ArrayRef> {
    let array: Decimal128Array = (0..ROWS).map(|at| Some(value(at))).collect();
    array.with_precision_and_scale(15, 2).ok().map(|array| Arc::new(array) as ArrayRef)
}

fn dates(step: usize) -> ArrayRef {
    Arc::new((0..ROWS).map(|at| Some(8036 + (at * step % 2526) as i32)).collect::<Date32Array>())
}

fn keys(step: usize) -> ArrayRef {
    Arc::new((0..ROWS).map(|at| Some((at * step % 6_000_000) as i64 + 1)).collect::<Int64Array>())
}

fn lineitem() -> Option<RecordBatch> {
    let comments = (0..ROWS).map(|at| "carefully regular packages above the quickly".get(..10 + at * 31 % 34));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("l_orderkey", keys(3)),
        ("l_partkey", keys(7919)),
        ("l_suppkey", keys(104_729)),
        ("l_linenumber", Arc::new((0..ROWS).map(|at| Some(at as i32 % 7 + 1)).collect::<Int32Array>())),
        ("l_quantity", decimals(|at| (at as i128 % 50 + 1) * 100)?),
        ("l_extendedprice", decimals(money)?),
        ("l_discount", decimals(|at| at as i128 % 11)?),
        ("l_tax", decimals(|at| at as i128 % 9)?),
        ("l_returnflag", words(&["A", "N", "R"])),
        ("l_linestatus", words(&["O", "F"])),
        ("l_shipdate", dates(31)),
        ("l_commitdate", dates(37)),
        ("l_receiptdate", dates(41)),
        ("l_shipinstruct", words(&["DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"])),
        ("l_shipmode", words(&["REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB"])),
        ("l_comment", Arc::new(comments.collect::<StringViewArray>())),
    ];
    RecordBatch::try_from_iter(columns).ok()
}

fn rows(criterion: &mut Criterion) {
    let Some(batch) = lineitem() else { return };
    let schema = batch.schema();
    let columns: Vec<OutputColumn> =
        schema.fields().iter().map(|field| OutputColumn::new(field.name(), pg_type_of(field.data_type()))).collect();
    let mut group = criterion.benchmark_group("lineitem");
    group.throughput(Throughput::Elements(ROWS as u64));
    for (name, format) in [("text", Format::Text), ("binary", Format::Binary)] {
        let style = Arc::new(TextStyle::default());
        let Ok(mut encoder) = RowEncoder::new(&schema, &columns, &[format], &style) else { continue };
        let mut out = BytesMut::with_capacity(512 << 10);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut row = 0;
                while row < ROWS {
                    out.clear();
                    match encoder.encode(&batch, row, 256 << 10, &mut out) {
                        Ok(count) if count > 0 => row += count,
                        _ => return,
                    }
                    black_box(out.as_ref());
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, rows);
criterion_main!(benches);
