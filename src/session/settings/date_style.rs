//! DateStyle: an output style and an order of day, month and year.

use super::value::invalid;
use crate::encode::{DateOrder, DateStyle};
use crate::error::{Error, Result};

const NAME: &str = "DateStyle";

/// Reads a list like `German` or `ISO, DMY`; what it does not name keeps ISO and MDY.
pub(super) fn parse(text: &str) -> Result<(DateStyle, DateOrder)> {
    let (mut style, mut order) = (None, None);
    for word in text.split(',').map(str::trim) {
        let lower = word.trim_matches('"').to_ascii_lowercase();
        if let Some(found) = style_of(&lower) {
            replace(&mut style, found, text)?;
        } else if let Some(found) = order_of(&lower) {
            replace(&mut order, found, text)?;
        } else if lower != "default" {
            return Err(invalid(NAME, text).with_detail(format!("Unrecognized key word: \"{word}\".")));
        }
    }
    let style = style.unwrap_or(DateStyle::Iso);
    // German dates are written day first unless another order is asked for.
    let usual = if style == DateStyle::German { DateOrder::Dmy } else { DateOrder::Mdy };
    Ok((style, order.unwrap_or(usual)))
}

fn replace<T: PartialEq>(slot: &mut Option<T>, value: T, text: &str) -> Result<()> {
    if slot.as_ref().is_some_and(|earlier| *earlier != value) {
        return Err(conflict(text));
    }
    *slot = Some(value);
    Ok(())
}

fn conflict(text: &str) -> Error {
    invalid(NAME, text).with_detail("Conflicting \"datestyle\" specifications.")
}

fn style_of(word: &str) -> Option<DateStyle> {
    match word {
        "iso" => Some(DateStyle::Iso),
        "sql" => Some(DateStyle::Sql),
        "german" => Some(DateStyle::German),
        _ if word.starts_with("postgres") => Some(DateStyle::Postgres),
        _ => None,
    }
}

fn order_of(word: &str) -> Option<DateOrder> {
    match word {
        "ymd" => Some(DateOrder::Ymd),
        "dmy" => Some(DateOrder::Dmy),
        "mdy" | "us" => Some(DateOrder::Mdy),
        _ if word.starts_with("euro") => Some(DateOrder::Dmy),
        _ if word.starts_with("noneuro") => Some(DateOrder::Mdy),
        _ => None,
    }
}

/// As SHOW prints it: `ISO, MDY`.
pub(super) fn canonical(text: &str) -> Result<String> {
    let (style, order) = parse(text)?;
    let style = match style {
        DateStyle::Iso => "ISO",
        DateStyle::Sql => "SQL",
        DateStyle::Postgres => "Postgres",
        DateStyle::German => "German",
    };
    let order = match order {
        DateOrder::Mdy => "MDY",
        DateOrder::Dmy => "DMY",
        DateOrder::Ymd => "YMD",
    };
    Ok(format!("{style}, {order}"))
}
