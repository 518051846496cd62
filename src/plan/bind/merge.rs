//! MERGE: the source joined to the target, for each pair the first clause that holds, and what that clause makes.

use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::{Expr, JoinType, LogicalPlanBuilder, lit};
use sqlparser::ast;

use super::change::{BoundChange, Changed, parts};
use super::expression::{Clause, Context};
use super::from::From;
use super::insert::check_count;
use super::scope::{Environment, Item, Scope};
use super::{Binder, digits, plan_columns};
use crate::encode::types::PgType;
use crate::error::{Error, Result, SqlState};
use crate::lake::RowAction;
use crate::plan::relations::{RelationColumn, ResolvedTable};
use crate::sql::{Merge, MergeAction, MergeClause, MergeWhen, Name};

/// The two sides of a MERGE's join.
struct Sides {
    /// The source's items, then the target's one.
    items: Vec<Item>,
    target: usize,
    /// Not NULL where there is a row of the source.
    source_row: Expr,
}

impl Binder<'_> {
    pub fn bind_merge(&self, target: &ResolvedTable, merge: &Merge) -> Result<BoundChange> {
        check_reachable(&merge.clauses)?;
        let environment = self.with_clause(merge.with.as_ref(), &Environment::default())?;
        let own = self.changed_table(target, merge.alias.as_ref(), merge.table.position)?;
        let source = self.marked(self.bind_tables(std::slice::from_ref(&merge.source), &environment)?)?;
        let (source, source_row) = source;
        let named = |items: &[Item]| items.iter().filter_map(|item| item.name.clone()).collect::<Vec<_>>();
        if let Some(name) = named(&own.items).into_iter().find(|name| named(&source.items).contains(name)) {
            return Err(Error::new(SqlState::DuplicateAlias, format!("name \"{name}\" specified more than once"))
                .with_detail("The name is used both as MERGE target table and data source."));
        }
        let join_type = join_type(&merge.clauses);
        let joined = self.join_on(&source, own, join_type, &merge.condition, &environment, &[])?;
        let sides = Sides { target: joined.items.len() - 1, items: joined.items.clone(), source_row };
        let (file, row, old) = parts(&sides.items, sides.target)?;
        // Which clause: the first that holds.
        let mut chosen = Vec::new();
        for (number, clause) in merge.clauses.iter().enumerate() {
            chosen.push((self.holds(clause, &sides, &file, &joined, &environment)?, clause_code(number, clause)?));
        }
        let clause = self.unique("clause");
        let mut exprs = plan_columns(&joined.plan);
        exprs.push(first_of(chosen, lit(ScalarValue::Int16(None)))?.alias(&clause));
        let clause = Expr::Column(Column::from_name(clause));
        let plan =
            LogicalPlanBuilder::from(joined.plan).project(exprs)?.filter(clause.clone().is_not_null())?.build()?;
        let from = From { plan, items: joined.items };
        let mut actions = Vec::new();
        let mut made: Vec<Vec<(Expr, Expr)>> = vec![Vec::new(); target.columns.len()];
        for (number, what) in merge.clauses.iter().enumerate() {
            let code = clause_code(number, what)?;
            let this = clause.clone().eq(code);
            let Some((action, values)) = self.made(target, (what, merge.evolves), &sides, &from, &environment)? else {
                continue;
            };
            actions.push((this.clone(), lit(action.code())));
            for ((column, value), old) in made.iter_mut().zip(values).zip(&old) {
                // What no clause assigns needs no CASE.
                if value.as_ref() != Some(old) {
                    column.push((this.clone(), value.unwrap_or_else(|| old.clone())));
                }
            }
        }
        let schema = from.plan.schema();
        let columns = target.columns.iter().zip(made).zip(old);
        let values = columns.map(|((column, cases), old)| value_of(column.ty, cases, old, schema));
        let values = values.collect::<Result<_>>()?;
        let action = first_of(actions, lit(ScalarValue::Int8(None)))?;
        let (plan, mut action) = self.computed(from.plan, vec![action])?;
        let action = action.pop().unwrap_or_else(|| lit(ScalarValue::Int8(None)));
        self.merge_action.replace(Some(word_of(&action)?));
        let changed = Changed { plan, items: from.items, target: sides.target, file, row, action, values };
        self.returned(target, changed, &merge.returning, true, &environment)
    }

    /// Columns of the source that its clauses name and the table lacks, with their types, in the source's order.
    pub fn merge_news(&self, target: &ResolvedTable, merge: &Merge) -> Result<Vec<(String, PgType)>> {
        let environment = self.with_clause(merge.with.as_ref(), &Environment::default())?;
        let source = self.bind_tables(std::slice::from_ref(&merge.source), &environment)?;
        let mut news: Vec<(String, PgType)> = Vec::new();
        for column in source.items.iter().filter(|item| item.columns_visible).flat_map(|item| &item.columns) {
            let is_known = target.columns.iter().any(|known| known.name == column.name)
                || news.iter().any(|(known, _)| *known == column.name);
            if !is_known && merge.clauses.iter().any(|clause| clause.action.assigns(&column.name)) {
                let is_unknown = column.ty == PgType::UNKNOWN;
                news.push((column.name.clone(), if is_unknown { PgType::TEXT } else { column.ty }));
            }
        }
        Ok(news)
    }

    /// The source with a column that tells, above an outer join, whether there is a row of it.
    pub(super) fn marked(&self, source: From) -> Result<(From, Expr)> {
        let name = self.unique("source");
        let mut exprs = plan_columns(&source.plan);
        exprs.push(lit(true).alias(&name));
        let plan = LogicalPlanBuilder::from(source.plan).project(exprs)?.build()?;
        Ok((From { plan, items: source.items }, Expr::Column(Column::from_name(name))))
    }

    fn holds(
        &self,
        clause: &MergeClause,
        sides: &Sides,
        file: &Expr,
        joined: &From,
        environment: &Environment<'_>,
    ) -> Result<Expr> {
        let source = || sides.source_row.clone().is_not_null();
        let side = match clause.when {
            MergeWhen::Matched => source().and(file.clone().is_not_null()),
            MergeWhen::NotMatchedByTarget => file.clone().is_null(),
            MergeWhen::NotMatchedBySource => sides.source_row.clone().is_null(),
        };
        let Some(condition) = &clause.condition else { return Ok(side) };
        let scope = self.clause_scope(clause.when, sides, joined, environment);
        let context = Context::new(&scope, Clause::MergeWhen);
        // The condition is no other side's rows' business.
        first_of(vec![(side, self.boolean(condition, &context, "WHEN")?)], lit(false))
    }

    /// What a clause may name: the side that has no row is out of its reach.
    fn clause_scope<'s>(
        &self,
        when: MergeWhen,
        sides: &Sides,
        from: &From,
        environment: &Environment<'s>,
    ) -> Scope<'s> {
        let items = sides.items.iter().enumerate().map(|(index, item)| {
            let reached = match when {
                MergeWhen::Matched => true,
                MergeWhen::NotMatchedByTarget => index != sides.target,
                MergeWhen::NotMatchedBySource => index == sides.target,
            };
            if reached { item.clone() } else { item.out_of_reach() }
        });
        Scope {
            items: items.collect(),
            environment: environment.clone(),
            schema: from.plan.schema().clone(),
            windows: Vec::new(),
        }
    }

    /// The action of a clause and, for each column, its value where it is not the old one. `None` for DO NOTHING.
    fn made(
        &self,
        target: &ResolvedTable,
        (clause, evolves): (&MergeClause, bool),
        sides: &Sides,
        from: &From,
        environment: &Environment<'_>,
    ) -> Result<Option<(RowAction, Vec<Option<Expr>>)>> {
        let scope = self.clause_scope(clause.when, sides, from, environment);
        let source_scope = self.clause_scope(MergeWhen::NotMatchedByTarget, sides, from, environment);
        let columns = &target.columns;
        Ok(Some(match &clause.action {
            MergeAction::DoNothing => return Ok(None),
            MergeAction::Delete => (RowAction::Delete, vec![None; columns.len()]),
            MergeAction::Update(assignments) => {
                (RowAction::Update, self.assignments(&target.name, columns, assignments, &scope)?)
            }
            MergeAction::UpdateAll => (RowAction::Update, self.all_by_name(columns, &source_scope, clause, evolves)?),
            MergeAction::InsertAll => (RowAction::Insert, self.all_by_name(columns, &source_scope, clause, evolves)?),
            MergeAction::Insert { columns: named, values } => {
                (RowAction::Insert, self.merge_insert(target, named, values.as_deref(), &source_scope)?)
            }
        }))
    }

    /// `*`: each column of the table from the source's column of its name. What an evolving source lacks stays as it is, or
    /// gets its default.
    fn all_by_name(
        &self,
        columns: &[RelationColumn],
        source: &Scope<'_>,
        clause: &MergeClause,
        evolves: bool,
    ) -> Result<Vec<Option<Expr>>> {
        let context = Context::new(source, Clause::Update);
        let values = columns.iter().map(|column| {
            if column.is_generated() {
                return Ok(None);
            }
            if evolves && !source.has_column(&column.name) {
                return match clause.action {
                    MergeAction::InsertAll => Ok(Some(self.default_of(column)?.expr)),
                    _ => Ok(None),
                };
            }
            if !source.has_column(&column.name) {
                let message = format!("the source has no column \"{}\", which * would assign", column.name);
                return Err(Error::new(SqlState::UndefinedColumn, message).at(clause.position));
            }
            let name = ast::Expr::Identifier(ast::Ident::with_quote('"', &column.name));
            self.assigned_value(&name, column, &context).map(Some)
        });
        values.collect()
    }

    fn merge_insert(
        &self,
        target: &ResolvedTable,
        named: &[Name],
        values: Option<&[ast::Expr]>,
        scope: &Scope<'_>,
    ) -> Result<Vec<Option<Expr>>> {
        let columns = &target.columns;
        let context = Context::new(scope, Clause::Values);
        let chosen = self.insert_targets(&target.name, columns, named)?;
        let values = values.unwrap_or_default();
        check_count(values.len(), chosen.len(), named, |index| values.get(index).and_then(|value| self.start(value)))?;
        let own = columns.iter().map(|column| Ok(Some(self.default_of(column)?.expr)));
        let mut made: Vec<Option<Expr>> = own.collect::<Result<_>>()?;
        for (value, index) in values.iter().zip(chosen) {
            if let (Some(slot), Some(column)) = (made.get_mut(index), columns.get(index)) {
                *slot = Some(self.assigned_value(value, column, &context)?);
            }
        }
        Ok(made)
    }
}

