//! Joins: ON, USING and NATURAL, with the columns that the last two merge.

use std::sync::Arc;

use datafusion::logical_expr::{JoinType, LogicalPlanBuilder};
use sqlparser::ast;
use sqlparser::ast::Spanned as _;

use super::Binder;
use super::expression::{Clause, Context};
use super::from::{From, Left, Placed};
use super::names::fold;
use super::scope::{Environment, Item, Origin, Scope, ScopeColumn};
use crate::error::{Error, Result, SqlState};
use crate::plan::typing::{self, Typed};

impl Binder<'_> {
    pub(super) fn join(&self, left: &From, join: &ast::Join, here: Left<'_, '_>) -> Result<From> {
        use ast::JoinOperator as Op;
        let (join_type, constraint) = match &join.join_operator {
            Op::Join(constraint) | Op::Inner(constraint) => (JoinType::Inner, constraint),
            Op::Left(constraint) | Op::LeftOuter(constraint) => (JoinType::Left, constraint),
            Op::Right(constraint) | Op::RightOuter(constraint) => (JoinType::Right, constraint),
            Op::FullOuter(constraint) => (JoinType::Full, constraint),
            Op::CrossJoin(constraint) => (JoinType::Inner, constraint),
            _ => return Err(Error::unsupported("this kind of JOIN").at(self.position(join.relation.span()))),
        };
        let environment = here.environment;
        let siblings = here.siblings;
        let right = match self.factor(&join.relation, &Left { join: join_type, ..here })? {
            Placed::Joined(joined) => return self.lateral_function_join(joined, join_type, constraint, environment),
            Placed::Beside(right) => right,
        };
        self.check_aliases(&left.items, &right.items)?;
        match constraint {
            ast::JoinConstraint::None => cross_or_true(left, right, join_type),
            ast::JoinConstraint::On(condition) => {
                self.join_on(left, right, join_type, condition, environment, siblings)
            }
            ast::JoinConstraint::Using(columns) => {
                let names = columns
                    .iter()
                    .filter_map(|column| column.0.first().and_then(ast::ObjectNamePart::as_ident))
                    .map(|ident| (fold(ident), self.position(ident.span)))
                    .collect();
                self.join_using(left, right, join_type, names)
            }
            ast::JoinConstraint::Natural => {
                let names = common_names(left, &right).into_iter().map(|name| (name, None)).collect();
                self.join_using(left, right, join_type, names)
            }
        }
    }

    /// A lateral function is planned on top of its left side; only conditions that are always true leave that right.
    fn lateral_function_join(
        &self,
        joined: From,
        join_type: JoinType,
        constraint: &ast::JoinConstraint,
        environment: &Environment<'_>,
    ) -> Result<From> {
        let always = match constraint {
            ast::JoinConstraint::None => true,
            ast::JoinConstraint::On(ast::Expr::Value(value)) => value.value == ast::Value::Boolean(true),
            _ => false,
        };
        match (join_type, constraint) {
            (JoinType::Inner | JoinType::Left, _) if always => Ok(joined),
            (JoinType::Inner, ast::JoinConstraint::On(condition)) => {
                let scope = self.scope_of(&joined, environment, &[]);
                let condition = self.boolean(condition, &Context::new(&scope, Clause::JoinOn), "JOIN/ON")?;
                let plan = LogicalPlanBuilder::from(joined.plan).filter(condition)?.build()?;
                Ok(From { plan, items: joined.items })
            }
            _ => Err(Error::unsupported("an outer join with a function that refers to the other side")),
        }
    }

    pub(super) fn join_on(
        &self,
        left: &From,
        right: From,
        join_type: JoinType,
        condition: &ast::Expr,
        environment: &Environment<'_>,
        siblings: &[Item],
    ) -> Result<From> {
        let schema = Arc::new(left.plan.schema().join(right.plan.schema())?);
        let items = left.items.iter().chain(&right.items).chain(siblings).cloned().collect();
        let scope = Scope { items, environment: environment.clone(), schema, windows: Vec::new() };
        let condition = self.boolean(condition, &Context::new(&scope, Clause::JoinOn), "JOIN/ON")?;
        let builder = LogicalPlanBuilder::from(left.plan.clone());
        let plan = match (super::values::has_subquery(&condition)?, join_type) {
            (false, _) => builder.join_on(right.plan, join_type, [condition])?.build()?,
            // A filter's subqueries are planned as joins; a join's own are not.
            (true, JoinType::Inner) => builder.cross_join(right.plan)?.filter(condition)?.build()?,
            (true, _) => builder.join_on(right.plan, join_type, [condition])?.build()?,
        };
        let mut items = left.items.clone();
        items.extend(right.items);
        Ok(From { plan, items })
    }

    /// USING and NATURAL: equal columns are merged into one, which stands first.
    fn join_using(
        &self,
        left: &From,
        right: From,
        join_type: JoinType,
        names: Vec<(String, Option<u32>)>,
    ) -> Result<From> {
        if names.is_empty() {
            return cross_or_true(left, right, join_type);
        }
        let schema = left.plan.schema().join(right.plan.schema())?;
        let mut merged = Vec::new();
        let mut conditions = Vec::new();
        for (name, position) in &names {
            if names.iter().filter(|(other, _)| other == name).count() > 1 {
                let message = format!("column name \"{name}\" appears more than once in USING clause");
                return Err(Error::new(SqlState::DuplicateColumn, message));
            }
            let a = side_column(&left.items, name, "left")?;
            let b = side_column(&right.items, name, "right")?;
            let typed = |column: &ScopeColumn| Typed { expr: column.expr.clone(), ty: column.ty, position: *position };
            // PostgreSQL looks for the common type before the operator, and gives no position.
            merged.push(self.merged_column(a, b, join_type, None)?);
            let equal = typing::binary(self.typing, "=", typed(a), typed(b), *position, &schema)?;
            conditions.push(equal.expr);
        }
        let plan = LogicalPlanBuilder::from(left.plan.clone()).join_on(right.plan, join_type, conditions)?.build()?;
        Ok(From { plan, items: merged_items(&left.items, &right.items, merged) })
    }

    fn merged_column(
        &self,
        a: &ScopeColumn,
        b: &ScopeColumn,
        join_type: JoinType,
        position: Option<u32>,
    ) -> Result<ScopeColumn> {
        let typed = |column: &ScopeColumn| Typed { expr: column.expr.clone(), ty: column.ty, position };
        let ty = typing::common_type(self.typing, &[typed(a), typed(b)], "JOIN/USING")?;
        let coerced = |column: &ScopeColumn| {
            typing::coerce(self.typing, typed(column), ty, typing::Coercion::Implicit).map(|typed| typed.expr)
        };
        let (expr, origin) = match join_type {
            JoinType::Right => (coerced(b)?, b.origin),
            JoinType::Full => {
                let either = datafusion::functions::core::expr_fn::coalesce(vec![coerced(a)?, coerced(b)?]);
                (either, Origin::default())
            }
            _ => (coerced(a)?, a.origin),
        };
        Ok(ScopeColumn { name: a.name.clone(), expr, ty, origin })
    }

    /// 42712 for a name that two items have; PostgreSQL gives no position.
    pub(super) fn check_aliases(&self, left: &[Item], right: &[Item]) -> Result<()> {
        for item in right.iter().filter(|item| item.relation_visible) {
            let Some(name) = &item.name else { continue };
            let same = |other: &&Item| {
                other.relation_visible
                    && other.name.as_ref() == Some(name)
                    // Tables of two schemas may share a name while neither has an alias.
                    && !matches!((&other.schema, &item.schema), (Some(a), Some(b)) if a != b)
            };
            if left.iter().any(|other| same(&other)) {
                let message = format!("table name \"{name}\" specified more than once");
                return Err(Error::new(SqlState::DuplicateAlias, message));
            }
        }
        Ok(())
    }
}

