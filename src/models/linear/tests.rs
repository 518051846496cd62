//! Small tables with scikit-learn's and statsmodels' answers.

use super::logistic::LogisticModel;
use super::*;
use crate::models::encoder::{Column, Features, MISSING};
use crate::models::watch::{Stopped, Unwatched, Watch};

const X1: [f64; 8] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
const X2: [f64; 8] = [2.0, 1.0, 4.0, 3.0, 7.0, 5.0, 9.0, 6.0];
const C: [u32; 8] = [0, 1, 0, 2, 1, 0, 0, 1];
const Y: [f64; 8] = [1.5, 2.0, 3.7, 3.9, 6.2, 5.8, 8.4, 8.1];
const W: [f64; 8] = [1.0, 2.0, 1.0, 1.0, 0.5, 1.0, 3.0, 1.0];

fn texts() -> Vec<String> {
    ["a", "b", "c"].map(str::to_owned).to_vec()
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("x{index}")).collect()
}

fn features<'a>(columns: &[Column<'a>]) -> Features<'a> {
    Features { rows: 8, columns: columns.to_vec() }
}

fn table(texts: &[String]) -> Features<'_> {
    features(&[Column::Numeric(&X1), Column::Numeric(&X2), Column::Category { codes: &C, texts }])
}

fn linear(features: &Features<'_>, weights: Option<&[f64]>, options: &LinearOptions) -> Result<LinearModel, Refusal> {
    let model = LinearModel::fit(features, &names(features.columns.len()), &Y, weights, options, &Unwatched)?;
    model.validate()?;
    Ok(model)
}

fn logistic(
    features: &Features<'_>,
    labels: &[u32],
    classes: usize,
    options: &LinearOptions,
) -> Result<LogisticModel, Refusal> {
    let names = names(features.columns.len());
    let model = LogisticModel::fit(features, &names, labels, classes, None, options, &Unwatched)?;
    model.validate()?;
    Ok(model)
}

#[track_caller]
fn close(found: impl IntoIterator<Item = f64>, expected: &[f64], tolerance: f64) {
    let found: Vec<f64> = found.into_iter().collect();
    assert!(found.len() >= expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < tolerance, "{found} is not {expected}");
    }
}

#[test]
fn least_squares_are_those_of_statsmodels() {
    let texts = texts();
    let plain = linear(&table(&texts), None, &LinearOptions::default()).unwrap();
    let weights = plain.weights();
    close(
        weights.iter().map(|w| w.weight),
        &[0.014_580_725_907, 0.673_967_459_324, 0.394_211_514_393, 0.209_261_576_971, 0.006_914_893_617],
        1e-11,
    );
    close(
        weights.iter().map(|w| w.error.unwrap()),
        &[0.173_451_952_139, 0.057_657_379_819, 0.053_878_477_944, 0.160_141_083_411, 0.237_939_629_085],
        1e-11,
    );
    close(
        weights.iter().map(|w| w.p.unwrap()),
        &[0.938_302_385_315, 0.001_345_219_037, 0.005_273_128_216, 0.282_450_027_544, 0.978_640_714_668],
        1e-11,
    );
    close([plain.statistics.unwrap().r_squared], &[0.997_597_381_911], 1e-11);
    let weighted = linear(&table(&texts), Some(&W), &LinearOptions::default()).unwrap().weights();
    close(
        weighted.iter().map(|w| w.weight),
        &[-0.019_233_252_897, 0.647_758_556_232, 0.427_233_796_69, 0.274_751_045_101, 0.046_497_637_902],
        1e-11,
    );
    close(
        weighted.iter().map(|w| w.error.unwrap()),
        &[0.157_057_836_591, 0.059_217_087_552, 0.052_792_243_97, 0.164_957_048_085, 0.231_008_201_677],
        1e-11,
    );
}

