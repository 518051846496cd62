//! The startup parameter `options`: a command line of settings, as libpq's PGOPTIONS, pgjdbc and dbt send it.

use crate::error::{Error, Result, SqlState};

/// Splits `-c name=value`, `-cname=value` and `--name=value`. A backslash keeps the character after it; words end at white
/// space. Dashes in a name are underscores, as in PostgreSQL. 42601 (FATAL) for anything else.
pub fn parse(text: &str) -> Result<Vec<(String, String)>> {
    let mut settings = Vec::new();
    let mut words = words(text).into_iter();
    while let Some(word) = words.next() {
        let (assignment, long) = if let Some(rest) = word.strip_prefix("--") {
            (rest.to_owned(), true)
        } else if word == "-c" {
            (words.next().ok_or_else(|| invalid(&word))?, false)
        } else if let Some(rest) = word.strip_prefix("-c") {
            (rest.to_owned(), false)
        } else {
            return Err(invalid(&word));
        };
        settings.push(setting(&assignment, long)?);
    }
    Ok(settings)
}

fn setting(assignment: &str, long: bool) -> Result<(String, String)> {
    match assignment.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.replace('-', "_"), value.to_owned())),
        _ => {
            let dash = if long { "--" } else { "-c " };
            Err(syntax_error(format!("{dash}{assignment} requires a value")))
        }
    }
}

fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut characters = text.chars().peekable();
    loop {
        while characters.next_if(|character| character.is_ascii_whitespace()).is_some() {}
        if characters.peek().is_none() {
            return words;
        }
        let mut word = String::new();
        while let Some(character) = characters.next_if(|character| !character.is_ascii_whitespace()) {
            if character == '\\' {
                word.extend(characters.next());
            } else {
                word.push(character);
            }
        }
        words.push(word);
    }
}

fn invalid(word: &str) -> Error {
    syntax_error(format!("invalid command-line argument for server process: {word}"))
        .with_hint("Give settings as -c name=value or --name=value.")
}

fn syntax_error(message: String) -> Error {
    Error::new(SqlState::SyntaxError, message).fatal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_writing_a_setting_is_read() {
        for (text, expected) in [
            ("", vec![]),
            ("  ", vec![]),
            ("-c a=b", vec![("a", "b")]),
            ("-ca=b", vec![("a", "b")]),
            ("--a=b", vec![("a", "b")]),
            ("--statement-timeout=5s", vec![("statement_timeout", "5s")]),
            (" -c  search_path=a,b\t-c geqo=off ", vec![("search_path", "a,b"), ("geqo", "off")]),
            (r"-c search_path=a\ b", vec![("search_path", "a b")]),
            (r"-c x=a\\b", vec![("x", r"a\b")]),
            ("-c x=a=b", vec![("x", "a=b")]),
            ("-c x=", vec![("x", "")]),
            (r"-c x=a\", vec![("x", "a")]),
        ] {
            let expected: Vec<_> = expected.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
            assert_eq!(parse(text).unwrap(), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        for (text, message) in [
            ("-c", "invalid command-line argument for server process: -c"),
            ("-c a", "-c a requires a value"),
            ("--a", "--a requires a value"),
            ("-d 5", "invalid command-line argument for server process: -d"),
            ("a=b", "invalid command-line argument for server process: a=b"),
        ] {
            let fault = parse(text).unwrap_err();
            assert_eq!((fault.message(), fault.sqlstate()), (message, SqlState::SyntaxError));
        }
    }
}
