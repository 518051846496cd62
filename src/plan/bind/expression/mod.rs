//! Expressions: each form of the syntax tree to a typed expression, by the rules of [`typing`].

mod access;
pub(super) mod aggregates;
mod arrays;
pub(super) mod calls;
pub(super) mod comparison;
mod conditional;
mod predict;
pub(super) mod row;
mod special;
pub(super) mod types;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, lit};
use sqlparser::ast;
use sqlparser::ast::Spanned as _;

use super::scope::Scope;
use super::{Binder, settle};
use crate::builtins::functions::kernel::decimals;
use crate::encode::types::{PgType, arrow_type, oid};
use crate::error::{Error, Result, SqlState};
use crate::plan::typing::{self, Typed};

/// The part of a query in which an expression stands: what may be called there, and how errors name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clause {
    Select,
    Where,
    JoinOn,
    GroupBy,
    Having,
    OrderBy,
    DistinctOn,
    Values,
    Limit,
    Offset,
    FromFunction,
    AggregateArgument,
    Filter,
    WindowDefinition,
    WindowArgument,
    Check,
    Expectation,
    Execute,
    /// A value of UPDATE's SET.
    Update,
    /// The condition of a WHEN.
    MergeWhen,
    Returning,
    Default,
    Generated,
    /// USING of ALTER COLUMN … TYPE.
    Transform,
}

impl Clause {
    /// `aggregate functions are not allowed in …`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::Where => "WHERE",
            Self::JoinOn => "JOIN conditions",
            Self::GroupBy => "GROUP BY",
            Self::Having => "HAVING",
            Self::OrderBy => "ORDER BY",
            Self::DistinctOn => "DISTINCT ON",
            Self::Values => "VALUES",
            Self::Limit => "LIMIT",
            Self::Offset => "OFFSET",
            Self::FromFunction => "functions in FROM",
            Self::AggregateArgument => "aggregate arguments",
            Self::Filter => "FILTER",
            Self::WindowDefinition => "window definitions",
            Self::WindowArgument => "window functions",
            Self::Check => "check constraints",
            Self::Expectation => "expectations",
            Self::Execute => "EXECUTE parameters",
            Self::Update => "UPDATE",
            Self::MergeWhen => "MERGE WHEN conditions",
            Self::Returning => "RETURNING",
            Self::Default => "DEFAULT expressions",
            Self::Generated => "column generation expressions",
            Self::Transform => "transform expressions",
        }
    }

    pub(super) fn allows_aggregates(self) -> bool {
        matches!(
            self,
            Self::Select
                | Self::Having
                | Self::OrderBy
                | Self::DistinctOn
                | Self::WindowDefinition
                | Self::WindowArgument
        )
    }

    /// Whether the expression is (part of) a filter, where DataFusion plans EXISTS and IN as joins.
    pub(super) fn is_condition(self) -> bool {
        matches!(self, Self::Where | Self::Having | Self::JoinOn)
    }

    pub(super) fn allows_windows(self) -> bool {
        matches!(self, Self::Select | Self::OrderBy | Self::DistinctOn)
    }

    pub(super) fn allows_sets(self) -> bool {
        matches!(self, Self::Select | Self::OrderBy | Self::DistinctOn)
    }
}

/// Where an expression is bound.
#[derive(Clone, Copy)]
pub(super) struct Context<'c, 's> {
    pub scope: &'c Scope<'s>,
    pub clause: Clause,
    /// Whether it is a condition, or one that AND joins: there NULL means the same as false.
    pub conjunct: bool,
}

impl<'c, 's> Context<'c, 's> {
    pub(super) fn new(scope: &'c Scope<'s>, clause: Clause) -> Self {
        Self { scope, clause, conjunct: clause.is_condition() }
    }

    pub(super) fn within(self, clause: Clause) -> Self {
        Self { clause, conjunct: false, ..self }
    }

