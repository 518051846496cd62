//! A JSON object's members as they are written: what a number says beyond a double's digits.

use std::cell::OnceCell;

/// The text of one object. Its members are looked for when the first of them is asked for.
pub(super) struct Record<'a> {
    text: &'a [u8],
    members: OnceCell<Vec<(String, &'a str)>>,
}

impl<'a> Record<'a> {
    /// Of bytes that were parsed already: nothing is checked again.
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, members: OnceCell::new() }
    }

    /// The value of that member; of several the last, as the parser has it.
    pub(super) fn member(&self, name: &str) -> Option<&'a str> {
        let members = self.members.get_or_init(|| members(self.text).unwrap_or_default());
        members.iter().rev().find(|(known, _)| known == name).map(|(_, value)| *value)
    }
}

fn members(text: &[u8]) -> Option<Vec<(String, &str)>> {
    let mut at = memchr::memchr(b'{', text)? + 1;
    let mut found = Vec::new();
    loop {
        let key = at + memchr::memchr(b'"', text.get(at..)?)?;
        let key_end = string_end(text, key)?;
        let name = serde_json::from_slice(text.get(key..key_end)?).ok()?;
        let value = key_end + memchr::memchr(b':', text.get(key_end..)?)? + 1;
        let end = value_end(text, value)?;
        found.push((name, std::str::from_utf8(text.get(value..end)?).ok()?.trim_ascii()));
        if text.get(end) != Some(&b',') {
            return Some(found);
        }
        at = end + 1;
    }
}

/// Behind the string that begins at `start`.
fn string_end(text: &[u8], start: usize) -> Option<usize> {
    let mut after_backslash = false;
    for (at, byte) in text.iter().enumerate().skip(start + 1) {
        match byte {
            _ if after_backslash => after_backslash = false,
            b'\\' => after_backslash = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// At the comma or brace behind the value that begins at `start`.
fn value_end(text: &[u8], start: usize) -> Option<usize> {
    let (mut at, mut depth) = (start, 0_u32);
    loop {
        match text.get(at)? {
            b'"' => {
                at = string_end(text, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b',' | b'}' if depth == 0 => return Some(at),
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_as_they_are_written() {
        let text = br#" {"a" : 1.50, "b\"}": {"x": [1, "}"], "y": 2}, "c":"t,", "a": 12345678901234567890123 }"#;
        let record = Record::new(text);
        assert_eq!(record.member("a"), Some("12345678901234567890123"));
        assert_eq!(record.member("b\"}"), Some(r#"{"x": [1, "}"], "y": 2}"#));
        assert_eq!(record.member("c"), Some("\"t,\""));
        assert_eq!(record.member("d"), None);
        assert_eq!(Record::new(b"{}").member("a"), None);
    }
}
