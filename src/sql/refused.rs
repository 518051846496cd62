//! Statements that PostgreSQL or Lakegate's SQL know and nothing here runs: refused by their name, not as garbage.

use super::grammar::Grammar;
use super::token::Token;
use crate::error::Result;

/// First words of statements without a rule of their own.
const STATEMENTS: &[&str] = &[
    "grant",
    "revoke",
    "listen",
    "notify",
    "call",
    "do",
    "cluster",
    "reindex",
    "lock",
    "comment",
    "security",
    "refresh",
    "reassign",
    "load",
    "checkpoint",
    "import",
    "describe",
    "convert",
    "submit",
    "cancel",
    "export",
    "execute",
];

/// What may follow CREATE, ALTER and DROP.
const OBJECTS: &[&str] = &[
    "access",
    "aggregate",
    "cast",
    "collation",
    "constraint",
    "conversion",
    "database",
    "default",
    "domain",
    "event",
    "extension",
    "external",
    "foreign",
    "function",
    "group",
    "index",
    "language",
    "large",
    "local",
    "materialized",
    "operator",
    "owned",
    "policy",
    "procedure",
    "procedural",
    "publication",
    "role",
    "routine",
    "rule",
    "schema",
    "sequence",
    "server",
    "statistics",
    "subscription",
    "system",
    "table",
    "tablespace",
    "task",
    "temp",
    "temporary",
    "text",
    "transform",
    "trigger",
    "trusted",
    "type",
    "unique",
    "unlogged",
    "user",
    "view",
];

impl Grammar<'_> {
    /// The error for a statement that starts at `first`.
    pub fn refused<T>(&self, first: &Token) -> Result<T> {
        let word = first.value.as_str();
        if !matches!(word, "create" | "alter" | "drop") {
            if !STATEMENTS.contains(&word) || matches!(first.kind, super::token::Kind::Quoted) {
                return Err(self.syntax_at(first));
            }
            return Err(self.unsupported_at(&word.to_ascii_uppercase(), first));
        }
        let object = self.token();
        if !OBJECTS.contains(&object.value.as_str()) {
            return self.syntax();
        }
        let name = format!("{word} {}", object.value).to_ascii_uppercase();
        Err(self.unsupported_at(&name, first))
    }

    /// The INSERT, UPDATE, DELETE or MERGE that a WITH at the cursor stands before.
    pub fn modification_in_with(&self) -> Option<&Token> {
        if !self.is("with") {
            return None;
        }
        let (mut depth, mut count) = (0u32, 0);
        loop {
            let token = self.ahead(count);
            if matches!(token.kind, super::token::Kind::End | super::token::Kind::Bad(_)) {
                return None;
            }
            if self.is_operator_ahead(count, "(") {
                depth += 1;
            } else if self.is_operator_ahead(count, ")") {
                depth = depth.saturating_sub(1);
            } else if depth == 0 && self.is_operator_ahead(count, ";") {
                return None;
            } else if depth == 0
                && ["insert", "update", "delete", "merge"].iter().any(|word| self.is_ahead(count, word))
            {
                return self.is_operator_ahead(count.saturating_sub(1), ")").then_some(token);
            }
            count += 1;
        }
    }
}