/// 42601 for a clause behind one that takes all rows of its kind.
fn check_reachable(clauses: &[MergeClause]) -> Result<()> {
    let mut taken = Vec::new();
    for clause in clauses {
        if taken.contains(&clause.when) {
            let message = "unreachable WHEN clause specified after unconditional WHEN clause";
            return Err(Error::new(SqlState::SyntaxError, message));
        }
        if clause.condition.is_none() {
            taken.push(clause.when);
        }
    }
    Ok(())
}

/// What `merge_action()` says of an action.
fn word_of(action: &Expr) -> Result<Expr> {
    let words = [(RowAction::Insert, "INSERT"), (RowAction::Update, "UPDATE"), (RowAction::Delete, "DELETE")];
    let cases = words.map(|(kind, word)| (action.clone().eq(lit(kind.code())), lit(word)));
    first_of(cases.to_vec(), lit(ScalarValue::Utf8(None)))
}

/// Rows that no clause is for are not joined at all.
fn join_type(clauses: &[MergeClause]) -> JoinType {
    let any = |when| clauses.iter().any(|clause| clause.when == when);
    match (any(MergeWhen::NotMatchedByTarget), any(MergeWhen::NotMatchedBySource)) {
        (false, false) => JoinType::Inner,
        (true, false) => JoinType::Left,
        (false, true) => JoinType::Right,
        (true, true) => JoinType::Full,
    }
}

