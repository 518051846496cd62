//! How many digits the columns of a recursive query have: plain numerics take what the recursive term makes of them.
//!
//! The term is bound with the digits that are known so far, until it makes no more of them. A column that gets more with each
//! step (`x * 1.1`) has those of a stored one, and the rest is rounded.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;

use super::BoundColumn;
use crate::builtins::functions::kernel::{decimals, with_decimal};
use crate::builtins::functions::numeric::DIGITS_MAX;
use crate::encode::types::NUMERIC_COLUMN;

/// Times that a recursive term is bound to learn its digits, by how many are around it: each level multiplies the times. Terms
/// further inside take digits enough at once.
const ROUNDS_MAX: [u32; 3] = [4, 4, 1];

/// What carries the columns of a recursive query, as far as it is known.
pub(super) struct Widths {
    columns: Vec<Width>,
    rounds: u32,
    rounds_max: u32,
}

struct Width {
    ty: DataType,
    /// Digits before and behind the point in the non-recursive term, and how many the first step adds behind it.
    whole: i16,
    first: i8,
    gained: i8,
    /// The digits are what they are, whatever the term makes: those of other types and of numerics with a modifier; those of
    /// a column that would get more with each step.
    settled: bool,
}

impl Widths {
    /// As the non-recursive term has them; `level` counts the recursive terms around.
    pub(super) fn new(columns: &[BoundColumn], start: &DFSchema, level: usize) -> Self {
        let columns = columns.iter().zip(start.fields());
        let columns = columns.map(|(column, field)| Width::new(field.data_type().clone(), column.ty.typmod < 0));
        Self::within(ROUNDS_MAX.get(level).copied().unwrap_or(0), columns.collect())
    }

    fn within(rounds_max: u32, columns: Vec<Width>) -> Self {
        let mut widths = Self { columns, rounds: 0, rounds_max };
        if rounds_max == 0 {
            widths.settle();
        }
        widths
    }

    pub(super) fn types(&self) -> Vec<DataType> {
        self.columns.iter().map(|column| column.ty.clone()).collect()
    }

    /// Takes in what the recursive term makes of columns that are as wide as these. Whether one became another: the term is
    /// to be bound again.
    pub(super) fn widen(&mut self, step: &DFSchema) -> bool {
        self.rounds += 1;
        let made: Vec<Option<(u8, i8)>> = step.fields().iter().map(|field| decimals(field.data_type())).collect();
        // What is handed on by a column that has all its digits is held by as many.
        let others = self.columns.iter().zip(&made).filter(|(column, made)| !column.becomes_finer(**made));
        let others = others.filter_map(|(column, _)| column.scale());
        let longest = others.fold(NUMERIC_COLUMN.1, i8::max);
        let mut changed = false;
        for (column, made) in self.columns.iter_mut().zip(made) {
            let (false, Some(own), Some(made)) = (column.settled, decimals(&column.ty), made) else { continue };
            let mut digits = own;
            if made.1 > own.1 && self.rounds == 1 {
                column.gained = made.1 - own.1;
                digits = (DIGITS_MAX, made.1);
            } else if made.1 > own.1 {
                column.settled = true;
                digits = (DIGITS_MAX, longest.max(column.first).max(column.gained));
            } else if whole(made) > whole(own) {
                digits.0 = DIGITS_MAX;
            }
            if digits != own {
                column.ty = with_decimal(&column.ty, &DataType::Decimal128(digits.0, digits.1));
                changed = true;
            }
        }
        if changed && self.rounds == self.rounds_max {
            self.settle();
        }
        changed
    }

    /// Gives all columns the digits of the longest one, and no others any more. A column keeps its own where those would take
    /// the place of digits before the point that its first rows have.
    fn settle(&mut self) {
        let open = self.columns.iter().filter(|column| !column.settled).filter_map(Width::scale);
        let longest = open.fold(NUMERIC_COLUMN.1, i8::max);
        for column in self.columns.iter_mut().filter(|column| !column.settled) {
            let fits = column.whole + i16::from(longest) <= i16::from(DIGITS_MAX);
            let scale = column.scale().filter(|_| !fits).unwrap_or(longest);
            column.ty = with_decimal(&column.ty, &DataType::Decimal128(DIGITS_MAX, scale));
            column.settled = true;
        }
    }
}

impl Width {
    /// `plain`: the type has no modifier.
    fn new(ty: DataType, plain: bool) -> Self {
        let own = decimals(&ty);
        let first = own.map_or(0, |(_, scale)| scale);
        Self { whole: own.map_or(0, whole), first, gained: 0, settled: !plain || own.is_none(), ty }
    }

    fn scale(&self) -> Option<i8> {
        decimals(&self.ty).map(|(_, scale)| scale)
    }

