//! `profile('t')` and `suggest_expectations('t')` in FROM. The pre-pass has found the relation.

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlanBuilder;
use sqlparser::ast;

use super::Binder;
use super::from::From;
use super::scope::ScopeColumn;
use crate::builtins::functions::{names, style};
use crate::encode::TextStyle;
use crate::encode::types::{PgType, oid};
use crate::engine::profile::{Answer, ProfileTable, profiled_column};
use crate::error::{Error, Result, SqlState};
use crate::plan::relations::{Profiled, Relation, RelationColumn, ResolvedTable, call_key};
use crate::quality::profile::ProfiledColumn;
use crate::quality::suggest::{Spelling, SuggestedColumn, SuggestedTable};

impl Binder<'_> {
    pub(super) fn profile_call(
        &self,
        function: &str,
        arguments: &[ast::FunctionArg],
        alias: Option<&ast::TableAlias>,
        position: Option<u32>,
    ) -> Result<From> {
        let key = call_key(function, arguments);
        let unresolved = || Error::internal(format!("a call of {function} was not resolved"));
        let relation = self.relations.by_version.get(&key).ok_or_else(unresolved)?;
        let call = self.relations.profiled.get(&key).ok_or_else(unresolved)?;
        let (from, known) = match relation {
            Relation::Table(table) => (self.table(table, function, None, None, position)?, &table.columns),
            Relation::View(view) => (self.view(view, None, position)?, &view.columns),
        };
        let columns = from.items.into_iter().next().ok_or_else(unresolved)?.columns;
        let columns = chosen(columns, call).map_err(|error| error.at(position))?;
        let exprs = columns.iter().map(|column| column.expr.clone());
        let input = self.unnested(LogicalPlanBuilder::from(from.plan).project(exprs)?.build()?)?;
        // How values are written depends on the session, what lies in the future on the moment.
        self.typing.contextual.set(true);
        let is_profile = function == "profile";
        let text = match is_profile {
            true => style::text_style(&self.typing.context),
            // What every session reads alike.
            false => TextStyle::default(),
        };
        let text = Arc::new(text);
        let fields = input.schema().fields().iter();
        let profiled = columns
            .iter()
            .zip(fields)
            .map(|(column, field)| profiled_column(&column.name, column.ty, field.data_type(), &text));
        let profiled = profiled.collect::<Result<Vec<_>>>()?;
        let answer = match is_profile {
            true => Answer::Figures(columns.iter().map(|column| column.ty).collect()),
            false => Answer::Suggestions(Arc::new(self.suggested(call, &columns, &profiled, known))),
        };
        let columns = answer.columns().iter().map(|(name, ty)| RelationColumn::new(*name, *ty)).collect();
        let provider = Arc::new(ProfileTable::new(input, profiled, answer));
        let table = ResolvedTable { schema: String::new(), name: function.to_owned(), oid: 0, columns, provider };
        self.table(&table, function, None, alias, position)
    }

    fn suggested(
        &self,
        call: &Profiled,
        columns: &[ScopeColumn],
        profiled: &[ProfiledColumn],
        known: &[RelationColumn],
    ) -> SuggestedTable {
        let columns = columns.iter().zip(profiled).map(|(column, profiled)| SuggestedColumn {
            name: column.name.clone(),
            spelling: spelling_of(column.ty),
            kind: profiled.kind,
            is_not_null: known.iter().any(|known| known.name == column.name && known.not_null),
        });
        SuggestedTable {
            name: call.table.clone(),
            columns: columns.collect(),
            taken: call.constraints.clone(),
            kept: call.expectations.clone(),
            now: self.typing.context.statement_start.format("%Y-%m-%d %H:%M:%S").to_string(),
            quote: names::quote,
        }
    }
}

/// The columns that the call names, in the relation's order. 42703 for one that is not there.
fn chosen(columns: Vec<ScopeColumn>, call: &Profiled) -> Result<Vec<ScopeColumn>> {
    let Some(names) = &call.columns else { return Ok(columns) };
    if let Some(missing) = names.iter().find(|name| !columns.iter().any(|column| column.name == **name)) {
        return Err(Error::new(SqlState::UndefinedColumn, format!("column \"{missing}\" does not exist")));
    }
    Ok(columns.into_iter().filter(|column| names.contains(&column.name)).collect())
}

fn spelling_of(ty: PgType) -> Spelling {
    match ty.oid {
        oid::INT2 | oid::INT4 | oid::INT8 | oid::NUMERIC => Spelling::Number,
        oid::FLOAT4 => Spelling::Real,
        oid::FLOAT8 => Spelling::Float,
        oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::CHAR => Spelling::Text,
        oid::DATE => Spelling::Date,
        oid::TIME => Spelling::Time,
        oid::TIMESTAMP => Spelling::Timestamp,
        oid::TIMESTAMPTZ => Spelling::TimestampTz,
        _ => Spelling::Other,
    }
}
