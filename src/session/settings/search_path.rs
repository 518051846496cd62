//! search_path: a list of identifiers, quoted or folded to lower case.

use super::value::invalid;
use crate::error::Result;

/// The identifiers of the list; `None` when its syntax is wrong.
pub(super) fn identifiers(text: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = text.trim_start();
    if rest.is_empty() {
        return Some(names);
    }
    loop {
        let (name, after) = identifier(rest)?;
        names.push(name);
        rest = after.trim_start();
        if rest.is_empty() {
            return Some(names);
        }
        rest = rest.strip_prefix(',')?.trim_start();
    }
}

/// One identifier at the start of the text, and what follows it.
fn identifier(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| c == ',' || c.is_whitespace()).unwrap_or(text.len());
        let (name, rest) = text.split_at_checked(end)?;
        return (!name.is_empty()).then(|| (name.to_lowercase(), rest));
    };
    let mut name = String::new();
    let mut characters = quoted.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        if character != '"' {
            name.push(character);
        } else if characters.next_if(|(_, next)| *next == '"').is_some() {
            name.push('"');
        } else {
            return quoted.get(at + 1..).map(|rest| (name, rest));
        }
    }
    None
}

/// 22023 when the list's syntax is wrong.
pub(super) fn check(name: &str, text: &str) -> Result<()> {
    identifiers(text).map(|_| ()).ok_or_else(|| invalid(name, text).with_detail("List syntax is invalid."))
}