    /// For the parts of an expression that tells NULL from false.
    pub(super) fn exact(self) -> Self {
        Self { conjunct: false, ..self }
    }
}

impl Binder<'_> {
    /// A boolean condition of `clause` (as 42804 names it).
    pub(super) fn boolean(&self, expr: &ast::Expr, context: &Context<'_, '_>, clause: &str) -> Result<Expr> {
        let value = self.expr(expr, context)?;
        Ok(typing::coerce_to_boolean(self.typing, value, clause)?.expr)
    }

    /// The expression, its unknown type made text.
    pub(super) fn settled(&self, expr: &ast::Expr, context: &Context<'_, '_>) -> Result<Typed> {
        settle(self.typing, self.expr(expr, context)?)
    }

    pub(super) fn exprs(&self, exprs: &[ast::Expr], context: &Context<'_, '_>) -> Result<Vec<Typed>> {
        exprs.iter().map(|expr| self.expr(expr, context)).collect()
    }

    pub(super) fn start(&self, expr: &ast::Expr) -> Option<u32> {
        match expr {
            ast::Expr::Array(_) => self.source.array_start(expr.span(), array_levels(expr)),
            _ => self.position(expr.span()),
        }
    }

    /// Any expression.
    pub(super) fn expr(&self, expr: &ast::Expr, context: &Context<'_, '_>) -> Result<Typed> {
        self.deeper(|| self.expr_here(expr, context))
    }

    fn expr_here(&self, expr: &ast::Expr, context: &Context<'_, '_>) -> Result<Typed> {
        use ast::Expr as E;
        // Asking for the place of what is deep by its nature costs its size at each level.
        match expr {
            E::Nested(inner) => return self.expr(inner, context),
            E::BinaryOp { op: ast::BinaryOperator::And, .. } => return self.binary_chain(expr, context),
            E::BinaryOp { .. } => return self.binary_chain(expr, &context.exact()),
            E::InSubquery { expr, subquery, negated } => return self.in_subquery(expr, subquery, *negated, context),
            _ => {}
        }
        let context = &context.exact();
        let position = self.start(expr);
        match expr {
            E::Identifier(ident) => Ok(self.unqualified_column(ident, context.scope)?.typed),
            E::CompoundIdentifier(idents) => Ok(self.qualified_column(idents, context.scope)?.typed),
            E::CompoundFieldAccess { root, access_chain } => self.access(root, access_chain, context),
            E::Value(value) => self.value(&value.value, position),
            E::TypedString(typed) => self.typed_string(typed, position),
            E::Interval(interval) => self.interval(interval, position),
            E::UnaryOp { op, expr: operand } => self.unary_operator(*op, operand, context),
            E::Cast { kind, expr, data_type, format, .. } => {
                if matches!(kind, ast::CastKind::TryCast | ast::CastKind::SafeCast) || format.is_some() {
                    return Err(Error::unsupported("this kind of CAST").at(position));
                }
                self.cast_to(kind, expr, data_type, context, position)
            }
            E::IsNull(..)
            | E::IsNotNull(..)
            | E::IsTrue(..)
            | E::IsNotTrue(..)
            | E::IsFalse(..)
            | E::IsNotFalse(..)
            | E::IsUnknown(..)
            | E::IsNotUnknown(..) => self.is_test(expr, context),
            E::IsDistinctFrom(left, right) => self.distinct_from(left, right, false, context),
            E::IsNotDistinctFrom(left, right) => self.distinct_from(left, right, true, context),
            E::InList { expr, list, negated } => self.in_list(expr, list, *negated, context),
            E::Exists { subquery, negated } => self.exists(subquery, *negated, context, position),
            E::Subquery(query) => self.scalar_subquery(query, context, position),
            E::AnyOp { left, compare_op, right, .. } => self.quantified(left, compare_op, right, false, context),
            E::AllOp { left, compare_op, right } => self.quantified(left, compare_op, right, true, context),
            E::Between { expr, negated, low, high } => self.between(expr, low, high, *negated, context),
            E::Like { negated, any: false, expr, pattern, escape_char } => {
                let op = if *negated { "!~~" } else { "~~" };
                self.like(op, expr, pattern, escape_char.as_ref(), context)
            }
            E::ILike { negated, any: false, expr, pattern, escape_char } => {
                let op = if *negated { "!~~*" } else { "~~*" };
                self.like(op, expr, pattern, escape_char.as_ref(), context)
            }
            E::SimilarTo { negated, expr, pattern, escape_char } => {
                self.similar_to(*negated, expr, pattern, escape_char.as_ref(), context)
            }
            E::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref(), context, position)
            }
            E::Function(function) => self.function(function, context, position),
            E::Array(array) => self.array(array, context, position),
            E::Tuple(values) => self.row(values, context, position),
            E::Collate { expr, collation } => self.collate(expr, collation, context),
            E::Extract { .. }
            | E::Position { .. }
            | E::Substring { .. }
            | E::Overlay { .. }
            | E::Trim { .. }
            | E::Ceil { .. }
            | E::Floor { .. }
            | E::AtTimeZone { .. } => self.special_call(expr, context, position),
            E::QualifiedWildcard(..) | E::Wildcard(_) => {
                let message = "row expansion via \"*\" is not supported here";
                Err(Error::new(SqlState::FeatureNotSupported, message).at(position))
            }
            other => {
                let text: String = other.to_string().chars().take(60).collect();
                Err(Error::unsupported(format!("the expression \"{text}\"")).at(position))
            }
        }
    }

    fn value(&self, value: &ast::Value, position: Option<u32>) -> Result<Typed> {
        match value {
            ast::Value::Placeholder(name) => {
                let number = name.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
                match number {
                    Some(number) if (1..=65_535).contains(&number) => self.parameter(number, position),
                    _ => {
                        let message = format!("there is no parameter {name}");
                        Err(Error::new(SqlState::UndefinedParameter, message).at(position))
                    }
                }
            }
            other => typing::literal(other, position),
        }
    }

    /// A parameter; a number is its value as soon as there is one, since its digits decide those of what is made of it.
    fn parameter(&self, number: usize, position: Option<u32>) -> Result<Typed> {
        let mut parameter = typing::parameter(self.typing, number, position)?;
        let value = self.values.as_ref().and_then(|values| values.get(number.checked_sub(1)?));
        if let Some(value) = value.filter(|value| is_number(parameter.ty, value)) {
            parameter.expr = lit(value.clone());
        }
        Ok(parameter)
    }

    pub(super) fn call(&self, name: &str, arguments: Vec<Typed>, position: Option<u32>) -> Result<Typed> {
        let resolved = typing::resolve_call(self.typing, Some("pg_catalog"), name, &arguments, false, position)?;
        let mut value = typing::scalar_call(self.typing, resolved)?;
        value.position = position;
        Ok(value)
    }

    /// Operators in a row (`a AND b AND …`) are as deep as they are many: they are bound without recursion.
    fn binary_chain(&self, expr: &ast::Expr, context: &Context<'_, '_>) -> Result<Typed> {
        let mut chain = Vec::new();
        let mut leftmost = expr;
        while let ast::Expr::BinaryOp { left, op, right } = leftmost {
            chain.push((left.as_ref(), op, right.as_ref()));
            leftmost = left;
        }
        let mut pending = None;
        // What was bound last, whose end is the end of the whole left side.
        let mut last = leftmost;
        for (left, op, right) in chain.into_iter().rev() {
            let before = std::mem::replace(&mut last, right);
            let context = if *op == ast::BinaryOperator::And { context } else { &context.exact() };
            pending = Some(match pending {
                None if matches!(op, ast::BinaryOperator::And | ast::BinaryOperator::Or) => {
                    let left = self.expr(left, context)?;
                    self.operator(left, op, right, None, context)?
                }
                None => self.first_operator(left, op, right, context)?,
                Some(value) => {
                    let position = self.source.operator_after(before.span());
                    self.operator(value, op, right, position, context)?
                }
            });
        }
        pending.ok_or_else(|| Error::internal("an operator without operands"))
    }

    /// The innermost operator of a chain: both sides are at hand, so that rows can be compared.
    fn first_operator(
        &self,
        left: &ast::Expr,
        op: &ast::BinaryOperator,
        right: &ast::Expr,
        context: &Context<'_, '_>,
    ) -> Result<Typed> {
        let position = self.source.operator_after(left.span());
        if *op == ast::BinaryOperator::Overlaps {
            return self.overlaps(left, right, position, context);
        }
        if let Some(a) = row::elements(left) {
            if let Some(b) = row::elements(right) {
                return self.compare_rows(a, operator_name(op)?, b, position, context);
            }
            if let Some(query) = row::query(right) {
                return self.compare_row_with_query(&a, operator_name(op)?, query, position, context);
            }
        }
        let value = self.expr(left, context)?;
        self.operator(value, op, right, position, context)
    }

    fn operator(
        &self,
        left: Typed,
        op: &ast::BinaryOperator,
        right: &ast::Expr,
        position: Option<u32>,
        context: &Context<'_, '_>,
    ) -> Result<Typed> {
        let start = left.position;
        let right = self.expr(right, context)?;
        let mut value = match op {
            ast::BinaryOperator::And | ast::BinaryOperator::Or => {
                let word = if *op == ast::BinaryOperator::And { "AND" } else { "OR" };
                let left = typing::coerce_to_boolean(self.typing, left, word)?.expr;
                let right = typing::coerce_to_boolean(self.typing, right, word)?.expr;
                let expr = if word == "AND" { left.and(right) } else { left.or(right) };
                Typed { expr, ty: PgType::BOOL, position: start }
            }
            other => {
                let name = operator_name(other).map_err(|error| error.at(position))?;
                typing::binary(self.typing, name, left, right, position, &context.scope.schema)?
            }
        };
        value.position = start;
        Ok(value)
    }

    fn unary_operator(&self, op: ast::UnaryOperator, operand: &ast::Expr, context: &Context<'_, '_>) -> Result<Typed> {
        let position = self.source.word_before(operand.span());
        if op == ast::UnaryOperator::Not {
            let value = self.boolean(operand, context, "NOT")?;
            return Ok(Typed { expr: Expr::Not(Box::new(value)), ty: PgType::BOOL, position });
        }
        if let Some(number) = negated_number(op, operand) {
            return typing::literal(&number, position);
        }
        let value = self.expr(operand, context)?;
        let name = match op {
            ast::UnaryOperator::Plus => "+",
            ast::UnaryOperator::Minus => "-",
            ast::UnaryOperator::BitwiseNot => "~",
            ast::UnaryOperator::PGAbs => "@",
            ast::UnaryOperator::PGSquareRoot => "|/",
            ast::UnaryOperator::PGCubeRoot => "||/",
            ast::UnaryOperator::PGPrefixFactorial => "!!",
            ast::UnaryOperator::BangNot => "!",
            other => return Err(Error::unsupported(format!("the operator {other}")).at(position)),
        };
        let mut value = typing::unary(self.typing, name, value, position, &context.scope.schema)?;
        value.position = position;
        Ok(value)
    }
}

