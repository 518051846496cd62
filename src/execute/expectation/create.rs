//! CREATE EXPECTATION: the rule is bound to see that it may be one, and kept with texts that no setting changes.

use sqlparser::ast::{self, Expr, Spanned as _};

use super::{check_free, table_of};
use crate::encode::types::{PgType, format_type, oid};
use crate::error::{Error, Result, Severity, SqlState};
use crate::execute::output::Output;
use crate::execute::properties::quoted;
use crate::execute::road::{Road, Target};
use crate::lake::ColumnSpec;
use crate::plan::bind::BoundQuery;
use crate::plan::expectation::anomaly::{self, Usual};
use crate::plan::expectation::{check_condition, count_of_rows, own_relations, select};
use crate::plan::relations::{RelationNameKind, Relations};
use crate::plan::{self, Parameters, settled};
use crate::quality::{Expectation, ExpectationRule, SchemaColumn};
use crate::sql::{
    self, CreateExpectation, ExpectedColumn, Name, QualifiedName, SetRule, StoredExpression, column_names,
    with_own_columns,
};

pub(super) async fn run(road: &mut Road<'_>, statement: &CreateExpectation) -> Result<Output> {
    let target = road.target(&statement.table, "alter").await?;
    let (_, relation) = road.find(&statement.table)?;
    let (oid, owner) = (relation.oid, relation.owner);
    let mut draft = Draft { target: &target, oid, owner, columns: Vec::new(), depends_on: Vec::new() };
    let filter = draft.filter(road, statement.filter.as_ref()).await?;
    let rule = draft.rule(road, statement).await?;
    let mut columns = draft.columns;
    columns.sort_unstable();
    columns.dedup();
    let expectation = Expectation {
        oid: 0,
        name: statement.name.value.clone(),
        rule,
        filter,
        action: statement.action,
        on_commit: statement.on_commit,
        enabled: true,
        options: statement.options.clone(),
        columns,
        depends_on: draft.depends_on,
        renamed: Vec::new(),
    };
    let (or_replace, if_not_exists) = (statement.or_replace, statement.if_not_exists);
    let (oid, name, position) = (relation.oid, target.name.clone(), statement.name.position);
    // Who commits rows after this one's end knows of the rule.
    let held = match expectation.on_commit && !road.staged {
        true => Some(road.ground.lake.hold(&target.table).await),
        false => None,
    };
    let made = road.define(move |document| {
        let table = table_of(document, oid, &name)?;
        let same = table.expectations.iter().position(|other| other.name == expectation.name);
        let same =
            same.filter(|at| or_replace && table.expectations.get(*at).is_some_and(|one| !one.rule.is_of_rows()));
        if let Err(error) = check_free(table, &name, &expectation.name)
            && same.is_none()
        {
            return if if_not_exists { Ok(Some(error)) } else { Err(error.at(position)) };
        }
        let mut expectation = expectation.clone();
        // What means the same stays the same one, with its history.
        let means = |other: &Expectation| (&other.rule, &other.filter) == (&expectation.rule, &expectation.filter);
        let before = same.and_then(|at| table.expectations.get(at)).filter(|before| means(before));
        let before = before.map(|before| before.oid);
        expectation.oid = before.unwrap_or_else(|| document.take_oid());
        let table = table_of(document, oid, &name)?;
        match same.and_then(|at| table.expectations.get_mut(at)) {
            Some(slot) => *slot = expectation,
            None => table.expectations.push(expectation),
        }
        Ok(None)
    });
    let made = made.await;
    drop(held);
    if let Some(there) = made? {
        let message = format!("{}, skipping", there.message());
        road.notice(Error::notice(Severity::Notice, SqlState::DuplicateObject, message));
    }
    Ok(Output::Done("CREATE EXPECTATION".into()))
}

/// A rule that is being read.
struct Draft<'t> {
    target: &'t Target,
    oid: u32,
    owner: u32,
    columns: Vec<String>,
    depends_on: Vec<u32>,
}

