//! Finds values inside the text of a JSON document: slices of the text, no tree. The document is known to be valid.

use std::borrow::Cow;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Null,
    Boolean,
    Number,
    String,
    Array,
    Object,
}

impl Kind {
    /// `jsonb_typeof`'s word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Number => "number",
            Self::String => "string",
            Self::Array => "array",
            Self::Object => "object",
        }
    }

    pub fn is_scalar(self) -> bool {
        !matches!(self, Self::Array | Self::Object)
    }
}

/// The kind of a value, by its first byte.
pub fn kind(value: &str) -> Kind {
    match value.bytes().find(|byte| !is_space(*byte)) {
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::Array,
        Some(b'"') => Kind::String,
        Some(b't' | b'f') => Kind::Boolean,
        Some(b'n') => Kind::Null,
        _ => Kind::Number,
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// The items of an array or the members of an object, one after the other.
#[derive(Debug, Clone)]
pub struct Parts<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Parts<'t> {
    /// Behind the opening bracket; nothing in a scalar.
    fn of(value: &'t str, kind_wanted: Kind) -> Self {
        let at = if kind(value) == kind_wanted {
            value.bytes().position(|byte| !is_space(byte)).unwrap_or(0) + 1
        } else {
            value.len()
        };
        Self { text: value, at }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Moves to the next part; `false` at the end.
    fn start(&mut self) -> bool {
        while self.byte().is_some_and(|byte| is_space(byte) || byte == b',') {
            self.at += 1;
        }
        !matches!(self.byte(), None | Some(b']' | b'}'))
    }

    /// Reads one value from here.
    fn value(&mut self) -> &'t str {
        while self.byte().is_some_and(|byte| is_space(byte) || byte == b':') {
            self.at += 1;
        }
        let from = self.at;
        match self.byte() {
            Some(b'"') => self.skip_string(),
            Some(b'{' | b'[') => self.skip_nested(),
            _ => {
                while self.byte().is_some_and(|byte| !is_space(byte) && !matches!(byte, b',' | b']' | b'}')) {
                    self.at += 1;
                }
            }
        }
        self.text.get(from..self.at).unwrap_or_default()
    }

    fn skip_string(&mut self) {
        self.at += 1;
        while let Some(byte) = self.byte() {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == b'"' {
                return;
            }
        }
    }

    fn skip_nested(&mut self) {
        let mut depth = 0_usize;
        while let Some(byte) = self.byte() {
            match byte {
                b'"' => {
                    self.skip_string();
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }
}

/// An array's items; none of anything else.
pub fn items(value: &str) -> impl Iterator<Item = &str> {
    let mut parts = Parts::of(value, Kind::Array);
    std::iter::from_fn(move || parts.start().then(|| parts.value()))
}

/// An object's members as written: the key without its quotes, still escaped, and the value; none of anything else.
pub fn members(value: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut parts = Parts::of(value, Kind::Object);
    std::iter::from_fn(move || {
        parts.start().then(|| {
            let key = parts.value();
            (key.get(1..key.len().saturating_sub(1)).unwrap_or_default(), parts.value())
        })
    })
}

/// The member of that name; the last one when several have it.
pub fn field<'t>(value: &'t str, key: &str) -> Option<&'t str> {
    members(value).filter(|(raw, _)| is_key(raw, key)).last().map(|(_, value)| value)
}

/// Whether a key as written stands for `key`.
pub fn is_key(raw: &str, key: &str) -> bool {
    if raw.contains('\\') { unescape(raw) == key } else { raw == key }
}

/// The item at an index; negative ones count from the end.
pub fn item(value: &str, index: i64) -> Option<&str> {
    if index >= 0 {
        return items(value).nth(usize::try_from(index).ok()?);
    }
    let length = i64::try_from(items(value).count()).ok()?;
    items(value).nth(usize::try_from(length + index).ok()?)
}

/// The value at the end of a path of keys and indexes.
pub fn walk<'t, 'k>(value: &'t str, path: impl IntoIterator<Item = &'k str>) -> Option<&'t str> {
    path.into_iter().try_fold(value.trim(), |value, key| match kind(value) {
        Kind::Object => field(value, key),
        Kind::Array => item(value, key.trim_start().parse().ok()?),
        _ => None,
    })
}

/// The characters of a string as written between its quotes.
pub fn unescape(raw: &str) -> Cow<'_, str> {
    if !raw.contains('\\') {
        return Cow::Borrowed(raw);
    }
    // The document is valid, so that its strings are.
    serde_json::from_str::<String>(&format!("\"{raw}\"")).map_or(Cow::Borrowed(raw), Cow::Owned)
}

