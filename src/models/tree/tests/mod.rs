//! The learners against slow references, on data with missing values, infinities and categories.

mod limits;
mod shapley;

use super::rng::Rng;
use super::*;

struct Data {
    columns: Vec<Vec<f64>>,
    bins: Vec<Bins>,
    matrix: Matrix,
    number: Vec<f64>,
    class: Vec<u16>,
}

impl Data {
    /// Three numbers (one with few values, one with NaN and infinities), a category of twelve with missing ones, noise.
    fn new(rows: usize, seed: u64) -> Self {
        let mut rng = Rng::new(seed, &[7]);
        let mut columns = vec![Vec::new(); 5];
        let (mut number, mut class) = (Vec::new(), Vec::new());
        for row in 0..rows {
            let a = f64::from(rng.below(5));
            let b = match rng.below(20) {
                0 => f64::NAN,
                1 => f64::INFINITY,
                2 => f64::NEG_INFINITY,
                _ => rng.unit() * 10.0 - 5.0,
            };
            let c = rng.unit();
            let category = if rng.below(15) == 0 { f64::NAN } else { f64::from(rng.below(12)) };
            let from_b = if b.is_nan() { 4.0 } else { b.clamp(-5.0, 5.0) };
            let from_category = if (category as u32).is_multiple_of(3) { 3.0 } else { -1.0 };
            let y = 2.0 * a * (c - 0.5) + from_b + from_category + rng.unit();
            [a, b, c, category, rng.unit()].into_iter().zip(&mut columns).for_each(|(v, column)| column.push(v));
            number.push(y);
            class.push(if y < -2.0 {
                0
            } else if y < 2.0 || row % 17 == 0 {
                1
            } else {
                2
            });
        }
        let bins: Vec<Bins> = (0..5)
            .map(|feature| {
                if feature == 3 {
                    Bins::categories(&[5; 12], BINS_MAX)
                } else {
                    Bins::numeric(&mut columns[feature].clone(), 254, 1)
                }
            })
            .collect();
        let matrix = encode(&columns, &bins);
        Self { columns, bins, matrix, number, class }
    }

    fn slices(&self) -> Vec<&[f64]> {
        self.columns.iter().map(Vec::as_slice).collect()
    }

    fn binary(&self) -> Vec<u16> {
        self.class.iter().map(|&class| u16::from(class == 2)).collect()
    }

    fn forest(&self, classes: usize, options: &ForestOptions) -> Forest {
        let labels = if classes == 2 { self.binary() } else { self.class.clone() };
        train_forest_classifier(&self.matrix, &self.bins, &labels, classes, None, None, options, &Unwatched).unwrap()
    }

    fn boost(&self, objective: Objective, options: &BoostOptions) -> Boosted {
        let labels: Vec<f64> = match objective {
            Objective::Squared | Objective::Quantile { .. } => self.number.clone(),
            Objective::Logistic => self.binary().iter().map(|&class| f64::from(class)).collect(),
            Objective::Softmax { .. } => self.class.iter().map(|&class| f64::from(class)).collect(),
        };
        let target = Target { labels: &labels, weights: None };
        train_boosting(&self.matrix, &self.bins, target, None, objective, options, &Unwatched, &mut |_, _| {}).unwrap()
    }

    fn regressor(&self, options: &ForestOptions) -> Forest {
        train_forest_regressor(&self.matrix, &self.bins, &self.number, None, options, &Unwatched).unwrap()
    }
}

fn encode(columns: &[Vec<f64>], bins: &[Bins]) -> Matrix {
    let code = |(column, bins): (&Vec<f64>, &Bins)| {
        let mut codes = Vec::new();
        bins.encode(column, &mut codes);
        codes
    };
    Matrix::new(columns.iter().zip(bins).map(code).collect()).unwrap()
}

fn leaf_of(tree: &Tree, features: &[Feature], row: &[f64]) -> usize {
    let mut node = 0;
    while tree.feature[node] != LEAF {
        let feature = tree.feature[node] as usize;
        node = tree.child(node, &features[feature], row[feature]);
    }
    node
}

/// The sums before the link, node by node on raw values.
fn slow_sums(ensemble: &Ensemble, row: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0; ensemble.outputs as usize];
    for tree in &ensemble.trees {
        let leaf = tree.leaf(leaf_of(tree, &ensemble.features, row));
        leaf.iter().enumerate().for_each(|(offset, value)| sums[tree.output as usize + offset] += value);
    }
    sums.iter().zip(&ensemble.base).map(|(sum, base)| base + ensemble.scale * sum).collect()
}

