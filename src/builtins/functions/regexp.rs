//! Regular expressions: PostgreSQL's advanced flavour as far as the engine's finite automata go, 2201B beyond.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::Int32Type;
use regex::{Regex, RegexBuilder};

use super::Function;
use super::build::scalar;
use super::kernel::{Call, Column, some};
use crate::error::{Error, Result, SqlState};

/// What the letters of a flags argument say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    pub global: bool,
    insensitive: bool,
    newline_sensitive: bool,
    expanded: bool,
    literal: bool,
}

/// Reads flags. 22023 for an unknown letter.
pub fn flags(text: &str) -> Result<Flags> {
    let mut flags = Flags::default();
    for letter in text.chars() {
        match letter {
            'g' => flags.global = true,
            'i' => flags.insensitive = true,
            'c' => flags.insensitive = false,
            'm' | 'n' => flags.newline_sensitive = true,
            's' => flags.newline_sensitive = false,
            'x' => flags.expanded = true,
            't' => flags.expanded = false,
            'q' => flags.literal = true,
            'e' | 'b' => {}
            other => {
                let message = format!("invalid regular expression option: \"{other}\"");
                return Err(Error::new(SqlState::InvalidParameterValue, message));
            }
        }
    }
    Ok(flags)
}

/// Compiles a pattern.
pub fn compile(pattern: &str, flags: Flags) -> Result<Regex> {
    let (pattern, literal) = match pattern.strip_prefix("***=") {
        Some(rest) => (rest, true),
        None => (pattern.strip_prefix("***:").unwrap_or(pattern), flags.literal),
    };
    let translated = if literal { Cow::Owned(regex::escape(pattern)) } else { translate(pattern)? };
    RegexBuilder::new(&translated)
        .case_insensitive(flags.insensitive)
        .multi_line(flags.newline_sensitive)
        .dot_matches_new_line(!flags.newline_sensitive)
        .ignore_whitespace(flags.expanded)
        .build()
        .map_err(|error| {
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            Error::new(SqlState::InvalidRegularExpression, format!("invalid regular expression: {reason}"))
        })
}

/// Rewrites what PostgreSQL spells otherwise: `\m \M \y \Y \Z`, `[[:<:]]`, `[[:>:]]`.
fn translate(pattern: &str) -> Result<Cow<'_, str>> {
    if !pattern.contains(['\\', '[', '(']) {
        return Ok(Cow::Borrowed(pattern));
    }
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern.chars().peekable();
    let mut depth_of_brackets = 0_u32;
    let mut in_brackets_start = false;
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next() {
                Some('m') if depth_of_brackets == 0 => out.push_str(r"\b{start}"),
                Some('M') if depth_of_brackets == 0 => out.push_str(r"\b{end}"),
                Some('y') if depth_of_brackets == 0 => out.push_str(r"\b"),
                Some('Y') if depth_of_brackets == 0 => out.push_str(r"\B"),
                Some('Z') if depth_of_brackets == 0 => out.push_str(r"\z"),
                Some(digit @ '1'..='9') if depth_of_brackets == 0 => {
                    let message = format!("invalid regular expression: back reference \\{digit} is not supported");
                    return Err(Error::new(SqlState::InvalidRegularExpression, message));
                }
                // In PostgreSQL an escaped character that means nothing is itself.
                Some(other) if other.is_alphanumeric() || other.is_ascii() => {
                    out.push('\\');
                    out.push(other);
                }
                Some(other) => out.push(other),
                None => {
                    let message = "invalid regular expression: invalid escape \\ sequence";
                    return Err(Error::new(SqlState::InvalidRegularExpression, message));
                }
            },
            '[' if depth_of_brackets == 0 => {
                depth_of_brackets = 1;
                in_brackets_start = true;
                out.push('[');
                if rest.peek() == Some(&'^') {
                    rest.next();
                    out.push('^');
                }
                continue;
            }
            '[' => {
                // A class such as [:alpha:], or a bracket that stands for itself.
                if matches!(rest.peek(), Some(':')) {
                    out.push('[');
                    for inner in rest.by_ref() {
                        out.push(inner);
                        if inner == ']' {
                            break;
                        }
                    }
                } else {
                    out.push_str("\\[");
                }
            }
            ']' if depth_of_brackets == 1 && in_brackets_start => out.push_str("\\]"),
            ']' if depth_of_brackets == 1 => {
                depth_of_brackets = 0;
                out.push(']');
            }
            // Set operations of the engine's flavour are plain characters here.
            '&' | '~' if depth_of_brackets == 1 => {
                out.push('\\');
                out.push(c);
            }
            other => out.push(other),
        }
        in_brackets_start = false;
    }
    Ok(Cow::Owned(out.replace("[[:<:]]", r"\b{start}").replace("[[:>:]]", r"\b{end}")))
}

