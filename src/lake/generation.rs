//! Generation expressions in the words of Spark's SQL, which Delta's log has them in, and back: what means the same in both.
//!
//! ```text
//! lakegate.generated          at::date        ─┐               ┌─ year, month, … of a time; its date; its truncation
//!                                              ├─ Node, typed ─┤  + - * % of numbers, casts that widen
//! delta.generationExpression  CAST(at AS DATE) ┘               └─ || of texts, upper, lower
//! ```
//! Anything else has no translation. Times with a zone are taken in UTC here and in the session's zone by Spark.

use deltalake::kernel::StructType;
use serde_json::{Value, json};
use sqlparser::ast::{
    self, BinaryOperator, CastKind, DateTimeField, ExactNumberInfo, Expr, FunctionArg, FunctionArgExpr,
    FunctionArguments, UnaryOperator,
};
use sqlparser::dialect::{DatabricksDialect, Dialect, PostgreSqlDialect};
use sqlparser::parser::Parser;

use super::columns::ColumnSpec;
use crate::encode::types::{PgType, oid};

/// Delta's key for the expression of a generated column.
pub(super) const EXPRESSION: &str = "delta.generationExpression";
/// The most digits that either side computes with exactly.
const DIGITS_MAX: u16 = 38;

/// Writes the expressions of generated columns into the fields of a Delta schema, those that can be said, and tells whether it
/// has any.
pub(super) fn describe(fields: &mut [Value], columns: &[ColumnSpec]) -> bool {
    let mut any = false;
    for (field, column) in fields.iter_mut().zip(columns) {
        let Some(metadata) = field.get_mut("metadata").and_then(Value::as_object_mut) else { continue };
        let theirs = metadata.get(EXPRESSION).and_then(Value::as_str).map(str::to_owned);
        let stays =
            theirs.filter(|text| column.generated.is_some() && from_spark(text, column, columns) == column.generated);
        match stays.or_else(|| to_spark(column, columns)) {
            Some(text) => {
                metadata.insert(EXPRESSION.to_owned(), json!(text));
                any = true;
            }
            None => drop(metadata.remove(EXPRESSION)),
        }
    }
    any
}

/// Gives columns that another program generates the expression that it has for them, where that can be said here.
pub(super) fn adopt(schema: &StructType, columns: &mut [ColumnSpec]) {
    let expressions: Vec<Option<String>> = schema.fields().map(expression_of).collect();
    if expressions.iter().all(Option::is_none) {
        return;
    }
    let known = columns.to_vec();
    for (text, column) in expressions.into_iter().zip(columns) {
        let Some(text) = text else { continue };
        if to_spark(column, &known).as_ref() != Some(&text) {
            column.generated = from_spark(&text, column, &known);
        }
    }
}

/// The field's expression in Delta's log.
pub(super) fn expression_of(field: &deltalake::kernel::StructField) -> Option<String> {
    let value = serde_json::to_value(field.metadata().get(EXPRESSION)?).ok()?;
    value.as_str().map(str::to_owned)
}

/// What the column is generated from, for Spark.
fn to_spark(column: &ColumnSpec, columns: &[ColumnSpec]) -> Option<String> {
    let reader = Reader { of: Words::Ours, columns };
    reader.read(column.generated.as_deref()?, column.ty).map(|node| node.spark(columns))
}

/// Spark's expression in our words.
fn from_spark(text: &str, column: &ColumnSpec, columns: &[ColumnSpec]) -> Option<String> {
    let reader = Reader { of: Words::Spark, columns };
    reader.read(text, column.ty).map(|node| node.ours(columns))
}

/// Types that both sides have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Small,
    Int,
    Big,
    Double,
    /// Digits, and those behind the point.
    Decimal(u16, u16),
    Date,
    /// With a zone.
    At,
    /// Without one.
    Local,
    Text,
}

impl Type {
    fn of(ty: PgType) -> Option<Self> {
        Some(match ty.oid {
            oid::INT2 => Self::Small,
            oid::INT4 => Self::Int,
            oid::INT8 => Self::Big,
            oid::FLOAT8 => Self::Double,
            oid::NUMERIC => {
                let (digits, scale) = ty.precision_scale()?;
                Self::Decimal(u16::from(digits), u16::try_from(scale).ok()?)
            }
            oid::DATE => Self::Date,
            oid::TIMESTAMPTZ => Self::At,
            oid::TIMESTAMP => Self::Local,
            oid::TEXT | oid::VARCHAR => Self::Text,
            _ => return None,
        })
    }

