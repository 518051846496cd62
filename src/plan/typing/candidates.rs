//! Choosing among overloads: chapter 10 of PostgreSQL's manual (`func_match_argtypes`, `func_select_candidate`).

use super::Coercion;
use super::categories::{can_coerce, category, is_preferred};
use crate::builtins::functions::type_names::{ANYCOMPATIBLE, ANYCOMPATIBLEARRAY, ANYCOMPATIBLENONARRAY};
use crate::encode::types::{array_of, element_of, oid};

/// What choosing came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    One(usize),
    None,
    Ambiguous,
}

/// Chooses by the arguments' types (`unknown` where not settled) among lists of declared types, each as long as the arguments.
pub(super) fn choose(arguments: &[u32], declared: &[Vec<u32>]) -> Choice {
    let fitting: Vec<usize> =
        (0..declared.len()).filter(|index| declared.get(*index).is_some_and(|types| fits(arguments, types))).collect();
    match fitting.as_slice() {
        [] => Choice::None,
        [one] => Choice::One(*one),
        _ => select(arguments, declared, fitting),
    }
}

fn fits(arguments: &[u32], declared: &[u32]) -> bool {
    arguments.len() == declared.len()
        && arguments.iter().zip(declared).all(|(from, to)| can_coerce(*from, *to, Coercion::Implicit))
        && Bindings::of(arguments, declared).is_some()
}

fn select(arguments: &[u32], declared: &[Vec<u32>], fitting: Vec<usize>) -> Choice {
    let types_of = |index: usize| declared.get(index).map(Vec::as_slice).unwrap_or_default();
    let categories: Vec<char> = arguments.iter().map(|argument| category(*argument)).collect();

    // Most exact matches.
    let mut left = keep_best(fitting, |index| {
        arguments.iter().zip(types_of(index)).filter(|(from, to)| **from != oid::UNKNOWN && from == to).count()
    });
    if let [one] = left.as_slice() {
        return Choice::One(*one);
    }
    // Most exact matches or preferred types.
    left = keep_best(left, |index| {
        arguments
            .iter()
            .zip(types_of(index))
            .zip(&categories)
            .filter(|((from, to), slot)| {
                **from != oid::UNKNOWN && (from == to || (category(**to) == **slot && is_preferred(**to)))
            })
            .count()
    });
    if let [one] = left.as_slice() {
        return Choice::One(*one);
    }
    if !arguments.contains(&oid::UNKNOWN) {
        return Choice::Ambiguous;
    }
    left = by_category(arguments, left, &types_of);
    if let [one] = left.as_slice() {
        return Choice::One(*one);
    }
    as_the_known_ones(arguments, &left, &types_of)
}

/// Keeps the candidates with the highest score; all of them when nothing scored.
fn keep_best(candidates: Vec<usize>, score: impl Fn(usize) -> usize) -> Vec<usize> {
    let best = candidates.iter().map(|index| score(*index)).max().unwrap_or(0);
    candidates.into_iter().filter(|index| score(*index) == best).collect()
}

/// Unknown arguments: takes the category that candidates accept there, strings first, and prefers preferred types.
fn by_category<'a>(arguments: &[u32], left: Vec<usize>, types_of: &impl Fn(usize) -> &'a [u32]) -> Vec<usize> {
    let mut slots: Vec<Option<(char, bool)>> = Vec::with_capacity(arguments.len());
    for (at, argument) in arguments.iter().enumerate() {
        if *argument != oid::UNKNOWN {
            slots.push(None);
            continue;
        }
        let here: Vec<u32> = left.iter().filter_map(|index| types_of(*index).get(at).copied()).collect();
        let first = here.first().map(|ty| category(*ty));
        let chosen = if here.iter().any(|ty| category(*ty) == 'S') {
            'S'
        } else {
            match first {
                Some(first) if here.iter().all(|ty| category(*ty) == first) => first,
                _ => return left,
            }
        };
        let preferred = here.iter().any(|ty| category(*ty) == chosen && is_preferred(*ty));
        slots.push(Some((chosen, preferred)));
    }
    let kept: Vec<usize> = left
        .iter()
        .copied()
        .filter(|index| {
            types_of(*index).iter().zip(&slots).all(|(ty, slot)| match slot {
                None => true,
                Some((chosen, preferred)) => category(*ty) == *chosen && (!preferred || is_preferred(*ty)),
            })
        })
        .collect();
    if kept.is_empty() { left } else { kept }
}

