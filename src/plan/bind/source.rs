//! Places in the query text: sqlparser's lines and columns to PostgreSQL's positions (characters from 1).

use std::cell::OnceCell;

use sqlparser::ast;
use sqlparser::ast::Spanned as _;
use sqlparser::tokenizer::{Location, Span};

use crate::sql::{Kind, Token, scan};

/// A query text prepared for turning spans into positions. Without a text (a view's query) nothing has a position.
#[derive(Debug, Clone, Default)]
pub struct Source {
    text: Vec<char>,
    /// Characters before each line.
    lines: Vec<u32>,
    /// The text's tokens, scanned when an operator is looked for: the syntax tree does not say where those stand.
    tokens: OnceCell<Vec<Token>>,
}

/// Tokens of the longest name of a type: `schema.name(6, 2) with time zone`, with a modifier for each part.
const TYPE_TOKENS_MAX: usize = 16;

/// Words between a call's parentheses and what follows the call.
const CALL_CLAUSES: [&str; 4] = ["over", "filter", "within", "group"];

impl Source {
    pub fn new(text: &str) -> Self {
        let text: Vec<char> = text.chars().collect();
        let ends = text.iter().enumerate().filter(|(_, character)| **character == '\n');
        let lines = std::iter::once(0).chain(ends.map(|(at, _)| at as u32 + 1)).collect();
        Self { text, lines, tokens: OnceCell::new() }
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

    fn tokens(&self) -> &[Token] {
        self.tokens.get_or_init(|| scan(&self.text.iter().collect::<String>()))
    }

    /// The first token that does not stand before the position.
    fn token_at(&self, position: u32) -> usize {
        self.tokens().partition_point(|token| token.position < position)
    }

    /// Where the operator behind its left operand stands. Spans end early: what closes a parenthesis, a type behind `::`
    /// and the clauses of a call are skipped.
    pub fn operator_after(&self, left: Span) -> Option<u32> {
        let mut at = self.token_at(self.location(left.end)?);
        while let Some(next) = self.past_operand(at) {
            at = next;
        }
        self.place(at)
    }

    /// Where the cast stands: its `::`, or the word CAST.
    pub fn cast_position(&self, kind: &ast::CastKind, operand: &ast::Expr) -> Option<u32> {
        if *kind == ast::CastKind::DoubleColon {
            return self.place(self.double_colon(operand)?);
        }
        let mut inside = leading_casts(operand);
        self.call_around(operand.span(), |word| {
            let cast = is_word(word, &["cast"]);
            let found = cast && inside == 0;
            inside -= usize::from(cast && inside > 0);
            found
        })
    }

    /// Where the word stands in whose parentheses the span is, the first one that is `wanted`.
    pub fn word_around(&self, span: Span) -> Option<u32> {
        self.call_around(span, |word| matches!(word.kind, Kind::Word(_)))
    }

    fn call_around(&self, span: Span, mut wanted: impl FnMut(&Token) -> bool) -> Option<u32> {
        let mut depth = 0_u32;
        let before = self.tokens().get(..self.token_at(self.position(span)?))?;
        for (at, token) in before.iter().enumerate().rev() {
            match token.value.as_str() {
                ")" if is_operator(token) => depth += 1,
                "(" if is_operator(token) && depth > 0 => depth -= 1,
                "(" if is_operator(token) => {
                    let word = before.get(at.checked_sub(1)?)?;
                    if wanted(word) {
                        return Some(word.position);
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// Where an array constructor starts whose first element's first element … starts at the span, `levels` deep.
    pub fn array_start(&self, span: Span, levels: usize) -> Option<u32> {
        let before = self.tokens().get(..self.token_at(self.position(span)?))?;
        let mut open = before.iter().enumerate().rev().filter(|(_, token)| is_operator(token) && token.value == "[");
        let (at, bracket) = open.nth(levels.checked_sub(1)?)?;
        let word = at.checked_sub(1).and_then(|at| before.get(at)).filter(|word| is_word(word, &["array"]));
        Some(word.unwrap_or(bracket).position)
    }

    /// Where the type of a cast stands.
    pub fn cast_type_position(&self, kind: &ast::CastKind, operand: &ast::Expr) -> Option<u32> {
        if *kind == ast::CastKind::DoubleColon {
            return self.place(self.double_colon(operand)? + 1);
        }
        let mut inside = leading_casts(operand);
        let mut at = self.token_at(self.location(operand.span().end)?);
        loop {
            if is_word(self.tokens().get(at)?, &["as"]) {
                if inside == 0 {
                    return self.place(at + 1);
                }
                inside -= 1;
            }
            at = self.past_operand(at)?;
        }
    }

    /// Where the type stands whose constant is at the span, as in `timestamp(0) with time zone '…'`.
    pub fn type_before(&self, constant: Span) -> Option<u32> {
        let constant = self.token_at(self.position(constant)?);
        let is_type = |at: &usize| {
            let named = self.tokens().get(*at).is_some_and(|token| matches!(token.kind, Kind::Word(_) | Kind::Quoted));
            named && self.past_type(*at) == constant
        };
        // Parts of a name may look like one of their own.
        let first = (constant.saturating_sub(TYPE_TOKENS_MAX)..constant).find(is_type)?;
        self.place(first)
    }

    /// The `::` behind an operand, which may end in casts itself.
    fn double_colon(&self, operand: &ast::Expr) -> Option<usize> {
        let mut inside = trailing_casts(operand);
        let mut at = self.token_at(self.location(operand.span().end)?);
        loop {
            let token = self.tokens().get(at)?;
            if is_operator(token) && token.value == "::" {
                if inside == 0 {
                    return Some(at);
                }
                inside -= 1;
            }
            at = self.past_operand(at)?;
        }
    }

    fn place(&self, at: usize) -> Option<u32> {
        self.tokens().get(at).map(|token| token.position)
    }

    /// The token after a part that still belongs to the operand before it; `None` when that has ended.
    fn past_operand(&self, at: usize) -> Option<usize> {
        let token = self.tokens().get(at)?;
        if is_word(token, &["end"]) {
            return Some(at + 1);
        }
        if is_word(token, &["as"]) {
            return Some(self.past_type(at + 1));
        }
        if is_word(token, &CALL_CLAUSES) {
            let named = self.tokens().get(at + 1).is_some_and(|next| matches!(next.kind, Kind::Word(_) | Kind::Quoted));
            return Some(if token.value == "over" && named { at + 2 } else { at + 1 });
        }
        if !is_operator(token) {
            return None;
        }
        match token.value.as_str() {
            ")" | "]" => Some(at + 1),
            "(" | "[" => Some(self.past_group(at)),
            "::" => Some(self.past_type(at + 1)),
            "." => Some(at + 2),
            _ => None,
        }
    }

    /// The token after the parenthesis or bracket that closes the one at `at`.
    fn past_group(&self, mut at: usize) -> usize {
        let mut depth = 0_u32;
        while let Some(token) = self.tokens().get(at) {
            at += 1;
            match token.value.as_str() {
                "(" | "[" if is_operator(token) => depth += 1,
                ")" | "]" if is_operator(token) => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        at
    }

    /// The token after a type's name.
    fn past_type(&self, mut at: usize) -> usize {
        let word = |at: usize, words: &[&str]| self.tokens().get(at).is_some_and(|token| is_word(token, words));
        let symbol = |at: usize, text: &str| {
            self.tokens().get(at).is_some_and(|token| is_operator(token) && token.value == text)
        };
        let interval = word(at, &["interval"]);
        let several = word(at, &["double", "character", "char", "nchar", "national", "bit"]);
        at += 1;
        while symbol(at, ".") {
            at += 2;
        }
        while several && word(at, &["precision", "varying", "character", "char"]) {
            at += 1;
        }
        while interval && word(at, &["year", "month", "day", "hour", "minute", "second", "to"]) {
            at += 1;
        }
        if symbol(at, "(") {
            at = self.past_group(at);
        }
        if word(at, &["with", "without"]) && word(at + 1, &["time"]) && word(at + 2, &["zone"]) {
            at += 3;
        }
        if word(at, &["array"]) {
            at += 1;
        }
        while symbol(at, "[") {
            at = self.past_group(at);
        }
        at
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

fn is_operator(token: &Token) -> bool {
    matches!(token.kind, Kind::Operator)
}

fn is_word(token: &Token, words: &[&str]) -> bool {
    matches!(token.kind, Kind::Word(_)) && words.contains(&token.value.as_str())
}

/// How many `CAST(` begin the expression.
fn leading_casts(expr: &ast::Expr) -> usize {
    match expr {
        ast::Expr::Cast { kind, expr, .. } => usize::from(*kind == ast::CastKind::Cast) + leading_casts(expr),
        ast::Expr::Nested(expr) | ast::Expr::BinaryOp { left: expr, .. } => leading_casts(expr),
        _ => 0,
    }
}

/// How many `::` end the expression.
fn trailing_casts(expr: &ast::Expr) -> usize {
    match expr {
        ast::Expr::Cast { kind: ast::CastKind::DoubleColon, expr, .. } => 1 + trailing_casts(expr),
        ast::Expr::Nested(expr) | ast::Expr::UnaryOp { expr, .. } => trailing_casts(expr),
        ast::Expr::BinaryOp { right, .. } => trailing_casts(right),
        _ => 0,
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

    fn expression(text: &str) -> ast::Expr {
        crate::sql::parse_expression(text).unwrap()
    }

    #[test]
    fn operators_are_found_behind_types_and_clauses_of_calls() {
        for (text, position) in [
            ("a::text + 1", 9),
            ("a::numeric(5, 2)::text + 1", 24),
            ("a::timestamp(3) with time zone + b", 32),
            ("a::double precision[] + b", 23),
            ("a::interval day to second + b", 27),
            ("CAST(a AS text) + b", 17),
            ("f(a) FILTER (WHERE true) OVER w + b", 33),
            ("f() OVER (ORDER BY a) + b", 23),
            ("CASE WHEN a THEN b END + c", 24),
        ] {
            let ast::Expr::BinaryOp { left, .. } = expression(text) else { panic!("{text}") };
            assert_eq!(Source::new(text).operator_after(left.span()), Some(position), "{text}");
        }
    }

    #[test]
    fn casts_stand_at_their_colons_or_their_word() {
        for (text, cast, data_type) in [
            ("a::int", 2, 4),
            ("a::int::date", 7, 9),
            ("(b + a::int)::date", 13, 15),
            ("CAST(a AS date)", 1, 11),
            ("CAST(CAST(a AS int) AS date)", 1, 24),
            ("CAST(f(a, (b)) AS date)", 1, 19),
        ] {
            let ast::Expr::Cast { kind, expr, .. } = expression(text) else { panic!("{text}") };
            let source = Source::new(text);
            assert_eq!(source.cast_position(&kind, &expr), Some(cast), "{text}");
            assert_eq!(source.cast_type_position(&kind, &expr), Some(data_type), "{text}");
        }
    }

    #[test]
    fn an_empty_span_has_no_position() {
        assert_eq!(Source::new("x").position(Span::empty()), None);
    }
}
