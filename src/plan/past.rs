//! The pre-pass over earlier versions: `t VERSION AS OF 3`, `table_at('t', 3)`, `table_changes('t', 2, 5)`.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::scalar::ScalarValue;
use sqlparser::ast::{self, Spanned as _};

use super::relations::{
    Filled, Relation, RelationColumn, Relations, ResolvedTable, ResolvedView, VIOLATIONS, VersionRead,
};
use super::resolve::{Resolver, column_of};
use super::{Parameters, constant_value};
use crate::builtins::{self, Context};
use crate::catalog::{RelationKind, ViewRead};
use crate::encode::types::PgType;
use crate::error::{Error, Result, SqlState};
use crate::lake::{self, ChangedFiles, Changes};
use crate::sql::{self, QualifiedName};

/// A version by its number or its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Version(u64),
    Time(DateTime<Utc>),
    /// Of a parameter without a value yet: the newest version stands in to tell the columns.
    Unknown,
}

impl Resolver<'_> {
    /// The version of a table that AS OF asks for, with the table's OID; `None` when there is no relation of that name.
    pub(super) async fn version(
        &mut self,
        (schema, name): (Option<&str>, &str),
        whence: (&[String], &[ViewRead]),
        version: &ast::TableVersion,
    ) -> Result<Option<(Relation, VersionRead)>> {
        let moment = self.moments().of(version)?;
        let Some(found) = self.found(schema, name, whence)? else { return Ok(None) };
        let newest = self.pin(&found.location).await?;
        let table = self.at(&newest, moment).await?;
        let read = VersionRead { schema: schema.map(str::to_owned), name: name.to_owned(), oid: found.oid };
        Ok(Some((Relation::Table(past_table(&found, &table)?), read)))
    }

    /// A call of a function over versions.
    pub(super) async fn version_function(
        &mut self,
        function: &str,
        arguments: &[ast::FunctionArg],
        whence: (&[String], &[ViewRead]),
    ) -> Result<(Relation, VersionRead)> {
        let given = arguments.iter().map(|argument| match argument {
            ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Ok(expr),
            _ => Err(Error::unsupported(format!("a named argument of {function}"))),
        });
        let given = given.collect::<Result<Vec<_>>>()?;
        if function == VIOLATIONS {
            return self.violations(&given, whence).await;
        }
        let (table, moments) = match (function, given.as_slice()) {
            ("table_at", [table, _]) | ("table_changes", [table, _] | [table, _, _]) => {
                (*table, given.get(1..).unwrap_or_default())
            }
            _ => {
                let takes = if function == "table_at" { "('table', version)" } else { "('table', from [, to])" };
                let message = format!("wrong number of arguments of function {function}");
                return Err(
                    Error::new(SqlState::UndefinedFunction, message).with_hint(format!("Call {function}{takes}."))
                );
            }
        };
        let name = self.table_name(function, table)?;
        let moments =
            moments.iter().map(|moment| self.moments().argument(function, moment)).collect::<Result<Vec<_>>>()?;
        let Some(found) = self.found(name.schema.as_deref(), &name.name, whence)? else {
            return Err(undefined(&name));
        };
        let newest = self.pin(&found.location).await?;
        let relation = match (function, moments.as_slice()) {
            ("table_at", [moment]) => Relation::Table(past_table(&found, &self.at(&newest, *moment).await?)?),
            (_, [from, to @ ..]) => {
                let from = match from {
                    Moment::Version(version) => *version,
                    Moment::Time(time) => self.lake.version_from(&newest, *time).await?,
                    Moment::Unknown => newest.version(),
                };
                let to = match to.first() {
                    Some(moment) => self.at(&newest, *moment).await?,
                    None => Arc::clone(&newest),
                };
                changes_view(self.lake.changes(&newest, from, &to).await?)?
            }
            _ => return Err(Error::internal("a function over versions without a version")),
        };
        Ok((relation, VersionRead { schema: name.schema, name: name.name, oid: found.oid }))
    }

    /// The table that a function's argument names.
    pub(super) fn table_name(&self, function: &str, argument: &ast::Expr) -> Result<QualifiedName> {
        let (ScalarValue::Utf8(Some(name)) | ScalarValue::Utf8View(Some(name))) =
            self.constant(function, argument, PgType::TEXT)?
        else {
            let message = format!("function {function} needs the name of a table");
            return Err(Error::new(SqlState::NullValueNotAllowed, message));
        };
        sql::parse_name(&name).map_err(Error::without_position)
    }

    /// The value of an argument that the columns of the answer follow from.
    pub(super) fn constant(&self, function: &str, argument: &ast::Expr, ty: PgType) -> Result<ScalarValue> {
        if self.parameters.allowed
            && let ast::Expr::Value(value) = argument
            && let ast::Value::Placeholder(_) = &value.value
        {
            return Err(Error::unsupported(format!("a parameter as this argument of {function}"))
                .at(sql::span_position(&self.source, argument.span()))
                .with_hint("Write the value into the statement."));
        }
        constant_value(function, argument, ty, self.context, &self.source)
    }

    /// A text that may be a parameter; `None` for one without a value yet.
    pub(super) fn text_argument(&mut self, function: &str, argument: &ast::Expr) -> Result<Option<String>> {
        let given = self.moments().parameter(argument, PgType::TEXT)?;
        let value = match given {
            Parameter::None => constant_value(function, argument, PgType::TEXT, self.context, &self.source)?,
            Parameter::Bound(value) => value.cast_to(&arrow::datatypes::DataType::Utf8)?,
            Parameter::Unbound => return Ok(None),
        };
        match value {
            ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => Ok(Some(text)),
            _ => Err(no_null(function)),
        }
    }

    /// A table as a call's named argument asks for it; `None` when there is no relation of that name.
    pub(super) async fn at_argument(
        &mut self,
        function: &str,
        name: &QualifiedName,
        whence: (&[String], &[ViewRead]),
        version: &ast::Expr,
    ) -> Result<Option<(Relation, u32)>> {
        let moment = self.moments().argument(function, version)?;
        let Some(found) = self.found(name.schema.as_deref(), &name.name, whence)? else { return Ok(None) };
        let newest = self.pin(&found.location).await?;
        let table = self.at(&newest, moment).await?;
        Ok(Some((Relation::Table(past_table(&found, &table)?), found.oid)))
    }

    async fn at(&self, newest: &Arc<lake::Table>, moment: Moment) -> Result<Arc<lake::Table>> {
        let version = match moment {
            Moment::Version(version) => version,
            Moment::Time(time) => self.lake.version_at(newest, time, self.context.statement_start).await?,
            Moment::Unknown => return Ok(Arc::clone(newest)),
        };
        self.lake.version(newest, version).await
    }

    fn moments(&mut self) -> Moments<'_> {
        Moments { context: self.context, source: &self.source, parameters: self.parameters }
    }

    /// The table of that name, in a view's query the one that it meant when it was made. 42809 for what has no versions.
    pub(super) fn found(
        &self,
        schema: Option<&str>,
        name: &str,
        (path, reads): (&[String], &[ViewRead]),
    ) -> Result<Option<Found>> {
        let read = reads.iter().find(|read| read.schema.as_deref() == schema && read.name == name);
        if let Some((schema, now, relation)) = read.and_then(|read| self.snapshot.relation_by_oid(read.oid))
            && let RelationKind::Table(table) = &relation.kind
        {
            self.authorise(now, relation)?;
            let (schema, name, location) = (schema.to_owned(), now.to_owned(), table.location.clone());
            return Ok(Some(Found { schema, name, oid: relation.oid, location }));
        }
        let schemas: Vec<&str> = match schema {
            Some(schema) => vec![schema],
            None => path.iter().map(String::as_str).collect(),
        };
        let no_versions = |what: &str| {
            let message = format!("\"{name}\" is a {what}, which has no versions");
            Error::new(SqlState::WrongObjectType, message)
        };
        for schema in schemas {
            if builtins::tables::lookup(schema, name, self.context).is_some() {
                return Err(no_versions("system table"));
            }
            let Some(relation) = self.snapshot.relation(schema, name) else { continue };
            self.authorise(name, relation)?;
            return match &relation.kind {
                RelationKind::Table(table) => Ok(Some(Found {
                    schema: schema.to_owned(),
                    name: name.to_owned(),
                    oid: relation.oid,
                    location: table.location.clone(),
                })),
                other => Err(no_versions(other.noun())),
            };
        }
        Ok(None)
    }
}