/// Whether the value is a number of the type, or an array of numerics. Of NULL there are numerics only: it takes no digits from
/// what it stands beside.
fn is_number(ty: PgType, value: &ScalarValue) -> bool {
    match ty.oid {
        oid::INT2 | oid::INT4 | oid::INT8 | oid::FLOAT4 | oid::FLOAT8 => {
            !value.is_null() && value.data_type() == arrow_type(ty)
        }
        _ => decimals(&value.data_type()).is_some(),
    }
}

fn array_levels(expr: &ast::Expr) -> usize {
    match expr {
        ast::Expr::Array(array) => 1 + array.elem.first().map_or(0, array_levels),
        _ => 0,
    }
}

/// `-9223372036854775808` is one constant: its positive half would not fit.
fn negated_number(op: ast::UnaryOperator, operand: &ast::Expr) -> Option<ast::Value> {
    match (op, number(operand)?) {
        (ast::UnaryOperator::Minus, (digits, long)) => Some(ast::Value::Number(negated(&digits), long)),
        _ => None,
    }
}

/// A number with any minus signs and parentheses round it, which PostgreSQL's parser makes one constant.
fn number(expr: &ast::Expr) -> Option<(String, bool)> {
    match expr {
        ast::Expr::Nested(inner) => number(inner),
        ast::Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => {
            number(expr).map(|(digits, long)| (negated(&digits), long))
        }
        ast::Expr::Value(value) => match &value.value {
            ast::Value::Number(digits, long) => Some((digits.clone(), *long)),
            _ => None,
        },
        _ => None,
    }
}

