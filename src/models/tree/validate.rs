//! Whether an ensemble that came from outside can be one: what passes cannot make prediction or explanation panic, loop or return garbage.

use super::{Ensemble, Error, FEATURES_MAX, Feature, LEAF, Link, NO_SET, Tree};

/// The deepest tree that is read: explanation keeps a path in memory.
pub(crate) const DEPTH_MAX: usize = 4096;

impl Ensemble {
    /// Checks all shapes, indexes and numbers; [`Error::Damaged`] says what is wrong and where. Linear in the model's size.
    pub fn validate(&self) -> Result<(), Error> {
        let outputs = self.outputs as usize;
        if self.features.is_empty() || self.features.len() > FEATURES_MAX {
            return damaged(format!("{} features", self.features.len()));
        }
        if outputs == 0 || self.base.len() != outputs {
            return damaged(format!("{outputs} outputs with {} base values", self.base.len()));
        }
        if !self.scale.is_finite() || self.base.iter().any(|base| !base.is_finite()) {
            return damaged("a base value or the scale is not finite".into());
        }
        if matches!(self.link, Link::Isolation { path } if !(path.is_finite() && path > 0.0)) {
            return damaged("the mean path length is not positive".into());
        }
        for (number, tree) in self.trees.iter().enumerate() {
            if tree.output as usize + tree.width as usize > outputs || tree.width == 0 {
                return damaged(format!("tree {number} writes outside of the outputs"));
            }
            if let Err(what) = self.check_tree(tree) {
                return damaged(format!("tree {number}: {what}"));
            }
        }
        Ok(())
    }

    fn check_tree(&self, tree: &Tree) -> Result<(), String> {
        let nodes = tree.len();
        let lengths = [
            tree.threshold.len(),
            tree.set.len(),
            tree.default_left.len(),
            tree.left.len(),
            tree.right.len(),
            tree.gain.len(),
            tree.cover.len(),
        ];
        if nodes == 0 || nodes >= LEAF as usize || lengths.iter().any(|&length| length != nodes) {
            return Err("its arrays differ in length or are empty".into());
        }
        if tree.values.iter().any(|value| !value.is_finite()) {
            return Err("a leaf value is not finite".into());
        }
        if tree.cover.iter().chain(&tree.gain).any(|value| !value.is_finite() || *value < 0.0) {
            return Err("a cover or gain is negative or not finite".into());
        }
        let leaves = tree.values.len() / tree.width as usize;
        // Children come after their parents, each once: no cycles, nothing shared, nothing lost.
        let mut depth = vec![None; nodes];
        depth[0] = Some(0_usize);
        for node in 0..nodes {
            let Some(above) = depth[node] else { return Err(format!("nothing leads to node {node}")) };
            if tree.feature[node] == LEAF {
                if tree.left[node] as usize >= leaves {
                    return Err(format!("leaf {node} has no values"));
                }
                continue;
            }
            if above >= DEPTH_MAX {
                return Err(format!("it is deeper than {DEPTH_MAX}"));
            }
            self.check_split(tree, node)?;
            for child in [tree.left[node] as usize, tree.right[node] as usize] {
                if child <= node || child >= nodes || depth[child].is_some() {
                    return Err(format!("node {node} has an impossible child"));
                }
                depth[child] = Some(above + 1);
            }
        }
        Ok(())
    }

    fn check_split(&self, tree: &Tree, node: usize) -> Result<(), String> {
        let sound = match self.features.get(tree.feature[node] as usize) {
            None => false,
            Some(Feature::Numeric) => tree.set[node] == NO_SET && !tree.threshold[node].is_nan(),
            Some(Feature::Categorical { .. }) => (tree.set[node] as usize) < tree.sets.len(),
        };
        if sound { Ok(()) } else { Err(format!("node {node} splits a feature in a way that it cannot be split")) }
    }
}

fn damaged(what: String) -> Result<(), Error> {
    Err(Error::Damaged(format!("the model is damaged: {what}")))
}
