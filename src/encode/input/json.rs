//! Input of `json` (checked, kept as written) and `jsonb` (rewritten as PostgreSQL prints it).

use super::binary_text::hex_value;
use crate::error::{Error, Result, SqlState};

/// Deepest nesting; beyond it the stack would not be safe.
const DEPTH_MAX: usize = 1000;

/// `json`: the text itself when it is valid JSON.
pub fn json(text: &str) -> Result<&str> {
    let mut parser = Parser::new(text);
    parser.value(&mut Discard, 0)?;
    parser.end()?;
    Ok(text)
}

/// `jsonb`: keys ordered by length, then bytes; of equal keys the last wins; `": "` and `", "`; plain numbers.
pub fn jsonb(text: &str) -> Result<String> {
    let mut parser = Parser::new(text);
    let mut tree = Tree;
    let value = parser.value(&mut tree, 0)?;
    parser.end()?;
    let mut written = String::with_capacity(text.len() + 16);
    value.write(&mut written);
    Ok(written)
}

/// What the parser makes of what it reads.
trait Sink {
    type Value;
    fn scalar(&mut self, text: &str) -> Self::Value;
    fn number(&mut self, text: &str) -> Result<Self::Value>;
    fn string(&mut self, raw: &str) -> Result<Self::Value>;
    fn array(&mut self, items: Vec<Self::Value>) -> Self::Value;
    fn object(&mut self, items: Vec<(Self::Value, Self::Value)>) -> Self::Value;
}

struct Discard;

impl Sink for Discard {
    type Value = ();
    fn scalar(&mut self, _: &str) {}
    fn number(&mut self, _: &str) -> Result<()> {
        Ok(())
    }
    fn string(&mut self, _: &str) -> Result<()> {
        Ok(())
    }
    fn array(&mut self, _: Vec<()>) {}
    fn object(&mut self, _: Vec<((), ())>) {}
}

struct Tree;

/// A jsonb value with its scalars already written.
enum Value {
    Scalar(String),
    /// A string's characters.
    String(String),
    Array(Vec<Value>),
    Object(Vec<(String, Value)>),
}

impl Sink for Tree {
    type Value = Value;

    fn scalar(&mut self, text: &str) -> Value {
        Value::Scalar(text.to_owned())
    }

    fn number(&mut self, text: &str) -> Result<Value> {
        plain_number(text).map(Value::Scalar)
    }

    fn string(&mut self, raw: &str) -> Result<Value> {
        unescape(raw).map(Value::String)
    }

    fn array(&mut self, items: Vec<Value>) -> Value {
        Value::Array(items)
    }

    fn object(&mut self, items: Vec<(Value, Value)>) -> Value {
        let mut pairs: Vec<(String, Value)> = Vec::with_capacity(items.len());
        for (key, value) in items {
            if let Value::String(key) = key {
                pairs.push((key, value));
            }
        }
        // A stable sort of the reverse puts the last of equal keys first, and dedup keeps it.
        pairs.reverse();
        pairs.sort_by(|(left, _), (right, _)| left.len().cmp(&right.len()).then_with(|| left.cmp(right)));
        pairs.dedup_by(|(later, _), (earlier, _)| later == earlier);
        Value::Object(pairs)
    }
}

impl Value {
    fn write(&self, out: &mut String) {
        match self {
            Self::Scalar(text) => out.push_str(text),
            Self::String(text) => write_string(text, out),
            Self::Array(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    out.push_str(if at > 0 { ", " } else { "" });
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(pairs) => {
                out.push('{');
                for (at, (key, value)) in pairs.iter().enumerate() {
                    out.push_str(if at > 0 { ", " } else { "" });
                    write_string(key, out);
                    out.push_str(": ");
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

/// A string in double quotes with PostgreSQL's escapes.
pub(crate) fn write_string(text: &str, out: &mut String) {
    use std::fmt::Write as _;
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value<S: Sink>(&mut self, sink: &mut S, depth: usize) -> Result<S::Value> {
        if depth > DEPTH_MAX {
            return Err(Error::new(SqlState::StatementTooComplex, "stack depth limit exceeded"));
        }
        self.skip_space();
        match self.peek() {
            Some(b'{') => self.object(sink, depth),
            Some(b'[') => self.array(sink, depth),
            Some(b'"') => {
                let raw = self.string()?;
                sink.string(raw)
            }
            Some(b'-' | b'0'..=b'9') => {
                let raw = self.number()?;
                sink.number(raw)
            }
            Some(_) => {
                let start = self.at;
                let word = self.token();
                if !matches!(word, "true" | "false" | "null") {
                    return Err(self.unexpected(start, "JSON value"));
                }
                self.at += word.len();
                Ok(sink.scalar(word))
            }
            None => Err(self.ended()),
        }
    }

    fn array<S: Sink>(&mut self, sink: &mut S, depth: usize) -> Result<S::Value> {
        self.at += 1;
        let mut items = Vec::new();
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(sink.array(items));
        }
        loop {
            items.push(self.value(sink, depth + 1)?);
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(sink.array(items));
                }
                Some(_) => return Err(self.unexpected(self.at, "\",\" or \"]\"")),
                None => return Err(self.ended()),
            }
        }
    }

    fn object<S: Sink>(&mut self, sink: &mut S, depth: usize) -> Result<S::Value> {
        self.at += 1;
        let mut items = Vec::new();
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(sink.object(items));
        }
        loop {
            self.skip_space();
            match self.peek() {
                Some(b'"') => {}
                Some(_) if items.is_empty() => return Err(self.unexpected(self.at, "string or \"}\"")),
                Some(_) => return Err(self.unexpected(self.at, "string")),
                None => return Err(self.ended()),
            }
            let raw = self.string()?;
            let key = sink.string(raw)?;
            self.skip_space();
            match self.peek() {
                Some(b':') => self.at += 1,
                Some(_) => return Err(self.unexpected(self.at, "\":\"")),
                None => return Err(self.ended()),
            }
            items.push((key, self.value(sink, depth + 1)?));
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(sink.object(items));
                }
                Some(_) => return Err(self.unexpected(self.at, "\",\" or \"}\"")),
                None => return Err(self.ended()),
            }
        }
    }

