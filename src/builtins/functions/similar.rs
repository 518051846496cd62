//! `SIMILAR TO`: SQL's patterns as regular expressions.

use arrow::array::ArrayRef;

use super::Function;
use super::build::scalar;
use super::kernel::{Call, some};
use crate::error::{Error, Result, SqlState};

fn similar_to_escape(call: &Call) -> Result<ArrayRef> {
    let patterns = call.text(0)?;
    let escapes = if call.len() > 1 { Some(call.text(1)?) } else { None };
    call.texts(|row, out| {
        let pattern = some!(patterns.get(row));
        let mut letters = match &escapes {
            Some(escapes) => some!(escapes.get(row)),
            None => "\\",
        }
        .chars();
        let escape = letters.next();
        if letters.next().is_some() {
            return Err(Error::new(SqlState::InvalidEscapeSequence, "invalid escape string")
                .with_hint("Escape string must be empty or one character."));
        }
        out.push_str(&similar_to_regexp(pattern, escape));
        Ok(Some(()))
    })
}

pub(super) fn functions() -> Vec<Function> {
    vec![
        scalar(1987, "similar_to_escape(text) text", similar_to_escape),
        scalar(1986, "similar_to_escape(text, text) text", similar_to_escape),
    ]
}

/// SQL's pattern as a regular expression over the whole text: `%` and `_` are wildcards, `. ^ $` are themselves.
fn similar_to_regexp(pattern: &str, escape: Option<char>) -> String {
    let mut regexp = String::from("^(?:");
    let mut characters = pattern.chars();
    let mut in_brackets = false;
    while let Some(character) = characters.next() {
        match character {
            escaped if Some(escaped) == escape => {
                if let Some(next) = characters.next() {
                    if !next.is_alphanumeric() {
                        regexp.push('\\');
                    }
                    regexp.push(next);
                }
            }
            ']' if in_brackets => {
                in_brackets = false;
                regexp.push(']');
            }
            other if in_brackets => regexp.push(other),
            '[' => {
                in_brackets = true;
                regexp.push('[');
            }
            '%' => regexp.push_str(".*"),
            '_' => regexp.push('.'),
            '.' | '^' | '$' | '\\' => {
                regexp.push('\\');
                regexp.push(character);
            }
            '(' => regexp.push_str("(?:"),
            other => regexp.push(other),
        }
    }
    regexp.push_str(")$");
    regexp
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_similar_to_become_regular_expressions() {
        for (pattern, escape, regexp) in [
            ("a%b_", Some('\\'), "^(?:a.*b.)$"),
            ("(one|two)", Some('\\'), "^(?:(?:one|two))$"),
            ("a.b[.%]", Some('\\'), "^(?:a\\.b[.%])$"),
            ("50#%", Some('#'), "^(?:50\\%)$"),
        ] {
            assert_eq!(similar_to_regexp(pattern, escape), regexp, "{pattern}");
        }
    }
}
