//! A schema and the check of one document.

use std::collections::HashMap;

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use crate::error::{Error, Result, SqlState};

/// Deepest nesting of a check: a schema may refer to itself.
const DEPTH_MAX: usize = 200;
/// Most bytes of a compiled pattern.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Says nothing about whether a document is valid.
const ANNOTATIONS: [&str; 17] = [
    "$schema",
    "$id",
    "id",
    "$anchor",
    "$comment",
    "$defs",
    "definitions",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "format",
    "contentEncoding",
    "contentMediaType",
];

pub(super) struct Schema {
    root: Value,
    /// Every `pattern` of the schema.
    patterns: HashMap<String, Regex>,
}

fn invalid(why: impl std::fmt::Display) -> Error {
    Error::new(SqlState::InvalidParameterValue, format!("invalid JSON schema: {why}"))
}

impl Schema {
    pub(super) fn new(root: Value) -> Result<Self> {
        let mut patterns = HashMap::new();
        collect_patterns(&root, 0, &mut patterns)?;
        Ok(Self { root, patterns })
    }

    pub(super) fn matches(&self, document: &Value) -> Result<bool> {
        self.accepts(&self.root, document, 0)
    }

    fn accepts(&self, schema: &Value, value: &Value, depth: usize) -> Result<bool> {
        if depth > DEPTH_MAX {
            return Err(Error::new(SqlState::StatementTooComplex, "a JSON schema or document is nested too deep"));
        }
        let object = match schema {
            Value::Bool(verdict) => return Ok(*verdict),
            Value::Object(object) => object,
            _ => return Err(invalid("a schema is an object or a boolean")),
        };
        for (keyword, wanted) in object {
            if !self.keyword(object, keyword, wanted, value, depth + 1)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn keyword(
        &self,
        schema: &Map<String, Value>,
        keyword: &str,
        wanted: &Value,
        value: &Value,
        depth: usize,
    ) -> Result<bool> {
        Ok(match keyword {
            "type" => types(wanted)?.iter().any(|name| is_of_type(value, name)),
            "enum" => list(keyword, wanted)?.iter().any(|one| equal(one, value)),
            "const" => equal(wanted, value),
            "$ref" => self.accepts(self.referred(wanted)?, value, depth)?,
            "not" => !self.accepts(wanted, value, depth)?,
            "allOf" => self.accepting(keyword, wanted, value, depth)? == list(keyword, wanted)?.len(),
            "anyOf" => self.accepting(keyword, wanted, value, depth)? > 0,
            "oneOf" => self.accepting(keyword, wanted, value, depth)? == 1,
            "if" => {
                let branch = if self.accepts(wanted, value, depth)? { "then" } else { "else" };
                schema.get(branch).map_or(Ok(true), |branch| self.accepts(branch, value, depth))?
            }
            // With "if", with "contains".
            "then" | "else" | "minContains" | "maxContains" => true,
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" => match value.as_f64() {
                Some(number) if value.is_number() => in_bounds(keyword, number, limit(keyword, wanted)?),
                _ => true,
            },
            "minLength" | "maxLength" | "pattern" => match value {
                Value::String(text) => self.text(keyword, wanted, text)?,
                _ => true,
            },
            "prefixItems" | "items" | "additionalItems" | "contains" | "minItems" | "maxItems" | "uniqueItems" => {
                match value {
                    Value::Array(items) => self.items(schema, keyword, wanted, items, depth)?,
                    _ => true,
                }
            }
            "properties"
            | "patternProperties"
            | "additionalProperties"
            | "propertyNames"
            | "required"
            | "minProperties"
            | "maxProperties"
            | "dependentRequired" => match value {
                Value::Object(members) => self.members(schema, keyword, wanted, members, depth)?,
                _ => true,
            },
            _ if ANNOTATIONS.contains(&keyword) => true,
            _ => return Err(Error::unsupported(format!("\"{keyword}\" in a JSON schema"))),
        })
    }

    /// How many schemas of a list accept the value.
    fn accepting(&self, keyword: &str, schemas: &Value, value: &Value, depth: usize) -> Result<usize> {
        let mut accepting = 0;
        for schema in list(keyword, schemas)? {
            accepting += usize::from(self.accepts(schema, value, depth)?);
        }
        Ok(accepting)
    }

    /// The part of this schema that `#/…` means.
    fn referred(&self, reference: &Value) -> Result<&Value> {
        let text = reference.as_str().unwrap_or_default();
        let pointer = text.strip_prefix('#').filter(|pointer| pointer.is_empty() || pointer.starts_with('/'));
        let pointer = pointer.ok_or_else(|| Error::unsupported(format!("\"$ref\": {reference} in a JSON schema")))?;
        self.root.pointer(pointer).ok_or_else(|| invalid(format!("{reference} leads nowhere")))
    }

    fn text(&self, keyword: &str, wanted: &Value, text: &str) -> Result<bool> {
        Ok(match keyword {
            "minLength" => text.chars().count() as f64 >= limit(keyword, wanted)?,
            "maxLength" => text.chars().count() as f64 <= limit(keyword, wanted)?,
            _ => {
                wanted.as_str().and_then(|pattern| self.patterns.get(pattern)).is_none_or(|regex| regex.is_match(text))
            }
        })
    }

    fn items(
        &self,
        schema: &Map<String, Value>,
        keyword: &str,
        wanted: &Value,
        items: &[Value],
        depth: usize,
    ) -> Result<bool> {
        // Older drafts: "items" is a list, and "additionalItems" is for what comes behind it.
        let listed = |key: &str| schema.get(key).and_then(Value::as_array).map(Vec::len);
        let rest = |from: usize| -> Result<bool> {
            for item in items.iter().skip(from) {
                if !self.accepts(wanted, item, depth)? {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        match (keyword, wanted) {
            ("prefixItems", _) | ("items", Value::Array(_)) => {
                for (schema, item) in list(keyword, wanted)?.iter().zip(items) {
                    if !self.accepts(schema, item, depth)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            ("items", _) => rest(listed("prefixItems").unwrap_or(0)),
            ("additionalItems", _) => listed("items").map_or(Ok(true), rest),
            ("contains", _) => {
                let mut found = 0_usize;
                for item in items {
                    found += usize::from(self.accepts(wanted, item, depth)?);
                }
                let bound = |key: &str| schema.get(key).map(|wanted| limit(key, wanted)).transpose();
                let (least, most) = (bound("minContains")?.unwrap_or(1.0), bound("maxContains")?.unwrap_or(f64::MAX));
                Ok((least..=most).contains(&(found as f64)))
            }
            ("minItems", _) => Ok(items.len() as f64 >= limit(keyword, wanted)?),
            ("maxItems", _) => Ok(items.len() as f64 <= limit(keyword, wanted)?),
            _ => {
                let unique = || items.iter().enumerate().all(|(at, a)| !items.iter().skip(at + 1).any(|b| equal(a, b)));
                Ok(wanted != &Value::Bool(true) || unique())
            }
        }
    }

    fn members(
        &self,
        schema: &Map<String, Value>,
        keyword: &str,
        wanted: &Value,
        members: &Map<String, Value>,
        depth: usize,
    ) -> Result<bool> {
        let patterns = |object: &Value, name: &str| -> Vec<Value> {
            let pairs = object.as_object().into_iter().flatten();
            let matching = pairs.filter(|(pattern, _)| self.patterns.get(*pattern).is_some_and(|re| re.is_match(name)));
            matching.map(|(_, schema)| schema.clone()).collect()
        };
        let has = |name: &Value| name.as_str().is_some_and(|name| members.contains_key(name));
        match keyword {
            "required" => return Ok(list(keyword, wanted)?.iter().all(has)),
            "minProperties" => return Ok(members.len() as f64 >= limit(keyword, wanted)?),
            "maxProperties" => return Ok(members.len() as f64 <= limit(keyword, wanted)?),
            "dependentRequired" => {
                for (name, others) in wanted.as_object().ok_or_else(|| invalid("\"dependentRequired\""))? {
                    if members.contains_key(name) && !list(keyword, others)?.iter().all(has) {
                        return Ok(false);
                    }
                }
                return Ok(true);
            }
            _ => {}
        }
        for (name, value) in members {
            let accepted = match keyword {
                "properties" => wanted.get(name).map_or(Ok(true), |schema| self.accepts(schema, value, depth))?,
                "propertyNames" => self.accepts(wanted, &Value::String(name.clone()), depth)?,
                "patternProperties" => {
                    let mut all = true;
                    for schema in patterns(wanted, name) {
                        all = all && self.accepts(&schema, value, depth)?;
                    }
                    all
                }
                _ => {
                    let named = schema.get("properties").is_some_and(|named| named.get(name).is_some());
                    let matched =
                        schema.get("patternProperties").is_some_and(|named| !patterns(named, name).is_empty());
                    named || matched || self.accepts(wanted, value, depth)?
                }
            };
            if !accepted {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn collect_patterns(schema: &Value, depth: usize, found: &mut HashMap<String, Regex>) -> Result<()> {
    if depth > DEPTH_MAX {
        return Err(Error::new(SqlState::StatementTooComplex, "a JSON schema is nested too deep"));
    }
    let mut compile = |pattern: &str| -> Result<()> {
        if !found.contains_key(pattern) {
            let compiled = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build();
            let compiled = compiled.map_err(|_| {
                Error::new(SqlState::InvalidRegularExpression, format!("invalid regular expression: {pattern}"))
            })?;
            found.insert(pattern.to_owned(), compiled);
        }
        Ok(())
    };
    match schema {
        Value::Object(object) => {
            if let Some(Value::String(pattern)) = object.get("pattern") {
                compile(pattern)?;
            }
            if let Some(Value::Object(patterns)) = object.get("patternProperties") {
                patterns.keys().try_for_each(|pattern| compile(pattern))?;
            }
            object.values().try_for_each(|value| collect_patterns(value, depth + 1, found))
        }
        Value::Array(items) => items.iter().try_for_each(|item| collect_patterns(item, depth + 1, found)),
        _ => Ok(()),
    }
}

fn list<'s>(keyword: &str, value: &'s Value) -> Result<&'s Vec<Value>> {
    value.as_array().ok_or_else(|| invalid(format!("\"{keyword}\" is no array")))
}

fn limit(keyword: &str, value: &Value) -> Result<f64> {
    value.as_f64().ok_or_else(|| invalid(format!("\"{keyword}\" is no number")))
}

/// The names in "type".
fn types(value: &Value) -> Result<Vec<&str>> {
    const TYPES: [&str; 7] = ["null", "boolean", "integer", "number", "string", "array", "object"];
    let names = match value {
        Value::String(name) => vec![name.as_str()],
        Value::Array(names) => names.iter().map(|name| name.as_str().unwrap_or_default()).collect(),
        _ => return Err(invalid("\"type\" is no name")),
    };
    match names.iter().find(|name| !TYPES.contains(name)) {
        Some(stray) => Err(invalid(format!("there is no type \"{stray}\""))),
        None => Ok(names),
    }
}

/// 1.0 is an integer.
fn is_of_type(value: &Value, name: &str) -> bool {
    match value {
        Value::Null => name == "null",
        Value::Bool(_) => name == "boolean",
        Value::Number(number) => {
            let whole = || number.as_f64().is_some_and(|number| number.fract() == 0.0);
            name == "number" || name == "integer" && whole()
        }
        Value::String(_) => name == "string",
        Value::Array(_) => name == "array",
        Value::Object(_) => name == "object",
    }
}

fn in_bounds(keyword: &str, number: f64, limit: f64) -> bool {
    match keyword {
        "minimum" => number >= limit,
        "maximum" => number <= limit,
        "exclusiveMinimum" => number > limit,
        "exclusiveMaximum" => number < limit,
        // 0.3 is a multiple of 0.1: the quotient is taken as whole when it is one but for its rounding.
        _ => {
            let quotient = number / limit;
            (quotient - quotient.round()).abs() <= quotient.abs() * 4.0 * f64::EPSILON
        }
    }
}

/// Equality of JSON: numbers by value, objects in any order.
fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        _ => left == right,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schema: &str, valid: &[&str], not_valid: &[&str]) {
        let schema = Schema::new(serde_json::from_str(schema).unwrap()).unwrap();
        let accepts = |document: &str| schema.matches(&serde_json::from_str(document).unwrap()).unwrap();
        valid.iter().for_each(|document| assert!(accepts(document), "{document}"));
        not_valid.iter().for_each(|document| assert!(!accepts(document), "{document}"));
    }

    #[test]
    fn documents_are_checked() {
        check(r#"{"type": ["integer", "null"]}"#, &["1", "1.0", "null"], &["1.5", "\"1\"", "{}"]);
        check(
            r#"{"minimum": 1, "exclusiveMaximum": 3, "multipleOf": 0.1}"#,
            &["1", "2.9", "\"a\""],
            &["0", "3", "1.05"],
        );
        check(
            r#"{"minLength": 2, "maxLength": 3, "pattern": "^ä"}"#,
            &["\"äb\"", "1"],
            &["\"ä\"", "\"ab\"", "\"äbcd\""],
        );
        check(r#"{"enum": [1, "a", {"b": [1]}]}"#, &["1.0", "\"a\"", r#"{"b": [1]}"#], &["2", r#"{"b": []}"#]);
        check(
            r#"{"properties": {"a": {"type": "number"}}, "required": ["a"], "additionalProperties": false}"#,
            &[r#"{"a": 1}"#, "[]"],
            &["{}", r#"{"a": "x"}"#, r#"{"a": 1, "b": 2}"#],
        );
        check(
            r#"{"items": {"type": "string"}, "minItems": 1, "uniqueItems": true, "contains": {"const": "a"}}"#,
            &[r#"["a"]"#, r#"["b", "a"]"#],
            &["[]", "[1]", r#"["a", "a"]"#, r#"["b"]"#],
        );
        check(
            r#"{"prefixItems": [{"type": "string"}], "items": {"type": "number"}}"#,
            &[r#"["a", 1]"#],
            &[r#"["a", "b"]"#],
        );
        check(r#"{"oneOf": [{"minimum": 1}, {"maximum": 5}], "not": {"const": 9}}"#, &["0", "6"], &["3", "9"]);
        check(r#"{"if": {"const": 1}, "then": false, "else": {"type": "number"}}"#, &["2"], &["1", "\"a\""]);
        check(
            r##"{"$defs": {"tree": {"properties": {"next": {"$ref": "#/$defs/tree"}, "n": {"type": "integer"}}}}, "$ref": "#/$defs/tree"}"##,
            &[r#"{"n": 1, "next": {"n": 2}}"#],
            &[r#"{"n": 1, "next": {"n": "x"}}"#],
        );
        check(
            r#"{"patternProperties": {"^x": {"type": "number"}}, "propertyNames": {"maxLength": 2}}"#,
            &[r#"{"x1": 1}"#],
            &[r#"{"xa": "1"}"#, r#"{"abc": 1}"#],
        );
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let refused = |schema: &str| {
            let schema = Schema::new(serde_json::from_str(schema).unwrap()).unwrap();
            schema.matches(&Value::Null).unwrap_err().sqlstate()
        };
        assert_eq!(refused(r#"{"unevaluatedItems": false}"#), SqlState::FeatureNotSupported);
        assert_eq!(refused(r#"{"$ref": "http://example.com"}"#), SqlState::FeatureNotSupported);
        assert_eq!(refused(r#"{"type": "text"}"#), SqlState::InvalidParameterValue);
        assert_eq!(refused(r##"{"$ref": "#"}"##), SqlState::StatementTooComplex);
    }
}
