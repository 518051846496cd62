//! The shape of a text: `Ann-12` and `Bo-7` are both `Aa-9`.

use super::frequent::{Entry, Frequent};
use super::texts::hash_of;

/// Patterns that are counted exactly, and symbols of the longest one: what comes behind is `…`.
const PATTERNS_MAX: usize = 1024;
const SYMBOLS_MAX: usize = 32;
/// Symbols are of four bytes at most, and there is room for the ellipsis.
const BYTES_MAX: usize = 4 * SYMBOLS_MAX + 3;

const ELLIPSIS: char = '…';

/// For each byte its symbol; 0 for a byte of a longer character.
const SYMBOLS: [u8; 256] = {
    let mut symbols = [0_u8; 256];
    let mut byte = 0_usize;
    while byte < 128 {
        symbols[byte] = match byte as u8 {
            b'A'..=b'Z' => b'A',
            b'a'..=b'z' => b'a',
            b'0'..=b'9' => b'9',
            b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => b' ',
            other => other,
        };
        byte += 1;
    }
    symbols[0] = 1;
    symbols
};

/// Counts the patterns of texts.
#[derive(Debug, Clone)]
pub(super) struct Patterns {
    counts: Frequent<Box<str>>,
    pattern: String,
    /// Whether all letters, digits and white space were ASCII's.
    is_ascii: bool,
}

impl Patterns {
    pub(super) fn new() -> Self {
        Self { counts: Frequent::new(PATTERNS_MAX), pattern: String::with_capacity(BYTES_MAX), is_ascii: true }
    }

    pub(super) fn size(&self) -> usize {
        self.counts.size() + self.counts.entries().iter().map(|entry| entry.value.len()).sum::<usize>()
    }

    /// `is_cut`: the text goes on.
    #[inline]
    pub(super) fn add(&mut self, text: &[u8], is_cut: bool, times: u64) {
        let Self { counts, pattern, is_ascii } = self;
        *is_ascii &= write(text, is_cut, pattern);
        count(counts, pattern, times);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for entry in other.counts.entries() {
            count(&mut self.counts, &entry.value, entry.count);
        }
        self.counts.add_error(&other.counts);
        self.is_ascii &= other.is_ascii;
    }

    pub(super) fn is_ascii(&self) -> bool {
        self.is_ascii
    }

    /// How many patterns there are, when they all were counted.
    pub(super) fn number(&self) -> Option<usize> {
        (self.counts.error() == 0).then(|| self.counts.entries().len())
    }

    pub(super) fn error(&self) -> u64 {
        self.counts.error()
    }

    pub(super) fn top(&self, number: usize) -> Vec<&Entry<Box<str>>> {
        self.counts.top(number, Ord::cmp)
    }
}

fn count(counts: &mut Frequent<Box<str>>, pattern: &str, times: u64) {
    let hash = hash_of(pattern.as_bytes());
    while counts.add(hash, times, |known| **known == *pattern, || pattern.into()).is_err() {
        counts.purge();
    }
}

/// Letters become `A` and `a`, digits `9`, white space a blank; runs of these count once. Other characters stay. Tells whether
/// what became something else was ASCII.
fn write(text: &[u8], is_cut: bool, pattern: &mut String) -> bool {
    pattern.clear();
    let (mut last, mut symbols) = (0_u8, 0_usize);
    for (at, byte) in text.iter().enumerate() {
        let symbol = SYMBOLS.get(usize::from(*byte)).copied().unwrap_or_default();
        if symbol == last && matches!(symbol, b'A' | b'a' | b'9' | b' ') {
            continue;
        }
        if symbol == 0 {
            let rest = String::from_utf8_lossy(text.get(at..).unwrap_or_default());
            return write_rest(&rest, is_cut, last, symbols, pattern);
        }
        if symbols == SYMBOLS_MAX {
            pattern.push(ELLIPSIS);
            return true;
        }
        pattern.push(char::from(symbol));
        last = symbol;
        symbols += 1;
    }
    if is_cut {
        pattern.push(ELLIPSIS);
    }
    true
}

/// From the first character on that is more than a byte.
fn write_rest(text: &str, is_cut: bool, last: u8, mut symbols: usize, pattern: &mut String) -> bool {
    let mut is_ascii = true;
    let mut last = char::from(last);
    for character in text.chars() {
        let symbol = match character {
            upper if upper.is_uppercase() => 'A',
            letter if letter.is_alphabetic() => 'a',
            digit if digit.is_numeric() => '9',
            space if space.is_whitespace() => ' ',
            other => other,
        };
        is_ascii &= character.is_ascii() || symbol == character;
        if symbol == last && matches!(symbol, 'A' | 'a' | '9' | ' ') {
            continue;
        }
        if symbols == SYMBOLS_MAX {
            pattern.push(ELLIPSIS);
            return is_ascii;
        }
        pattern.push(symbol);
        last = symbol;
        symbols += 1;
    }
    if is_cut {
        pattern.push(ELLIPSIS);
    }
    is_ascii
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_letters_digits_and_blanks_count_once() {
        let mut pattern = String::new();
        for (text, expected) in [
            ("", ""),
            ("Ann-12", "Aa-9"),
            ("a@b.example", "a@a.a"),
            ("+49 (0)30\t  1234", "+9 (9)9 9"),
            ("--x--", "--a--"),
            ("Müller Ñandú 12", "Aa Aa 9"),
            ("東京 ４２", "a 9"),
            ("x\0y", "a\u{1}a"),
            ("1.2.3.4.5.6.7.8.9.1.2.3.4.5.6.7.8", "9.9.9.9.9.9.9.9.9.9.9.9.9.9.9.9.…"),
        ] {
            write(text.as_bytes(), false, &mut pattern);
            assert_eq!(pattern, expected, "{text}");
        }
        write(b"abc", true, &mut pattern);
        assert_eq!(pattern, "a…");
    }
}