fn negated(digits: &str) -> String {
    digits.strip_prefix('-').map_or_else(|| format!("-{digits}"), str::to_owned)
}

/// The constant that an expression of GROUP BY, ORDER BY or DISTINCT ON is by itself.
pub(super) fn constant_of(expr: &ast::Expr) -> Option<ast::Value> {
    match expr {
        ast::Expr::Nested(inner) => constant_of(inner),
        ast::Expr::Value(value) if !matches!(value.value, ast::Value::Placeholder(_)) => Some(value.value.clone()),
        ast::Expr::UnaryOp { op, expr } => negated_number(*op, expr),
        _ => None,
    }
}

/// PostgreSQL's name of the operator.
pub(super) fn operator_name(op: &ast::BinaryOperator) -> Result<&str> {
    use ast::BinaryOperator as B;
    Ok(match op {
        B::Plus => "+",
        B::Minus => "-",
        B::Multiply => "*",
        B::Divide => "/",
        B::Modulo => "%",
        B::StringConcat => "||",
        B::Gt => ">",
        B::Lt => "<",
        B::GtEq => ">=",
        B::LtEq => "<=",
        B::Eq => "=",
        B::NotEq => "<>",
        B::BitwiseOr => "|",
        B::BitwiseAnd => "&",
        B::PGBitwiseXor => "#",
        B::PGBitwiseShiftLeft => "<<",
        B::PGBitwiseShiftRight => ">>",
        B::BitwiseXor | B::PGExp => "^",
        B::PGOverlap => "&&",
        B::PGRegexMatch => "~",
        B::PGRegexIMatch => "~*",
        B::PGRegexNotMatch => "!~",
        B::PGRegexNotIMatch => "!~*",
        B::PGLikeMatch => "~~",
        B::PGILikeMatch => "~~*",
        B::PGNotLikeMatch => "!~~",
        B::PGNotILikeMatch => "!~~*",
        B::PGStartsWith => "^@",
        B::Arrow => "->",
        B::LongArrow => "->>",
        B::HashArrow => "#>",
        B::HashLongArrow => "#>>",
        B::AtAt => "@@",
        B::AtArrow => "@>",
        B::ArrowAt => "<@",
        B::HashMinus => "#-",
        B::AtQuestion => "@?",
        B::Question => "?",
        B::QuestionAnd => "?&",
        B::QuestionPipe => "?|",
        B::Custom(name) => name,
        B::PGCustomBinaryOperator(parts) => match parts.as_slice() {
            [name] => name,
            [schema, name] if schema == "pg_catalog" => name,
            // Operators live in pg_catalog only.
            [schema, ..] => {
                let message = format!("schema \"{schema}\" does not exist");
                return Err(Error::new(SqlState::InvalidSchemaName, message));
            }
            [] => return Err(Error::internal("an operator without a name")),
        },
        other => return Err(Error::unsupported(format!("the operator {other}"))),
    })
}
