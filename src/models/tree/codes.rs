//! Walking a tree on one-byte codes: eight bytes a node, several rows at a time, no branch that depends on the data.

use super::model::{LEAF, NO_SET, Tree};

/// Rows walked side by side: their loads overlap.
pub(crate) const LANES: usize = 16;

/// A leaf is its own child: its threshold is never exceeded, so extra steps change nothing.
#[derive(Debug, Clone, Copy, Default)]
struct Node {
    /// The left child; the right one follows it.
    left: u32,
    feature: u16,
    threshold: u8,
    /// 1 turns the code of a missing value into 0, so that it goes left; `threshold` counts it in.
    shift: u8,
}

/// A tree over codes. The codes of a number are the counts of its feature's thresholds below it.
#[derive(Debug, Clone)]
pub(crate) struct CodeTree {
    nodes: Vec<Node>,
    /// Per node, the set of codes that go right if it splits a category. Empty when no node does.
    sets: Vec<Option<[u64; 4]>>,
    /// Per node, the leaf's place among the tree's values.
    leaf: Vec<u32>,
    depth: usize,
}

/// Where the codes of a block of rows are.
pub(crate) trait Codes {
    fn code(&self, feature: usize, row: usize) -> u8;
}

/// Columns of their own.
pub(crate) struct Columns<'a>(pub(crate) &'a [&'a [u8]]);

impl Codes for Columns<'_> {
    #[inline(always)]
    fn code(&self, feature: usize, row: usize) -> u8 {
        self.0[feature][row]
    }
}

/// Columns one after another, `stride` apart.
pub(crate) struct Flat<'a> {
    pub(crate) codes: &'a [u8],
    pub(crate) stride: usize,
}

impl Codes for Flat<'_> {
    #[inline(always)]
    fn code(&self, feature: usize, row: usize) -> u8 {
        self.codes[feature * self.stride + row]
    }
}

impl CodeTree {
    /// `code` gives the code up to which a feature's values go left at a threshold. The tree is valid and has at most 65,536 features.
    pub(crate) fn new(tree: &Tree, code: impl Fn(usize, f64) -> u8) -> Self {
        let has_sets = tree.set.iter().any(|&set| set != NO_SET);
        let mut made = Self { nodes: vec![Node::default()], sets: Vec::new(), leaf: vec![0], depth: 0 };
        // Breadth first: the nodes that most rows visit lie together.
        let mut level = vec![(0_usize, 0_usize)];
        while !level.is_empty() {
            let mut next = Vec::new();
            for (old, new) in level {
                if tree.feature[old] == LEAF {
                    made.nodes[new] = Node { left: new as u32, feature: 0, threshold: 255, shift: 0 };
                    made.leaf[new] = tree.left[old];
                    continue;
                }
                let left = made.nodes.len();
                made.nodes.extend([Node::default(); 2]);
                made.leaf.extend([0; 2]);
                let feature = tree.feature[old] as usize;
                let mut node = Node { left: left as u32, feature: feature as u16, threshold: 0, shift: 0 };
                if tree.set[old] == NO_SET {
                    node.shift = u8::from(tree.default_left[old]);
                    // 254 at most before the shift. A threshold of +infinity sends all values left, so it must not move a missing one.
                    node.threshold = code(feature, tree.threshold[old]).min(254).saturating_add(node.shift);
                }
                made.nodes[new] = node;
                next.push((tree.left[old] as usize, left));
                next.push((tree.right[old] as usize, left + 1));
                if has_sets {
                    made.sets.resize(made.nodes.len(), None);
                    if let Some(set) = tree.sets.get(tree.set[old] as usize) {
                        let mut right = set.map(|word| !word);
                        let missing = 1 << 63;
                        right[3] = if tree.default_left[old] { right[3] & !missing } else { right[3] | missing };
                        made.sets[new] = Some(right);
                    }
                }
            }
            made.depth += usize::from(!next.is_empty());
            level = next;
        }
        if has_sets {
            made.sets.resize(made.nodes.len(), None);
        }
        made
    }

    /// For each of `rows` the place of its leaf, in `leaves`.
    pub(crate) fn leaves(&self, codes: &impl Codes, rows: impl Iterator<Item = usize>, leaves: &mut Vec<u32>) {
        leaves.clear();
        let mut rows = rows.fuse();
        loop {
            let mut lanes = [0_usize; LANES];
            let mut filled = 0;
            for (lane, row) in lanes.iter_mut().zip(rows.by_ref()) {
                *lane = row;
                filled += 1;
            }
            if filled == 0 {
                return;
            }
            let first = lanes[0];
            lanes[filled..].fill(first);
            leaves.extend(&self.walk_any(codes, &lanes)[..filled]);
        }
    }

    /// Adds each row's leaf value to its sum; trees of one value per leaf. `codes` have rows up to a multiple of [`LANES`].
    pub(crate) fn add_values(&self, codes: &impl Codes, values: &[f64], sums: &mut [f64]) {
        for (block, sums) in sums.chunks_mut(LANES).enumerate() {
            let rows = std::array::from_fn(|lane| block * LANES + lane);
            for (sum, leaf) in sums.iter_mut().zip(self.walk_any(codes, &rows)) {
                *sum += values[leaf as usize];
            }
        }
    }

    #[inline(always)]
    fn walk_any(&self, codes: &impl Codes, rows: &[usize; LANES]) -> [u32; LANES] {
        let found = if self.sets.is_empty() { self.walk(codes, rows) } else { self.walk_sets(codes, rows) };
        found.map(|node| self.leaf[node as usize])
    }

    #[inline(always)]
    fn walk(&self, codes: &impl Codes, rows: &[usize; LANES]) -> [u32; LANES] {
        let mut at = [0_u32; LANES];
        for _ in 0..self.depth {
            let mut moved = 0;
            for (at, &row) in at.iter_mut().zip(rows) {
                let node = self.nodes[*at as usize];
                let code = codes.code(usize::from(node.feature), row).wrapping_add(node.shift);
                let next = node.left + u32::from(code > node.threshold);
                moved |= next ^ *at;
                *at = next;
            }
            if moved == 0 {
                break;
            }
        }
        at
    }

    #[inline(always)]
    fn walk_sets(&self, codes: &impl Codes, rows: &[usize; LANES]) -> [u32; LANES] {
        let mut at = [0_u32; LANES];
        for _ in 0..self.depth {
            let mut moved = 0;
            for (at, &row) in at.iter_mut().zip(rows) {
                let node = self.nodes[*at as usize];
                let code = codes.code(usize::from(node.feature), row);
                let right = match &self.sets[*at as usize] {
                    Some(set) => (set[usize::from(code) / 64] >> (code % 64)) & 1 == 1,
                    None => code.wrapping_add(node.shift) > node.threshold,
                };
                let next = node.left + u32::from(right);
                moved |= next ^ *at;
                *at = next;
            }
            if moved == 0 {
                break;
            }
        }
        at
    }
}