#[test]
fn penalties_are_those_of_scikit_learn() {
    let texts = texts();
    let table = table(&texts);
    let ridge = linear(&table, None, &LinearOptions { l2: 2.0, ..LinearOptions::default() }).unwrap();
    close(ridge.predict(&table).unwrap(), &[1.947_948_918_916, 2.281_745_024_785, 3.818_502_731_727], 1e-11);
    let elastic = linear(&table, None, &LinearOptions { l1: 0.8, l2: 0.8, ..LinearOptions::default() }).unwrap();
    close(elastic.coefficients.clone(), &[1.359_971_020_582, 0.941_848_549_584, 0.0, 0.0, 0.0], 1e-11);
    assert!(elastic.converged && elastic.statistics.is_none());
}

#[test]
fn logistic_probabilities_are_those_of_scikit_learn() {
    let texts = texts();
    let table = table(&texts);
    let (l1, l2) =
        (LinearOptions { l1: 2.0, ..LinearOptions::default() }, LinearOptions { l2: 2.0, ..LinearOptions::default() });
    let two = [0, 0, 1, 0, 1, 0, 1, 1];
    let three = [0, 0, 1, 0, 2, 1, 1, 2];
    let fit = |labels: &[u32], classes, options| {
        logistic(&table, labels, classes, options).unwrap().probabilities(&table).unwrap()
    };
    close(fit(&two, 2, &l2), &[0.769_682_578_704, 0.230_317_421_296, 0.762_570_587_931], 1e-9);
    close(fit(&two, 2, &l1), &[0.633_896_009_583, 0.366_103_990_417, 0.681_161_406_196], 1e-8);
    close(fit(&three, 3, &l2), &[0.694_250_893_788, 0.251_285_864_679, 0.054_463_241_532, 0.789_958_000_261], 1e-9);
    close(fit(&three, 3, &l1), &[0.534_336_403_199, 0.279_398_158_081, 0.186_265_438_720, 0.600_366_653_843], 1e-7);
}

#[test]
fn separated_classes_end_with_a_note() {
    let model =
        logistic(&features(&[Column::Numeric(&X1)]), &[0, 0, 0, 0, 1, 1, 1, 1], 2, &LinearOptions::default()).unwrap();
    assert!(model.separated && model.notes.iter().any(|note| note.contains("l2_reg")), "{:?}", model.notes);
    // One level is always of the second class: only its coefficient has no optimum.
    let quasi = logistic(
        &features(&[Column::Numeric(&[1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0])]),
        &[1, 0, 1, 0, 1, 1, 0, 1],
        2,
        &LinearOptions::default(),
    );
    assert!(quasi.unwrap().separated);
    let mixed =
        logistic(&features(&[Column::Numeric(&X1)]), &[0, 1, 0, 0, 1, 1, 0, 1], 2, &LinearOptions::default()).unwrap();
    assert!(mixed.converged && !mixed.separated && mixed.notes.is_empty());
}

#[test]
fn collinear_columns_have_no_weight_and_a_note() {
    let twice = X1.map(|x| 2.0 * x + 1.0);
    let columns = [Column::Numeric(&X1), Column::Numeric(&twice), Column::Numeric(&[7.0; 8])];
    let model = linear(&features(&columns), None, &LinearOptions::default()).unwrap();
    let weights = model.weights();
    assert_eq!((weights.len(), weights[2].weight, weights[2].error), (3, 0.0, None));
    assert_eq!(model.notes.len(), 2, "{:?}", model.notes);
}

#[test]
fn a_constant_column_is_the_intercept_where_there_is_none() {
    let one = [2.0; 8];
    let y: Vec<f64> = X1.iter().map(|x| 3.0 + 2.0 * x).collect();
    let (codes, texts) = ([0; 8], ["a".to_owned()]);
    let fit = |column: Column<'_>, intercept| {
        let features = features(&[column, Column::Numeric(&X1)]);
        let options = LinearOptions { intercept, ..LinearOptions::default() };
        LinearModel::fit(&features, &names(2), &y, None, &options, &Unwatched).unwrap()
    };
    let weights = |model: &LinearModel| model.weights().into_iter().map(|weight| weight.weight).collect::<Vec<_>>();
    close(weights(&fit(Column::Numeric(&one), false)), &[1.5, 2.0], 1e-9);
    // Of numbers first, then of levels.
    close(weights(&fit(Column::Category { codes: &codes, texts: &texts }, false)), &[2.0, 3.0], 1e-9);
    let with = fit(Column::Numeric(&one), true);
    close(weights(&with), &[3.0, 2.0], 1e-9);
    assert_eq!(with.weights().len(), 2);
    assert_eq!(with.notes, ["features that have one value only were left out: \"x0\""]);
}