    /// The inside of a string, checked; the cursor is at its opening quote.
    fn string(&mut self) -> Result<&'a str> {
        let start = self.at + 1;
        let bytes = self.text.as_bytes();
        let mut at = start;
        loop {
            match bytes.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(self.text.get(start..at).unwrap_or_default());
                }
                Some(b'\\') => at += self.escape(at)?,
                Some(control @ ..0x20) => {
                    return Err(self.fault(format!("Character with value 0x{control:02x} must be escaped."), at));
                }
                Some(_) => at += 1,
                None => {
                    let token = self.text.get(self.at..).unwrap_or_default();
                    return Err(self.fault(format!("Token \"{token}\" is invalid."), self.text.len()));
                }
            }
        }
    }

    /// Length of the escape at `at`.
    fn escape(&self, at: usize) -> Result<usize> {
        let bytes = self.text.as_bytes();
        match bytes.get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(2),
            Some(b'u') => {
                let digits = bytes.get(at + 2..at + 6);
                if digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                    return Ok(6);
                }
                Err(self.fault("\"\\u\" must be followed by four hexadecimal digits.".to_owned(), at))
            }
            Some(_) => {
                let shown = self.text.get(at + 1..).and_then(|tail| tail.chars().next()).unwrap_or('?');
                Err(self.fault(format!("Escape sequence \"\\{shown}\" is invalid."), at))
            }
            None => {
                let token = self.text.get(self.at..).unwrap_or_default();
                Err(self.fault(format!("Token \"{token}\" is invalid."), at))
            }
        }
    }

    fn number(&mut self) -> Result<&'a str> {
        let token = self.token();
        if !is_number(token) {
            return Err(self.fault(format!("Token \"{token}\" is invalid."), self.at));
        }
        self.at += token.len();
        Ok(token)
    }

    /// Letters, digits and what belongs to numbers from here, or the one character that is none of them.
    fn token(&self) -> &'a str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let part = |character: char| {
            character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '+' | '.') || !character.is_ascii()
        };
        let end = rest.find(|character| !part(character)).unwrap_or(rest.len());
        let end = if end == 0 { rest.chars().next().map_or(0, char::len_utf8) } else { end };
        rest.get(..end).unwrap_or_default()
    }

    fn end(&mut self) -> Result<()> {
        self.skip_space();
        if self.at < self.text.len() { Err(self.unexpected(self.at, "end of input")) } else { Ok(()) }
    }

    #[cold]
    fn ended(&self) -> Error {
        self.fault("The input string ended unexpectedly.".to_owned(), self.at)
    }

    #[cold]
    fn unexpected(&self, at: usize, wanted: &str) -> Error {
        let here = Parser { text: self.text, at };
        let token = here.token();
        let known = matches!(token, "true" | "false" | "null" | "{" | "}" | "[" | "]" | ":" | ",")
            || token.starts_with('"')
            || is_number(token);
        if !known {
            return here.fault(format!("Token \"{token}\" is invalid."), at);
        }
        let shown = if token.starts_with('"') {
            let mut string = Parser { text: self.text, at };
            match string.string() {
                Ok(_) => self.text.get(at..string.at).unwrap_or_default(),
                Err(error) => return error,
            }
        } else {
            token
        };
        let detail = match wanted {
            "end of input" => format!("Expected end of input, but found \"{shown}\"."),
            "JSON value" => format!("Expected JSON value, but found \"{shown}\"."),
            other => format!("Expected {other}, but found \"{shown}\"."),
        };
        here.fault(detail, at + shown.len())
    }

    #[cold]
    fn fault(&self, detail: String, at: usize) -> Error {
        let before = self.text.get(..at.min(self.text.len())).unwrap_or_default();
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let from = before.rfind('\n').map_or(0, |newline| newline + 1);
        let shown = self.text.get(from..).and_then(|tail| tail.lines().next()).unwrap_or_default();
        Error::new(SqlState::InvalidTextRepresentation, "invalid input syntax for type json")
            .with_detail(detail)
            .with_context(format!("JSON data, line {line}: {shown}"))
    }
}

