//! Expressions with operators: PostgreSQL's precedence, one level after another.

use sqlparser::ast::{BinaryOperator, Expr, Ident, ObjectName, UnaryOperator, Value, ValueWithSpan};

use super::grammar::{Grammar, too_deep};
use super::stack::CHAIN_MAX;
use super::token::{Kind, Token};
use crate::error::Result;

/// Binding strength, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Or,
    And,
    Not,
    Is,
    Comparison,
    Range,
    Operator,
    Sum,
    Product,
    Power,
    At,
    Collate,
    Sign,
    Highest,
}

impl Level {
    /// The next stronger level.
    fn above(self) -> Self {
        match self {
            Self::Or => Self::And,
            Self::And => Self::Not,
            Self::Not => Self::Is,
            Self::Is => Self::Comparison,
            Self::Comparison => Self::Range,
            Self::Range => Self::Operator,
            Self::Operator => Self::Sum,
            Self::Sum => Self::Product,
            Self::Product => Self::Power,
            Self::Power => Self::At,
            Self::At => Self::Collate,
            Self::Collate => Self::Sign,
            Self::Sign | Self::Highest => Self::Highest,
        }
    }

    fn chains(self) -> bool {
        !matches!(self, Self::Is | Self::Comparison | Self::Range)
    }
}

/// PostgreSQL's a_expr, or its b_expr, which leaves out what AND of BETWEEN would make ambiguous.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Full,
    Bounded,
}