/// Keeps the last pattern compiled: most calls have one pattern for all rows.
pub struct Compiled {
    pattern: String,
    flags: Flags,
    regex: Option<Regex>,
}

impl Compiled {
    pub fn new() -> Self {
        Self { pattern: String::new(), flags: Flags::default(), regex: None }
    }

    /// The compiled pattern, made anew only when it differs from the row before.
    pub fn get(&mut self, pattern: &str, flags: Flags) -> Result<&Regex> {
        if self.regex.is_none() || self.pattern != pattern || self.flags != flags {
            self.regex = Some(compile(pattern, flags)?);
            pattern.clone_into(&mut self.pattern);
            self.flags = flags;
        }
        self.regex.as_ref().ok_or_else(|| Error::internal("a pattern was not compiled"))
    }
}

impl Default for Compiled {
    fn default() -> Self {
        Self::new()
    }
}

fn matching(call: &Call, insensitive: bool, negated: bool) -> Result<ArrayRef> {
    let patterns = call.text(1)?;
    let mut compiled = Compiled::new();
    let flags = Flags { insensitive, ..Flags::default() };
    // Where they stand: most patterns cost less than a copy.
    if let Some(texts) = call.raw(0)?.as_string_view_opt().filter(|_| !call.is_constant(0)) {
        return call.booleans(|row| {
            let pattern = some!(patterns.get(row));
            Ok(match texts.is_valid(row) {
                true => Some(compiled.get(pattern, flags)?.is_match(texts.value(row)) != negated),
                false => None,
            })
        });
    }
    let texts = call.text(0)?;
    call.booleans(|row| {
        let (text, pattern) = (some!(texts.get(row)), some!(patterns.get(row)));
        Ok(Some(compiled.get(pattern, flags)?.is_match(text) != negated))
    })
}

/// `~`
pub fn matches(call: &Call) -> Result<ArrayRef> {
    matching(call, false, false)
}
/// `!~`
pub fn matches_not(call: &Call) -> Result<ArrayRef> {
    matching(call, false, true)
}
/// `~*`
pub fn matches_insensitive(call: &Call) -> Result<ArrayRef> {
    matching(call, true, false)
}
/// `!~*`
pub fn matches_not_insensitive(call: &Call) -> Result<ArrayRef> {
    matching(call, true, true)
}

/// The flags of a row, from an optional argument.
fn flags_at(column: Option<&Column<arrow::array::StringArray>>, row: usize) -> Result<Option<Flags>> {
    match column {
        None => Ok(Some(Flags::default())),
        Some(column) => column.get(row).map(flags).transpose(),
    }
}

fn optional_text(call: &Call, index: usize) -> Result<Option<Column<arrow::array::StringArray>>> {
    if index < call.len() { call.text(index).map(Some) } else { Ok(None) }
}

fn replace(call: &Call) -> Result<ArrayRef> {
    let (texts, patterns, replacements) = (call.text(0)?, call.text(1)?, call.text(2)?);
    let options = optional_text(call, 3)?;
    let mut compiled = Compiled::new();
    call.texts(|row, out| {
        let (text, pattern) = (some!(texts.get(row)), some!(patterns.get(row)));
        let replacement = some!(replacements.get(row));
        let flags = some!(flags_at(options.as_ref(), row)?);
        let regex = compiled.get(pattern, Flags { global: false, ..flags })?;
        let mut end = 0;
        for captures in regex.captures_iter(text) {
            let Some(whole) = captures.get(0) else { continue };
            out.push_str(text.get(end..whole.start()).unwrap_or_default());
            write_replacement(out, replacement, &captures);
            end = whole.end();
            if !flags.global {
                break;
            }
        }
        out.push_str(text.get(end..).unwrap_or_default());
        Ok(Some(()))
    })
}

