//! Places in the query text: sqlparser's lines and columns to PostgreSQL's positions (characters from 1).

use sqlparser::tokenizer::{Location, Span};

/// A query text prepared for turning spans into positions. Without a text (a view's query) nothing has a position.
#[derive(Debug, Clone, Default)]
pub struct Source {
    text: Vec<char>,
    /// Characters before each line.
    lines: Vec<u32>,
}

impl Source {
    pub fn new(text: &str) -> Self {
        let text: Vec<char> = text.chars().collect();
        let ends = text.iter().enumerate().filter(|(_, character)| **character == '\n');
        let lines = std::iter::once(0).chain(ends.map(|(at, _)| at as u32 + 1)).collect();
        Self { text, lines }
    }

    /// Where the span starts.
    pub fn position(&self, span: Span) -> Option<u32> {
        self.location(span.start)
    }

    fn location(&self, location: Location) -> Option<u32> {
        if location.line == 0 || self.text.is_empty() {
            return None;
        }
        let line = self.lines.get(location.line as usize - 1)?;
        Some(line + location.column as u32)
    }

    /// Where the first word after the span starts: the operator behind its left operand. Closing parentheses, white space
    /// and comments are skipped, because spans of parenthesised expressions leave the parentheses out.
    pub fn operator_after(&self, left: Span) -> Option<u32> {
        let mut at = self.location(left.end)? as usize - 1;
        loop {
            let rest = self.text.get(at..)?;
            match rest {
                [')' | ']', ..] => at += 1,
                [space, ..] if space.is_whitespace() => at += 1,
                ['-', '-', ..] => at += rest.iter().position(|character| *character == '\n')?,
                ['/', '*', ..] => at += rest.windows(2).position(|pair| pair == ['*', '/'])? + 2,
                [_, ..] => return Some(at as u32 + 1),
                [] => return None,
            }
        }
    }

    /// Where the parenthesis that opens before the span stands.
    pub fn parenthesis_before(&self, span: Span) -> Option<u32> {
        let before = self.text.get(..self.position(span)? as usize - 1)?;
        let last = before.iter().rposition(|character| !character.is_whitespace())?;
        (before.get(last) == Some(&'(')).then_some(last as u32 + 1)
    }

    /// Where the word that stands before the span starts: a prefix operator, or an opening keyword such as `CASE`.
    pub fn word_before(&self, span: Span) -> Option<u32> {
        let start = self.position(span)? as usize - 1;
        let before = self.text.get(..start)?;
        let end = before.iter().rposition(|character| !character.is_whitespace() && *character != '(')? + 1;
        let is_word = |character: &char| character.is_alphanumeric() || *character == '_';
        let ends_with_word = before.get(end - 1).is_some_and(is_word);
        let from = before
            .get(..end)?
            .iter()
            .rposition(|character| if ends_with_word { !is_word(character) } else { true })
            .map_or(0, |at| if ends_with_word { at + 1 } else { at });
        Some(from as u32 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_over_lines() {
        let source = Source::new("SELECT é,\n  b + c");
        let b = Span::new(Location::new(2, 3), Location::new(2, 4));
        assert_eq!(source.position(b), Some(13));
        assert_eq!(source.operator_after(b), Some(15));
    }

    #[test]
    fn operators_are_found_behind_parentheses_and_comments() {
        let source = Source::new("((a)) /* + */ - b");
        let a = Span::new(Location::new(1, 3), Location::new(1, 4));
        assert_eq!(source.operator_after(a), Some(15));
    }

    #[test]
    fn an_empty_span_has_no_position() {
        assert_eq!(Source::new("x").position(Span::empty()), None);
    }
}
