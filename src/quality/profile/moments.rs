//! Mean and standard deviation of numbers that come in parts, after Chan, Golub and LeVeque ("Updating formulae and a
//! pairwise algorithm for computing sample variances", 1979).

#[derive(Debug, Clone)]
pub(super) struct Moments {
    count: f64,
    mean: f64,
    /// Sum of the squared distances from the mean.
    squares: f64,
    sum: f64,
    /// The sum of integers without rounding; `None` when it cannot be had.
    whole: Option<i128>,
}

impl Default for Moments {
    fn default() -> Self {
        Self { count: 0.0, mean: 0.0, squares: 0.0, sum: 0.0, whole: Some(0) }
    }
}

impl Moments {
    pub(super) fn add_numbers(&mut self, numbers: &[f64]) {
        if numbers.is_empty() {
            return;
        }
        let count = numbers.len() as f64;
        let sum: f64 = lanes(numbers, |number| number);
        let mean = sum / count;
        let squares = lanes(numbers, |number| (number - mean) * (number - mean));
        self.combine(count, mean, squares, sum);
    }

    /// The same numbers' sum without rounding.
    pub(super) fn add_whole(&mut self, numbers: impl Iterator<Item = Option<i128>>) {
        let Some(mut sum) = self.whole else { return };
        for number in numbers {
            match number.and_then(|number| sum.checked_add(number)) {
                Some(more) => sum = more,
                None => {
                    self.whole = None;
                    return;
                }
            }
        }
        self.whole = Some(sum);
    }

    pub(super) fn add_repeated(&mut self, number: f64, whole: Option<i128>, times: u64) {
        let count = times as f64;
        self.combine(count, number, 0.0, number * count);
        let whole = whole.and_then(|whole| whole.checked_mul(i128::from(times)));
        self.whole = self.whole.zip(whole).and_then(|(sum, more)| sum.checked_add(more));
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.whole = self.whole.zip(other.whole).and_then(|(one, other)| one.checked_add(other));
        self.combine(other.count, other.mean, other.squares, other.sum);
    }

    fn combine(&mut self, count: f64, mean: f64, squares: f64, sum: f64) {
        if count == 0.0 {
            return;
        }
        let both = self.count + count;
        let distance = mean - self.mean;
        self.squares += squares + distance * distance * self.count / both * count;
        self.mean += distance * count / both;
        self.count = both;
        self.sum += sum;
    }

    /// In ones, of which each is `unit` of the numbers.
    pub(super) fn mean(&self, unit: f64) -> f64 {
        self.whole.map_or(self.sum, |whole| whole as f64) / (self.count * unit)
    }

    /// Of a sample; `None` for less than two rows. `rows` counts those that are not finite too.
    pub(super) fn deviation_of(&self, rows: u64, is_finite: bool) -> Option<f64> {
        match (rows, is_finite) {
            (0 | 1, _) => None,
            (_, false) => Some(f64::NAN),
            (_, true) => Some((self.squares / (self.count - 1.0)).sqrt()),
        }
    }
}

/// A sum in eight lanes, which the compiler adds side by side.
fn lanes(numbers: &[f64], of: impl Fn(f64) -> f64) -> f64 {
    let mut sums = [0.0; 8];
    let (groups, rest) = numbers.as_chunks::<8>();
    for group in groups {
        for (sum, number) in sums.iter_mut().zip(group) {
            *sum += of(*number);
        }
    }
    sums.iter().sum::<f64>() + rest.iter().map(|number| of(*number)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_give_what_the_whole_gives() {
        let numbers: Vec<f64> = (0..1000).map(|number| 1e9 + f64::from(number)).collect();
        let mut parts = Moments::default();
        for part in numbers.chunks(37) {
            let mut other = Moments::default();
            other.add_numbers(part);
            other.add_whole(part.iter().map(|number| Some(*number as i128)));
            parts.merge(&other);
        }
        assert_eq!(parts.mean(1.0), 1e9 + 499.5);
        // PostgreSQL: SELECT stddev(x) FROM generate_series(1e9::float8, 1e9 + 999) x
        assert!((parts.deviation_of(1000, true).unwrap() - 288.819_436_095_749_9).abs() < 1e-6);
    }
}