/// The version that AS OF asks for.
pub fn moment_of(
    version: &ast::TableVersion,
    context: &Arc<Context>,
    source: &str,
    parameters: &mut Parameters,
) -> Result<Moment> {
    Moments { context, source, parameters }.of(version)
}

/// Reads the expressions in the place of versions.
struct Moments<'a> {
    context: &'a Arc<Context>,
    source: &'a str,
    parameters: &'a mut Parameters,
}

impl Moments<'_> {
    fn of(&mut self, version: &ast::TableVersion) -> Result<Moment> {
        match version {
            ast::TableVersion::VersionAsOf(expr) => self.number("VERSION AS OF", expr),
            ast::TableVersion::TimestampAsOf(expr) | ast::TableVersion::ForSystemTimeAsOf(expr) => {
                self.time("TIMESTAMP AS OF", expr)
            }
            ast::TableVersion::Function(_) | ast::TableVersion::Changes { .. } => {
                Err(Error::unsupported("this form of time travel"))
            }
        }
    }

    /// A function's version: a number, or else a time.
    fn argument(&mut self, function: &str, expr: &ast::Expr) -> Result<Moment> {
        if let ast::Expr::Value(value) = expr
            && let ast::Value::SingleQuotedString(_) = &value.value
        {
            return self.time(function, expr);
        }
        match self.number(function, expr) {
            Err(error) if error.sqlstate() == SqlState::DatatypeMismatch => self.time(function, expr),
            number => number,
        }
    }

    fn number(&mut self, what: &str, expr: &ast::Expr) -> Result<Moment> {
        let value = match self.parameter(expr, PgType::INT8)? {
            Parameter::None => {
                let number = constant_value(what, expr, PgType::INT8, self.context, self.source)?;
                // The cast has rounded.
                let exact = constant_value(what, expr, PgType::NUMERIC, self.context, self.source);
                if exact.is_ok_and(|exact| !is_whole(&exact)) {
                    return Err(no_version(what).at(sql::span_position(self.source, expr.span())));
                }
                number
            }
            Parameter::Unbound => return Ok(Moment::Unknown),
            Parameter::Bound(value) => match value.cast_to(&arrow::datatypes::DataType::Int64) {
                Ok(number) if !value.data_type().is_temporal() && is_whole(&value) => number,
                _ => return Err(no_version(what)),
            },
        };
        match value {
            ScalarValue::Int64(Some(number)) => u64::try_from(number).map(Moment::Version).map_err(|_| {
                let message = format!("version {number} of a table cannot be: the first one is 0");
                Error::new(SqlState::InvalidParameterValue, message)
            }),
            _ => Err(no_null(what)),
        }
    }

    fn time(&mut self, what: &str, expr: &ast::Expr) -> Result<Moment> {
        let value = match self.parameter(expr, PgType::TIMESTAMPTZ)? {
            Parameter::None => constant_value(what, expr, PgType::TIMESTAMPTZ, self.context, self.source)?,
            Parameter::Unbound => return Ok(Moment::Unknown),
            Parameter::Bound(value @ ScalarValue::TimestampMicrosecond(_, Some(_))) => value,
            // Any other value means what its text means in this session.
            Parameter::Bound(value) if !value.is_null() => {
                let text = ast::Expr::value(ast::Value::SingleQuotedString(value.to_string()));
                constant_value(what, &text, PgType::TIMESTAMPTZ, self.context, "")?
            }
            Parameter::Bound(_) => return Err(no_null(what)),
        };
        match value {
            ScalarValue::TimestampMicrosecond(Some(micros), _) => {
                let time = DateTime::from_timestamp_micros(micros);
                time.map(Moment::Time).ok_or_else(|| {
                    Error::new(SqlState::DatetimeFieldOverflow, format!("argument of {what} is out of range"))
                })
            }
            _ => Err(no_null(what)),
        }
    }

    /// What a parameter in the place of a version stands for.
    fn parameter(&mut self, expr: &ast::Expr, ty: PgType) -> Result<Parameter> {
        let ast::Expr::Value(value) = expr else { return Ok(Parameter::None) };
        let ast::Value::Placeholder(name) = &value.value else { return Ok(Parameter::None) };
        let number = name.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
        let Some(index) = number.and_then(|number| number.checked_sub(1)).filter(|_| self.parameters.allowed) else {
            // The binder knows the error.
            return Ok(Parameter::None);
        };
        if let Some(value) = self.parameters.values.as_ref().and_then(|values| values.get(index)) {
            return Ok(Parameter::Bound(value.clone()));
        }
        const PARAMETERS_MAX: usize = 65_535;
        if index >= PARAMETERS_MAX {
            return Ok(Parameter::None);
        }
        if self.parameters.types.len() <= index {
            self.parameters.types.resize(index + 1, None);
        }
        if let Some(slot) = self.parameters.types.get_mut(index) {
            slot.get_or_insert(ty);
        }
        Ok(Parameter::Unbound)
    }
}