/// JSON's grammar of numbers.
fn is_number(token: &str) -> bool {
    let body = token.strip_prefix('-').unwrap_or(token);
    let (mantissa, exponent) = match body.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (body, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

/// Digits that a number may grow to by its exponent (PostgreSQL's numeric has 131072 before the point).
const NUMBER_DIGITS_MAX: i64 = 131_072;

/// A number without an exponent, as `numeric` prints it.
fn plain_number(text: &str) -> Result<String> {
    let (sign, body) = match text.strip_prefix('-') {
        Some(body) => ("-", body),
        None => ("", text),
    };
    let (mantissa, exponent) = match body.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().unwrap_or(i64::MAX)),
        None => (body, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let is_zero = digits.bytes().all(|byte| byte == b'0');
    let point = (whole.len() as i64).saturating_add(exponent);
    let scale = (fraction.len() as i64).saturating_sub(exponent).max(0);
    if !(-16_383..=NUMBER_DIGITS_MAX).contains(&point) || scale > 16_383 {
        return Err(Error::new(SqlState::NumericValueOutOfRange, "value overflows numeric format"));
    }
    let padded_left = if point < 1 { format!("{}{digits}", "0".repeat((1 - point) as usize)) } else { digits };
    let point = point.max(1) as usize;
    let missing = (point + scale as usize).saturating_sub(padded_left.len());
    let all = format!("{padded_left}{}", "0".repeat(missing));
    let (whole, fraction) = all.split_at(point.min(all.len()));
    let whole = whole.trim_start_matches('0');
    let mut plain = String::with_capacity(all.len() + 2);
    plain.push_str(if is_zero { "" } else { sign });
    plain.push_str(if whole.is_empty() { "0" } else { whole });
    if scale > 0 {
        plain.push('.');
        plain.push_str(fraction.get(..scale as usize).unwrap_or(fraction));
    }
    Ok(plain)
}

/// The characters of a checked string.
fn unescape(raw: &str) -> Result<String> {
    if !raw.contains('\\') {
        return Ok(raw.to_owned());
    }
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        let (plain, tail) = rest.split_at(at);
        text.push_str(plain);
        let (character, length) = escaped_character(tail)?;
        text.push(character);
        rest = tail.get(length..).unwrap_or_default();
    }
    text.push_str(rest);
    Ok(text)
}

fn escaped_character(escape: &str) -> Result<(char, usize)> {
    let character = match escape.as_bytes().get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode_escape(escape),
        Some(other) => char::from(*other),
        None => return Err(surrogate_error("Unicode high surrogate must not follow a high surrogate.")),
    };
    Ok((character, 2))
}

fn unicode_escape(escape: &str) -> Result<(char, usize)> {
    let unit = |from: usize| -> Option<u32> {
        escape
            .as_bytes()
            .get(from..from + 4)?
            .iter()
            .try_fold(0, |unit, digit| Some(unit << 4 | u32::from(hex_value(*digit)?)))
    };
    let first = unit(2).unwrap_or(0);
    match first {
        0 => Err(Error::new(SqlState::UntranslatableCharacter, "unsupported Unicode escape sequence")
            .with_detail("\\u0000 cannot be converted to text.")),
        0xd800..=0xdbff => {
            let second = if escape.as_bytes().get(6..8) == Some(b"\\u") { unit(8) } else { None };
            match second {
                Some(second @ 0xdc00..=0xdfff) => {
                    let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                    char::from_u32(code)
                        .map(|character| (character, 12))
                        .ok_or_else(|| surrogate_error(LOW_MUST_FOLLOW))
                }
                Some(0xd800..=0xdbff) => {
                    Err(surrogate_error("Unicode high surrogate must not follow a high surrogate."))
                }
                _ => Err(surrogate_error(LOW_MUST_FOLLOW)),
            }
        }
        code => char::from_u32(code).map(|character| (character, 6)).ok_or_else(|| surrogate_error(LOW_MUST_FOLLOW)),
    }
}

const LOW_MUST_FOLLOW: &str = "Unicode low surrogate must follow a high surrogate.";

#[cold]
fn surrogate_error(detail: &str) -> Error {
    Error::new(SqlState::InvalidTextRepresentation, "invalid input syntax for type json").with_detail(detail)
}
