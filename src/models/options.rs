//! OPTIONS of CREATE MODEL: one table of names, meanings, bounds and defaults, from which errors and the documentation come.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::kind::ModelType;
use crate::error::{Error, Result, SqlState};

mod idle;
mod specs;
#[cfg(test)]
mod tests;

pub use specs::SPECS;

/// A value, as artifacts keep it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    Boolean(bool),
    Integer(i64),
    Number(f64),
    Text(String),
    List(Vec<Value>),
}

/// Values that a search tries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tried {
    /// From the first to the second.
    Range(f64, f64),
    OneOf(Vec<Value>),
}

/// What an option may be.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// From the first to the second.
    Integer(i64, i64),
    Number(f64, f64),
    /// Above the first, to the second.
    Above(f64, f64),
    /// Above the first, below the second.
    Between(f64, f64),
    Boolean,
    Text,
    Texts,
    /// One of some words.
    Choice(&'static [&'static str]),
    /// One of some words, or a number between two.
    ChoiceOr(&'static [&'static str], f64, f64),
    /// `balanced`, or weights of classes as JSON: `{"a": 1, "b": 10}`.
    Weights,
}

/// An option of CREATE MODEL.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    pub name: &'static str,
    /// Names of other systems for the same.
    pub aliases: &'static [&'static str],
    pub kind: Kind,
    /// The kinds of models that know it.
    pub types: &'static [ModelType],
    /// As it would be written; empty for none.
    pub default: &'static str,
    pub about: &'static str,
}

/// Options that a search may vary.
fn is_tunable(spec: &Spec) -> bool {
    let about_data = ["model_type", "label", "weight", "exclude", "seed", "eval_fraction", "split_column", "positive"];
    let of_search = ["num_trials", "hparam_algorithm", "hparam_objective", "threads", "early_stopping_rounds"];
    !about_data.contains(&spec.name) && !of_search.contains(&spec.name)
}

/// The options of one model: all that were given, by their own names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Options {
    pub model_type: ModelType,
    pub values: BTreeMap<String, Value>,
    /// Options whose value is searched for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tried: BTreeMap<String, Tried>,
}

impl Options {
    pub fn new(model_type: ModelType) -> Self {
        Self { model_type, values: BTreeMap::new(), tried: BTreeMap::new() }
    }

