//! CREATE, ALTER, DROP, EXPORT and IMPORT MODEL, and the arguments `MODEL m` and `TABLE t` of the functions in `ml`.

use sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, FunctionArgOperator, Ident, Query, SetExpr};

use super::alter::StoredExpression;
use super::grammar::{Grammar, fold};
use super::statement::{Name, QualifiedName, Statement};
use super::token::Kind;
use crate::error::{Error, Result, SqlState};

/// A statement about models.
#[derive(Debug, Clone)]
pub enum Modelling {
    Create(Box<CreateModel>),
    Alter(AlterModel),
    Drop(DropModel),
    Grant(GrantModels),
    Export(ExportModel),
    Import(ImportModel),
}

/// CREATE MODEL m [TRANSFORM (…)] OPTIONS (…) AS query.
#[derive(Debug, Clone)]
pub struct CreateModel {
    pub name: QualifiedName,
    pub or_replace: bool,
    pub if_not_exists: bool,
    /// What the columns of the query become before they are learned from; empty: nothing.
    pub transform: Vec<Transformed>,
    pub options: Vec<ModelOption>,
    pub query: Box<Query>,
    /// The text of the query as the user wrote it.
    pub query_text: String,
}

/// `expression AS name` in TRANSFORM; a column alone keeps its name.
#[derive(Debug, Clone)]
pub struct Transformed {
    pub name: Name,
    pub expression: StoredExpression,
}

/// `name = value` in OPTIONS.
#[derive(Debug, Clone)]
pub struct ModelOption {
    /// In lower case.
    pub name: Name,
    pub value: OptionValue,
    /// Where the value stands.
    pub position: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub enum OptionValue {
    Text(String),
    /// As it is written, with its sign.
    Number(String),
    Boolean(bool),
    List(Vec<OptionValue>),
    /// `HPARAM_RANGE(low, high)`.
    Range(String, String),
    /// `HPARAM_CANDIDATES([…])`.
    Candidates(Vec<OptionValue>),
}

#[derive(Debug, Clone)]
pub struct AlterModel {
    pub name: QualifiedName,
    pub if_exists: bool,
    pub change: ModelChange,
}

#[derive(Debug, Clone)]
pub enum ModelChange {
    /// SET DEFAULT VERSION n, with its position.
    DefaultVersion(u64, u32),
    RenameTo(Name),
    OwnerTo(Name),
    SetSchema(Name),
}

#[derive(Debug, Clone)]
pub struct DropModel {
    pub name: QualifiedName,
    pub if_exists: bool,
    /// One version only, with its position.
    pub version: Option<(u64, u32)>,
    pub cascade: bool,
}

/// GRANT EXECUTE ON MODEL m TO role, or REVOKE … FROM.
#[derive(Debug, Clone)]
pub struct GrantModels {
    pub revokes: bool,
    pub models: Vec<QualifiedName>,
    /// `None`: PUBLIC.
    pub roles: Vec<Option<Name>>,
}

/// EXPORT MODEL m [VERSION n] TO '…' [WITH (format = …)].
#[derive(Debug, Clone)]
pub struct ExportModel {
    pub name: QualifiedName,
    pub version: Option<(u64, u32)>,
    pub location: String,
    /// Of the location.
    pub position: u32,
    pub options: Vec<ModelOption>,
}

/// IMPORT [OR REPLACE] MODEL m FROM '…'.
#[derive(Debug, Clone)]
pub struct ImportModel {
    pub name: QualifiedName,
    pub or_replace: bool,
    pub location: String,
    pub position: u32,
}

impl Modelling {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Create(_) => "create_model",
            Self::Alter(_) => "alter_model",
            Self::Drop(_) => "drop_model",
            Self::Grant(grant) if grant.revokes => "revoke",
            Self::Grant(_) => "grant",
            Self::Export(_) => "export_model",
            Self::Import(_) => "import_model",
        }
    }
}

