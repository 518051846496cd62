//! `to_number`: a text read as a format of `to_char` says (`NUM_processor` in PostgreSQL's formatting.c).
//!
//! Each digit place of the format takes one character of the text, a digit or not; what is no digit is dropped.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Decimal128Type};
use datafusion::logical_expr::ReturnFieldArgs;

use super::Function;
use super::build::typed;
use super::kernel::{Call, some};
use super::number_format::{Format, Formats, Node, SignPlace};
use super::numeric;
use crate::error::{Error, Result, SqlState};

/// Places behind the point for a column's texts, whose own number is not known before.
const COLUMN_SCALE_MAX: usize = 30;

/// What was found in a text.
struct Found {
    /// Sign (a space for none) and digits, with a point.
    text: String,
    behind_point: usize,
}

/// The state of reading one text.
struct Reader<'a> {
    format: &'a Format,
    input: &'a [u8],
    at: usize,
    sign: u8,
    digits: String,
    before_point: usize,
    behind_point: usize,
    has_point: bool,
}

impl Reader<'_> {
    fn byte(&self, at: usize) -> Option<u8> {
        self.input.get(at).copied()
    }

    fn at_end(&self) -> bool {
        self.at >= self.input.len()
    }

    /// Skips up to `count` characters that can be no part of a number.
    fn skip_text(&mut self, count: usize) {
        for _ in 0..count {
            if matches!(self.byte(self.at), Some(b'0'..=b'9' | b'.' | b',' | b'+' | b'-')) {
                return;
            }
            self.skip_character();
        }
    }

    fn skip_character(&mut self) {
        self.at += 1;
        while self.byte(self.at).is_some_and(|byte| byte & 0xc0 == 0x80) {
            self.at += 1;
        }
    }

    /// A place for a digit or the point. The caller moves on by one character.
    fn number_place(&mut self, is_digit_place: bool) {
        if self.byte(self.at) == Some(b' ') {
            self.at += 1;
        }
        if self.sign == b' ' && is_digit_place && self.before_point + self.behind_point == 0 {
            self.leading_sign();
        }
        let read = match self.byte(self.at) {
            None => return,
            Some(digit) if digit.is_ascii_digit() => {
                if self.has_point && self.behind_point == self.format.fraction {
                    return;
                }
                self.digits.push(char::from(digit));
                if self.has_point {
                    self.behind_point += 1;
                } else {
                    self.before_point += 1;
                }
                true
            }
            Some(b'.') if self.format.has_point && !self.has_point => {
                self.digits.push('.');
                self.has_point = true;
                true
            }
            Some(_) => false,
        };
        if self.sign == b' ' && self.before_point + self.behind_point > 0 {
            self.trailing_sign(read);
        }
    }

    fn leading_sign(&mut self) {
        let sign = match self.byte(self.at) {
            Some(sign @ (b'-' | b'+')) => sign,
            Some(b'<') if self.format.brackets => b'-',
            _ => return,
        };
        self.sign = sign;
        self.at += 1;
    }

    /// A sign right behind the last digit; `read`: whether the current character was part of the number.
    fn trailing_sign(&mut self, read: bool) {
        if self.format.sign != SignPlace::None {
            if read && let Some(sign @ (b'-' | b'+')) = self.byte(self.at + 1) {
                self.sign = sign;
                self.at += 1;
            }
        } else if !read
            && self.format.writes_sign()
            && let Some(sign @ (b'-' | b'+')) = self.byte(self.at)
        {
            self.sign = sign;
        }
    }

    /// `MI`, `PL`, `SG`: takes one of the signs, or skips a character.
    fn written_sign(&mut self, signs: &[u8]) {
        match self.byte(self.at) {
            Some(sign) if signs.contains(&sign) => {
                self.sign = sign;
                self.at += 1;
            }
            _ => self.skip_text(1),
        }
    }

    fn node(&mut self, node: &Node) {
        match node {
            Node::Nine | Node::Zero | Node::Point => {
                self.number_place(*node != Node::Point);
                self.at += 1;
            }
            Node::Comma => {
                // With FM the next digit place drops it.
                if self.format.fill && self.byte(self.at) == Some(b',') {
                    self.at += 1;
                }
            }
            Node::Currency => self.skip_text(1),
            Node::Ordinal { .. } => {
                if self.sign != b'-' && !self.format.has_point {
                    self.skip_text(2);
                }
            }
            Node::Minus => self.written_sign(b"-"),
            Node::Plus => self.written_sign(b"+"),
            Node::Sign => self.written_sign(b"+-"),
            Node::Roman { .. } => {}
            // Each takes a character, whatever it is.
            Node::Text(text) => text.chars().for_each(|_| self.skip_character()),
        }
    }
}

