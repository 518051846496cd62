//! What stands in FROM: tables, quoted paths, functions, subqueries and joins.
//!
//! A path in single quotes is a `TableFactor::Table` whose name is one identifier with the quote style `'`.

use sqlparser::ast::{
    Expr, FunctionArg, FunctionArgumentClause, FunctionArguments, Ident, Join, JoinConstraint, JoinOperator,
    ObjectName, TableAlias, TableAliasColumnDef, TableFactor, TableFunctionArgs, TableWithJoins,
};

use super::grammar::{Grammar, too_deep};
use super::select::table_factor;
use super::stack::CHAIN_MAX;
use super::token::Kind;
use crate::error::{Error, Result, SqlState};

impl Grammar<'_> {
    pub fn table_with_joins(&mut self) -> Result<TableWithJoins> {
        self.deeper(|grammar| {
            let relation = grammar.table_factor_here()?;
            let joins = grammar.joins()?;
            Ok(TableWithJoins { relation, joins })
        })
    }

    fn at_join(&self) -> bool {
        self.is_any(&["join", "inner", "left", "right", "full", "cross", "natural"])
    }

    fn joins(&mut self) -> Result<Vec<Join>> {
        let mut joins = Vec::new();
        while self.at_join() {
            joins.push(self.join()?);
            if joins.len() > CHAIN_MAX {
                return Err(too_deep());
            }
        }
        Ok(joins)
    }

    fn join(&mut self) -> Result<Join> {
        let natural = self.accept("natural");
        let kind = self.one_of(&["inner", "left", "right", "full", "cross"]);
        let outer = matches!(kind, Some("left" | "right" | "full")) && self.accept("outer");
        if natural && kind == Some("cross") {
            return Err(self.syntax_at(self.last()));
        }
        self.expect("join")?;
        let relation = self.table_factor_here()?;
        if kind == Some("cross") {
            return Ok(Join { relation, global: false, join_operator: JoinOperator::CrossJoin(JoinConstraint::None) });
        }
        let (relation, constraint) =
            if natural { (relation, JoinConstraint::Natural) } else { self.join_constraint(relation)? };
        let join_operator = match (kind, outer) {
            (Some("inner"), _) => JoinOperator::Inner(constraint),
            (Some("left"), false) => JoinOperator::Left(constraint),
            (Some("left"), true) => JoinOperator::LeftOuter(constraint),
            (Some("right"), false) => JoinOperator::Right(constraint),
            (Some("right"), true) => JoinOperator::RightOuter(constraint),
            (Some(_), _) => JoinOperator::FullOuter(constraint),
            (None, _) => JoinOperator::Join(constraint),
        };
        Ok(Join { relation, global: false, join_operator })
    }

    /// ON or USING; in `a JOIN b JOIN c ON … ON …` the inner join is the right side.
    fn join_constraint(&mut self, relation: TableFactor) -> Result<(TableFactor, JoinConstraint)> {
        let mut relation = relation;
        if self.at_join() {
            let joins = self.deeper(Self::joins)?;
            let table_with_joins = Box::new(TableWithJoins { relation, joins });
            relation = TableFactor::NestedJoin { table_with_joins, alias: None };
        }
        if self.accept("on") {
            return Ok((relation, JoinConstraint::On(self.expression()?)));
        }
        self.expect("using")?;
        let columns = self.parenthesized(|grammar| Ok(ObjectName::from(grammar.column_name()?)))?;
        if self.is("as") {
            return self.unsupported("an alias of JOIN USING");
        }
        Ok((relation, JoinConstraint::Using(columns)))
    }

    fn table_factor_here(&mut self) -> Result<TableFactor> {
        let lateral = self.accept("lateral");
        if self.is_operator("(") {
            return self.parenthesized_factor(lateral);
        }
        if self.is_any(&["xmltable", "json_table"]) && self.is_operator_ahead(1, "(") {
            return self.unsupported(&self.token().value.to_ascii_uppercase());
        }
        if self.is("rows") && self.is_ahead(1, "from") && self.is_operator_ahead(2, "(") {
            return self.rows_from(lateral);
        }
        if self.function_follows() {
            return self.function_factor(lateral);
        }
        if lateral {
            return self.lateral_needs_function();
        }
        let mut factor = self.relation()?;
        let version_here = self.version()?;
        let alias_here = self.table_alias()?;
        if let TableFactor::Table { alias, version, .. } = &mut factor {
            *alias = alias_here;
            *version = version_here;
        }
        if self.is("tablesample") {
            return self.unsupported("TABLESAMPLE");
        }
        self.refuse_version("AS OF after an alias")?;
        Ok(factor)
    }

    fn lateral_needs_function(&mut self) -> Result<TableFactor> {
        self.dotted()?;
        self.syntax()
    }

    /// `[ONLY] t [*]`, `ONLY (t)`, or a path in quotes.
    pub fn relation(&mut self) -> Result<TableFactor> {
        let token = self.token();
        if self.is_string() {
            self.advance();
            let path = Ident { value: token.value.clone(), quote_style: Some('\''), span: token.span };
            return Ok(table_factor(ObjectName::from(path), None));
        }
        let only = self.accept("only");
        if only && self.accept_operator("(") {
            let name = self.object_name()?;
            self.close()?;
            return Ok(table_factor(name, None));
        }
        let name = self.object_name()?;
        if !only {
            self.accept_operator("*");
        }
        Ok(table_factor(name, None))
    }

    fn parenthesized_factor(&mut self, lateral: bool) -> Result<TableFactor> {
        let open = self.token();
        if let Some(subquery) = self.subquery_in_parentheses()? {
            let alias = self.table_alias()?;
            if alias.is_none() {
                let what =
                    if self.source.get(open.end..).is_some_and(starts_with_values) { "VALUES" } else { "subquery" };
                let example = if what == "VALUES" { "(VALUES ...)" } else { "(SELECT ...)" };
                return Err(Error::new(SqlState::SyntaxError, format!("{what} in FROM must have an alias"))
                    .with_hint(format!("For example, FROM {example} [AS] foo."))
                    .at(open.position));
            }
            return Ok(TableFactor::Derived { lateral, subquery, alias, sample: None });
        }
        self.open()?;
        if lateral {
            return self.syntax();
        }
        let inner = self.table_with_joins()?;
        if inner.joins.is_empty() && !matches!(inner.relation, TableFactor::NestedJoin { .. }) {
            // PostgreSQL allows parentheses round a join only.
            return self.syntax();
        }
        self.close()?;
        let alias = self.table_alias()?;
        Ok(TableFactor::NestedJoin { table_with_joins: Box::new(inner), alias })
    }

    /// Whether a name and an opening parenthesis come next, or a function that needs none.
    fn function_follows(&self) -> bool {
        let mut count = 1;
        while self.is_operator_ahead(count, ".") {
            count += 2;
        }
        let named = matches!(self.token().kind, Kind::Word(_) | Kind::Quoted);
        (named && self.is_operator_ahead(count, "(") && !self.is("only"))
            || self.is_any(&[
                "current_date",
                "current_timestamp",
                "current_user",
                "session_user",
                "current_catalog",
                "current_schema",
            ])
    }

    fn rows_from(&mut self, lateral: bool) -> Result<TableFactor> {
        self.take(&["rows", "from"]);
        self.open()?;
        let call = self.function_call()?;
        if self.is("as") {
            return self.unsupported("a column definition list in ROWS FROM");
        }
        if self.is_operator(",") {
            return self.unsupported("ROWS FROM with several functions");
        }
        self.close()?;
        self.finish_function(lateral, call)
    }

    fn function_factor(&mut self, lateral: bool) -> Result<TableFactor> {
        let call = self.function_call()?;
        self.finish_function(lateral, call)
    }

    fn function_call(&mut self) -> Result<(ObjectName, Vec<FunctionArg>)> {
        let token = self.token();
        let Expr::Function(call) = self.primary()? else {
            return Err(self.unsupported_at("such a function in FROM", token));
        };
        let refused = call.over.is_some() || call.filter.is_some() || !call.within_group.is_empty();
        let args = match call.args {
            FunctionArguments::List(list) => {
                let ordered = list.clauses.iter().any(|clause| matches!(clause, FunctionArgumentClause::OrderBy(_)));
                if refused || ordered || list.duplicate_treatment.is_some() {
                    return Err(self.unsupported_at("an aggregate or window clause in FROM", token));
                }
                list.args
            }
            FunctionArguments::None => Vec::new(),
            FunctionArguments::Subquery(_) => return Err(self.syntax_at(token)),
        };
        Ok((call.name, args))
    }

    fn finish_function(&mut self, lateral: bool, call: (ObjectName, Vec<FunctionArg>)) -> Result<TableFactor> {
        let (name, args) = call;
        let with_ordinality = self.take(&["with", "ordinality"]);
        let alias = self.function_alias(&name)?;
        if lateral {
            return Ok(TableFactor::Function { lateral, name, args, with_ordinality, alias });
        }
        let mut factor = table_factor(name, alias);
        if let TableFactor::Table { args: slot, with_ordinality: ordinality, .. } = &mut factor {
            *slot = Some(TableFunctionArgs { args, settings: None });
            *ordinality = with_ordinality;
        }
        Ok(factor)
    }

    /// `[AS] t [(a, b)]`, `[AS] t (a int, b text)` or `AS (a int, b text)`.
    fn function_alias(&mut self, function: &ObjectName) -> Result<Option<TableAlias>> {
        let explicit = self.accept("as");
        if explicit && self.is_operator("(") {
            let columns = self.parenthesized(Self::alias_column)?;
            let last = function.0.last().and_then(|part| part.as_ident().cloned());
            let name = last.unwrap_or_else(|| Ident::new(""));
            return Ok(Some(TableAlias { explicit, name, columns, at: None }));
        }
        if !explicit && !self.is_column_name() {
            return Ok(None);
        }
        let name = self.column_name()?;
        let columns = if self.is_operator("(") { self.parenthesized(Self::alias_column)? } else { Vec::new() };
        Ok(Some(TableAlias { explicit, name, columns, at: None }))
    }

    fn alias_column(&mut self) -> Result<TableAliasColumnDef> {
        let name = self.column_name()?;
        let typed = !self.is_operator(",") && !self.is_operator(")");
        let data_type = if typed { Some(self.data_type()?) } else { None };
        Ok(TableAliasColumnDef { name, data_type })
    }

    pub fn table_alias(&mut self) -> Result<Option<TableAlias>> {
        let explicit = self.accept("as");
        if !explicit && !self.is_column_name() {
            return Ok(None);
        }
        let name = self.column_name()?;
        let columns = if self.is_operator("(") { self.parenthesized(Self::column_name)? } else { Vec::new() };
        Ok(Some(TableAlias { explicit, name, columns: super::select::untyped(columns), at: None }))
    }
}

fn starts_with_values(text: &str) -> bool {
    text.trim_start().get(..6).is_some_and(|word| word.eq_ignore_ascii_case("values"))
}