/// The number of a clause; NULL for DO NOTHING, whose rows are left alone.
fn clause_code(number: usize, clause: &MergeClause) -> Result<Expr> {
    if matches!(clause.action, MergeAction::DoNothing) {
        return Ok(lit(ScalarValue::Int16(None)));
    }
    let number = i16::try_from(number)
        .map_err(|_| Error::new(SqlState::ProgramLimitExceeded, "MERGE has too many WHEN clauses"))?;
    Ok(lit(number))
}

/// CASE over the conditions, in order.
pub(super) fn first_of(cases: Vec<(Expr, Expr)>, otherwise: Expr) -> Result<Expr> {
    if cases.is_empty() {
        return Ok(otherwise);
    }
    let cases = cases.into_iter().map(|(when, then)| (Box::new(when), Box::new(then))).collect();
    Ok(Expr::Case(Case { expr: None, when_then_expr: cases, else_expr: Some(Box::new(otherwise)) }))
}

/// The same for the values of a column, which have the digits of all of them: what is decided by the column's type would round
/// the others to those of the first.
pub(super) fn value_of(
    ty: PgType,
    mut cases: Vec<(Expr, Expr)>,
    mut otherwise: Expr,
    schema: &DFSchema,
) -> Result<Expr> {
    let values = cases.iter_mut().map(|(_, value)| value).chain([&mut otherwise]);
    digits::alike(ty, values.map(|value| (value, schema)).collect());
    first_of(cases, otherwise)
}
