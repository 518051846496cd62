//! The FROM clause: tables, subqueries, functions and joins.

use std::sync::Arc;

use datafusion::common::{Column, Spans, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan, LogicalPlanBuilder, Subquery};
use sqlparser::ast;
use sqlparser::ast::Spanned as _;

use super::join::cross;
use super::names::{fold, parts};
use super::scope::{Environment, Item, Origin, Scope, ScopeColumn};
use super::{Binder, Bound, Unknowns, plan_columns};
use crate::error::{Error, Result, SqlState};
use crate::plan::relations::{FILE_FUNCTIONS, PROFILE_FUNCTIONS, Relation, ResolvedTable, VERSION_FUNCTIONS};

/// A FROM clause, or a part of it, as a plan and the names it gives.
pub(super) struct From {
    pub plan: LogicalPlan,
    pub items: Vec<Item>,
}

/// What a FROM item may see: items to its left, LATERAL or for error messages only.
pub(super) struct Left<'f, 's> {
    pub environment: &'f Environment<'s>,
    /// The part of the clause that LATERAL may refer to.
    pub lateral: Option<&'f From>,
    /// Items of the comma list before this join tree.
    pub siblings: &'f [Item],
    pub join: JoinType,
}

impl Left<'_, '_> {
    fn alone<'f, 's>(environment: &'f Environment<'s>, siblings: &'f [Item]) -> Left<'f, 's> {
        Left { environment, lateral: None, siblings, join: JoinType::Inner }
    }
}

/// A FROM item: beside what stands to its left, or already joined to it (a lateral function).
pub(super) enum Placed {
    Beside(From),
    Joined(From),
}