impl Grammar<'_> {
    /// a_expr.
    pub fn expression(&mut self) -> Result<Expr> {
        self.deeper(|grammar| grammar.operand(Level::Or, Scope::Full))
    }

    /// b_expr.
    pub fn bounded_expression(&mut self) -> Result<Expr> {
        self.deeper(|grammar| grammar.operand(Level::Or, Scope::Bounded))
    }

    /// A comparison, BETWEEN or the like of what is given with what comes next.
    pub fn compared(&mut self, left: Expr) -> Result<Expr> {
        match self.infix_level(Scope::Full) {
            Some(level @ (Level::Comparison | Level::Range)) => self.infix(left, level, Scope::Full),
            _ => self.syntax(),
        }
    }

    pub fn expression_list(&mut self) -> Result<Vec<Expr>> {
        self.list(Self::expression)
    }

    fn operand(&mut self, floor: Level, scope: Scope) -> Result<Expr> {
        let mut left = self.prefix(scope)?;
        let mut ceiling = Level::Highest;
        let mut links = 0;
        while let Some(level) = self.infix_level(scope) {
            if level < floor || level > ceiling {
                break;
            }
            left = match level {
                Level::Or => self.junction(left, "or", BinaryOperator::Or, scope)?,
                Level::And => self.junction(left, "and", BinaryOperator::And, scope)?,
                _ => self.infix(left, level, scope)?,
            };
            // What does not associate may not follow itself; a weaker operator may.
            ceiling = if level.chains() || is_postfix(&left) { ceiling } else { weaker(level) };
            links += 1;
            if links > CHAIN_MAX {
                return Err(too_deep());
            }
        }
        Ok(left)
    }

    /// a AND b AND …: a balanced tree, so that thousands of terms stay shallow.
    fn junction(&mut self, first: Expr, word: &str, op: BinaryOperator, scope: Scope) -> Result<Expr> {
        let level = if word == "or" { Level::And } else { Level::Not };
        let mut terms = vec![first];
        while self.accept(word) {
            terms.push(self.deeper(|grammar| grammar.operand(level, scope))?);
        }
        Ok(balanced(terms, &op))
    }

    fn prefix(&mut self, scope: Scope) -> Result<Expr> {
        let token = self.token();
        if scope == Scope::Full && self.accept("not") {
            let expr = self.deeper(|grammar| grammar.operand(Level::Not, scope))?;
            return Ok(match expr {
                Expr::Exists { subquery, negated: false } => Expr::Exists { subquery, negated: true },
                expr => Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(expr) },
            });
        }
        if !matches!(token.kind, Kind::Operator) {
            return self.primary();
        }
        let (op, level) = match token.value.as_str() {
            "-" => (UnaryOperator::Minus, Level::Sign),
            "+" => (UnaryOperator::Plus, Level::Sign),
            "@" => (UnaryOperator::PGAbs, Level::Operator),
            "~" => (UnaryOperator::BitwiseNot, Level::Operator),
            "|/" => (UnaryOperator::PGSquareRoot, Level::Operator),
            "||/" => (UnaryOperator::PGCubeRoot, Level::Operator),
            "!!" => (UnaryOperator::PGPrefixFactorial, Level::Operator),
            "!" => (UnaryOperator::BangNot, Level::Operator),
            "#" => (UnaryOperator::Hash, Level::Operator),
            "@@" => (UnaryOperator::DoubleAt, Level::Operator),
            "@-@" => (UnaryOperator::AtDashAt, Level::Operator),
            "?-" => (UnaryOperator::QuestionDash, Level::Operator),
            "?|" => (UnaryOperator::QuestionPipe, Level::Operator),
            _ => return self.primary(),
        };
        self.advance();
        let above = if level == Level::Operator { level.above() } else { level };
        let expr = self.deeper(|grammar| grammar.operand(above, scope))?;
        Ok(Expr::UnaryOp { op, expr: Box::new(expr) })
    }

    fn infix_level(&self, scope: Scope) -> Option<Level> {
        let token = self.token();
        match token.kind {
            Kind::Operator => operator_level(&token.value),
            Kind::Word(_) => self.word_level(&token.value, scope),
            _ => None,
        }
    }

    fn word_level(&self, word: &str, scope: Scope) -> Option<Level> {
        if word == "operator" && self.is_operator_ahead(1, "(") {
            return Some(Level::Operator);
        }
        if scope == Scope::Bounded {
            let distinct = self.are(&["is", "distinct"]) || self.are(&["is", "not", "distinct"]);
            return distinct.then_some(Level::Is);
        }
        match word {
            "or" => Some(Level::Or),
            "and" => Some(Level::And),
            "is" | "isnull" | "notnull" => Some(Level::Is),
            "between" | "in" | "like" | "ilike" | "similar" => Some(Level::Range),
            "not" if ["between", "in", "like", "ilike", "similar"].iter().any(|next| self.is_ahead(1, next)) => {
                Some(Level::Range)
            }
            "overlaps" => Some(Level::Operator),
            "at" if self.is_ahead(1, "time") => Some(Level::At),
            "collate" => Some(Level::Collate),
            _ => None,
        }
    }

    fn infix(&mut self, left: Expr, level: Level, scope: Scope) -> Result<Expr> {
        let token = self.token();
        if matches!(token.kind, Kind::Operator) || token.value == "operator" {
            let op = self.operator()?;
            return self.binary(left, op, level, scope);
        }
        match token.value.as_str() {
            "is" | "isnull" | "notnull" => self.test(left, scope),
            "at" => {
                self.expect_all(&["at", "time", "zone"])?;
                let time_zone = Box::new(self.deeper(|grammar| grammar.operand(Level::Collate, scope))?);
                Ok(Expr::AtTimeZone { timestamp: Box::new(left), time_zone })
            }
            "collate" => {
                self.advance();
                Ok(Expr::Collate { expr: Box::new(left), collation: self.any_name()? })
            }
            "overlaps" => {
                self.advance();
                self.binary(left, BinaryOperator::Overlaps, level, scope)
            }
            _ => self.range(left),
        }
    }

    /// A qualified name whose parts are any words that may start one; `pg_catalog.default` among them.
    fn any_name(&mut self) -> Result<ObjectName> {
        self.object_name()
    }

    fn binary(&mut self, left: Expr, op: BinaryOperator, level: Level, scope: Scope) -> Result<Expr> {
        if scope == Scope::Full && self.is_any(&["any", "some", "all"]) {
            let word = self.advance();
            let right = Box::new(self.quantified()?);
            let left = Box::new(left);
            return Ok(if word.value == "all" {
                Expr::AllOp { left, compare_op: op, right }
            } else {
                Expr::AnyOp { left, compare_op: op, right, is_some: word.value == "some" }
            });
        }
        let right = self.deeper(|grammar| grammar.operand(level.above(), scope))?;
        Ok(Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) })
    }

    /// The parenthesized array or subquery after ANY, SOME and ALL.
    fn quantified(&mut self) -> Result<Expr> {
        if let Some(query) = self.subquery_in_parentheses()? {
            return Ok(Expr::Subquery(query));
        }
        self.open()?;
        let expr = self.expression()?;
        self.close()?;
        Ok(expr)
    }

    /// A binary operator, also in its form OPERATOR(schema.op).
    fn operator(&mut self) -> Result<BinaryOperator> {
        if !self.accept("operator") {
            return Ok(binary_operator(&self.advance().value));
        }
        self.open()?;
        let mut parts = Vec::new();
        while !matches!(self.token().kind, Kind::Operator) {
            parts.push(fold_part(&self.column_name()?));
            self.expect_operator(".")?;
        }
        let token = self.token();
        if operator_level(&token.value).is_none() {
            return self.syntax();
        }
        parts.push(self.advance().value.clone());
        self.close()?;
        Ok(BinaryOperator::PGCustomBinaryOperator(parts))
    }

    /// IS …, ISNULL, NOTNULL.
    fn test(&mut self, left: Expr, scope: Scope) -> Result<Expr> {
        let left = Box::new(left);
        if self.accept("isnull") {
            return Ok(Expr::IsNull(left));
        }
        if self.accept("notnull") {
            return Ok(Expr::IsNotNull(left));
        }
        self.expect("is")?;
        let negated = self.accept("not");
        let word = self.token();
        match (self.one_of(&["null", "true", "false", "unknown", "distinct", "normalized", "document"]), negated) {
            (Some("null"), false) => Ok(Expr::IsNull(left)),
            (Some("null"), true) => Ok(Expr::IsNotNull(left)),
            (Some("true"), false) => Ok(Expr::IsTrue(left)),
            (Some("true"), true) => Ok(Expr::IsNotTrue(left)),
            (Some("false"), false) => Ok(Expr::IsFalse(left)),
            (Some("false"), true) => Ok(Expr::IsNotFalse(left)),
            (Some("unknown"), false) => Ok(Expr::IsUnknown(left)),
            (Some("unknown"), true) => Ok(Expr::IsNotUnknown(left)),
            (Some("distinct"), negated) => {
                self.expect("from")?;
                let right = Box::new(self.deeper(|grammar| grammar.operand(Level::Comparison, scope))?);
                Ok(if negated { Expr::IsNotDistinctFrom(left, right) } else { Expr::IsDistinctFrom(left, right) })
            }
            (Some(_), _) => Err(self.unsupported_at(&format!("IS {}", word.value.to_ascii_uppercase()), word)),
            (None, _) => self.syntax(),
        }
    }

    /// [NOT] BETWEEN, IN, LIKE, ILIKE, SIMILAR TO.
    fn range(&mut self, left: Expr) -> Result<Expr> {
        let negated = self.accept("not");
        let word = self.one_of(&["between", "in", "like", "ilike", "similar"]);
        let expr = Box::new(left);
        match word {
            Some("between") => self.between(expr, negated),
            Some("in") => self.membership(expr, negated),
            Some("similar") => {
                self.expect("to")?;
                let (pattern, escape_char) = self.pattern()?;
                Ok(Expr::SimilarTo { negated, expr, pattern, escape_char })
            }
            Some(word) => self.like(expr, negated, word == "ilike"),
            None => self.syntax(),
        }
    }

    fn like(&mut self, expr: Box<Expr>, negated: bool, ignore_case: bool) -> Result<Expr> {
        if self.is_any(&["any", "some", "all"]) {
            let op = match (ignore_case, negated) {
                (false, false) => BinaryOperator::PGLikeMatch,
                (false, true) => BinaryOperator::PGNotLikeMatch,
                (true, false) => BinaryOperator::PGILikeMatch,
                (true, true) => BinaryOperator::PGNotILikeMatch,
            };
            return self.binary(*expr, op, Level::Operator, Scope::Full);
        }
        let (pattern, escape_char) = self.pattern()?;
        let any = false;
        Ok(if ignore_case {
            Expr::ILike { negated, any, expr, pattern, escape_char }
        } else {
            Expr::Like { negated, any, expr, pattern, escape_char }
        })
    }

    fn pattern(&mut self) -> Result<(Box<Expr>, Option<ValueWithSpan>)> {
        let pattern = Box::new(self.deeper(|grammar| grammar.operand(Level::Operator, Scope::Full))?);
        if !self.accept("escape") {
            return Ok((pattern, None));
        }
        let token = self.token();
        match token.kind {
            Kind::Text => {
                self.advance();
                Ok((pattern, Some(text_value(token))))
            }
            Kind::End | Kind::Bad(_) => self.syntax(),
            _ => self.unsupported("an ESCAPE that is no string constant"),
        }
    }

    fn between(&mut self, expr: Box<Expr>, negated: bool) -> Result<Expr> {
        let symmetric = self.accept("symmetric");
        if !symmetric {
            self.accept("asymmetric");
        }
        let mut low = Box::new(self.bounded_expression()?);
        if symmetric {
            low = Box::new(Expr::Prefixed { prefix: Ident::new("SYMMETRIC"), value: low });
        }
        self.expect("and")?;
        let high = Box::new(self.deeper(|grammar| grammar.operand(Level::Operator, Scope::Full))?);
        Ok(Expr::Between { expr, negated, low, high })
    }

    fn membership(&mut self, expr: Box<Expr>, negated: bool) -> Result<Expr> {
        if let Some(subquery) = self.subquery_in_parentheses()? {
            return Ok(Expr::InSubquery { expr, subquery, negated });
        }
        let list = self.parenthesized(Self::expression)?;
        Ok(Expr::InList { expr, list, negated })
    }
}

