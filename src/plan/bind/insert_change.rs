//! INSERT as a change: with RETURNING, ON CONFLICT, or rows that it takes the place of.

use std::sync::Arc;

use datafusion::common::{Column, DFSchema, ScalarValue, TableReference};
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt as _, JoinType, LogicalPlan, LogicalPlanBuilder, Projection, Sort, lit,
};
use sqlparser::ast;

use super::change::{BoundChange, Changed, parts};
use super::expression::{Clause, Context};
use super::filled::over_values;
use super::from::From;
use super::insert::{Into, null_of};
use super::merge::{first_of, value_of};
use super::scope::{Environment, Item, Origin, Scope, ScopeColumn};
use super::{Binder, plan_columns};
use crate::error::{Error, Result, SqlState};
use crate::lake::{RowAction, TableCheck};
use crate::plan::relations::{RelationColumn, Relations, ResolvedTable};
use crate::plan::typing::{self, Typed};
use crate::sql::{ConflictAction, Insert, Name, OnConflict, PartitionValue, Replaces};

/// The rows that go before others are inserted.
#[derive(Clone, Copy)]
enum Replaced<'a> {
    All,
    /// Those with these values.
    Having(&'a [(usize, Typed)]),
    Where(&'a ast::Expr),
}

/// Where a row stands among those of its key.
struct Places {
    /// Whether an earlier row has its key.
    again: Expr,
    /// Whether a later row has it.
    before_another: Expr,
}

impl Binder<'_> {
    /// `target` has two more columns than it tells: the file and the row.
    pub fn bind_insert_change(
        &self,
        target: &ResolvedTable,
        checks: &[TableCheck],
        insert: &Insert,
    ) -> Result<BoundChange> {
        let columns = &target.columns;
        let environment = self.with_clause(with_of(insert).as_ref(), &Environment::default())?;
        let fixed = match &insert.replaces {
            Replaces::Partitions(values) => self.partition_values(target, values, &environment)?,
            Replaces::None | Replaces::All | Replaces::Where(_) => Vec::new(),
        };
        let into = Into { table: &target.name, columns, targets: &insert.columns, fixed: &fixed };
        let rows = self.bind_insert_into(&into, insert.source.as_deref())?.plan;
        let changed = match (&insert.on_conflict, &insert.replaces) {
            // Without a key nothing is a conflict: no table has one of its own.
            (Some(OnConflict { columns, .. }), _) if columns.is_empty() => self.appended(target, insert, rows)?,
            (Some(conflict), _) => self.conflicting((target, checks), insert, conflict, rows, &environment)?,
            (None, Replaces::None) => self.appended(target, insert, rows)?,
            (None, Replaces::All) => self.replacing(target, insert, rows, Replaced::All, &environment)?,
            (None, Replaces::Partitions(_)) => {
                self.replacing(target, insert, rows, Replaced::Having(&fixed), &environment)?
            }
            (None, Replaces::Where(condition)) => {
                self.replacing(target, insert, rows, Replaced::Where(condition), &environment)?
            }
        };
        self.returned(target, changed, &insert.returning, true, &environment)
    }

    /// The rows as an item of the table's name.
    fn appended(&self, target: &ResolvedTable, insert: &Insert, rows: LogicalPlan) -> Result<Changed> {
        let name = insert.alias.as_ref().map_or_else(|| target.name.clone(), |alias| super::names::fold(&alias.name));
        let from = self.rows_item(target, rows, &name)?;
        let values = from.items.first().map(column_exprs).unwrap_or_default();
        let (file, row) = nowhere();
        let action = lit(RowAction::Insert.code());
        Ok(Changed { plan: from.plan, items: from.items, target: 0, file, row, action, values })
    }

    /// Rows that the statement takes away, and its own below them.
    fn replacing(
        &self,
        target: &ResolvedTable,
        insert: &Insert,
        rows: LogicalPlan,
        replaced: Replaced<'_>,
        environment: &Environment<'_>,
    ) -> Result<Changed> {
        if !insert.returning.is_empty() {
            return Err(Error::unsupported("RETURNING of an INSERT that replaces rows"));
        }
        let own = self.changed_table(target, insert.alias.as_ref(), insert.table.position)?;
        let (file, row, _) = parts(&own.items, 0)?;
        let condition = match replaced {
            Replaced::All => None,
            Replaced::Having(values) => self.having(&own, values)?,
            Replaced::Where(condition) => {
                let scope = self.scope_of(&own, environment, &[]);
                Some(self.boolean(condition, &Context::new(&scope, Clause::Where), "WHERE")?)
            }
        };
        let gone = match condition {
            None => own.plan.clone(),
            Some(condition) => LogicalPlanBuilder::from(own.plan.clone()).filter(condition)?.build()?,
        };
        let nulls = target.columns.iter().map(|column| null_of(column.ty).expr);
        let mut taken = vec![file, row, lit(RowAction::Delete.code())];
        taken.extend(nulls);
        let new = self.rows_item(target, rows, &target.name)?;
        let action = match replaced {
            Replaced::All | Replaced::Having(_) => lit(RowAction::Insert.code()),
            Replaced::Where(condition) => {
                let scope = self.scope_of(&new, environment, &[]);
                let condition = self.boolean(condition, &Context::new(&scope, Clause::Where), "WHERE")?;
                first_of(vec![(condition, lit(RowAction::Insert.code()))], lit(RowAction::Fail.code()))?
            }
        };
        let (nowhere_file, nowhere_row) = nowhere();
        let mut given = vec![nowhere_file, nowhere_row, action];
        given.extend(new.items.first().map(column_exprs).unwrap_or_default());
        let names: Vec<String> = (0..given.len()).map(|_| self.unique("changed")).collect();
        let named =
            |exprs: Vec<Expr>| exprs.into_iter().zip(&names).map(|(expr, name)| expr.alias(name)).collect::<Vec<_>>();
        let given = LogicalPlanBuilder::from(new.plan).project(named(given))?.build()?;
        let plan = LogicalPlanBuilder::from(gone).project(named(taken))?.union(given)?.build()?;
        let mut exprs = plan_columns(&plan).into_iter();
        let (Some(file), Some(row), Some(action)) = (exprs.next(), exprs.next(), exprs.next()) else {
            return Err(Error::internal("a change has too few columns"));
        };
        Ok(Changed { plan, items: Vec::new(), target: 0, file, row, action, values: exprs.collect() })
    }

    /// The constants of PARTITION, as their columns' values.
    fn partition_values(
        &self,
        target: &ResolvedTable,
        values: &[PartitionValue],
        environment: &Environment<'_>,
    ) -> Result<Vec<(usize, Typed)>> {
        let names: Vec<Name> = values.iter().map(|value| value.column.clone()).collect();
        // A list without names would be all columns.
        let chosen =
            if names.is_empty() { Vec::new() } else { self.insert_targets(&target.name, &target.columns, &names)? };
        let scope = Scope::empty(environment);
        let context = Context::new(&scope, Clause::Values);
        let mut fixed = Vec::new();
        for (index, value) in chosen.into_iter().zip(values) {
            let (Some(column), Some(value)) = (target.columns.get(index), &value.value) else { continue };
            fixed.push((index, self.inserted(self.expr(value, &context)?, column)?));
        }
        Ok(fixed)
    }

    /// Whether a row is of the partitions with these values; `None` for all.
    fn having(&self, own: &From, values: &[(usize, Typed)]) -> Result<Option<Expr>> {
        let mut all: Option<Expr> = None;
        for (index, value) in values {
            let Some(column) = own.items.first().and_then(|item| item.columns.get(*index)) else { continue };
            let known = match &value.expr {
                Expr::Literal(constant, _) => Some(constant.is_null()),
                _ => None,
            };
            let condition = match known {
                Some(true) => column.expr.clone().is_null(),
                Some(false) | None => {
                    // Files are told apart by plain equality only.
                    let operator = if known.is_some() { "=" } else { "IS NOT DISTINCT FROM" };
                    let column = Typed { expr: column.expr.clone(), ty: column.ty, position: None };
                    typing::binary(self.typing, operator, column, value.clone(), None, own.plan.schema())?.expr
                }
            };
            all = Some(all.map_or_else(|| condition.clone(), |all| all.and(condition.clone())));
        }
        Ok(all)
    }

    /// New rows joined to those with the same key: the rows of `excluded`.
    fn conflicting(
        &self,
        (target, checks): (&ResolvedTable, &[TableCheck]),
        insert: &Insert,
        conflict: &OnConflict,
        rows: LogicalPlan,
        environment: &Environment<'_>,
    ) -> Result<Changed> {
        let keys = self.conflict_keys(target, conflict)?;
        let ordinal = self.unique("ordinal");
        let rows = with_ordinal(rows, &ordinal)?;
        let excluded = self.rows_item(target, rows, "excluded")?;
        let (excluded, places) = self.numbered(excluded, &target.columns, &keys, &ordinal)?;
        let own = self.changed_table(target, insert.alias.as_ref(), insert.table.position)?;
        let (file, row, old) = parts(&own.items, 0)?;
        let new = excluded.items.first().map(column_exprs).unwrap_or_default();
        let mut equal = Vec::new();
        for key in &keys {
            let (Some(old), Some(new)) = (old.get(*key), new.get(*key)) else { continue };
            let Some(column) = target.columns.get(*key) else { continue };
            let key = |value: &Expr| typing::sort_key(value.clone(), column.ty);
            equal.push(key(old)?.eq(key(new)?));
        }
        let plan = LogicalPlanBuilder::from(excluded.plan).join_on(own.plan, JoinType::Left, equal)?.build()?;
        let items: Vec<Item> = own.items.into_iter().chain(excluded.items).collect();
        let from = From { plan, items };
        let (none, insert, fail) =
            (lit(ScalarValue::Int8(None)), lit(RowAction::Insert.code()), lit(RowAction::Fail.code()));
        // What a rule refuses is refused before anything else is asked: the gate has the words for it.
        let mut actions: Vec<(Expr, Expr)> = Vec::new();
        if let Some(broken) = self.broken(target, checks, &new, from.plan.schema())? {
            actions.push((broken, insert.clone()));
        }
        let free = file.clone().is_null();
        let mut updated = None;
        match &conflict.action {
            // A row that an earlier one of the same statement put there is left out,
            ConflictAction::Nothing => {
                actions.extend([(places.again, none.clone()), (free, insert.clone())]);
            }
            // or may not be changed twice.
            ConflictAction::Update { assignments, condition } => {
                let scope = self.scope_of(&from, environment, &[]);
                let assigned = self.assignments(&target.name, &target.columns, assignments, &scope)?;
                let applies = match condition {
                    Some(condition) => {
                        self.boolean(condition, &Context::new(&scope, Clause::Where).exact(), "WHERE")?
                    }
                    None => lit(true),
                };
                let first = first_of(vec![(places.again, fail.clone())], insert.clone())?;
                let change = first_of(vec![(places.before_another, fail)], lit(RowAction::Update.code()))?;
                actions.extend([(free, first), (applies, change)]);
                let values = assigned.into_iter().zip(old).map(|(value, old)| value.unwrap_or(old));
                updated = Some(values.collect::<Vec<_>>());
            }
        }
        let (plan, mut action) = self.computed(from.plan, vec![first_of(actions, none)?])?;
        let action = action.pop().unwrap_or_else(|| lit(ScalarValue::Int8(None)));
        let plan = LogicalPlanBuilder::from(plan).filter(action.clone().is_not_null())?.build()?;
        let is_new = action.clone().eq(insert);
        let values = match updated {
            None => new,
            Some(updated) => {
                let both = target.columns.iter().zip(new).zip(updated);
                let value = both.map(|((column, new), updated)| {
                    value_of(column.ty, vec![(is_new.clone(), new)], updated, plan.schema())
                });
                value.collect::<Result<_>>()?
            }
        };
        let of_old = |place: Expr, nowhere: Expr| first_of(vec![(is_new.clone(), nowhere)], place);
        let (nowhere_file, nowhere_row) = nowhere();
        let (file, row) = (of_old(file, nowhere_file)?, of_old(row, nowhere_row)?);
        // RETURNING tells of the table's row; `excluded` is out of its reach.
        let items = from.items.into_iter().enumerate();
        let items = items.map(|(index, item)| if index == 0 { item } else { item.out_of_reach() }).collect();
        Ok(Changed { plan, items, target: 0, file, row, action, values })
    }

    /// Whether a row breaks one of the table's rules; `None` when it has none.
    fn broken(
        &self,
        target: &ResolvedTable,
        checks: &[TableCheck],
        row: &[Expr],
        schema: &DFSchema,
    ) -> Result<Option<Expr>> {
        let columns = &target.columns;
        let required = columns.iter().zip(row).filter(|(column, _)| column.not_null);
        let mut broken: Vec<Expr> = required.map(|(_, value)| value.clone().is_null()).collect();
        for check in checks {
            let condition = crate::sql::parse_expression(&check.expression)?;
            let relations = Relations::default();
            let binder = Binder::new(self.typing, &relations, "");
            let condition =
                binder.bind_condition(&target.name, columns, &condition).map_err(Error::without_position)?;
            let condition = over_values(condition, columns, row, schema)?;
            broken.push(if check.null_passes { condition.is_false() } else { condition.is_not_true() });
        }
        Ok(broken.into_iter().reduce(Expr::or))
    }

    fn conflict_keys(&self, target: &ResolvedTable, conflict: &OnConflict) -> Result<Vec<usize>> {
        let missing = |name: &Name| {
            let message = format!("column \"{}\" does not exist", name.value);
            Error::new(SqlState::UndefinedColumn, message).at(conflict.target)
        };
        let find = |name: &Name| target.columns.iter().position(|column| column.name == name.value);
        conflict.columns.iter().map(|name| find(name).ok_or_else(|| missing(name))).collect()
    }

    /// The rows with columns that tell where a row stands among those of its key. NULL is no one's key.
    fn numbered(
        &self,
        from: From,
        columns: &[RelationColumn],
        keys: &[usize],
        ordinal: &str,
    ) -> Result<(From, Places)> {
        let exprs = from.items.first().map(column_exprs).unwrap_or_default();
        let mut partition = Vec::new();
        let mut present = lit(true);
        for key in keys {
            let (Some(expr), Some(column)) = (exprs.get(*key), columns.get(*key)) else { continue };
            partition.push(typing::equal_key(expr.clone(), column.ty)?);
            present = present.and(expr.clone().is_not_null());
        }
        let ordinal = super::plan_columns(&from.plan).into_iter().find(|column| named(column, ordinal));
        let ordinal = ordinal.ok_or_else(|| Error::internal("new rows without their order"))?;
        let (first, last) = (self.unique("first"), self.unique("last"));
        let number = |ascending: bool| {
            let order = vec![ordinal.clone().sort(ascending, false)];
            row_number().partition_by(partition.clone()).order_by(order).build()
        };
        let (forward, backward) = (number(true)?.alias(&first), number(false)?.alias(&last));
        let (again, before_another) = (self.unique("again"), self.unique("before"));
        let column = |name: &str| Expr::Column(Column::from_name(name));
        let mut out = plan_columns(&from.plan);
        out.push(column(&first).gt(lit(1_u64)).and(present.clone()).alias(&again));
        out.push(column(&last).gt(lit(1_u64)).and(present).alias(&before_another));
        let plan = LogicalPlanBuilder::from(from.plan).window([forward])?.window([backward])?.project(out)?.build()?;
        let places = Places { again: column(&again), before_another: column(&before_another) };
        Ok((From { plan, items: from.items }, places))
    }

    /// Rows of the table's shape as a FROM item.
    fn rows_item(&self, target: &ResolvedTable, rows: LogicalPlan, name: &str) -> Result<From> {
        let qualifier = TableReference::bare(self.unique(name));
        let plan = LogicalPlanBuilder::from(rows).alias(qualifier)?.build()?;
        let columns = target.columns.iter().zip(plan_columns(&plan)).enumerate();
        let columns = columns.map(|(index, (column, expr))| ScopeColumn {
            name: column.name.clone(),
            expr,
            ty: column.ty,
            origin: Origin { table: target.oid, attribute: index as i16 + 1 },
        });
        let item = Item {
            name: Some(name.to_owned()),
            schema: None,
            hidden_name: None,
            table_oid: target.oid,
            columns: columns.collect(),
            relation_visible: true,
            columns_visible: true,
            scalar: false,
            system: Vec::new(),
            position: None,
        };
        Ok(From { plan, items: vec![item] })
    }
}