impl Binder<'_> {
    /// The whole clause; no clause is one row without columns.
    pub(super) fn bind_tables(&self, tables: &[ast::TableWithJoins], environment: &Environment<'_>) -> Result<From> {
        let mut result: Option<From> = None;
        for table in tables {
            result = Some(match result {
                None => self.join_tree(table, Left::alone(environment, &[]))?,
                Some(left) => {
                    let siblings: Vec<Item> = left.items.iter().map(Item::out_of_reach).collect();
                    let here = Left { environment, lateral: Some(&left), siblings: &siblings, join: JoinType::Inner };
                    match self.join_tree_beside(table, here)? {
                        Placed::Joined(joined) => joined,
                        Placed::Beside(right) => {
                            self.check_aliases(&left.items, &right.items)?;
                            cross(left, right)?
                        }
                    }
                }
            });
        }
        match result {
            Some(from) => Ok(from),
            None => Ok(From { plan: LogicalPlanBuilder::empty(true).build()?, items: Vec::new() }),
        }
    }

    fn join_tree(&self, table: &ast::TableWithJoins, left: Left<'_, '_>) -> Result<From> {
        match self.join_tree_beside(table, left)? {
            Placed::Beside(from) | Placed::Joined(from) => Ok(from),
        }
    }

    fn join_tree_beside(&self, table: &ast::TableWithJoins, left: Left<'_, '_>) -> Result<Placed> {
        let environment = left.environment;
        let siblings = left.siblings;
        let mut placed = self.factor(&table.relation, &left)?;
        for join in &table.joins {
            let (from, joined) = match placed {
                Placed::Beside(from) => (from, false),
                Placed::Joined(from) => (from, true),
            };
            let here = Left { environment, lateral: Some(&from), siblings, join: JoinType::Inner };
            let from = self.join(&from, join, here)?;
            placed = if joined { Placed::Joined(from) } else { Placed::Beside(from) };
        }
        Ok(placed)
    }

    pub(super) fn scope_of<'s>(&self, from: &From, environment: &Environment<'s>, others: &[Item]) -> Scope<'s> {
        Scope {
            items: from.items.iter().chain(others).cloned().collect(),
            environment: environment.clone(),
            schema: from.plan.schema().clone(),
            windows: Vec::new(),
        }
    }

    pub(super) fn factor(&self, factor: &ast::TableFactor, left: &Left<'_, '_>) -> Result<Placed> {
        match factor {
            ast::TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                let refused = [
                    (!with_hints.is_empty() || !index_hints.is_empty(), "a table hint"),
                    (!partitions.is_empty(), "PARTITION in FROM"),
                    (json_path.is_some(), "a JSON path in FROM"),
                    (sample.is_some(), "TABLESAMPLE"),
                ];
                if let Some((_, what)) = refused.iter().find(|(present, _)| *present) {
                    return Err(Error::unsupported(what).at(self.position(name.span())));
                }
                match args {
                    None if let Some(version) = version => {
                        self.version(name, version, alias.as_ref(), left.environment).map(Placed::Beside)
                    }
                    None => self.relation(name, alias.as_ref(), left.environment).map(Placed::Beside),
                    Some(arguments) => {
                        self.function_item(name, &arguments.args, *with_ordinality, alias.as_ref(), left)
                    }
                }
            }
            ast::TableFactor::Function { name, args, with_ordinality, alias, .. } => {
                self.function_item(name, args, *with_ordinality, alias.as_ref(), left)
            }
            ast::TableFactor::UNNEST { alias, array_exprs, with_offset, with_ordinality, .. } if !with_offset => self
                .unnest_item(array_exprs, *with_ordinality, alias.as_ref(), left)
                .map_err(|error| error.at(array_exprs.first().and_then(|array| self.position(array.span())))),
            ast::TableFactor::Derived { lateral, subquery, alias, sample: None } => {
                let from = self.derived(*lateral, subquery, alias.as_ref(), left)?;
                computed_beside(from, left.lateral, left.join)
            }
            ast::TableFactor::NestedJoin { table_with_joins, alias } => {
                let environment = left.environment;
                let from = self.join_tree(table_with_joins, Left::alone(environment, left.siblings))?;
                match alias {
                    None => Ok(Placed::Beside(from)),
                    Some(alias) => self.alias_join(from, alias).map(Placed::Beside),
                }
            }
            other => Err(Error::unsupported("this FROM item").at(self.position(other.span()))),
        }
    }

    fn function_item(
        &self,
        name: &ast::ObjectName,
        arguments: &[ast::FunctionArg],
        ordinality: bool,
        alias: Option<&ast::TableAlias>,
        left: &Left<'_, '_>,
    ) -> Result<Placed> {
        let position = self.position(name.span());
        let last = super::names::last_name(name);
        if FILE_FUNCTIONS.contains(&last.as_str()) {
            if ordinality {
                return Err(Error::unsupported("WITH ORDINALITY of a function that reads files").at(position));
            }
            return self.file(&last, position, alias).map(Placed::Beside);
        }
        if VERSION_FUNCTIONS.contains(&last.as_str()) {
            if ordinality {
                return Err(Error::unsupported(format!("WITH ORDINALITY of {last}")).at(position));
            }
            return self.version_call(&last, arguments, alias, position).map(Placed::Beside);
        }
        if PROFILE_FUNCTIONS.contains(&last.as_str()) {
            if ordinality {
                return Err(Error::unsupported(format!("WITH ORDINALITY of {last}")).at(position));
            }
            return self.profile_call(&last, arguments, alias, position).map(Placed::Beside);
        }
        if let [schema, _] = parts(name).as_slice()
            && schema == crate::plan::model::SCHEMA
        {
            if ordinality {
                return Err(Error::unsupported(format!("WITH ORDINALITY of ml.{last}")).at(position));
            }
            let from = self.model_function(&last, arguments, alias, left, position)?;
            return Ok(Placed::Beside(from));
        }
        self.table_function(name, arguments, ordinality, alias, left)
    }

    fn file(&self, name: &str, position: Option<u32>, alias: Option<&ast::TableAlias>) -> Result<From> {
        match position.and_then(|position| self.relations.by_position.get(&position)) {
            Some(Relation::Table(table)) => self.table(table, name, None, alias, position),
            Some(Relation::View(_)) | None => {
                let message = format!("file of \"{name}\" was not resolved");
                Err(Error::new(SqlState::UndefinedFile, message).at(position))
            }
        }
    }

    /// A table, view or CTE by name, or a quoted path.
    fn relation(
        &self,
        name: &ast::ObjectName,
        alias: Option<&ast::TableAlias>,
        environment: &Environment<'_>,
    ) -> Result<From> {
        let position = self.position(name.span());
        if let [ast::ObjectNamePart::Identifier(path)] = name.0.as_slice()
            && path.quote_style == Some('\'')
        {
            return self.file(&path.value, position, alias);
        }
        let parts = parts(name);
        let (schema, table) = match parts.as_slice() {
            [database, _, _] if *database != self.typing.context.database => {
                let message = format!("cross-database references are not implemented: \"{}\"", parts.join("."));
                return Err(Error::new(SqlState::FeatureNotSupported, message).at(position));
            }
            [table] => (None, table),
            [schema, table] | [_, schema, table] => (Some(schema), table),
            _ => {
                let message = format!("improper relation name (too many dotted names): {}", parts.join("."));
                return Err(Error::new(SqlState::SyntaxError, message).at(position));
            }
        };
        if schema.is_none()
            && let Some(from) = self.cte_reference(table, alias, environment, position)?
        {
            return Ok(from);
        }
        match self.relations.by_name.get(&(schema.cloned(), table.clone())) {
            Some(Relation::Table(resolved)) => {
                self.table(resolved, table, Some(resolved.schema.clone()), alias, position)
            }
            Some(Relation::View(view)) => self.view(view, alias, position),
            None if schema.is_none() && environment.pending.contains(table) => {
                let detail = format!(
                    "There is a WITH item named \"{table}\", but it cannot be referenced from this part of the query."
                );
                let hint = "Use WITH RECURSIVE, or re-order the WITH items to remove forward references.";
                Err(self.no_table(schema, table).with_detail(detail).with_hint(hint).at(position))
            }
            None => Err(self.no_table(schema, table).at(position)),
        }
    }

    pub(super) fn no_table(&self, schema: Option<&String>, table: &str) -> Error {
        let name = schema.map_or_else(|| table.to_owned(), |schema| format!("{schema}.{table}"));
        // PostgreSQL looks the relation up first and complains about it, whether the schema exists or not.
        Error::new(SqlState::UndefinedTable, format!("relation \"{name}\" does not exist"))
    }

    pub(super) fn table(
        &self,
        table: &ResolvedTable,
        name: &str,
        schema: Option<String>,
        alias: Option<&ast::TableAlias>,
        position: Option<u32>,
    ) -> Result<From> {
        let qualifier = self.unique(name);
        let reference = TableReference::bare(qualifier);
        let source = provider_as_source(table.provider.clone());
        let plan = LogicalPlanBuilder::scan(reference.clone(), source, None)?.build()?;
        let fields = table.provider.schema();
        let columns = table
            .columns
            .iter()
            .zip(fields.fields())
            .enumerate()
            .map(|(index, (column, field))| ScopeColumn {
                name: column.name.clone(),
                expr: Expr::Column(Column::new(Some(reference.clone()), field.name())),
                ty: column.ty,
                origin: Origin { table: table.oid, attribute: if table.oid == 0 { 0 } else { index as i16 + 1 } },
            })
            .collect();
        let system = fields
            .fields()
            .iter()
            .skip(table.columns.len())
            .map(|field| ScopeColumn {
                name: field.name().clone(),
                expr: Expr::Column(Column::new(Some(reference.clone()), field.name())),
                ty: crate::encode::types::pg_type_of(field.data_type()),
                origin: Origin::default(),
            })
            .collect();
        let item = Item {
            name: Some(name.to_owned()),
            schema,
            hidden_name: None,
            table_oid: table.oid,
            columns,
            relation_visible: true,
            columns_visible: true,
            scalar: false,
            system,
            position,
        };
        Ok(From { plan, items: vec![self.aliased(item, alias)?] })
    }

    /// The item under its alias and column aliases. 42P10 for too many of these.
    pub(super) fn aliased(&self, mut item: Item, alias: Option<&ast::TableAlias>) -> Result<Item> {
        let Some(alias) = alias else { return Ok(item) };
        item.hidden_name = item.name.take();
        item.schema = None;
        let name = fold(&alias.name);
        item.position = self.position(alias.name.span).or(item.position);
        if alias.columns.len() > item.columns.len() {
            let message = format!(
                "table \"{name}\" has {} columns available but {} columns specified",
                item.columns.len(),
                alias.columns.len()
            );
            return Err(Error::new(SqlState::InvalidColumnReference, message));
        }
        for (column, given) in item.columns.iter_mut().zip(&alias.columns) {
            column.name = fold(&given.name);
        }
        if item.hidden_name.as_ref() == Some(&name) {
            item.hidden_name = None;
        }
        item.name = Some(name);
        Ok(item)
    }

    /// `(a JOIN b …) AS j`: only `j` is visible, with all columns.
    fn alias_join(&self, from: From, alias: &ast::TableAlias) -> Result<From> {
        let columns =
            from.items.iter().filter(|item| item.columns_visible).flat_map(|item| item.columns.clone()).collect();
        let item = Item {
            name: None,
            schema: None,
            hidden_name: None,
            table_oid: 0,
            columns,
            relation_visible: true,
            columns_visible: true,
            scalar: false,
            system: Vec::new(),
            position: None,
        };
        let mut items = vec![self.aliased(item, Some(alias))?];
        items.extend(from.items.iter().map(Item::out_of_reach));
        Ok(From { plan: from.plan, items })
    }

    pub(super) fn derived(
        &self,
        lateral: bool,
        query: &ast::Query,
        alias: Option<&ast::TableAlias>,
        left: &Left<'_, '_>,
    ) -> Result<From> {
        let mut scope = Scope::empty(left.environment);
        scope.items = left.siblings.to_vec();
        if let Some(from) = left.lateral {
            scope.schema = from.plan.schema().clone();
            scope.items.extend(from.items.iter().map(|item| if lateral { item.clone() } else { item.out_of_reach() }));
            if lateral {
                // The items of the comma list are among `from` already.
                scope.items.retain(|item| item.relation_visible || item.columns_visible);
            }
        }
        let inner = Environment { outer: Some(&scope), ..left.environment.clone() };
        let uses = self.uses.borrow().len();
        let bound = self.query(query, &inner, Unknowns::Text)?;
        if lateral && matches!(left.join, JoinType::Right | JoinType::Full) {
            self.refuse_lateral_uses(&scope, uses)?;
        }
        let Some(alias) = alias else {
            let what = if matches!(query.body.as_ref(), ast::SetExpr::Values(_)) { "VALUES" } else { "subquery" };
            let example = if what == "VALUES" { "(VALUES ...)" } else { "(SELECT ...)" };
            return Err(Error::new(SqlState::SyntaxError, format!("{what} in FROM must have an alias"))
                .with_hint(format!("For example, FROM {example} [AS] foo."))
                .at(self.position(query.span())));
        };
        let wrap = lateral && left.lateral.is_some();
        let item_from = self.subquery_item(bound, &fold(&alias.name), wrap)?;
        let mut items = Vec::new();
        for item in item_from.items {
            items.push(self.aliased(item, Some(alias))?);
        }
        Ok(From { plan: item_from.plan, items })
    }

    /// 42P10 for a use of what a RIGHT or FULL JOIN gives only after its right side. `before`: the uses so far.
    fn refuse_lateral_uses(&self, scope: &Scope<'_>, before: usize) -> Result<()> {
        let uses = self.uses.borrow();
        let Some(used) = uses.iter().skip(before).find(|used| scope.schema.has_column(&used.column)) else {
            return Ok(());
        };
        let table = used.label.split('.').next().unwrap_or_default();
        let message = format!("invalid reference to FROM-clause entry for table \"{table}\"");
        Err(Error::new(SqlState::InvalidColumnReference, message)
            .with_detail("The combining JOIN type must be INNER or LEFT for a LATERAL reference.")
            .at(used.position))
    }

    /// A bound query as a FROM item under a new qualifier.
    pub(super) fn subquery_item(&self, bound: Bound, name: &str, lateral: bool) -> Result<From> {
        let qualifier = TableReference::bare(self.unique(name));
        let outer_ref_columns = if lateral { bound.plan.all_out_ref_exprs() } else { Vec::new() };
        let Bound { plan, columns } = bound;
        let plan = if outer_ref_columns.is_empty() {
            plan
        } else {
            LogicalPlan::Subquery(Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: Spans::new() })
        };
        let correlated = matches!(&plan, LogicalPlan::Subquery(_)) || plan.all_out_ref_exprs().is_empty();
        let builder = LogicalPlanBuilder::from(plan);
        let plan = if correlated {
            builder.alias(qualifier)?.build()?
        } else {
            // DataFusion cannot take the correlated conditions out from under an alias, but from under a projection it can.
            let columns = plan_columns(builder.plan()).into_iter();
            let renamed = columns.map(|column| {
                let name = super::scope::name_of(&column);
                column.alias_qualified(Some(qualifier.clone()), name)
            });
            let renamed: Vec<Expr> = renamed.collect();
            builder.project(renamed)?.build()?
        };
        let columns = columns
            .into_iter()
            .zip(plan_columns(&plan))
            .map(|(column, expr)| ScopeColumn { name: column.name, expr, ty: column.ty, origin: column.origin })
            .collect();
        let item = Item {
            name: Some(name.to_owned()),
            schema: None,
            hidden_name: None,
            table_oid: 0,
            columns,
            relation_visible: true,
            columns_visible: true,
            scalar: false,
            system: Vec::new(),
            position: None,
        };
        Ok(From { plan, items: vec![item] })
    }
}

