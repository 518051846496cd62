use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Date32Array, Decimal128Array, Int32Array, Int64Array, StringArray};
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool, UnboundedMemoryPool};

use super::*;

fn pool() -> Arc<dyn MemoryPool> {
    Arc::new(UnboundedMemoryPool::default())
}

fn unique(batches: &[Vec<ArrayRef>]) -> (u64, bool) {
    let keys = UniqueKeys::new(&pool(), usize::MAX);
    batches.iter().for_each(|batch| keys.see(batch).unwrap());
    let seen = keys.seen().unwrap();
    (keys.rows(), (0..3).all(|share| seen.differ(share, 3)))
}

fn long(values: Vec<Option<i64>>) -> ArrayRef {
    Arc::new(Int64Array::from(values))
}

#[test]
fn a_key_that_comes_twice_is_found() {
    assert_eq!(unique(&[]), (0, true));
    let extremes = long(vec![Some(i64::MIN), Some(i64::MAX), Some(0), Some(-1), None, None]);
    assert_eq!(unique(&[vec![Arc::clone(&extremes)]]), (4, true));
    assert_eq!(unique(&[vec![Arc::clone(&extremes)], vec![long(vec![Some(7)])]]), (5, true));
    assert_eq!(unique(&[vec![Arc::clone(&extremes)], vec![long(vec![Some(i64::MAX)])]]), (5, false));
    assert_eq!(unique(&[vec![long(vec![Some(3), None, Some(3)])]]), (2, false));
    let many: Vec<_> = (0..100_000).map(|value| Some(value * 1_000_003 - 50_000_000_000)).collect();
    assert_eq!(unique(&[vec![long(many.clone())], vec![long(vec![Some(1)])]]), (100_001, true));
    let again = many.get(77_777).copied().into_iter().collect();
    assert_eq!(unique(&[vec![long(many)], vec![long(again)]]), (100_001, false));
}

#[test]
fn keys_of_several_columns_differ_in_any_of_them() {
    let days: ArrayRef = Arc::new(Date32Array::from(vec![Some(-1), Some(-1), Some(1), None]));
    let lines: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), Some(-1), Some(1), Some(1)]));
    let flags: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), None, Some(true), Some(false)]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["", "a longer text", "a longer tex", "\0"]));
    let amounts: ArrayRef = Arc::new(Decimal128Array::from(vec![i128::MIN, i128::MAX, 0, 1]));
    assert_eq!(unique(&[vec![Arc::clone(&days), Arc::clone(&lines)]]), (3, true));
    assert_eq!(unique(&[vec![Arc::clone(&days)]]), (3, false));
    assert_eq!(unique(&[vec![lines, flags, texts, amounts, days]]), (2, true));
    let text = |values: Vec<&str>| -> ArrayRef { Arc::new(StringArray::from(values)) };
    assert_eq!(unique(&[vec![text(vec!["ab", "a"]), text(vec!["c", "bc"])]]), (2, true));
    assert_eq!(unique(&[vec![text(vec!["ab", "ab"]), text(vec!["c", "c"])]]), (2, false));
}

#[test]
fn many_keys_that_are_the_same_take_no_table() {
    let keys = |count: i64, same: i64| long((0..count).map(|row| Some(if row < same { 7 } else { row })).collect());
    let seen = UniqueKeys::new(&pool(), usize::MAX);
    seen.see(&[keys(1_000_000, 900_000)]).unwrap();
    let seen = seen.seen().unwrap();
    assert_eq!((0..PARTS).filter(|part| !seen.differ(*part, PARTS)).count(), 1);
    assert_eq!((0..PARTS).filter_map(|part| seen.count(part)).count(), PARTS - 1);
    assert_eq!(unique(&[vec![keys(1_000_000, 0)]]), (1_000_000, true));
}

#[test]
fn without_memory_nothing_is_proved() {
    let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1 << 10));
    let keys = UniqueKeys::new(&pool, usize::MAX);
    keys.see(&[long(vec![Some(1)])]).unwrap();
    keys.see(&[long((0..1000).map(Some).collect())]).unwrap();
    keys.see(&[long(vec![Some(1)])]).unwrap();
    assert_eq!((keys.rows(), keys.seen().is_none(), pool.reserved()), (1002, true, 0));
    let mut collection = KeyCollection::new(&pool);
    assert!(!collection.add(&long((0..1000).map(Some).collect())).unwrap());
}

#[test]
fn references_find_their_keys() {
    let missing = |keys: Vec<Option<i64>>, values: Vec<Option<i64>>| {
        let mut collection = KeyCollection::new(&pool());
        assert!(collection.add(&long(keys)).unwrap());
        let references = References::to(Arc::new(collection.finish()));
        references.see(&[long(values)]).unwrap();
        (references.rows(), references.missing())
    };
    let (low, high) = (Some(i64::MIN), Some(i64::MAX));
    assert_eq!(missing(vec![], vec![Some(0), None, high]), (2, 2));
    assert_eq!(missing(vec![None], vec![Some(0)]), (1, 1));
    assert_eq!(missing(vec![low, high, Some(0), None], vec![low, high, Some(0), Some(-1), Some(1), None]), (5, 2));
    assert_eq!(missing(vec![Some(-3), Some(60), Some(-3)], vec![Some(-3), Some(60), Some(61), low, high]), (5, 3));
    assert_eq!(missing(vec![high], vec![low, high]), (2, 1));
    assert_eq!(missing(vec![low], vec![low, high]), (2, 1));
    let sparse: Vec<_> = (0..10_000).map(|value| Some(value * 1_000_000_007)).collect();
    let shifted = sparse.iter().map(|value| value.map(|value| value + 1)).collect();
    assert_eq!(missing(sparse.clone(), shifted), (10_000, 10_000));
    assert_eq!(missing(sparse.clone(), sparse), (10_000, 0));
}
