//! ALTER TABLE's changes of the table itself: all actions of a statement are one commit, of the metadata alone or with all
//! rows written anew.
//!
//! ```text
//! actions ─→ Draft ─┬ fits the files: conditions are asked of the rows ─┐
//!                   └ does not: every row through the gate ─→ files ────┴→ one commit ─→ the catalog's entry
//! ```
//! A crash before the catalog's entry leaves the log ahead: the next statement that opens the table records it
//! (`plan::recorded`).

use std::sync::Arc;

use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use futures::StreamExt;
use sqlparser::ast;

use super::alter::{drop_views, owner_oid, rename_in_views};
use super::alter_draft::{Draft, Scan};
use super::dependents::{self, Object};
use super::properties;
use super::road::{Road, Target};
use super::{create_table, stored};
use crate::catalog::Relation;
use crate::encode::types::{PgType, format_type, type_words};
use crate::error::{Error, Result, Severity, SqlState};
use crate::lake::{ColumnSpec, Input, WriteMode};
use crate::plan::bind::BoundQuery;
use crate::plan::recorded::{Recorded, relation_mut};
use crate::plan::relations::RelationColumn;
use crate::plan::resolve::column_of;
use crate::plan::{self, Purpose};
use crate::sql::{AlterAction, AlterChange, CheckConstraint, ColumnDefinition, Name, QualifiedName, StoredExpression};

/// Times that a statement is run before other writers' commits end it with 40001.
const ATTEMPTS_MAX: u32 = 10;

/// What a statement does to the definition.
#[derive(Clone, Copy)]
pub(super) enum Edit<'a> {
    Change(&'a AlterChange),
    /// COMMENT ON the table, or on one of its columns.
    Comment(Option<&'a Name>, Option<&'a str>),
}

/// Commits what the edit makes of the table's definition, again on a newer version when other writers were faster.
pub(super) async fn run(road: &mut Road<'_>, name: &QualifiedName, relation: &Relation, edit: Edit<'_>) -> Result<()> {
    let mut attempt = 1;
    loop {
        let mut target = road.target(name, "alter").await?;
        let turn = road.ground.lake.turn(&target.table).await;
        road.unpin();
        target = road.target(name, "alter").await?;
        let mut draft = Draft::new((&target.schema, &target.name), &target.table);
        match edit {
            Edit::Change(change) => apply(road, &mut draft, relation, change).await?,
            Edit::Comment(column, text) => comment(&mut draft, column, text)?,
        }
        let done = finish(road, &target, relation.oid, &draft).await;
        drop(turn);
        match done {
            Err(error)
                if error.sqlstate() == SqlState::SerializationFailure && attempt < ATTEMPTS_MAX && !road.staged =>
            {
                attempt += 1;
            }
            done => return done,
        }
    }
}

fn comment(draft: &mut Draft, column: Option<&Name>, text: Option<&str>) -> Result<()> {
    match column {
        None => draft.set_comment(text.map(str::to_owned)),
        Some(column) => {
            let index = draft.column(&column.value)?;
            draft.spec_mut(index)?.comment = text.map(str::to_owned);
        }
    }
    Ok(())
}

async fn apply(road: &mut Road<'_>, draft: &mut Draft, relation: &Relation, change: &AlterChange) -> Result<()> {
    match change {
        AlterChange::RenameColumn { from, to } => rename_column(draft, from, to),
        AlterChange::RenameConstraint { from, to } => rename_constraint(draft, from, to),
        AlterChange::Actions(actions) => {
            let mut ordered: Vec<&AlterAction> = actions.iter().collect();
            ordered.sort_by_key(|action| pass(action));
            for action in ordered {
                act(road, draft, relation, action).await?;
            }
            Ok(())
        }
        AlterChange::RenameTo(_) | AlterChange::SetSchema(_) => Ok(()),
    }
}

