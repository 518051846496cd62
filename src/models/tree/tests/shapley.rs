//! SHAP values against their definition.

use super::*;

/// The Shapley values by their definition: over all subsets of features.
fn slow_shap(ensemble: &Ensemble, row: &[f64], output: usize) -> Vec<f64> {
    fn value(ensemble: &Ensemble, tree: &Tree, node: usize, row: &[f64], known: u32) -> Vec<f64> {
        if tree.feature[node] == LEAF {
            return tree.leaf(node).to_vec();
        }
        let feature = tree.feature[node] as usize;
        let go = |child: u32| value(ensemble, tree, child as usize, row, known);
        if known >> feature & 1 == 1 {
            return go(tree.child(node, &ensemble.features[feature], row[feature]) as u32);
        }
        let cover = |child: u32| tree.cover[child as usize];
        let (left, right) = (tree.left[node], tree.right[node]);
        let share = cover(left) / (cover(left) + cover(right));
        go(left).iter().zip(go(right)).map(|(l, r)| share * l + (1.0 - share) * r).collect()
    }
    let features = row.len();
    let game: Vec<f64> = (0..1_u32 << features)
        .map(|known| {
            let of = |tree: &Tree| {
                let offset = output.checked_sub(tree.output as usize).filter(|&offset| offset < tree.width as usize);
                offset.map_or(0.0, |offset| value(ensemble, tree, 0, row, known)[offset])
            };
            ensemble.base[output] + ensemble.scale * ensemble.trees.iter().map(of).sum::<f64>()
        })
        .collect();
    let factorial = |n: usize| (1..=n).product::<usize>() as f64;
    (0..features)
        .map(|feature| {
            let without = (0..1_usize << features).filter(|known| known >> feature & 1 == 0);
            let part = |known: usize| {
                let size = known.count_ones() as usize;
                factorial(size) * factorial(features - size - 1) / factorial(features)
                    * (game[known | 1 << feature] - game[known])
            };
            without.map(part).sum()
        })
        .collect()
}

#[test]
fn shap_values_are_shapley_values() {
    let (data, test) = (Data::new(600, 15), Data::new(30, 16));
    for ensemble in all_models(&data, 1) {
        let outline = Outline::new(&ensemble);
        let explainer = Explainer::new(&ensemble, &outline);
        let outputs = ensemble.outputs as usize;
        let found = explainer.explain(&test.slices(), 2, &Unwatched).unwrap();
        for (number, values) in found.chunks(5 * outputs).enumerate() {
            let row = row(&test, number);
            let sums = slow_sums(&ensemble, &row);
            for output in 0..outputs {
                let values = &values[output * 5..][..5];
                let sum: f64 = explainer.expected()[output] + values.iter().sum::<f64>();
                assert!((sum - sums[output]).abs() < 1e-9, "{sum} {}", sums[output]);
                let exact = slow_shap(&ensemble, &row, output);
                values.iter().zip(&exact).for_each(|(a, b)| assert!((a - b).abs() < 1e-9, "{values:?} {exact:?}"));
            }
        }
    }
}