/// Whether the expression ends with its own operator: `IS NULL` and the like, behind which any operator may follow.
fn is_postfix(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsTrue(_)
            | Expr::IsNotTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsNotFalse(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotUnknown(_)
    )
}

fn fold_part(ident: &Ident) -> String {
    super::grammar::fold(ident)
}

/// A string constant as a value of the tree.
pub(crate) fn text_value(token: &Token) -> ValueWithSpan {
    ValueWithSpan { value: Value::SingleQuotedString(token.value.clone()), span: token.span }
}

fn weaker(level: Level) -> Level {
    match level {
        Level::Range => Level::Comparison,
        Level::Comparison => Level::Is,
        _ => Level::Not,
    }
}

/// Joins terms pairwise until one is left; order is kept.
fn balanced(mut terms: Vec<Expr>, op: &BinaryOperator) -> Expr {
    while terms.len() > 1 {
        let mut joined = Vec::with_capacity(terms.len().div_ceil(2));
        let mut rest = terms.into_iter();
        while let Some(left) = rest.next() {
            joined.push(match rest.next() {
                Some(right) => Expr::BinaryOp { left: Box::new(left), op: op.clone(), right: Box::new(right) },
                None => left,
            });
        }
        terms = joined;
    }
    terms.pop().unwrap_or(Expr::Tuple(Vec::new()))
}