/// `\1` to `\9` and `\&` stand for what was matched.
fn write_replacement(out: &mut String, replacement: &str, captures: &regex::Captures) {
    let mut rest = replacement.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match rest.next() {
            Some('&') => out.push_str(captures.get(0).map_or("", |found| found.as_str())),
            Some(digit @ '1'..='9') => {
                let group = digit as usize - '0' as usize;
                out.push_str(captures.get(group).map_or("", |found| found.as_str()));
            }
            Some('\\') => out.push('\\'),
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
            None => out.push('\\'),
        }
    }
}

fn like(call: &Call) -> Result<ArrayRef> {
    let (texts, patterns, options) = (call.text(0)?, call.text(1)?, optional_text(call, 2)?);
    let mut compiled = Compiled::new();
    call.booleans(|row| {
        let (text, pattern) = (some!(texts.get(row)), some!(patterns.get(row)));
        let flags = some!(flags_at(options.as_ref(), row)?);
        Ok(Some(compiled.get(pattern, flags)?.is_match(text)))
    })
}

fn captured(call: &Call) -> Result<ArrayRef> {
    let (texts, patterns, options) = (call.text(0)?, call.text(1)?, optional_text(call, 2)?);
    let mut compiled = Compiled::new();
    call.text_lists(|row, items| {
        let (text, pattern) = (some!(texts.get(row)), some!(patterns.get(row)));
        let flags = some!(flags_at(options.as_ref(), row)?);
        if flags.global {
            return Err(Error::new(
                SqlState::InvalidParameterValue,
                "regexp_match() does not support the \"global\" option",
            )
            .with_hint("Use the regexp_matches function instead."));
        }
        let regex = compiled.get(pattern, flags)?;
        let captures = some!(regex.captures(text));
        if captures.len() == 1 {
            items.append_value(captures.get(0).map_or("", |found| found.as_str()));
        }
        for group in captures.iter().skip(1) {
            items.append_option(group.map(|found| found.as_str()));
        }
        Ok(Some(()))
    })
}

fn count(call: &Call) -> Result<ArrayRef> {
    let (texts, patterns) = (call.text(0)?, call.text(1)?);
    let start = if call.len() > 2 { Some(call.int(2)?) } else { None };
    let options = optional_text(call, 3)?;
    let mut compiled = Compiled::new();
    call.values::<Int32Type>(|row| {
        let (text, pattern) = (some!(texts.get(row)), some!(patterns.get(row)));
        let from = match &start {
            Some(start) => some!(start.get(row)),
            None => 1,
        };
        if from <= 0 {
            let message = format!("invalid value for parameter \"start\": {from}");
            return Err(Error::new(SqlState::InvalidParameterValue, message));
        }
        let flags = some!(flags_at(options.as_ref(), row)?);
        let begin = text.char_indices().nth(from as usize - 1).map_or(text.len(), |(at, _)| at);
        let regex = compiled.get(pattern, flags)?;
        Ok(Some(regex.find_iter(text.get(begin..).unwrap_or_default()).count() as i32))
    })
}

/// Where a match is: from which character, which match, which group of it.
struct Wanted {
    start: i64,
    number: i64,
    group: usize,
}

/// The optional integer argument, or its default. 22023 below the least.
fn integer_at(call: &Call, index: usize, row: usize, default: i64, least: i64, name: &str) -> Result<Option<i64>> {
    if index >= call.len() {
        return Ok(Some(default));
    }
    let value = some!(call.int(index)?.get(row));
    if value < least {
        let message = format!("invalid value for parameter \"{name}\": {value}");
        return Err(Error::new(SqlState::InvalidParameterValue, message));
    }
    Ok(Some(value))
}

