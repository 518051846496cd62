//! Columns that ALTER TABLE adds, drops, renames and gives another type, default or nullability.

use datafusion::logical_expr::Expr;
use sqlparser::ast;

use std::collections::BTreeSet;

use super::rules::{add_check, add_expectation};
use crate::catalog::Relation;
use crate::encode::types::{PgType, format_type, type_words};
use crate::error::{Error, Result, Severity, SqlState};
use crate::execute::alter_draft::{Draft, Scan};
use crate::execute::dependents::{self, Object};
use crate::execute::road::Road;
use crate::execute::row_rules::RuleEdit;
use crate::execute::{create_table, properties, row_rules, rule_renames, stored};
use crate::lake::ColumnSpec;
use crate::plan::resolve::column_of;
use crate::plan::{self, Purpose};
use crate::quality::{Expectation, ViolationAction};
use crate::sql::{CheckConstraint, ColumnDefinition, Name, RowExpectation, StoredExpression};

pub(super) fn add_column(
    road: &Road<'_>,
    draft: &mut Draft,
    relation: &Relation,
    (column, checks, expectations): (&ColumnDefinition, &[CheckConstraint], &[RowExpectation]),
    if_not_exists: bool,
) -> Result<()> {
    let Some(ty) = column.ty else { return Err(Error::internal("a column without a type was added")) };
    let name = &column.name.value;
    if draft.find(name).is_some() {
        let message = format!("column \"{name}\" of relation \"{}\" already exists", draft.name);
        if if_not_exists {
            road.notice(Error::notice(Severity::Notice, SqlState::DuplicateColumn, format!("{message}, skipping")));
            return Ok(());
        }
        return Err(Error::new(SqlState::DuplicateColumn, message));
    }
    create_table::check_name(name)?;
    check_apart(draft, relation, name)?;
    let spec = ColumnSpec {
        name: name.clone(),
        ty,
        not_null: column.not_null,
        comment: column.comment.clone(),
        default: column.default.as_ref().map(|default| default.text.clone()),
        generated: column.generated.as_ref().map(|generated| generated.text.clone()),
    };
    let mut all = draft.specs();
    all.push(spec.clone());
    create_table::check_columns(&all)?;
    let spec = stored::settled(road, &draft.name, &all, column, &spec).map_err(Error::without_position)?;
    let value = match (&column.default, &column.generated) {
        (Some(default), _) => {
            let value = bound(road, draft, &spec, default, Purpose::Default)?;
            if draft.has_rows() && is_volatile(&value)? {
                let message = "ADD COLUMN with a volatile DEFAULT to a table with rows";
                return Err(Error::unsupported(message).at(column.name.position));
            }
            Some(value)
        }
        (None, Some(generated)) => Some(bound(road, draft, &spec, generated, Purpose::Generated)?),
        (None, None) => None,
    };
    draft.add_column(spec, value);
    checks.iter().try_for_each(|check| add_check(road, draft, relation, check))?;
    expectations.iter().try_for_each(|rule| add_expectation(road, draft, relation, rule))
}

/// An expression over the old columns.
pub(super) fn bound(
    road: &Road<'_>,
    draft: &Draft,
    column: &ColumnSpec,
    stored: &StoredExpression,
    purpose: Purpose,
) -> Result<Expr> {
    let over = (draft.name.as_str(), draft.old.as_slice());
    plan::bind_stored(over, &column_of(column), &stored.expression, purpose, &road.context, &road.source)
}

pub(super) fn is_volatile(expr: &Expr) -> Result<bool> {
    use datafusion::common::tree_node::TreeNode as _;
    use datafusion::logical_expr::Volatility;
    Ok(expr.exists(|expr| {
        Ok(matches!(expr, Expr::ScalarFunction(call) if call.func.signature().volatility == Volatility::Volatile))
    })?)
}

