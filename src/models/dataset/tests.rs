use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Date32Array, Float64Array, StringArray};
use arrow::record_batch::RecordBatch;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool, UnboundedMemoryPool};

use super::*;
use crate::encode::types::PgType;
use crate::error::SqlState;
use crate::models::watch::{StopAfter, Unwatched};

fn plan() -> Plan {
    let feature = |place, name, ty| (place, Feature::new(name, ty).unwrap());
    Plan {
        features: vec![feature(0, "x", PgType::FLOAT8), feature(1, "colour", PgType::TEXT)],
        label: Some(feature(2, "high", PgType::BOOL)),
        classes: true,
        eval_fraction: 0.25,
        seed: 42,
        classes_max: 10,
        ..Plan::default()
    }
}

fn rows(numbers: impl Iterator<Item = usize>) -> RecordBatch {
    let numbers: Vec<usize> = numbers.collect();
    let x: Float64Array = numbers.iter().map(|n| (n % 7 != 0).then(|| (n % 83) as f64)).collect();
    let colour: StringArray = numbers.iter().map(|n| (n % 5 != 0).then_some(["red", "green", "blue"][n % 3])).collect();
    let high: BooleanArray = numbers.iter().map(|n| (n % 11 != 0).then_some(n % 83 > 40)).collect();
    let columns: [(&str, ArrayRef); 3] = [("x", Arc::new(x)), ("colour", Arc::new(colour)), ("high", Arc::new(high))];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn dataset(batches: &[RecordBatch]) -> Dataset {
    let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
    let mut builder = Builder::new(plan(), &pool);
    batches.iter().for_each(|batch| builder.push(batch).unwrap());
    builder.finish(batches.len(), &Unwatched).unwrap()
}

fn texts(dataset: &Dataset) -> Vec<String> {
    let of = |row: usize| {
        let values = dataset.columns.iter().map(|column| match column {
            Values::Numbers(numbers) => format!("{:?}", numbers[row]),
            Values::Codes { codes, texts } => texts.get(codes[row] as usize).cloned().unwrap_or_default(),
        });
        let Target::Classes { codes, classes } = &dataset.target else { panic!("no classes") };
        values.chain([classes[codes[row] as usize].clone()]).collect::<Vec<_>>().join("|")
    };
    (0..dataset.rows).map(of).collect()
}

#[test]
fn the_order_of_arrival_changes_nothing() {
    let whole = dataset(&[rows(0..2000)]);
    let parts = dataset(&[rows((1000..2000).rev()), rows(0..300), rows((300..1000).rev())]);
    assert_eq!(texts(&whole), texts(&parts));
    assert_eq!((whole.rows, whole.train_rows), (parts.rows, parts.train_rows));
    assert_eq!(whole.rows, 2000 - 2000_usize.div_ceil(11));
    assert_eq!(whole.skipped.get("label is null"), Some(&2000_u64.div_ceil(11)));
    let share = (whole.rows - whole.train_rows) as f64 / whole.rows as f64;
    assert!((0.15..0.35).contains(&share), "{share}");
}

#[test]
fn equal_rows_are_spread_and_split_as_others_are() {
    let few = |count: usize| rows((0..count).map(|number| number % 12 + 1));
    let (whole, parts) = (dataset(&[few(6000)]), dataset(&[few(2400), few(2400), few(1200)]));
    assert_eq!(texts(&whole), texts(&parts));
    let of = texts(&whole);
    let (train, held_out) = of.split_at(whole.train_rows);
    let distinct = |rows: &[String]| rows.iter().collect::<std::collections::BTreeSet<_>>().len();
    assert_eq!([distinct(train), distinct(held_out), distinct(&of[..200])], [11; 3]);
    assert!((0.22..0.28).contains(&(held_out.len() as f64 / of.len() as f64)), "{}", held_out.len());
}

#[test]
fn texts_are_coded_by_frequency_and_classes_in_their_order() {
    let dataset = dataset(&[rows(0..500)]);
    let Values::Codes { texts, codes } = &dataset.columns[1] else { panic!("no codes") };
    let count = |code: u32| codes.iter().filter(|other| **other == code).count();
    assert_eq!(texts.len(), 3);
    assert!(count(0) >= count(1) && count(1) >= count(2) && count(MISSING) > 0);
    let Target::Classes { classes, .. } = &dataset.target else { panic!("no classes") };
    assert_eq!(classes, &["false", "true"]);
}

#[test]
fn what_is_held_is_what_is_there() {
    let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
    let mut builder = Builder::new(plan(), &pool);
    // Vectors grow by doubling: they have room for more than there is.
    for start in (0..4100).step_by(100) {
        builder.push(&rows(start..start + 100)).unwrap();
    }
    let dataset = builder.finish(1, &Unwatched).unwrap();
    // A number, a code and a class of each.
    let (rows, texts) = (dataset.rows * (8 + 4 + 4), 2 * 1024);
    assert!((rows..rows + texts).contains(&dataset.bytes()), "{} {rows}", dataset.bytes());
    assert_eq!(pool.reserved(), dataset.bytes());
}

#[test]
fn a_full_pool_refuses() {
    let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(10_000));
    let mut builder = Builder::new(plan(), &pool);
    let refused = (0..100).find_map(|_| builder.push(&rows(0..100)).err()).unwrap();
    assert_eq!(refused.sqlstate(), SqlState::OutOfMemory);
    drop(builder);
    assert_eq!(pool.reserved(), 0);
}