/// The bytes of the wanted match.
fn nth_match(regex: &Regex, text: &str, wanted: &Wanted) -> Option<std::ops::Range<usize>> {
    let begin = text.char_indices().nth(wanted.start as usize - 1).map_or(text.len(), |(at, _)| at);
    let captures = regex.captures_iter(text.get(begin..)?).nth(wanted.number as usize - 1)?;
    captures.get(wanted.group).map(|found| begin + found.start()..begin + found.end())
}

/// `regexp_instr(text, pattern, start, n, end?, flags, group)`
fn position_of_match(call: &Call) -> Result<ArrayRef> {
    let (texts, patterns, options) = (call.text(0)?, call.text(1)?, optional_text(call, 5)?);
    let mut compiled = Compiled::new();
    call.values::<Int32Type>(|row| {
        let (text, pattern) = (some!(texts.get(row)), some!(patterns.get(row)));
        let wanted = Wanted {
            start: some!(integer_at(call, 2, row, 1, 1, "start")?),
            number: some!(integer_at(call, 3, row, 1, 1, "n")?),
            group: some!(integer_at(call, 6, row, 0, 0, "subexpr")?) as usize,
        };
        let behind = some!(integer_at(call, 4, row, 0, 0, "endoption")?);
        let regex = compiled.get(pattern, some!(flags_at(options.as_ref(), row)?))?;
        let found = nth_match(regex, text, &wanted).map(|range| if behind == 1 { range.end } else { range.start });
        Ok(Some(found.map_or(0, |at| text.get(..at).unwrap_or_default().chars().count() as i32 + 1)))
    })
}

/// `regexp_substr(text, pattern, start, n, flags, group)`
fn text_of_match(call: &Call) -> Result<ArrayRef> {
    let (texts, patterns, options) = (call.text(0)?, call.text(1)?, optional_text(call, 4)?);
    let mut compiled = Compiled::new();
    call.slices(|row| {
        let (text, pattern) = (some!(texts.get(row)), some!(patterns.get(row)));
        let wanted = Wanted {
            start: some!(integer_at(call, 2, row, 1, 1, "start")?),
            number: some!(integer_at(call, 3, row, 1, 1, "n")?),
            group: some!(integer_at(call, 5, row, 0, 0, "subexpr")?) as usize,
        };
        let regex = compiled.get(pattern, some!(flags_at(options.as_ref(), row)?))?;
        Ok(nth_match(regex, text, &wanted).and_then(|range| text.get(range)))
    })
}

/// `regexp_replace(text, pattern, replacement, start, n, flags)`: the n-th match, or with 0 all of them.
fn replace_from(call: &Call) -> Result<ArrayRef> {
    let (texts, patterns, replacements) = (call.text(0)?, call.text(1)?, call.text(2)?);
    let options = optional_text(call, 5)?;
    let mut compiled = Compiled::new();
    call.texts(|row, out| {
        let (text, pattern) = (some!(texts.get(row)), some!(patterns.get(row)));
        let replacement = some!(replacements.get(row));
        let flags = some!(flags_at(options.as_ref(), row)?);
        let start = some!(integer_at(call, 3, row, 1, 1, "start")?);
        let number = some!(integer_at(call, 4, row, if flags.global { 0 } else { 1 }, 0, "n")?);
        let begin = text.char_indices().nth(start as usize - 1).map_or(text.len(), |(at, _)| at);
        let (before, text) = text.split_at(begin);
        let regex = compiled.get(pattern, Flags { global: false, ..flags })?;
        out.push_str(before);
        let mut end = 0;
        for (at, captures) in regex.captures_iter(text).enumerate() {
            let Some(whole) = captures.get(0).filter(|_| number == 0 || at as i64 + 1 == number) else { continue };
            out.push_str(text.get(end..whole.start()).unwrap_or_default());
            write_replacement(out, replacement, &captures);
            end = whole.end();
        }
        out.push_str(text.get(end..).unwrap_or_default());
        Ok(Some(()))
    })
}

