//! The layers: a file, the environment, flags. Each gives keys with texts and says where they stand.

use std::path::Path;

use super::Flags;
use super::value::Raw;
use crate::error::{Error, Result, SqlState};

/// Variables of the environment that begin so, with `__` between section and key.
const PREFIX: &str = "LAKEGATE_";

/// One key of a layer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub key: String,
    pub value: Raw,
    /// Where it was set, for messages: `in the file`.
    pub origin: String,
}

fn fault(message: String) -> Error {
    Error::new(SqlState::ConfigFileError, message)
}

pub(super) fn read_file(path: &Path) -> Result<String> {
    std::fs::read_to_string(path)
        .map_err(|error| fault(format!("could not read the configuration file \"{}\": {error}", path.display())))
}

/// The keys of a TOML text; tables become dotted names.
pub(super) fn from_toml(text: &str) -> Result<Vec<Entry>> {
    let table: toml::Table =
        text.parse().map_err(|error| fault(format!("the configuration file is no TOML: {error}").trim().to_owned()))?;
    let mut entries = Vec::new();
    flatten("", &toml::Value::Table(table), &mut entries)?;
    Ok(entries)
}

fn flatten(path: &str, value: &toml::Value, entries: &mut Vec<Entry>) -> Result<()> {
    if let toml::Value::Table(table) = value {
        for (name, value) in table {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            flatten(&path, value, entries)?;
        }
        return Ok(());
    }
    let value = match value {
        toml::Value::Array(items) => Raw::Many(items.iter().map(|item| scalar(path, item)).collect::<Result<_>>()?),
        other => Raw::One(scalar(path, other)?),
    };
    entries.push(Entry { key: path.to_owned(), value, origin: "in the file".to_owned() });
    Ok(())
}

fn scalar(path: &str, value: &toml::Value) -> Result<String> {
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Float(number) => Ok(number.to_string()),
        toml::Value::Boolean(truth) => Ok(truth.to_string()),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => {
            Err(fault(format!("configuration key \"{path}\" takes no such value")))
        }
    }
}

/// `LAKEGATE_SERVER__LISTEN=…`. Variables without `__` are not ours.
pub(super) fn from_environment(variables: impl IntoIterator<Item = (String, String)>) -> Vec<Entry> {
    let ours = variables.into_iter().filter_map(|(name, value)| {
        let key = name.strip_prefix(PREFIX)?;
        key.contains("__").then(|| Entry {
            key: key.to_ascii_lowercase().replace("__", "."),
            value: Raw::One(value),
            origin: format!("by the environment's {name}"),
        })
    });
    ours.collect()
}

pub(super) fn from_flags(flags: &Flags) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let named = [
        ("--warehouse", "warehouse.url", &flags.warehouse),
        ("--listen", "server.listen", &flags.listen),
        ("--http", "http.listen", &flags.http),
    ];
    for (flag, key, value) in named {
        if let Some(value) = value {
            let origin = format!("by {flag}");
            entries.push(Entry { key: key.to_owned(), value: Raw::One(value.clone()), origin });
        }
    }
    for pair in &flags.set {
        let (key, value) =
            pair.split_once('=').ok_or_else(|| fault(format!("--set takes key=value, not \"{pair}\"")))?;
        entries.push(Entry {
            key: key.trim().to_owned(),
            value: Raw::One(value.to_owned()),
            origin: "by --set".to_owned(),
        });
    }
    Ok(entries)
}
