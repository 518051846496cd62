//! What stands between operators: constants, columns, parentheses, CASE, casts, subscripts and fields.

use sqlparser::ast::{
    AccessExpr, Array, CaseWhen, CastKind, DataType, DateTimeField, Expr, Function, FunctionArguments, Ident, Interval,
    ObjectName, Query, Subscript, TypedString, Value, ValueWithSpan,
};

use super::expression::text_value;
use super::grammar::{Grammar, too_deep};
use super::keywords::Class;
use super::stack::DEPTH_MAX;
use super::token::{Kind, Token};
use crate::error::{Error, Result, SqlState};

/// Casts and subscripts that may follow one another.
const POSTFIX_MAX: usize = 1_000;

impl Grammar<'_> {
    /// c_expr with the casts behind it.
    pub fn primary(&mut self) -> Result<Expr> {
        let mut expr = self.atom()?;
        let mut casts = 0;
        while self.accept_operator("::") {
            let data_type = self.data_type()?;
            expr =
                Expr::Cast { kind: CastKind::DoubleColon, expr: Box::new(expr), data_type, array: false, format: None };
            casts += 1;
            if casts > POSTFIX_MAX {
                return Err(too_deep());
            }
        }
        Ok(expr)
    }

    fn atom(&mut self) -> Result<Expr> {
        let token = self.token();
        match token.kind {
            Kind::Number => Ok(self.constant(Value::Number(token.value.clone(), false))),
            Kind::Text => Ok(self.constant(Value::SingleQuotedString(token.value.clone()))),
            Kind::Bits => self.unsupported("a bit string constant"),
            Kind::Parameter => {
                let root = self.constant(Value::Placeholder(token.value.clone()));
                self.indirection(root)
            }
            Kind::Operator if token.value == "(" => self.parenthesis(),
            Kind::Quoted => self.named(),
            Kind::Word(class) => self.word(token, class),
            Kind::Operator | Kind::Bad(_) | Kind::End => self.syntax(),
        }
    }

    fn constant(&mut self, value: Value) -> Expr {
        let span = self.advance().span;
        Expr::Value(ValueWithSpan { value, span })
    }

    fn word(&mut self, token: &Token, class: Class) -> Result<Expr> {
        match token.value.as_str() {
            "null" => Ok(self.constant(Value::Null)),
            "true" => Ok(self.constant(Value::Boolean(true))),
            "false" => Ok(self.constant(Value::Boolean(false))),
            "default" if self.defaults => {
                self.advance();
                Ok(Expr::Identifier(self.ident_of(token)))
            }
            "case" => self.case(),
            "cast" => self.cast(),
            "array" => self.array(),
            "exists" if self.is_operator_ahead(1, "(") => self.exists(),
            "row" if self.is_operator_ahead(1, "(") => self.row(),
            "interval" if self.interval_follows() => self.interval(),
            "double" if self.is_ahead(1, "precision") && self.typed_constant_follows() => self.typed_constant(),
            "default" => {
                let message = "DEFAULT is not allowed in this context";
                Err(Error::new(SqlState::SyntaxError, message).at(token.position))
            }
            _ if class == Class::Reserved => self.value_function(),
            "current_schema" if !self.is_operator_ahead(1, "(") => self.value_function(),
            "xmlelement" | "xmlconcat" | "xmlexists" | "xmlforest" | "xmlparse" | "xmlpi" | "xmlroot"
            | "xmlserialize" | "treat" | "normalize"
                if self.is_operator_ahead(1, "(") =>
            {
                self.unsupported(&token.value)
            }
            _ if class == Class::ColumnName && self.typed_constant_follows() => self.typed_constant(),
            _ => self.named(),
        }
    }

    /// `( … )`: a subquery, a row, or an expression in parentheses; then subscripts and fields.
    fn parenthesis(&mut self) -> Result<Expr> {
        if let Some(query) = self.subquery_in_parentheses()? {
            return self.indirection(Expr::Subquery(query));
        }
        self.open()?;
        let first = self.expression()?;
        if self.is_operator(",") {
            let mut items = vec![first];
            while self.accept_operator(",") {
                items.push(self.expression()?);
            }
            self.close()?;
            return Ok(Expr::Tuple(items));
        }
        self.close()?;
        self.indirection(Expr::Nested(Box::new(first)))
    }

    /// A query in parentheses if one comes next; the cursor stays where it is otherwise.
    pub fn subquery_in_parentheses(&mut self) -> Result<Option<Box<Query>>> {
        let mut depth = 0;
        while self.is_operator_ahead(depth, "(") {
            depth += 1;
            if depth > DEPTH_MAX as usize {
                return Err(too_deep());
            }
        }
        let starts = ["select", "with", "values", "table"].iter().any(|word| self.is_ahead(depth, word));
        if depth == 0 || !starts || !self.only_queries_in(depth) {
            return Ok(None);
        }
        self.deeper(Self::query_in_parentheses).map(Some)
    }

    /// Whether the outermost of `depth` parentheses ahead, the innermost of which holds a query, is one's too:
    /// in `((SELECT 1) + 1)` it is not. What follows each closing parenthesis tells; nothing is parsed twice for it.
    fn only_queries_in(&self, depth: usize) -> bool {
        let follows = ["union", "intersect", "except", "order", "limit", "offset", "fetch", "for"];
        let inner = self.mark() + 1..self.mark() + depth;
        inner.into_iter().all(|open| {
            let Some(close) = self.closing(open) else { return true };
            let after = close + 1 - self.mark();
            self.is_operator_ahead(after, ")") || follows.iter().any(|word| self.is_ahead(after, word))
        })
    }

    pub fn query_in_parentheses(&mut self) -> Result<Box<Query>> {
        self.open()?;
        let query = self.query()?;
        self.close()?;
        Ok(Box::new(query))
    }

    /// Subscripts and fields: `[1]`, `[1:2]`, `.name`.
    fn indirection(&mut self, root: Expr) -> Result<Expr> {
        let mut chain = Vec::new();
        loop {
            if self.is_operator(".") && !self.is_operator_ahead(1, "*") {
                self.advance();
                chain.push(AccessExpr::Dot(Expr::Identifier(self.label()?)));
            } else if self.is_operator("[") {
                chain.push(AccessExpr::Subscript(self.subscript()?));
            } else {
                break;
            }
            if chain.len() > POSTFIX_MAX {
                return Err(too_deep());
            }
        }
        if chain.is_empty() {
            return Ok(root);
        }
        Ok(Expr::CompoundFieldAccess { root: Box::new(root), access_chain: chain })
    }

    fn subscript(&mut self) -> Result<Subscript> {
        self.expect_operator("[")?;
        let lower = if self.is_operator(":") { None } else { Some(self.expression()?) };
        if let (Some(index), true) = (lower.clone(), self.is_operator("]")) {
            self.advance();
            return Ok(Subscript::Index { index });
        }
        self.expect_operator(":")?;
        let upper = if self.is_operator("]") { None } else { Some(self.expression()?) };
        self.expect_operator("]")?;
        Ok(Subscript::Slice { lower_bound: lower, upper_bound: upper, stride: None })
    }

    /// A column, a function call or a constant of a named type.
    fn named(&mut self) -> Result<Expr> {
        let first = self.token();
        let mut parts = vec![self.non_reserved_word()?];
        while self.is_operator(".") && !self.is_operator_ahead(1, "*") {
            self.advance();
            parts.push(self.label()?);
        }
        if self.is_operator("(") {
            return self.call(parts, first);
        }
        if self.is_string() && !is_class(first, Class::ColumnName) {
            let value = text_value(self.advance());
            let data_type = DataType::Custom(ObjectName::from(parts), Vec::new());
            return Ok(Expr::TypedString(TypedString { data_type, value, uses_odbc_syntax: false }));
        }
        if is_class(first, Class::FunctionOrType) {
            // Only a function or a type may have this name: PostgreSQL stops at what follows it.
            return self.syntax();
        }
        let root = match <[Ident; 1]>::try_from(parts) {
            Ok([single]) => Expr::Identifier(single),
            Err(parts) => Expr::CompoundIdentifier(parts),
        };
        self.indirection(root)
    }

    /// Functions that are called without parentheses.
    fn value_function(&mut self) -> Result<Expr> {
        const PRECISE: [&str; 4] = ["current_time", "current_timestamp", "localtime", "localtimestamp"];
        const PLAIN: [&str; 7] = [
            "current_date",
            "current_role",
            "current_user",
            "session_user",
            "user",
            "current_catalog",
            "current_schema",
        ];
        let token = self.token();
        let precise = PRECISE.contains(&token.value.as_str());
        if !precise && !PLAIN.contains(&token.value.as_str()) {
            return self.syntax();
        }
        self.advance();
        let name = ObjectName::from(self.ident_of(token));
        if precise && self.is_operator("(") {
            self.open()?;
            let number = self.token();
            self.integer()?;
            self.close()?;
            let value = ValueWithSpan { value: Value::Number(number.value.clone(), false), span: number.span };
            return Ok(Expr::Function(super::call::function(name, super::call::positional(vec![Expr::Value(value)]))));
        }
        Ok(Expr::Function(Function { args: FunctionArguments::None, ..super::call::function(name, Vec::new()) }))
    }

    fn case(&mut self) -> Result<Expr> {
        let case = self.advance();
        let operand = if self.is("when") { None } else { Some(Box::new(self.expression()?)) };
        let mut conditions = Vec::new();
        while self.accept("when") {
            let condition = self.expression()?;
            self.expect("then")?;
            conditions.push(CaseWhen { condition, result: self.expression()? });
        }
        if conditions.is_empty() {
            return self.syntax();
        }
        let else_result = if self.accept("else") { Some(Box::new(self.expression()?)) } else { None };
        let end = self.token();
        self.expect("end")?;
        Ok(Expr::Case {
            case_token: self.attached(case),
            end_token: self.attached(end),
            operand,
            conditions,
            else_result,
        })
    }

    fn cast(&mut self) -> Result<Expr> {
        self.expect("cast")?;
        self.open()?;
        let expr = Box::new(self.expression()?);
        self.expect("as")?;
        let data_type = self.data_type()?;
        self.close()?;
        Ok(Expr::Cast { kind: CastKind::Cast, expr, data_type, array: false, format: None })
    }

    /// ARRAY[…] and ARRAY(SELECT …).
    fn array(&mut self) -> Result<Expr> {
        let word = self.advance();
        if self.is_operator("[") {
            let array = self.array_items(true)?;
            return self.indirection(array);
        }
        let Some(query) = self.subquery_in_parentheses()? else {
            self.open()?;
            return self.syntax();
        };
        let name = ObjectName::from(self.ident_of(word));
        Ok(Expr::Function(Function {
            args: FunctionArguments::Subquery(query),
            ..super::call::function(name, Vec::new())
        }))
    }

    fn array_items(&mut self, named: bool) -> Result<Expr> {
        self.expect_operator("[")?;
        let mut elem = Vec::new();
        if !self.is_operator("]") {
            elem = self.list(|grammar| {
                if grammar.is_operator("[") {
                    grammar.deeper(|grammar| grammar.array_items(false))
                } else {
                    grammar.expression()
                }
            })?;
        }
        self.expect_operator("]")?;
        Ok(Expr::Array(Array { elem, named }))
    }

    fn exists(&mut self) -> Result<Expr> {
        self.advance();
        match self.subquery_in_parentheses()? {
            Some(subquery) => Ok(Expr::Exists { subquery, negated: false }),
            None => {
                self.open()?;
                self.syntax()
            }
        }
    }

    fn row(&mut self) -> Result<Expr> {
        let word = self.advance();
        let name = ObjectName::from(self.ident_of(word));
        self.open()?;
        let args = if self.is_operator(")") { Vec::new() } else { self.list(Self::argument)? };
        self.close()?;
        Ok(Expr::Function(super::call::function(name, args)))
    }

    fn interval_follows(&self) -> bool {
        matches!(self.ahead(1).kind, Kind::Text)
            || (self.is_operator_ahead(1, "(")
                && matches!(self.ahead(2).kind, Kind::Number)
                && matches!(self.ahead(4).kind, Kind::Text))
    }

    /// INTERVAL '…' [fields] and INTERVAL(p) '…'.
    fn interval(&mut self) -> Result<Expr> {
        self.expect("interval")?;
        let mut interval = Interval {
            value: Box::new(Expr::Value(text_value(self.token()))),
            leading_field: None,
            leading_precision: None,
            last_field: None,
            fractional_seconds_precision: None,
        };
        if self.is_operator("(") {
            interval.fractional_seconds_precision = self.precision()?;
            interval.value = Box::new(Expr::Value(text_value(self.token())));
            self.string()?;
            return Ok(Expr::Interval(interval));
        }
        self.string()?;
        let Some((first, last, precision)) = self.interval_fields()? else {
            return Ok(Expr::Interval(interval));
        };
        interval.leading_field = Some(field_of(first));
        interval.last_field = last.map(field_of);
        interval.fractional_seconds_precision = precision;
        Ok(Expr::Interval(interval))
    }

    /// Whether a type that is a key word comes next and then a string: `timestamp(3) with time zone '…'`.
    fn typed_constant_follows(&mut self) -> bool {
        const TYPES: [&str; 18] = [
            "bigint",
            "bit",
            "boolean",
            "char",
            "character",
            "dec",
            "decimal",
            "float",
            "int",
            "integer",
            "national",
            "nchar",
            "numeric",
            "real",
            "smallint",
            "time",
            "timestamp",
            "varchar",
        ];
        if !TYPES.contains(&self.token().value.as_str()) && !self.is("double") {
            return false;
        }
        let mark = self.mark();
        let follows = self.data_type().is_ok() && self.is_string();
        self.reset(mark);
        follows
    }

    fn typed_constant(&mut self) -> Result<Expr> {
        let data_type = self.data_type()?;
        let value = text_value(self.token());
        self.string()?;
        Ok(Expr::TypedString(TypedString { data_type, value, uses_odbc_syntax: false }))
    }
}

fn is_class(token: &Token, class: Class) -> bool {
    matches!(token.kind, Kind::Word(of) if of == class)
}

fn field_of(word: &str) -> DateTimeField {
    match word {
        "year" => DateTimeField::Year,
        "month" => DateTimeField::Month,
        "day" => DateTimeField::Day,
        "hour" => DateTimeField::Hour,
        "minute" => DateTimeField::Minute,
        _ => DateTimeField::Second,
    }
}
