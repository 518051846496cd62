use arrow::array::{Array as _, ArrayRef, Float64Array, Int64Array, ListArray, StringArray};
use arrow::datatypes::{Field, Int64Type, Schema};

use super::*;

/// Writes as `Display` does.
#[derive(Debug)]
struct Displayed;

impl ValueTexts for Displayed {
    fn each(&self, values: &ArrayRef, visit: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        for row in 0..values.len() {
            let text = arrow::util::display::array_value_to_string(values, row)?;
            visit(values.is_valid(row).then_some(text.as_bytes()));
        }
        Ok(())
    }
}

fn profiles(kind: Kind, parts: Vec<ArrayRef>) -> ColumnProfile {
    let ty = parts[0].data_type().clone();
    let column = ProfiledColumn {
        name: "a".to_owned(),
        kind,
        stored: ty.clone(),
        shown: ty.clone(),
        texts: Arc::new(Displayed),
    };
    let columns: Arc<[ProfiledColumn]> = Arc::new([column]);
    let schema = Arc::new(Schema::new(vec![Field::new("a", ty, true)]));
    let wanted = Wanted { values: true, patterns: true };
    let mut whole = Profiler::new(&columns, wanted);
    for part in parts {
        let mut profiler = Profiler::new(&columns, wanted);
        // Batches of several sizes.
        let rows = part.len();
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![part]).unwrap();
        for from in (0..rows).step_by(7_000) {
            profiler.push(&batch.slice(from, 7_000.min(rows - from))).unwrap();
        }
        assert!(profiler.size() < 2_000_000);
        whole.merge(profiler).unwrap();
    }
    whole.finish().unwrap().remove(0)
}

fn values(kind: Kind, parts: Vec<ArrayRef>) -> ValuesProfile {
    profiles(kind, parts).values.unwrap()
}

#[test]
fn few_values_are_told_exactly_whatever_the_parts() {
    let part =
        |from: i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values((from..from + 50_000).map(|x| x % 1000))) };
    let whole = values(Kind::Number, vec![part(0), part(17), part(23)]);
    assert!(whole.is_exact && whole.top_error == 0);
    assert_eq!((whole.distinct, whole.mean.unwrap()), (1000, 499.5));
    // PostgreSQL: percentile_cont over the same 150,000 rows.
    let quantiles = whole.quantiles.unwrap().map(|quantile| (quantile * 1e6).round() / 1e6);
    assert_eq!(quantiles, [49.95, 249.75, 499.5, 749.25, 949.05]);
}

#[test]
fn sketches_are_near_the_truth() {
    // 200,000 distinct numbers in two parts, in another order.
    let part = |from: u64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values((0..100_000_u64).map(|x| ((x * 7_919) % 100_000 * 2 + from) as i64)))
    };
    let whole = values(Kind::Number, vec![part(0), part(1)]);
    assert!(!whole.is_exact);
    assert!((whole.distinct as f64 / 200_000.0 - 1.0).abs() < 0.025);
    assert_eq!((whole.least.as_deref(), whole.greatest.as_deref()), (Some("0"), Some("199999")));
    assert_eq!(whole.mean.unwrap(), 99_999.5);
    assert!((whole.deviation.unwrap() - 57_735.171_256_3).abs() < 1e-3);
    for (quantile, share) in whole.quantiles.unwrap().into_iter().zip(QUANTILES) {
        assert!((quantile / 200_000.0 - share).abs() < 0.005, "{share}: {quantile}");
    }
    let buckets = whole.buckets.unwrap();
    assert_eq!(buckets.len(), 20);
    assert_eq!(buckets.iter().map(|bucket| bucket.count).sum::<u64>(), 200_000);
    // Nothing is frequent.
    assert!(whole.top.is_empty() && whole.top_error > 0);
}