    /// As CAST names it. `timestamp` is another type on each side: it is not cast to.
    fn cast_to(ty: &ast::DataType) -> Option<Self> {
        use ast::DataType as Named;
        Some(match ty {
            Named::SmallInt(None) | Named::Int2(None) => Self::Small,
            Named::Int(None) | Named::Integer(None) | Named::Int4(None) => Self::Int,
            Named::BigInt(None) | Named::Int8(None) => Self::Big,
            Named::Double(ExactNumberInfo::None) | Named::DoublePrecision | Named::Float8 => Self::Double,
            Named::Decimal(ExactNumberInfo::PrecisionAndScale(digits, scale))
            | Named::Numeric(ExactNumberInfo::PrecisionAndScale(digits, scale)) => {
                Self::Decimal(u16::try_from(*digits).ok()?, u16::try_from(*scale).ok()?)
            }
            Named::Date => Self::Date,
            Named::Text | Named::String(None) => Self::Text,
            _ => return None,
        })
    }

    fn spark(self) -> String {
        match self {
            Self::Small => "SMALLINT".to_owned(),
            Self::Int => "INT".to_owned(),
            Self::Big => "BIGINT".to_owned(),
            Self::Double => "DOUBLE".to_owned(),
            Self::Decimal(digits, scale) => format!("DECIMAL({digits},{scale})"),
            Self::Date => "DATE".to_owned(),
            Self::At => "TIMESTAMP".to_owned(),
            Self::Local => "TIMESTAMP_NTZ".to_owned(),
            Self::Text => "STRING".to_owned(),
        }
    }

    fn ours(self) -> String {
        match self {
            Self::Small => "smallint".to_owned(),
            Self::Int => "integer".to_owned(),
            Self::Big => "bigint".to_owned(),
            Self::Double => "double precision".to_owned(),
            Self::Decimal(digits, scale) => format!("numeric({digits},{scale})"),
            Self::Date => "date".to_owned(),
            Self::At => "timestamp with time zone".to_owned(),
            Self::Local => "timestamp".to_owned(),
            Self::Text => "text".to_owned(),
        }
    }

    /// The rank of a whole number's type.
    fn whole(self) -> Option<u8> {
        match self {
            Self::Small => Some(0),
            Self::Int => Some(1),
            Self::Big => Some(2),
            Self::Double | Self::Decimal(..) | Self::Date | Self::At | Self::Local | Self::Text => None,
        }
    }

    /// A number's digits and those behind the point, at most.
    fn digits(self) -> Option<(u16, u16)> {
        match self {
            Self::Small => Some((5, 0)),
            Self::Int => Some((10, 0)),
            Self::Big => Some((20, 0)),
            Self::Decimal(digits, scale) => Some((digits, scale)),
            Self::Double | Self::Date | Self::At | Self::Local | Self::Text => None,
        }
    }

    fn is_number(self) -> bool {
        self == Self::Double || self.digits().is_some()
    }

    fn is_time(self) -> bool {
        matches!(self, Self::Date | Self::At | Self::Local)
    }

    /// Whether a value of another type becomes the same value of this one on both sides.
    fn takes(self, other: Self) -> bool {
        match (self, other) {
            (Self::Decimal(..), Self::Decimal(..)) | (Self::Text, Self::Small | Self::Int | Self::Big) => true,
            (Self::Double | Self::Decimal(..) | Self::Small | Self::Int | Self::Big, other)
                if other.whole().is_some() =>
            {
                true
            }
            (one, other) => one == other,
        }
    }
}

/// Parts of a time that are whole numbers of the same meaning, and Spark's functions for them.
const FIELDS: [(&str, &str); 8] = [
    ("year", "YEAR"),
    ("quarter", "QUARTER"),
    ("month", "MONTH"),
    ("day", "DAY"),
    ("hour", "HOUR"),
    ("minute", "MINUTE"),
    ("week", "WEEKOFYEAR"),
    ("doy", "DAYOFYEAR"),
];

