//! CREATE, ALTER and DROP EXPECTATION, and VALIDATE.

use sqlparser::ast::{self, Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName};

use super::alter::StoredExpression;
use super::call::function;
use super::data_type::pg_type;
use super::grammar::Grammar;
use super::statement::{Name, QualifiedName, Statement};
use crate::encode::types::PgType;
use crate::error::{Error, Result, SqlState};
use crate::quality::{ExpectationOptions, ViolationAction};

/// Broken rows that VALIDATE shows of each rule, unless it is told another number.
const SAMPLES: u32 = 20;
/// And the most that it can be told.
const SAMPLES_MAX: u32 = 1_000;

/// A statement about rules of data quality.
#[derive(Debug, Clone)]
pub enum Expecting {
    Create(Box<CreateExpectation>),
    Alter(AlterExpectation),
    Drop(DropExpectation),
    Validate(Box<Validate>),
}

/// CREATE EXPECTATION name ON t ….
#[derive(Debug, Clone)]
pub struct CreateExpectation {
    pub name: Name,
    pub or_replace: bool,
    pub if_not_exists: bool,
    pub table: QualifiedName,
    /// WHERE: the rows that it is about.
    pub filter: Option<StoredExpression>,
    pub rule: SetRule,
    pub action: ViolationAction,
    pub on_commit: bool,
    pub options: ExpectationOptions,
}

/// What EXPECT (…) says of all rows.
#[derive(Debug, Clone)]
pub enum SetRule {
    /// A condition over aggregates.
    Aggregate(StoredExpression),
    Unique(Vec<Name>),
    ForeignKey {
        columns: Vec<Name>,
        table: QualifiedName,
        referenced: Vec<Name>,
    },
    /// FRESHNESS (expression) < limit.
    Freshness {
        expression: StoredExpression,
        limit: StoredExpression,
    },
    /// `count(*)` compared; the text is what follows it.
    RowCount(StoredExpression),
    /// SCHEMA MATCHES or, where other columns may be there too, CONTAINS.
    Schema {
        columns: Vec<ExpectedColumn>,
        exact: bool,
    },
}

#[derive(Debug, Clone)]
pub struct ExpectedColumn {
    pub name: Name,
    /// `None`: any.
    pub ty: Option<PgType>,
    pub not_null: bool,
}

#[derive(Debug, Clone)]
pub struct AlterExpectation {
    pub name: Name,
    pub table: QualifiedName,
    pub change: ExpectationChange,
}

#[derive(Debug, Clone)]
pub enum ExpectationChange {
    Enable(bool),
    RenameTo(Name),
}

#[derive(Debug, Clone)]
pub struct DropExpectation {
    pub name: Name,
    pub table: QualifiedName,
    pub if_exists: bool,
}

/// VALIDATE [TABLE] t [VERSION AS OF n] [WHERE …] [ONLY (…)] [WITH (…)].
#[derive(Debug, Clone)]
pub struct Validate {
    pub table: QualifiedName,
    pub version: Option<ast::TableVersion>,
    /// The rows that are looked at.
    pub condition: Option<Box<Expr>>,
    /// Rules; empty for all that are enabled.
    pub only: Vec<Name>,
    pub fail_on_error: bool,
    /// Broken rows that are shown of each rule.
    pub samples: u32,
}

impl Expecting {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Create(_) => "create_expectation",
            Self::Alter(_) => "alter_expectation",
            Self::Drop(_) => "drop_expectation",
            Self::Validate(_) => "validate",
        }
    }
}

/// Options that make sense for a rule about all rows.
struct Sense {
    mostly: bool,
    ignore_nulls: bool,
}

impl SetRule {
    fn sense(&self) -> Sense {
        match self {
            Self::Aggregate(_) | Self::Freshness { .. } => Sense { mostly: false, ignore_nulls: true },
            // Rows with a NULL are left out anyway.
            Self::Unique(_) | Self::ForeignKey { .. } => Sense { mostly: true, ignore_nulls: false },
            Self::RowCount(_) | Self::Schema { .. } => Sense { mostly: false, ignore_nulls: false },
        }
    }