/// A value as `->>` gives it: a string's characters, everything else as written; `None` for null.
pub fn plain(value: &str) -> Option<Cow<'_, str>> {
    let value = value.trim();
    match kind(value) {
        Kind::Null => None,
        Kind::String => Some(unescape(value.get(1..value.len() - 1).unwrap_or_default())),
        _ => Some(Cow::Borrowed(value)),
    }
}

/// Appends a string in quotes.
pub fn push_string(out: &mut String, text: &str) {
    out.push('"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            0x08 => "\\b",
            0x0c => "\\f",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x00..=0x1f => "",
            _ => continue,
        };
        out.push_str(text.get(from..at).unwrap_or_default());
        if escape.is_empty() {
            use std::fmt::Write as _;
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{byte:04x}");
        } else {
            out.push_str(escape);
        }
        from = at + 1;
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out.push('"');
}

/// Whether two numbers of jsonb's plain notation are equal: only zeros behind the point may differ.
fn same_number(left: &str, right: &str) -> bool {
    let digits = |text: &str| {
        let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text };
        if text == "-0" { "0".to_owned() } else { text.to_owned() }
    };
    left == right || digits(left) == digits(right)
}

/// jsonb's equality.
pub fn equal(left: &str, right: &str) -> bool {
    if left == right {
        return true;
    }
    match (kind(left), kind(right)) {
        (Kind::Number, Kind::Number) => same_number(left, right),
        (Kind::Array, Kind::Array) => {
            items(left).count() == items(right).count() && items(left).zip(items(right)).all(|(a, b)| equal(a, b))
        }
        (Kind::Object, Kind::Object) => {
            // Members of jsonb are in one order.
            members(left).count() == members(right).count()
                && members(left).zip(members(right)).all(|((a, x), (b, y))| a == b && equal(x, y))
        }
        _ => false,
    }
}

/// `@>`: every part of the second is somewhere in the first. An array contains a scalar that it holds, at the top only.
pub fn contains(document: &str, part: &str, top: bool) -> bool {
    match (kind(document), kind(part)) {
        (Kind::Object, Kind::Object) => members(part).all(|(key, wanted)| {
            members(document).find(|(own, _)| *own == key).is_some_and(|(_, found)| contains(found, wanted, false))
        }),
        (Kind::Array, Kind::Array) => {
            items(part).all(|wanted| items(document).any(|found| contains(found, wanted, false)))
        }
        (Kind::Array, Kind::Object) => false,
        (Kind::Array, _) if top => items(document).any(|found| equal(found, part)),
        _ => equal(document, part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_slices_of_the_text() {
        let text = r#" {"a" : [1, "x,]", {"b":null}] , "c\u0064":true} "#;
        let found: Vec<_> = members(text).collect();
        assert_eq!(found, [("a", r#"[1, "x,]", {"b":null}]"#), ("c\\u0064", "true")]);
        assert_eq!(items(found[0].1).collect::<Vec<_>>(), ["1", "\"x,]\"", "{\"b\":null}"]);
        assert_eq!(field(text, "cd"), Some("true"));
        assert_eq!(walk(text, ["a", "2", "b"]), Some("null"));
        assert_eq!(walk(text, ["a", "-3"]), Some("1"));
        assert_eq!(walk(text, ["a", "x"]), None);
    }

    #[test]
    fn containment_follows_jsonb() {
        let cases = [
            (r#"{"a": 1, "b": [1, 2]}"#, r#"{"b": [2]}"#, true),
            ("[1, 2]", "1", true),
            ("[[1, 2]]", "1", false),
            ("1.0", "1.00", true),
            (r#"{"a": 1}"#, r#"{"a": 2}"#, false),
            ("[1, [3]]", "[[3]]", true),
        ];
        for (document, part, expected) in cases {
            assert_eq!(contains(document, part, true), expected, "{document} @> {part}");
        }
    }

    #[test]
    fn strings_are_escaped_as_postgresql_escapes_them() {
        let mut out = String::new();
        push_string(&mut out, "a\"\\\n\u{1}é");
        assert_eq!(out, "\"a\\\"\\\\\\n\\u0001é\"");
    }
}