/// PostgreSQL's order of actions: what is dropped makes room for what is added.
fn pass(action: &AlterAction) -> u8 {
    match action {
        AlterAction::DropColumn { .. }
        | AlterAction::DropConstraint { .. }
        | AlterAction::Default { value: None, .. } => 0,
        AlterAction::Type { .. } => 1,
        AlterAction::AddColumn { .. } => 2,
        AlterAction::Default { .. }
        | AlterAction::DropExpression { .. }
        | AlterAction::NotNull { .. }
        | AlterAction::Comment { .. } => 3,
        AlterAction::AddCheck(_) => 4,
        AlterAction::Owner(_)
        | AlterAction::SetProperties(_)
        | AlterAction::UnsetProperties { .. }
        | AlterAction::ClusterBy(_) => 5,
    }
}

async fn act(road: &mut Road<'_>, draft: &mut Draft, relation: &Relation, action: &AlterAction) -> Result<()> {
    match action {
        AlterAction::AddColumn { column, checks, if_not_exists } => {
            add_column(road, draft, column, checks, *if_not_exists)
        }
        AlterAction::DropColumn { name, if_exists, cascade } => {
            drop_column(road, draft, relation, name, *if_exists, *cascade).await
        }
        AlterAction::Type { column, ty, using } => set_type(road, draft, relation, column, *ty, using.as_deref()).await,
        AlterAction::NotNull { column, set } => set_not_null(draft, column, *set),
        AlterAction::Default { column, value } => set_default(road, draft, column, value.as_ref()),
        AlterAction::DropExpression { column, if_exists } => drop_expression(road, draft, column, *if_exists),
        AlterAction::Comment { column, text } => {
            let index = draft.column(&column.value)?;
            draft.spec_mut(index)?.comment = Some(text.clone()).filter(|text| !text.is_empty());
            Ok(())
        }
        AlterAction::AddCheck(check) => add_check(road, draft, check),
        AlterAction::DropConstraint { name, if_exists } => drop_constraint(road, draft, name, *if_exists),
        AlterAction::Owner(owner) => {
            draft.owner = Some(owner_oid(road, owner)?);
            Ok(())
        }
        AlterAction::SetProperties(properties) => set_properties(draft, properties),
        AlterAction::UnsetProperties { keys, must_exist } => unset_properties(draft, keys, *must_exist),
        AlterAction::ClusterBy(columns) => {
            let known: Vec<String> = draft.specs().into_iter().map(|spec| spec.name).collect();
            let names = columns.as_deref().unwrap_or_default();
            properties::clustering(names, &known)?;
            draft.cluster_by(names.iter().map(|name| name.value.clone()).collect());
            Ok(())
        }
    }
}

fn add_column(
    road: &Road<'_>,
    draft: &mut Draft,
    column: &ColumnDefinition,
    checks: &[CheckConstraint],
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
    stored::check_definition(road, &draft.name, &all, column, &spec).map_err(Error::without_position)?;
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
    checks.iter().try_for_each(|check| add_check(road, draft, check))
}

/// An expression over the old columns.
fn bound(
    road: &Road<'_>,
    draft: &Draft,
    column: &ColumnSpec,
    stored: &StoredExpression,
    purpose: Purpose,
) -> Result<Expr> {
    let over = (draft.name.as_str(), draft.old.as_slice());
    plan::bind_stored(over, &column_of(column), &stored.expression, purpose, &road.context, &road.source)
}

fn is_volatile(expr: &Expr) -> Result<bool> {
    use datafusion::common::tree_node::TreeNode as _;
    use datafusion::logical_expr::Volatility;
    Ok(expr.exists(|expr| {
        Ok(matches!(expr, Expr::ScalarFunction(call) if call.func.signature().volatility == Volatility::Volatile))
    })?)
}

