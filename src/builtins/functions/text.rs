//! Functions of text and bytea. Positions and lengths count characters.

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{Int32Type, Int64Type};

use super::Function;
use super::build::scalar;
use super::kernel::{Call, Column, some};
use crate::error::{Error, Result, SqlState};

/// Longest text that a function makes (PostgreSQL's limit of a value).
const BYTES_MAX: usize = 1 << 30;

fn too_long() -> Error {
    Error::new(SqlState::ProgramLimitExceeded, "requested length too large")
}

/// `||`
pub fn concatenate(call: &Call) -> Result<ArrayRef> {
    let (left, right) = (call.text(0)?, call.text(1)?);
    call.texts(|row, out| {
        let (left, right) = (some!(left.get(row)), some!(right.get(row)));
        out.push_str(left);
        out.push_str(right);
        Ok(Some(()))
    })
}

pub fn concatenate_bytes(call: &Call) -> Result<ArrayRef> {
    let (left, right) = (call.bytes(0)?, call.bytes(1)?);
    call.byte_strings(|row, out| {
        let (left, right) = (some!(left.get(row)), some!(right.get(row)));
        out.extend_from_slice(left);
        out.extend_from_slice(right);
        Ok(Some(()))
    })
}

/// `^@`, `starts_with`
pub fn starts_with(call: &Call) -> Result<ArrayRef> {
    let (texts, prefixes) = (call.text(0)?, call.text(1)?);
    call.booleans(|row| Ok(Some(some!(texts.get(row)).starts_with(some!(prefixes.get(row))))))
}

fn measured(call: &Call, measure: fn(&str) -> usize) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    call.values::<Int32Type>(|row| Ok(texts.get(row).map(|text| measure(text) as i32)))
}

fn characters(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

fn length(call: &Call) -> Result<ArrayRef> {
    measured(call, characters)
}
fn octets(call: &Call) -> Result<ArrayRef> {
    measured(call, str::len)
}
fn bits(call: &Call) -> Result<ArrayRef> {
    measured(call, |text| text.len() * 8)
}
fn byte_length(call: &Call) -> Result<ArrayRef> {
    let bytes = call.bytes(0)?;
    call.values::<Int32Type>(|row| Ok(bytes.get(row).map(|bytes| bytes.len() as i32)))
}

/// Writes each text changed.
fn mapped(call: &Call, write: impl Fn(&str, &mut String)) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    call.texts(|row, out| {
        write(some!(texts.get(row)), out);
        Ok(Some(()))
    })
}

fn lower(call: &Call) -> Result<ArrayRef> {
    mapped(call, |text, out| {
        if text.is_ascii() {
            out.push_str(text);
            out.make_ascii_lowercase();
        } else {
            out.extend(text.chars().flat_map(char::to_lowercase));
        }
    })
}
fn upper(call: &Call) -> Result<ArrayRef> {
    mapped(call, |text, out| {
        if text.is_ascii() {
            out.push_str(text);
            out.make_ascii_uppercase();
        } else {
            out.extend(text.chars().flat_map(char::to_uppercase));
        }
    })
}
fn initcap(call: &Call) -> Result<ArrayRef> {
    mapped(call, |text, out| {
        let mut inside = false;
        for c in text.chars() {
            if inside {
                out.extend(c.to_lowercase())
            } else {
                out.extend(c.to_uppercase())
            }
            inside = c.is_alphanumeric();
        }
    })
}
fn reverse(call: &Call) -> Result<ArrayRef> {
    mapped(call, |text, out| out.extend(text.chars().rev()))
}
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

/// Which ends a trim works on.
#[derive(Clone, Copy)]
enum Ends {
    Both,
    Left,
    Right,
}

fn trimmed(call: &Call, ends: Ends) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    let sets = if call.len() > 1 { Some(call.text(1)?) } else { None };
    call.slices(|row| {
        let text = some!(texts.get(row));
        let set = match &sets {
            Some(sets) => some!(sets.get(row)),
            None => " ",
        };
        let in_set = |c: char| set.contains(c);
        Ok(Some(match ends {
            Ends::Both => text.trim_matches(in_set),
            Ends::Left => text.trim_start_matches(in_set),
            Ends::Right => text.trim_end_matches(in_set),
        }))
    })
}

