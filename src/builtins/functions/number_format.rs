//! `to_char` of numbers, with PostgreSQL's patterns.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::Function;
use super::build::scalar;
use super::kernel::{Call, some};
use super::numeric;
use crate::error::{Error, Result, SqlState};

/// One element of a format.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Nine,
    Zero,
    Point,
    Comma,
    Currency,
    Minus,
    Plus,
    Sign,
    Ordinal { upper: bool },
    Roman { upper: bool },
    Text(String),
}

/// Where `S` stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SignPlace {
    None,
    Before,
    After,
}

/// A format, understood.
#[derive(Debug, Clone)]
pub(super) struct Format {
    pub(super) nodes: Vec<Node>,
    /// Digits before and behind the point.
    pub(super) whole: usize,
    pub(super) fraction: usize,
    /// Digits behind V.
    pub(super) shift: usize,
    pub(super) has_point: bool,
    pub(super) fill: bool,
    pub(super) brackets: bool,
    /// `PL` or `SG`, and `MI` or `SG`.
    plus: bool,
    minus: bool,
    pub(super) scientific: bool,
    pub(super) sign: SignPlace,
    sign_after: usize,
    /// Where the first 0 stands, and how many digits there are up to the last.
    zero_start: Option<usize>,
    zero_end: usize,
}

fn format_error(message: &str) -> Error {
    Error::new(SqlState::SyntaxError, message)
}

impl Format {
    /// Whether `MI`, `PL` or `SG` writes the sign.
    pub(super) fn writes_sign(&self) -> bool {
        self.plus || self.minus
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut format = Self {
            nodes: Vec::new(),
            whole: 0,
            fraction: 0,
            shift: 0,
            has_point: false,
            fill: true,
            brackets: false,
            plus: false,
            minus: false,
            scientific: false,
            sign: SignPlace::None,
            sign_after: 0,
            zero_start: None,
            zero_end: 0,
        };
        let (mut rest, mut shifting) = (text, false);
        while let Some(c) = rest.chars().next() {
            if let Some(after) = rest.strip_prefix('"') {
                let end = after.find('"').unwrap_or(after.len());
                format.nodes.push(Node::Text(after.get(..end).unwrap_or_default().to_owned()));
                rest = after.get(end + 1..).unwrap_or_default();
                continue;
            }
            let starts = |word: &str| rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
            const WORDS: [&str; 9] = ["EEEE", "FM", "MI", "PL", "PR", "RN", "SG", "SP", "TH"];
            if let Some(word) = WORDS.into_iter().find(|word| starts(word)) {
                format.word(word, c.is_ascii_uppercase());
                rest = rest.get(word.len()..).unwrap_or_default();
                continue;
            }
            format.letter(c, &mut shifting)?;
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
        }
        Ok(format)
    }

    fn word(&mut self, word: &str, upper: bool) {
        match word {
            "EEEE" => self.scientific = true,
            "FM" => self.fill = false,
            "MI" => {
                self.minus = true;
                self.nodes.push(Node::Minus);
            }
            "PL" => {
                self.plus = true;
                self.nodes.push(Node::Plus);
            }
            "SG" => {
                (self.plus, self.minus) = (true, true);
                self.nodes.push(Node::Sign);
            }
            "PR" => self.brackets = true,
            "RN" => self.nodes.push(Node::Roman { upper }),
            "TH" => self.nodes.push(Node::Ordinal { upper }),
            _ => {}
        }
    }

