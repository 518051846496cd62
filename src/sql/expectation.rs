//! Rules of data quality: `CONSTRAINT … EXPECT (…)`, and the clauses that they share with CREATE EXPECTATION.

use sqlparser::ast;

use super::grammar::Grammar;
use super::statement::Name;
use super::token::Kind;
use crate::error::{Error, Result, SqlState};
use crate::quality::{ExpectationOptions, ExpectationSeverity, ViolationAction};

/// The names of WITH (…), for the error of an unknown one.
const OPTIONS: &str = "mostly, severity, ignore_nulls, description";

/// A row rule in CREATE TABLE or ALTER TABLE.
#[derive(Debug, Clone)]
pub struct RowExpectation {
    pub name: Name,
    pub expression: Box<ast::Expr>,
    /// As the user wrote it.
    pub text: String,
    pub action: ViolationAction,
    pub options: ExpectationOptions,
}

impl Grammar<'_> {
    /// `EXPECT (condition) [ON VIOLATION …] [WITH (…)]`, after its name.
    pub fn row_expectation(&mut self, name: Option<Name>) -> Result<RowExpectation> {
        let token = self.token();
        let Some(name) = name else {
            let message = "an expectation needs a name";
            return Err(Error::new(SqlState::SyntaxError, message)
                .at(token.position)
                .with_hint("Write CONSTRAINT name EXPECT (condition)."));
        };
        self.expect("expect")?;
        self.open()?;
        let first = self.token();
        let expression = Box::new(self.expression()?);
        let text = self.text_from(first);
        self.close()?;
        let action = self.on_violation()?.map_or(ViolationAction::Warn, |(action, _)| action);
        let options = self.expectation_options()?;
        Ok(RowExpectation { name, expression, text, action, options })
    }

    /// `ON VIOLATION WARN | DROP ROW | QUARANTINE ROW | FAIL [UPDATE]` and its position, if it is there.
    pub fn on_violation(&mut self) -> Result<Option<(ViolationAction, u32)>> {
        if !(self.is("on") && self.is_ahead(1, "violation")) {
            return Ok(None);
        }
        self.expect_all(&["on", "violation"])?;
        let position = self.token().position;
        let action = match self.one_of(&["warn", "drop", "quarantine", "fail"]) {
            Some("warn") => ViolationAction::Warn,
            Some("fail") => {
                // Databricks' words.
                self.accept("update");
                ViolationAction::Fail
            }
            Some(word) => {
                self.expect("row")?;
                if word == "drop" { ViolationAction::DropRow } else { ViolationAction::QuarantineRow }
            }
            None => return self.syntax(),
        };
        Ok(Some((action, position)))
    }

    /// `[WITH (mostly = 0.99, …)]`.
    pub fn expectation_options(&mut self) -> Result<ExpectationOptions> {
        let mut options = ExpectationOptions::default();
        if !(self.is("with") && self.is_operator_ahead(1, "(")) {
            return Ok(options);
        }
        self.expect("with")?;
        let mut seen: Vec<String> = Vec::new();
        self.parenthesized(|grammar| {
            let token = grammar.token();
            let (key, value) = grammar.property()?;
            if seen.contains(&key) {
                let message = format!("parameter \"{key}\" specified more than once");
                return Err(Error::new(SqlState::InvalidParameterValue, message).at(token.position));
            }
            set_option(&mut options, &key, value).map_err(|error| error.at(token.position))?;
            seen.push(key);
            Ok(())
        })?;
        Ok(options)
    }

    /// Whether a constraint of this kind comes: EXPECT is no reserved word.
    pub fn at_expectation(&self) -> bool {
        self.is("expect") && self.is_operator_ahead(1, "(") && matches!(self.token().kind, Kind::Word(_))
    }
}

fn set_option(options: &mut ExpectationOptions, key: &str, value: String) -> Result<()> {
    let wrong = |wanted: &str| {
        let message = format!("invalid value for parameter \"{key}\": \"{value}\"");
        Error::new(SqlState::InvalidParameterValue, message).with_detail(format!("Valid values are {wanted}."))
    };
    match key {
        "mostly" => {
            let share: f64 = value.parse().map_err(|_| wanted_share(&wrong))?;
            if !(0.0..=1.0).contains(&share) {
                return Err(wanted_share(&wrong));
            }
            options.mostly = Some(share);
        }
        "severity" => {
            let words = ExpectationSeverity::ALL.map(ExpectationSeverity::word);
            let known = ExpectationSeverity::ALL.into_iter().find(|one| one.word().eq_ignore_ascii_case(&value));
            options.severity = known.ok_or_else(|| wrong(&words.map(|word| format!("'{word}'")).join(", ")))?;
        }
        "ignore_nulls" => {
            options.ignore_nulls = match value.to_ascii_lowercase().as_str() {
                "true" | "on" | "1" => true,
                "false" | "off" | "0" => false,
                _ => return Err(wrong("true and false")),
            };
        }
        "description" => options.description = Some(value),
        _ => {
            let message = format!("unrecognized parameter \"{key}\"");
            return Err(Error::new(SqlState::InvalidParameterValue, message)
                .with_hint(format!("Valid parameters of an expectation are {OPTIONS}.")));
        }
    }
    Ok(())
}

fn wanted_share(wrong: &impl Fn(&str) -> Error) -> Error {
    wrong("numbers from 0 to 1")
}