#[test]
fn frequent_values_are_found_among_many() {
    let numbers: Vec<Option<i64>> = (0..300_000)
        .map(|x| {
            Some(if x % 5 == 0 {
                -1
            } else if x % 7 == 0 {
                -2
            } else {
                x
            })
        })
        .collect();
    let whole = values(Kind::Number, vec![Arc::new(Int64Array::from(numbers.clone()))]);
    let top: Vec<&str> = whole.top.iter().map(|value| value.text.as_str()).collect();
    assert_eq!(top, ["-1", "-2"]);
    let count = numbers.iter().filter(|x| **x == Some(-1)).count() as u64;
    let found = &whole.top[0];
    assert!(found.count <= count && count <= found.count + whole.top_error);
    let texts = numbers.iter().map(|x| x.map(|x| format!("value {x}")));
    let texts = values(Kind::Text, vec![Arc::new(texts.collect::<StringArray>())]);
    let top: Vec<&str> = texts.top.iter().map(|value| value.text.as_str()).collect();
    assert_eq!(top, ["value -1", "value -2"]);
    assert!((texts.distinct as f64 / whole.distinct as f64 - 1.0).abs() < 0.03);
    let patterns = texts.patterns.unwrap();
    assert_eq!(patterns.number, Some(2));
    assert_eq!(patterns.top.iter().map(|(pattern, _)| pattern.as_str()).collect::<Vec<_>>(), ["a 9", "a -9"]);
    assert_eq!(patterns.top.iter().map(|(_, count)| count).sum::<u64>(), 300_000);
}

#[test]
fn what_is_not_finite_stands_at_the_ends() {
    let few = vec![f64::NAN, 1.0, f64::NEG_INFINITY, -0.0, 0.0, f64::INFINITY];
    let profile = values(Kind::Number, vec![Arc::new(Float64Array::from(few.clone()))]);
    assert_eq!(
        (profile.distinct, profile.least.as_deref(), profile.greatest.as_deref()),
        (5, Some("-inf"), Some("NaN"))
    );
    assert!(profile.mean.unwrap().is_nan() && profile.deviation.unwrap().is_nan());
    assert_eq!(profile.buckets.unwrap().len(), 2);
    // The same among many.
    let many = few.into_iter().chain((0..20_000).map(f64::from));
    let profile = values(Kind::Number, vec![Arc::new(Float64Array::from_iter_values(many))]);
    assert!(!profile.is_exact && profile.mean.unwrap().is_nan());
    assert_eq!((profile.least.as_deref(), profile.greatest.as_deref()), (Some("-inf"), Some("NaN")));
    assert!((profile.quantiles.unwrap()[2] - 10_000.0).abs() < 100.0);
    let endless = std::iter::repeat_n(f64::INFINITY, 30_000).chain((0..10_000).map(f64::from));
    let profile = values(Kind::Number, vec![Arc::new(Float64Array::from_iter_values(endless))]);
    assert_eq!((profile.mean, profile.quantiles.unwrap()[2]), (Some(f64::INFINITY), f64::INFINITY));
}

#[test]
fn nothing_and_nulls_have_no_values() {
    let none: ArrayRef = Arc::new(Int64Array::from(vec![None, None]));
    let profile = profiles(Kind::Number, vec![none.clone(), none]);
    assert_eq!(profile, ColumnProfile { rows: 4, nulls: 4, values: None });
    let empty: ArrayRef = Arc::new(StringArray::from(Vec::<&str>::new()));
    assert_eq!(profiles(Kind::Text, vec![empty]), ColumnProfile::default());
}

#[test]
fn lists_are_known_by_their_text() {
    let lists = [Some(vec![Some(1), None]), None, Some(vec![]), Some(vec![Some(1), None])];
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists));
    let profile = profiles(Kind::Opaque, vec![lists]);
    let values = profile.values.unwrap();
    assert_eq!((profile.nulls, values.distinct, values.least), (1, 2, None));
    assert_eq!((values.top[0].text.as_str(), values.top[0].count), ("[1, ]", 2));
}

#[test]
fn long_texts_are_cut_but_told_apart() {
    let long = |end: &str| format!("{}{end}", "ü".repeat(300));
    let texts = StringArray::from(vec![long("a"), long("b"), long("a"), "x ".to_owned()]);
    let profile = values(Kind::Text, vec![Arc::new(texts.clone())]);
    assert_eq!((profile.distinct, profile.top[0].count, profile.top[0].is_cut), (3, 2, true));
    assert_eq!(profile.top[0].text, "ü".repeat(128));
    let lengths = profile.lengths.unwrap();
    assert_eq!((lengths.least, lengths.greatest, lengths.mean), (2, 301, 226.25));
    assert_eq!(profile.least.as_deref(), Some("x "));
    let padded = values(Kind::PaddedText, vec![Arc::new(texts)]);
    assert_eq!(padded.lengths.unwrap().least, 1);
}