/// `LATERAL (SELECT t.a + 1 AS b)`: a row of expressions over the left side is more columns of the left side.
fn computed_beside(from: From, left: Option<&From>, join: JoinType) -> Result<Placed> {
    let Some(left) = left.filter(|_| matches!(join, JoinType::Inner | JoinType::Left)) else {
        return Ok(Placed::Beside(from));
    };
    let LogicalPlan::SubqueryAlias(alias) = &from.plan else { return Ok(Placed::Beside(from)) };
    let LogicalPlan::Subquery(subquery) = alias.input.as_ref() else { return Ok(Placed::Beside(from)) };
    let LogicalPlan::Projection(projection) = subquery.subquery.as_ref() else { return Ok(Placed::Beside(from)) };
    if !matches!(projection.input.as_ref(), LogicalPlan::EmptyRelation(relation) if relation.produce_one_row) {
        return Ok(Placed::Beside(from));
    }
    let mut exprs = plan_columns(&left.plan);
    for (value, field) in projection.expr.iter().zip(projection.schema.fields()) {
        let value = super::scope::moved_out(&value.clone().unalias(), left.plan.schema())?;
        exprs.push(value.alias_qualified(Some(alias.alias.clone()), field.name()));
    }
    let plan = LogicalPlanBuilder::from(left.plan.clone()).project(exprs)?.build()?;
    let mut items = left.items.clone();
    items.extend(from.items);
    Ok(Placed::Joined(From { plan, items }))
}
