//! Trees as one TreeEnsembleRegressor of `ai.onnx.ml` 3.
//!
//! Its thresholds and inputs are doubles (`nodes_values_as_tensor`), so that it decides as the model does; but what it answers is
//! single precision. So every leaf gives two numbers, whose sums are exact: a multiple of 2⁻²² of the largest sum, and the rest.
//! The graph adds them in double precision, and does what follows (base, scale, link) itself.
//!
//! A split of categories is a chain of comparisons of their bins, one for each run of bins that go the same way. The nodes of a
//! chain share their children, as in LightGBM's exports; only "true" leads to a node that was met before.

use super::graph::{Builder, ML, doubles, int, ints, text, words};
use crate::models::tree::{Ensemble, Feature, LEAF, Link, MISSING, Tree};

/// The columns of `doubles` by way of the ensemble: its outputs after the link.
pub(super) fn outputs(builder: &mut Builder, ensemble: &Ensemble, columns: &str) -> String {
    let width = ensemble.outputs as usize;
    let sums = sums(builder, ensemble, columns);
    let doubled = builder.as_double(&sums.0);
    let (coarse, fine) = builder.halves(&doubled, width);
    let sum = builder.add("Add", &[&coarse, &fine], Vec::new());
    let factors: Vec<f64> = sums.1.iter().map(|exponent| ensemble.scale * exponent.exp2()).collect();
    let factors = builder.doubles(&factors, width);
    let scaled = builder.add("Mul", &[&sum, &factors], Vec::new());
    let base = builder.doubles(&ensemble.base, width);
    let linear = builder.add("Add", &[&scaled, &base], Vec::new());
    match ensemble.link {
        Link::Identity => linear,
        Link::Logistic => builder.add("Sigmoid", &[&linear], Vec::new()),
        Link::Softmax => builder.add("Softmax", &[&linear], vec![int("axis", 1)]),
        Link::Isolation { path } => {
            let path = builder.double(-path);
            let exponent = builder.add("Div", &[&linear, &path], Vec::new());
            let two = builder.double(2.0);
            builder.add("Pow", &[&two, &exponent], Vec::new())
        }
    }
}

/// The trees' sums, coarse and fine ones side by side, and the powers of two that they were divided by.
fn sums(builder: &mut Builder, ensemble: &Ensemble, columns: &str) -> (String, Vec<f64>) {
    let exponents = exponents(ensemble);
    let mut nodes = Nodes::default();
    for (number, tree) in ensemble.trees.iter().enumerate() {
        nodes.add(number as i64, tree, ensemble, &exponents);
    }
    let attributes = vec![
        text("aggregate_function", "SUM"),
        text("post_transform", "NONE"),
        int("n_targets", 2 * i64::from(ensemble.outputs)),
        ints("nodes_treeids", nodes.tree),
        ints("nodes_nodeids", nodes.id),
        ints("nodes_featureids", nodes.feature),
        words("nodes_modes", &nodes.mode),
        doubles("nodes_values_as_tensor", &nodes.threshold),
        ints("nodes_truenodeids", nodes.yes),
        ints("nodes_falsenodeids", nodes.no),
        ints("nodes_missing_value_tracks_true", nodes.missing),
        ints("target_treeids", nodes.leaf_tree),
        ints("target_nodeids", nodes.leaf),
        ints("target_ids", nodes.target),
        doubles("target_weights_as_tensor", &nodes.weight),
    ];
    (builder.add_of(ML, "TreeEnsembleRegressor", &[columns], attributes), exponents)
}

/// For each output a power of two that no sum of leaves exceeds.
fn exponents(ensemble: &Ensemble) -> Vec<f64> {
    let mut greatest = vec![0.0_f64; ensemble.outputs as usize];
    for tree in &ensemble.trees {
        let width = (tree.width as usize).max(1);
        for (place, greatest) in greatest.iter_mut().skip(tree.output as usize).take(width).enumerate() {
            let values = tree.values.iter().skip(place).step_by(width);
            *greatest += values.fold(0.0, |most: f64, value| most.max(value.abs()));
        }
    }
    let exponent = |greatest: f64| if greatest > 0.0 { greatest.log2().ceil().clamp(-1000.0, 1000.0) } else { 0.0 };
    greatest.into_iter().map(exponent).collect()
}