const UNITS: [&str; 7] = ["year", "quarter", "month", "week", "day", "hour", "minute"];

/// An expression that means the same on both sides.
#[derive(Debug, Clone, PartialEq)]
enum Node {
    Column(usize, Type),
    Number(String, Type),
    Word(String),
    /// Written as `CAST` by whoever made it, or needed for the column's type.
    Cast(Box<Node>, Type),
    Field(usize, Box<Node>),
    Trunc(&'static str, Box<Node>),
    Negative(Box<Node>),
    Both(Box<Node>, &'static str, Box<Node>, Type),
    Call(&'static str, Box<Node>),
}

impl Node {
    fn ty(&self) -> Type {
        match self {
            Self::Column(_, ty) | Self::Number(_, ty) | Self::Cast(_, ty) | Self::Both(.., ty) => *ty,
            Self::Word(_) | Self::Call(..) => Type::Text,
            Self::Field(..) => Type::Int,
            // Whatever it truncates: Spark has no other.
            Self::Trunc(..) => Type::At,
            Self::Negative(of) => of.ty(),
        }
    }

    fn spark(&self, columns: &[ColumnSpec]) -> String {
        let inner = |node: &Self| node.spark(columns);
        match self {
            Self::Column(index, _) => columns.get(*index).map_or_else(String::new, |column| spark_name(&column.name)),
            Self::Number(text, _) => text.clone(),
            Self::Word(text) => format!("'{text}'"),
            Self::Cast(of, ty) => format!("CAST({} AS {})", inner(of), ty.spark()),
            // delta-rs knows no function of the field's name.
            Self::Field(field, of) => {
                let field = FIELDS.get(*field).map_or("", |(ours, _)| ours);
                format!("EXTRACT({} FROM {})", field.to_uppercase(), inner(of))
            }
            Self::Trunc(unit, of) => format!("DATE_TRUNC('{}', {})", unit.to_uppercase(), inner(of)),
            Self::Negative(of) => format!("(- {})", inner(of)),
            Self::Both(left, operator, right, _) => format!("({} {operator} {})", inner(left), inner(right)),
            Self::Call(name, of) => format!("{}({})", name.to_uppercase(), inner(of)),
        }
    }

    fn ours(&self, columns: &[ColumnSpec]) -> String {
        let inner = |node: &Self| node.ours(columns);
        match self {
            Self::Column(index, _) => columns.get(*index).map_or_else(String::new, |column| our_name(&column.name)),
            Self::Number(text, _) => text.clone(),
            Self::Word(text) => format!("'{text}'"),
            Self::Cast(of, ty) => format!("({})::{}", inner(of), ty.ours()),
            Self::Field(field, of) => {
                format!("extract({} FROM {})::integer", FIELDS.get(*field).map_or("", |(ours, _)| ours), inner(of))
            }
            Self::Trunc(unit, of) => format!("date_trunc('{unit}', {})", inner(of)),
            Self::Negative(of) => format!("(- {})", inner(of)),
            Self::Both(left, operator, right, _) => format!("({} {operator} {})", inner(left), inner(right)),
            Self::Call(name, of) => format!("{name}({})", inner(of)),
        }
    }
}

fn is_plain(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first.is_ascii_lowercase() || first == '_')
        && characters.all(|other| other.is_ascii_lowercase() || other.is_ascii_digit() || other == '_')
}

fn spark_name(name: &str) -> String {
    if is_plain(name) { name.to_owned() } else { format!("`{}`", name.replace('`', "``")) }
}

fn our_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Words {
    Ours,
    Spark,
}

struct Reader<'c> {
    of: Words,
    columns: &'c [ColumnSpec],
}

impl Reader<'_> {
    /// The expression as a value of the column's type.
    fn read(&self, text: &str, ty: PgType) -> Option<Node> {
        let dialect: &dyn Dialect = match self.of {
            Words::Ours => &PostgreSqlDialect {},
            Words::Spark => &DatabricksDialect {},
        };
        let mut parser = Parser::new(dialect).try_with_sql(text).ok()?;
        let parsed = parser.parse_expr().ok()?;
        if parser.peek_token().token != sqlparser::tokenizer::Token::EOF {
            return None;
        }
        let (node, wanted) = (self.node(&parsed)?, Type::of(ty)?);
        match node.ty() {
            same if same == wanted => Some(node),
            other if wanted.takes(other) => Some(Node::Cast(Box::new(node), wanted)),
            _ => None,
        }
    }