fn operator_level(text: &str) -> Option<Level> {
    match text {
        "(" | ")" | "[" | "]" | "," | ";" | ":" | "::" | "." | ".." | ":=" | "=>" | "$" => None,
        "<" | ">" | "=" | "<=" | ">=" | "<>" => Some(Level::Comparison),
        "+" | "-" => Some(Level::Sum),
        "*" | "/" | "%" => Some(Level::Product),
        "^" => Some(Level::Power),
        _ => text.bytes().all(|byte| b"~!@#^&|`?+-*/%<>=".contains(&byte)).then_some(Level::Operator),
    }
}

fn binary_operator(text: &str) -> BinaryOperator {
    match text {
        "<" => BinaryOperator::Lt,
        ">" => BinaryOperator::Gt,
        "=" => BinaryOperator::Eq,
        "<=" => BinaryOperator::LtEq,
        ">=" => BinaryOperator::GtEq,
        "<>" => BinaryOperator::NotEq,
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        "*" => BinaryOperator::Multiply,
        "/" => BinaryOperator::Divide,
        "%" => BinaryOperator::Modulo,
        "^" => BinaryOperator::PGExp,
        "||" => BinaryOperator::StringConcat,
        "|" => BinaryOperator::BitwiseOr,
        "&" => BinaryOperator::BitwiseAnd,
        "#" => BinaryOperator::PGBitwiseXor,
        "<<" => BinaryOperator::PGBitwiseShiftLeft,
        ">>" => BinaryOperator::PGBitwiseShiftRight,
        "&&" => BinaryOperator::PGOverlap,
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "~~*" => BinaryOperator::PGILikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        "!~~*" => BinaryOperator::PGNotILikeMatch,
        "^@" => BinaryOperator::PGStartsWith,
        "->" => BinaryOperator::Arrow,
        "->>" => BinaryOperator::LongArrow,
        "#>" => BinaryOperator::HashArrow,
        "#>>" => BinaryOperator::HashLongArrow,
        "#-" => BinaryOperator::HashMinus,
        "@@" => BinaryOperator::AtAt,
        "@>" => BinaryOperator::AtArrow,
        "<@" => BinaryOperator::ArrowAt,
        "@?" => BinaryOperator::AtQuestion,
        "?" => BinaryOperator::Question,
        "?&" => BinaryOperator::QuestionAnd,
        "?|" => BinaryOperator::QuestionPipe,
        other => BinaryOperator::Custom(other.to_owned()),
    }
}
