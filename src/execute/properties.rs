//! Table properties: what users set, and what clauses of the SQL keep there.

use std::collections::BTreeMap;

use crate::error::{Error, Result, SqlState};
use crate::sql::{CreateTable, Name};

/// Our own properties: each has a clause that sets it.
const OURS: &str = "lakegate.";
/// The columns of CLUSTER BY, quoted where a name needs it, with commas between.
pub(super) const CLUSTER_BY: &str = "lakegate.clusterBy";

/// The properties of CREATE TABLE, CLUSTER BY among them.
pub(super) fn of_new(statement: &CreateTable, columns: &[String]) -> Result<Vec<(String, String)>> {
    let mut properties = Vec::new();
    for (key, value) in &statement.properties {
        check_free(key)?;
        properties.push((key.clone(), value.clone()));
    }
    if let Some(names) = &statement.cluster_by {
        properties.push((CLUSTER_BY.to_owned(), clustering(names, columns)?));
    }
    Ok(properties)
}

/// Refuses a property that users do not set by its name.
pub(super) fn check_free(key: &str) -> Result<()> {
    if key.starts_with(OURS) {
        return Err(Error::unsupported(format!("table property \"{key}\"")));
    }
    Ok(())
}

/// The value of [`CLUSTER_BY`].
pub(super) fn clustering(names: &[Name], columns: &[String]) -> Result<String> {
    let mut listed: Vec<String> = Vec::new();
    for name in names {
        if !columns.contains(&name.value) {
            let message = format!("column \"{}\" named in CLUSTER BY does not exist", name.value);
            return Err(Error::new(SqlState::UndefinedColumn, message).at(name.position));
        }
        let quoted = quoted(&name.value);
        if listed.contains(&quoted) {
            let message = format!("column \"{}\" appears twice in CLUSTER BY", name.value);
            return Err(Error::new(SqlState::DuplicateColumn, message).at(name.position));
        }
        listed.push(quoted);
    }
    Ok(listed.join(","))
}

/// The columns that a table is clustered by.
pub(super) fn clustered_by(properties: &BTreeMap<String, String>) -> Vec<String> {
    let Some(list) = properties.get(CLUSTER_BY) else { return Vec::new() };
    let mut names = Vec::new();
    let mut name = String::new();
    let mut inside = false;
    let mut characters = list.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if inside && characters.peek() == Some(&'"') => {
                characters.next();
                name.push('"');
            }
            '"' => inside = !inside,
            ',' if !inside => names.push(std::mem::take(&mut name)),
            other => name.push(other),
        }
    }
    names.push(name);
    names
}

/// A name in SQL text: in quotes unless it is plain and no key word.
pub(super) fn quoted(name: &str) -> String {
    let plain = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name
            .chars()
            .all(|character| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_');
    if plain && crate::sql::is_plain_name(name) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clustering_is_read_as_it_was_written() {
        let columns: Vec<String> = ["a", "B", "c,d", "e\"f"].map(str::to_owned).to_vec();
        let names: Vec<Name> = columns.iter().map(|name| Name { value: name.clone(), position: 0 }).collect();
        let text = clustering(&names, &columns).unwrap();
        assert_eq!(text, "a,\"B\",\"c,d\",\"e\"\"f\"");
        assert_eq!(clustered_by(&BTreeMap::from([(CLUSTER_BY.to_owned(), text)])), columns);
    }
}
