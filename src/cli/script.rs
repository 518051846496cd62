//! Variables in scripts, as psql has them: `:name` is put in as it is, `:'name'` as a literal, `:"name"` as an identifier.
//!
//! Nothing is replaced inside literals, quoted identifiers, comments or dollar quotes, nor where `::` casts; a name that was
//! not given is left as it stands.

use std::collections::HashMap;

/// Values by name.
pub(super) type Variables = HashMap<String, String>;

/// Reads `name=value`.
pub(super) fn parse_assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if is_name(name) => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("\"{text}\" is not name=value")),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The script with its variables replaced.
pub(super) fn substitute(script: &str, variables: &Variables) -> String {
    let mut out = String::with_capacity(script.len());
    let mut rest = script;
    while !rest.is_empty() {
        let taken = opaque_length(rest);
        if taken > 0 {
            let (opaque, after) = rest.split_at(taken);
            out.push_str(opaque);
            rest = after;
            continue;
        }
        if let Some((text, length)) = variable(rest, variables) {
            out.push_str(&text);
            rest = rest.get(length..).unwrap_or_default();
            continue;
        }
        // A cast's two colons are taken together, so that the second one starts no variable.
        let length = if rest.starts_with("::") { 2 } else { rest.chars().next().map_or(1, char::len_utf8) };
        let (text, after) = rest.split_at(length);
        out.push_str(text);
        rest = after;
    }
    out
}

/// Length of the literal, quoted identifier, comment or dollar quote that starts here, or 0.
fn opaque_length(text: &str) -> usize {
    let until = |skip: usize, end: &str| {
        text.get(skip..).and_then(|rest| rest.find(end)).map_or(text.len(), |found| skip + found + end.len())
    };
    if text.starts_with("--") {
        return until(2, "\n");
    }
    if text.starts_with("/*") {
        return comment_length(text);
    }
    if text.starts_with("E'") || text.starts_with("e'") {
        return escaped_length(text);
    }
    if text.starts_with('\'') {
        return until(1, "'");
    }
    if text.starts_with('"') {
        return until(1, "\"");
    }
    if let Some(tag) = dollar_tag(text) {
        return until(tag.len(), tag);
    }
    0
}

/// Length of a comment, with those inside of it.
fn comment_length(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let length = if rest.starts_with("/*") {
            depth += 1;
            2
        } else if rest.starts_with("*/") {
            depth -= 1;
            2
        } else {
            rest.chars().next().map_or(1, char::len_utf8)
        };
        at += length;
        if depth == 0 {
            break;
        }
    }
    at
}

/// Length of a literal in which a backslash keeps the character after it.
fn escaped_length(text: &str) -> usize {
    let mut characters = text.char_indices().skip(2);
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => {
                characters.next();
            }
            '\'' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// `$$` or `$tag$` at the start.
fn dollar_tag(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('$')?;
    let end = inner.find('$')?;
    let tag = inner.get(..end)?;
    let fits = tag.is_empty() || (is_name(tag) && !tag.starts_with(|c: char| c.is_ascii_digit()));
    if fits { text.get(..end + 2) } else { None }
}

/// What the variable that starts here stands for, and the length of its name with the colon.
fn variable(text: &str, variables: &Variables) -> Option<(String, usize)> {
    let name_part = text.strip_prefix(':')?;
    let quote = name_part.chars().next().filter(|first| matches!(first, '\'' | '"'));
    let Some(quote) = quote else {
        let end = name_part.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(name_part.len());
        let name = name_part.get(..end).filter(|name| is_name(name))?;
        return Some((variables.get(name)?.clone(), end + 1));
    };
    let inner = name_part.get(1..)?;
    let end = inner.find(quote)?;
    let value = variables.get(inner.get(..end)?)?;
    let doubled = value.replace(quote, &format!("{quote}{quote}"));
    Some((format!("{quote}{doubled}{quote}"), end + 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(script: &str, expected: &str) {
        let variables = [("day", "2026-01-02"), ("file", "/tmp/o'brien.csv"), ("t", "my \"table\"")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(substitute(script, &variables), expected);
    }

    #[test]
    fn variables_are_replaced_in_three_ways() {
        check("SELECT :day, :'file'", "SELECT 2026-01-02, '/tmp/o''brien.csv'");
        check("DROP TABLE :\"t\"", "DROP TABLE \"my \"\"table\"\"\"");
    }

    #[test]
    fn quoted_text_casts_and_unknown_names_stay() {
        for text in [
            "SELECT ':day', \":day\", $$:day$$, $x$ :'day' $x$",
            "SELECT 1 -- :day",
            "SELECT /* :day */ 1",
            "SELECT /* one /* two */ :day */ 1",
            r"SELECT E'it\'s :day', e'\\'",
            "SELECT '1'::day, a[1:2], :unknown, :'unknown'",
            "SELECT 'é' :",
        ] {
            check(text, text);
        }
    }

    #[test]
    fn assignments_need_a_name() {
        assert_eq!(parse_assignment("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(parse_assignment("=x").is_err());
        assert!(parse_assignment("a b=x").is_err());
    }
}
