//! How SQL spells values: quoted identifiers and literals, `format`, Unicode escapes, qualified names.

use arrow::array::{ArrayRef, StringArray};

use super::Function;
use super::build::scalar;
use super::kernel::{Call, Column, some};
use super::text::{BYTES_MAX, characters, mapped};
use crate::error::{Error, Result, SqlState};

fn quote_ident(call: &Call) -> Result<ArrayRef> {
    mapped(call, |text, out| out.push_str(&super::names::quote(text)))
}
fn quote_literal(call: &Call) -> Result<ArrayRef> {
    mapped(call, write_literal)
}

/// The text as an SQL literal.
pub fn write_literal(text: &str, out: &mut String) {
    if text.contains('\\') {
        out.push('E');
    }
    out.push('\'');
    for c in text.chars() {
        if matches!(c, '\'' | '\\') {
            out.push(c);
        }
        out.push(c);
    }
    out.push('\'');
}

fn quote_nullable(call: &Call) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    call.texts(|row, out| {
        match texts.get(row) {
            Some(text) => write_literal(text, out),
            None => out.push_str("NULL"),
        }
        Ok(Some(()))
    })
}

/// `format(text, …)`: `%s %I %L %%`, positions `n$`, widths and `-`.
fn format(call: &Call) -> Result<ArrayRef> {
    let formats = call.text(0)?;
    let columns = (1..call.len()).map(|index| call.text(index)).collect::<Result<Vec<_>>>()?;
    call.texts(|row, out| {
        let format = some!(formats.get(row));
        write_format(format, &columns, row, out)?;
        Ok(Some(()))
    })
}

fn write_format(format: &str, columns: &[Column<StringArray>], row: usize, out: &mut String) -> Result<()> {
    let invalid = |message: &str| Error::new(SqlState::InvalidParameterValue, message);
    let mut rest = format.chars().peekable();
    let mut next = 0;
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut number = 0_usize;
        let mut left = false;
        let mut width = 0_usize;
        loop {
            match rest.next() {
                Some('%') => {
                    out.push('%');
                    break;
                }
                Some('-') => left = true,
                Some('$') => {
                    if width == 0 {
                        return Err(invalid("format specifies argument 0, but arguments are numbered from 1"));
                    }
                    number = std::mem::take(&mut width);
                }
                Some(digit) if digit.is_ascii_digit() => {
                    width = width.saturating_mul(10).saturating_add(digit as usize - '0' as usize).min(BYTES_MAX);
                }
                Some(kind @ ('s' | 'I' | 'L')) => {
                    let index = if number > 0 { number - 1 } else { next };
                    next = index + 1;
                    let column = columns.get(index).ok_or_else(|| invalid("too few arguments for format()"))?;
                    let value = column.get(row);
                    let text = match (kind, value) {
                        ('s', value) => value.unwrap_or_default().to_owned(),
                        ('I', Some(value)) => super::names::quote(value),
                        ('I', None) => {
                            let message = "null values cannot be formatted as an SQL identifier";
                            return Err(Error::new(SqlState::NullValueNotAllowed, message));
                        }
                        (_, Some(value)) => {
                            let mut literal = String::new();
                            write_literal(value, &mut literal);
                            literal
                        }
                        (_, None) => "NULL".to_owned(),
                    };
                    let missing = width.saturating_sub(characters(&text));
                    if !left {
                        out.extend(std::iter::repeat_n(' ', missing));
                    }
                    out.push_str(&text);
                    if left {
                        out.extend(std::iter::repeat_n(' ', missing));
                    }
                    break;
                }
                Some(other) => {
                    let message = format!("unrecognized format() type specifier \"{other}\"");
                    return Err(invalid(&message).with_hint("For a single \"%\" use \"%%\"."));
                }
                None => {
                    return Err(
                        invalid("unterminated format() type specifier").with_hint("For a single \"%\" use \"%%\".")
                    );
                }
            }
        }
    }
    Ok(())
}

/// `unistr`: `\XXXX`, `\uXXXX`, `\+XXXXXX` and `\UXXXXXXXX` become the characters they name.
fn unistr(call: &Call) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    call.texts(|row, out| {
        write_unescaped(some!(texts.get(row)), out)?;
        Ok(Some(()))
    })
}

fn invalid_pair() -> Error {
    Error::new(SqlState::SyntaxError, "invalid Unicode surrogate pair")
}

fn write_unescaped(text: &str, out: &mut String) -> Result<()> {
    let mut rest = text;
    // The first half of a pair, when the last escape was one.
    let mut high: Option<u32> = None;
    while let Some(c) = rest.chars().next() {
        if c != '\\' || rest.starts_with("\\\\") {
            if high.is_some() {
                return Err(invalid_pair());
            }
            out.push(c);
            rest = rest.get(if c == '\\' { 2 } else { c.len_utf8() }..).unwrap_or_default();
            continue;
        }
        let (code, length) = escape(rest).ok_or_else(|| {
            Error::new(SqlState::SyntaxError, "invalid Unicode escape")
                .with_hint("Unicode escapes must be \\XXXX, \\+XXXXXX, \\uXXXX, or \\UXXXXXXXX.")
        })?;
        if code == 0 || code > 0x10_ffff {
            let digits = length - if length == 5 { 1 } else { 2 };
            let message = format!("invalid Unicode code point: {code:0digits$X}");
            return Err(Error::new(SqlState::InvalidParameterValue, message));
        }
        rest = rest.get(length..).unwrap_or_default();
        match (high.take(), code) {
            (None, 0xd800..=0xdbff) => high = Some(code),
            (None, _) => out.push(char::from_u32(code).ok_or_else(invalid_pair)?),
            (Some(first), 0xdc00..=0xdfff) => {
                let code = 0x1_0000 + ((first & 0x3ff) << 10) + (code & 0x3ff);
                out.push(char::from_u32(code).ok_or_else(invalid_pair)?);
            }
            (Some(_), _) => return Err(invalid_pair()),
        }
    }
    if high.is_some() { Err(invalid_pair()) } else { Ok(()) }
}

