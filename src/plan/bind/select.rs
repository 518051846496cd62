//! SELECT: from the FROM clause over filters, groups, windows and sets to the projection, in the order that SQL gives them.

use std::sync::Arc;

use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::utils::find_aggregate_exprs;
use datafusion::logical_expr::{Distinct, DistinctOn, Expr, LogicalPlan, LogicalPlanBuilder, Sort, SortExpr, lit};
use sqlparser::ast;
use sqlparser::ast::Spanned as _;

use super::expression::aggregates::sort_of;
use super::expression::{Clause, Context};
use super::names::{column_name, fold};
use super::scope::{Environment, Origin, Resolved, Scope};
use super::{Binder, Bound, BoundColumn, Unknowns, is_unsettled, names, settle};
use crate::encode::types::PgType;
use crate::error::{Error, Result, SqlState};
use crate::plan::typing;

/// One expression of the SELECT list, or one that only ORDER BY or DISTINCT ON needs (hidden).
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub expr: Expr,
    pub ty: PgType,
    pub name: String,
    pub origin: Origin,
    pub position: Option<u32>,
    pub hidden: bool,
    unsettled: Option<super::Typed>,
}

/// ORDER BY as resolved: which target, and how.
pub(super) struct SortKey {
    pub target: usize,
    pub ty: PgType,
    pub options: ast::OrderByOptions,
}

impl Target {
    pub(super) fn hidden(value: super::Typed) -> Self {
        Self {
            expr: value.expr,
            ty: value.ty,
            name: String::new(),
            origin: Origin::default(),
            position: value.position,
            hidden: true,
            unsettled: None,
        }
    }
}