#[test]
fn scores_beyond_the_numbers_are_probabilities() {
    let texts = texts();
    let labels = [0, 1, 0, 1, 0, 1, 1, 1];
    let many = LinearOptions { l2: 1.0, ..LinearOptions::default() };
    for (labels, classes) in [(labels, 2), ([0, 1, 2, 0, 1, 2, 2, 1], 3)] {
        let model = logistic(&table(&texts), &labels, classes, &many).unwrap();
        for (a, b) in [(f64::MAX, 0.0), (f64::MAX, f64::MAX), (f64::MIN, f64::MAX), (1e308, -1e308)] {
            let (a, b) = ([a], [b]);
            let codes = [0];
            let columns =
                vec![Column::Numeric(&a), Column::Numeric(&b), Column::Category { codes: &codes, texts: &texts }];
            let found = model.probabilities(&Features { rows: 1, columns }).unwrap();
            assert!((found.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{found:?}");
        }
    }
}

#[test]
fn missing_and_unseen_values_are_predicted() {
    let mut with_gap = X1;
    with_gap[3] = f64::NAN;
    let mut codes = C;
    codes[0] = MISSING;
    let texts = texts();
    let columns = [Column::Numeric(&with_gap), Column::Category { codes: &codes, texts: &texts }];
    let options = LinearOptions { indicators: true, l2: 0.1, categories_max: 1, ..LinearOptions::default() };
    let model = linear(&features(&columns), None, &options).unwrap();
    // Number, its indicator, one level, other, missing.
    assert_eq!(model.encoder.width(), 5);
    let other = [String::from("z"), String::from("b")];
    let rows = Features {
        rows: 2,
        columns: vec![Column::Numeric(&[4.0, 4.0]), Column::Category { codes: &[0, 1], texts: &other }],
    };
    let predictions = model.predict(&rows).unwrap();
    assert!(predictions[0].is_finite() && predictions[0] == predictions[1]);
    assert!(matches!(model.predict(&features(&columns[..1])), Err(Refusal::Mismatch(_))));
}

#[test]
fn codes_with_known_columns_predict_as_their_texts_do() {
    let mut codes = C;
    codes[0] = MISSING;
    let texts = texts();
    for categories_max in [1, 3] {
        let columns = [Column::Numeric(&X1), Column::Category { codes: &codes, texts: &texts }];
        let options = LinearOptions { l2: 0.1, categories_max, ..LinearOptions::default() };
        let model = linear(&features(&columns), None, &options).unwrap();
        let with_unseen = [texts.as_slice(), &["unseen".to_owned()]].concat();
        let asked = [0, 1, 2, 3, MISSING, 0, 3, 1];
        let by_texts = [Column::Numeric(&X1), Column::Category { codes: &asked, texts: &with_unseen }];
        let of_codes = &model.encoder.columns_of(|_| &texts)[1];
        assert_eq!(of_codes.len(), 4);
        let by_columns = [Column::Numeric(&X1), Column::Bound { codes: &asked, columns: of_codes }];
        assert_eq!(model.predict(&features(&by_texts)), model.predict(&features(&by_columns)));
    }
}

#[test]
fn classes_without_rows_have_the_probability_0() {
    let table = features(&[Column::Numeric(&X1), Column::Numeric(&X2)]);
    let options = LinearOptions { l2: 2.0, ..LinearOptions::default() };
    let all = logistic(&table, &[0, 0, 1, 0, 2, 1, 1, 2], 3, &options).unwrap();
    let some = logistic(&table, &[1, 1, 2, 1, 4, 2, 2, 4], 5, &options).unwrap();
    let known = all.probabilities(&table).unwrap();
    let found = some.probabilities(&table).unwrap();
    for (known, found) in known.chunks_exact(3).zip(found.chunks_exact(5)) {
        assert_eq!(found, [0.0, known[0], known[1], 0.0, known[2]]);
    }
    assert_eq!(some.absent().collect::<Vec<_>>(), [0, 3]);
    assert!(some.weights().iter().all(|weight| [1, 2, 4].contains(&weight.class)));
    let read: LogisticModel = serde_json::from_str(&serde_json::to_string(&some).unwrap()).unwrap();
    assert_eq!((read.validate(), read.probabilities(&table).unwrap()), (Ok(()), found));
    // Two of three classes are as good as two.
    let two = logistic(&table, &[0, 2, 0, 0, 2, 2, 0, 2], 3, &LinearOptions::default()).unwrap();
    let of_two = logistic(&table, &[0, 1, 0, 0, 1, 1, 0, 1], 2, &LinearOptions::default()).unwrap();
    let (two, of_two) = (two.probabilities(&table).unwrap(), of_two.probabilities(&table).unwrap());
    for (found, expected) in two.chunks_exact(3).zip(of_two.chunks_exact(2)) {
        assert!(found[1] == 0.0 && (found[2] - expected[1]).abs() < 1e-6, "{found:?} {expected:?}");
    }
    assert_eq!(logistic(&table, &[1; 8], 3, &options), Err(Refusal::OneClass));
}

#[test]
fn bad_input_is_refused() {
    let options = LinearOptions::default();
    let infinite = [1.0, 2.0, f64::INFINITY, 4.0, 5.0, 6.0, 7.0, 8.0];
    let refused = |columns: &[Column<'_>]| linear(&features(columns), None, &options).unwrap_err();
    assert_eq!(refused(&[Column::Numeric(&infinite)]), Refusal::Infinite { column: "x0".to_owned() });
    assert_eq!(refused(&[Column::Numeric(&[f64::NAN; 8])]), Refusal::NoFeatures);
    assert_eq!(refused(&[Column::Numeric(&[3.0; 8])]), Refusal::NoFeatures);
    let few = LinearOptions { columns_max: 1, ..options };
    let two = features(&[Column::Numeric(&X1), Column::Numeric(&X2)]);
    assert_eq!(linear(&two, None, &few).unwrap_err(), Refusal::TooManyColumns { columns: 2, limit: 1 });
    assert_eq!(logistic(&two, &[1; 8], 2, &options).unwrap_err(), Refusal::OneClass);
    assert_eq!(linear(&two, Some(&[0.0; 8]), &options).unwrap_err(), Refusal::NoRows);
    assert!(matches!(linear(&two, None, &LinearOptions { l1: -1.0, ..options }), Err(Refusal::Option { .. })));
    let nothing = Features { rows: 0, columns: vec![Column::Numeric(&[])] };
    assert_eq!(LinearModel::fit(&nothing, &names(1), &[], None, &options, &Unwatched).unwrap_err(), Refusal::NoRows);
}

struct Impatient;

impl Watch for Impatient {
    fn check(&self) -> Result<(), Stopped> {
        Err(Stopped)
    }

    fn progress(&self, _done: usize, _total: usize, _loss: Option<f64>) {}
}

#[test]
fn cancel_stops_and_threads_change_nothing() {
    let texts = texts();
    let table = table(&texts);
    let stopped = LinearModel::fit(&table, &names(3), &Y, None, &LinearOptions::default(), &Impatient);
    assert_eq!(stopped.unwrap_err(), Refusal::Stopped);
    let columns: Vec<Vec<f64>> = (0..11).map(|j| (0..5000).map(|i| f64::from(i * (j + 3) % 1009)).collect()).collect();
    let labels: Vec<f64> = (0..5000).map(|i| f64::from(i % 17)).collect();
    let wide = Features { rows: 5000, columns: columns.iter().map(|column| Column::Numeric(column)).collect() };
    let fit = |threads| {
        LinearModel::fit(
            &wide,
            &names(11),
            &labels,
            None,
            &LinearOptions { threads, ..LinearOptions::default() },
            &Unwatched,
        )
        .unwrap()
    };
    assert_eq!(fit(1), fit(3));
}
