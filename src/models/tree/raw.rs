//! Walking a tree on raw values: for models whose features have more thresholds than a byte can tell apart (isolation forests, most imports).

use super::bins::category_code;
use super::codes::LANES;
use super::model::{Feature, LEAF, NO_SET, Tree};

/// A leaf is its own child.
#[derive(Debug, Clone, Copy)]
struct Node {
    threshold: f64,
    /// The left child; the right one follows it.
    left: u32,
    feature: u16,
    default_left: bool,
    is_set: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct RawTree {
    nodes: Vec<Node>,
    /// Per node a leaf's place among the tree's values, or a set's among its sets.
    place: Vec<u32>,
    sets: Vec<[u64; 4]>,
    depth: usize,
}

impl RawTree {
    /// The tree is valid and has at most 65,536 features.
    pub(crate) fn new(tree: &Tree) -> Self {
        let leaf = |left: usize| Node {
            threshold: f64::INFINITY,
            left: left as u32,
            feature: 0,
            default_left: true,
            is_set: false,
        };
        let mut made = Self { nodes: vec![leaf(0)], place: vec![0], sets: tree.sets.clone(), depth: 0 };
        let mut level = vec![(0_usize, 0_usize)];
        while !level.is_empty() {
            let mut next = Vec::new();
            for (old, new) in level {
                if tree.feature[old] == LEAF {
                    made.nodes[new] = leaf(new);
                    made.place[new] = tree.left[old];
                    continue;
                }
                let left = made.nodes.len();
                made.nodes.extend([leaf(left), leaf(left + 1)]);
                made.place.extend([0; 2]);
                let is_set = tree.set[old] != NO_SET;
                made.nodes[new] = Node {
                    threshold: tree.threshold[old],
                    left: left as u32,
                    feature: tree.feature[old] as u16,
                    default_left: tree.default_left[old],
                    is_set,
                };
                if is_set {
                    made.place[new] = tree.set[old];
                }
                next.push((tree.left[old] as usize, left));
                next.push((tree.right[old] as usize, left + 1));
            }
            made.depth += usize::from(!next.is_empty());
            level = next;
        }
        made
    }

    /// For the rows `first..first + count` (at most [`LANES`]) the places of their leaves.
    pub(crate) fn leaves(&self, features: &[Feature], columns: &[&[f64]], first: usize, count: usize) -> [u32; LANES] {
        let mut at = [0_u32; LANES];
        for _ in 0..self.depth {
            let mut moved = 0;
            for (lane, at) in at[..count].iter_mut().enumerate() {
                let node = &self.nodes[*at as usize];
                let value = columns[usize::from(node.feature)][first + lane];
                let right = if node.is_set {
                    self.set_right(features, node, self.place[*at as usize], value)
                } else if node.default_left {
                    value > node.threshold
                } else {
                    // NaN is not less or equal to anything.
                    !matches!(
                        value.partial_cmp(&node.threshold),
                        Some(std::cmp::Ordering::Less | std::cmp::Ordering::Equal)
                    )
                };
                let next = node.left + u32::from(right);
                moved |= next ^ *at;
                *at = next;
            }
            if moved == 0 {
                break;
            }
        }
        at.map(|node| self.place[node as usize])
    }

    fn set_right(&self, features: &[Feature], node: &Node, set: u32, value: f64) -> bool {
        let Feature::Categorical { bin_of } = &features[usize::from(node.feature)] else { return false };
        match category_code(bin_of, value) {
            super::MISSING => !node.default_left,
            code => (self.sets[set as usize][usize::from(code / 64)] >> (code % 64)) & 1 == 0,
        }
    }
}
