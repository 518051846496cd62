//! Input of arrays: `{1,NULL,"a b"}`, nested, and with dimensions before it.

use std::borrow::Cow;

use super::is_space;
use crate::error::{Error, Result, SqlState};

/// One item of an array's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArrayItem<'a> {
    Null,
    /// The element's own text, without quotes and escapes.
    Text(Cow<'a, str>),
    Array(Vec<ArrayItem<'a>>),
}

/// Most dimensions of an array (PostgreSQL's MAXDIM).
const DIMENSIONS_MAX: usize = 6;

/// The items of an array whose elements are made by `element`, NULLs as `None`; nested arrays are refused.
pub fn array<T>(text: &str, mut element: impl FnMut(&str) -> Result<T>) -> Result<Vec<Option<T>>> {
    let nested = || Error::unsupported("an array of more than one dimension");
    let one = |item: &ArrayItem<'_>| match item {
        ArrayItem::Null => Ok(None),
        ArrayItem::Text(text) => element(text).map(Some),
        ArrayItem::Array(_) => Err(nested()),
    };
    array_items(text)?.iter().map(one).collect()
}

/// The items of an array; every sub-array of a level has the same shape.
pub fn array_items(text: &str) -> Result<Vec<ArrayItem<'_>>> {
    let mut parser = Parser { text, at: 0 };
    parser.skip_space();
    let declared = parser.dimensions()?;
    parser.skip_space();
    if parser.peek() != Some(b'{') {
        let detail = if declared.is_empty() {
            "Array value must start with \"{\" or dimension information."
        } else {
            "Array contents must start with \"{\"."
        };
        return Err(parser.malformed(detail));
    }
    let items = parser.array(1)?;
    parser.skip_space();
    if parser.peek().is_some() {
        return Err(parser.malformed("Junk after closing right brace."));
    }
    let shape = shape(&items).ok_or_else(|| parser.malformed(RAGGED))?;
    if !declared.is_empty() && declared != shape {
        return Err(parser.malformed("Specified array dimensions do not match array contents."));
    }
    Ok(if shape.contains(&0) { Vec::new() } else { items })
}

const RAGGED: &str = "Multidimensional arrays must have sub-arrays with matching dimensions.";