impl Binder<'_> {
    pub(super) fn select(
        &self,
        select: &ast::Select,
        order_by: &[ast::OrderByExpr],
        environment: &Environment<'_>,
        unknowns: Unknowns,
    ) -> Result<Bound> {
        self.refuse_clauses(select)?;
        let from = self.bind_tables(&select.from, environment)?;
        let mut scope = self.scope_of(&from, environment, &[]);
        scope.windows.clone_from(&select.named_window);
        self.check_windows(&scope)?;
        let mut plan = from.plan;
        if let Some(condition) = &select.selection {
            let condition = self.boolean(condition, &Context::new(&scope, Clause::Where), "WHERE")?;
            plan = LogicalPlanBuilder::from(plan).filter(condition)?.build()?;
        }
        let uses_from = self.uses.borrow().len();
        let mut targets = self.targets(&select.projection, &Context::new(&scope, Clause::Select), unknowns)?;
        let grouping = self.group_by(&select.group_by, &targets, &scope)?;
        let mut having = match &select.having {
            Some(condition) => Some(self.boolean(condition, &Context::new(&scope, Clause::Having), "HAVING")?),
            None => None,
        };
        let distinct = matches!(select.distinct, Some(ast::Distinct::Distinct));
        if distinct {
            targets.iter().try_for_each(|target| typing::check_equality(target.ty, target.position))?;
        }
        let sorts = self.order_by(order_by, &mut targets, &scope, distinct)?;
        let on = match &select.distinct {
            Some(ast::Distinct::On(exprs)) => self.distinct_on(exprs, &mut targets, &sorts, &scope)?,
            Some(ast::Distinct::Distinct | ast::Distinct::All) | None => Vec::new(),
        };
        let exprs = targets.iter().map(|target| &target.expr).chain(having.as_ref());
        if grouping.present || having.is_some() || !find_aggregate_exprs(exprs).is_empty() {
            let mut exprs: Vec<&mut Expr> =
                targets.iter_mut().map(|target| &mut target.expr).chain(having.as_mut()).collect();
            plan = self.aggregate(plan, &grouping, &mut exprs, uses_from)?;
        }
        if let Some(condition) = having {
            plan = LogicalPlanBuilder::from(plan).having(condition)?.build()?;
        }
        let mut exprs: Vec<&mut Expr> = targets.iter_mut().map(|target| &mut target.expr).collect();
        plan = self.windows(plan, &mut exprs)?;
        plan = self.unnest_sets(plan, &mut exprs)?;
        self.finish_select(plan, targets, &sorts, distinct, &on)
    }

    fn refuse_clauses(&self, select: &ast::Select) -> Result<()> {
        let refused = [
            (select.top.is_some(), "TOP"),
            (select.exclude.is_some(), "EXCLUDE"),
            (select.into.is_some(), "SELECT INTO"),
            (!select.lateral_views.is_empty(), "LATERAL VIEW"),
            (select.prewhere.is_some(), "PREWHERE"),
            (!select.connect_by.is_empty(), "CONNECT BY"),
            (!select.cluster_by.is_empty(), "CLUSTER BY"),
            (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
            (!select.sort_by.is_empty(), "SORT BY"),
            (select.qualify.is_some(), "QUALIFY"),
            (select.value_table_mode.is_some(), "SELECT AS VALUE"),
            (select.select_modifiers.is_some(), "a modifier of SELECT"),
            (!matches!(select.flavor, ast::SelectFlavor::Standard), "FROM before SELECT"),
        ];
        match refused.iter().find(|(present, _)| *present) {
            Some((_, what)) => Err(Error::unsupported(what).at(self.position(select.select_token.0.span))),
            None => Ok(()),
        }
    }

    fn check_windows(&self, scope: &Scope<'_>) -> Result<()> {
        for (index, definition) in scope.windows.iter().enumerate() {
            let name = fold(&definition.0);
            if scope.windows.iter().take(index).any(|other| fold(&other.0) == name) {
                let message = format!("window \"{name}\" is already defined");
                return Err(Error::new(SqlState::WindowingError, message).at(self.position(definition.0.span)));
            }
        }
        Ok(())
    }

    /// The list of a SELECT or RETURNING.
    pub(super) fn targets(
        &self,
        projection: &[ast::SelectItem],
        context: &Context<'_, '_>,
        unknowns: Unknowns,
    ) -> Result<Vec<Target>> {
        let scope = context.scope;
        let mut targets = Vec::new();
        for item in projection {
            match item {
                ast::SelectItem::UnnamedExpr(ast::Expr::QualifiedWildcard(name, _)) => {
                    self.wildcard_targets(name, scope, &mut targets)?;
                }
                ast::SelectItem::UnnamedExpr(expr) => {
                    targets.push(self.target(expr, column_name(expr), context, unknowns)?);
                }
                ast::SelectItem::ExprWithAlias { expr, alias } => {
                    targets.push(self.target(expr, fold(alias), context, unknowns)?);
                }
                ast::SelectItem::Wildcard(options) => {
                    let position = self.position(options.wildcard_token.0.span);
                    self.refuse_wildcard_options(options, position)?;
                    let columns = self.wildcard(scope, position)?;
                    targets.extend(columns.into_iter().map(|(name, column)| column_target(name, column)));
                }
                ast::SelectItem::QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                    self.refuse_wildcard_options(options, self.position(name.span()))?;
                    self.wildcard_targets(name, scope, &mut targets)?;
                }
                ast::SelectItem::QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::Expr(expr), _) => {
                    if let Some(name) = whole_relation(expr, scope) {
                        self.wildcard_targets(&name, scope, &mut targets)?;
                        continue;
                    }
                    return Err(Error::unsupported("(row).*").at(self.start(expr)));
                }
                ast::SelectItem::ExprWithAliases { expr, .. } => {
                    return Err(Error::unsupported("several aliases").at(self.start(expr)));
                }
            }
        }
        Ok(targets)
    }

    fn refuse_wildcard_options(&self, options: &ast::WildcardAdditionalOptions, position: Option<u32>) -> Result<()> {
        let refused = [
            (options.opt_ilike.is_some(), "* ILIKE"),
            (options.opt_exclude.is_some(), "* EXCLUDE"),
            (options.opt_except.is_some(), "* EXCEPT"),
            (options.opt_replace.is_some(), "* REPLACE"),
            (options.opt_rename.is_some(), "* RENAME"),
            (options.opt_alias.is_some(), "an alias of *"),
        ];
        match refused.iter().find(|(present, _)| *present) {
            Some((_, what)) => Err(Error::unsupported(what).at(position)),
            None => Ok(()),
        }
    }

    fn wildcard_targets(&self, name: &ast::ObjectName, scope: &Scope<'_>, targets: &mut Vec<Target>) -> Result<()> {
        let idents: Vec<ast::Ident> = name.0.iter().filter_map(ast::ObjectNamePart::as_ident).cloned().collect();
        let columns = self.relation_wildcard(&idents, scope)?;
        targets.extend(columns.into_iter().map(|(name, column)| column_target(name, column)));
        Ok(())
    }

    fn target(&self, expr: &ast::Expr, name: String, context: &Context<'_, '_>, unknowns: Unknowns) -> Result<Target> {
        let scope = context.scope;
        let column = match expr {
            ast::Expr::Identifier(ident) => Some(self.unqualified_column(ident, scope)?),
            ast::Expr::CompoundIdentifier(idents) => Some(self.qualified_column(idents, scope)?),
            _ => None,
        };
        if let Some(column) = column {
            return Ok(column_target(name, column));
        }
        let value = self.expr(expr, context)?;
        let position = value.position.or_else(|| self.start(expr));
        if unknowns == Unknowns::Wait && is_unsettled(&value) {
            let expr = lit(ScalarValue::Utf8(None));
            let (ty, origin) = (PgType::UNKNOWN, Origin::default());
            return Ok(Target { expr, ty, name, origin, position, hidden: false, unsettled: Some(value) });
        }
        let value = settle(self.typing, value)?;
        let origin = Origin::default();
        Ok(Target { expr: value.expr, ty: value.ty, name, origin, position, hidden: false, unsettled: None })
    }

    /// Projection, DISTINCT and ORDER BY; then without the hidden columns.
    fn finish_select(
        &self,
        plan: LogicalPlan,
        targets: Vec<Target>,
        sorts: &[SortKey],
        distinct: bool,
        on: &[usize],
    ) -> Result<Bound> {
        let visible = targets.iter().filter(|target| !target.hidden).count();
        let names = self.output_names(&targets);
        let exprs = targets.iter().zip(&names).map(|(target, name)| named(target.expr.clone(), name));
        let mut plan = LogicalPlanBuilder::from(plan).project(exprs.collect::<Vec<_>>())?.build()?;
        if distinct {
            plan = self.distinct_rows(plan, targets.iter().map(|target| target.ty))?;
        }
        if !on.is_empty() {
            plan = self.distinct_on_plan(plan, &targets, on, sorts)?;
        }
        plan = sorted(plan, sorts)?;
        if visible < targets.len() {
            plan = LogicalPlanBuilder::from(plan).select(0..visible)?.build()?;
        }
        let columns = targets
            .into_iter()
            .filter(|target| !target.hidden)
            .map(|target| BoundColumn {
                name: target.name,
                ty: target.ty,
                origin: target.origin,
                position: target.position,
                unsettled: target.unsettled,
            })
            .collect();
        Ok(Bound { plan, columns })
    }

    /// One row of each; intervals of one length and documents of one meaning are the same, and the first of them is shown.
    pub(super) fn distinct_rows(
        &self,
        plan: LogicalPlan,
        types: impl Iterator<Item = PgType> + Clone,
    ) -> Result<LogicalPlan> {
        if !types.clone().any(typing::has_sort_key) {
            return Ok(LogicalPlanBuilder::from(plan).distinct()?.build()?);
        }
        let columns = super::plan_columns(&plan);
        let fields = plan.schema().fields().clone();
        let (mut keys, mut firsts, mut shown) = (Vec::new(), Vec::new(), Vec::new());
        for ((column, field), ty) in columns.into_iter().zip(fields.iter()).zip(types) {
            if typing::has_sort_key(ty) {
                keys.push(typing::sort_key(column.clone(), ty)?.alias(self.unique("key")));
                let name = self.unique("first");
                firsts.push(datafusion::functions_aggregate::expr_fn::first_value(column, Vec::new()).alias(&name));
                shown.push(Expr::Column(Column::from_name(name)).alias(field.name()));
            } else {
                keys.push(column.clone());
                shown.push(column);
            }
        }
        Ok(LogicalPlanBuilder::from(plan).aggregate(keys, firsts)?.project(shown)?.build()?)
    }

    /// DISTINCT ON keeps the first row of each group in the query's order. Rows are grouped by columns of their own where equal
    /// values need not be the same.
    fn distinct_on_plan(
        &self,
        plan: LogicalPlan,
        targets: &[Target],
        on: &[usize],
        sorts: &[SortKey],
    ) -> Result<LogicalPlan> {
        let columns = super::plan_columns(&plan);
        let mut exprs = columns.clone();
        let (mut keys, mut order) = (Vec::new(), Vec::new());
        for index in on {
            let ty = targets.get(*index).map_or(PgType::UNKNOWN, |target| target.ty);
            let mut key = typing::equal_key(output_column(&plan, *index), ty)?;
            if !matches!(key, Expr::Column(_)) {
                let name = self.unique("key");
                exprs.push(key.alias(&name));
                key = Expr::Column(Column::from_name(name));
            }
            let sort = sorts.iter().find(|sort| sort.target == *index);
            order.push(sort_of(key.clone(), sort.map(|sort| sort.options).unwrap_or_default()));
            keys.push(key);
        }
        // The groups' keys come first, whatever repeats them, and each other one once.
        let mut seen: Vec<usize> = on.to_vec();
        for (sort, expr) in sorts.iter().zip(sort_exprs(&plan, sorts)?) {
            if !seen.contains(&sort.target) {
                seen.push(sort.target);
                order.push(expr);
            }
        }
        let order = (!sorts.is_empty()).then_some(order);
        let plan =
            if exprs.len() > columns.len() { LogicalPlanBuilder::from(plan).project(exprs)?.build()? } else { plan };
        let node = DistinctOn::try_new(keys, columns, order, Arc::new(plan))?;
        Ok(LogicalPlan::Distinct(Distinct::On(node)))
    }

    /// Unique names for the plan's columns; hidden ones come last and never clash.
    fn output_names(&self, targets: &[Target]) -> Vec<String> {
        let visible = targets.iter().filter(|target| !target.hidden);
        let mut names = names::unique(visible.map(|target| target.name.as_str()));
        names.extend(targets.iter().filter(|target| target.hidden).map(|_| self.unique("sort")));
        names
    }
}

