//! How many digits the columns of a recursive query have: plain numerics take what the recursive term makes of them.
//!
//! The term is bound with the digits that are known so far, until it makes no more of them. Where it does with each step
//! (`x * 1.1`), the column gets those of a stored one, or of the longest beside it, and the rest is rounded.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;

use super::BoundColumn;
use crate::builtins::functions::kernel::{decimals, with_decimal};
use crate::builtins::functions::numeric::DIGITS_MAX;
use crate::encode::types::NUMERIC_COLUMN;

/// Times that a recursive term is bound to learn its digits.
const ROUNDS_MAX: u32 = 4;

/// Recursive terms inside each other that are bound so often; those further inside take digits enough at once.
const LEVELS_MAX: usize = 2;

/// What carries each column of a recursive query, as far as it is known.
pub(super) struct Widths {
    pub types: Vec<DataType>,
    /// Whether the column's digits are ours to choose: numerics without a modifier, and their arrays.
    plain: Vec<bool>,
    rounds: u32,
}

impl Widths {
    /// As the non-recursive term has them; `level` counts the recursive terms around.
    pub(super) fn new(columns: &[BoundColumn], start: &DFSchema, level: usize) -> Self {
        let types = start.fields().iter().map(|field| field.data_type().clone()).collect();
        let plain = columns.iter().map(|column| column.ty.typmod < 0).collect();
        let mut widths = Self { types, plain, rounds: 0 };
        if level >= LEVELS_MAX {
            widths.rounds = ROUNDS_MAX;
            widths.settle();
        }
        widths
    }

    /// Takes in what the recursive term makes of columns that are as wide as these. Whether one became wider: the term is to
    /// be bound again.
    pub(super) fn widen(&mut self, step: &DFSchema) -> bool {
        if self.rounds >= ROUNDS_MAX {
            return false;
        }
        self.rounds += 1;
        let bound = self.scale_max();
        let mut wider = false;
        for ((ty, plain), field) in self.types.iter_mut().zip(&self.plain).zip(step.fields()) {
            let (true, Some(own), Some(made)) = (*plain, decimals(ty), decimals(field.data_type())) else { continue };
            let scale = match self.rounds {
                _ if made.1 <= own.1 => own.1,
                1 => made.1,
                // What goes on becoming finer has no end.
                _ => bound,
            };
            if scale > own.1 || (own.0 < DIGITS_MAX && whole(made) > whole(own)) {
                *ty = with_decimal(ty, &DataType::Decimal128(DIGITS_MAX, scale));
                wider = true;
            }
        }
        if wider && self.rounds == ROUNDS_MAX {
            self.settle();
        }
        wider
    }

    /// Gives all columns the digits of the longest one.
    fn settle(&mut self) {
        let bound = self.scale_max();
        for (ty, plain) in self.types.iter_mut().zip(&self.plain) {
            if *plain && decimals(ty).is_some() {
                *ty = with_decimal(ty, &DataType::Decimal128(DIGITS_MAX, bound));
            }
        }
    }

    /// Digits behind the point of a column that would take more with each step.
    fn scale_max(&self) -> i8 {
        let plain = self.types.iter().zip(&self.plain).filter(|(_, plain)| **plain);
        let scales = plain.filter_map(|(ty, _)| decimals(ty)).map(|(_, scale)| scale);
        scales.fold(NUMERIC_COLUMN.1, i8::max)
    }
}

/// Digits before the point.
fn whole((precision, scale): (u8, i8)) -> i16 {
    i16::from(precision) - i16::from(scale)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Schema};

    use super::*;

    type Digits = (u8, i8);

    fn decimal((precision, scale): Digits) -> DataType {
        DataType::Decimal128(precision, scale)
    }

    /// What the columns end with, and how often the term was bound.
    fn widened(start: &[Digits], step: impl Fn(&[Digits]) -> Vec<Digits>) -> (Vec<Digits>, u32) {
        let types = start.iter().copied().map(decimal).collect();
        let mut widths = Widths { types, plain: vec![true; start.len()], rounds: 0 };
        let mut bound = 0;
        loop {
            let own: Vec<Digits> = widths.types.iter().filter_map(decimals).collect();
            bound += 1;
            let fields = step(&own).into_iter().enumerate();
            let fields = fields.map(|(at, made)| Field::new(format!("c{at}"), decimal(made), true)).collect::<Vec<_>>();
            if !widths.widen(&DFSchema::try_from(Schema::new(fields)).unwrap()) {
                return (own, bound);
            }
        }
    }

    #[test]
    fn columns_take_the_digits_that_the_term_makes() {
        let plus = |(precision, scale): Digits, other: i8| ((precision + 1).min(38), scale.max(other));
        let times = |(precision, scale): Digits, other: i8| ((precision + 2).min(38), (scale + other).min(28));
        assert_eq!(widened(&[(2, 1)], |own| own.to_vec()), (vec![(2, 1)], 1));
        assert_eq!(widened(&[(1, 0)], |own| vec![plus(own[0], 0)]), (vec![(38, 0)], 2));
        assert_eq!(widened(&[(1, 0)], |own| vec![plus(own[0], 2)]), (vec![(38, 2)], 2));
        assert_eq!(widened(&[(2, 1)], |_| vec![(38, 16)]), (vec![(38, 16)], 2));
        // As many as a stored column has, or as the first step makes.
        assert_eq!(widened(&[(2, 1)], |own| vec![times(own[0], 1)]), (vec![(38, 10)], 3));
        assert_eq!(widened(&[(2, 1)], |own| vec![times(own[0], 13)]), (vec![(38, 14)], 2));
        // What one column hands to the next arrives whole.
        let shift = |own: &[Digits]| vec![own[1], own[2], own[2]];
        assert_eq!(widened(&[(2, 1), (2, 1), (30, 20)], shift), (vec![(38, 20), (38, 20), (30, 20)], 3));
    }

    #[test]
    fn a_term_is_bound_a_few_times_only() {
        let start: Vec<Digits> = (0..30).map(|at| if at == 29 { (30, 20) } else { (2, 1) }).collect();
        let (own, bound) = widened(&start, |own| own.iter().skip(1).chain(own.last()).copied().collect());
        assert!(own.iter().all(|(_, scale)| *scale == 20), "{own:?}");
        assert_eq!(bound, ROUNDS_MAX + 1);
    }

    #[test]
    fn other_columns_stay_as_they_are() {
        let types = vec![DataType::Int32, decimal((6, 2)), DataType::new_list(decimal((2, 1)), true)];
        let mut widths = Widths { types, plain: vec![true, false, true], rounds: 0 };
        let made = [DataType::Int64, decimal((9, 5)), DataType::new_list(decimal((3, 2)), true)];
        let fields = made.into_iter().enumerate().map(|(at, ty)| Field::new(format!("c{at}"), ty, true));
        assert!(widths.widen(&DFSchema::try_from(Schema::new(fields.collect::<Vec<_>>())).unwrap()));
        let list = DataType::new_list(decimal((38, 2)), true);
        assert_eq!(widths.types, [DataType::Int32, decimal((6, 2)), list]);
    }
}
