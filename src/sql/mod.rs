//! SQL text to [`Statement`]: PostgreSQL's grammar, written by hand over its scanner, giving sqlparser's syntax tree.
//!
//! ```text
//! text ─ scan ─→ tokens ─ grammar ─→ Statement { sqlparser's Query and Expr }
//! ```
//!
//! Pure: no I/O, no catalog, no panic, whatever the text. `parse` is the one entry. What parses but has no meaning here
//! (a clause that nobody would honour) is refused here with 0A000, the clause's name and its position. The grammar is our
//! own because clients show where PostgreSQL's parser stopped, and because sqlparser's takes clauses of twenty dialects:
//! every node is built here with all its fields, so that no clause gets into the tree unseen.
//! Called by `query`; the syntax tree goes to `plan` and `execute`.
//!
//! Forms that sqlparser's tree has no field for, or has several:
//! * every string constant is `Value::SingleQuotedString`, decoded; every number `Value::Number`; `$1` a `Placeholder`;
//! * a quoted path is a table whose name is one identifier of quote style `'`;
//! * `OPERATOR(s.op)` is `PGCustomBinaryOperator`; VARIADIC is seen by [`variadic_argument`];
//! * `TABLE t` is `SELECT * FROM t`; SYMMETRIC is a prefix of BETWEEN's first bound; AND and OR chains are balanced trees.

mod alter;
mod call;
mod care;
pub mod change;
mod column_names;
mod copy;
mod copy_into;
mod copy_statement;
mod create_expectation;
mod create_table;
mod cursor;
mod data_type;
mod definition;
mod expectation;
mod expression;
mod external;
mod from;
mod grammar;
mod insert;
mod inspect;
mod keywords;
pub mod maintenance;
mod merge;
mod model;
mod own_names;
mod primary;
mod refused;
mod role;
mod scan;
mod select;
mod setting;
pub(crate) mod stack;
pub mod statement;
mod strings;
#[cfg(test)]
mod tests;
mod token;
mod transaction;
mod type_name;
mod update;

use std::sync::Arc;

use sqlparser::ast;

pub use alter::*;
pub use call::variadic_argument;
pub use change::*;
pub use column_names::{column_names, with_column_renamed};
pub use copy_statement::*;
pub use create_expectation::*;
pub(crate) use create_table::empty as empty_table;
pub use data_type::pg_type;
pub use expectation::RowExpectation;
pub use external::{Convert, CreateExternalTable};
pub use grammar::fold;
pub use inspect::Inspect;
pub use maintenance::{Care, CaredTable, Optimize, Vacuum};
pub use model::*;
pub use own_names::{names_in_queries, with_own_column_renamed, with_own_columns, with_table_renamed};
pub(crate) use scan::scan;
pub(crate) use select::one_column_of;
pub use statement::*;
pub(crate) use token::{Kind, Token};
pub use token::{position, span_position};

use crate::encode::types::PgType;
use crate::error::{Error, Result};
use grammar::Grammar;

/// The statements of a query text, in order. A text without any gives one [`Statement::Empty`]; empty statements between
/// semicolons vanish otherwise.
///
/// # Errors
/// 42601 where PostgreSQL's parser would stop, 0A000 for what is not supported, 54001 for nesting without end; each with
/// its position in the text. As in PostgreSQL, one error refuses the whole text.
pub fn parse(text: &str) -> Result<Vec<Parsed>> {
    let tokens = scan::scan(text);
    let mut grammar = grammar_over(text, &tokens)?;
    let source: Arc<str> = text.into();
    let mut statements = Vec::new();
    loop {
        while grammar.accept_operator(";") {}
        if matches!(grammar.token().kind, token::Kind::End) {
            break;
        }
        let first = grammar.token();
        let statement = match grammar.statement()? {
            Some(statement) => statement,
            None => grammar.refused(first)?,
        };
        if !grammar.at_end() {
            return grammar.syntax();
        }
        let offset = first.position.saturating_sub(1);
        statements.push(Parsed { statement, text: grammar.text_from(first), offset, source: Arc::clone(&source) });
    }
    if statements.is_empty() {
        statements.push(Parsed { statement: Statement::Empty, text: text.to_owned(), offset: 0, source });
    }
    Ok(statements)
}

/// One expression: a stored condition.
///
/// # Errors
/// As [`parse`].
pub fn parse_expression(text: &str) -> Result<ast::Expr> {
    whole(text, |grammar| grammar.expression())
}

/// One query: a view's stored text.
///
/// # Errors
/// As [`parse`].
pub fn parse_query(text: &str) -> Result<ast::Query> {
    whole(text, |grammar| grammar.query())
}

/// The text of a query with literals in the place of its parameters, `$1` for the first.
pub fn with_parameters(text: &str, literals: &[String]) -> String {
    let (mut filled, mut done) = (String::with_capacity(text.len()), 0);
    for token in scan::scan(text).iter().filter(|token| matches!(token.kind, Kind::Parameter)) {
        let number = token.value.trim_start_matches('$').parse::<usize>().ok();
        let Some(literal) = number.and_then(|number| literals.get(number.checked_sub(1)?)) else { continue };
        filled.push_str(text.get(done..token.start).unwrap_or_default());
        filled.push_str(literal);
        done = token.end;
    }
    filled.push_str(text.get(done..).unwrap_or_default());
    filled
}