impl Draft<'_> {
    async fn filter(&mut self, road: &mut Road<'_>, filter: Option<&StoredExpression>) -> Result<Option<String>> {
        let Some(filter) = filter else { return Ok(None) };
        self.check_own(road, &filter.expression)?;
        let query = |expr: &Expr| self.query(vec![count_of_rows()?], Some(expr.clone()));
        let (_, relations) = self.bound(road, &query(&filter.expression)?).await?;
        let text = self.settled(road, &filter.text, &relations, |expr| query(&expr))?;
        self.read(&filter.expression);
        Ok(Some(text))
    }

    async fn rule(&mut self, road: &mut Road<'_>, statement: &CreateExpectation) -> Result<ExpectationRule> {
        Ok(match &statement.rule {
            SetRule::Aggregate(condition) => {
                ExpectationRule::Aggregate { condition: self.condition(road, condition, "").await? }
            }
            SetRule::RowCount(condition) => {
                ExpectationRule::RowCount { comparison: self.condition(road, condition, "count(*) ").await? }
            }
            SetRule::Unique(names) => {
                let columns = self.named(names)?;
                for name in names {
                    self.check_equality(road, name).await?;
                }
                ExpectationRule::Unique { columns }
            }
            SetRule::ForeignKey { columns, table, referenced } => {
                let columns = self.named(columns)?;
                self.foreign_key(road, columns, table, referenced).await?
            }
            SetRule::Freshness { expression, limit } => self.freshness(road, expression, limit).await?,
            SetRule::Schema { columns, exact } => {
                ExpectationRule::Schema { columns: expected(columns)?, exact: *exact }
            }
        })
    }

    /// The text of a condition over all rows, `before` left out.
    async fn condition(&mut self, road: &mut Road<'_>, condition: &StoredExpression, before: &str) -> Result<String> {
        let expr = condition.expression.as_ref();
        check_condition(expr, &road.source)?;
        let names = own_relations(expr, &road.source);
        let is_outside = |kind: &RelationNameKind| {
            !matches!(kind, RelationNameKind::Named { .. } | RelationNameKind::Version { .. })
        };
        if let Some(name) = names.iter().find(|name| is_outside(&name.kind)) {
            return Err(Error::unsupported("a table function in an expectation").at(name.position));
        }
        let position = sql::span_position(&road.source, expr.span());
        let mut taken = expr.clone();
        anomaly::taken(&mut taken, &road.source, |_| Some(Usual { low: 0.0, high: 0.0 }))?;
        // The count makes the query one of groups, so that no column stands there as it is.
        let query = self.query(vec![taken, count_of_rows()?], None)?;
        let (bound, relations) = self.bound(road, &query).await.map_err(|error| match error.sqlstate() {
            SqlState::GroupingError if error.hint().is_none() => error.with_hint(
                "A rule about each row is a constraint: ALTER TABLE … ADD CONSTRAINT name EXPECT (condition).",
            ),
            _ => error,
        })?;
        require_type(&bound, &[oid::BOOL], "EXPECT", "boolean", position)?;
        for name in &names {
            let (oid, is_itself) = match &name.kind {
                RelationNameKind::Named { schema, name, .. } => {
                    let found = relations.by_name.get(&(schema.clone(), name.clone()));
                    let oid = found.map_or(0, |relation| relation.oid());
                    (oid, oid == self.oid)
                }
                RelationNameKind::Version { schema, name, .. } => {
                    let read = relations.version_reads.iter().find(|read| read.schema == *schema && read.name == *name);
                    (read.map_or(0, |read| read.oid), false)
                }
                RelationNameKind::Path(_)
                | RelationNameKind::FileFunction { .. }
                | RelationNameKind::VersionFunction { .. }
                | RelationNameKind::ProfileFunction { .. }
                | RelationNameKind::Model(_) => (0, false),
            };
            if is_itself {
                return Err(Error::unsupported("a subquery over the expectation's own table").at(name.position));
            }
            self.check_read(road, oid, Some(name.position))?;
            self.depends_on.push(oid);
        }
        let text = format!("{before}{}", condition.text);
        let text = self.settled(road, &text, &relations, |mut expr| {
            anomaly::taken(&mut expr, "", |_| Some(Usual { low: 0.0, high: 0.0 }))?;
            self.query(vec![expr, count_of_rows()?], None)
        })?;
        self.read(expr);
        Ok(text.strip_prefix(before).unwrap_or(&text).to_owned())
    }

    async fn freshness(
        &mut self,
        road: &mut Road<'_>,
        expression: &StoredExpression,
        limit: &StoredExpression,
    ) -> Result<ExpectationRule> {
        for part in [expression, limit] {
            self.check_own(road, &part.expression)?;
        }
        let newest = |expr: Expr| -> Result<ast::Query> {
            let mut newest = sql::parse_expression("max(NULL)")?;
            if let Expr::Function(call) = &mut newest
                && let ast::FunctionArguments::List(list) = &mut call.args
            {
                list.args = vec![ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr))];
            }
            self.query(vec![newest], None)
        };
        let position = sql::span_position(&road.source, expression.expression.span());
        let (bound, relations) = self.bound(road, &newest(expression.expression.as_ref().clone())?).await?;
        let moments = [oid::DATE, oid::TIMESTAMP, oid::TIMESTAMPTZ];
        require_type(&bound, &moments, "FRESHNESS", "timestamp with time zone", position)?;
        let kept = self.settled(road, &expression.text, &relations, newest)?;
        let compared = |limit: Expr| -> Result<ast::Query> {
            let mut young = sql::parse_expression("now() - now() < NULL")?;
            if let Expr::BinaryOp { right, .. } = &mut young {
                **right = limit;
            }
            self.query(vec![young, count_of_rows()?], None)
        };
        let position = sql::span_position(&road.source, limit.expression.span());
        let bound = self.bound(road, &compared(limit.expression.as_ref().clone())?).await;
        let (_, relations) = bound.map_err(|error| match error.sqlstate() {
            SqlState::UndefinedFunction => {
                let message = "the limit of FRESHNESS must be type interval";
                Error::new(SqlState::DatatypeMismatch, message).at(position)
            }
            _ => error,
        })?;
        let limit = self.settled(road, &limit.text, &relations, compared)?;
        self.read(&expression.expression);
        Ok(ExpectationRule::Freshness { expression: kept, limit })
    }

    async fn foreign_key(
        &mut self,
        road: &mut Road<'_>,
        columns: Vec<String>,
        table: &QualifiedName,
        referenced: &[Name],
    ) -> Result<ExpectationRule> {
        let (schema, relation) = road.find(table)?;
        for name in referenced {
            if !relation.columns.iter().any(|column| column.name == name.value) {
                return Err(no_column(name, &table.name));
            }
        }
        // That the columns compare is the binder's to say, that the other table may be read the resolver's.
        let equal: Vec<String> = columns
            .iter()
            .zip(referenced)
            .map(|(own, other)| {
                format!("own.{} = other.{}", plan::expectation::quoted(own), plan::expectation::quoted(&other.value))
            })
            .collect();
        let text = format!(
            "SELECT 1 FROM {} AS own JOIN {} AS other ON {}",
            plan::expectation::relation_text(&self.target.schema, &self.target.name),
            plan::expectation::relation_text(&schema, &table.name),
            equal.join(" AND ")
        );
        let bound = self.bound(road, &sql::parse_query(&text)?).await;
        bound.map_err(|error| error.without_position().at(table.position))?;
        self.check_read(road, relation.oid, (table.position > 0).then_some(table.position))?;
        self.depends_on.push(relation.oid);
        let referenced = referenced.iter().map(|name| name.value.clone()).collect();
        Ok(ExpectationRule::ForeignKey { columns, table: relation.oid, referenced })
    }

    /// 42883 for a column whose values are neither equal nor different.
    async fn check_equality(&self, road: &mut Road<'_>, column: &Name) -> Result<()> {
        let (schema, table) = (&self.target.schema, &self.target.name);
        let from = plan::expectation::relation_text(schema, table);
        let text = format!("SELECT 1 FROM {from} GROUP BY {}", plan::expectation::quoted(&column.value));
        let bound = self.bound(road, &sql::parse_query(&text)?).await;
        bound.map(drop).map_err(|error| error.without_position().at(column.position))
    }

    /// Refuses another relation that not every commit will find: 42P16, 42501.
    fn check_read(&self, road: &Road<'_>, oid: u32, position: Option<u32>) -> Result<()> {
        let snapshot = &road.snapshot;
        let Some((schema, name, relation)) = snapshot.relation_by_oid(oid) else { return Ok(()) };
        let is_temporary = |schema: &str| snapshot.schemas.get(schema).is_some_and(|schema| schema.temporary.is_some());
        if is_temporary(schema) && !is_temporary(&self.target.schema) {
            let message = "expectations on permanent tables may reference only permanent tables";
            return Err(Error::new(SqlState::InvalidTableDefinition, message).at(position));
        }
        let owner = snapshot.roles.iter().find(|(_, role)| role.oid == self.owner);
        if relation.owner == self.owner || owner.is_some_and(|(_, role)| role.superuser) {
            return Ok(());
        }
        let message = format!("permission denied for {} {name}", relation.kind.noun());
        let owner = owner.map(|(name, _)| name.as_str()).unwrap_or_default();
        Err(Error::new(SqlState::InsufficientPrivilege, message)
            .with_detail(format!("The expectation is asked with the rights of the table's owner, \"{owner}\"."))
            .at(position))
    }

    /// Refuses a part that reads other relations.
    fn check_own(&self, road: &Road<'_>, expr: &Expr) -> Result<()> {
        check_condition(expr, &road.source)?;
        match own_relations(expr, &road.source).first() {
            Some(name) => {
                Err(Error::unsupported("a subquery in the WHERE or FRESHNESS of an expectation").at(name.position))
            }
            None => Ok(()),
        }
    }

    fn query(&self, items: Vec<Expr>, filter: Option<Expr>) -> Result<ast::Query> {
        select(items, (&self.target.schema, &self.target.name), filter)
    }

    /// The text as it is kept, which no setting and no other name of the table changes; `query` puts its tree where it belongs.
    fn settled(
        &self,
        road: &Road<'_>,
        text: &str,
        relations: &Relations,
        query: impl FnOnce(Expr) -> Result<ast::Query>,
    ) -> Result<String> {
        let text = &with_own_columns(text, (Some(&self.target.schema), &self.target.name), quoted);
        let query = query(sql::parse_expression(text)?)?;
        settled::part(text, &query, relations, &road.context).map_err(Error::without_position)
    }

    /// Binds a query over the table with the session's names; no parameters.
    async fn bound(&self, road: &mut Road<'_>, query: &ast::Query) -> Result<(BoundQuery, Relations)> {
        let mut relations = road.resolve(&plan::relations::names(query, &road.source)).await?;
        let own = road.as_relation(self.target, self.oid)?;
        relations.by_name.insert((Some(self.target.schema.clone()), self.target.name.clone()), own);
        let bound = plan::bind_query(query, &road.context, &relations, &road.source, &mut Parameters::none())?;
        Ok((bound, relations))
    }

    fn named(&mut self, names: &[Name]) -> Result<Vec<String>> {
        let mut columns: Vec<String> = Vec::with_capacity(names.len());
        for name in names {
            if !self.has(&name.value) {
                return Err(no_column(name, &self.target.name));
            }
            if columns.contains(&name.value) {
                let message = format!("column \"{}\" appears twice in the expectation", name.value);
                return Err(Error::new(SqlState::DuplicateColumn, message).at(name.position));
            }
            columns.push(name.value.clone());
        }
        self.columns.extend(columns.iter().cloned());
        Ok(columns)
    }

    fn has(&self, name: &str) -> bool {
        self.target.table.columns().iter().any(|column: &ColumnSpec| column.name == name)
    }

    /// Notes the table's columns that an expression names.
    fn read(&mut self, expr: &Expr) {
        let names: Vec<String> = column_names(expr).into_iter().filter(|name| self.has(name)).collect();
        self.columns.extend(names);
    }
}

