use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Int32Array, Int64Array, StringViewArray};
use arrow::datatypes::Field;
use datafusion::physical_expr::expressions::{binary, cast, col, in_list, is_not_null, lit};

use super::*;

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

fn compared(
    left: Arc<dyn PhysicalExpr>,
    op: Operator,
    right: Arc<dyn PhysicalExpr>,
    schema: &Schema,
) -> Arc<dyn PhysicalExpr> {
    binary(left, op, right, schema).unwrap()
}

#[test]
fn bounds_are_those_of_the_condition() {
    let column = |values: Vec<Option<i32>>| batch(vec![("a", Arc::new(Int32Array::from(values)))]);
    let schema = column(vec![]).schema();
    let holds = |op, constant: i32, values: Vec<Option<i32>>| {
        let condition = compared(col("a", &schema).unwrap(), op, lit(constant), &schema);
        let swapped = compared(lit(constant), op.swap().unwrap(), col("a", &schema).unwrap(), &schema);
        let batch = column(values);
        let both = [condition, swapped].map(|condition| Proof::of(&condition, &schema).unwrap().holds(&batch));
        assert_eq!(both[0], both[1]);
        both[0]
    };
    let (low, high) = (Some(i32::MIN), Some(i32::MAX));
    assert!(holds(Operator::Gt, 0, vec![Some(1), high]) && !holds(Operator::Gt, 0, vec![Some(1), Some(0)]));
    assert!(holds(Operator::GtEq, i32::MIN, vec![low, high]) && !holds(Operator::Gt, i32::MIN, vec![low]));
    assert!(holds(Operator::LtEq, i32::MAX, vec![low, high]) && !holds(Operator::Lt, i32::MAX, vec![high]));
    assert!(!holds(Operator::Gt, i32::MAX, vec![high]) && holds(Operator::Gt, i32::MAX, vec![]));
    assert!(holds(Operator::Eq, 3, vec![Some(3)]) && !holds(Operator::Eq, 3, vec![Some(3), None]));
}

#[test]
fn casts_of_decimals_keep_their_bounds() {
    let amounts = |values: Vec<i128>| {
        let values = Decimal128Array::from(values).with_precision_and_scale(15, 2).unwrap();
        batch(vec![("a", Arc::new(values) as ArrayRef)])
    };
    let schema = amounts(vec![]).schema();
    let wide = || cast(col("a", &schema).unwrap(), &schema, DataType::Decimal128(38, 10)).unwrap();
    let constant = |value| lit(ScalarValue::Decimal128(Some(value), 38, 10));
    for (bound, op, values, expected) in [
        // 1 and a ten thousand millionth.
        (10_000_000_001, Operator::GtEq, vec![101], true),
        (10_000_000_001, Operator::GtEq, vec![100], false),
        (10_000_000_001, Operator::LtEq, vec![100], true),
        (10_000_000_001, Operator::LtEq, vec![101], false),
        (-10_000_000_001, Operator::Gt, vec![-100], true),
        (-10_000_000_001, Operator::Gt, vec![-101], false),
        (-10_000_000_000, Operator::Lt, vec![-101], true),
        (-10_000_000_000, Operator::Lt, vec![-100], false),
    ] {
        let condition = compared(wide(), op, constant(bound), &schema);
        let Some(Part::Within(within)) = Proof::of(&condition, &schema).unwrap().parts.pop() else { panic!() };
        assert!(within.operand.is::<Column>());
        let proof = Proof { parts: vec![Part::Within(within)] };
        assert_eq!(proof.holds(&amounts(values)), expected, "{bound} {op}");
    }
}

#[test]
fn columns_are_compared_row_by_row() {
    let rows = |left: Vec<Option<i64>>, right: Vec<Option<i64>>| {
        batch(vec![("a", Arc::new(Int64Array::from(left)) as ArrayRef), ("b", Arc::new(Int64Array::from(right)))])
    };
    let schema = rows(vec![], vec![]).schema();
    let (a, b) = (col("a", &schema).unwrap(), col("b", &schema).unwrap());
    let greater = Proof::of(&compared(Arc::clone(&a), Operator::Gt, Arc::clone(&b), &schema), &schema).unwrap();
    assert!(greater.holds(&rows(vec![Some(2), Some(0)], vec![Some(1), Some(-1)])));
    assert!(!greater.holds(&rows(vec![Some(2), Some(0)], vec![Some(1), Some(0)])));
    assert!(!greater.holds(&rows(vec![Some(2), None], vec![Some(1), Some(0)])));
    let known = is_not_null(Arc::clone(&a)).unwrap();
    let both = compared(known, Operator::And, compared(a, Operator::LtEq, b, &schema), &schema);
    let both = Proof::of(&both, &schema).unwrap();
    assert!(both.holds(&rows(vec![Some(1)], vec![Some(1)])) && !both.holds(&rows(vec![None], vec![Some(1)])));
}

#[test]
fn texts_are_asked_once() {
    let texts = |values: Vec<Option<&str>>| batch(vec![("a", Arc::new(StringViewArray::from(values)) as ArrayRef)]);
    let schema = texts(vec![]).schema();
    let list = ["", "AIR", "a text that is long", "a text that is as long", "RAIL"];
    let list = list.map(|text| lit(ScalarValue::Utf8View(Some(text.to_owned())))).to_vec();
    let condition = in_list(col("a", &schema).unwrap(), list, &false, &schema).unwrap();
    let proof = Proof::of(&condition, &schema).unwrap();
    assert!(proof.holds(&texts(vec![])));
    for _ in 0..3 {
        assert!(proof.holds(&texts(vec![Some("AIR"), Some(""), Some("AIR"), Some("a text that is long")])));
        assert!(!proof.holds(&texts(vec![Some("AIR"), None])));
        assert!(!proof.holds(&texts(vec![Some("AIR"), Some("AI")])));
        assert!(!proof.holds(&texts(vec![Some("a text that is wrong"), Some("AI")])));
    }
    assert!(proof.holds(&texts(vec![Some("RAIL"), Some("a text that is as long"), Some("")])));
    let always = is_not_null(cast(col("a", &schema).unwrap(), &schema, DataType::Utf8).unwrap()).unwrap();
    let proof = Proof::of(&always, &schema).unwrap();
    let few: Vec<String> = (0..TEXTS_MAX).map(|number| format!("{number}")).collect();
    assert!(proof.holds(&texts(few.iter().map(|text| Some(text.as_str())).collect())));
    assert!(proof.holds(&texts(few.iter().rev().map(|text| Some(text.as_str())).collect())));
    assert!(!proof.holds(&texts(vec![Some("one more")])));
}

#[test]
fn other_conditions_have_no_proof() {
    let schema = Schema::new(vec![
        Field::new("a", DataType::Utf8View, true),
        Field::new("b", DataType::Utf8View, true),
        Field::new("c", DataType::Float64, true),
    ]);
    let (a, b, c) = (col("a", &schema).unwrap(), col("b", &schema).unwrap(), col("c", &schema).unwrap());
    let either = compared(Arc::clone(&a), Operator::Eq, b, &schema);
    assert!(Proof::of(&either, &schema).is_none());
    assert!(Proof::of(&compared(c, Operator::Gt, lit(0.0), &schema), &schema).is_none());
}
