//! Prepared statements and cursors.

use super::data_type::pg_type;
use super::grammar::Grammar;
use super::statement::{Declare, Discard, ExecutePrepared, Fetch, FetchDirection, Name, Parsed, Prepare, Statement};
use super::token::Kind;
use crate::error::{Error, Result, SqlState};

impl Grammar<'_> {
    pub fn prepare(&mut self) -> Result<Statement> {
        self.expect("prepare")?;
        if self.is("transaction") {
            return self.unsupported("PREPARE TRANSACTION");
        }
        let name = self.name()?;
        let mut types = Vec::new();
        if self.is_operator("(") {
            types = self.parenthesized(|grammar| {
                let position = grammar.token().position;
                let data_type = grammar.data_type()?;
                pg_type(&data_type, grammar.source).map_err(|error| error.at(position))
            })?;
        }
        self.expect("as")?;
        let first = self.token();
        let statement = match self.statement()? {
            Some(
                statement @ (Statement::Query(_)
                | Statement::Insert(_)
                | Statement::Update(_)
                | Statement::Delete(_)
                | Statement::Merge(_)),
            ) => statement,
            Some(_) => return Err(self.syntax_at(first)),
            None => return self.refused(first),
        };
        let statement = Parsed {
            statement,
            text: self.text_from(first),
            offset: first.position.saturating_sub(1),
            source: self.source.into(),
        };
        Ok(Statement::Prepare(Box::new(Prepare { name, types, statement })))
    }

    pub fn execute(&mut self) -> Result<Statement> {
        self.expect("execute")?;
        let name = self.name()?;
        let arguments = if self.is_operator("(") { self.parenthesized(Self::expression)? } else { Vec::new() };
        Ok(Statement::Execute(ExecutePrepared { name, arguments }))
    }

    pub fn deallocate(&mut self) -> Result<Statement> {
        self.expect("deallocate")?;
        self.accept("prepare");
        let name = if self.accept("all") { None } else { Some(self.name()?) };
        Ok(Statement::Deallocate(name))
    }

    pub fn discard(&mut self) -> Result<Statement> {
        self.expect("discard")?;
        match self.one_of(&["all", "plans", "sequences", "temp", "temporary"]) {
            Some("all") => Ok(Statement::Discard(Discard::All)),
            Some("plans") => Ok(Statement::Discard(Discard::Plans)),
            Some("sequences") => Ok(Statement::Discard(Discard::Sequences)),
            Some(_) => Ok(Statement::Discard(Discard::Temp)),
            None => self.syntax(),
        }
    }

    pub fn unlisten(&mut self) -> Result<Statement> {
        self.expect("unlisten")?;
        if !self.accept_operator("*") {
            self.name()?;
        }
        Ok(Statement::Unlisten)
    }

    pub fn declare(&mut self) -> Result<Statement> {
        self.expect("declare")?;
        let name = self.name()?;
        let (mut binary, mut scroll) = (false, None);
        loop {
            match self.one_of(&["binary", "insensitive", "asensitive", "scroll", "no"]) {
                Some("binary") => binary = true,
                Some("scroll") => scroll = Some(true),
                Some("no") => {
                    self.expect("scroll")?;
                    scroll = Some(false);
                }
                Some(_) => {}
                None => break,
            }
        }
        self.expect("cursor")?;
        let hold = match self.one_of(&["with", "without"]) {
            Some(word) => {
                self.expect("hold")?;
                word == "with"
            }
            None => false,
        };
        self.expect("for")?;
        if !self.starts_query() {
            return self.syntax();
        }
        let query = Box::new(self.query()?);
        Ok(Statement::Declare(Box::new(Declare { name, binary, scroll, hold, query })))
    }

    pub fn fetch(&mut self) -> Result<Statement> {
        let moves = self.advance().value == "move";
        let direction = self.direction()?;
        self.one_of(&["from", "in"]);
        let cursor: Name = self.name()?;
        Ok(Statement::Fetch(Fetch { cursor, direction, moves }))
    }

    fn direction(&mut self) -> Result<FetchDirection> {
        if self.direction_is_cursor() {
            return Ok(FetchDirection::Forward(1));
        }
        let words = ["next", "prior", "first", "last", "absolute", "relative", "all", "forward", "backward"];
        match self.one_of(&words) {
            Some("next") => Ok(FetchDirection::Forward(1)),
            Some("prior") => Ok(FetchDirection::Backward(1)),
            Some("first") => Ok(FetchDirection::Absolute(1)),
            Some("last") => Ok(FetchDirection::Absolute(-1)),
            Some("absolute") => Ok(FetchDirection::Absolute(i64::from(self.signed_integer()?))),
            Some("relative") => Ok(FetchDirection::Relative(i64::from(self.signed_integer()?))),
            Some("all") => Ok(FetchDirection::ForwardAll),
            Some(word) => self.counted(word == "forward"),
            None if self.counts() => self.counted(true),
            None => Ok(FetchDirection::Forward(1)),
        }
    }

    /// `FETCH next;`: the word is the cursor's name when nothing follows it.
    fn direction_is_cursor(&self) -> bool {
        matches!(self.token().kind, Kind::Word(_) | Kind::Quoted)
            && !self.is("all")
            && (matches!(self.ahead(1).kind, Kind::End) || self.is_operator_ahead(1, ";"))
    }

    fn counts(&self) -> bool {
        matches!(self.token().kind, Kind::Number) || self.is_operator("-") || self.is_operator("+")
    }

    /// A count after FORWARD or BACKWARD; a negative one turns round.
    fn counted(&mut self, forward: bool) -> Result<FetchDirection> {
        if self.accept("all") {
            return Ok(if forward { FetchDirection::ForwardAll } else { FetchDirection::BackwardAll });
        }
        let count = if self.counts() { i64::from(self.signed_integer()?) } else { 1 };
        let size = count.unsigned_abs();
        Ok(if forward == (count >= 0) { FetchDirection::Forward(size) } else { FetchDirection::Backward(size) })
    }

    pub fn close_statement(&mut self) -> Result<Statement> {
        self.expect("close")?;
        let name = if self.accept("all") { None } else { Some(self.name()?) };
        if !self.at_end() {
            return self.syntax();
        }
        Ok(Statement::Close(name))
    }

    /// A role's name; the words that stand for the current role have no meaning in a definition.
    /// A role, or the word for the one that is there.
    pub fn role_spec(&mut self) -> Result<Name> {
        if self.is_any(&["current_user", "session_user", "current_role"]) {
            let token = self.advance();
            return Ok(Name { value: token.value.clone(), position: token.position });
        }
        self.role_name()
    }

    pub fn role_name(&mut self) -> Result<Name> {
        if self.is_any(&["current_user", "session_user", "current_role"]) {
            return self.unsupported(&self.token().value.to_ascii_uppercase());
        }
        let token = self.token();
        let ident = self.non_reserved_word()?;
        let value = super::grammar::fold(&ident);
        if ident.quote_style.is_none() && (value == "public" || value == "none") {
            let message = format!("role name \"{value}\" is reserved");
            return Err(Error::new(SqlState::ReservedName, message).at(token.position));
        }
        Ok(Name { value, position: token.position })
    }
}