/// A type's name as a client writes it, e.g. `numeric(12,2)`.
///
/// # Errors
/// As [`parse`] and [`pg_type`].
pub fn parse_type(text: &str) -> Result<PgType> {
    let data_type = whole(text, |grammar| grammar.data_type())?;
    pg_type(&data_type, text)
}

/// The qualified name in a text, as `regclass` reads it.
///
/// # Errors
/// As [`parse`].
pub fn parse_name(text: &str) -> Result<QualifiedName> {
    whole(text, |grammar| grammar.qualified_name())
}

/// Whether a folded name can stand anywhere without quotes.
pub fn is_plain_name(name: &str) -> bool {
    matches!(keywords::class_of(name), keywords::Class::Plain | keywords::Class::Unreserved)
}

fn grammar_over<'a>(text: &'a str, tokens: &'a [token::Token]) -> Result<Grammar<'a>> {
    Grammar::new(text, tokens).ok_or_else(|| Error::internal("the scanner gave no token"))
}

fn whole<T>(text: &str, rule: impl FnOnce(&mut Grammar<'_>) -> Result<T>) -> Result<T> {
    let tokens = scan::scan(text);
    let mut grammar = grammar_over(text, &tokens)?;
    let result = rule(&mut grammar)?;
    if matches!(grammar.token().kind, token::Kind::End) { Ok(result) } else { grammar.syntax() }
}

impl Grammar<'_> {
    /// A query, or SELECT INTO, which is CREATE TABLE AS.
    fn query_statement(&mut self) -> Result<Statement> {
        self.allow_select_into();
        let query = self.query();
        let into = std::mem::take(&mut self.into);
        let query = Box::new(query?);
        match into {
            grammar::Into::Table(name) => {
                let mut table = create_table::empty(name);
                table.query = Some(query);
                Ok(Statement::CreateTable(Box::new(table)))
            }
            grammar::Into::Refused | grammar::Into::AllowedAt(_) => Ok(Statement::Query(query)),
        }
    }

    /// One statement; `None` when it begins like none that we run.
    fn statement(&mut self) -> Result<Option<Statement>> {
        if self.is_operator("(") || self.is_any(&["select", "with", "values", "table"]) {
            if self.modification_in_with().is_some() {
                let with = self.with()?;
                return self.modification(Some(with));
            }
            return self.query_statement().map(Some);
        }
        let token = self.token();
        if !matches!(token.kind, token::Kind::Word(_)) {
            return self.syntax();
        }
        match token.value.as_str() {
            "insert" | "update" | "delete" | "merge" => self.modification(None),
            "explain" => self.deeper(Self::explain).map(Some),
            "truncate" => self.truncate().map(Some),
            "create" => self.create(),
            "drop" => self.drop_statement(),
            "alter" => self.alter(),
            "comment" => self.comment_statement(),
            "describe" | "desc" if self.describes_care() => self.describe_care().map(Some),
            "describe" | "desc" => self.describe(),
            "convert" => self.convert().map(Some),
            "refresh" => self.refresh().map(Some),
            "copy" => self.copy().map(Some),
            "restore" => self.restore().map(Some),
            "validate" => self.validate().map(Some),
            "grant" | "revoke" => self.grant_model(),
            "export" => self.export_model(),
            "import" => self.import_model(),
            "optimize" => self.optimize().map(Some),
            "reorg" => self.reorg().map(Some),
            "vacuum" => self.vacuum().map(Some),
            "analyze" | "analyse" => self.analyze().map(Some),
            "set" => self.set().map(Some),
            "show" => self.show().map(Some),
            "reset" => self.reset_statement().map(Some),
            "begin" | "start" => self.begin().map(Some),
            "commit" | "end" => self.commit().map(Some),
            "rollback" | "abort" => self.rollback().map(Some),
            "savepoint" => self.savepoint().map(Some),
            "release" => self.release().map(Some),
            "prepare" => self.deeper(Self::prepare).map(Some),
            "execute" if !self.is_ahead(1, "task") => self.execute().map(Some),
            "deallocate" => self.deallocate().map(Some),
            "discard" => self.discard().map(Some),
            "unlisten" => self.unlisten().map(Some),
            "declare" => self.declare().map(Some),
            "fetch" | "move" => self.fetch().map(Some),
            "close" => self.close_statement().map(Some),
            _ => Ok(None),
        }
    }

    /// INSERT, UPDATE, DELETE or MERGE, after its WITH.
    fn modification(&mut self, with: Option<ast::With>) -> Result<Option<Statement>> {
        match self.token().value.as_str() {
            "insert" => self.insert(with).map(Some),
            "update" => self.update(with).map(Some),
            "delete" => self.delete(with).map(Some),
            "merge" => self.merge(with).map(Some),
            _ => self.syntax(),
        }
    }
}