pub(super) async fn drop_column(
    road: &mut Road<'_>,
    draft: &mut Draft,
    relation: &Relation,
    name: &Name,
    if_exists: bool,
    cascade: bool,
) -> Result<()> {
    let Some(index) = draft.find(&name.value) else {
        if if_exists {
            let message = format!("column \"{}\" of relation \"{}\" does not exist, skipping", name.value, draft.name);
            road.notice(Error::notice(Severity::Notice, SqlState::SuccessfulCompletion, message));
            return Ok(());
        }
        return draft.column(&name.value).map(drop);
    };
    let generated = draft.generated_from(&name.value);
    let views = road.views_reading(relation.oid, &name.value).await?;
    let rules = rule_renames::reading(&road.snapshot, relation, &name.value);
    if !cascade && (!generated.is_empty() || !views.is_empty() || !rules.is_empty()) {
        let (table, column) = (&draft.name, &name.value);
        let columns = generated
            .iter()
            .map(|other| format!("column {other} of table {table} depends on column {column} of table {table}"));
        let views: Vec<Object> = views.iter().map(|(schema, view)| Object::relation(schema, view)).collect();
        let on = format!("column {column} of table {table}");
        let rules = rules.iter().map(|(rule, of)| format!("expectation {rule} of table {of} depends on {on}"));
        let views = dependents::told(&road.snapshot, &road.context.search_path, &on, &views);
        let message = format!("cannot drop column {column} of table {table} because other objects depend on it");
        return Err(Error::new(SqlState::DependentObjectsStillExist, message)
            .with_detail(columns.chain(rules).chain(views).collect::<Vec<_>>().join("\n"))
            .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    draft.drop_column(index)?;
    drop_rules(road, draft, &rules, &name.value);
    for other in generated {
        let message = format!("drop cascades to column {other} of table {}", draft.name);
        road.notice(Error::notice(Severity::Notice, SqlState::SuccessfulCompletion, message));
        let index = draft.column(&other)?;
        draft.drop_column(index)?;
    }
    draft.views.extend(views);
    Ok(())
}

/// The expectations that a column takes along.
fn drop_rules(road: &Road<'_>, draft: &mut Draft, rules: &BTreeSet<(String, String)>, column: &str) {
    for (rule, of) in rules {
        let message = format!("drop cascades to expectation {rule} of table {of}");
        road.notice(Error::notice(Severity::Notice, SqlState::SuccessfulCompletion, message));
    }
    if !rules.is_empty() {
        draft.unread.push(column.to_owned());
    }
}

pub(super) async fn set_type(
    road: &mut Road<'_>,
    draft: &mut Draft,
    relation: &Relation,
    name: &Name,
    ty: PgType,
    (using, cascade): (Option<&ast::Expr>, bool),
) -> Result<()> {
    let index = draft.column(&name.value)?;
    let old = draft.spec(index)?.clone();
    if let Some(generated) = draft.generated_from(&name.value).first() {
        return Err(Error::new(
            SqlState::FeatureNotSupported,
            "cannot alter type of a column used by a generated column",
        )
        .with_detail(format!("Column \"{}\" is used by generated column \"{generated}\".", name.value)));
    }
    let rules = rule_renames::reading(&road.snapshot, relation, &name.value);
    if let Some((rule, of)) = rules.first().filter(|_| !cascade && ty != old.ty) {
        let message = "cannot alter type of a column used by an expectation";
        return Err(Error::new(SqlState::DependentObjectsStillExist, message)
            .with_detail(format!("expectation {rule} of table {of} depends on column \"{}\"", name.value))
            .with_hint("Use ALTER COLUMN ... TYPE ... CASCADE to drop the expectation too."));
    }
    if ty != old.ty {
        drop_rules(road, draft, &rules, &name.value);
    }
    if let Some((_, view)) = road.views_reading(relation.oid, &name.value).await?.first() {
        return Err(Error::new(SqlState::FeatureNotSupported, "cannot alter type of a column used by a view or rule")
            .with_detail(format!("rule _RETURN on view {view} depends on column \"{}\"", name.value)));
    }
    let spec = ColumnSpec { ty, ..old.clone() };
    let mut all = draft.specs();
    if let Some(slot) = all.get_mut(index) {
        slot.clone_from(&spec);
    }
    create_table::check_columns(&all)?;
    let own = ast::Expr::Identifier(ast::Ident::with_quote('"', &name.value));
    let over = (draft.name.as_str(), draft.old.as_slice());
    let value = match using {
        Some(using) => {
            plan::bind_stored(over, &column_of(&spec), using, Purpose::Transform, &road.context, &road.source)?
        }
        None => plan::bind_stored(over, &column_of(&spec), &own, Purpose::Transform, &road.context, "")
            .map_err(|error| no_cast(error, &spec))?,
    };
    if let Some(text) = &old.default {
        let text = &settled_default(road, text, (old.ty, ty))?;
        let default =
            StoredExpression { expression: Box::new(crate::sql::parse_expression(text)?), text: text.clone() };
        stored::bind(road, &draft.name, &[], &default, &spec, Purpose::Default).map_err(|error| {
            if error.sqlstate() != SqlState::DatatypeMismatch {
                return error.without_position();
            }
            let message = format!(
                "default for column \"{}\" cannot be cast automatically to type {}",
                spec.name,
                type_words(ty.oid)
            );
            Error::new(SqlState::DatatypeMismatch, message)
        })?;
        draft.spec_mut(index)?.default = Some(default.text);
    }
    if ty != old.ty || using.is_some() {
        draft.set_type(index, ty, value)?;
    }
    Ok(())
}

/// The default as it was read for the column's old type: a text that had no type of its own keeps that one. Anything else is
/// cast anew, as in PostgreSQL.
fn settled_default(road: &Road<'_>, text: &str, (old, new): (PgType, PgType)) -> Result<String> {
    let is_text = |ty: PgType| [PgType::TEXT, PgType::VARCHAR, PgType::BPCHAR].iter().any(|text| text.oid == ty.oid);
    let expression = crate::sql::parse_expression(text)?;
    let is_null = matches!(&expression, ast::Expr::Value(value) if value.value == ast::Value::Null);
    let own = plan::type_of_default(&expression, &road.context, text)?;
    let settles = !is_null && own.oid == PgType::UNKNOWN.oid && old.oid != new.oid && !(is_text(old) && is_text(new));
    Ok(if settles { format!("({text})::{}", format_type(PgType::of(old.oid))) } else { text.to_owned() })
}

pub(super) fn no_cast(error: Error, spec: &ColumnSpec) -> Error {
    if error.sqlstate() != SqlState::DatatypeMismatch {
        return error.without_position();
    }
    let message = format!("column \"{}\" cannot be cast automatically to type {}", spec.name, type_words(spec.ty.oid));
    let column = properties::quoted(&spec.name);
    Error::new(SqlState::DatatypeMismatch, message)
        .with_hint(format!("You might need to specify \"USING {column}::{}\".", format_type(spec.ty)))
}

pub(super) fn set_not_null(draft: &mut Draft, column: &Name, set: bool) -> Result<()> {
    let index = draft.column(&column.value)?;
    let spec = draft.spec_mut(index)?;
    let had = std::mem::replace(&mut spec.not_null, set);
    if set && !had {
        draft.scans.push(Scan::NotNull(index));
    }
    Ok(())
}

pub(super) fn set_default(
    road: &Road<'_>,
    draft: &mut Draft,
    column: &Name,
    value: Option<&StoredExpression>,
) -> Result<()> {
    let index = draft.column(&column.value)?;
    let spec = draft.spec(index)?.clone();
    if spec.generated.is_some() {
        let message = format!("column \"{}\" of relation \"{}\" is a generated column", spec.name, draft.name);
        let error = Error::new(SqlState::SyntaxError, message);
        return Err(if value.is_none() {
            error.with_hint("Use ALTER TABLE ... ALTER COLUMN ... DROP EXPRESSION instead.")
        } else {
            error
        });
    }
    let kept = match value {
        Some(value) => {
            let kept = stored::bind(road, &draft.name, &[], value, &spec, Purpose::Default);
            Some(kept.map_err(Error::without_position)?)
        }
        None => None,
    };
    draft.spec_mut(index)?.default = kept;
    Ok(())
}

pub(super) fn drop_expression(road: &Road<'_>, draft: &mut Draft, column: &Name, if_exists: bool) -> Result<()> {
    let index = draft.column(&column.value)?;
    if draft.spec(index)?.generated.is_none() {
        let message =
            format!("column \"{}\" of relation \"{}\" is not a stored generated column", column.value, draft.name);
        if if_exists {
            let message = format!("{message}, skipping");
            road.notice(Error::notice(Severity::Notice, SqlState::SuccessfulCompletion, message));
            return Ok(());
        }
        return Err(Error::new(SqlState::ObjectNotInPrerequisiteState, message));
    }
    draft.spec_mut(index)?.generated = None;
    Ok(())
}

pub(super) fn rename_column(draft: &mut Draft, relation: &Relation, from: &Name, to: &Name) -> Result<()> {
    let Some(index) = draft.find(&from.value) else {
        return Err(Error::new(SqlState::UndefinedColumn, format!("column \"{}\" does not exist", from.value)));
    };
    if draft.find(&to.value).is_some() {
        let message = format!("column \"{}\" of relation \"{}\" already exists", to.value, draft.name);
        return Err(Error::new(SqlState::DuplicateColumn, message));
    }
    create_table::check_name(&to.value)?;
    check_apart(draft, relation, &to.value)?;
    draft.rename_column(index, &to.value)?;
    create_table::check_columns(&draft.specs())
}

/// Refuses a name that the quarantine of the table has for a column of its own.
fn check_apart(draft: &Draft, relation: &Relation, name: &str) -> Result<()> {
    let puts_apart = |rule: &Expectation| {
        rule.action == ViolationAction::QuarantineRow
            && !draft.rules.iter().any(|edit| matches!(edit, RuleEdit::Drop(dropped) if *dropped == rule.name))
    };
    if row_rules::rules_of(relation).iter().any(puts_apart) { row_rules::check_quarantine_name(name) } else { Ok(()) }
}