    fn becomes_finer(&self, made: Option<(u8, i8)>) -> bool {
        let finer = |own: i8| made.is_some_and(|(_, scale)| scale > own);
        !self.settled && self.scale().is_some_and(finer)
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

    fn schema(types: impl IntoIterator<Item = DataType>) -> DFSchema {
        let fields = types.into_iter().enumerate().map(|(at, ty)| Field::new(format!("c{at}"), ty, true));
        DFSchema::try_from(Schema::new(fields.collect::<Vec<_>>())).unwrap()
    }

    /// What the columns end with, and how often the term was bound.
    fn widened(start: &[Digits], step: impl Fn(&[Digits]) -> Vec<Digits>) -> (Vec<Digits>, u32) {
        widened_within(ROUNDS_MAX[0], start, step)
    }

    fn widened_within(
        rounds_max: u32,
        start: &[Digits],
        step: impl Fn(&[Digits]) -> Vec<Digits>,
    ) -> (Vec<Digits>, u32) {
        let columns = start.iter().map(|digits| Width::new(decimal(*digits), true)).collect();
        let mut widths = Widths::within(rounds_max, columns);
        let mut bound = 0;
        loop {
            let own: Vec<Digits> = widths.types().iter().filter_map(decimals).collect();
            bound += 1;
            if !widths.widen(&schema(step(&own).into_iter().map(decimal))) {
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
        assert_eq!(widened(&[(38, 10)], |own| vec![plus(own[0], 12)]), (vec![(38, 12)], 2));
        assert_eq!(widened(&[(2, 1)], |_| vec![(38, 16)]), (vec![(38, 16)], 2));
        // As many as a stored column has, whatever it starts with, or as each step adds.
        assert_eq!(widened(&[(2, 1)], |own| vec![times(own[0], 1)]), (vec![(38, 10)], 3));
        assert_eq!(widened(&[(38, 10)], |own| vec![times(own[0], 1)]), (vec![(38, 10)], 3));
        assert_eq!(widened(&[(38, 10)], |own| vec![times(own[0], 10)]), (vec![(38, 10)], 3));
        assert_eq!(widened(&[(2, 1)], |own| vec![times(own[0], 13)]), (vec![(38, 13)], 3));
        // What one column hands to the next arrives whole.
        let shift = |own: &[Digits]| vec![own[1], own[2], own[2]];
        assert_eq!(widened(&[(2, 1), (2, 1), (30, 20)], shift), (vec![(38, 20), (38, 20), (30, 20)], 3));
        let swap = |own: &[Digits]| vec![times(own[1], 1), own[0]];
        assert_eq!(widened(&[(2, 1), (2, 1)], swap), (vec![(38, 10), (38, 10)], 4));
    }

    #[test]
    fn a_term_is_bound_a_few_times_only() {
        let start: Vec<Digits> = (0..30).map(|at| if at == 29 { (30, 20) } else { (2, 1) }).collect();
        let (own, bound) = widened(&start, |own| own.iter().skip(1).chain(own.last()).copied().collect());
        assert!(own.iter().all(|(_, scale)| *scale == 20), "{own:?}");
        assert_eq!(bound, ROUNDS_MAX[0] + 1);
    }

    #[test]
    fn what_is_not_known_takes_no_digits_before_the_point() {
        let divided = |(_, scale): Digits| (38, scale.max(16));
        let start = [(2, 1), (2, 1), (2, 1), (2, 1), (2, 1), (2, 1), (31, 0)];
        let step = |own: &[Digits]| vec![own[1], own[2], own[3], own[4], own[5], divided(own[5]), (38, 0)];
        let (own, bound) = widened(&start, step);
        assert_eq!(own, [(38, 16), (38, 16), (38, 16), (38, 16), (38, 16), (38, 16), (38, 0)]);
        assert_eq!(bound, ROUNDS_MAX[0] + 1);
    }

    #[test]
    fn terms_inside_others_are_bound_twice_or_once() {
        let step = |own: &[Digits]| vec![(38, 0), (38, own[1].1.max(16)), (own[2].0 + 2, own[2].1 + 1)];
        let start = [(31, 0), (2, 1), (2, 1)];
        assert_eq!(widened_within(1, &start, step), (vec![(38, 0), (38, 16), (38, 16)], 2));
        let step = |own: &[Digits]| vec![(38, 0), (38, own[1].1.max(12)), (38, own[2].1.max(12))];
        assert_eq!(widened_within(1, &[(31, 0), (2, 1), (38, 10)], step), (vec![(38, 0), (38, 12), (38, 12)], 2));
        assert_eq!(widened_within(0, &[(31, 0), (2, 1), (38, 10)], step), (vec![(38, 0), (38, 10), (38, 10)], 1));
    }

    #[test]
    fn other_columns_stay_as_they_are() {
        let list = |digits: Digits| DataType::new_list(decimal(digits), true);
        let columns =
            vec![Width::new(DataType::Int32, true), Width::new(decimal((6, 2)), false), Width::new(list((2, 1)), true)];
        let mut widths = Widths::within(ROUNDS_MAX[0], columns);
        assert!(widths.widen(&schema([DataType::Int64, decimal((9, 5)), list((3, 2))])));
        assert_eq!(widths.types(), [DataType::Int32, decimal((6, 2)), list((38, 2))]);
    }
}
