//! The cursor over the tokens that all rules of the grammar share: looking, taking, names, and PostgreSQL's syntax errors.

use std::cell::OnceCell;

use sqlparser::ast::{Ident, ObjectName};
use sqlparser::tokenizer::TokenWithSpan;

use super::keywords::Class;
use super::stack::{DEPTH_MAX, with_room};
use super::statement::{Name, QualifiedName};
use super::token::{Kind, Token};
use crate::error::{Error, Result, SqlState};

pub(crate) struct Grammar<'a> {
    pub source: &'a str,
    tokens: &'a [Token],
    end: &'a Token,
    next: usize,
    depth: u32,
    /// Where each parenthesis closes, once something asks.
    closes: OnceCell<Vec<u32>>,
    /// Whether an expression may be DEFAULT: in the VALUES of an INSERT.
    pub defaults: bool,
    /// SELECT INTO: allowed in the statement's own SELECT only.
    pub into: Into,
}

/// The target of SELECT … INTO.
#[derive(Debug, Default)]
pub(crate) enum Into {
    #[default]
    Refused,
    /// The levels around the SELECT that may have one.
    AllowedAt(u32),
    Table(QualifiedName),
}

pub(crate) fn too_deep() -> Error {
    Error::new(SqlState::StatementTooComplex, "stack depth limit exceeded")
}

/// For each opening parenthesis the index of its closing one, 0 for every other token.
fn matching(tokens: &[Token]) -> Vec<u32> {
    let mut closes = vec![0; tokens.len()];
    let mut open = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match (&token.kind, token.value.as_str()) {
            (Kind::Operator, "(") => open.push(at),
            (Kind::Operator, ")") => {
                if let Some(place) = open.pop().and_then(|from| closes.get_mut(from)) {
                    *place = u32::try_from(at).unwrap_or(0);
                }
            }
            _ => {}
        }
    }
    closes
}

impl<'a> Grammar<'a> {
    /// `None` for no tokens at all, which `scan` never gives.
    pub fn new(source: &'a str, tokens: &'a [Token]) -> Option<Self> {
        Some(Self {
            source,
            tokens,
            end: tokens.last()?,
            next: 0,
            depth: 0,
            closes: OnceCell::new(),
            defaults: false,
            into: Into::Refused,
        })
    }