/// Whether a number has nothing behind its point.
fn is_whole(value: &ScalarValue) -> bool {
    match value {
        ScalarValue::Decimal128(Some(digits), _, scale) => {
            10_i128.checked_pow(u32::try_from(*scale).unwrap_or(0)).is_none_or(|unit| digits % unit == 0)
        }
        ScalarValue::Float64(Some(number)) => number.fract() == 0.0,
        ScalarValue::Float32(Some(number)) => number.fract() == 0.0,
        _ => true,
    }
}

fn no_version(what: &str) -> Error {
    Error::new(SqlState::DatatypeMismatch, format!("argument of {what} must be type bigint"))
}

enum Parameter {
    None,
    Unbound,
    Bound(ScalarValue),
}

pub(super) struct Found {
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) oid: u32,
    pub(super) location: String,
}

pub(super) fn undefined(name: &QualifiedName) -> Error {
    Error::new(SqlState::UndefinedTable, format!("relation \"{}\" does not exist", shown(name)))
}

fn no_null(what: &str) -> Error {
    Error::new(SqlState::NullValueNotAllowed, format!("argument of {what} must not be null"))
}

pub(super) fn shown(name: &QualifiedName) -> String {
    match &name.schema {
        Some(schema) => format!("{schema}.{}", name.name),
        None => name.name.clone(),
    }
}