/// Unknown arguments: when all known ones have one type, tries that type for the unknown ones too.
fn as_the_known_ones<'a>(arguments: &[u32], left: &[usize], types_of: &impl Fn(usize) -> &'a [u32]) -> Choice {
    let mut known = arguments.iter().copied().filter(|argument| *argument != oid::UNKNOWN);
    let Some(first) = known.next() else { return Choice::Ambiguous };
    if known.any(|argument| argument != first) {
        return Choice::Ambiguous;
    }
    let accepting: Vec<usize> =
        left.iter().copied().filter(|index| fits(&vec![first; arguments.len()], types_of(*index))).collect();
    match accepting.as_slice() {
        [one] => Choice::One(*one),
        _ => Choice::Ambiguous,
    }
}

/// What the pseudo-types of one declaration stand for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bindings {
    /// Element type of `anyelement`, `anyarray`, `anynonarray`.
    element: Option<u32>,
    /// Element type of the `anycompatible` family.
    compatible: Option<u32>,
}

impl Bindings {
    /// `None` when the arguments contradict each other.
    pub(super) fn of(arguments: &[u32], declared: &[u32]) -> Option<Self> {
        let mut bindings = Self::default();
        for (argument, declared) in arguments.iter().zip(declared) {
            if *argument == oid::UNKNOWN {
                continue;
            }
            match *declared {
                oid::ANYELEMENT | oid::ANYNONARRAY => bind(&mut bindings.element, *argument)?,
                oid::ANYARRAY => bind(&mut bindings.element, element_of(*argument)?)?,
                ANYCOMPATIBLE | ANYCOMPATIBLENONARRAY => widen(&mut bindings.compatible, *argument)?,
                ANYCOMPATIBLEARRAY => widen(&mut bindings.compatible, element_of(*argument)?)?,
                _ => {}
            }
        }
        Some(bindings)
    }

    /// The real type behind a declared one. All-unknown arguments of the compatible family are text; of the others, the
    /// type stays unknown.
    pub(super) fn resolve(self, declared: u32) -> u32 {
        match declared {
            oid::ANYELEMENT | oid::ANYNONARRAY => self.element.unwrap_or(oid::UNKNOWN),
            oid::ANYARRAY => self.element.and_then(array_of).unwrap_or(oid::UNKNOWN),
            ANYCOMPATIBLE | ANYCOMPATIBLENONARRAY => self.compatible.unwrap_or(oid::TEXT),
            ANYCOMPATIBLEARRAY => array_of(self.compatible.unwrap_or(oid::TEXT)).unwrap_or(oid::UNKNOWN),
            other => other,
        }
    }
}

fn bind(slot: &mut Option<u32>, actual: u32) -> Option<()> {
    match *slot {
        Some(bound) if bound != actual => None,
        _ => {
            *slot = Some(actual);
            Some(())
        }
    }
}

fn widen(slot: &mut Option<u32>, actual: u32) -> Option<()> {
    let chosen = match *slot {
        None => actual,
        Some(bound) => common_of(bound, actual)?,
    };
    *slot = Some(chosen);
    Some(())
}

/// The common type of two known types (`select_common_type`'s step), or none.
pub(super) fn common_of(chosen: u32, next: u32) -> Option<u32> {
    if chosen == next {
        return Some(chosen);
    }
    if category(chosen) != category(next) {
        return None;
    }
    let to_next = can_coerce(chosen, next, Coercion::Implicit);
    let from_next = can_coerce(next, chosen, Coercion::Implicit);
    if !is_preferred(chosen) && to_next && !from_next { Some(next) } else { Some(chosen) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_literals_take_the_string_overload_first() {
        let declared = [vec![oid::INT4], vec![oid::TEXT], vec![oid::BYTEA]];
        assert_eq!(choose(&[oid::UNKNOWN], &declared), Choice::One(1));
    }

    #[test]
    fn the_preferred_type_wins_among_equals() {
        let declared = [vec![oid::FLOAT8], vec![oid::NUMERIC]];
        assert_eq!(choose(&[oid::INT4], &declared), Choice::One(0));
        assert_eq!(choose(&[oid::NUMERIC], &declared), Choice::One(1));
    }

    #[test]
    fn two_strangers_are_ambiguous() {
        let declared = [vec![oid::INT4], vec![oid::DATE]];
        assert_eq!(choose(&[oid::UNKNOWN], &declared), Choice::Ambiguous);
        assert_eq!(choose(&[oid::BOOL], &declared), Choice::None);
    }
}