fn btrim(call: &Call) -> Result<ArrayRef> {
    trimmed(call, Ends::Both)
}
fn ltrim(call: &Call) -> Result<ArrayRef> {
    trimmed(call, Ends::Left)
}
fn rtrim(call: &Call) -> Result<ArrayRef> {
    trimmed(call, Ends::Right)
}

/// Byte offset of a character position (from 0); the text's end when it has fewer.
fn offset(text: &str, characters: i64) -> usize {
    let wanted = usize::try_from(characters).unwrap_or(0);
    if text.is_ascii() {
        return wanted.min(text.len());
    }
    text.char_indices().nth(wanted).map_or(text.len(), |(at, _)| at)
}

fn left(call: &Call) -> Result<ArrayRef> {
    let (texts, counts) = (call.text(0)?, call.int(1)?);
    call.slices(|row| {
        let (text, count) = (some!(texts.get(row)), some!(counts.get(row)));
        let kept = if count >= 0 { count } else { (characters(text) as i64 + count).max(0) };
        Ok(text.get(..offset(text, kept)))
    })
}
fn right(call: &Call) -> Result<ArrayRef> {
    let (texts, counts) = (call.text(0)?, call.int(1)?);
    call.slices(|row| {
        let (text, count) = (some!(texts.get(row)), some!(counts.get(row)));
        let skipped = if count >= 0 { (characters(text) as i64 - count).max(0) } else { -count };
        Ok(text.get(offset(text, skipped)..))
    })
}

/// `substring(text, start[, length])`: positions count from 1 and may lie outside.
fn substring(call: &Call) -> Result<ArrayRef> {
    let (texts, starts) = (call.text(0)?, call.int(1)?);
    let lengths = if call.len() > 2 { Some(call.int(2)?) } else { None };
    call.slices(|row| {
        let (text, start) = (some!(texts.get(row)), some!(starts.get(row)));
        let end = match &lengths {
            None => i64::MAX,
            Some(lengths) => {
                let length = some!(lengths.get(row));
                if length < 0 {
                    return Err(negative_length());
                }
                start.saturating_add(length)
            }
        };
        let from = offset(text, (start - 1).max(0));
        let to = if end == i64::MAX { text.len() } else { offset(text, (end - 1).max(0)) };
        Ok(text.get(from..to.max(from)))
    })
}

fn negative_length() -> Error {
    Error::new(SqlState::SubstringError, "negative substring length not allowed")
}

fn substring_bytes(call: &Call) -> Result<ArrayRef> {
    let (values, starts) = (call.bytes(0)?, call.int(1)?);
    let lengths = if call.len() > 2 { Some(call.int(2)?) } else { None };
    call.byte_strings(|row, out| {
        let (bytes, start) = (some!(values.get(row)), some!(starts.get(row)));
        let end = match &lengths {
            None => i64::MAX,
            Some(lengths) => {
                let length = some!(lengths.get(row));
                if length < 0 {
                    return Err(negative_length());
                }
                start.saturating_add(length)
            }
        };
        let clamp = |at: i64| usize::try_from(at.max(1) - 1).unwrap_or(usize::MAX).min(bytes.len());
        let (from, to) = (clamp(start), clamp(end));
        out.extend_from_slice(bytes.get(from..to.max(from)).unwrap_or_default());
        Ok(Some(()))
    })
}

fn position(call: &Call) -> Result<ArrayRef> {
    let (texts, wanted) = (call.text(0)?, call.text(1)?);
    call.values::<Int32Type>(|row| {
        let (text, wanted) = (some!(texts.get(row)), some!(wanted.get(row)));
        Ok(Some(text.find(wanted).map_or(0, |at| characters(text.get(..at).unwrap_or_default()) as i32 + 1)))
    })
}

fn overlay(call: &Call) -> Result<ArrayRef> {
    let (texts, replacements, starts) = (call.text(0)?, call.text(1)?, call.int(2)?);
    let counts = if call.len() > 3 { Some(call.int(3)?) } else { None };
    call.texts(|row, out| {
        let (text, replacement) = (some!(texts.get(row)), some!(replacements.get(row)));
        let start = some!(starts.get(row));
        let count = match &counts {
            Some(counts) => some!(counts.get(row)),
            None => characters(replacement) as i64,
        };
        if start <= 0 {
            return Err(negative_length());
        }
        out.push_str(text.get(..offset(text, start - 1)).unwrap_or_default());
        out.push_str(replacement);
        out.push_str(text.get(offset(text, (start - 1 + count).max(0))..).unwrap_or_default());
        Ok(Some(()))
    })
}

