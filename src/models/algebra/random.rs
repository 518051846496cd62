//! Random numbers that stay the same for a seed in all versions: a stored seed must give the same model again.

/// SplitMix64 (Steele, Lea, Flood 2014): 64 bits of state, period 2^64, passes BigCrush.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A stream of its own for each `(seed, stream)`.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut random = Self(seed ^ stream.wrapping_mul(0xd6e8_feb8_6659_fd93));
        random.bits();
        random
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Uniform in `0..bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// `count` different numbers of `0..bound`, ascending (Floyd's algorithm needs a set; the reservoir order does not matter here).
    pub fn sample(&mut self, bound: usize, count: usize) -> Vec<usize> {
        let mut left = count.min(bound);
        let mut chosen = Vec::with_capacity(left);
        for index in 0..bound {
            if left == 0 {
                break;
            }
            if self.below(bound - index) < left {
                chosen.push(index);
                left -= 1;
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_for_ever() {
        let mut random = Random::new(42, 0);
        let first: Vec<u64> = (0..2).map(|_| random.bits()).collect();
        assert_eq!(first, [2_949_826_092_126_892_291, 5_139_283_748_462_763_858]);
        let sample = Random::new(1, 2).sample(1000, 50);
        assert!(sample.len() == 50 && sample.is_sorted() && sample.iter().all(|index| *index < 1000));
    }
}
