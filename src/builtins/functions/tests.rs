//! The registry as a whole, and aggregates through the engine.

use std::collections::HashMap;

use super::*;
use crate::encode::types::oid;

#[test]
fn every_declared_type_is_known() {
    for function in all() {
        let unknown = function.arguments.contains(&oid::UNKNOWN) || function.returns == oid::UNKNOWN;
        assert!(!unknown, "{function:?}");
    }
}

#[test]
fn oids_and_signatures_are_unique() {
    let mut oids = HashMap::new();
    let mut signatures = HashMap::new();
    for function in all() {
        if let Some(other) = oids.insert(function.oid, function) {
            panic!("{other:?} and {function:?} share OID {}", function.oid);
        }
        if let Some(other) = signatures.insert((function.name, function.arguments.clone()), function) {
            panic!("{other:?} and {function:?} are the same");
        }
    }
}

#[tokio::test]
async fn sums_are_exact_and_averages_have_sixteen_digits() {
    use datafusion::prelude::*;
    let context = SessionContext::new();
    let frame =
        context.sql("SELECT * FROM (VALUES (1, 9223372036854775807), (2, 1), (2, NULL)) t(i, b)").await.unwrap();
    let sum = total::sum();
    let average = total::average();
    let integers = total::integer_sum();
    let columns = vec![
        sum.call(vec![col("b")]).alias("sum"),
        average.call(vec![col("i")]).alias("average"),
        integers.call(vec![col("i")]).alias("integers"),
    ];
    let batches = frame.aggregate(vec![], columns).unwrap().collect().await.unwrap();
    let batch = batches.first().unwrap();
    let shown = |index: usize| arrow::util::display::array_value_to_string(batch.column(index), 0).unwrap();
    assert_eq!(shown(0), "9223372036854775808");
    assert_eq!(shown(1), "1.6666666666666667");
    assert_eq!(shown(2), "5");
}

#[tokio::test]
async fn pg_sleep_waits_without_blocking_the_runtime() {
    use datafusion::prelude::*;
    let sleep = lookup("pg_sleep").next().unwrap();
    let Body::Scalar(udf) = &sleep.body else { panic!("pg_sleep is a scalar function") };
    let context = SessionContext::new();
    let frame = context.sql("SELECT 1 AS one").await.unwrap().select(vec![udf.call(vec![lit(60.0)])]).unwrap();
    // One thread: a blocking sleep would never let the timer fire.
    let waited = tokio::time::timeout(std::time::Duration::from_millis(20), frame.collect()).await;
    assert!(waited.is_err());
}