/// The code of the escape that the text starts with, and the escape's length in bytes.
fn escape(text: &str) -> Option<(u32, usize)> {
    let (prefix, digits) = match text.as_bytes().get(1)? {
        b'u' => (2, 4),
        b'+' => (2, 6),
        b'U' => (2, 8),
        _ => (1, 4),
    };
    let code = text.get(prefix..prefix + digits).filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    Some((u32::from_str_radix(code, 16).ok()?, prefix + digits))
}

/// `parse_ident`: the parts of a qualified name.
fn parse_ident(call: &Call) -> Result<ArrayRef> {
    let names = call.text(0)?;
    let strict = if call.len() > 1 { Some(call.boolean(1)?) } else { None };
    call.text_lists(|row, parts| {
        let name = some!(names.get(row));
        let strict = match &strict {
            Some(strict) => some!(strict.get(row)),
            None => true,
        };
        for part in identifiers(name, strict)? {
            parts.append_value(part);
        }
        Ok(Some(()))
    })
}

fn identifiers(text: &str, strict: bool) -> Result<Vec<String>> {
    let invalid = |detail: &str| {
        let message = format!("string is not a valid identifier: \"{text}\"");
        let error = Error::new(SqlState::InvalidParameterValue, message);
        if detail.is_empty() { error } else { error.with_detail(detail) }
    };
    let space = |c: char| c.is_ascii() && crate::encode::input::is_space(c as u8);
    let mut rest = text.trim_start_matches(space);
    let mut parts = Vec::new();
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (part, after) =
                super::names::quoted_part(quoted).ok_or_else(|| invalid("String has unclosed double quotes."))?;
            if part.is_empty() {
                return Err(invalid("Quoted identifier must not be empty."));
            }
            parts.push(part);
            rest = after;
        } else {
            let length = rest.find(|c: char| !is_identifier(c)).unwrap_or(rest.len());
            let (part, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
            if part.is_empty() || part.starts_with(|c: char| c.is_ascii_digit() || c == '$') {
                return Err(match (rest.starts_with('.'), parts.is_empty()) {
                    (true, _) => invalid("No valid identifier before \".\"."),
                    (false, false) => invalid("No valid identifier after \".\"."),
                    (false, true) => invalid(""),
                });
            }
            parts.push(part.to_ascii_lowercase());
            rest = after;
        }
        rest = rest.trim_start_matches(space);
        match rest.strip_prefix('.') {
            Some(after) => rest = after.trim_start_matches(space),
            None if rest.is_empty() || !strict => return Ok(parts),
            None => return Err(invalid("")),
        }
    }
}

fn is_identifier(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii()
}

pub(super) fn functions() -> Vec<Function> {
    let mut parse_ident = scalar(1268, "parse_ident(text, bool) _text", parse_ident);
    parse_ident.defaults = 1;
    vec![
        scalar(1282, "quote_ident(text) text", quote_ident),
        scalar(1283, "quote_literal(text) text", quote_literal),
        scalar(1289, "quote_nullable(text) text", quote_nullable).not_strict(),
        scalar(1285, "quote_literal(anyelement) text", quote_literal),
        scalar(1290, "quote_nullable(anyelement) text", quote_nullable).not_strict(),
        scalar(3539, "format(text, variadic any) text", format).not_strict(),
        scalar(3540, "format(text) text", format).not_strict(),
        scalar(6198, "unistr(text) text", unistr),
        parse_ident,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unicode_escapes_name_characters() {
        let unescaped = |text: &str| {
            let mut out = String::new();
            write_unescaped(text, &mut out).map(|()| out).map_err(|error| error.message().to_owned())
        };
        assert_eq!(unescaped(r"\0441\u043B\+00043E\U0000043D").as_deref(), Ok("слон"));
        assert_eq!(unescaped(r"a\\b\D83D\DE00é").as_deref(), Ok("a\\b😀é"));
        for (text, message) in [
            (r"\db99", "invalid Unicode surrogate pair"),
            (r"\db99x", "invalid Unicode surrogate pair"),
            (r"\de00", "invalid Unicode surrogate pair"),
            (r"\xyz", "invalid Unicode escape"),
            (r"\+00é", "invalid Unicode escape"),
            (r"\0000", "invalid Unicode code point: 0000"),
            (r"\U99999999", "invalid Unicode code point: 99999999"),
        ] {
            assert_eq!(unescaped(text), Err(message.to_owned()), "{text}");
        }
    }

    #[test]
    fn qualified_names_are_taken_apart() {
        let parts = |text: &str, strict| identifiers(text, strict).map(|parts| parts.join("|"));
        assert_eq!(parts(r#" "Some ""S" . tAble"#, true).unwrap(), "Some \"S|table");
        assert_eq!(parts("foo.boo[]", false).unwrap(), "foo|boo");
        assert_eq!(parts("ÄB.c$1", true).unwrap(), "Äb|c$1");
        for wrong in ["foo.boo[]", "", "a.", ".a", "a b", r#""""#, r#""abc"#, "1020", "a..b"] {
            assert!(parts(wrong, true).is_err(), "{wrong}");
        }
    }
}
