//! The pre-pass over `profile('t')` and `suggest_expectations('t')`: whose values a call is about.

use arrow::array::{Array as _, AsArray as _, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;
use sqlparser::ast;

use super::file_call::argument;
use super::past::shown;
use super::relations::{Profiled, Relation, VersionRead};
use super::resolve::Resolver;
use crate::builtins::functions::names::quote;
use crate::catalog::{self, RelationKind, ViewRead};
use crate::encode::types::PgType;
use crate::error::{Error, Result, SqlState};
use crate::quality::{Expectation, ExpectationRule};
use crate::sql::{self, QualifiedName};

/// The condition of a rule of all rows, as suggestions spell it.
fn condition_of(rule: &Expectation) -> Option<String> {
    if rule.filter.is_some() {
        return None;
    }
    match &rule.rule {
        ExpectationRule::Row { condition } | ExpectationRule::Aggregate { condition } => Some(condition.clone()),
        ExpectationRule::Unique { columns } => {
            let columns: Vec<String> = columns.iter().map(|column| quote(column)).collect();
            Some(format!("UNIQUE ({})", columns.join(", ")))
        }
        ExpectationRule::RowCount { comparison } => Some(format!("ROW COUNT {comparison}")),
        ExpectationRule::ForeignKey { .. } | ExpectationRule::Freshness { .. } | ExpectationRule::Schema { .. } => None,
    }
}

const TEXT_ARRAY: PgType = PgType::of(1009);

/// What the call says.
struct Call<'a> {
    name: QualifiedName,
    columns: Option<Vec<String>>,
    version: Option<&'a ast::Expr>,
}

impl Resolver<'_> {
    /// A call of a function over the values of a relation.
    pub(super) async fn profile_function(
        &mut self,
        function: &str,
        arguments: &[ast::FunctionArg],
        (path, reads): (&[String], &[ViewRead]),
        depth: usize,
    ) -> Result<(Relation, VersionRead, Profiled)> {
        let Call { name, columns, version } = self.profile_arguments(function, arguments)?;
        let missing = || Error::new(SqlState::UndefinedTable, format!("relation \"{}\" does not exist", shown(&name)));
        let (relation, oid) = match version {
            Some(version) => self.at_argument(function, &name, (path, reads), version).await?.ok_or_else(missing)?,
            None => {
                let read = reads.iter().find(|read| read.schema == name.schema && read.name == name.name);
                let relation = match self.resolve_read(read, depth).await? {
                    Some(relation) => relation,
                    None => {
                        let found = self.resolve_name(name.schema.as_ref(), &name.name, path, depth).await?;
                        found.ok_or_else(missing)?
                    }
                };
                let oid = relation.oid();
                (relation, oid)
            }
        };
        let mut profiled = Profiled { columns, ..Profiled::default() };
        if function == "suggest_expectations" {
            self.expected(&name, oid, &mut profiled)?;
        }
        Ok((relation, VersionRead { schema: name.schema, name: name.name, oid }, profiled))
    }

    /// The name, the constraints and the rules of a table that can have expectations.
    fn expected(&self, name: &QualifiedName, oid: u32, profiled: &mut Profiled) -> Result<()> {
        let not_a_table = |what: &str| {
            let message = format!("\"{}\" is a {what}, which has no expectations", name.name);
            Error::new(SqlState::WrongObjectType, message).with_hint("Call profile for the figures.")
        };
        let Some((schema, name, relation)) = self.snapshot.relation_by_oid(oid) else {
            return Err(not_a_table("system table"));
        };
        match &relation.kind {
            RelationKind::Table(catalog::Table { checks, expectations, .. }) => {
                profiled.table = format!("{}.{}", quote(schema), quote(name));
                profiled.constraints = checks.iter().map(|check| check.name.clone()).collect();
                profiled.constraints.extend(expectations.iter().map(|rule| rule.name.clone()));
                profiled.expectations = expectations.iter().filter_map(condition_of).collect();
                Ok(())
            }
            RelationKind::View(_) => Err(not_a_table(relation.kind.noun())),
        }
    }

    fn profile_arguments<'a>(&self, function: &str, arguments: &'a [ast::FunctionArg]) -> Result<Call<'a>> {
        let valid: &[&str] = if function == "profile" { &["columns", "version"] } else { &["columns"] };
        let takes = || {
            let options: Vec<String> = valid.iter().map(|option| format!(" [, {option} => …]")).collect();
            let message = format!("wrong number of arguments of function {function}");
            Error::new(SqlState::UndefinedFunction, message)
                .with_hint(format!("Call {function}('table'{}).", options.concat()))
        };
        let mut given = arguments.iter().map(argument);
        let (None, table) = given.next().ok_or_else(takes)?? else { return Err(takes()) };
        let table = self.constant(function, table, PgType::TEXT)?;
        let (ScalarValue::Utf8(Some(name)) | ScalarValue::Utf8View(Some(name))) = table else {
            let message = format!("function {function} needs the name of a table");
            return Err(Error::new(SqlState::NullValueNotAllowed, message));
        };
        let name = sql::parse_name(&name).map_err(Error::without_position)?;
        let mut call = Call { name, columns: None, version: None };
        for given in given {
            let (option, value) = given?;
            match option.as_deref() {
                None => return Err(takes()),
                Some("columns") => call.columns = Some(self.names_of_columns(value)?),
                Some("version") if function == "profile" => call.version = Some(value),
                Some(other) => {
                    let message = format!("function {function} has no option \"{other}\"");
                    return Err(Error::new(SqlState::InvalidParameterValue, message)
                        .with_hint(format!("Valid options: {}.", valid.join(", "))));
                }
            }
        }
        Ok(call)
    }

    fn names_of_columns(&self, value: &ast::Expr) -> Result<Vec<String>> {
        let none = || Error::new(SqlState::NullValueNotAllowed, "option \"columns\" needs names of columns");
        let ScalarValue::List(list) = self.constant("columns", value, TEXT_ARRAY)? else {
            return Err(none());
        };
        if list.is_empty() || list.is_null(0) {
            return Err(none());
        }
        let names = cast(&list.value(0), &DataType::Utf8)?;
        let names: &StringArray = names.as_string_opt().ok_or_else(none)?;
        names.iter().map(|name| name.map(str::to_owned).ok_or_else(none)).collect()
    }
}
