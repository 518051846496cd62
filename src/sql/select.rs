//! Queries: WITH, set operations, SELECT, VALUES, TABLE, ORDER BY, LIMIT.
//!
//! The tree is built whole here, field by field, so no clause that PostgreSQL lacks can get into it.

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    Cte, CteAsMaterialized, Distinct, Expr, Fetch, GroupByExpr, Ident, LimitClause, NamedWindowDefinition,
    NamedWindowExpr, ObjectName, Offset, OffsetRows, OrderBy, OrderByKind, Parens, Query, Select, SelectFlavor,
    SelectItem, SelectItemQualifiedWildcardKind, SetExpr, SetOperator, SetQuantifier, TableAlias, TableAliasColumnDef,
    TableFactor, TableWithJoins, Value, ValueWithSpan, Values, WildcardAdditionalOptions, With,
};
use sqlparser::tokenizer::{Span, Token as SqlToken, TokenWithSpan};

use super::grammar::{Grammar, Into, too_deep};
use super::keywords::is_bare_label;
use super::stack::CHAIN_MAX;
use super::token::{Kind, Token};
use crate::error::{Error, Result, SqlState};

fn query_of(body: Box<SetExpr>) -> Query {
    Query {
        with: None,
        body,
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

fn punctuation(token: SqlToken, at: &Token) -> AttachedToken {
    AttachedToken(TokenWithSpan { token, span: at.span })
}

/// A SELECT of nothing from nowhere.
fn empty_select(select_token: AttachedToken) -> Select {
    Select {
        select_token,
        optimizer_hints: Vec::new(),
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection: Vec::new(),
        exclude: None,
        into: None,
        from: Vec::new(),
        lateral_views: Vec::new(),
        prewhere: None,
        selection: None,
        connect_by: Vec::new(),
        group_by: GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    }
}

fn plain_wildcard(at: &Token) -> WildcardAdditionalOptions {
    WildcardAdditionalOptions {
        wildcard_token: punctuation(SqlToken::Mul, at),
        opt_ilike: None,
        opt_exclude: None,
        opt_except: None,
        opt_replace: None,
        opt_rename: None,
        opt_alias: None,
    }
}

impl Grammar<'_> {
    pub fn starts_query(&self) -> bool {
        self.is_any(&["select", "with", "values", "table"]) || self.is_operator("(")
    }

    /// A whole query.
    pub fn query(&mut self) -> Result<Query> {
        self.deeper(Self::query_here)
    }

    fn query_here(&mut self) -> Result<Query> {
        let with = if self.is("with") { Some(self.with()?) } else { None };
        let body = self.set_expression(false)?;
        let mut query = query_of(body);
        query.with = with;
        if self.is("order") {
            let kind = OrderByKind::Expressions(self.order_by_list()?);
            query.order_by = Some(OrderBy { kind, interpolate: None });
        }
        self.limits(&mut query)?;
        if self.is("for") {
            self.refuse_lock()?;
        }
        Ok(unwrapped(query))
    }

    fn refuse_lock(&mut self) -> Result<()> {
        let token = self.advance();
        let strength = match self.token().value.as_str() {
            "update" => "FOR UPDATE",
            "no" => "FOR NO KEY UPDATE",
            "share" => "FOR SHARE",
            "key" => "FOR KEY SHARE",
            // FOR READ ONLY means nothing, in PostgreSQL too.
            "read" => return self.expect_all(&["read", "only"]),
            _ => return self.syntax(),
        };
        Err(self.unsupported_at(strength, token))
    }

    pub fn with(&mut self) -> Result<With> {
        let word = self.advance();
        let recursive = self.accept("recursive");
        let cte_tables = self.list(Self::cte)?;
        Ok(With { with_token: self.attached(word), recursive, cte_tables })
    }

    fn cte(&mut self) -> Result<Cte> {
        let name = self.column_name()?;
        let columns = if self.is_operator("(") { self.parenthesized(Self::column_name)? } else { Vec::new() };
        self.expect("as")?;
        let materialized = if self.take(&["not", "materialized"]) {
            Some(CteAsMaterialized::NotMaterialized)
        } else {
            self.accept("materialized").then_some(CteAsMaterialized::Materialized)
        };
        self.open()?;
        if self.is_any(&["insert", "update", "delete", "merge"]) {
            return self.unsupported("a data-modifying statement in WITH");
        }
        let query = Box::new(self.query()?);
        let close = self.token();
        self.close()?;
        if self.is_any(&["search", "cycle"]) {
            return self.unsupported(&self.token().value.to_ascii_uppercase());
        }
        let alias = TableAlias { explicit: true, name, columns: untyped(columns), at: None };
        let closing_paren_token = punctuation(SqlToken::RParen, close);
        Ok(Cte { alias, query, from: None, materialized, closing_paren_token })
    }

    /// UNION and EXCEPT from the left; INTERSECT (`inner`) binds tighter.
    fn set_expression(&mut self, inner: bool) -> Result<Box<SetExpr>> {
        let mut left = if inner { self.set_operand()? } else { self.set_expression(true)? };
        let mut links = 0;
        loop {
            let op = match self.token().value.as_str() {
                "intersect" if inner && self.is("intersect") => SetOperator::Intersect,
                "union" if !inner && self.is("union") => SetOperator::Union,
                "except" if !inner && self.is("except") => SetOperator::Except,
                _ => return Ok(left),
            };
            self.advance();
            let set_quantifier = match self.one_of(&["all", "distinct"]) {
                Some("all") => SetQuantifier::All,
                Some(_) => SetQuantifier::Distinct,
                None => SetQuantifier::None,
            };
            let right = if inner { self.set_operand()? } else { self.set_expression(true)? };
            left = Box::new(SetExpr::SetOperation { left, op, set_quantifier, right });
            links += 1;
            if links > CHAIN_MAX {
                return Err(too_deep());
            }
        }
    }

    /// Boxed at once: a `SetExpr` by value takes kilobytes of the stack at every level.
    fn set_operand(&mut self) -> Result<Box<SetExpr>> {
        match self.token().value.as_str() {
            "select" if self.is("select") => self.boxed_select(),
            "values" if self.is("values") => self.values(),
            "table" if self.is("table") => self.whole_table(),
            _ if self.is_operator("(") => self.nested_query(),
            _ => self.syntax(),
        }
    }

    fn boxed_select(&mut self) -> Result<Box<SetExpr>> {
        Ok(Box::new(SetExpr::Select(Box::new(self.select()?))))
    }

    fn nested_query(&mut self) -> Result<Box<SetExpr>> {
        let query = self.deeper(Self::query_in_parentheses)?;
        Ok(Box::new(SetExpr::Query(query)))
    }

    /// `TABLE t` is `SELECT * FROM t`.
    fn whole_table(&mut self) -> Result<Box<SetExpr>> {
        let word = self.advance();
        let relation = self.relation()?;
        let mut select = empty_select(self.attached(word));
        select.projection.push(SelectItem::Wildcard(plain_wildcard(word)));
        select.from.push(TableWithJoins { relation, joins: Vec::new() });
        Ok(Box::new(SetExpr::Select(Box::new(select))))
    }

    fn values(&mut self) -> Result<Box<SetExpr>> {
        self.expect("values")?;
        let rows = self.list(|grammar| {
            let open = grammar.token();
            grammar.open()?;
            let content = grammar.expression_list()?;
            let close = grammar.token();
            grammar.close()?;
            Ok(Parens {
                opening_token: punctuation(SqlToken::LParen, open),
                content,
                closing_token: punctuation(SqlToken::RParen, close),
            })
        })?;
        Ok(Box::new(SetExpr::Values(Values { explicit_row: false, value_keyword: false, rows })))
    }

    fn select(&mut self) -> Result<Select> {
        let word = self.advance();
        let mut select = empty_select(self.attached(word));
        select.distinct = self.distinct()?;
        if !self.target_list_is_empty() {
            select.projection = self.list(Self::select_item)?;
        } else if select.distinct.is_some() {
            return self.syntax();
        }
        if self.is("into") {
            self.select_into()?;
        }
        self.close_select_into();
        if self.accept("from") {
            select.from = self.list(Self::table_with_joins)?;
        }
        if self.accept("where") {
            select.selection = Some(self.expression()?);
        }
        if self.take(&["group", "by"]) {
            select.group_by = self.group_by()?;
        } else if self.is("group") {
            self.advance();
            return self.syntax();
        }
        if self.accept("having") {
            select.having = Some(self.expression()?);
        }
        if self.accept("window") {
            select.named_window = self.list(|grammar| {
                let name = grammar.column_name()?;
                grammar.expect("as")?;
                Ok(NamedWindowDefinition(name, NamedWindowExpr::WindowSpec(grammar.window()?)))
            })?;
        }
        Ok(select)
    }

    /// `INTO [TABLE] t`, which makes the statement a CREATE TABLE AS.
    fn select_into(&mut self) -> Result<()> {
        if !self.may_select_into() {
            return Err(
                Error::new(SqlState::SyntaxError, "SELECT ... INTO is not allowed here").at(self.ahead(1).position)
            );
        }
        self.expect("into")?;
        if self.is_any(&["temporary", "temp", "local", "unlogged"]) {
            return self.unsupported("SELECT INTO a temporary or unlogged table");
        }
        self.accept("table");
        self.into = Into::Table(self.qualified_name()?);
        Ok(())
    }

    fn target_list_is_empty(&self) -> bool {
        const NEXT: [&str; 14] = [
            "from",
            "where",
            "group",
            "having",
            "window",
            "union",
            "intersect",
            "except",
            "order",
            "limit",
            "offset",
            "fetch",
            "for",
            "into",
        ];
        self.at_end() || self.is_operator(")") || self.is_any(&NEXT)
    }

    fn distinct(&mut self) -> Result<Option<Distinct>> {
        if self.accept("all") {
            return Ok(None);
        }
        if !self.accept("distinct") {
            return Ok(None);
        }
        if self.accept("on") {
            return Ok(Some(Distinct::On(self.parenthesized(Self::expression)?)));
        }
        Ok(Some(Distinct::Distinct))
    }

    pub fn select_item(&mut self) -> Result<SelectItem> {
        let token = self.token();
        if self.accept_operator("*") {
            return Ok(SelectItem::Wildcard(plain_wildcard(token)));
        }
        if let Some(name) = self.wildcard_name()? {
            let kind = SelectItemQualifiedWildcardKind::ObjectName(name);
            return Ok(SelectItem::QualifiedWildcard(kind, plain_wildcard(self.last())));
        }
        let expr = self.expression()?;
        if self.is_operator(".") && self.is_operator_ahead(1, "*") && self.last().value == ")" {
            self.advance();
            let star = self.advance();
            return Ok(SelectItem::QualifiedWildcard(
                SelectItemQualifiedWildcardKind::Expr(expr),
                plain_wildcard(star),
            ));
        }
        if self.accept("as") {
            return Ok(SelectItem::ExprWithAlias { expr, alias: self.label()? });
        }
        let bare = match self.token().kind {
            Kind::Quoted => true,
            Kind::Word(_) => is_bare_label(&self.token().value),
            _ => false,
        };
        if bare {
            return Ok(SelectItem::ExprWithAlias { expr, alias: self.label()? });
        }
        Ok(SelectItem::UnnamedExpr(expr))
    }

    fn group_by(&mut self) -> Result<GroupByExpr> {
        if self.is("distinct") {
            return self.unsupported("GROUP BY DISTINCT");
        }
        self.accept("all");
        Ok(GroupByExpr::Expressions(self.list(Self::group_item)?, Vec::new()))
    }

    fn group_item(&mut self) -> Result<Expr> {
        if self.is_operator("(") && self.is_operator_ahead(1, ")") {
            self.open()?;
            self.close()?;
            return Ok(Expr::Tuple(Vec::new()));
        }
        if self.take(&["grouping", "sets"]) {
            return Ok(Expr::GroupingSets(self.parenthesized(Self::grouping_set)?));
        }
        if self.is_operator_ahead(1, "(") && self.is_any(&["rollup", "cube"]) {
            let word = self.advance();
            let sets = self.parenthesized(Self::grouping_set)?;
            return Ok(if word.value == "rollup" { Expr::Rollup(sets) } else { Expr::Cube(sets) });
        }
        self.expression()
    }

    /// `(a, b)`, `()` or `a`.
    fn grouping_set(&mut self) -> Result<Vec<Expr>> {
        if self.are(&["grouping", "sets"]) || (self.is_any(&["rollup", "cube"]) && self.is_operator_ahead(1, "(")) {
            return Ok(vec![self.deeper(Self::group_item)?]);
        }
        if self.is_operator("(") && self.is_operator_ahead(1, ")") {
            self.open()?;
            self.close()?;
            return Ok(Vec::new());
        }
        Ok(match self.expression()? {
            Expr::Tuple(items) => items,
            Expr::Nested(item) => vec![*item],
            item => vec![item],
        })
    }

    /// LIMIT, OFFSET and FETCH in any order, each once.
    fn limits(&mut self, query: &mut Query) -> Result<()> {
        let (mut limit, mut limited, mut offset) = (None, false, None);
        loop {
            let token = self.token();
            if self.accept("limit") {
                self.refuse_second(limited, token)?;
                limited = true;
                limit = self.limit_value()?;
                if self.is_operator(",") {
                    return Err(Error::new(SqlState::SyntaxError, "LIMIT #,# syntax is not supported")
                        .with_hint("Use separate LIMIT and OFFSET clauses.")
                        .at(token.position));
                }
            } else if self.accept("offset") {
                self.refuse_second(offset.is_some(), token)?;
                let value = self.expression()?;
                let rows = match self.one_of(&["row", "rows"]) {
                    Some("row") => OffsetRows::Row,
                    Some(_) => OffsetRows::Rows,
                    None => OffsetRows::None,
                };
                offset = Some(Offset { value, rows });
            } else if self.is("fetch") {
                self.refuse_second(limited, token)?;
                limited = true;
                query.fetch = Some(self.fetch_first()?);
            } else {
                break;
            }
        }
        if query.fetch.as_ref().is_some_and(|fetch| fetch.with_ties) && query.order_by.is_none() {
            return Err(Error::new(SqlState::SyntaxError, "WITH TIES cannot be specified without ORDER BY clause"));
        }
        if limit.is_some() || offset.is_some() {
            query.limit_clause = Some(LimitClause::LimitOffset { limit, offset, limit_by: Vec::new() });
        }
        Ok(())
    }

    /// PostgreSQL has no rule for a second LIMIT or OFFSET.
    fn refuse_second(&self, again: bool, token: &Token) -> Result<()> {
        if again { Err(self.syntax_at(token)) } else { Ok(()) }
    }

    /// `None` is LIMIT ALL.
    fn limit_value(&mut self) -> Result<Option<Expr>> {
        if self.accept("all") {
            return Ok(None);
        }
        Ok(Some(self.expression()?))
    }

    fn fetch_first(&mut self) -> Result<Fetch> {
        self.expect("fetch")?;
        if self.one_of(&["first", "next"]).is_none() {
            return self.syntax();
        }
        let quantity = if self.is_any(&["row", "rows"]) { one(self.token().span) } else { self.primary_or_signed()? };
        if self.one_of(&["row", "rows"]).is_none() {
            return self.syntax();
        }
        let with_ties = self.take(&["with", "ties"]);
        if !with_ties {
            self.expect("only")?;
        }
        Ok(Fetch { with_ties, percent: false, quantity: Some(quantity) })
    }

    fn primary_or_signed(&mut self) -> Result<Expr> {
        let op = match self.token().value.as_str() {
            "-" if self.is_operator("-") => sqlparser::ast::UnaryOperator::Minus,
            "+" if self.is_operator("+") => sqlparser::ast::UnaryOperator::Plus,
            _ => return self.primary(),
        };
        self.advance();
        Ok(Expr::UnaryOp { op, expr: Box::new(self.primary()?) })
    }
}

fn one(span: Span) -> Expr {
    Expr::Value(ValueWithSpan { value: Value::Number("1".to_owned(), false), span })
}

/// Alias columns without types.
pub(crate) fn untyped(columns: Vec<Ident>) -> Vec<TableAliasColumnDef> {
    columns.into_iter().map(|name| TableAliasColumnDef { name, data_type: None }).collect()
}

/// Parentheses round a whole query mean nothing.
fn unwrapped(query: Query) -> Query {
    let bare =
        query.with.is_none() && query.order_by.is_none() && query.limit_clause.is_none() && query.fetch.is_none();
    if !bare || !matches!(*query.body, SetExpr::Query(_)) {
        return query;
    }
    match *query.body {
        SetExpr::Query(inner) => *inner,
        body => query_of(Box::new(body)),
    }
}

/// `SELECT column FROM (query) AS alias`.
pub(crate) fn one_column_of(query: Query, alias: TableAlias, column: Ident) -> Expr {
    let mut select = empty_select(AttachedToken::empty());
    select.projection.push(SelectItem::UnnamedExpr(Expr::Identifier(column)));
    let relation = TableFactor::Derived { lateral: false, subquery: Box::new(query), alias: Some(alias), sample: None };
    select.from.push(TableWithJoins { relation, joins: Vec::new() });
    Expr::Subquery(Box::new(query_of(Box::new(SetExpr::Select(Box::new(select))))))
}

/// A table by its name alone.
pub(crate) fn table_factor(name: ObjectName, alias: Option<TableAlias>) -> TableFactor {
    TableFactor::Table {
        name,
        alias,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}