fn replace(call: &Call) -> Result<ArrayRef> {
    let (texts, from, to) = (call.text(0)?, call.text(1)?, call.text(2)?);
    call.texts(|row, out| {
        let (text, from, to) = (some!(texts.get(row)), some!(from.get(row)), some!(to.get(row)));
        if from.is_empty() {
            out.push_str(text);
            return Ok(Some(()));
        }
        let mut end = 0;
        for (at, found) in text.match_indices(from) {
            out.push_str(text.get(end..at).unwrap_or_default());
            out.push_str(to);
            end = at + found.len();
        }
        out.push_str(text.get(end..).unwrap_or_default());
        Ok(Some(()))
    })
}

fn translate(call: &Call) -> Result<ArrayRef> {
    let (texts, from, to) = (call.text(0)?, call.text(1)?, call.text(2)?);
    call.texts(|row, out| {
        let (text, from, to) = (some!(texts.get(row)), some!(from.get(row)), some!(to.get(row)));
        for c in text.chars() {
            match from.chars().position(|wanted| wanted == c) {
                None => out.push(c),
                Some(at) => out.extend(to.chars().nth(at)),
            }
        }
        Ok(Some(()))
    })
}

fn repeat(call: &Call) -> Result<ArrayRef> {
    let (texts, counts) = (call.text(0)?, call.int(1)?);
    call.texts(|row, out| {
        let (text, count) = (some!(texts.get(row)), some!(counts.get(row)));
        let count = usize::try_from(count).unwrap_or(0);
        if text.len().checked_mul(count).is_none_or(|bytes| bytes > BYTES_MAX) {
            return Err(too_long());
        }
        for _ in 0..count {
            out.push_str(text);
        }
        Ok(Some(()))
    })
}

fn padded(call: &Call, on_the_left: bool) -> Result<ArrayRef> {
    let (texts, lengths) = (call.text(0)?, call.int(1)?);
    let fills = if call.len() > 2 { Some(call.text(2)?) } else { None };
    call.texts(|row, out| {
        let (text, length) = (some!(texts.get(row)), some!(lengths.get(row)).max(0));
        let fill = match &fills {
            Some(fills) => some!(fills.get(row)),
            None => " ",
        };
        if length as usize > BYTES_MAX {
            return Err(too_long());
        }
        let missing = (length - characters(text) as i64).max(0) as usize;
        let kept = text.get(..offset(text, length)).unwrap_or(text);
        if !on_the_left {
            out.push_str(kept);
        }
        if !fill.is_empty() {
            out.extend(fill.chars().cycle().take(missing));
        }
        if on_the_left {
            out.push_str(kept);
        }
        Ok(Some(()))
    })
}

fn lpad(call: &Call) -> Result<ArrayRef> {
    padded(call, true)
}
fn rpad(call: &Call) -> Result<ArrayRef> {
    padded(call, false)
}

fn split_part(call: &Call) -> Result<ArrayRef> {
    let (texts, delimiters, fields) = (call.text(0)?, call.text(1)?, call.int(2)?);
    call.slices(|row| {
        let (text, delimiter, field) = (some!(texts.get(row)), some!(delimiters.get(row)), some!(fields.get(row)));
        if field == 0 {
            return Err(Error::new(SqlState::InvalidParameterValue, "field position must not be zero"));
        }
        let index = field.unsigned_abs() as usize - 1;
        if delimiter.is_empty() {
            return Ok(Some(if index == 0 { text } else { "" }));
        }
        let part = if field > 0 { text.split(delimiter).nth(index) } else { text.rsplit(delimiter).nth(index) };
        Ok(Some(part.unwrap_or("")))
    })
}

fn ascii(call: &Call) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    call.values::<Int32Type>(|row| Ok(Some(some!(texts.get(row)).chars().next().map_or(0, |c| c as i32))))
}