/// The CTEs that stand before INSERT.
fn with_of(insert: &Insert) -> Option<ast::With> {
    let mut with = insert.source.as_ref()?.with.clone()?;
    with.cte_tables.truncate(insert.with_tables);
    (!with.cte_tables.is_empty()).then_some(with)
}

/// The rows with one more column, which counts them in the order of the query.
fn with_ordinal(plan: LogicalPlan, name: &str) -> Result<LogicalPlan> {
    Ok(match plan {
        LogicalPlan::Projection(Projection { expr, input, .. }) => {
            let input = with_ordinal(Arc::unwrap_or_clone(input), name)?;
            let exprs = expr.into_iter().chain([Expr::Column(Column::from_name(name))]);
            LogicalPlanBuilder::from(input).project(exprs.collect::<Vec<_>>())?.build()?
        }
        LogicalPlan::Sort(Sort { expr, input, fetch: None }) => {
            let ordinal = row_number().order_by(expr).build()?.alias(name);
            LogicalPlanBuilder::from(Arc::unwrap_or_clone(input)).window([ordinal])?.build()?
        }
        other => {
            let ordinal = row_number().alias(name);
            LogicalPlanBuilder::from(other).window([ordinal])?.build()?
        }
    })
}

fn named(column: &Expr, name: &str) -> bool {
    matches!(column, Expr::Column(column) if column.name == name)
}

fn column_exprs(item: &Item) -> Vec<Expr> {
    item.columns.iter().map(|column| column.expr.clone()).collect()
}

/// File and row of what no file has.
fn nowhere() -> (Expr, Expr) {
    (lit(ScalarValue::Int32(None)), lit(ScalarValue::Int64(None)))
}