/// Parts of a sum of at most 1 are multiples of this: 24 bits hold the sum. Half of it is left for rounding.
const COARSE: f64 = 1.0 / (1_u64 << 22) as f64;

/// What ONNX keeps of all nodes, side by side.
#[derive(Default)]
struct Nodes {
    tree: Vec<i64>,
    id: Vec<i64>,
    feature: Vec<i64>,
    mode: Vec<&'static str>,
    threshold: Vec<f64>,
    yes: Vec<i64>,
    no: Vec<i64>,
    missing: Vec<i64>,
    leaf_tree: Vec<i64>,
    leaf: Vec<i64>,
    target: Vec<i64>,
    weight: Vec<f64>,
}

impl Nodes {
    fn add(&mut self, number: i64, tree: &Tree, ensemble: &Ensemble, exponents: &[f64]) {
        let runs: Vec<Option<Runs>> = (0..tree.len()).map(|node| runs(tree, node, ensemble)).collect();
        let mut ids = Vec::with_capacity(runs.len());
        let mut next = 0;
        for runs in &runs {
            ids.push(next);
            next += runs.as_ref().map_or(1, |runs| runs.ends.len().max(1)) as i64;
        }
        let id = |node: u32| ids.get(node as usize).copied().unwrap_or(0);
        for (node, runs) in runs.iter().enumerate() {
            let own = id(node as u32);
            let feature = tree.feature.get(node).copied().unwrap_or(LEAF);
            if feature == LEAF {
                self.push(number, own, 0, None, [0, 0], false);
                self.add_leaf(number, own, tree, node, exponents);
                continue;
            }
            let of = |children: &[u32]| children.get(node).map_or(0, |child| id(*child));
            let (left, right) = (of(&tree.left), of(&tree.right));
            let feature = i64::from(feature);
            let Some(runs) = runs else {
                let threshold = tree.threshold.get(node).copied();
                let missing = tree.default_left.get(node).copied().unwrap_or(false);
                self.push(number, own, feature, threshold, [left, right], missing);
                continue;
            };
            let sides = if runs.first_left { [left, right] } else { [right, left] };
            for (place, end) in runs.ends.iter().enumerate() {
                let side = |place: usize| sides.get(place % 2).copied().unwrap_or(left);
                let last = place + 1 == runs.ends.len();
                let no = if last { side(place + 1) } else { own + place as i64 + 1 };
                self.push(number, own + place as i64, feature, Some(f64::from(*end)), [side(place), no], false);
            }
        }
    }

    fn push(
        &mut self,
        tree: i64,
        id: i64,
        feature: i64,
        threshold: Option<f64>,
        [yes, no]: [i64; 2],
        missing_is_yes: bool,
    ) {
        self.tree.push(tree);
        self.id.push(id);
        self.feature.push(feature);
        self.mode.push(if threshold.is_some() { "BRANCH_LEQ" } else { "LEAF" });
        self.threshold.push(threshold.unwrap_or(0.0));
        self.yes.push(yes);
        self.no.push(no);
        self.missing.push(i64::from(missing_is_yes));
    }

    fn add_leaf(&mut self, number: i64, id: i64, tree: &Tree, node: usize, exponents: &[f64]) {
        let outputs = exponents.len();
        for (place, value) in tree.leaf(node).iter().enumerate() {
            let output = tree.output as usize + place;
            let value = value * exponents.get(output).map_or(1.0, |exponent| (-exponent).exp2());
            let coarse = (value / COARSE).round() * COARSE;
            for (target, part) in [(output, coarse), (outputs + output, value - coarse)] {
                // A leaf without any number would be none.
                if part != 0.0 || place == 0 {
                    self.leaf_tree.push(number);
                    self.leaf.push(id);
                    self.target.push(target as i64);
                    self.weight.push(part);
                }
            }
        }
    }
}

/// The bins of a category (and [`MISSING`] after them) in runs that go the same way by turns.
struct Runs {
    first_left: bool,
    /// The last bin of each run but the last run; of one run its end, after which nothing comes.
    ends: Vec<u8>,
}