    pub fn token(&self) -> &'a Token {
        self.ahead(0)
    }

    pub fn ahead(&self, count: usize) -> &'a Token {
        self.tokens.get(self.next + count).unwrap_or(self.end)
    }

    /// The token before the cursor.
    pub fn last(&self) -> &'a Token {
        self.next.checked_sub(1).and_then(|index| self.tokens.get(index)).unwrap_or(self.end)
    }

    pub fn advance(&mut self) -> &'a Token {
        let token = self.token();
        self.next = (self.next + 1).min(self.tokens.len());
        token
    }

    pub fn mark(&self) -> usize {
        self.next
    }

    pub fn reset(&mut self, mark: usize) {
        self.next = mark;
    }

    /// The index, as [`mark`](Self::mark) counts, of the token that closes the parenthesis at `open`.
    pub fn closing(&self, open: usize) -> Option<usize> {
        let closes = self.closes.get_or_init(|| matching(self.tokens));
        closes.get(open).map(|close| *close as usize).filter(|close| *close > open)
    }

    /// The source from a token to the last one taken.
    pub fn text_from(&self, first: &Token) -> String {
        self.source.get(first.start..self.last().end).unwrap_or_default().to_owned()
    }

    /// Runs a rule one level deeper.
    pub fn deeper<T>(&mut self, rule: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= DEPTH_MAX {
            return Err(too_deep());
        }
        self.depth += 1;
        let result = with_room(|| rule(self));
        self.depth -= 1;
        result
    }

    /// Whether INTO may follow the SELECT list here.
    pub fn may_select_into(&self) -> bool {
        matches!(self.into, Into::AllowedAt(depth) if depth == self.depth)
    }

    /// Only the first SELECT of set operations may have INTO.
    pub fn close_select_into(&mut self) {
        if self.may_select_into() {
            self.into = Into::Refused;
        }
    }

    /// Allows INTO in the query that comes next.
    pub fn allow_select_into(&mut self) {
        self.into = Into::AllowedAt(self.depth + 1);
    }

    // Errors.

    /// `syntax error at or near` the next token.
    pub fn syntax<T>(&self) -> Result<T> {
        Err(self.syntax_at(self.token()))
    }

    pub fn syntax_at(&self, token: &Token) -> Error {
        match &token.kind {
            Kind::Bad(error) => (**error).clone(),
            Kind::End => Error::new(SqlState::SyntaxError, "syntax error at end of input").at(token.position),
            _ => {
                let text = self.source.get(token.start..token.end).unwrap_or_default();
                Error::new(SqlState::SyntaxError, format!("syntax error at or near \"{text}\"")).at(token.position)
            }
        }
    }

    /// 0A000 at the next token, unless that cannot be read.
    pub fn unsupported<T>(&self, what: &str) -> Result<T> {
        Err(self.unsupported_at(what, self.token()))
    }

    pub fn unsupported_at(&self, what: &str, token: &Token) -> Error {
        Error::unsupported(what).at(token.position)
    }

    // Words and operators.

    pub fn is(&self, word: &str) -> bool {
        self.is_ahead(0, word)
    }

    pub fn is_ahead(&self, count: usize, word: &str) -> bool {
        let token = self.ahead(count);
        matches!(token.kind, Kind::Word(_)) && token.value == word
    }

    pub fn is_any(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(word))
    }

    /// Whether the next tokens are these words.
    pub fn are(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(count, word)| self.is_ahead(count, word))
    }

    /// Takes the words if they all come next.
    pub fn take(&mut self, words: &[&str]) -> bool {
        let found = self.are(words);
        if found {
            self.next += words.len();
        }
        found
    }

    pub fn accept(&mut self, word: &str) -> bool {
        self.take(&[word])
    }

    pub fn expect(&mut self, word: &str) -> Result<()> {
        if self.accept(word) { Ok(()) } else { self.syntax() }
    }

    /// Takes the words one by one, so that the error is at the first wrong one.
    pub fn expect_all(&mut self, words: &[&str]) -> Result<()> {
        words.iter().try_for_each(|word| self.expect(word))
    }

    /// Takes one of the words and answers which.
    pub fn one_of<'w>(&mut self, words: &[&'w str]) -> Option<&'w str> {
        let found = words.iter().copied().find(|word| self.is(word))?;
        self.advance();
        Some(found)
    }

    pub fn is_operator(&self, text: &str) -> bool {
        self.is_operator_ahead(0, text)
    }

    pub fn is_operator_ahead(&self, count: usize, text: &str) -> bool {
        let token = self.ahead(count);
        matches!(token.kind, Kind::Operator) && token.value == text
    }

    pub fn accept_operator(&mut self, text: &str) -> bool {
        let found = self.is_operator(text);
        if found {
            self.advance();
        }
        found
    }

    pub fn expect_operator(&mut self, text: &str) -> Result<()> {
        if self.accept_operator(text) { Ok(()) } else { self.syntax() }
    }

    pub fn open(&mut self) -> Result<()> {
        self.expect_operator("(")
    }

    pub fn close(&mut self) -> Result<()> {
        self.expect_operator(")")
    }

    pub fn at_end(&self) -> bool {
        matches!(self.token().kind, Kind::End) || self.is_operator(";")
    }

    /// One or more of a rule with commas between.
    pub fn list<T>(&mut self, mut rule: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = vec![rule(self)?];
        while self.accept_operator(",") {
            items.push(rule(self)?);
        }
        Ok(items)
    }

    pub fn parenthesized<T>(&mut self, rule: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        self.open()?;
        let items = self.list(rule)?;
        self.close()?;
        Ok(items)
    }

    // Names.

    pub fn ident_of(&self, token: &Token) -> Ident {
        match token.kind {
            Kind::Quoted => Ident { value: token.value.clone(), quote_style: Some('"'), span: token.span },
            _ => {
                let text = self.source.get(token.start..token.end).unwrap_or_default();
                Ident { value: text.to_owned(), quote_style: None, span: token.span }
            }
        }
    }

    fn name_where(&mut self, accept: impl Fn(Class) -> bool) -> Result<Ident> {
        let token = self.token();
        let taken = match token.kind {
            Kind::Quoted => true,
            Kind::Word(class) => accept(class),
            _ => false,
        };
        if !taken {
            return self.syntax();
        }
        self.advance();
        Ok(self.ident_of(token))
    }

    /// PostgreSQL's ColId: what names a column, a table, an alias.
    pub fn column_name(&mut self) -> Result<Ident> {
        self.name_where(|class| !matches!(class, Class::Reserved | Class::FunctionOrType))
    }

    pub fn is_column_name(&self) -> bool {
        match self.token().kind {
            Kind::Quoted => true,
            Kind::Word(class) => !matches!(class, Class::Reserved | Class::FunctionOrType),
            _ => false,
        }
    }

    /// PostgreSQL's ColLabel: any word.
    pub fn label(&mut self) -> Result<Ident> {
        self.name_where(|_| true)
    }

    /// PostgreSQL's type_function_name.
    pub fn function_or_type_name(&mut self) -> Result<Ident> {
        self.name_where(|class| !matches!(class, Class::Reserved | Class::ColumnName))
    }

    /// PostgreSQL's NonReservedWord.
    pub fn non_reserved_word(&mut self) -> Result<Ident> {
        self.name_where(|class| class != Class::Reserved)
    }

    pub fn name(&mut self) -> Result<Name> {
        let token = self.token();
        let ident = self.column_name()?;
        Ok(Name { value: fold(&ident), position: token.position })
    }

    pub fn dotted(&mut self) -> Result<Vec<Ident>> {
        let mut parts = vec![self.column_name()?];
        while self.accept_operator(".") {
            parts.push(self.label()?);
        }
        Ok(parts)
    }

    pub fn object_name(&mut self) -> Result<ObjectName> {
        Ok(ObjectName::from(self.dotted()?))
    }

    pub fn qualified_name(&mut self) -> Result<QualifiedName> {
        let first = self.token();
        let parts = self.dotted()?;
        let mut folded = parts.iter().map(fold).rev();
        let (name, schema, database) = (folded.next(), folded.next(), folded.next());
        if parts.len() > 3 {
            let text = parts.iter().map(fold).collect::<Vec<_>>().join(".");
            let message = format!("improper qualified name (too many dotted names): {text}");
            return Err(Error::new(SqlState::SyntaxError, message).at(first.position));
        }
        Ok(QualifiedName { database, schema, name: name.unwrap_or_default(), position: first.position })
    }

    pub fn string(&mut self) -> Result<String> {
        if !matches!(self.token().kind, Kind::Text) {
            return self.syntax();
        }
        Ok(self.advance().value.clone())
    }

    pub fn is_string(&self) -> bool {
        matches!(self.token().kind, Kind::Text)
    }

    /// An unsigned integer constant that fits `i32`, as PostgreSQL's ICONST.
    pub fn integer(&mut self) -> Result<i32> {
        let token = self.token();
        match token.value.parse::<i32>() {
            Ok(number) if matches!(token.kind, Kind::Number) => {
                self.advance();
                Ok(number)
            }
            _ => self.syntax(),
        }
    }

    /// PostgreSQL's SignedIconst.
    pub fn signed_integer(&mut self) -> Result<i32> {
        let negative = self.accept_operator("-");
        if !negative {
            self.accept_operator("+");
        }
        let number = self.integer()?;
        Ok(if negative { -number } else { number })
    }

    pub fn attached(&self, token: &Token) -> sqlparser::ast::helpers::attached_token::AttachedToken {
        let word = sqlparser::tokenizer::Token::make_word(&token.value, None);
        sqlparser::ast::helpers::attached_token::AttachedToken(TokenWithSpan { token: word, span: token.span })
    }
}

/// The name that an identifier means: folded unless quoted, cut to 63 bytes.
pub fn fold(ident: &Ident) -> String {
    let value = match ident.quote_style {
        None => ident.value.to_ascii_lowercase(),
        Some(_) => ident.value.clone(),
    };
    super::scan::truncated(value)
}