/// The FROM item that `(t).*` means; a column of that name would be one composite value.
fn whole_relation(expr: &ast::Expr, scope: &Scope<'_>) -> Option<ast::ObjectName> {
    match expr {
        ast::Expr::Nested(inner) => whole_relation(inner, scope),
        ast::Expr::Identifier(ident) => {
            let name = fold(ident);
            let relation = !scope.has_column(&name) && scope.item(None, &name).is_some();
            relation.then(|| ast::ObjectName::from(ident.clone()))
        }
        _ => None,
    }
}

fn column_target(name: String, column: Resolved) -> Target {
    Target {
        expr: column.typed.expr,
        ty: column.typed.ty,
        name,
        origin: column.origin,
        position: column.typed.position,
        hidden: false,
        unsettled: None,
    }
}

/// The expression under that name; a column that has it already stays as it is.
pub(super) fn named(expr: Expr, name: &str) -> Expr {
    match &expr {
        Expr::Column(column) if column.name == name => expr,
        _ => expr.alias(name),
    }
}

fn output_column(plan: &LogicalPlan, index: usize) -> Expr {
    Expr::Column(Column::from(plan.schema().qualified_field(index)))
}

fn sort_exprs(plan: &LogicalPlan, sorts: &[SortKey]) -> Result<Vec<SortExpr>> {
    let mut exprs = Vec::with_capacity(sorts.len());
    for (at, key) in sorts.iter().enumerate() {
        // Which values are equal matters only when another key follows.
        let column = if at + 1 < sorts.len() {
            typing::equal_key(output_column(plan, key.target), key.ty)?
        } else {
            typing::sort_key(output_column(plan, key.target), key.ty)?
        };
        exprs.push(sort_of(column, key.options));
    }
    Ok(exprs)
}

/// The plan sorted by output columns.
pub(super) fn sorted(plan: LogicalPlan, sorts: &[SortKey]) -> Result<LogicalPlan> {
    if sorts.is_empty() {
        return Ok(plan);
    }
    let expr = sort_exprs(&plan, sorts)?;
    Ok(LogicalPlan::Sort(Sort { expr, input: Arc::new(plan), fetch: None }))
}
