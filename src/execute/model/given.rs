//! OPTIONS of CREATE MODEL as they are written, and what is made of them.

use std::collections::BTreeMap;

use crate::error::{Error, Result, SqlState};
use crate::models::ModelType;
use crate::models::options::{self, Options, Tried, Value};
use crate::sql::{CreateModel, ModelOption, OptionValue};

/// BigQuery's option of how rows are held out.
const SPLIT_METHOD: &str = "data_split_method";
/// Options of BigQuery that say in two what one says here, with that one.
const SAID_IN_TWO: &[(&str, &str)] = &[
    (SPLIT_METHOD, "eval_fraction"),
    ("auto_class_weights", "class_weights"),
    ("early_stop", "early_stopping_rounds"),
];

/// The name under which an option is kept, or an alias of it.
fn kept_name(written: &str) -> &str {
    SAID_IN_TWO.iter().find(|(name, _)| *name == written).map_or(written, |(_, kept)| kept)
}

/// The word of an option's value, in lower case; empty for other values.
fn word(option: &ModelOption) -> String {
    match &option.value {
        OptionValue::Text(text) => text.to_ascii_lowercase(),
        OptionValue::Boolean(value) => value.to_string(),
        OptionValue::Number(_) | OptionValue::List(_) | OptionValue::Range(..) | OptionValue::Candidates(_) => {
            String::new()
        }
    }
}

/// Where the value of an option stands.
pub(super) fn at_option(name: &str, options: &Options, statement: &CreateModel) -> Option<u32> {
    written(name, options, &statement.options).map(|option| option.position)
}

/// The option that was written for the one of that name.
fn written<'g>(name: &str, options: &Options, given: &'g [ModelOption]) -> Option<&'g ModelOption> {
    let is_it = |option: &&ModelOption| {
        let says = option.name.value != SPLIT_METHOD || word(option) == "no_split";
        says && options.spec(kept_name(&option.name.value)).is_ok_and(|spec| spec.name == name)
    };
    given.iter().find(is_it)
}

/// The options as they are kept.
pub(super) fn read_options(given: &[ModelOption]) -> Result<Options> {
    let kinds = || {
        let names: Vec<&str> = ModelType::all().map(ModelType::name).collect();
        format!("It is one of {}.", names.join(", "))
    };
    let Some(kind) = given.iter().find(|option| option.name.value == "model_type") else {
        if let Some(option) = given.iter().find(|option| !options::is_known(kept_name(&option.name.value))) {
            let message = format!("unrecognized option \"{}\"", option.name.value);
            return Err(Error::new(SqlState::InvalidParameterValue, message)
                .with_hint("The option model_type must be given.")
                .at(option.name.position));
        }
        let message = "the option model_type must be given";
        return Err(Error::new(SqlState::InvalidParameterValue, message).with_hint(kinds()));
    };
    let model_type = match &kind.value {
        OptionValue::Text(name) => ModelType::named(name),
        _ => None,
    };
    let Some(model_type) = model_type else {
        let shown = match value_of(&kind.value) {
            Some(value) => options::shown(&value),
            None => "a search".to_owned(),
        };
        return Err(Error::new(SqlState::InvalidParameterValue, format!("invalid model_type: {shown}"))
            .with_hint(kinds())
            .at(kind.position));
    };
    let mut options = Options::new(model_type);
    let mut words = BTreeMap::new();
    for option in given.iter().filter(|option| option.name.value != "model_type") {
        set_option(&mut options, option, &mut words)?;
    }
    check_split_method(&options, given)?;
    options.check().map_err(|(name, error)| error.at(written(name, &options, given).map(|option| option.position)))?;
    Ok(options)
}

/// `words` are those by which options were given, by their own names.
fn set_option<'g>(
    options: &mut Options,
    option: &'g ModelOption,
    words: &mut BTreeMap<&'static str, &'g str>,
) -> Result<()> {
    let name = option.name.value.as_str();
    let said = word(option);
    let spec = options.spec(kept_name(name)).map_err(|error| {
        let kept = kept_name(name);
        let message = error.message().replace(&format!("\"{kept}\""), &format!("\"{name}\""));
        let hint = error.hint().map(str::to_owned).unwrap_or_default();
        Error::new(error.sqlstate(), message).with_hint(hint).at(option.name.position)
    })?;
    let value = match (name, said.as_str()) {
        (SPLIT_METHOD, "no_split") => OptionValue::Number("0".to_owned()),
        (SPLIT_METHOD, "auto_split" | "random" | "custom") => return Ok(()),
        (SPLIT_METHOD, _) => {
            return Err(Error::unsupported(format!("data_split_method = '{said}'")).at(option.position));
        }
        ("auto_class_weights", "true") => OptionValue::Text("balanced".to_owned()),
        ("auto_class_weights", "false") => return Ok(()),
        ("early_stop", "true") => OptionValue::Number("10".to_owned()),
        ("early_stop", "false") => OptionValue::Number("0".to_owned()),
        _ => option.value.clone(),
    };
    if let Some(other) = words.insert(spec.name, name) {
        let message = format!("conflicting or redundant options \"{other}\" and \"{name}\"");
        return Err(Error::new(SqlState::SyntaxError, message).at(option.name.position));
    }
    let set = match &value {
        OptionValue::Range(low, high) => match (low.parse(), high.parse()) {
            (Ok(low), Ok(high)) => options.search(spec, Tried::Range(low, high)),
            _ => Err(Error::new(SqlState::InvalidParameterValue, "a range is from a number to a number")),
        },
        OptionValue::Candidates(values) => {
            let values: Option<Vec<Value>> = values.iter().map(value_of).collect();
            let values = values.ok_or_else(|| Error::unsupported("a search among searches"));
            values.and_then(|values| options.search(spec, Tried::OneOf(values)))
        }
        other => match value_of(other) {
            Some(value) => options.set(spec, value),
            None => Err(Error::unsupported("a search in a list")),
        },
    };
    set.map_err(|error| error.at(option.position))
}

/// Refuses a method that the split column does not fit.
fn check_split_method(options: &Options, given: &[ModelOption]) -> Result<()> {
    let Some(method) = given.iter().find(|option| option.name.value == SPLIT_METHOD) else { return Ok(()) };
    let said = word(method).to_ascii_uppercase();
    match written("split_column", options, given) {
        Some(column) if said != "CUSTOM" => {
            let name = &column.name.value;
            let message = format!("option \"{name}\" has no meaning with data_split_method = '{said}'");
            Err(Error::new(SqlState::InvalidParameterValue, message)
                .with_hint("A column is for data_split_method = 'CUSTOM'.")
                .at(column.position))
        }
        None if said == "CUSTOM" => {
            let message = "data_split_method = 'CUSTOM' needs the option data_split_col";
            Err(Error::new(SqlState::InvalidParameterValue, message).at(method.position))
        }
        Some(_) | None => Ok(()),
    }
}

fn value_of(value: &OptionValue) -> Option<Value> {
    Some(match value {
        OptionValue::Text(text) => Value::Text(text.clone()),
        OptionValue::Boolean(value) => Value::Boolean(*value),
        OptionValue::Number(text) => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(number), _) => Value::Integer(number),
            (Err(_), Ok(number)) => Value::Number(number),
            (Err(_), Err(_)) => return None,
        },
        OptionValue::List(values) => Value::List(values.iter().map(value_of).collect::<Option<_>>()?),
        OptionValue::Range(..) | OptionValue::Candidates(_) => return None,
    })
}