fn read(format: &Format, text: &str) -> Result<Found> {
    let refused = |what: &str| Error::new(SqlState::FeatureNotSupported, format!("\"{what}\" not supported for input"));
    if format.scientific {
        return Err(refused("EEEE"));
    }
    if format.nodes.iter().any(|node| matches!(node, Node::Roman { .. })) {
        return Err(refused("RN"));
    }
    let mut reader = Reader {
        format,
        input: text.as_bytes(),
        at: 0,
        sign: b' ',
        digits: String::new(),
        before_point: 0,
        behind_point: 0,
        has_point: false,
    };
    for node in &format.nodes {
        if reader.at_end() {
            break;
        }
        reader.node(node);
    }
    let digits = reader.digits.strip_suffix('.').unwrap_or(&reader.digits);
    Ok(Found { text: format!("{}{digits}", char::from(reader.sign)), behind_point: reader.behind_point })
}

/// The number found, at the scale `to`.
fn value(format: &Format, text: &str, to: i8) -> Result<i128> {
    let found = read(format, text)?;
    let (number, _, scale) = crate::encode::input::numeric_unbound(&found.text).map_err(|_| {
        let message = format!("invalid input syntax for type numeric: \"{}\"", found.text);
        Error::new(SqlState::InvalidTextRepresentation, message)
    })?;
    // The format's places are the precision.
    let whole = (format.whole + format.shift) as u32;
    let limit = numeric::power_of_ten(whole + found.behind_point as u32);
    if limit
        .is_some_and(|limit| numeric::rescale(number, scale, found.behind_point as i8).is_ok_and(|n| n.abs() >= limit))
    {
        let message = "numeric field overflow";
        let detail = format!(
            "A field with precision {}, scale {} must round to an absolute value less than {}.",
            format.whole + format.shift + found.behind_point,
            found.behind_point,
            if whole == 0 { "1".to_owned() } else { format!("10^{whole}") },
        );
        return Err(Error::new(SqlState::NumericValueOutOfRange, message).with_detail(detail));
    }
    let shift = numeric::power_of_ten(format.shift as u32).ok_or_else(numeric::overflow)?;
    numeric::quotient((number, scale), (shift, 0), to)
}

fn to_number(call: &Call) -> Result<ArrayRef> {
    let (values, texts) = (call.text(0)?, call.text(1)?);
    let to = numeric::scale_of(call.returns);
    let mut formats = Formats::default();
    call.values::<Decimal128Type>(|row| {
        let (text, format) = (some!(values.get(row)), some!(texts.get(row)));
        if format.is_empty() {
            return Ok(None);
        }
        value(formats.get(format)?, text, to).map(Some)
    })
}

/// As many digits behind the point as a constant text has, or else as a constant format has places.
fn number_type(args: &ReturnFieldArgs) -> Result<DataType> {
    let constant = |index: usize| args.scalar_arguments.get(index).copied().flatten()?.try_as_str().flatten();
    let scale = match (constant(0), constant(1)) {
        (Some(text), Some(format)) => {
            let format = Format::parse(format)?;
            read(&format, text).map_or(0, |found| found.behind_point).max(if format.shift > 0 { 16 } else { 0 })
        }
        (None, Some(format)) => {
            let format = Format::parse(format)?;
            format.fraction.max(format.shift).min(COLUMN_SCALE_MAX)
        }
        (_, None) => 10,
    };
    Ok(DataType::Decimal128(numeric::DIGITS_MAX, scale.min(COLUMN_SCALE_MAX) as i8))
}

pub(super) fn functions() -> Vec<Function> {
    vec![typed(1777, "to_number(text, text) numeric", number_type, to_number)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (text, format, sign and digits found), as PostgreSQL finds them.
    #[test]
    fn each_place_takes_a_character() {
        let cases = [
            ("123", "9,999.99", " 123"),
            ("1,234.56", "9,999.99", " 1234.56"),
            ("1,234.56", "999", " 12"),
            ("-12", "999", "-12"),
            ("12-", "999MI", "-12"),
            ("12-", "S999", "-12"),
            ("<12>", "999PR", "-12"),
            ("<12>", "999", " 12"),
            ("$5", "999", " 5"),
            ("5.5.5", "9,999.99", " 5.55"),
            ("5.5.5", "999", " 55"),
            ("abc", "999", " "),
            ("", "999", " "),
            ("123", "$9", " 2"),
            ("-12", "x9", " 1"),
        ];
        for (text, format, expected) in cases {
            let format = Format::parse(format).unwrap();
            assert_eq!(read(&format, text).unwrap().text, expected, "to_number({text:?}, …)");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let state = |text: &str, format: &str| value(&Format::parse(format).unwrap(), text, 0).unwrap_err().sqlstate();
        assert_eq!(state("abc", "999"), SqlState::InvalidTextRepresentation);
        assert_eq!(state("1,234.56", "FM999.9"), SqlState::NumericValueOutOfRange);
        assert_eq!(state("XIV", "RN"), SqlState::FeatureNotSupported);
    }
}
