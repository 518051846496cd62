//! SET, SHOW and RESET, and the spellings of the SQL standard that are settings too.

use super::grammar::{Grammar, fold};
use super::statement::{Name, Set, Show, Statement};
use super::token::Kind;
use crate::error::{Error, Result, SqlState};

/// Settings whose value is a list of names: PostgreSQL quotes each of them as an identifier.
const NAME_LISTS: [&str; 4] =
    ["search_path", "temp_tablespaces", "session_preload_libraries", "local_preload_libraries"];

impl Grammar<'_> {
    pub fn set(&mut self) -> Result<Statement> {
        self.expect("set")?;
        if self.is("transaction") {
            return self.set_transaction(false);
        }
        if self.take(&["session", "characteristics"]) {
            self.expect("as")?;
            return self.set_transaction(true);
        }
        if self.is("constraints") {
            return self.unsupported("SET CONSTRAINTS");
        }
        let mut local = false;
        if !self.is_ahead(1, "to") && !self.is_operator_ahead(1, "=") && !self.are(&["session", "authorization"]) {
            local = self.one_of(&["local", "session"]) == Some("local");
        }
        let position = self.token().position;
        let named = |value: &str| Name { value: value.to_owned(), position };
        let set = if self.take(&["time", "zone"]) {
            Set { name: named("timezone"), value: self.zone()?, local }
        } else if self.accept("names") {
            Set { name: named("client_encoding"), value: self.optional_text()?, local }
        } else if self.is("schema") && matches!(self.ahead(1).kind, Kind::Text) {
            self.advance();
            Set { name: named("search_path"), value: Some(quote_name(&self.string()?)), local }
        } else if self.is("role") && !self.is_ahead(1, "to") && !self.is_operator_ahead(1, "=") {
            self.advance();
            Set { name: named("role"), value: Some(self.word_or_text()?), local }
        } else if self.take(&["session", "authorization"]) {
            let value = if self.accept("default") { None } else { Some(self.word_or_text()?) };
            Set { name: named("session_authorization"), value, local }
        } else {
            self.set_named(local)?
        };
        Ok(Statement::Set(set))
    }

    fn set_transaction(&mut self, session: bool) -> Result<Statement> {
        self.expect("transaction")?;
        if self.is("snapshot") {
            return self.unsupported("SET TRANSACTION SNAPSHOT");
        }
        if self.at_end() {
            return self.syntax();
        }
        Ok(Statement::SetTransaction { session, modes: self.transaction_modes()? })
    }

    /// `name` or `class.name`, folded.
    fn setting_name(&mut self) -> Result<Name> {
        let position = self.token().position;
        let value = self.dotted()?.iter().map(fold).collect::<Vec<_>>().join(".");
        Ok(Name { value, position })
    }

    fn set_named(&mut self, local: bool) -> Result<Set> {
        let name = self.setting_name()?;
        if self.take(&["from", "current"]) {
            return Err(Error::unsupported("SET … FROM CURRENT").at(name.position));
        }
        // pgjdbc and Metabase write SET SESSION TIMEZONE TO and so get here.
        if !self.accept("to") {
            self.expect_operator("=")?;
        }
        if self.accept("default") {
            return Ok(Set { name, value: None, local });
        }
        let quoted = NAME_LISTS.contains(&name.value.as_str());
        let values = self.list(|grammar| grammar.set_value(quoted))?;
        Ok(Set { name, value: Some(values.join(", ")), local })
    }

    fn set_value(&mut self, quoted: bool) -> Result<String> {
        let token = self.token();
        let sign = if self.accept_operator("-") {
            "-"
        } else {
            self.accept_operator("+");
            ""
        };
        let signed = self.last().start == token.start && self.token().start != token.start;
        match self.token().kind {
            Kind::Number => Ok(format!("{sign}{}", self.advance().value)),
            _ if signed => self.syntax(),
            Kind::Word(_) if self.is_any(&["true", "false", "on"]) => Ok(self.advance().value.clone()),
            Kind::Text | Kind::Word(_) | Kind::Quoted => {
                let text = self.word_or_text()?;
                Ok(if quoted { quote_name(&text) } else { text })
            }
            Kind::Bits | Kind::Parameter | Kind::Operator | Kind::Bad(_) | Kind::End => self.syntax(),
        }
    }

    pub fn word_or_text(&mut self) -> Result<String> {
        if self.is_string() { self.string() } else { Ok(fold(&self.non_reserved_word()?)) }
    }

    fn optional_text(&mut self) -> Result<Option<String>> {
        if self.accept("default") || self.at_end() {
            return Ok(None);
        }
        self.string().map(Some)
    }

    /// After TIME ZONE: a name, hours, an interval, LOCAL or DEFAULT.
    fn zone(&mut self) -> Result<Option<String>> {
        if self.one_of(&["local", "default"]).is_some() {
            return Ok(None);
        }
        if self.accept("interval") {
            let text = self.string()?.replace('\'', "''");
            let position = self.token().position;
            let fields = match self.interval_fields()? {
                None => "",
                Some(("hour", None, _)) => " HOUR",
                Some(("hour", Some("minute"), _)) => " HOUR TO MINUTE",
                Some(_) => {
                    let message = "time zone interval must be HOUR or HOUR TO MINUTE";
                    return Err(Error::new(SqlState::SyntaxError, message).at(position));
                }
            };
            return Ok(Some(format!("INTERVAL '{text}'{fields}")));
        }
        if matches!(self.token().kind, Kind::Number) || self.is_operator("-") || self.is_operator("+") {
            return self.set_value(false).map(Some);
        }
        self.word_or_text().map(Some)
    }

    /// A setting by its name or by its standard spelling; `None` is ALL.
    fn setting(&mut self) -> Result<Option<Name>> {
        let position = self.token().position;
        let named = |value: &str| Ok(Some(Name { value: value.to_owned(), position }));
        if self.accept("all") {
            Ok(None)
        } else if self.take(&["time", "zone"]) {
            named("timezone")
        } else if self.take(&["transaction", "isolation", "level"]) {
            named("transaction_isolation")
        } else if self.take(&["session", "authorization"]) {
            named("session_authorization")
        } else {
            self.setting_name().map(Some)
        }
    }

    pub fn show(&mut self) -> Result<Statement> {
        self.expect("show")?;
        if let Some(objects) = self.show_objects()? {
            return Ok(objects);
        }
        Ok(Statement::Show(self.setting()?.map_or(Show::All, Show::Setting)))
    }

    pub fn reset_statement(&mut self) -> Result<Statement> {
        self.expect("reset")?;
        Ok(Statement::Reset(self.setting()?))
    }
}

/// PostgreSQL's quote_identifier.
fn quote_name(name: &str) -> String {
    let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && super::keywords::class_of(name) == super::keywords::Class::Plain;
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}