    fn node(&self, expression: &Expr) -> Option<Node> {
        match expression {
            Expr::Nested(inner) => self.node(inner),
            Expr::Identifier(ident) => self.column(ident),
            Expr::Value(value) => literal(&value.value),
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
                let of = self.node(expr)?;
                of.ty().is_number().then(|| Node::Negative(Box::new(of)))
            }
            Expr::Cast {
                kind: CastKind::Cast | CastKind::DoubleColon,
                expr,
                data_type,
                array: false,
                format: None,
            } => self.cast(expr, Type::cast_to(data_type)?),
            Expr::Extract { field, expr, .. } => self.field(&field_name(field)?, expr),
            Expr::BinaryOp { left, op, right } => self.both(self.node(left)?, op, self.node(right)?),
            Expr::Function(call) => self.call(call),
            _ => None,
        }
    }

    fn column(&self, ident: &ast::Ident) -> Option<Node> {
        let is_named = |column: &ColumnSpec| match (self.of, ident.quote_style) {
            (Words::Ours, Some(_)) => column.name == ident.value,
            (Words::Ours, None) => column.name == ident.value.to_lowercase(),
            (Words::Spark, None | Some('`')) => column.name.eq_ignore_ascii_case(&ident.value),
            (Words::Spark, Some(_)) => false,
        };
        let index = self.columns.iter().position(is_named)?;
        Some(Node::Column(index, Type::of(self.columns.get(index)?.ty)?))
    }

    fn cast(&self, of: &Expr, wanted: Type) -> Option<Node> {
        let mut of = of;
        while let Expr::Nested(inner) = of {
            of = inner;
        }
        let node = match of {
            Expr::Function(call) if wanted == Type::Date => match self.truncated(call) {
                // The day is the same whatever the zone.
                Some(node) => node,
                None => self.node(of)?,
            },
            _ => self.node(of)?,
        };
        let given = node.ty();
        let same = wanted == Type::Date && given.is_time() || wanted != Type::Date && wanted.takes(given);
        match same {
            // What it is already.
            true if given == wanted => Some(node),
            true => Some(Node::Cast(Box::new(node), wanted)),
            false => None,
        }
    }

    fn field(&self, name: &str, of: &Expr) -> Option<Node> {
        let index = FIELDS.iter().position(|(ours, _)| *ours == name)?;
        let of = self.node(of)?;
        let of_day = !matches!(name, "hour" | "minute");
        (of.ty().is_time() && (of_day || of.ty() != Type::Date)).then(|| Node::Field(index, Box::new(of)))
    }

    fn both(&self, left: Node, operator: &BinaryOperator, right: Node) -> Option<Node> {
        let (one, other) = (left.ty(), right.ty());
        let wider = || match (one.whole(), other.whole()) {
            (Some(first), Some(second)) => Some(if first >= second { one } else { other }),
            _ => None,
        };
        let (sign, ty) = match operator {
            BinaryOperator::StringConcat if one == Type::Text && other == Type::Text => ("||", Type::Text),
            BinaryOperator::Modulo => ("%", wider()?),
            BinaryOperator::Plus | BinaryOperator::Minus | BinaryOperator::Multiply => {
                let sign = match operator {
                    BinaryOperator::Plus => "+",
                    BinaryOperator::Minus => "-",
                    _ => "*",
                };
                let ty = match wider() {
                    Some(whole) => whole,
                    None if !one.is_number() || !other.is_number() => return None,
                    None if one == Type::Double || other == Type::Double => Type::Double,
                    None => exact(one.digits()?, sign, other.digits()?)?,
                };
                (sign, ty)
            }
            _ => return None,
        };
        Some(Node::Both(Box::new(left), sign, Box::new(right), ty))
    }

    fn call(&self, call: &ast::Function) -> Option<Node> {
        let (name, arguments) = arguments(call)?;
        match (self.of, name.as_str(), arguments.as_slice()) {
            (_, "upper", [of]) => self.text_call("upper", of),
            (_, "lower", [of]) => self.text_call("lower", of),
            (_, "date_trunc", [_, of]) if self.node(of)?.ty() == Type::At => self.truncated(call),
            (Words::Ours, "date_part", [Expr::Value(field), of]) => match &field.value {
                ast::Value::SingleQuotedString(field) => self.field(&field.to_lowercase(), of),
                _ => None,
            },
            (Words::Spark, "to_date", [of]) => self.cast(of, Type::Date),
            (Words::Spark, "dayofmonth", [of]) => self.field("day", of),
            (Words::Spark, name, [of]) => {
                let (field, _) = FIELDS.iter().find(|(_, spark)| spark.eq_ignore_ascii_case(name))?;
                self.field(field, of)
            }
            _ => None,
        }
    }

    fn text_call(&self, name: &'static str, of: &Expr) -> Option<Node> {
        let of = self.node(of)?;
        (of.ty() == Type::Text).then(|| Node::Call(name, Box::new(of)))
    }

    fn truncated(&self, call: &ast::Function) -> Option<Node> {
        let (name, arguments) = arguments(call)?;
        let [Expr::Value(unit), of] = arguments.as_slice() else { return None };
        let ast::Value::SingleQuotedString(unit) = &unit.value else { return None };
        let unit = UNITS.into_iter().find(|known| unit.eq_ignore_ascii_case(known))?;
        let of = self.node(of)?;
        (name == "date_trunc" && of.ty().is_time()).then(|| Node::Trunc(unit, Box::new(of)))
    }
}