    /// The option of that name or alias that this kind of model knows.
    ///
    /// # Errors
    /// 22023 with a hint.
    pub fn spec(&self, name: &str) -> Result<&'static Spec> {
        let called = |spec: &&Spec| spec.name == name || spec.aliases.contains(&name);
        let known = || SPECS.iter().filter(|spec| spec.types.contains(&self.model_type));
        if let Some(spec) = known().find(|spec| spec.name == name).or_else(|| known().find(called)) {
            return Ok(spec);
        }
        let message = match is_known(name) {
            true => format!("option \"{name}\" has no meaning for a model of type {}", self.model_type.name()),
            false => format!("unrecognized option \"{name}\""),
        };
        let names: Vec<&str> = known().map(|spec| spec.name).collect();
        let hint = format!("Options of {} are {}.", self.model_type.name(), names.join(", "));
        Err(Error::new(SqlState::InvalidParameterValue, message).with_hint(hint))
    }

    /// Sets an option.
    ///
    /// # Errors
    /// 22023 for a value out of bounds or of another kind.
    pub fn set(&mut self, spec: &Spec, value: Value) -> Result<()> {
        let value = checked(spec, value)?;
        self.values.insert(spec.name.to_owned(), value);
        Ok(())
    }

    /// Has an option searched for.
    ///
    /// # Errors
    /// 22023.
    pub fn search(&mut self, spec: &Spec, tried: Tried) -> Result<()> {
        if !is_tunable(spec) || !self.model_type.is_supervised() {
            let message = format!("option \"{}\" cannot be searched for", spec.name);
            return Err(Error::new(SqlState::InvalidParameterValue, message));
        }
        let tried = match tried {
            Tried::Range(low, high) => {
                let numeric = matches!(
                    spec.kind,
                    Kind::Integer(..) | Kind::Number(..) | Kind::Above(..) | Kind::Between(..) | Kind::ChoiceOr(..)
                );
                if !numeric || low > high || low.is_nan() || high.is_nan() {
                    let message = format!("invalid range for option \"{}\"", spec.name);
                    return Err(Error::new(SqlState::InvalidParameterValue, message));
                }
                checked(spec, in_kind(spec, low))?;
                checked(spec, in_kind(spec, high))?;
                Tried::Range(low, high)
            }
            Tried::OneOf(values) => {
                if values.is_empty() {
                    let message = format!("option \"{}\" has no candidates", spec.name);
                    return Err(Error::new(SqlState::InvalidParameterValue, message));
                }
                Tried::OneOf(values.into_iter().map(|value| checked(spec, value)).collect::<Result<_>>()?)
            }
        };
        self.tried.insert(spec.name.to_owned(), tried);
        Ok(())
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub fn texts(&self, name: &str) -> Vec<&str> {
        match self.get(name) {
            Some(Value::Text(text)) => vec![text],
            Some(Value::List(values)) => values
                .iter()
                .filter_map(|value| match value {
                    Value::Text(text) => Some(text.as_str()),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    pub fn number(&self, name: &str) -> Option<f64> {
        self.get(name).and_then(as_number)
    }

    pub fn integer(&self, name: &str) -> Option<usize> {
        match self.get(name) {
            Some(Value::Integer(number)) => usize::try_from(*number).ok(),
            _ => None,
        }
    }

    pub fn boolean(&self, name: &str) -> Option<bool> {
        match self.get(name) {
            Some(Value::Boolean(value)) => Some(*value),
            _ => None,
        }
    }

    pub fn seed(&self) -> u64 {
        self.integer("seed").map_or(42, |seed| seed as u64)
    }
}

/// Whether any kind of model has an option of that name or alias.
pub fn is_known(name: &str) -> bool {
    SPECS.iter().any(|spec| spec.name == name || spec.aliases.contains(&name))
}

/// A number as an option of that kind takes it.
pub fn in_kind(spec: &Spec, number: f64) -> Value {
    match spec.kind {
        Kind::Integer(..) => Value::Integer(number.round() as i64),
        _ => Value::Number(number),
    }
}

fn as_number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        Value::Boolean(_) | Value::Text(_) | Value::List(_) => None,
    }
}

fn checked(spec: &Spec, value: Value) -> Result<Value> {
    let wrong = |wanted: String| {
        let message = format!("invalid value for option \"{}\": {}", spec.name, shown(&value));
        Error::new(SqlState::InvalidParameterValue, message).with_hint(format!("It is to be {wanted}."))
    };
    match (spec.kind, &value) {
        (Kind::Integer(low, high), Value::Integer(number)) if (low..=high).contains(number) => Ok(value),
        (Kind::Integer(low, i64::MAX), _) => Err(wrong(format!("a whole number of at least {low}"))),
        (Kind::Integer(low, high), _) => Err(wrong(format!("a whole number from {low} to {high}"))),
        (Kind::Number(low, high), Value::Integer(number)) if (low..=high).contains(&(*number as f64)) => {
            Ok(Value::Number(*number as f64))
        }
        (Kind::Number(low, high), Value::Number(number)) if (low..=high).contains(number) => Ok(value),
        (Kind::Number(low, high), _) if high >= 1e300 => Err(wrong(format!("a number of at least {low}"))),
        (Kind::Number(low, high), _) => Err(wrong(format!("a number from {low} to {high}"))),
        (Kind::Above(low, high), _) => match as_number(&value) {
            Some(number) if number > low && number <= high => Ok(Value::Number(number)),
            _ => Err(wrong(format!("a number above {low}, to {high}"))),
        },
        (Kind::Between(low, high), _) => match as_number(&value) {
            Some(number) if number > low && number < high => Ok(Value::Number(number)),
            _ => Err(wrong(format!("a number above {low} and below {high}"))),
        },
        (Kind::Boolean, Value::Boolean(_)) => Ok(value),
        (Kind::Boolean, Value::Text(text)) => match text.to_ascii_lowercase().as_str() {
            "true" | "on" | "yes" => Ok(Value::Boolean(true)),
            "false" | "off" | "no" => Ok(Value::Boolean(false)),
            _ => Err(wrong("true or false".to_owned())),
        },
        (Kind::Boolean, _) => Err(wrong("true or false".to_owned())),
        (Kind::Text, Value::Text(_)) => Ok(value),
        // BigQuery's lists of one.
        (Kind::Text, Value::List(values)) if matches!(values.as_slice(), [Value::Text(_)]) => {
            Ok(values.first().cloned().unwrap_or(Value::Text(String::new())))
        }
        (Kind::Text, Value::Boolean(truth)) if spec.name == "positive" => Ok(Value::Text(truth.to_string())),
        (Kind::Text, Value::Integer(number)) if spec.name == "positive" => Ok(Value::Text(number.to_string())),
        (Kind::Text, _) => Err(wrong("a text".to_owned())),
        (Kind::Texts, Value::Text(_)) => Ok(value),
        (Kind::Texts, Value::List(values)) if values.iter().all(|value| matches!(value, Value::Text(_))) => Ok(value),
        (Kind::Texts, _) => Err(wrong("a list of texts".to_owned())),
        (Kind::Choice(words), Value::Text(text)) if words.contains(&text.to_ascii_lowercase().as_str()) => {
            Ok(Value::Text(text.to_ascii_lowercase()))
        }
        (Kind::Choice(words), _) => Err(wrong(format!("one of {}", words.join(", ")))),
        (Kind::ChoiceOr(words, ..), Value::Text(text)) if words.contains(&text.to_ascii_lowercase().as_str()) => {
            Ok(Value::Text(text.to_ascii_lowercase()))
        }
        (Kind::ChoiceOr(_, low, high), Value::Number(number)) if *number > low && *number <= high => Ok(value),
        (Kind::ChoiceOr(_, low, high), Value::Integer(number)) if *number as f64 > low && *number as f64 <= high => {
            Ok(Value::Number(*number as f64))
        }
        (Kind::ChoiceOr(words, low, high), _) => {
            Err(wrong(format!("one of {}, or a number above {low}, to {high}", words.join(", "))))
        }
        (Kind::Weights, Value::Text(text)) if text.eq_ignore_ascii_case("balanced") => {
            Ok(Value::Text("balanced".to_owned()))
        }
        (Kind::Weights, Value::Text(text)) if weights(text).is_some() => Ok(value),
        (Kind::Weights, _) => Err(wrong("balanced, or positive numbers by class as JSON".to_owned())),
    }
}

/// Weights by class: positive numbers.
pub fn weights(text: &str) -> Option<BTreeMap<String, f64>> {
    let given: BTreeMap<String, f64> = serde_json::from_str(text).ok()?;
    given.values().all(|weight| weight.is_finite() && *weight > 0.0).then_some(given)
}

/// A value as it would be written.
pub fn shown(value: &Value) -> String {
    match value {
        Value::Boolean(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::Text(text) => format!("'{}'", text.replace('\'', "''")),
        Value::List(values) => format!("[{}]", values.iter().map(shown).collect::<Vec<_>>().join(", ")),
    }
}

/// What a search tries, as it would be written.
pub fn shown_tried(tried: &Tried) -> String {
    match tried {
        Tried::Range(low, high) => format!("HPARAM_RANGE({low}, {high})"),
        Tried::OneOf(values) => {
            format!("HPARAM_CANDIDATES([{}])", values.iter().map(shown).collect::<Vec<_>>().join(", "))
        }
    }
}