fn row(data: &Data, row: usize) -> Vec<f64> {
    data.columns.iter().map(|column| column[row]).collect()
}

fn options(trees: usize, threads: usize) -> ForestOptions {
    ForestOptions { trees, threads, depth_max: 8, seed: 3, ..ForestOptions::default() }
}

fn isolation(data: &Data, threads: usize) -> Ensemble {
    let features: Vec<Feature> = data.bins.iter().map(Feature::from).collect();
    let options = IsolationOptions { trees: 60, threads, ..IsolationOptions::default() };
    train_isolation(&data.slices(), &features, &options, &Unwatched).unwrap()
}

fn all_models(data: &Data, threads: usize) -> Vec<Ensemble> {
    let boost = BoostOptions { iterations: 12, threads, feature_share: 0.8, ..BoostOptions::default() };
    let bagged = BoostOptions { row_share: 0.5, bagging_every: 2, ..boost.clone() };
    vec![
        data.forest(2, &options(20, threads)).ensemble,
        data.forest(3, &options(20, threads)).ensemble,
        data.regressor(&options(20, threads)).ensemble,
        data.boost(Objective::Logistic, &boost).ensemble,
        data.boost(Objective::Softmax { classes: 3 }, &bagged).ensemble,
        data.boost(Objective::Squared, &bagged).ensemble,
        data.boost(Objective::Quantile { alpha: 0.8 }, &boost).ensemble,
        isolation(data, threads),
    ]
}

#[test]
fn codes_and_thresholds_agree_on_every_value() {
    let cases: [Vec<f64>; 5] = [
        vec![f64::NEG_INFINITY, f64::MIN, -0.0, 0.0, 5e-324, 1.0, 1.0 + f64::EPSILON, f64::MAX, f64::INFINITY],
        vec![f64::NEG_INFINITY, f64::INFINITY, f64::NAN],
        vec![f64::NAN],
        (0..5000).map(|value| f64::from(value).powi(3)).collect(),
        (0..5000).map(|value| if value % 3 == 0 { 7.0 } else { f64::from(value) }).collect(),
    ];
    for values in cases {
        let bins = Bins::numeric(&mut values.clone(), 254, 3);
        let mut codes = Vec::new();
        bins.encode(&values, &mut codes);
        for (&value, &code) in values.iter().zip(&codes) {
            assert_eq!(value.is_nan(), code == MISSING);
            for bound in 0..bins.len() as u8 {
                assert_eq!(value <= bins.threshold(bound), code <= bound && code != MISSING, "{value} {bound}");
                assert_eq!(bins.code_of(bins.threshold(bound)), bound);
            }
        }
        let distinct = bins.len();
        assert!(distinct <= BINS_MAX && (values.len() < 5000 || distinct > 200), "{distinct}");
    }
}

#[test]
fn rare_categories_share_a_bin_and_unknown_ones_are_missing() {
    let counts: Vec<u64> = (0..1000).collect();
    let Bins::Categorical { bin_of, bins } = Bins::categories(&counts, BINS_MAX) else { panic!() };
    assert_eq!((bins, bin_of[999], bin_of[747], bin_of[746], bin_of[1]), (254, 0, 252, 253, 253));
    let mut codes = Vec::new();
    Bins::Categorical { bin_of, bins }.encode(&[999.0, 1000.0, -1.0, 0.5, f64::NAN, f64::INFINITY], &mut codes);
    assert_eq!(codes, [0, MISSING, MISSING, MISSING, MISSING, MISSING]);
    let Bins::Categorical { bin_of, bins } = Bins::categories(&counts, 10) else { panic!() };
    assert_eq!((bins, bin_of[999], bin_of[990], bin_of[989], bin_of[1]), (11, 0, 9, 10, 10));
    // Those that the sample has not are missing too.
    assert_eq!(bin_of[0], MISSING);
    let few = Bins::categories(&[0, 7, 0, 9, 1], BINS_MAX);
    assert_eq!(few, Bins::Categorical { bin_of: vec![MISSING, 0, MISSING, 1, 2], bins: 3 });
}