async fn drop_column(
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
    if !cascade && (!generated.is_empty() || !views.is_empty()) {
        let (table, column) = (&draft.name, &name.value);
        let columns = generated
            .iter()
            .map(|other| format!("column {other} of table {table} depends on column {column} of table {table}"));
        let views: Vec<Object> = views.iter().map(|(schema, view)| Object::relation(schema, view)).collect();
        let on = format!("column {column} of table {table}");
        let views = dependents::told(&road.snapshot, &road.context.search_path, &on, &views);
        let message = format!("cannot drop column {column} of table {table} because other objects depend on it");
        return Err(Error::new(SqlState::DependentObjectsStillExist, message)
            .with_detail(columns.chain(views).collect::<Vec<_>>().join("\n"))
            .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    draft.drop_column(index)?;
    for other in generated {
        let message = format!("drop cascades to column {other} of table {}", draft.name);
        road.notice(Error::notice(Severity::Notice, SqlState::SuccessfulCompletion, message));
        let index = draft.column(&other)?;
        draft.drop_column(index)?;
    }
    draft.views.extend(views);
    Ok(())
}

async fn set_type(
    road: &mut Road<'_>,
    draft: &mut Draft,
    relation: &Relation,
    name: &Name,
    ty: PgType,
    using: Option<&ast::Expr>,
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
        // It is a value of the column's old type: a literal's text may suit the new one and yet be no such value.
        let text = format!("({text})::{}", format_type(old.ty));
        let default = StoredExpression { expression: Box::new(crate::sql::parse_expression(&text)?), text };
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
    }
    if ty != old.ty || using.is_some() {
        draft.set_type(index, ty, value)?;
    }
    Ok(())
}

fn no_cast(error: Error, spec: &ColumnSpec) -> Error {
    if error.sqlstate() != SqlState::DatatypeMismatch {
        return error.without_position();
    }
    let message = format!("column \"{}\" cannot be cast automatically to type {}", spec.name, type_words(spec.ty.oid));
    let column = properties::quoted(&spec.name);
    Error::new(SqlState::DatatypeMismatch, message)
        .with_hint(format!("You might need to specify \"USING {column}::{}\".", format_type(spec.ty)))
}

fn set_not_null(draft: &mut Draft, column: &Name, set: bool) -> Result<()> {
    let index = draft.column(&column.value)?;
    let spec = draft.spec_mut(index)?;
    let had = std::mem::replace(&mut spec.not_null, set);
    if set && !had {
        draft.scans.push(Scan::NotNull(index));
    }
    Ok(())
}

fn set_default(road: &Road<'_>, draft: &mut Draft, column: &Name, value: Option<&StoredExpression>) -> Result<()> {
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
    if let Some(value) = value {
        stored::bind(road, &draft.name, &[], value, &spec, Purpose::Default).map_err(Error::without_position)?;
    }
    draft.spec_mut(index)?.default = value.map(|value| value.text.clone());
    Ok(())
}

fn drop_expression(road: &Road<'_>, draft: &mut Draft, column: &Name, if_exists: bool) -> Result<()> {
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

fn add_check(road: &Road<'_>, draft: &mut Draft, check: &CheckConstraint) -> Result<()> {
    let columns: Vec<RelationColumn> = draft.columns.iter().map(|column| column_of(&column.spec)).collect();
    let bound = plan::bind_condition(&draft.name, &columns, &check.expression, &road.context, &road.source);
    bound.map_err(Error::without_position)?;
    let taken: Vec<(String, String)> =
        draft.checks.iter().map(|check| (check.name.clone(), check.expression.clone())).collect();
    if let Some(name) = check.name.as_ref().filter(|name| taken.iter().any(|(other, _)| *other == name.value)) {
        let message = format!("constraint \"{}\" for relation \"{}\" already exists", name.value, draft.name);
        return Err(Error::new(SqlState::DuplicateObject, message));
    }
    let name = create_table::constraint_name(&draft.name, check, &taken)?;
    draft.add_check(name, check.text.clone());
    Ok(())
}

fn drop_constraint(road: &Road<'_>, draft: &mut Draft, name: &Name, if_exists: bool) -> Result<()> {
    if draft.checks.iter().any(|check| check.name == name.value) {
        draft.drop_check(&name.value);
        return Ok(());
    }
    let message = format!("constraint \"{}\" of relation \"{}\" does not exist", name.value, draft.name);
    if if_exists {
        let message = format!("{message}, skipping");
        road.notice(Error::notice(Severity::Notice, SqlState::SuccessfulCompletion, message));
        return Ok(());
    }
    Err(Error::new(SqlState::UndefinedObject, message))
}

fn rename_column(draft: &mut Draft, from: &Name, to: &Name) -> Result<()> {
    let Some(index) = draft.find(&from.value) else {
        return Err(Error::new(SqlState::UndefinedColumn, format!("column \"{}\" does not exist", from.value)));
    };
    if draft.find(&to.value).is_some() {
        let message = format!("column \"{}\" of relation \"{}\" already exists", to.value, draft.name);
        return Err(Error::new(SqlState::DuplicateColumn, message));
    }
    create_table::check_name(&to.value)?;
    draft.rename_column(index, &to.value)?;
    create_table::check_columns(&draft.specs())
}

fn rename_constraint(draft: &mut Draft, from: &Name, to: &Name) -> Result<()> {
    let has = |name: &Name| draft.checks.iter().any(|check| check.name == name.value);
    if !has(from) {
        let message = format!("constraint \"{}\" for table \"{}\" does not exist", from.value, draft.name);
        return Err(Error::new(SqlState::UndefinedObject, message));
    }
    if has(to) {
        let message = format!("constraint \"{}\" for relation \"{}\" already exists", to.value, draft.name);
        return Err(Error::new(SqlState::DuplicateObject, message));
    }
    draft.rename_check(&from.value, &to.value)
}

fn set_properties(draft: &mut Draft, given: &[(String, String)]) -> Result<()> {
    for (key, value) in given {
        properties::check_free(key)?;
        draft.set_property(key, Some(value));
    }
    Ok(())
}

fn unset_properties(draft: &mut Draft, keys: &[String], must_exist: bool) -> Result<()> {
    for key in keys {
        properties::check_free(key)?;
        if key.starts_with("delta.constraints.") {
            return Err(Error::unsupported(format!("table property \"{key}\"")).with_hint("Use DROP CONSTRAINT."));
        }
        if must_exist && !draft.has_property(key) {
            let message = format!("property \"{key}\" of table \"{}\" does not exist", draft.name);
            return Err(Error::new(SqlState::UndefinedObject, message).with_hint("Use UNSET TBLPROPERTIES IF EXISTS."));
        }
        draft.set_property(key, None);
    }
    Ok(())
}

/// Asks or rewrites the rows, commits, and records the new definition in the catalog.
async fn finish(road: &mut Road<'_>, target: &Target, oid: u32, draft: &Draft) -> Result<()> {
    let mut table = Arc::clone(&target.table);
    if draft.changes_table {
        let redefinition = Arc::new(draft.redefinition());
        let gate = road.gate_of(
            (&target.schema, &target.name),
            &draft.specs(),
            &redefinition.engine_schema(),
            draft.checks.clone(),
        );
        let gate = gate.map_err(Error::without_position)?;
        let input = if draft.rewrites {
            target.table.check_storable()?;
            let message = format!("table \"{}\" is being rewritten", draft.name);
            road.notice(
                Error::notice(Severity::Notice, SqlState::SuccessfulCompletion, message)
                    .with_detail("The change does not fit its files: all of them are read and written anew."),
            );
            let (plan, context) = road.physical(new_rows(draft)?).await?;
            Input::Plan(plan, context)
        } else {
            for scan in &draft.scans {
                ask(road, draft, scan).await?;
            }
            Input::Streams(Vec::new())
        };
        let written = road.write(WriteMode::Redefine(redefinition), input, gate, "ALTER TABLE").await;
        let written = written.map_err(|error| of_old_row(error, draft))?;
        if let Some(written) = written.table {
            table = written;
        }
    }
    let recorded = Recorded::of(&table);
    let (views, renamed, owner) = (draft.views.iter().cloned().collect::<Vec<_>>(), draft.renamed.clone(), draft.owner);
    let path = road.context.search_path.clone();
    let notices = road
        .define(move |document| {
            recorded.apply(document, oid);
            if let (Some(owner), Some(relation)) = (owner, relation_mut(document, oid)) {
                relation.owner = owner;
            }
            if let Some((from, to)) = &renamed {
                rename_in_views(document, oid, from, to);
            }
            Ok(drop_views(document, &path, &views))
        })
        .await?;
    notices.into_iter().for_each(|notice| road.notice(notice));
    Ok(())
}

fn scan_of(draft: &Draft) -> Result<LogicalPlanBuilder> {
    Ok(LogicalPlanBuilder::scan("altered", provider_as_source(draft.table.provider()?), None)?)
}

/// All rows as the new definition has them.
fn new_rows(draft: &Draft) -> Result<LogicalPlan> {
    let mut values = Vec::with_capacity(draft.columns.len());
    for (index, column) in draft.columns.iter().enumerate() {
        let value = plan::over_rows(column.value.clone(), &draft.old, draft.table.arrow_schema())?;
        values.push(value.alias(format!("altered:{index}")));
    }
    let plan = scan_of(draft)?.project(values)?.build()?;
    let wanted: Vec<(String, PgType)> =
        draft.columns.iter().map(|column| (column.spec.name.clone(), column.spec.ty)).collect();
    plan::cast_columns(BoundQuery { plan, columns: Vec::new() }, &wanted)
}

/// Whether a row that is there breaks a new rule.
async fn ask(road: &Road<'_>, draft: &Draft, scan: &Scan) -> Result<()> {
    if !draft.has_rows() {
        return Ok(());
    }
    let (condition, error) = match scan {
        Scan::NotNull(index) => {
            let Some(column) = draft.columns.get(*index) else { return Ok(()) };
            (column.value.clone().is_null(), contains_nulls(draft, &column.spec.name))
        }
        Scan::Check(name) => {
            let Some(check) = draft.checks.iter().find(|check| check.name == *name) else { return Ok(()) };
            let columns: Vec<RelationColumn> = draft.columns.iter().map(|column| column_of(&column.spec)).collect();
            let expression = crate::sql::parse_expression(&check.expression)?;
            let condition = plan::bind_condition(&draft.name, &columns, &expression, &road.context, &check.expression)?;
            // Columns that are new hold NULL in the rows that are there.
            let condition = over_old(condition, draft)?;
            (condition.is_false(), violated(draft, name))
        }
    };
    let condition = plan::over_rows(condition, &draft.old, draft.table.arrow_schema())?;
    let plan = scan_of(draft)?.filter(condition)?.limit(0, Some(1))?.build()?;
    let mut rows = road.start(plan).await?;
    while let Some(batch) = rows.next().await.transpose()? {
        if batch.num_rows() > 0 {
            return Err(error);
        }
    }
    Ok(())
}

/// A condition on the new columns as one on the old ones.
fn over_old(condition: Expr, draft: &Draft) -> Result<Expr> {
    use datafusion::common::tree_node::{Transformed, TreeNode as _};
    let replaced = condition.transform_up(|expr| {
        let Expr::Column(column) = &expr else { return Ok(Transformed::no(expr)) };
        let found = draft.columns.iter().find(|other| other.spec.name == column.name);
        Ok(found.map_or(Transformed::no(expr), |found| Transformed::yes(found.value.clone())))
    })?;
    Ok(replaced.data)
}

fn contains_nulls(draft: &Draft, column: &str) -> Error {
    let message = format!("column \"{column}\" of relation \"{}\" contains null values", draft.name);
    Error::new(SqlState::NotNullViolation, message).with_table(&draft.schema, &draft.name).with_column(column)
}

fn violated(draft: &Draft, constraint: &str) -> Error {
    let message = format!("check constraint \"{constraint}\" of relation \"{}\" is violated by some row", draft.name);
    Error::new(SqlState::CheckViolation, message).with_table(&draft.schema, &draft.name).with_constraint(constraint)
}

/// The gate speaks of new rows; these are the ones that were there.
fn of_old_row(error: Error, draft: &Draft) -> Error {
    match (error.sqlstate(), error.column(), error.constraint()) {
        (SqlState::NotNullViolation, Some(column), _) => contains_nulls(draft, column),
        (SqlState::CheckViolation, _, Some(constraint)) => violated(draft, constraint),
        _ => error,
    }
}
