//! DEFAULT and GENERATED: bound once, to see that they may be kept.

use std::ops::ControlFlow;

use sqlparser::ast;

use super::properties::quoted;
use super::road::Road;
use crate::error::{Error, Result, SqlState};
use crate::lake::ColumnSpec;
use crate::plan::relations::RelationColumn;
use crate::plan::resolve::column_of;
use crate::plan::{self, Purpose};
use crate::sql::{ColumnDefinition, StoredExpression, column_names, fold, span_position, with_own_columns};

/// The column with the texts of its default or generation expression as they are kept.
///
/// # Errors
/// What the table could not use.
pub(super) fn settled(
    road: &Road<'_>,
    table: &str,
    columns: &[ColumnSpec],
    definition: &ColumnDefinition,
    column: &ColumnSpec,
) -> Result<ColumnSpec> {
    let mut column = column.clone();
    if let Some(default) = &definition.default {
        column.default = Some(bind(road, table, &[], default, &column, Purpose::Default)?);
    }
    if let Some(generated) = &definition.generated {
        column.generated = Some(check_generated(road, table, columns, generated, &column)?);
    }
    Ok(column)
}

/// Refuses an expression that a column cannot be generated from. The text to keep.
pub(super) fn check_generated(
    road: &Road<'_>,
    table: &str,
    columns: &[ColumnSpec],
    generated: &StoredExpression,
    column: &ColumnSpec,
) -> Result<String> {
    let names = column_names(&generated.expression);
    if let Some(other) = columns.iter().find(|other| other.generated.is_some() && names.contains(&other.name)) {
        let message = format!("cannot use generated column \"{}\" in column generation expression", other.name);
        let place = position_of(&generated.expression, &other.name, &road.source);
        return Err(Error::new(SqlState::InvalidObjectDefinition, message)
            .at(place)
            .with_detail("A generated column cannot reference another generated column."));
    }
    bind(road, table, columns, generated, column, Purpose::Generated)
}

/// Where the expression names the column first.
fn position_of(expression: &ast::Expr, name: &str, source: &str) -> Option<u32> {
    let found = ast::visit_expressions(expression, |expression| match expression {
        ast::Expr::Identifier(ident) if fold(ident) == name => ControlFlow::Break(ident.span),
        _ => ControlFlow::Continue(()),
    });
    match found {
        ControlFlow::Break(span) => span_position(source, span),
        ControlFlow::Continue(()) => None,
    }
}

/// Refuses an expression that may not be kept. The text to keep.
pub(super) fn bind(
    road: &Road<'_>,
    table: &str,
    columns: &[ColumnSpec],
    stored: &StoredExpression,
    column: &ColumnSpec,
    purpose: Purpose,
) -> Result<String> {
    let columns: Vec<RelationColumn> = columns.iter().map(column_of).collect();
    let column = column_of(column);
    plan::bind_stored((table, &columns), &column, &stored.expression, purpose, &road.context, &road.source)?;
    let text = with_own_columns(&stored.text, (None, table), quoted);
    plan::settled::stored(&columns, &column, purpose, &text, &road.context).map_err(Error::without_position)
}