fn runs(tree: &Tree, node: usize, ensemble: &Ensemble) -> Option<Runs> {
    let Feature::Categorical { bin_of } = ensemble.features.get(*tree.feature.get(node)? as usize)? else {
        return None;
    };
    let set = tree.sets.get(*tree.set.get(node)? as usize)?;
    let bins = bin_of.iter().filter(|bin| **bin != MISSING).max().map_or(0, |bin| usize::from(*bin) + 1);
    let goes_left = |bin: u8| {
        if bin == MISSING {
            return tree.default_left.get(node).copied().unwrap_or(false);
        }
        set.get(usize::from(bin) / 64).is_some_and(|word| (word >> (bin % 64)) & 1 == 1)
    };
    let mut codes = (0..bins).filter_map(|bin| u8::try_from(bin).ok()).chain([MISSING]);
    let mut last = codes.next()?;
    let first_left = goes_left(last);
    let mut ends = Vec::new();
    for code in codes {
        if goes_left(code) != goes_left(last) {
            ends.push(last);
        }
        last = code;
    }
    if ends.is_empty() {
        ends.push(last);
    }
    Some(Runs { first_left, ends })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What ONNX says that a node does, for the leaf that a row ends in.
    fn walked(nodes: &Nodes, row: &[f64]) -> usize {
        let mut at = 0;
        loop {
            if nodes.mode[at] == "LEAF" {
                return at;
            }
            let value = row[usize::try_from(nodes.feature[at]).unwrap()];
            let yes = value <= nodes.threshold[at] || (value.is_nan() && nodes.missing[at] == 1);
            at = usize::try_from(if yes { nodes.yes[at] } else { nodes.no[at] }).unwrap();
        }
    }

    #[test]
    fn a_chain_decides_as_the_set_does() {
        let features = vec![Feature::Categorical { bin_of: (0..200).collect() }];
        for seed in 0..200_u64 {
            let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
            let mut word = || {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                if seed % 3 == 0 { random & 0xFFFF } else { random }
            };
            let sets = match seed {
                0 => vec![[0; 4]],
                1 => vec![[u64::MAX; 4]],
                _ => vec![[word(), word(), word(), word()]],
            };
            let tree = Tree {
                output: 0,
                width: 1,
                feature: vec![0, LEAF, LEAF],
                threshold: vec![0.0; 3],
                set: vec![0, crate::models::tree::NO_SET, crate::models::tree::NO_SET],
                default_left: vec![seed % 2 == 0, false, false],
                left: vec![1, 0, 1],
                right: vec![2, 0, 0],
                gain: vec![0.0; 3],
                cover: vec![1.0; 3],
                sets,
                values: vec![1.0, 2.0],
            };
            let ensemble = Ensemble {
                features: features.clone(),
                outputs: 1,
                base: vec![0.0],
                scale: 1.0,
                link: Link::Identity,
                trees: vec![tree.clone()],
            };
            let mut nodes = Nodes::default();
            nodes.add(0, &tree, &ensemble, &exponents(&ensemble));
            for code in (0..200_u8).chain([MISSING]) {
                let raw = if code == MISSING { f64::NAN } else { f64::from(code) };
                let leaf = walked(&nodes, &[f64::from(code)]);
                let first = nodes.mode.iter().position(|mode| *mode == "LEAF").unwrap();
                assert_eq!(tree.child(0, &features[0], raw) - 1, leaf - first, "seed {seed}, code {code}");
            }
        }
    }

    #[test]
    fn the_parts_of_leaves_add_up_in_single_precision() {
        let value = |at: u32| f64::from(at).sin() * 1e7 + 1e-3;
        let mut exact = 0.0;
        let (mut coarse_sum, mut fine_sum) = (0.0_f32, 0.0_f32);
        let exponent = (1000.0 * 1e7_f64).log2().ceil();
        for at in 0..1000 {
            exact += value(at);
            let scaled = value(at) * (-exponent).exp2();
            let coarse = (scaled / COARSE).round() * COARSE;
            assert_eq!(f64::from(coarse as f32), coarse);
            coarse_sum += coarse as f32;
            fine_sum += (scaled - coarse) as f32;
        }
        let sum = (f64::from(coarse_sum) + f64::from(fine_sum)) * exponent.exp2();
        // Single precision alone would be wrong by hundreds.
        assert!((sum - exact).abs() < 1.0, "{sum} for {exact}");
    }
}