pub(super) fn past_table(found: &Found, table: &Arc<lake::Table>) -> Result<ResolvedTable> {
    Ok(ResolvedTable {
        schema: found.schema.clone(),
        name: found.name.clone(),
        oid: 0,
        columns: table.columns().iter().map(column_of).collect(),
        provider: table.provider()?,
    })
}

/// Names of the columns that table_changes adds.
const CHANGE_COLUMNS: [(&str, PgType); 3] =
    [("_change_type", PgType::TEXT), ("_commit_version", PgType::INT8), ("_commit_timestamp", PgType::TIMESTAMPTZ)];

/// Changes as a query over the files that hold them. Rows that a commit only moved from one file to another cancel each other.
fn changes_view(changes: Changes) -> Result<Relation> {
    let mut columns: Vec<RelationColumn> = changes.columns.iter().map(column_of).collect();
    for column in &mut columns {
        column.not_null = false;
    }
    let own = columns.clone();
    let names: Vec<String> = own.iter().map(|column| quoted(&column.name)).collect();
    let names = names.join(", ");
    let with = |ty: &str, from: &str| {
        format!("SELECT {names}, {ty} AS _change_type, _commit_version, _commit_timestamp FROM {from}")
    };
    let mut parts = vec![with("'insert'", "inserted"), with("'delete'", "deleted")];
    let moved =
        |first: &str, second: &str| format!("(SELECT * FROM {first} EXCEPT ALL SELECT * FROM {second}) AS moved");
    if changes.has_moves {
        parts.push(with("'insert'", &moved("added", "removed")));
        parts.push(with("'delete'", &moved("removed", "added")));
    }
    if changes.is_recorded {
        parts.push(with("_change_type", "recorded"));
    }
    let mut relations = HashMap::new();
    for ChangedFiles { name, provider, is_recorded } in changes.files {
        let mut columns = own.clone();
        let added = CHANGE_COLUMNS.iter().skip(usize::from(!is_recorded));
        columns.extend(added.map(|(name, ty)| relation_column(name, *ty)));
        let table = ResolvedTable { schema: String::new(), name: name.to_owned(), oid: 0, columns, provider };
        relations.insert((None, name.to_owned()), Relation::Table(table));
    }
    columns.extend(CHANGE_COLUMNS.iter().map(|(name, ty)| relation_column(name, *ty)));
    Ok(Relation::View(ResolvedView {
        schema: String::new(),
        name: "table_changes".to_owned(),
        oid: 0,
        columns,
        query: Arc::new(sql::parse_query(&parts.join(" UNION ALL "))?),
        text: "".into(),
        relations: Arc::new(Relations { by_name: relations, ..Relations::default() }),
    }))
}

fn relation_column(name: &str, ty: PgType) -> RelationColumn {
    RelationColumn { name: name.to_owned(), ty, not_null: false, filled: Filled::Null }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
