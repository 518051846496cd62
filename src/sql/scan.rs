//! Query text to tokens, by the rules of PostgreSQL's scanner with `standard_conforming_strings` on.
//!
//! A fault ends the list with a [`Kind::Bad`] token: the grammar reports it only when it gets there, so that an earlier
//! syntax error wins, as in PostgreSQL.

use sqlparser::tokenizer::Span;

use super::keywords::class_of;
use super::strings;
use super::token::{Counter, Kind, Token};
use crate::error::{Error, SqlState};

/// Identifiers are cut to this many bytes.
const NAME_BYTES_MAX: usize = 63;

/// Cuts a name as PostgreSQL does, at a character boundary.
pub(crate) fn truncated(mut name: String) -> String {
    if name.len() > NAME_BYTES_MAX {
        let mut end = NAME_BYTES_MAX;
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
    }
    name
}

/// A fault of the scanner: its message and where the offending text ends.
pub(crate) struct Fault {
    pub state: SqlState,
    pub message: &'static str,
    /// Whether ` at or near "…"` follows.
    pub quotes: bool,
    pub start: usize,
    pub end: usize,
}

impl Fault {
    pub fn syntax(message: &'static str, start: usize, end: usize) -> Self {
        Self { state: SqlState::SyntaxError, message, quotes: true, start, end }
    }
}

/// What was read: the kind, the decoded value and the byte after it.
pub(crate) type Scanned = Result<(Kind, String, usize), Fault>;

/// All tokens of the text; the last is `End`, or `Bad` and `End`.
pub(crate) fn scan(source: &str) -> Vec<Token> {
    let mut counter = Counter::new(source);
    let mut tokens = Vec::with_capacity(source.len() / 4 + 2);
    let mut at = 0;
    loop {
        let start = match skip_blank(source, at) {
            Ok(start) => start,
            Err(fault) => {
                push_bad(source, &mut counter, &mut tokens, &fault);
                break;
            }
        };
        let Some(first) = source.as_bytes().get(start).copied() else {
            push(&mut counter, &mut tokens, Kind::End, String::new(), start, start);
            break;
        };
        match scan_one(source, start, first) {
            Ok((kind, value, end)) => {
                let end = end.max(start + 1);
                push(&mut counter, &mut tokens, kind, value, start, end);
                at = end;
            }
            Err(fault) => {
                push_bad(source, &mut counter, &mut tokens, &fault);
                break;
            }
        }
    }
    tokens
}

fn push(counter: &mut Counter<'_>, tokens: &mut Vec<Token>, kind: Kind, value: String, start: usize, end: usize) {
    let (characters, from) = counter.advance(start);
    let (_, to) = counter.advance(end);
    tokens.push(Token { kind, value, start, end, position: characters.saturating_add(1), span: Span::new(from, to) });
}

fn push_bad(source: &str, counter: &mut Counter<'_>, tokens: &mut Vec<Token>, fault: &Fault) {
    let (characters, _) = counter.advance(fault.start);
    let message = if fault.quotes {
        format!("{} at or near \"{}\"", fault.message, source.get(fault.start..fault.end).unwrap_or_default())
    } else {
        fault.message.to_owned()
    };
    let error = Error::new(fault.state, message).at(characters.saturating_add(1));
    push(counter, tokens, Kind::Bad(Box::new(error)), String::new(), fault.start, source.len());
    push(counter, tokens, Kind::End, String::new(), source.len(), source.len());
}

/// The first byte after white space and comments.
fn skip_blank(source: &str, mut at: usize) -> Result<usize, Fault> {
    let bytes = source.as_bytes();
    loop {
        match (bytes.get(at), bytes.get(at + 1)) {
            (Some(b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c), _) => at += 1,
            (Some(b'-'), Some(b'-')) => at = line_end(bytes, at),
            (Some(b'/'), Some(b'*')) => at = comment_end(source, at)?,
            _ => return Ok(at),
        }
    }
}

fn line_end(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(|byte| !matches!(byte, b'\n' | b'\r')) {
        at += 1;
    }
    at
}

fn comment_end(source: &str, start: usize) -> Result<usize, Fault> {
    let bytes = source.as_bytes();
    let mut depth = 1u32;
    let mut at = start + 2;
    while depth > 0 {
        match (bytes.get(at), bytes.get(at + 1)) {
            (Some(b'/'), Some(b'*')) => (depth, at) = (depth + 1, at + 2),
            (Some(b'*'), Some(b'/')) => (depth, at) = (depth - 1, at + 2),
            (Some(_), _) => at += 1,
            (None, _) => return Err(Fault::syntax("unterminated /* comment", start, source.len())),
        }
    }
    Ok(at)
}

/// Whether strings go on: white space with a line break, then a quote. Answers where that quote is.
pub(crate) fn continued(source: &str, at: usize) -> Option<usize> {
    let bytes = source.as_bytes();
    let mut next = at;
    let mut broken = false;
    loop {
        match (bytes.get(next), bytes.get(next + 1)) {
            (Some(b'\n' | b'\r'), _) => (broken, next) = (true, next + 1),
            (Some(b' ' | b'\t' | 0x0b | 0x0c), _) => next += 1,
            (Some(b'-'), Some(b'-')) => next = line_end(bytes, next),
            (Some(b'\''), _) if broken => return Some(next),
            _ => return None,
        }
    }
}