pub(super) fn cross(left: From, right: From) -> Result<From> {
    let plan = LogicalPlanBuilder::from(left.plan).cross_join(right.plan)?.build()?;
    let mut items = left.items;
    items.extend(right.items);
    Ok(From { plan, items })
}

fn cross_or_true(left: &From, right: From, join_type: JoinType) -> Result<From> {
    let builder = LogicalPlanBuilder::from(left.plan.clone());
    let plan = match join_type {
        JoinType::Inner => builder.cross_join(right.plan)?.build()?,
        other => builder.join_on(right.plan, other, [datafusion::logical_expr::lit(true)])?.build()?,
    };
    let mut items = left.items.clone();
    items.extend(right.items);
    Ok(From { plan, items })
}

fn visible_columns(items: &[Item]) -> impl Iterator<Item = &ScopeColumn> {
    items.iter().filter(|item| item.columns_visible).flat_map(|item| &item.columns)
}

fn common_names(left: &From, right: &From) -> Vec<String> {
    visible_columns(&left.items)
        .filter(|column| visible_columns(&right.items).any(|other| other.name == column.name))
        .map(|column| column.name.clone())
        .collect()
}

fn side_column<'i>(items: &'i [Item], name: &str, side: &str) -> Result<&'i ScopeColumn> {
    let mut named = visible_columns(items).filter(|column| column.name == name);
    match (named.next(), named.next()) {
        (Some(column), None) => Ok(column),
        (Some(_), Some(_)) => {
            let message = format!("common column name \"{name}\" appears more than once in {side} table");
            Err(Error::new(SqlState::AmbiguousColumn, message))
        }
        (None, _) => {
            let message = format!("column \"{name}\" specified in USING clause does not exist in {side} table");
            Err(Error::new(SqlState::UndefinedColumn, message))
        }
    }
}

/// The items of both sides for qualified names, and one nameless item with the columns that `*` lists.
fn merged_items(left: &[Item], right: &[Item], merged: Vec<ScopeColumn>) -> Vec<Item> {
    let names: Vec<String> = merged.iter().map(|column| column.name.clone()).collect();
    let rest = |items: &[Item]| {
        visible_columns(items).filter(|column| !names.contains(&column.name)).cloned().collect::<Vec<_>>()
    };
    let mut columns = merged;
    columns.extend(rest(left));
    columns.extend(rest(right));
    let join = Item {
        name: None,
        schema: None,
        hidden_name: None,
        table_oid: 0,
        columns,
        relation_visible: false,
        columns_visible: true,
        scalar: false,
        system: Vec::new(),
        position: None,
    };
    let sides = left.iter().chain(right).cloned().map(|item| Item { columns_visible: false, ..item });
    std::iter::once(join).chain(sides).collect()
}