    fn letter(&mut self, c: char, shifting: &mut bool) -> Result<()> {
        match c.to_ascii_uppercase() {
            '9' | '0' if self.brackets => {
                return Err(format_error(&format!("\"{c}\" must be ahead of \"PR\"")));
            }
            '9' | '0' => {
                if c == '0' {
                    if self.zero_start.is_none() && !self.has_point {
                        self.zero_start = Some(self.whole);
                    }
                    self.zero_end = self.whole + self.fraction + 1;
                }
                if *shifting {
                    self.shift += 1;
                } else if self.has_point {
                    self.fraction += 1;
                } else {
                    self.whole += 1;
                }
                self.nodes.push(if c == '0' { Node::Zero } else { Node::Nine });
            }
            '.' | 'D' => {
                if self.has_point {
                    return Err(format_error("multiple decimal points"));
                }
                if *shifting {
                    return Err(format_error("cannot use \"V\" and decimal point together"));
                }
                self.has_point = true;
                self.nodes.push(Node::Point);
            }
            ',' | 'G' => self.nodes.push(Node::Comma),
            'L' => self.nodes.push(Node::Currency),
            'S' if self.sign != SignPlace::None && !self.has_point => {
                return Err(format_error("cannot use \"S\" twice"));
            }
            'S' if self.has_point || self.whole > 0 => self.sign = SignPlace::After,
            'S' => {
                self.sign = SignPlace::Before;
                self.sign_after = self.whole;
            }
            'V' if self.has_point => return Err(format_error("cannot use \"V\" and decimal point together")),
            'V' => *shifting = true,
            'B' => {}
            other => match self.nodes.last_mut() {
                Some(Node::Text(text)) => text.push(if other == c.to_ascii_uppercase() { c } else { other }),
                _ => self.nodes.push(Node::Text(c.to_string())),
            },
        }
        Ok(())
    }
}

/// A number as its digits.
struct Number {
    negative: bool,
    /// `12.50`, rounded to the format's fraction, without a sign.
    digits: String,
}

/// Writes the number's digits into the format's places.
struct Writer<'a> {
    format: &'a Format,
    number: &'a [u8],
    negative: bool,
    /// Places of the format that the number has no digit for.
    blanks: usize,
    at: usize,
    place: usize,
    sign_written: bool,
    in_number: bool,
    /// The last digit that FM keeps.
    last_kept: Option<usize>,
}

impl Writer<'_> {
    /// A zero before the point that the format does not show.
    fn is_hidden_zero(&self) -> bool {
        self.format.zero_start.is_none()
            && self.at == 0
            && self.number.first() == Some(&b'0')
            && self.format.fraction != 0
    }

    fn keeps_only_the_point(&self) -> bool {
        self.last_kept.is_some_and(|last| self.number.get(last) == Some(&b'.'))
    }

    fn sign(&mut self, out: &mut String) {
        let zero_starts = self.format.zero_start.is_some_and(|start| start <= self.place);
        if self.sign_written
            || !(self.place >= self.blanks || zero_starts)
            || (self.is_hidden_zero() && !self.keeps_only_the_point())
        {
            return;
        }
        match self.format.sign {
            SignPlace::Before => out.push(if self.negative { '-' } else { '+' }),
            SignPlace::After => return,
            SignPlace::None if self.format.brackets => out.push(if self.negative { '<' } else { ' ' }),
            SignPlace::None if self.negative => out.push('-'),
            SignPlace::None if self.format.fill => out.push(' '),
            SignPlace::None => {}
        }
        self.sign_written = true;
    }

    fn digit(&mut self, node: &Node, out: &mut String) {
        self.sign(out);
        let zeros = self.format.zero_start.is_some_and(|start| start <= self.place);
        if self.place < self.blanks {
            if zeros {
                out.push('0');
                self.in_number = true;
            } else if self.format.fill {
                out.push(' ');
            }
        } else {
            match self.number.get(self.at) {
                Some(b'.') if (!self.keeps_only_the_point() || !self.format.fill) => {
                    out.push('.');
                }
                Some(_) if self.last_kept.is_some_and(|last| self.at > last) && *node != Node::Zero => {}
                Some(_) if self.is_hidden_zero() => {
                    if self.format.fill {
                        out.push(' ');
                    } else if self.keeps_only_the_point() {
                        out.push('0');
                    }
                }
                Some(digit) => {
                    out.push(char::from(*digit));
                    self.in_number = true;
                }
                None => {}
            }
            self.at += 1;
        }
        self.place += 1;
        self.close(out);
    }

    /// What stands behind the last digit.
    fn close(&mut self, out: &mut String) {
        let places = self.format.whole + self.format.fraction + self.format.shift + usize::from(self.format.has_point);
        let ended = match self.last_kept {
            Some(last) if self.at > last => true,
            _ => self.place == places,
        };
        if !ended || (self.format.sign != SignPlace::After && !self.format.brackets) {
            return;
        }
        if self.format.sign == SignPlace::After && !self.sign_written {
            out.push(if self.negative { '-' } else { '+' });
            self.sign_written = true;
        } else if self.format.brackets && self.in_number && self.place <= places && self.last_kept.is_none() {
            out.push(if self.negative { '>' } else { ' ' });
        } else if self.format.brackets && self.last_kept == Some(self.at.saturating_sub(1)) && self.negative {
            out.push('>');
        }
    }
}