fn chr(call: &Call) -> Result<ArrayRef> {
    let codes = call.int(0)?;
    call.texts(|row, out| {
        let code = some!(codes.get(row));
        let too_large = || {
            let message = format!("requested character too large for encoding: {code}");
            Error::new(SqlState::ProgramLimitExceeded, message)
        };
        if code == 0 {
            return Err(Error::new(SqlState::ProgramLimitExceeded, "null character not permitted"));
        }
        if code < 0 {
            return Err(Error::new(SqlState::ProgramLimitExceeded, "character number must be positive"));
        }
        out.push(u32::try_from(code).ok().and_then(char::from_u32).ok_or_else(too_large)?);
        Ok(Some(()))
    })
}

fn to_hex(call: &Call) -> Result<ArrayRef> {
    use std::fmt::Write;
    let narrow = matches!(call.raw(0)?.data_type(), arrow::datatypes::DataType::Int32);
    let values = call.int(0)?;
    call.texts(|row, out| {
        let value = some!(values.get(row));
        let _ = if narrow { write!(out, "{:x}", value as i32) } else { write!(out, "{value:x}") };
        Ok(Some(()))
    })
}

/// The texts of the arguments, each cast to text already; NULL counts for nothing.
fn concat(call: &Call) -> Result<ArrayRef> {
    let columns = (0..call.len()).map(|index| call.text(index)).collect::<Result<Vec<_>>>()?;
    call.texts(|row, out| {
        for column in &columns {
            out.push_str(column.get(row).unwrap_or_default());
        }
        Ok(Some(()))
    })
}

