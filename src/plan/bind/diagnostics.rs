//! Errors about names, with PostgreSQL's hints.

use super::Binder;
use super::scope::{Item, Scope};
use crate::error::{Error, SqlState};

/// PostgreSQL's `MAX_FUZZY_DISTANCE`.
const DISTANCE_MAX: usize = 3;

impl Binder<'_> {
    /// 42P01 for a qualifier that no FROM item has.
    pub(super) fn no_relation(&self, name: &str, scope: &Scope<'_>) -> Error {
        let items = || scope.levels().flat_map(|level| &level.items);
        if let Some(item) = items().find(|item| item.hidden_name.as_deref() == Some(name) && item.relation_visible) {
            let alias = item.name.as_deref().unwrap_or_default();
            let message = format!("invalid reference to FROM-clause entry for table \"{name}\"");
            return Error::new(SqlState::UndefinedTable, message)
                .with_hint(format!("Perhaps you meant to reference the table alias \"{alias}\"."));
        }
        if items().any(|item| item.name.as_deref() == Some(name)) {
            let message = format!("invalid reference to FROM-clause entry for table \"{name}\"");
            return Error::new(SqlState::UndefinedTable, message).with_hint(format!(
                "There is an entry for table \"{name}\", but it cannot be referenced from this part of the query."
            ));
        }
        Error::new(SqlState::UndefinedTable, format!("missing FROM-clause entry for table \"{name}\""))
    }

    /// 42703 for `column`.
    pub(super) fn no_column(&self, name: &str, scope: &Scope<'_>) -> Error {
        let error = Error::new(SqlState::UndefinedColumn, format!("column \"{name}\" does not exist"));
        if let Some(table) = out_of_reach(name, scope) {
            return error.with_hint(format!(
                "There is a column named \"{name}\" in table \"{table}\", but it cannot be referenced from this part of the query."
            ));
        }
        with_guess(error, None, name, scope)
    }

    /// 42703 for `relation.column`.
    pub(super) fn no_qualified_column(&self, relation: &str, name: &str, scope: &Scope<'_>) -> Error {
        let message = format!("column {relation}.{name} does not exist");
        with_guess(Error::new(SqlState::UndefinedColumn, message), Some(relation), name, scope)
    }
}

/// The item out of reach (a sibling of a subquery that is not LATERAL) that has the column.
fn out_of_reach<'i>(name: &str, scope: &'i Scope<'_>) -> Option<&'i str> {
    let items = scope.levels().flat_map(|level| &level.items);
    let hidden = |item: &&Item| !item.relation_visible && !item.columns_visible;
    items
        .filter(hidden)
        .find(|item| item.columns.iter().any(|column| column.name == name))
        .and_then(|item| item.name.as_deref())
}

fn with_guess(error: Error, relation: Option<&str>, name: &str, scope: &Scope<'_>) -> Error {
    match guesses(relation, name, scope).as_slice() {
        [one] => error.with_hint(format!("Perhaps you meant to reference the column \"{one}\".")),
        [one, two] => {
            error.with_hint(format!("Perhaps you meant to reference the column \"{one}\" or the column \"{two}\"."))
        }
        _ => error,
    }
}

/// PostgreSQL's `searchRangeTableForCol`: the nearest names, none when more than two are equally near.
fn guesses(relation: Option<&str>, name: &str, scope: &Scope<'_>) -> Vec<String> {
    let mut nearest = DISTANCE_MAX + 1;
    let mut found: Vec<String> = Vec::new();
    let mut exact = false;
    for item in scope.levels().flat_map(|level| &level.items) {
        let Some(item_name) = &item.name else { continue };
        let penalty = relation.map_or(0, |relation| levenshtein(relation, item_name));
        if penalty > nearest {
            continue;
        }
        for column in &item.columns {
            let distance = levenshtein(name, &column.name);
            // PostgreSQL compares bytes: half of the name may be wrong, not more.
            if distance > name.len() / 2 {
                continue;
            }
            let total = distance + penalty;
            let label = format!("{item_name}.{}", column.name);
            if total == 0 && relation.is_none() {
                exact = true;
            }
            if total < nearest {
                nearest = total;
                found = vec![label];
            } else if total == nearest && nearest <= DISTANCE_MAX {
                found.push(label);
            }
        }
    }
    if exact || found.len() > 2 { Vec::new() } else { found }
}

/// Edits (insert, delete, replace: one each) from one text to the other.
fn levenshtein(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (b, cell) in to.iter().zip(row.iter_mut().skip(1)) {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = *cell;
            left = replaced.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levenshtein_counts_edits() {
        for (a, b, distance) in [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "abc", 0), ("nmae", "name", 2)] {
            assert_eq!(levenshtein(a, b), distance, "{a} {b}");
        }
    }
}
