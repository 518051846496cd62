//! Earlier versions of tables in FROM. The pre-pass has loaded them.

use sqlparser::ast;
use sqlparser::ast::Spanned as _;

use super::Binder;
use super::from::From;
use super::names::parts;
use super::scope::Environment;
use crate::error::{Error, Result, SqlState};
use crate::plan::relations::{Relation, call_key, version_key};

impl Binder<'_> {
    /// `t VERSION AS OF 3`.
    pub(super) fn version(
        &self,
        name: &ast::ObjectName,
        version: &ast::TableVersion,
        alias: Option<&ast::TableAlias>,
        environment: &Environment<'_>,
    ) -> Result<From> {
        let position = self.position(name.span());
        let parts = parts(name);
        let (schema, table) = match parts.as_slice() {
            [table] => (None, table),
            [schema, table] => (Some(schema), table),
            [database, schema, table] if *database == self.typing.context.database => (Some(schema), table),
            _ => {
                let message = format!("cross-database references are not implemented: \"{}\"", parts.join("."));
                return Err(Error::new(SqlState::FeatureNotSupported, message).at(position));
            }
        };
        if schema.is_none() && environment.ctes.iter().any(|cte| cte.name == *table) {
            let message = format!("\"{table}\" is a WITH query, which has no versions");
            return Err(Error::new(SqlState::WrongObjectType, message).at(position));
        }
        match self.relations.by_version.get(&version_key(name, version)) {
            Some(Relation::Table(resolved)) => {
                self.table(resolved, table, Some(resolved.schema.clone()), alias, position)
            }
            Some(Relation::View(_)) | None => Err(self.no_table(schema, table).at(position)),
        }
    }

    /// `table_at('t', 3)` and its kin.
    pub(super) fn version_call(
        &self,
        function: &str,
        arguments: &[ast::FunctionArg],
        alias: Option<&ast::TableAlias>,
        position: Option<u32>,
    ) -> Result<From> {
        match self.relations.by_version.get(&call_key(function, arguments)) {
            Some(Relation::Table(resolved)) => self.table(resolved, function, None, alias, position),
            Some(Relation::View(view)) => self.view(view, alias, position),
            None => Err(Error::internal(format!("a call of {function} was not resolved"))),
        }
    }
}
