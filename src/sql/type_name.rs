//! Type names in the text: `numeric(12,2)`, `timestamp(3) with time zone`, `interval day to second`, `pg_catalog."char"[]`.

use sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, Expr, IntervalFields, ObjectName, TimezoneInfo,
    UnaryOperator, Value,
};

use super::grammar::Grammar;
use super::token::{Kind, Token};
use crate::error::{Error, Result, SqlState};

/// First and last field of an interval's qualifier and the precision of its seconds.
pub(crate) type IntervalQualifier = (&'static str, Option<&'static str>, Option<u64>);

const FIELDS: [&str; 6] = ["year", "month", "day", "hour", "minute", "second"];

impl Grammar<'_> {
    /// A type; several dimensions of an array are one, as in PostgreSQL.
    pub fn data_type(&mut self) -> Result<DataType> {
        if self.is("setof") {
            return self.unsupported("SETOF");
        }
        let element = self.scalar_type()?;
        let mut array = false;
        if self.accept("array") {
            array = true;
            if self.accept_operator("[") {
                self.integer()?;
                self.expect_operator("]")?;
            }
        }
        while self.accept_operator("[") {
            array = true;
            if !self.is_operator("]") {
                self.integer()?;
            }
            self.expect_operator("]")?;
        }
        if !array {
            return Ok(element);
        }
        Ok(DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(element), None)))
    }

    fn scalar_type(&mut self) -> Result<DataType> {
        let token = self.token();
        if !matches!(token.kind, Kind::Word(_)) || self.is_operator_ahead(1, ".") {
            return self.generic_type();
        }
        match token.value.as_str() {
            "int" => self.plain(DataType::Int(None)),
            "integer" => self.plain(DataType::Integer(None)),
            "smallint" => self.plain(DataType::SmallInt(None)),
            "bigint" => self.plain(DataType::BigInt(None)),
            "real" => self.plain(DataType::Real),
            "boolean" => self.plain(DataType::Boolean),
            "double" if self.is_ahead(1, "precision") => {
                self.advance();
                self.plain(DataType::DoublePrecision)
            }
            "float" => self.float(),
            "numeric" => Ok(DataType::Numeric(self.exact_number()?)),
            "decimal" => Ok(DataType::Decimal(self.exact_number()?)),
            "dec" => Ok(DataType::Dec(self.exact_number()?)),
            "bit" => self.unsupported("the type bit"),
            "varchar" => {
                self.advance();
                Ok(DataType::Varchar(self.length()?))
            }
            "char" | "character" | "nchar" | "national" => self.character(),
            "time" | "timestamp" => self.moment(token),
            "interval" => self.interval_type(),
            _ => self.generic_type(),
        }
    }

    fn plain(&mut self, data_type: DataType) -> Result<DataType> {
        self.advance();
        Ok(data_type)
    }

    fn float(&mut self) -> Result<DataType> {
        let token = self.advance();
        let Some(precision) = self.precision()? else {
            return Ok(DataType::Float8);
        };
        let fault = match precision {
            0 => "precision for type float must be at least 1 bit",
            1..=24 => return Ok(DataType::Float4),
            25..=53 => return Ok(DataType::Float8),
            _ => "precision for type float must be less than 54 bits",
        };
        Err(Error::new(SqlState::InvalidParameterValue, fault).at(token.position))
    }

    fn exact_number(&mut self) -> Result<ExactNumberInfo> {
        self.advance();
        if !self.accept_operator("(") {
            return Ok(ExactNumberInfo::None);
        }
        let precision = self.signed_integer()?;
        let scale = if self.accept_operator(",") { Some(self.signed_integer()?) } else { None };
        self.close()?;
        // A negative precision is out of range like zero; the tree has no sign for it.
        let precision = u64::try_from(precision).unwrap_or(0);
        Ok(match scale {
            Some(scale) => ExactNumberInfo::PrecisionAndScale(precision, i64::from(scale)),
            None => ExactNumberInfo::Precision(precision),
        })
    }

    fn character(&mut self) -> Result<DataType> {
        if self.advance().value == "national" && self.one_of(&["char", "character"]).is_none() {
            return self.syntax();
        }
        let varying = self.accept("varying");
        let length = self.length()?;
        Ok(if varying { DataType::CharacterVarying(length) } else { DataType::Character(length) })
    }

    fn length(&mut self) -> Result<Option<CharacterLength>> {
        Ok(self.precision()?.map(|length| CharacterLength::IntegerLength { length, unit: None }))
    }

    /// `(n)`, if it comes next.
    pub fn precision(&mut self) -> Result<Option<u64>> {
        if !self.accept_operator("(") {
            return Ok(None);
        }
        let number = self.integer()?;
        self.close()?;
        Ok(Some(u64::try_from(number).unwrap_or(0)))
    }

    fn moment(&mut self, word: &Token) -> Result<DataType> {
        self.advance();
        let precision = self.precision()?;
        let zone = if self.take(&["with", "time", "zone"]) {
            TimezoneInfo::WithTimeZone
        } else if self.take(&["without", "time", "zone"]) {
            TimezoneInfo::WithoutTimeZone
        } else {
            TimezoneInfo::None
        };
        Ok(if word.value == "time" { DataType::Time(precision, zone) } else { DataType::Timestamp(precision, zone) })
    }

    fn interval_type(&mut self) -> Result<DataType> {
        self.advance();
        if let Some(precision) = self.precision()? {
            return Ok(DataType::Interval { fields: None, precision: Some(precision) });
        }
        let Some((first, last, precision)) = self.interval_fields()? else {
            return Ok(DataType::Interval { fields: None, precision: None });
        };
        Ok(DataType::Interval { fields: Some(interval_fields(first, last)), precision })
    }

    /// `DAY TO SECOND(3)` and the like, if it comes next.
    pub fn interval_fields(&mut self) -> Result<Option<IntervalQualifier>> {
        let Some(first) = self.one_of(&FIELDS) else {
            return Ok(None);
        };
        let allowed: &[&'static str] = match first {
            "year" => &["month"],
            "day" => &["hour", "minute", "second"],
            "hour" => &["minute", "second"],
            "minute" => &["second"],
            _ => &[],
        };
        let mut last = None;
        if !allowed.is_empty() && self.accept("to") {
            last = self.one_of(allowed);
            if last.is_none() {
                return self.syntax();
            }
        }
        let precision = if last.unwrap_or(first) == "second" { self.precision()? } else { None };
        Ok(Some((first, last, precision)))
    }

    /// `[schema.]name [(modifiers)]`.
    fn generic_type(&mut self) -> Result<DataType> {
        let mut parts = vec![self.function_or_type_name()?];
        while self.accept_operator(".") {
            parts.push(self.label()?);
        }
        let mut modifiers = Vec::new();
        if self.is_operator("(") {
            for expr in self.parenthesized(Self::expression)? {
                modifiers.push(modifier_text(&expr).unwrap_or_default());
            }
        }
        if self.is_operator("%") && self.is_ahead(1, "type") {
            return self.unsupported("%TYPE");
        }
        Ok(DataType::Custom(ObjectName::from(parts), modifiers))
    }
}

fn modifier_text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(text, _) => Some(text.clone()),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => Some(format!("-{}", modifier_text(expr)?)),
        _ => None,
    }
}

fn interval_fields(first: &str, last: Option<&str>) -> IntervalFields {
    match (first, last) {
        ("year", Some(_)) => IntervalFields::YearToMonth,
        ("year", None) => IntervalFields::Year,
        ("month", _) => IntervalFields::Month,
        ("day", Some("hour")) => IntervalFields::DayToHour,
        ("day", Some("minute")) => IntervalFields::DayToMinute,
        ("day", Some(_)) => IntervalFields::DayToSecond,
        ("day", None) => IntervalFields::Day,
        ("hour", Some("minute")) => IntervalFields::HourToMinute,
        ("hour", Some(_)) => IntervalFields::HourToSecond,
        ("hour", None) => IntervalFields::Hour,
        ("minute", Some(_)) => IntervalFields::MinuteToSecond,
        ("minute", None) => IntervalFields::Minute,
        _ => IntervalFields::Second,
    }
}