/// The word that marks `MODEL m` among arguments; the operator `Colon` is never written.
const MODEL_ARGUMENT: &str = "MODEL";

/// The model that an argument `MODEL m` names, as its parts are written.
pub fn model_argument(argument: &FunctionArg) -> Option<&[Ident]> {
    match argument {
        FunctionArg::ExprNamed {
            name: Expr::Identifier(name),
            arg: FunctionArgExpr::Expr(Expr::CompoundIdentifier(parts)),
            operator: FunctionArgOperator::Colon,
        } if name.value == MODEL_ARGUMENT => Some(parts),
        _ => None,
    }
}

impl Grammar<'_> {
    /// `MODEL m`, `TABLE t` or `STRUCT(…)` as an argument, if one comes next.
    pub(super) fn model_or_table_argument(&mut self) -> Result<Option<FunctionArg>> {
        let token = self.token();
        let named = matches!(self.ahead(1).kind, Kind::Word(_) | Kind::Quoted);
        if self.is("model") && named {
            self.advance();
            let parts = self.dotted()?;
            let name = Expr::Identifier(Ident::with_span(token.span, MODEL_ARGUMENT));
            let arg = FunctionArgExpr::Expr(Expr::CompoundIdentifier(parts));
            return Ok(Some(FunctionArg::ExprNamed { name, arg, operator: FunctionArgOperator::Colon }));
        }
        if self.is("table") && named {
            let query = self.query()?;
            if !matches!(query.body.as_ref(), SetExpr::Select(_)) {
                return Err(self.syntax_at(token));
            }
            return Ok(Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Subquery(Box::new(query))))));
        }
        if self.is("struct") && self.is_operator_ahead(1, "(") {
            return self.struct_argument();
        }
        Ok(None)
    }

    /// BigQuery's `STRUCT(value AS name, …)`; `None` for a function that is called so.
    fn struct_argument(&mut self) -> Result<Option<FunctionArg>> {
        let mark = self.mark();
        self.advance();
        self.open()?;
        let mut values = Vec::new();
        while !self.is_operator(")") {
            let expr = Box::new(self.expression()?);
            if !self.accept("as") {
                self.reset(mark);
                return Ok(None);
            }
            values.push(Expr::Named { expr, name: self.label()? });
            if !self.accept_operator(",") {
                break;
            }
        }
        self.close()?;
        Ok(Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Struct { values, fields: Vec::new() }))))
    }

    /// After CREATE [OR REPLACE] MODEL.
    pub(super) fn create_model(&mut self, or_replace: bool) -> Result<Statement> {
        let if_not_exists = self.if_not_exists(or_replace)?;
        let name = self.qualified_name()?;
        let transform = if self.accept("transform") { self.parenthesized(Self::transformed)? } else { Vec::new() };
        let token = self.token();
        let options = match self.one_of(&["options", "with"]) {
            Some(_) => self.model_options()?,
            None => {
                let error = self.syntax_at(token);
                return Err(error.with_hint("Write OPTIONS (model_type = '…', label = '…') AS SELECT …."));
            }
        };
        self.expect("as")?;
        let first = self.token();
        let query = Box::new(self.query()?);
        let query_text = self.text_from(first);
        let create = CreateModel { name, or_replace, if_not_exists, transform, options, query, query_text };
        Ok(Statement::Modelling(Modelling::Create(Box::new(create))))
    }

    fn transformed(&mut self) -> Result<Transformed> {
        if self.is_operator("*") {
            return self.unsupported("* in TRANSFORM");
        }
        let first = self.token();
        let expression = self.expression()?;
        let text = self.text_from(first);
        let named = if self.accept("as") { Some(self.label()?) } else { None };
        let name = match (named, &expression) {
            (Some(name), _) => name,
            (None, Expr::Identifier(name)) => name.clone(),
            (None, Expr::CompoundIdentifier(parts)) if !parts.is_empty() => {
                parts.last().cloned().unwrap_or_else(|| Ident::new(""))
            }
            (None, _) => {
                let message = "an expression in TRANSFORM needs a name";
                return Err(Error::new(SqlState::SyntaxError, message)
                    .at(first.position)
                    .with_hint("Write expression AS name."));
            }
        };
        let name = Name { value: fold(&name), position: first.position };
        Ok(Transformed { name, expression: StoredExpression { expression: Box::new(expression), text } })
    }

    /// `(name = value, …)`; a name may come once.
    fn model_options(&mut self) -> Result<Vec<ModelOption>> {
        let mut options: Vec<ModelOption> = Vec::new();
        self.open()?;
        while !self.is_operator(")") {
            let token = self.token();
            let name = if self.is_string() { self.string()? } else { fold(&self.label()?) }.to_ascii_lowercase();
            if options.iter().any(|option| option.name.value == name) {
                let message = format!("parameter \"{name}\" specified more than once");
                return Err(Error::new(SqlState::SyntaxError, message).at(token.position));
            }
            self.expect_operator("=")?;
            let position = self.token().position;
            let value = self.option_value()?;
            options.push(ModelOption { name: Name { value: name, position: token.position }, value, position });
            if !self.accept_operator(",") {
                break;
            }
        }
        self.close()?;
        Ok(options)
    }

    fn option_value(&mut self) -> Result<OptionValue> {
        let next = self.token().value.to_ascii_lowercase();
        if matches!(next.as_str(), "hparam_range" | "hparam_candidates") && self.is_operator_ahead(1, "(") {
            self.advance();
            self.open()?;
            let value = if next == "hparam_range" {
                let low = self.signed_number()?;
                self.expect_operator(",")?;
                OptionValue::Range(low, self.signed_number()?)
            } else {
                OptionValue::Candidates(self.listed_values()?)
            };
            self.close()?;
            return Ok(value);
        }
        if self.is("array") || self.is_operator("[") || self.is_operator("(") {
            return Ok(OptionValue::List(self.listed_values()?));
        }
        if self.is_string() {
            return Ok(OptionValue::Text(self.string()?));
        }
        if let Some(word) = self.one_of(&["true", "false"]) {
            return Ok(OptionValue::Boolean(word == "true"));
        }
        if matches!(self.token().kind, Kind::Word(_)) {
            // BigQuery and PostgreSQL's own options take words without quotes.
            return Ok(OptionValue::Text(fold(&self.label()?)));
        }
        Ok(OptionValue::Number(self.signed_number()?))
    }

    fn signed_number(&mut self) -> Result<String> {
        let negative = self.accept_operator("-");
        if !matches!(self.token().kind, Kind::Number) {
            return self.syntax();
        }
        let digits = self.advance().value.clone();
        Ok(if negative { format!("-{digits}") } else { digits })
    }

    /// `[a, b]`, `ARRAY[a, b]` or `(a, b)`.
    fn listed_values(&mut self) -> Result<Vec<OptionValue>> {
        self.accept("array");
        let close = if self.accept_operator("[") { "]" } else { ")" };
        if close == ")" {
            self.open()?;
        }
        let mut values = Vec::new();
        while !self.is_operator(close) {
            values.push(self.deeper(Self::option_value)?);
            if !self.accept_operator(",") {
                break;
            }
        }
        self.expect_operator(close)?;
        Ok(values)
    }

    /// `VERSION n` or `@n`, if it is there, with its position.
    fn model_version(&mut self) -> Result<Option<(u64, u32)>> {
        if !self.accept_operator("@") && !self.accept("version") {
            return Ok(None);
        }
        let token = self.token();
        if !matches!(token.kind, Kind::Number) || !token.value.bytes().all(|byte| byte.is_ascii_digit()) {
            return self.syntax();
        }
        let version = (token.value.parse().unwrap_or(u64::MAX), token.position);
        self.advance();
        Ok(Some(version))
    }

    /// After ALTER MODEL.
    pub(super) fn alter_model(&mut self) -> Result<Statement> {
        let if_exists = self.if_exists()?;
        let name = self.qualified_name()?;
        let change = match self.one_of(&["set", "rename", "owner"]) {
            Some("set") if self.accept("schema") => ModelChange::SetSchema(self.name()?),
            Some("set") => {
                self.expect("default")?;
                match self.model_version()? {
                    Some((number, position)) => ModelChange::DefaultVersion(number, position),
                    None => return self.syntax(),
                }
            }
            Some("rename") => {
                self.expect("to")?;
                ModelChange::RenameTo(self.name()?)
            }
            Some(_) => {
                self.expect("to")?;
                ModelChange::OwnerTo(self.role_name()?)
            }
            None => return self.syntax(),
        };
        Ok(Statement::Modelling(Modelling::Alter(AlterModel { name, if_exists, change })))
    }

    /// After DROP MODEL.
    pub(super) fn drop_model(&mut self) -> Result<Statement> {
        let if_exists = self.if_exists()?;
        let name = self.qualified_name()?;
        let version = self.model_version()?;
        let cascade = self.cascade();
        Ok(Statement::Modelling(Modelling::Drop(DropModel { name, if_exists, version, cascade })))
    }

    /// GRANT or REVOKE of the right to use models; `None` for another right, or one to another thing.
    pub(super) fn grant_model(&mut self) -> Result<Option<Statement>> {
        let mark = self.mark();
        let revokes = self.advance().value == "revoke";
        let token = self.token();
        let for_option = self.take(&["grant", "option", "for"]);
        if self.accept("all") {
            self.accept("privileges");
        } else if !self.accept("execute") {
            self.reset(mark);
            return Ok(None);
        }
        if !self.take(&["on", "model"]) {
            self.reset(mark);
            return Ok(None);
        }
        if for_option {
            return Err(self.unsupported_at("GRANT OPTION", token));
        }
        let models = self.list(Self::qualified_name)?;
        self.expect(if revokes { "from" } else { "to" })?;
        let roles = self.list(|grammar| {
            grammar.accept("group");
            if grammar.accept("public") { Ok(None) } else { grammar.role_name().map(Some) }
        })?;
        if revokes {
            // Nobody has it from somebody who has it.
            self.cascade();
        } else if self.is("with") || self.is("granted") {
            return self.unsupported(&format!("GRANT … {}", self.token().value.to_ascii_uppercase()));
        }
        Ok(Some(Statement::Modelling(Modelling::Grant(GrantModels { revokes, models, roles }))))
    }

    /// EXPORT MODEL …; `None` for another thing.
    pub(super) fn export_model(&mut self) -> Result<Option<Statement>> {
        if !self.take(&["export", "model"]) {
            return Ok(None);
        }
        let name = self.qualified_name()?;
        let version = self.model_version()?;
        self.expect("to")?;
        let position = self.token().position;
        let location = self.string()?;
        let options = if self.one_of(&["with", "options"]).is_some() { self.model_options()? } else { Vec::new() };
        Ok(Some(Statement::Modelling(Modelling::Export(ExportModel { name, version, location, position, options }))))
    }

    /// IMPORT [OR REPLACE] MODEL …; `None` for another thing.
    pub(super) fn import_model(&mut self) -> Result<Option<Statement>> {
        let mark = self.mark();
        self.expect("import")?;
        let or_replace = self.take(&["or", "replace"]);
        if !self.accept("model") {
            self.reset(mark);
            return Ok(None);
        }
        let name = self.qualified_name()?;
        self.expect("from")?;
        let position = self.token().position;
        let location = self.string()?;
        Ok(Some(Statement::Modelling(Modelling::Import(ImportModel { name, or_replace, location, position }))))
    }
}