/// Rows of twenty features in a pool that is theirs, with so many bytes to spare for each row.
fn wide(rows: usize, spare: usize, threads: usize) -> Result<Dataset, SqlState> {
    let plan = Plan {
        features: (0..20).map(|place| (place, Feature::new(&format!("x{place}"), PgType::FLOAT8).unwrap())).collect(),
        label: None,
        ..plan()
    };
    let column = |place: usize| -> ArrayRef {
        Arc::new((0..rows).map(|row| Some((row * (place + 3) % 1009) as f64)).collect::<Float64Array>())
    };
    let batch = RecordBatch::try_from_iter((0..20).map(|place| (format!("x{place}"), column(place)))).unwrap();
    let pushed = |pool: &Arc<dyn MemoryPool>| {
        let mut builder = Builder::new(plan.clone(), pool);
        builder.push(&batch).unwrap();
        builder
    };
    let unbounded: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
    let builder = pushed(&unbounded);
    let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(unbounded.reserved() + rows * spare));
    drop(builder);
    let finished = pushed(&pool).finish(threads, &Unwatched).map_err(|error| error.sqlstate());
    assert_eq!(pool.reserved(), finished.as_ref().map_or(0, Dataset::bytes));
    finished
}

#[test]
fn columns_move_as_the_pool_has_room_for_them() {
    let numbers = |dataset: &Dataset| {
        let column = |values: &Values| match values {
            Values::Numbers(numbers) => numbers.clone(),
            Values::Codes { .. } => panic!("no numbers"),
        };
        dataset.columns.iter().map(column).collect::<Vec<_>>()
    };
    let (few, many) = (wide(5000, 34, 20).unwrap(), wide(5000, 500, 20).unwrap());
    assert_eq!(numbers(&few), numbers(&many));
    assert_eq!(numbers(&few), numbers(&wide(5000, 34, 1).unwrap()));
    assert_eq!(wide(5000, 30, 1).map(|_| ()), Err(SqlState::OutOfMemory));
}

#[test]
fn whoever_puts_rows_in_order_can_be_stopped() {
    let finish = |questions: usize| {
        let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        let mut builder = Builder::new(plan(), &pool);
        builder.push(&rows(0..20_000)).unwrap();
        let watch = StopAfter::new(questions);
        let finished = builder.finish(1, &watch).map(|dataset| dataset.rows).map_err(|error| error.sqlstate());
        assert_eq!(pool.reserved(), 0);
        (finished, questions - watch.left())
    };
    let (rows, asked) = finish(1000);
    // For each of four buckets, twice as rows are equal, and for each column.
    assert!(rows.is_ok() && asked >= 2 * 4 + 3, "{asked}");
    for questions in 0..asked {
        assert_eq!(finish(questions).0, Err(SqlState::QueryCanceled));
    }
}

#[test]
fn another_seed_holds_out_other_rows() {
    let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
    let mut builder = Builder::new(Plan { seed: 7, ..plan() }, &pool);
    builder.push(&rows(0..2000)).unwrap();
    assert_ne!(texts(&builder.finish(1, &Unwatched).unwrap()), texts(&dataset(&[rows(0..2000)])));
}

#[test]
fn numbers_as_classes_have_one_zero_and_no_nan() {
    let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
    let feature = |place, name| (place, Feature::new(name, PgType::FLOAT8).unwrap());
    let plan =
        Plan { features: vec![feature(0, "x")], label: Some(feature(1, "y")), classes: true, classes_max: 9, ..plan() };
    let x: Float64Array = (0..60).map(|row| Some(f64::from(row))).collect();
    let label = |row: usize| [Some(0.0), Some(-0.0), Some(f64::NAN), None, Some(1.5), Some(-f64::NAN)][row % 6];
    let columns: [(&str, ArrayRef); 2] =
        [("x", Arc::new(x)), ("y", Arc::new((0..60).map(label).collect::<Float64Array>()))];
    let mut builder = Builder::new(plan, &pool);
    builder.push(&RecordBatch::try_from_iter(columns).unwrap()).unwrap();
    let dataset = builder.finish(2, &Unwatched).unwrap();
    let Target::Classes { classes, .. } = &dataset.target else { panic!("no classes") };
    assert_eq!((classes.as_slice(), dataset.rows), (["0".to_owned(), "1.5".to_owned()].as_slice(), 30));
    assert_eq!(dataset.skipped, [("label is NaN", 20), ("label is null", 10)].into());
}

#[test]
fn classes_stand_in_the_order_of_their_values() {
    let label = |array: ArrayRef, ty| {
        let plan = Plan { features: vec![], label: Some((0, Feature::new("y", ty).unwrap())), ..plan() };
        let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        let mut builder = Builder::new(plan, &pool);
        builder.push(&RecordBatch::try_from_iter([("y", array)]).unwrap()).unwrap();
        let dataset = builder.finish(1, &Unwatched).unwrap();
        let Target::Classes { classes, .. } = dataset.target else { panic!("no classes") };
        classes
    };
    let numbers = Float64Array::from(vec![10.0, 9.0, -1.5, -0.0, 0.0]);
    assert_eq!(label(Arc::new(numbers), PgType::FLOAT8), ["-1.5", "0", "9", "10"]);
    let days = Date32Array::from(vec![2_932_897, 0, -735_160]);
    assert_eq!(label(Arc::new(days), PgType::DATE), ["0044-03-15 BC", "1970-01-01", "10000-01-01"]);
    let texts = StringArray::from(vec!["9", "10", "9"]);
    assert_eq!(label(Arc::new(texts), PgType::TEXT), ["10", "9"]);
}
