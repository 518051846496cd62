//! `violations('t', 'rule')` in FROM: the rows of a table that break one of its rules.

use std::sync::Arc;

use chrono::Utc;
use datafusion::catalog::TableProvider;
use datafusion::datasource::view::ViewTable;
use sqlparser::ast;

use super::past::{past_table, undefined};
use super::relations::{Relation, RelationColumn, Relations, ResolvedTable, VIOLATIONS, VersionRead};
use super::resolve::Resolver;
use super::{Parameters, bind_query, expectation, expectation_on_rows};
use crate::builtins::Context;
use crate::catalog::{RelationKind, ViewRead};
use crate::encode::TextTimeZone;
use crate::engine::BrokenRows;
use crate::error::{Error, Result, SqlState};
use crate::quality::{Expectation, ExpectationRule, RowRule};
use crate::sql;

/// What rules are bound in: what they say depends on no setting, and the time is that of the check.
pub fn rule_context(context: &Context) -> Arc<Context> {
    Arc::new(Context { time_zone: TextTimeZone::Fixed(0), transaction_start: Utc::now(), ..context.clone() })
}

/// The rows of a table that break a rule about each row, as a table.
///
/// # Errors
/// What a condition may not be.
pub fn broken_rows(
    (table, columns, rows): (&str, &[RelationColumn], &Arc<dyn TableProvider>),
    rule: &Expectation,
    condition: &str,
    context: &Arc<Context>,
) -> Result<Arc<dyn TableProvider>> {
    let expression = sql::parse_expression(condition)?;
    let expr = expectation_on_rows(table, columns, &expression, &rows.schema(), context, condition)?.expr;
    let (name, options) = (rule.name.clone(), rule.options.clone());
    let (oid, condition, action) = (rule.oid, condition.to_owned(), rule.action);
    let rule = RowRule { oid, name, condition, expr, proof: None, action, options };
    Ok(Arc::new(BrokenRows::new(Arc::clone(rows), rule)))
}

impl Resolver<'_> {
    pub(super) async fn violations(
        &mut self,
        arguments: &[&ast::Expr],
        whence: (&[String], &[ViewRead]),
    ) -> Result<(Relation, VersionRead)> {
        let [table, rule] = arguments else {
            let message = format!("wrong number of arguments of function {VIOLATIONS}");
            return Err(Error::new(SqlState::UndefinedFunction, message).with_hint("Call violations('table', 'rule')."));
        };
        let name = self.table_name(VIOLATIONS, table)?;
        let wanted = self.text_argument(VIOLATIONS, rule)?;
        let Some(found) = self.found(name.schema.as_deref(), &name.name, whence)? else { return Err(undefined(&name)) };
        let snapshot = Arc::clone(self.snapshot);
        let relation = snapshot.relation_by_oid(found.oid).map(|(_, _, relation)| relation);
        let rules = match relation.map(|relation| &relation.kind) {
            Some(RelationKind::Table(table)) => table.expectations.as_slice(),
            Some(RelationKind::View(_)) | None => &[],
        };
        let Some(wanted) = wanted else {
            // The answer has the table's columns, whichever rule it will be.
            let own = past_table(&found, &self.pin(&found.location).await?)?;
            return Ok((Relation::Table(own), VersionRead { schema: name.schema, name: name.name, oid: found.oid }));
        };
        let Some(rule) = rules.iter().find(|rule| rule.name == wanted) else {
            let message = format!("expectation \"{wanted}\" of relation \"{}\" does not exist", found.name);
            return Err(Error::new(SqlState::UndefinedObject, message));
        };
        let table = self.pin(&found.location).await?;
        let own = past_table(&found, &table)?;
        let mut relations = Relations::default();
        // What a rule reads besides, it reads with the rights of the table's owner, as a view does.
        let rights = self.take_rights_of(relation.map_or(0, |relation| relation.owner));
        let other = self.referenced(rule, &mut relations).await;
        (self.superuser, self.role_oid) = rights;
        let other = other?;
        let other = other.as_ref().map(|(schema, name)| (schema.as_str(), name.as_str()));
        let read = VersionRead { schema: name.schema, name: name.name, oid: found.oid };
        let columns = own.columns.clone();
        let rows = |provider| {
            let (schema, name) = (String::new(), VIOLATIONS.to_owned());
            Relation::Table(ResolvedTable { schema, name, oid: 0, columns: columns.clone(), provider })
        };
        if let ExpectationRule::Row { condition } = &rule.rule {
            let own = (found.name.as_str(), own.columns.as_slice(), &own.provider);
            let broken = broken_rows(own, rule, condition, &rule_context(self.context));
            return Ok((rows(broken.map_err(Error::without_position)?), read));
        }
        let text = expectation::violations(rule, (&found.schema, &found.name), other)?;
        relations.by_name.insert((Some(found.schema.clone()), found.name.clone()), Relation::Table(own));
        let query = sql::parse_query(&text)?;
        let bound = bind_query(&query, &rule_context(self.context), &relations, "", &mut Parameters::none());
        let plan = bound.map_err(Error::without_position)?.plan;
        Ok((rows(Arc::new(ViewTable::new(plan, None))), read))
    }

    /// The table that a foreign key refers to, resolved: its schema and name.
    async fn referenced(&mut self, rule: &Expectation, relations: &mut Relations) -> Result<Option<(String, String)>> {
        let ExpectationRule::ForeignKey { table, .. } = &rule.rule else { return Ok(None) };
        let snapshot = Arc::clone(self.snapshot);
        let Some((schema, name, relation)) = snapshot.relation_by_oid(*table) else { return Ok(None) };
        self.authorise(name, relation)?;
        let opened = self.open(schema, name, relation, 1).await?;
        let key = (schema.to_owned(), name.to_owned());
        relations.by_name.insert((Some(key.0.clone()), key.1.clone()), opened);
        Ok(Some(key))
    }
}