/// 42804 unless the first column is of one of the types.
fn require_type(bound: &BoundQuery, types: &[u32], what: &str, wanted: &str, position: Option<u32>) -> Result<()> {
    let given = bound.columns.first().map_or(PgType::UNKNOWN, |column| column.ty);
    if types.contains(&given.oid) {
        return Ok(());
    }
    let message = format!("argument of {what} must be type {wanted}, not type {}", format_type(given));
    Err(Error::new(SqlState::DatatypeMismatch, message).at(position))
}

fn no_column(name: &Name, relation: &str) -> Error {
    let message = format!("column \"{}\" of relation \"{relation}\" does not exist", name.value);
    Error::new(SqlState::UndefinedColumn, message).at(name.position)
}

fn expected(columns: &[ExpectedColumn]) -> Result<Vec<SchemaColumn>> {
    let mut expected: Vec<SchemaColumn> = Vec::with_capacity(columns.len());
    for column in columns {
        let name = &column.name;
        if expected.iter().any(|other| other.name == name.value) {
            let message = format!("column \"{}\" specified more than once", name.value);
            return Err(Error::new(SqlState::DuplicateColumn, message).at(name.position));
        }
        let (type_oid, typmod) = column.ty.map_or((0, -1), |ty| (ty.oid, ty.typmod));
        expected.push(SchemaColumn { name: name.value.clone(), type_oid, typmod, not_null: column.not_null });
    }
    Ok(expected)
}
