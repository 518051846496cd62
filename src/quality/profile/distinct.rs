//! HyperLogLog: how many distinct hashes there were, in 16 KiB, with a standard error of 0.81 %.

const INDEX_BITS: u32 = 14;
const REGISTERS: usize = 1 << INDEX_BITS;
/// Bits of a hash that are left to count zeros in.
const RANK_BITS: u32 = u64::BITS - INDEX_BITS;

#[derive(Debug, Clone)]
pub(super) struct HyperLogLog {
    registers: Box<[u8]>,
}

impl HyperLogLog {
    pub(super) fn new() -> Self {
        Self { registers: vec![0; REGISTERS].into_boxed_slice() }
    }

    pub(super) fn size(&self) -> usize {
        self.registers.len()
    }

    #[inline]
    pub(super) fn add(&mut self, hash: u64) {
        let index = (hash & (REGISTERS as u64 - 1)) as usize;
        let rank = ((hash >> INDEX_BITS) | (1 << RANK_BITS)).trailing_zeros() as u8 + 1;
        if let Some(register) = self.registers.get_mut(index) {
            *register = (*register).max(rank);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (own, other) in self.registers.iter_mut().zip(&other.registers) {
            *own = (*own).max(*other);
        }
    }

    /// Ertl's improved estimator ("New cardinality estimation algorithms for HyperLogLog sketches", arXiv:1702.01284), which
    /// needs no tables for small and large numbers.
    pub(super) fn estimate(&self) -> u64 {
        const RANKS: usize = RANK_BITS as usize + 2;
        let mut with_rank = [0_u32; RANKS];
        for register in &self.registers {
            if let Some(number) = with_rank.get_mut(usize::from(*register)) {
                *number += 1;
            }
        }
        let registers = REGISTERS as f64;
        let [empty, ranks @ .., full] = with_rank;
        let mut sum = registers * tau(1.0 - f64::from(full) / registers);
        for number in ranks.iter().rev() {
            sum = 0.5 * (sum + f64::from(*number));
        }
        sum += registers * sigma(f64::from(empty) / registers);
        (registers * registers / (2.0 * std::f64::consts::LN_2 * sum)).round() as u64
    }
}

fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut sum) = (1.0, x);
    loop {
        x *= x;
        let before = sum;
        sum += x * y;
        y += y;
        if sum <= before {
            return sum;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut sum) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = sum;
        y *= 0.5;
        sum -= (1.0 - x).powi(2) * y;
        if sum >= before {
            return sum / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::profile::numbers::mixed;

    #[test]
    fn estimates_are_within_three_standard_errors() {
        assert_eq!(HyperLogLog::new().estimate(), 0);
        for distinct in [1_u64, 100, 5_000, 50_000, 1_000_000] {
            let (mut one, mut other) = (HyperLogLog::new(), HyperLogLog::new());
            for value in 0..distinct {
                if value % 3 == 0 {
                    one.add(mixed(value))
                } else {
                    other.add(mixed(value))
                }
                other.add(mixed(value / 2));
            }
            one.merge(&other);
            let error = one.estimate() as f64 / distinct as f64 - 1.0;
            assert!(error.abs() < 3.0 * 0.0081, "{distinct}: {error}");
        }
    }
}
