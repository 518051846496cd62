//! Damaged models, cancels, data that teaches nothing.

use super::*;

#[test]
fn damaged_models_are_errors_and_never_panic() {
    let data = Data::new(300, 17);
    let mut rng = Rng::new(1, &[]);
    let (mut refused, mut passed) = (0, 0);
    for ensemble in all_models(&data, 1) {
        ensemble.validate().unwrap();
        for _ in 0..150 {
            let mut damaged = ensemble.clone();
            let number = rng.below(damaged.trees.len() as u32) as usize;
            let tree = &mut damaged.trees[number];
            let node = rng.below(tree.len() as u32) as usize;
            let odd = [0, 1, node as u32, tree.len() as u32, LEAF][rng.below(5) as usize];
            match rng.below(12) {
                0 => tree.left[node] = odd,
                1 => tree.right[node] = odd,
                2 => tree.feature[node] = odd,
                3 => tree.set[node] = odd,
                4 => tree.threshold[node] = f64::NAN,
                5 => tree.cover[node] = -1.0,
                6 => tree.values.truncate(rng.below(tree.values.len() as u32 + 1) as usize),
                7 => tree.width = odd,
                8 => tree.output = odd,
                9 => tree.gain.truncate(node),
                10 => damaged.base.clear(),
                _ => damaged.features.truncate(2),
            }
            let read = Predictor::new(&damaged);
            if let Ok(predictor) = &read {
                let columns: Vec<&[f64]> = data.slices().iter().map(|column| &column[..7]).collect();
                let columns = &columns[..damaged.features.len()];
                predictor.predict(columns, 1, &Unwatched).unwrap();
                Explainer::new(&damaged, &Outline::new(&damaged)).explain(columns, 1, &Unwatched).unwrap();
                passed += 1;
            } else {
                refused += 1;
            }
        }
    }
    assert!(refused > 400 && passed > 0, "{refused} {passed}");
}

#[test]
fn a_class_of_next_to_no_weight_does_no_harm() {
    let data = Data::new(2000, 25);
    let labels = data.binary();
    for class_weights in [[1.0, 1e-17], [1e-17, 1.0], [1e-300, 1.0], [1.0, 1e-13]] {
        let options = ForestOptions { features_per_node: FeaturesPerNode::Share(1.0), ..options(10, 2) };
        let weights = Some(class_weights.as_slice());
        let forest = train_forest_classifier(&data.matrix, &data.bins, &labels, 2, None, weights, &options, &Unwatched);
        let ensemble = forest.unwrap().ensemble;
        ensemble.validate().unwrap();
        let shares = Predictor::new(&ensemble).unwrap().predict(&data.slices(), 1, &Unwatched).unwrap();
        assert!(shares.iter().all(|share| (0.0..=1.0 + 1e-9).contains(share)), "{class_weights:?}");
    }
}

#[test]
fn labels_of_rows_without_weight_do_not_coarsen_what_is_out_of_bag() {
    let data = Data::new(1000, 26);
    let weights: Vec<f64> = (0..1000).map(|row| if row < 900 { 1.0 } else { 0.0 }).collect();
    let unseen = |beyond: f64| {
        let labels: Vec<f64> = (0..1000).map(|row| if row < 900 { data.number[row] } else { beyond }).collect();
        let options = ForestOptions { out_of_bag: true, ..options(20, 1) };
        train_forest_regressor(&data.matrix, &data.bins, &labels, Some(&weights), &options, &Unwatched)
            .unwrap()
            .out_of_bag
            .unwrap()
    };
    // As numbers, of which some are NaN.
    let bits = |numbers: Vec<f64>| numbers.into_iter().map(f64::to_bits).collect::<Vec<u64>>();
    assert_eq!(bits(unseen(1e200)), bits(unseen(0.0)));
}

/// Stops at its `n`-th question.
struct StopAt(std::sync::atomic::AtomicUsize);

impl Watch for StopAt {
    fn check(&self) -> Result<(), Stopped> {
        let left =
            self.0.fetch_update(std::sync::atomic::Ordering::Relaxed, std::sync::atomic::Ordering::Relaxed, |left| {
                left.checked_sub(1)
            });
        left.map(|_| ()).map_err(|_| Stopped)
    }

    fn grown(&self, _bytes: usize) -> Result<(), Stopped> {
        Ok(())
    }

    fn progress(&self, _done: usize, _total: usize, _loss: Option<f64>) {}
}

/// Has room for so many bytes.
struct Room(std::sync::atomic::AtomicUsize);

impl Watch for Room {
    fn check(&self) -> Result<(), Stopped> {
        Ok(())
    }