fn scan_one(source: &str, start: usize, first: u8) -> Scanned {
    let second = source.as_bytes().get(start + 1).copied().unwrap_or_default();
    let third = source.as_bytes().get(start + 2).copied().unwrap_or_default();
    match (first, second) {
        (b'\'', _) => strings::plain(source, start, start),
        (b'e' | b'E', b'\'') => strings::escaped(source, start),
        (b'n' | b'N', b'\'') => strings::plain(source, start, start + 1),
        (b'b' | b'B' | b'x' | b'X', b'\'') => {
            let (_, value, end) = strings::plain(source, start, start + 1)
                .map_err(|fault| Fault { message: bit_message(first), ..fault })?;
            Ok((Kind::Bits, value, end))
        }
        (b'u' | b'U', b'&') if third == b'\'' => strings::unicode_string(source, start),
        (b'u' | b'U', b'&') if third == b'"' => strings::unicode_name(source, start),
        (b'"', _) => strings::quoted_name(source, start, start),
        (b'$', b'0'..=b'9') => parameter(source, start),
        (b'$', _) => strings::dollar(source, start),
        (b'0'..=b'9', _) | (b'.', b'0'..=b'9') => number(source, start),
        _ if is_name_start(first) => Ok(word(source, start)),
        _ => Ok(operator(source, start)),
    }
}

fn bit_message(first: u8) -> &'static str {
    if matches!(first, b'b' | b'B') { "unterminated bit string literal" } else { "unterminated hexadecimal string literal" }
}

pub(crate) fn is_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_name_part(byte: u8) -> bool {
    is_name_start(byte) || byte.is_ascii_digit() || byte == b'$'
}

fn run(bytes: &[u8], mut at: usize, accept: impl Fn(u8) -> bool) -> usize {
    while bytes.get(at).is_some_and(|byte| accept(*byte)) {
        at += 1;
    }
    at
}

fn word(source: &str, start: usize) -> (Kind, String, usize) {
    let end = run(source.as_bytes(), start, is_name_part);
    let value = truncated(source.get(start..end).unwrap_or_default().to_ascii_lowercase());
    (Kind::Word(class_of(&value)), value, end)
}

/// The end of the character that starts at the byte.
fn character_end(source: &str, at: usize) -> usize {
    at + source.get(at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8)
}

fn parameter(source: &str, start: usize) -> Scanned {
    let bytes = source.as_bytes();
    let end = run(bytes, start + 1, |byte| byte.is_ascii_digit());
    if bytes.get(end).copied().is_some_and(is_name_start) {
        return Err(Fault::syntax("trailing junk after parameter", start, character_end(source, end)));
    }
    let text = source.get(start..end).unwrap_or_default();
    if text.get(1..).is_none_or(|digits| digits.parse::<u16>().is_err()) {
        return Err(Fault {
            state: SqlState::UndefinedParameter,
            message: "parameter number is out of range",
            quotes: false,
            start,
            end,
        });
    }
    Ok((Kind::Parameter, text.to_owned(), end))
}

fn number(source: &str, start: usize) -> Scanned {
    let bytes = source.as_bytes();
    let digits = |at| run(bytes, at, |byte: u8| byte.is_ascii_digit());
    let mut end = digits(start);
    // `1..2` is a number and two dots, not `1.` and `.2`.
    if bytes.get(end) == Some(&b'.') && bytes.get(end + 1) != Some(&b'.') {
        end = digits(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + sign);
        if exponent > end + 1 + sign {
            end = exponent;
        }
    }
    if bytes.get(end).copied().is_some_and(is_name_start) {
        return Err(Fault::syntax("trailing junk after numeric literal", start, run(bytes, end, is_name_part)));
    }
    Ok((Kind::Number, source.get(start..end).unwrap_or_default().to_owned(), end))
}

const OPERATOR_CHARACTERS: &[u8] = b"~!@#^&|`?+-*/%<>=";
/// A longer operator may end in + or - only when it holds one of these.
const FREE_CHARACTERS: &[u8] = b"~!@#^&|`?%";

fn operator(source: &str, start: usize) -> (Kind, String, usize) {
    let bytes = source.as_bytes();
    let mut end = run(bytes, start, |byte| OPERATOR_CHARACTERS.contains(&byte));
    if end == start {
        end = match (bytes.get(start), bytes.get(start + 1)) {
            (Some(b':'), Some(b':' | b'=')) | (Some(b'.'), Some(b'.')) => start + 2,
            _ => character_end(source, start),
        };
        return (Kind::Operator, source.get(start..end).unwrap_or_default().to_owned(), end);
    }
    let text = source.get(start..end).unwrap_or_default();
    if let Some(comment) = [text.find("--"), text.find("/*")].into_iter().flatten().min() {
        end = start + comment.max(1);
    }
    let text = source.get(start..end).unwrap_or_default();
    let mut kept = text;
    if !text.bytes().any(|byte| FREE_CHARACTERS.contains(&byte)) {
        kept = text.trim_end_matches(['+', '-']);
        kept = text.get(..kept.len().max(1)).unwrap_or(text);
    }
    let value = if kept == "!=" { "<>" } else { kept };
    (Kind::Operator, value.to_owned(), start + kept.len())
}