#[test]
fn threads_change_nothing() {
    // Enough rows that work is really shared.
    let data = Data::new(52_000, 2);
    let boost = |threads: usize| {
        let options = BoostOptions { iterations: 2, threads, ..BoostOptions::default() };
        data.boost(Objective::Softmax { classes: 3 }, &options).ensemble
    };
    assert!(boost(1) == boost(3));
    let data = Data::new(1500, 1);
    let one = all_models(&data, 1);
    for threads in [2, 5] {
        assert!(one == all_models(&data, threads), "{threads} threads");
    }
}

#[test]
fn prediction_equals_the_slow_reference() {
    let data = Data::new(2000, 4);
    let test = Data::new(1777, 5);
    for ensemble in all_models(&data, 2) {
        let predictor = Predictor::new(&ensemble).unwrap();
        let fast = predictor.sums(&test.slices(), 3, &Unwatched).unwrap();
        for (number, sums) in fast.chunks(predictor.outputs()).enumerate() {
            assert_eq!(sums, slow_sums(&ensemble, &row(&test, number)), "row {number}");
        }
        let linked = predictor.predict(&test.slices(), 1, &Unwatched).unwrap();
        assert!(linked.iter().all(|value| value.is_finite()));
    }
}

#[test]
fn training_and_prediction_send_rows_to_the_same_leaves() {
    let data = Data::new(3000, 6);
    let options = ForestOptions { bootstrap: false, ..options(5, 2) };
    for ensemble in
        [data.forest(3, &options).ensemble, data.boost(Objective::Squared, &BoostOptions::default()).ensemble]
    {
        for tree in &ensemble.trees {
            let mut came = vec![0.0; tree.len()];
            (0..3000).for_each(|number| came[leaf_of(tree, &ensemble.features, &row(&data, number))] += 1.0);
            let leaves = (0..tree.len()).filter(|&node| tree.feature[node] == LEAF);
            leaves.for_each(|node| assert_eq!(came[node], tree.cover[node], "node {node}"));
        }
    }
}

#[test]
fn models_learn() {
    let (data, test) = (Data::new(4000, 8), Data::new(3000, 9));
    let hits = |ensemble: &Ensemble, classes: usize| {
        let out = Predictor::new(ensemble).unwrap().predict(&test.slices(), 2, &Unwatched).unwrap();
        let right = (0..3000).filter(|&row| {
            if classes == 2 {
                (out[row] > 0.5) == (test.class[row] == 2)
            } else {
                let shares = &out[row * 3..][..3];
                (0..3).all(|class| shares[class] <= shares[usize::from(test.class[row])])
            }
        });
        right.count() as f64 / 3000.0
    };
    let error = |ensemble: &Ensemble| {
        let out = Predictor::new(ensemble).unwrap().predict(&test.slices(), 2, &Unwatched).unwrap();
        out.iter().zip(&test.number).map(|(out, y)| (out - y) * (out - y)).sum::<f64>() / 3000.0
    };
    let deep = ForestOptions { depth_max: 64, features_per_node: FeaturesPerNode::Share(0.6), ..options(40, 2) };
    let boost = BoostOptions { threads: 2, ..BoostOptions::default() };
    assert!(hits(&data.forest(2, &deep).ensemble, 2) > 0.93);
    assert!(hits(&data.forest(3, &deep).ensemble, 3) > 0.88);
    assert!(hits(&data.boost(Objective::Logistic, &boost).ensemble, 2) > 0.93);
    assert!(hits(&data.boost(Objective::Softmax { classes: 3 }, &boost).ensemble, 3) > 0.88);
    assert!(error(&data.regressor(&deep).ensemble) < 0.6);
    assert!(error(&data.boost(Objective::Squared, &boost).ensemble) < 0.4);
    let upper = data.boost(Objective::Quantile { alpha: 0.9 }, &boost).ensemble;
    let out = Predictor::new(&upper).unwrap().predict(&test.slices(), 1, &Unwatched).unwrap();
    let below = out.iter().zip(&test.number).filter(|(out, y)| y < out).count() as f64 / 3000.0;
    assert!((0.8..0.95).contains(&below), "{below}");
}

#[test]
fn out_of_bag_rows_are_predicted_by_trees_that_did_not_see_them() {
    let data = Data::new(3000, 10);
    let forest = data.regressor(&ForestOptions { out_of_bag: true, depth_max: 64, ..options(80, 2) });
    let unseen = forest.out_of_bag.unwrap();
    let seen = Predictor::new(&forest.ensemble).unwrap().predict(&data.slices(), 1, &Unwatched).unwrap();
    let error = |out: &[f64]| out.iter().zip(&data.number).map(|(out, y)| (out - y).powi(2)).sum::<f64>() / 3000.0;
    assert!(error(&unseen) > 2.0 * error(&seen) && error(&unseen) < 2.0, "{} {}", error(&unseen), error(&seen));
}