    fn grown(&self, bytes: usize) -> Result<(), Stopped> {
        let order = std::sync::atomic::Ordering::Relaxed;
        let taken = self.0.fetch_update(order, order, |room| room.checked_sub(bytes));
        taken.map(|_| ()).map_err(|_| Stopped)
    }

    fn progress(&self, _done: usize, _total: usize, _loss: Option<f64>) {}
}

#[test]
fn finished_trees_are_asked_for_one_by_one() {
    let data = Data::new(2000, 4);
    let forest = |room: usize| {
        let watch = Room(room.into());
        let options = options(20, 2);
        let forest = train_forest_classifier(&data.matrix, &data.bins, &data.binary(), 2, None, None, &options, &watch);
        (forest, watch.0.into_inner())
    };
    let (whole, rest) = forest(usize::MAX);
    let taken = usize::MAX - rest;
    assert_eq!(taken, whole.unwrap().ensemble.bytes());
    assert!(forest(taken).0.is_ok());
    assert_eq!(forest(taken - 1).0.map(|_| ()), Err(Error::Stopped));
    // What is asked for beforehand does not depend on how many trees there will be.
    assert_eq!(forest_bytes(2000, 5, 2, &options(2, 2)), forest_bytes(2000, 5, 2, &options(1000, 2)));
}

#[test]
fn rows_of_little_or_no_weight_do_no_harm() {
    let rows = 2000;
    let data = Data::new(rows, 21);
    let zeroes = |kept: usize| (0..rows).map(|row| if row < kept { 1.0 } else { 0.0 }).collect::<Vec<f64>>();
    let decay = |pace: f64| (0..rows).map(|row| (-(row as f64) / pace).exp()).collect::<Vec<f64>>();
    for weights in [zeroes(1), zeroes(4), decay(20.0), decay(2.0), decay(500.0)] {
        for classes in [2_u16, 3] {
            let labels: Vec<u16> = (0..rows).map(|row| (row % usize::from(classes)) as u16).collect();
            let forest = train_forest_classifier(
                &data.matrix,
                &data.bins,
                &labels,
                usize::from(classes),
                Some(&weights),
                None,
                &options(10, 2),
                &Unwatched,
            );
            let ensemble = forest.unwrap().ensemble;
            ensemble.validate().unwrap();
            let sums = Predictor::new(&ensemble).unwrap().predict(&data.slices(), 1, &Unwatched).unwrap();
            assert!(sums.iter().all(|share| (-1e-9..=1.0 + 1e-9).contains(share)));
        }
        let forest =
            train_forest_regressor(&data.matrix, &data.bins, &data.number, Some(&weights), &options(10, 2), &Unwatched);
        forest.unwrap().ensemble.validate().unwrap();
    }
    // Labels of rows without weight are nowhere to be found.
    let labels: Vec<f64> = (0..rows).map(|row| if row < 3 { 1.0 } else { 1e6 }).collect();
    let forest =
        train_forest_regressor(&data.matrix, &data.bins, &labels, Some(&zeroes(3)), &options(20, 1), &Unwatched);
    let ensemble = forest.unwrap().ensemble;
    let predicted = Predictor::new(&ensemble).unwrap().predict(&data.slices(), 1, &Unwatched).unwrap();
    assert!(predicted.iter().all(|number| (number - 1.0).abs() < 1e-9));
}

#[test]
fn a_stopped_training_ends_with_an_error() {
    let data = Data::new(5000, 18);
    for questions in [0, 1, 5] {
        let watch = StopAt(questions.into());
        let forest =
            train_forest_classifier(&data.matrix, &data.bins, &data.binary(), 2, None, None, &options(99, 2), &watch);
        assert_eq!(forest.map(|_| ()), Err(Error::Stopped));
        let watch = StopAt(questions.into());
        let target = Target { labels: &data.number, weights: None };
        let options = BoostOptions { threads: 2, ..BoostOptions::default() };
        let boosted = train_boosting(
            &data.matrix,
            &data.bins,
            target,
            None,
            Objective::Squared,
            &options,
            &watch,
            &mut |_, _| {},
        );
        assert_eq!(boosted.map(|_| ()), Err(Error::Stopped));
    }
}

#[test]
fn each_leaf_of_a_quantile_asks_whether_to_go_on() {
    let data = Data::new(2000, 24);
    let boost = |questions: usize| {
        let watch = StopAt(questions.into());
        let options = BoostOptions { iterations: 1, leaves_max: 16, ..BoostOptions::default() };
        let target = Target { labels: &data.number, weights: None };
        let (matrix, bins, objective) = (&data.matrix, &data.bins, Objective::Quantile { alpha: 0.7 });
        let boosted = train_boosting(matrix, bins, target, None, objective, &options, &watch, &mut |_, _| {});
        (boosted.map(|boosted| boosted.ensemble.trees[0].leaves()), questions - watch.0.into_inner())
    };
    let (leaves, asked) = boost(1000);
    let leaves = leaves.unwrap();
    assert!(leaves > 8 && asked > leaves, "{leaves} {asked}");
    assert_eq!(boost(asked - 1).0, Err(Error::Stopped));
}