    fn words(&self) -> &'static str {
        match self {
            Self::Aggregate(_) => "a condition over all rows",
            Self::Unique(_) => "UNIQUE",
            Self::ForeignKey { .. } => "FOREIGN KEY",
            Self::Freshness { .. } => "FRESHNESS",
            Self::RowCount(_) => "ROW COUNT",
            Self::Schema { exact: true, .. } => "SCHEMA MATCHES",
            Self::Schema { exact: false, .. } => "SCHEMA CONTAINS",
        }
    }
}

impl Grammar<'_> {
    /// After CREATE [OR REPLACE] EXPECTATION.
    pub fn create_expectation(&mut self, or_replace: bool) -> Result<Statement> {
        let if_not_exists = self.if_not_exists(or_replace)?;
        let name = self.name()?;
        self.expect("on")?;
        let table = self.qualified_name()?;
        let of_filter = self.token().position;
        let filter = if self.accept("where") { Some(self.kept_expression()?) } else { None };
        self.expect("expect")?;
        self.open()?;
        let rule = self.set_rule()?;
        self.close()?;
        if filter.is_some() && matches!(rule, SetRule::Schema { .. }) {
            let message = format!("WHERE has no meaning for {}", rule.words());
            return Err(Error::new(SqlState::InvalidParameterValue, message).at(of_filter));
        }
        let mut action = ViolationAction::Warn;
        if let Some((given, position)) = self.on_violation()? {
            if matches!(given, ViolationAction::DropRow | ViolationAction::QuarantineRow) {
                let what = format!("ON VIOLATION {} of an expectation about all rows", given.words());
                return Err(Error::unsupported(what).at(position).with_hint(
                    "Only a rule about each row, CONSTRAINT name EXPECT (condition), has rows of its own.",
                ));
            }
            action = given;
        }
        let on_commit = self.take(&["on", "commit"]);
        if self.is("schedule") {
            return self.unsupported("SCHEDULE");
        }
        let position = self.token().position;
        let options = self.expectation_options()?;
        let sense = rule.sense();
        let refused = [
            ("mostly", options.mostly.is_some() && !sense.mostly),
            ("ignore_nulls", options.ignore_nulls && !sense.ignore_nulls),
        ];
        if let Some((option, _)) = refused.into_iter().find(|(_, refused)| *refused) {
            let message = format!("parameter \"{option}\" has no meaning for {}", rule.words());
            return Err(Error::new(SqlState::InvalidParameterValue, message).at(position));
        }
        Ok(Statement::Expecting(Expecting::Create(Box::new(CreateExpectation {
            name,
            or_replace,
            if_not_exists,
            table,
            filter,
            rule,
            action,
            on_commit,
            options,
        }))))
    }

    fn set_rule(&mut self) -> Result<SetRule> {
        if self.is("unique") {
            self.advance();
            return Ok(SetRule::Unique(self.parenthesized(Self::name)?));
        }
        if self.take(&["foreign", "key"]) {
            let columns = self.parenthesized(Self::name)?;
            self.expect("references")?;
            let table = self.qualified_name()?;
            let token = self.token();
            let referenced = self.parenthesized(Self::name)?;
            if columns.len() != referenced.len() {
                let message = "number of referencing and referenced columns for foreign key disagree";
                return Err(Error::new(SqlState::InvalidForeignKey, message).at(token.position));
            }
            return Ok(SetRule::ForeignKey { columns, table, referenced });
        }
        if self.is("freshness") && self.is_operator_ahead(1, "(") {
            self.advance();
            self.open()?;
            let expression = self.kept_expression()?;
            self.close()?;
            self.expect_operator("<")?;
            return Ok(SetRule::Freshness { expression, limit: self.kept_expression()? });
        }
        if self.take(&["row", "count"]) {
            let first = self.token();
            let expression = Box::new(self.compared(count_of_rows())?);
            return Ok(SetRule::RowCount(StoredExpression { expression, text: self.text_from(first) }));
        }
        if self.is("schema") && (self.is_ahead(1, "matches") || self.is_ahead(1, "contains")) {
            self.advance();
            let exact = self.one_of(&["matches", "contains"]) == Some("matches");
            return Ok(SetRule::Schema { columns: self.parenthesized(Self::expected_column)?, exact });
        }
        Ok(SetRule::Aggregate(self.kept_expression()?))
    }

    fn expected_column(&mut self) -> Result<ExpectedColumn> {
        let name = self.name()?;
        let bare = self.is_operator(",") || self.is_operator(")") || self.are(&["not", "null"]);
        let ty = if bare { None } else { Some(pg_type(&self.data_type()?, self.source)?) };
        Ok(ExpectedColumn { name, ty, not_null: self.take(&["not", "null"]) })
    }

    fn kept_expression(&mut self) -> Result<StoredExpression> {
        let first = self.token();
        let expression = Box::new(self.expression()?);
        Ok(StoredExpression { expression, text: self.text_from(first) })
    }

    /// After ALTER EXPECTATION.
    pub fn alter_expectation(&mut self) -> Result<Statement> {
        let name = self.name()?;
        self.expect("on")?;
        let table = self.qualified_name()?;
        let change = match self.one_of(&["enable", "disable", "rename"]) {
            Some("rename") => {
                self.expect("to")?;
                ExpectationChange::RenameTo(self.name()?)
            }
            Some(word) => ExpectationChange::Enable(word == "enable"),
            None => return self.syntax(),
        };
        Ok(Statement::Expecting(Expecting::Alter(AlterExpectation { name, table, change })))
    }

    /// After DROP EXPECTATION.
    pub fn drop_expectation(&mut self) -> Result<Statement> {
        let if_exists = self.if_exists()?;
        let name = self.name()?;
        self.expect("on")?;
        let table = self.qualified_name()?;
        // Nothing depends on a rule.
        self.cascade();
        Ok(Statement::Expecting(Expecting::Drop(DropExpectation { name, table, if_exists })))
    }

    pub fn validate(&mut self) -> Result<Statement> {
        self.expect("validate")?;
        self.accept("table");
        let table = self.qualified_name()?;
        let version = self.version()?;
        let condition = if self.accept("where") { Some(Box::new(self.expression()?)) } else { None };
        let only = if self.accept("only") { self.parenthesized(Self::name)? } else { Vec::new() };
        let mut validate = Validate { table, version, condition, only, fail_on_error: false, samples: SAMPLES };
        if self.accept("with") {
            self.parenthesized(|grammar| grammar.validate_option(&mut validate))?;
        }
        Ok(Statement::Expecting(Expecting::Validate(Box::new(validate))))
    }

    fn validate_option(&mut self, validate: &mut Validate) -> Result<()> {
        let position = self.token().position;
        let (key, value) = self.property()?;
        let wrong = |wanted: String| {
            let message = format!("invalid value for parameter \"{key}\": \"{value}\"");
            let error = Error::new(SqlState::InvalidParameterValue, message).at(position);
            error.with_detail(format!("Valid values are {wanted}."))
        };
        match key.as_str() {
            "fail_on_error" => {
                validate.fail_on_error = match value.to_ascii_lowercase().as_str() {
                    "true" | "on" | "1" => true,
                    "false" | "off" | "0" => false,
                    _ => return Err(wrong("true and false".to_owned())),
                };
            }
            "samples" => {
                let count = value.parse().ok().filter(|count| *count <= SAMPLES_MAX);
                validate.samples = count.ok_or_else(|| wrong(format!("numbers from 0 to {SAMPLES_MAX}")))?;
            }
            _ => {
                let message = format!("unrecognized parameter \"{key}\"");
                return Err(Error::new(SqlState::InvalidParameterValue, message)
                    .at(position)
                    .with_hint("Valid parameters of VALIDATE are fail_on_error, samples."));
            }
        }
        Ok(())
    }
}

/// `count(*)`.
fn count_of_rows() -> Expr {
    let all = vec![FunctionArg::Unnamed(FunctionArgExpr::Wildcard)];
    Expr::Function(function(ObjectName::from(vec![Ident::new("count")]), all))
}