/// A call's name and its arguments, of a call without anything else.
fn arguments(call: &ast::Function) -> Option<(String, Vec<&Expr>)> {
    let [ast::ObjectNamePart::Identifier(name)] = call.name.0.as_slice() else { return None };
    let FunctionArguments::List(list) = &call.args else { return None };
    let is_plain = call.over.is_none()
        && call.filter.is_none()
        && call.null_treatment.is_none()
        && call.within_group.is_empty()
        && list.clauses.is_empty()
        && list.duplicate_treatment.is_none();
    let arguments = list.args.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression),
        _ => None,
    });
    let arguments = arguments.collect::<Option<Vec<_>>>()?;
    (is_plain && name.quote_style.is_none()).then(|| (name.value.to_lowercase(), arguments))
}

fn field_name(field: &DateTimeField) -> Option<String> {
    match field {
        DateTimeField::Week(Some(_)) => None,
        DateTimeField::Week(None) => Some("week".to_owned()),
        other => Some(other.to_string().to_lowercase()),
    }
}

/// Texts that no escape changes, and numbers of plain digits.
fn literal(value: &ast::Value) -> Option<Node> {
    match value {
        ast::Value::SingleQuotedString(text) if !text.contains(['\\', '\'']) => Some(Node::Word(text.clone())),
        ast::Value::Number(text, false) => {
            let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
            let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
                return None;
            }
            let ty = if text.contains('.') {
                let (digits, scale) = (whole.len() + fraction.len(), fraction.len());
                Type::Decimal(
                    u16::try_from(digits).ok().filter(|digits| *digits <= DIGITS_MAX)?,
                    u16::try_from(scale).ok()?,
                )
            } else if text.parse::<i32>().is_ok() {
                Type::Int
            } else {
                text.parse::<i64>().is_ok().then_some(Type::Big)?
            };
            Some(Node::Number(text.clone(), ty))
        }
        _ => None,
    }
}

/// The type that Spark computes in, where that loses nothing.
fn exact((p1, s1): (u16, u16), sign: &str, (p2, s2): (u16, u16)) -> Option<Type> {
    let (digits, scale) = if sign == "*" {
        (p1 + p2 + 1, s1 + s2)
    } else {
        let scale = s1.max(s2);
        (p1.saturating_sub(s1).max(p2.saturating_sub(s2)) + scale + 1, scale)
    };
    (digits <= DIGITS_MAX).then_some(Type::Decimal(digits, scale))
}

#[cfg(test)]
mod tests;