#[test]
fn nothing_to_learn_is_no_failure() {
    let constant = vec![vec![1.0; 50], vec![f64::NAN; 50]];
    let bins: Vec<Bins> = constant.iter().map(|column| Bins::numeric(&mut column.clone(), 254, 3)).collect();
    let matrix = encode(&constant, &bins);
    let columns: Vec<&[f64]> = constant.iter().map(Vec::as_slice).collect();
    let one_class = vec![1_u16; 50];
    let forest =
        train_forest_classifier(&matrix, &bins, &one_class, 2, None, None, &options(3, 2), &Unwatched).unwrap();
    let predict = |ensemble: &Ensemble| Predictor::new(ensemble).unwrap().predict(&columns, 1, &Unwatched).unwrap();
    assert!(predict(&forest.ensemble).iter().all(|&share| share == 1.0));
    for objective in [Objective::Squared, Objective::Logistic, Objective::Softmax { classes: 2 }] {
        let target = Target { labels: &[1.0; 50], weights: None };
        let boosted = train_boosting(
            &matrix,
            &bins,
            target,
            None,
            objective,
            &BoostOptions::default(),
            &Unwatched,
            &mut |_, _| {},
        )
        .unwrap();
        assert!(predict(&boosted.ensemble).iter().all(|value| value.is_finite()));
    }
    let empty = Matrix::new(vec![Vec::new(); 2]).unwrap();
    let refused = train_forest_regressor(&empty, &bins, &[], None, &options(1, 1), &Unwatched);
    assert!(matches!(refused, Err(Error::Invalid(_))));
}

#[test]
fn a_team_does_everything_once_and_hands_on_a_panic() {
    let team = crate::models::tree::team::Team::new(3);
    for items in [0, 1, 2, 100] {
        let done: Vec<_> = (0..items).map(|_| std::sync::atomic::AtomicUsize::new(0)).collect();
        team.each((0..items).collect(), |item: usize| {
            done[item].fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        });
        assert!(done.iter().all(|done| done.load(std::sync::atomic::Ordering::Relaxed) == 1));
    }
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        team.each((0..100).collect(), |item: usize| assert!(item != 50, "item 50"));
    }));
    assert!(caught.is_err());
    team.each(vec![1, 2], |_| {});
}

#[test]
fn held_out_rows_may_weigh_nothing() {
    let data = Data::new(2000, 21);
    let target = Target { labels: &data.number, weights: None };
    let boost = |weights: Option<&[f64]>| {
        let held_out = Target { labels: &data.number, weights };
        let options = BoostOptions { iterations: 5, early_stopping_rounds: Some(2), ..BoostOptions::default() };
        let (matrix, bins) = (&data.matrix, &data.bins);
        let held_out = Some((matrix, held_out));
        train_boosting(matrix, bins, target, held_out, Objective::Squared, &options, &Unwatched, &mut |_, _| {})
    };
    let weightless = boost(Some(&[0.0; 2000])).unwrap();
    assert_eq!((weightless.iterations, weightless.log[0].held_out), (5, None));
    assert!(boost(None).unwrap().log[0].held_out.is_some());
    let mut negative = [0.0; 2000];
    negative[7] = -1.0;
    assert!(matches!(boost(Some(&negative)), Err(Error::Invalid(text)) if text.contains("negative")));
}

#[test]
fn memory_is_asked_for_as_rows_can_use_it() {
    let options = IsolationOptions { trees: 300, rows_per_tree: 1_000_000, threads: 2, ..IsolationOptions::default() };
    assert_eq!(
        isolation_bytes(&options, 1000),
        isolation_bytes(&IsolationOptions { rows_per_tree: 1000, ..options.clone() }, 1_000_000)
    );
    assert!(isolation_bytes(&options, 1000) < 32 << 20);
    let bytes = |leaves_max| {
        let options = BoostOptions { leaves_max, ..BoostOptions::default() };
        boost_bytes(10_000, 0, 10, Objective::Squared, &options)
    };
    assert_eq!(bytes(65_536), bytes(500));
    assert!(bytes(100) < bytes(500));
    let of = |objective| boost_bytes(10_000, 0, 10, objective, &BoostOptions::default());
    assert_eq!(of(Objective::Quantile { alpha: 0.5 }), of(Objective::Squared) + 10_000 * 16);
}
