//! Cuts the text of a date, time or interval into PostgreSQL's kinds of fields.

use super::is_space;

/// What a field looks like; what it means is decided later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Digits, perhaps with one decimal point.
    Number,
    /// Digits and letters joined by `-`, `/` or `.`: a date, or a zone's name.
    Date,
    /// Digits with colons.
    Time,
    /// A sign and digits: a zone's offset, or a signed number.
    Signed,
    /// Letters.
    Word,
}

/// One field in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub kind: Kind,
    pub text: String,
}

/// More fields than any date or interval has (PostgreSQL's MAXDATEFIELDS).
const FIELDS_MAX: usize = 25;

/// The fields of a text, or none when a byte has no place in a date.
pub(super) fn fields(text: &[u8]) -> Option<Vec<Field>> {
    let mut cursor = Cursor { text, at: 0 };
    let mut fields = Vec::new();
    loop {
        cursor.skip(is_space);
        let Some(first) = cursor.peek() else { return Some(fields) };
        let start = cursor.at;
        let kind = if first.is_ascii_digit() {
            cursor.number()
        } else if first == b'.' {
            cursor.at += 1;
            cursor.skip(|byte| byte.is_ascii_digit());
            Kind::Number
        } else if first.is_ascii_alphabetic() {
            cursor.word()
        } else if matches!(first, b'+' | b'-') {
            fields.push(cursor.signed()?);
            if fields.len() > FIELDS_MAX {
                return None;
            }
            continue;
        } else if first.is_ascii_punctuation() {
            cursor.at += 1;
            continue;
        } else {
            return None;
        };
        fields.push(Field { kind, text: cursor.since(start) });
        if fields.len() > FIELDS_MAX {
            return None;
        }
    }
}

struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next_is_digit(&self) -> bool {
        self.text.get(self.at + 1).is_some_and(u8::is_ascii_digit)
    }

    fn skip(&mut self, wanted: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&wanted) {
            self.at += 1;
        }
    }

    /// The field from `start` to here, in lower case. Only ASCII was passed over.
    fn since(&self, start: usize) -> String {
        let bytes = self.text.get(start..self.at).unwrap_or_default();
        bytes.iter().map(|byte| char::from(byte.to_ascii_lowercase())).collect()
    }

    fn number(&mut self) -> Kind {
        self.skip(|byte| byte.is_ascii_digit());
        match self.peek() {
            Some(b':') => {
                self.skip(|byte| byte.is_ascii_digit() || byte == b':' || byte == b'.');
                Kind::Time
            }
            Some(delimiter @ (b'-' | b'/' | b'.')) => self.date(delimiter),
            _ => Kind::Number,
        }
    }

    /// After the first number of something with delimiters.
    fn date(&mut self, delimiter: u8) -> Kind {
        let digits_follow = self.next_is_digit();
        self.at += 1;
        if !digits_follow {
            self.skip(|byte| byte.is_ascii_alphanumeric() || byte == delimiter);
            return Kind::Date;
        }
        self.skip(|byte| byte.is_ascii_digit());
        if self.peek() == Some(delimiter) {
            self.skip(|byte| byte.is_ascii_digit() || byte == delimiter);
            return Kind::Date;
        }
        // A single point makes a number with decimals.
        if delimiter == b'.' { Kind::Number } else { Kind::Date }
    }

    /// A word; with delimiters in it a date or a zone such as `america/new_york` or `etc/gmt+5`.
    fn word(&mut self) -> Kind {
        let start = self.at;
        self.skip(|byte| byte.is_ascii_alphabetic());
        let joined = match self.peek() {
            Some(b'-' | b'/' | b'.') => true,
            // A known word ends before a sign or digit: `t040506`, `utc+3`; an unknown one is a zone's name.
            Some(byte) if byte == b'+' || byte.is_ascii_digit() => {
                let word = self.since(start);
                super::words::word(&word).is_none() && super::words::time_unit(&word).is_none()
            }
            _ => false,
        };
        if !joined {
            return Kind::Word;
        }
        self.skip(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'/' | b'_' | b'.' | b':'));
        Kind::Date
    }

    /// A sign with what follows it; white space between them is dropped.
    fn signed(&mut self) -> Option<Field> {
        let sign = char::from(self.peek()?);
        self.at += 1;
        self.skip(is_space);
        let start = self.at;
        let kind = match self.peek() {
            Some(byte) if byte.is_ascii_digit() => {
                self.skip(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.' | b'-'));
                Kind::Signed
            }
            // `- .5 seconds`
            Some(b'.') => {
                self.skip(|byte| byte.is_ascii_digit() || byte == b'.');
                Kind::Signed
            }
            Some(byte) if byte.is_ascii_alphabetic() => {
                self.skip(|byte| byte.is_ascii_alphabetic());
                Kind::Word
            }
            _ => return None,
        };
        Some(Field { kind, text: format!("{sign}{}", self.since(start)) })
    }
}
