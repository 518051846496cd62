//! The texts of definitions, with what the session's settings say about them put in: a literal of a date, time or interval is
//! read once, when it is defined, as PostgreSQL does, and kept in a form that every session, and every other program, reads
//! alike. `'01/02/2024'` becomes `'2024-02-01'`, `'today'` the day.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bind::Binder;
use super::bind::filled::Purpose;
use super::parameters::Parameters;
use super::relations::{RelationColumn, Relations};
use super::typing::TypingContext;
use crate::builtins::Context;
use crate::error::Result;

/// The condition of a CHECK.
pub fn condition(table: &str, columns: &[RelationColumn], text: &str, context: &Arc<Context>) -> Result<String> {
    let expression = crate::sql::parse_expression(text)?;
    let relations = Relations::default();
    settled(text, context, |typing| {
        Binder::new(typing, &relations, text).bind_condition(table, columns, &expression).map(drop)
    })
}

/// A default, or what a column is generated from.
pub fn stored(
    columns: &[RelationColumn],
    column: &RelationColumn,
    purpose: Purpose,
    text: &str,
    context: &Arc<Context>,
) -> Result<String> {
    let expression = crate::sql::parse_expression(text)?;
    let relations = Relations::default();
    settled(text, context, |typing| {
        Binder::new(typing, &relations, text).bind_stored("", columns, &expression, column, purpose).map(drop)
    })
}

/// A text whose tree stands in a query. The tree's positions are those of the text.
pub fn part(
    text: &str,
    query: &sqlparser::ast::Query,
    relations: &Relations,
    context: &Arc<Context>,
) -> Result<String> {
    settled(text, context, |typing| Binder::new(typing, relations, text).bind_query(query).map(drop))
}

/// The query of a view.
pub fn query(text: &str, relations: &Relations, context: &Arc<Context>) -> Result<String> {
    let query = crate::sql::parse_query(text)?;
    settled(text, context, |typing| Binder::new(typing, relations, text).bind_query(&query).map(drop))
}

fn settled(text: &str, context: &Arc<Context>, bind: impl FnOnce(&TypingContext) -> Result<()>) -> Result<String> {
    let literals = Parameters::none().with(context, |typing| {
        typing.literals.replace(Some(BTreeMap::new()));
        bind(typing)?;
        Ok(typing.literals.take().unwrap_or_default())
    })?;
    Ok(replaced(text, &literals))
}

/// The text with other literals at these positions, characters from 1.
fn replaced(text: &str, literals: &BTreeMap<u32, String>) -> String {
    let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    let mut settled = String::with_capacity(text.len());
    let mut done = 0;
    for (position, canonical) in literals {
        let start = usize::try_from(*position).ok().and_then(|position| starts.get(position.checked_sub(1)?)).copied();
        let Some((start, end)) = start.and_then(|start| literal_at(text, start)) else { continue };
        if start < done {
            continue;
        }
        settled.push_str(text.get(done..start).unwrap_or_default());
        settled.push('\'');
        settled.push_str(&canonical.replace('\'', "''"));
        settled.push('\'');
        done = end;
    }
    settled.push_str(text.get(done..).unwrap_or_default());
    settled
}

/// Where the plain literal lies that begins there, or after the words of a type: `DATE '…'`.
fn literal_at(text: &str, start: usize) -> Option<(usize, usize)> {
    let of_type = |character: char| character.is_ascii_alphanumeric() || " \n\t()_.\"".contains(character);
    let words = text.get(start..)?.find(|character| !of_type(character))?;
    let start = start + words;
    let is_apart = words == 0 || text.get(..start)?.ends_with([' ', '\n', '\t', ')', '"']);
    is_apart.then_some(())?;
    Some((start, start + literal_length(text.get(start..)?)?))
}

/// Bytes of the plain literal that the text begins with.
fn literal_length(text: &str) -> Option<usize> {
    let mut characters = text.char_indices().peekable();
    if characters.next()?.1 != '\'' {
        return None;
    }
    while let Some((at, character)) = characters.next() {
        if character == '\'' && characters.next_if(|(_, next)| *next == '\'').is_none() {
            return Some(at + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_replaced_where_they_stand() {
        let literals = BTreeMap::from([(7, "2024-02-01".to_owned()), (27, "it's".to_owned()), (40, "no".to_owned())]);
        let text = "ä d >='01/02/2024' AND e <'it''s' OR f = x";
        assert_eq!(replaced(text, &literals), "ä d >='2024-02-01' AND e <'it''s' OR f = x");
        assert_eq!(replaced("timestamp (3) '1'", &BTreeMap::from([(1, "2".to_owned())])), "timestamp (3) '2'");
        assert_eq!(replaced("e'1'", &BTreeMap::from([(1, "2".to_owned())])), "e'1'");
        assert_eq!(literal_length("'a''b' c"), Some(6));
        assert_eq!(literal_length("E'a'"), None);
        assert_eq!(literal_length("'a"), None);
    }
}