/// The lengths of all levels, or none when they are ragged.
fn shape(items: &[ArrayItem<'_>]) -> Option<Vec<usize>> {
    let mut lengths = vec![items.len()];
    let mut inner: Option<Option<Vec<usize>>> = None;
    for item in items {
        let own = match item {
            ArrayItem::Array(items) => Some(shape(items)?),
            ArrayItem::Null | ArrayItem::Text(_) => None,
        };
        match &inner {
            Some(first) if *first != own => return None,
            Some(_) => {}
            None => inner = Some(own),
        }
    }
    lengths.extend(inner.flatten().unwrap_or_default());
    Some(lengths)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
    }

    #[cold]
    fn malformed(&self, detail: &str) -> Error {
        Error::new(SqlState::InvalidTextRepresentation, format!("malformed array literal: \"{}\"", self.text))
            .with_detail(detail)
    }

    /// `[l:u][n]…=` before the braces: the lengths; lower bounds other than 1 have no place in Arrow and are refused.
    fn dimensions(&mut self) -> Result<Vec<usize>> {
        let mut lengths = Vec::new();
        while self.peek() == Some(b'[') {
            let rest = self.text.get(self.at + 1..).unwrap_or_default();
            let missing = || self.malformed("Missing \"]\" after array dimensions.");
            let (inside, _) = rest.split_once(']').ok_or_else(missing)?;
            let (lower, upper) = inside.split_once(':').unwrap_or(("1", inside));
            let bound = |text: &str| {
                text.trim()
                    .parse::<i32>()
                    .map_err(|_| self.malformed("\"[\" must introduce explicitly-specified array dimensions."))
            };
            let (lower, upper) = (bound(lower)?, bound(upper)?);
            if upper < lower {
                return Err(Error::new(SqlState::ArraySubscriptError, "upper bound cannot be less than lower bound"));
            }
            if lower != 1 {
                return Err(Error::unsupported("an array whose lower bound is not 1"));
            }
            lengths.push(upper as usize);
            self.at += inside.len() + 2;
            self.skip_space();
        }
        if lengths.is_empty() {
            return Ok(lengths);
        }
        if self.peek() != Some(b'=') {
            return Err(self.malformed("Missing \"=\" after array dimensions."));
        }
        self.at += 1;
        Ok(lengths)
    }

    fn array(&mut self, depth: usize) -> Result<Vec<ArrayItem<'a>>> {
        if depth > DIMENSIONS_MAX {
            return Err(Error::new(
                SqlState::ProgramLimitExceeded,
                format!("number of array dimensions ({depth}) exceeds the maximum allowed ({DIMENSIONS_MAX})"),
            ));
        }
        self.at += 1;
        let mut items = Vec::new();
        self.skip_space();
        if self.peek() == Some(b'}') {
            // Only the outermost braces may be empty.
            if depth > 1 {
                return Err(self.malformed("Unexpected \"}\" character."));
            }
            self.at += 1;
            return Ok(items);
        }
        loop {
            self.skip_space();
            items.push(match self.peek() {
                Some(b'{') => ArrayItem::Array(self.array(depth + 1)?),
                Some(b'"') => self.quoted()?,
                _ => self.bare()?,
            });
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(items);
                }
                Some(_) => return Err(self.malformed("Unexpected array element.")),
                None => return Err(self.malformed("Unexpected end of input.")),
            }
        }
    }

    fn quoted(&mut self) -> Result<ArrayItem<'a>> {
        let start = self.at + 1;
        let mut owned: Option<String> = None;
        let mut from = start;
        let mut at = start;
        loop {
            match self.text.as_bytes().get(at) {
                Some(b'"') => {
                    let tail = self.text.get(from..at).unwrap_or_default();
                    self.at = at + 1;
                    return Ok(ArrayItem::Text(match owned {
                        Some(text) => Cow::Owned(text + tail),
                        None => Cow::Borrowed(tail),
                    }));
                }
                Some(b'\\') => {
                    owned.get_or_insert_default().push_str(self.text.get(from..at).unwrap_or_default());
                    from = at + 1;
                    at += 2;
                }
                Some(_) => at += 1,
                None => return Err(self.malformed("Unexpected end of input.")),
            }
        }
    }

    /// Up to a comma or brace, without the white space at the end; NULL in any case.
    fn bare(&mut self) -> Result<ArrayItem<'a>> {
        let start = self.at;
        let mut owned: Option<String> = None;
        let mut from = start;
        let mut end = start;
        loop {
            match self.peek() {
                Some(b',' | b'}') => break,
                Some(b'{') => return Err(self.malformed("Unexpected \"{\" character.")),
                Some(b'"') => return Err(self.malformed("Unexpected array element.")),
                Some(b'\\') => {
                    owned.get_or_insert_default().push_str(self.text.get(from..self.at).unwrap_or_default());
                    from = self.at + 1;
                    self.at += 1;
                    let width = self.text.get(from..).and_then(|tail| tail.chars().next()).map_or(0, char::len_utf8);
                    self.at += width;
                    end = self.at;
                }
                Some(byte) => {
                    self.at += 1;
                    if !is_space(byte) {
                        end = self.at;
                    }
                }
                None => return Err(self.malformed("Unexpected end of input.")),
            }
        }
        let tail = self.text.get(from..end.max(from)).unwrap_or_default();
        match owned {
            Some(text) => Ok(ArrayItem::Text(Cow::Owned(text + tail))),
            None if tail.is_empty() => {
                let shown = self.peek().map_or(',', char::from);
                Err(self.malformed(&format!("Unexpected \"{shown}\" character.")))
            }
            None if tail.eq_ignore_ascii_case("null") => Ok(ArrayItem::Null),
            None => Ok(ArrayItem::Text(Cow::Borrowed(tail))),
        }
    }
}