/// The last digit behind the point that is no zero, or the point.
fn last_relevant(format: &Format, number: &[u8], blanks: usize) -> Option<usize> {
    if format.fill || !format.has_point {
        return None;
    }
    let point = number.iter().position(|byte| *byte == b'.')?;
    let last = number.iter().rposition(|byte| *byte != b'0').map_or(point, |last| last.max(point));
    // Digits of places written as 0 stay.
    let zeros = format.zero_end.saturating_sub(blanks);
    Some(if zeros > 0 && format.zero_end > blanks { last.max(zeros.min(number.len() - 1)) } else { last })
}

fn write_number(format: &Format, number: &Number, out: &mut String) {
    let whole = format.whole + format.shift;
    let length = number.digits.find('.').unwrap_or(number.digits.len());
    let overflow;
    let digits = if length > whole {
        // Too large for the format.
        overflow = format!("{}.{}", "#".repeat(whole), "#".repeat(format.fraction));
        overflow.as_str()
    } else {
        number.digits.as_str()
    };
    let blanks = whole.saturating_sub(length);
    let mut writer = Writer {
        format,
        number: digits.as_bytes(),
        negative: number.negative,
        blanks,
        at: 0,
        place: 0,
        // PL writes the sign in its own place and leaves the number's.
        sign_written: format.minus
            || (!format.plus && !number.negative && !format.fill && format.sign == SignPlace::None && !format.brackets),
        in_number: false,
        last_kept: last_relevant(format, digits.as_bytes(), blanks),
    };
    for node in &format.nodes {
        match node {
            Node::Nine | Node::Zero | Node::Point => writer.digit(node, out),
            Node::Comma if writer.in_number => out.push(','),
            Node::Comma | Node::Currency if !format.fill => {
                if *node == Node::Currency {
                    out.push(' ');
                }
            }
            Node::Comma | Node::Currency => out.push(' '),
            Node::Minus => match (number.negative, format.fill) {
                (true, _) => out.push('-'),
                (false, true) => out.push(' '),
                (false, false) => {}
            },
            Node::Plus => match (number.negative, format.fill) {
                (false, _) => out.push('+'),
                (true, true) => out.push(' '),
                (true, false) => {}
            },
            Node::Sign => out.push(if number.negative { '-' } else { '+' }),
            Node::Ordinal { upper } => {
                if !number.negative && !format.has_point && !digits.starts_with('#') {
                    let suffix = super::to_char::ordinal(digits);
                    out.push_str(&if *upper { suffix.to_uppercase() } else { suffix.to_owned() });
                }
            }
            Node::Roman { .. } => {}
            Node::Text(text) => out.push_str(text),
        }
    }
}