#[test]
fn weights_of_rows_and_of_classes_are_the_same_thing() {
    let data = Data::new(1000, 11);
    let labels = data.binary();
    let class_weights = [1.0, 4.0];
    let by_row: Vec<f64> = labels.iter().map(|&label| class_weights[usize::from(label)]).collect();
    let train = |weights: Option<&[f64]>, class_weights: Option<&[f64]>| {
        let options = ForestOptions { features_per_node: FeaturesPerNode::Share(1.0), ..options(10, 1) };
        train_forest_classifier(&data.matrix, &data.bins, &labels, 2, weights, class_weights, &options, &Unwatched)
            .unwrap()
            .ensemble
    };
    // Counted in whole numbers on one side, summed as floating point on the other: equal gains may be told apart by rounding.
    let predict =
        |ensemble: &Ensemble| Predictor::new(ensemble).unwrap().predict(&data.slices(), 1, &Unwatched).unwrap();
    let apart = |a: &Ensemble, b: &Ensemble| {
        predict(a).iter().zip(predict(b)).map(|(a, b)| (a - b).abs()).sum::<f64>() / 1000.0
    };
    let (plain, weighted) = (train(None, None), train(Some(&by_row), None));
    let same = [apart(&train(None, Some(&class_weights)), &weighted), apart(&train(Some(&[1.0; 1000]), None), &plain)];
    let other = apart(&plain, &weighted);
    assert!(same.iter().all(|same| same * 4.0 < other), "{same:?} {other}");
}

#[test]
fn a_held_out_set_stops_boosting_at_its_best() {
    let (data, held) = (Data::new(400, 12), Data::new(2000, 13));
    let matrix = encode(&held.columns, &data.bins);
    let options = BoostOptions {
        iterations: 500,
        early_stopping_rounds: Some(10),
        learning_rate: 0.3,
        ..BoostOptions::default()
    };
    let target = |data: &Data| data.binary().iter().map(|&class| f64::from(class)).collect::<Vec<_>>();
    let (labels, held_labels) = (target(&data), target(&held));
    let target = |labels| Target { labels, weights: None };
    let mut seen = 0;
    let held_out = Some((&matrix, target(&held_labels)));
    let boosted = train_boosting(
        &data.matrix,
        &data.bins,
        target(&labels),
        held_out,
        Objective::Logistic,
        &options,
        &Unwatched,
        &mut |_, _| seen += 1,
    )
    .unwrap();
    assert_eq!((boosted.log.len(), boosted.ensemble.trees.len()), (seen, boosted.iterations));
    assert_eq!(boosted.iterations + 10, seen);
    let best = boosted.log[boosted.iterations - 1].held_out.unwrap();
    assert!(boosted.log.iter().all(|losses| losses.held_out.unwrap() >= best));
    let out = Predictor::new(&boosted.ensemble).unwrap().predict(&held.slices(), 1, &Unwatched).unwrap();
    let loss = out.iter().zip(&held_labels).map(|(p, y)| -(y * p.ln() + (1.0 - y) * (1.0 - p).ln())).sum::<f64>();
    assert!((loss / 2000.0 - best).abs() < 1e-9);
}

#[test]
fn odd_rows_are_isolated_first() {
    let mut data = Data::new(3000, 14);
    data.columns.truncate(3);
    data.columns[1] = data.columns[2].iter().map(|value| value * 0.5).collect();
    data.bins.truncate(3);
    data.columns[2][77] = 9.0;
    data.columns[1][78] = f64::NEG_INFINITY;
    let features: Vec<Feature> = data.bins.iter().map(Feature::from).collect();
    let options = IsolationOptions { rows_per_tree: 2000, ..IsolationOptions::default() };
    let forest = train_isolation(&data.slices(), &features, &options, &Unwatched).unwrap();
    let scores = Predictor::new(&forest).unwrap().predict(&data.slices(), 2, &Unwatched).unwrap();
    let mut order: Vec<usize> = (0..3000).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    assert!(order[..2].contains(&77) && order[..2].contains(&78), "{:?}", &order[..5]);
    assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)));
}