fn concat_ws(call: &Call) -> Result<ArrayRef> {
    let separators = call.text(0)?;
    let columns = (1..call.len()).map(|index| call.text(index)).collect::<Result<Vec<_>>>()?;
    call.texts(|row, out| {
        let separator = some!(separators.get(row));
        let mut first = true;
        for text in columns.iter().filter_map(|column| column.get(row)) {
            if !first {
                out.push_str(separator);
            }
            out.push_str(text);
            first = false;
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

fn string_to_array(call: &Call) -> Result<ArrayRef> {
    let (texts, delimiters) = (call.text(0)?, call.text(1)?);
    let nulls = if call.len() > 2 { Some(call.text(2)?) } else { None };
    call.text_lists(|row, items| {
        let text = some!(texts.get(row));
        let null = nulls.as_ref().and_then(|nulls| nulls.get(row));
        let mut push = |item: &str| {
            if Some(item) == null { items.append_null() } else { items.append_value(item) }
        };
        match delimiters.get(row) {
            _ if text.is_empty() => {}
            None => text.chars().for_each(|c| push(c.encode_utf8(&mut [0; 4]))),
            Some("") => push(text),
            Some(delimiter) => text.split(delimiter).for_each(push),
        }
        Ok(Some(()))
    })
}

fn like_escape(call: &Call) -> Result<ArrayRef> {
    let (patterns, escapes) = (call.text(0)?, call.text(1)?);
    call.texts(|row, out| {
        let (pattern, escape) = (some!(patterns.get(row)), some!(escapes.get(row)));
        let mut letters = escape.chars();
        let (escape, more) = (letters.next(), letters.next());
        if more.is_some() {
            return Err(Error::new(SqlState::InvalidEscapeSequence, "invalid escape string")
                .with_hint("Escape string must be empty or one character."));
        }
        let mut rest = pattern.chars();
        while let Some(c) = rest.next() {
            if Some(c) == escape {
                out.push('\\');
                out.extend(rest.next());
            } else {
                if c == '\\' {
                    out.push('\\');
                }
                out.push(c);
            }
        }
        Ok(Some(()))
    })
}

/// LIKE with a pattern that ends in an escape: no text matches it, and one that gets there is an error.
pub fn like_end(call: &Call) -> Result<ArrayRef> {
    let reached = call.boolean(0)?;
    let negated = call.oid == 1;
    call.booleans(|row| match reached.get(row) {
        Some(true) => {
            let message = "LIKE pattern must not end with escape character";
            Err(Error::new(SqlState::InvalidEscapeSequence, message))
        }
        Some(false) => Ok(Some(negated)),
        None => Ok(None),
    })
}

fn counted(call: &Call, null: bool) -> Result<ArrayRef> {
    let columns = (0..call.len()).map(|index| call.text(index)).collect::<Result<Vec<_>>>()?;
    call.values::<Int32Type>(|row| {
        Ok(Some(columns.iter().filter(|column| column.get(row).is_none() == null).count() as i32))
    })
}
fn nulls(call: &Call) -> Result<ArrayRef> {
    counted(call, true)
}
fn values_present(call: &Call) -> Result<ArrayRef> {
    counted(call, false)
}

fn bit_count(call: &Call) -> Result<ArrayRef> {
    let bytes = call.bytes(0)?;
    call.values::<Int64Type>(|row| {
        Ok(bytes.get(row).map(|bytes| bytes.iter().map(|byte| i64::from(byte.count_ones())).sum()))
    })
}

pub(super) fn functions() -> Vec<Function> {
    vec![
        scalar(1317, "length(text) int4", length),
        scalar(2010, "length(bytea) int4", byte_length),
        scalar(1381, "char_length(text) int4", length),
        scalar(1369, "character_length(text) int4", length),
        scalar(1374, "octet_length(text) int4", octets),
        scalar(720, "octet_length(bytea) int4", byte_length),
        scalar(1811, "bit_length(text) int4", bits),
        scalar(6163, "bit_count(bytea) int8", bit_count),
        scalar(870, "lower(text) text", lower),
        scalar(871, "upper(text) text", upper),
        scalar(872, "initcap(text) text", initcap),
        scalar(3062, "reverse(text) text", reverse),
        scalar(885, "btrim(text) text", btrim),
        scalar(884, "btrim(text, text) text", btrim),
        scalar(881, "ltrim(text) text", ltrim),
        scalar(875, "ltrim(text, text) text", ltrim),
        scalar(882, "rtrim(text) text", rtrim),
        scalar(876, "rtrim(text, text) text", rtrim),
        scalar(879, "lpad(text, int4) text", lpad),
        scalar(873, "lpad(text, int4, text) text", lpad),
        scalar(880, "rpad(text, int4) text", rpad),
        scalar(874, "rpad(text, int4, text) text", rpad),
        scalar(3060, "left(text, int4) text", left),
        scalar(3061, "right(text, int4) text", right),
        scalar(1622, "repeat(text, int4) text", repeat),
        scalar(2087, "replace(text, text, text) text", replace),
        scalar(878, "translate(text, text, text) text", translate),
        scalar(2088, "split_part(text, text, int4) text", split_part),
        scalar(868, "strpos(text, text) int4", position),
        scalar(849, "position(text, text) int4", position),
        scalar(937, "substring(text, int4) text", substring),
        scalar(936, "substring(text, int4, int4) text", substring),
        scalar(883, "substr(text, int4) text", substring),
        scalar(877, "substr(text, int4, int4) text", substring),
        scalar(2086, "substr(bytea, int4) bytea", substring_bytes),
        scalar(2085, "substr(bytea, int4, int4) bytea", substring_bytes),
        scalar(2013, "substring(bytea, int4) bytea", substring_bytes),
        scalar(2012, "substring(bytea, int4, int4) bytea", substring_bytes),
        scalar(1405, "overlay(text, text, int4) text", overlay),
        scalar(1404, "overlay(text, text, int4, int4) text", overlay),
        scalar(3696, "starts_with(text, text) bool", starts_with),
        scalar(1282, "quote_ident(text) text", quote_ident),
        scalar(1283, "quote_literal(text) text", quote_literal),
        scalar(1289, "quote_nullable(text) text", quote_nullable).not_strict(),
        scalar(1285, "quote_literal(anyelement) text", quote_literal),
        scalar(1290, "quote_nullable(anyelement) text", quote_nullable).not_strict(),
        scalar(438, "num_nulls(variadic any) int4", nulls).not_strict(),
        scalar(440, "num_nonnulls(variadic any) int4", values_present).not_strict(),
        scalar(1620, "ascii(text) int4", ascii),
        scalar(1621, "chr(int4) text", chr),
        scalar(2089, "to_hex(int4) text", to_hex),
        scalar(2090, "to_hex(int8) text", to_hex),
        scalar(3058, "concat(variadic any) text", concat).not_strict(),
        scalar(3059, "concat_ws(text, variadic any) text", concat_ws).not_strict(),
        scalar(3539, "format(text, variadic any) text", format).not_strict(),
        scalar(3540, "format(text) text", format).not_strict(),
        scalar(394, "string_to_array(text, text) _text", string_to_array).not_strict(),
        scalar(376, "string_to_array(text, text, text) _text", string_to_array).not_strict(),
        scalar(1637, "like_escape(text, text) text", like_escape),
    ]
}