fn roman(value: i64) -> Option<String> {
    const STEPS: [(i64, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    if !(1..4000).contains(&value) {
        return None;
    }
    let (mut rest, mut text) = (value, String::new());
    for (unit, letters) in STEPS {
        while rest >= unit {
            text.push_str(letters);
            rest -= unit;
        }
    }
    Some(text)
}

fn write_roman(format: &Format, upper: bool, value: Option<i64>, out: &mut String) {
    let text = value.and_then(roman).unwrap_or_else(|| "#".repeat(15));
    let text = if upper { text } else { text.to_lowercase() };
    if format.fill {
        out.push_str(&format!("{text:>15}"));
    } else {
        out.push_str(&text);
    }
}

/// The format of a row, read anew only when it changes.
#[derive(Default)]
pub(super) struct Formats {
    text: String,
    format: Option<Format>,
}

impl Formats {
    pub(super) fn get(&mut self, text: &str) -> Result<&Format> {
        if self.format.is_none() || self.text != text {
            self.format = Some(Format::parse(text)?);
            text.clone_into(&mut self.text);
        }
        self.format.as_ref().ok_or_else(|| Error::internal("a format was not read"))
    }
}

fn roman_of(format: &Format) -> Option<bool> {
    format.nodes.iter().find_map(|node| match node {
        Node::Roman { upper } => Some(*upper),
        _ => None,
    })
}

fn write_scientific(value: f64, format: &Format, out: &mut String) {
    if !value.is_finite() {
        let places = format.whole + format.fraction + 5;
        out.push(' ');
        out.extend(std::iter::repeat_n('#', places.max(1)));
        return;
    }
    let text = format!("{:.*e}", format.fraction, value.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    out.push(if value.is_sign_negative() { '-' } else { ' ' });
    out.push_str(&format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs()));
}

fn decimals(call: &Call) -> Result<ArrayRef> {
    let (values, scale) = call.decimal(0)?;
    let texts = call.text(1)?;
    let mut formats = Formats::default();
    call.texts(|row, out| {
        let (value, text) = (some!(values.get(row)), some!(texts.get(row)));
        let format = formats.get(text)?;
        if let Some(upper) = roman_of(format) {
            let whole = i32::try_from(numeric::rescale(value, scale, 0)?)
                .map_err(|_| super::arithmetic::out_of_range(&DataType::Int32))?;
            write_roman(format, upper, Some(whole.into()), out);
            return Ok(Some(()));
        }
        if format.scientific {
            write_scientific(numeric::to_float(value, scale), format, out);
            return Ok(Some(()));
        }
        let shifted = scale.saturating_sub(format.shift as i8);
        let places = (format.fraction as i8).min(numeric::DIGITS_MAX as i8 - 1);
        let rounded = if places >= shifted { value } else { numeric::rescale(value, shifted, places)? };
        let mut digits = Vec::with_capacity(24);
        crate::encode::text::push_decimal(&mut digits, rounded.saturating_abs(), shifted.min(places));
        let mut digits = crate::encode::input::utf8(&digits)?.to_owned();
        let shown = digits.find('.').map_or(0, |point| digits.len() - point - 1);
        if format.fraction > 0 && shown == 0 {
            digits.push('.');
        }
        digits.extend(std::iter::repeat_n('0', format.fraction.saturating_sub(shown)));
        write_number(format, &Number { negative: rounded < 0, digits }, out);
        Ok(Some(()))
    })
}

fn floats(call: &Call) -> Result<ArrayRef> {
    const DIGITS: usize = 15;
    let (values, texts) = (call.float(0)?, call.text(1)?);
    let mut formats = Formats::default();
    call.texts(|row, out| {
        let (value, text) = (some!(values.get(row)), some!(texts.get(row)));
        let format = formats.get(text)?;
        if let Some(upper) = roman_of(format) {
            write_roman(format, upper, value.is_finite().then(|| value.round_ties_even() as i64), out);
            return Ok(Some(()));
        }
        if format.scientific {
            write_scientific(value, format, out);
            return Ok(Some(()));
        }
        let value = value * 10_f64.powi(format.shift as i32);
        let mut format = format.clone();
        let digits = if value.is_finite() {
            let whole = format!("{:.0}", value.abs()).len();
            if whole >= DIGITS {
                format.fraction = 0;
            } else {
                format.fraction = format.fraction.min(DIGITS - whole);
            }
            format!("{:.*}", format.fraction, value.abs())
        } else if value.is_nan() {
            "NaN".to_owned()
        } else {
            "Infinity".to_owned()
        };
        write_number(&format, &Number { negative: value < 0.0, digits }, out);
        Ok(Some(()))
    })
}

pub(super) fn functions() -> Vec<Function> {
    vec![
        scalar(1772, "to_char(numeric, text) text", decimals),
        scalar(1773, "to_char(int4, text) text", decimals),
        scalar(1774, "to_char(int8, text) text", decimals),
        scalar(1775, "to_char(float4, text) text", floats),
        scalar(1776, "to_char(float8, text) text", floats),
    ]
}