fn with_defaults(mut function: Function, defaults: usize) -> Function {
    function.defaults = defaults;
    function
}

/// `substring(text from pattern)`: the first group, or the whole match.
fn substring(call: &Call) -> Result<ArrayRef> {
    let (texts, patterns) = (call.text(0)?, call.text(1)?);
    let mut compiled = Compiled::new();
    call.slices(|row| {
        let (text, pattern) = (some!(texts.get(row)), some!(patterns.get(row)));
        let regex = compiled.get(pattern, Flags::default())?;
        let captures = some!(regex.captures(text));
        let found = if captures.len() > 1 { captures.get(1) } else { captures.get(0) };
        Ok(found.and_then(|found| text.get(found.range())))
    })
}

fn split_to_array(call: &Call) -> Result<ArrayRef> {
    let (texts, patterns, options) = (call.text(0)?, call.text(1)?, optional_text(call, 2)?);
    let mut compiled = Compiled::new();
    call.text_lists(|row, items| {
        let (text, pattern) = (some!(texts.get(row)), some!(patterns.get(row)));
        let flags = some!(flags_at(options.as_ref(), row)?);
        for piece in split(compiled.get(pattern, flags)?, text) {
            items.append_value(piece);
        }
        Ok(Some(()))
    })
}

/// The pieces between matches; an empty match at either end or right after another match separates nothing.
pub fn split<'t>(regex: &Regex, text: &'t str) -> Vec<&'t str> {
    let mut pieces = Vec::new();
    let mut end = 0;
    for found in regex.find_iter(text) {
        if found.is_empty() && (found.start() == end || found.start() == text.len()) {
            continue;
        }
        pieces.push(text.get(end..found.start()).unwrap_or_default());
        end = found.end();
    }
    pieces.push(text.get(end..).unwrap_or_default());
    pieces
}

pub(super) fn functions() -> Vec<Function> {
    vec![
        scalar(2284, "regexp_replace(text, text, text) text", replace),
        scalar(2285, "regexp_replace(text, text, text, text) text", replace),
        scalar(6263, "regexp_like(text, text) bool", like),
        scalar(6264, "regexp_like(text, text, text) bool", like),
        scalar(3396, "regexp_match(text, text) _text", captured),
        scalar(3397, "regexp_match(text, text, text) _text", captured),
        scalar(6254, "regexp_count(text, text) int4", count),
        scalar(6255, "regexp_count(text, text, int4) int4", count),
        scalar(6256, "regexp_count(text, text, int4, text) int4", count),
        with_defaults(
            scalar(6262, "regexp_instr(text, text, int4, int4, int4, text, int4) int4", position_of_match),
            5,
        ),
        with_defaults(scalar(6269, "regexp_substr(text, text, int4, int4, text, int4) text", text_of_match), 4),
        with_defaults(scalar(6251, "regexp_replace(text, text, text, int4, int4, text) text", replace_from), 2),
        scalar(2073, "substring(text, text) text", substring),
        scalar(2767, "regexp_split_to_array(text, text) _text", split_to_array),
        scalar(2768, "regexp_split_to_array(text, text, text) _text", split_to_array),
    ]
}

/// Shared for the set-returning forms.
pub fn shared(pattern: &str, options: &str) -> Result<Arc<Regex>> {
    compile(pattern, flags(options)?).map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_limits_are_translated() {
        let cases = [
            (r"\mfoo\M", "a foo b", true),
            (r"\mfoo\M", "afoo", false),
            (r"^[[:alpha:]]+$", "abc", true),
            (r"a[]x]b", "a]b", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(compile(pattern, Flags::default()).unwrap().is_match(text), expected, "{pattern}");
        }
    }

    #[test]
    fn back_references_are_refused() {
        let error = compile(r"(a)\1", Flags::default()).unwrap_err();
        assert_eq!(error.sqlstate(), SqlState::InvalidRegularExpression);
    }

    #[test]
    fn splitting_by_an_empty_pattern_gives_characters() {
        let regex = compile("", Flags::default()).unwrap();
        assert_eq!(split(&regex, "abc"), ["a", "b", "c"]);
    }
}
