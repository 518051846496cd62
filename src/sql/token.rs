//! Tokens of a query text and the places they come from.

use sqlparser::tokenizer::{Location, Span};

use super::keywords::Class;
use crate::error::Error;

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// An unquoted word; `Token::value` is folded.
    Word(Class),
    /// A delimited identifier.
    Quoted,
    Number,
    /// A string constant of any spelling, decoded.
    Text,
    /// B'…' or X'…'.
    Bits,
    /// `$n`; the value is the text.
    Parameter,
    /// An operator or a punctuation character.
    Operator,
    /// Where the scanner could not go on.
    Bad(Box<Error>),
    End,
}

#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub kind: Kind,
    pub value: String,
    /// Bytes of the source.
    pub start: usize,
    pub end: usize,
    /// Characters from 1.
    pub position: u32,
    pub span: Span,
}

/// Counts characters, lines and columns while the scanner moves on by bytes.
pub(crate) struct Counter<'a> {
    source: &'a str,
    byte: usize,
    characters: u32,
    line: u64,
    column: u64,
}

impl<'a> Counter<'a> {
    pub fn new(source: &'a str) -> Self {
        Self { source, byte: 0, characters: 0, line: 1, column: 1 }
    }

    /// Moves to the byte, which must not lie behind; answers the characters before it and its line and column.
    pub fn advance(&mut self, byte: usize) -> (u32, Location) {
        for character in self.source.get(self.byte..byte).unwrap_or_default().chars() {
            self.characters = self.characters.saturating_add(1);
            if character == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        self.byte = self.byte.max(byte);
        (self.characters, Location::new(self.line, self.column))
    }
}

/// The position (characters from 1) of a line and column of the query text; `None` for an unknown place.
pub fn position(source: &str, location: Location) -> Option<u32> {
    if location.line == 0 || location.column == 0 {
        return None;
    }
    let mut characters = 0usize;
    let mut lines = source.split_inclusive('\n');
    for _ in 1..location.line {
        characters += lines.next()?.chars().count();
    }
    u32::try_from(characters + usize::try_from(location.column).ok()?).ok()
}

/// The position where a span starts.
pub fn span_position(source: &str, span: Span) -> Option<u32> {
    position(source, span.start)
}
