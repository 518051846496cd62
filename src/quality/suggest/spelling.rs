//! Names, constants and regular expressions as SQL spells them.

use super::Spelling;

/// PostgreSQL's names are no longer.
const NAME_BYTES_MAX: usize = 63;

/// `column_word`, and a number where the name is taken; the column's part is cut where the whole would be too long.
pub(super) fn rule_name(column: &str, word: &str, number: u32) -> String {
    let mut end = if number == 0 { word.to_owned() } else { format!("{word}_{number}") };
    if !column.is_empty() {
        end.insert(0, '_');
    }
    let mut cut = column.len().min(NAME_BYTES_MAX.saturating_sub(end.len()));
    while !column.is_char_boundary(cut) {
        cut -= 1;
    }
    format!("{}{end}", column.get(..cut).unwrap_or_default())
}

pub(super) fn identifier(name: &str, quote: fn(&str) -> String) -> String {
    quote(name)
}

/// A text constant that means the same whatever `standard_conforming_strings` says.
pub(super) fn text(value: &str) -> String {
    let quoted = value.replace('\'', "''");
    if quoted.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// A constant of the column's type, from its text.
pub(super) fn constant(spelling: Spelling, value: &str) -> Option<String> {
    let word = match spelling {
        Spelling::Number | Spelling::Float | Spelling::Real => {
            value.parse::<f64>().ok().filter(|number| number.is_finite())?;
            return Some(if spelling == Spelling::Real { format!("'{value}'::real") } else { value.to_owned() });
        }
        Spelling::Text => return Some(text(value)),
        Spelling::Date => "DATE",
        Spelling::Time => "TIME",
        Spelling::Timestamp => "TIMESTAMP",
        Spelling::TimestampTz => "TIMESTAMPTZ",
        Spelling::Other => return None,
    };
    (!value.ends_with("infinity")).then(|| format!("{word} {}", text(value)))
}

/// The regular expression of a pattern's texts; `None` for a pattern that was cut.
pub(super) fn regular_expression(pattern: &str) -> Option<String> {
    let mut expression = String::new();
    for symbol in pattern.chars() {
        match symbol {
            'A' => expression.push_str("[A-Z]+"),
            'a' => expression.push_str("[a-z]+"),
            '9' => expression.push_str("[0-9]+"),
            ' ' => expression.push_str("[[:space:]]+"),
            '…' => return None,
            '^' | '\\' => expression.extend(['\\', symbol]),
            '.' | '$' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' => {
                expression.extend(['[', symbol, ']']);
            }
            control if control.is_control() => return None,
            other => expression.push(other),
        }
    }
    Some(expression)
}

/// Four significant digits, away from zero or towards it, as SQL reads them.
pub(super) fn rounded(number: f64, is_up: bool) -> String {
    if number == 0.0 || !number.is_finite() {
        return "0".to_owned();
    }
    let digits = 3 - number.abs().log10().floor() as i32;
    let unit = 10_f64.powi(digits);
    let scaled = if is_up { (number * unit).ceil() } else { (number * unit).floor() };
    let value = scaled / unit;
    format!("{value:.*}", usize::try_from(digits).unwrap_or(0))
}
