//! Forms with a grammar of their own: casts, typed literals, intervals, EXTRACT, TRIM and the like.

use sqlparser::ast;
use sqlparser::ast::Spanned as _;

use super::super::Binder;
use super::super::names::{parts, trim_function};
use super::Context;
use crate::encode::types::{PgType, oid, type_words};
use crate::error::{Error, Result, SqlState};
use crate::plan::typing::{self, Typed};

impl Binder<'_> {
    pub(super) fn cast_to(
        &self,
        kind: &ast::CastKind,
        operand: &ast::Expr,
        data_type: &ast::DataType,
        context: &Context<'_, '_>,
        position: Option<u32>,
    ) -> Result<Typed> {
        let target =
            self.pg_type(data_type).map_err(|error| error.at(self.source.cast_type_position(kind, operand)))?;
        // ARRAY[]::int[] gets its type from the cast.
        if let ast::Expr::Array(array) = operand
            && let Some(element) = crate::encode::types::element_of(target.oid)
        {
            let element = PgType { oid: element, typmod: target.typmod };
            let start = self.start(operand).or(position);
            return self.array_of_type(array, element, target, context, start);
        }
        let value = self.expr(operand, context)?;
        let start = value.position.or(position);
        let mut value = typing::cast(self.typing, value, target, self.source.cast_position(kind, operand))?;
        value.position = start;
        Ok(value)
    }

    fn pg_type(&self, data_type: &ast::DataType) -> Result<PgType> {
        crate::sql::pg_type(data_type, &self.text)
    }

    pub(super) fn typed_string(&self, typed: &ast::TypedString, position: Option<u32>) -> Result<Typed> {
        let start = || self.source.type_before(typed.value.span).or(position);
        let target = self.pg_type(&typed.data_type).map_err(|error| error.at(start()))?;
        let value = typing::literal(&typed.value.value, position)?;
        let mut value = typing::cast(self.typing, value, target, position)?;
        // PostgreSQL makes the value and cuts it to its length afterwards, which is a call where the type stands; the input of
        // intervals does both.
        if target.typmod >= 0 && target.oid != oid::INTERVAL {
            value.position = start();
        }
        Ok(value)
    }

    /// `INTERVAL '1' DAY` is `INTERVAL '1 day'`.
    pub(super) fn interval(&self, interval: &ast::Interval, position: Option<u32>) -> Result<Typed> {
        let ast::Expr::Value(value) = interval.value.as_ref() else {
            return Err(Error::unsupported("INTERVAL of an expression").at(position));
        };
        let Some(text) = value.value.clone().into_string() else {
            return Err(Error::new(SqlState::SyntaxError, "INTERVAL needs a string").at(position));
        };
        let text = match (&interval.leading_field, &interval.last_field) {
            (Some(unit), None) if text.trim().parse::<f64>().is_ok() => {
                format!("{} {unit}", text.trim()).to_lowercase()
            }
            _ => text,
        };
        let literal = typing::literal(&ast::Value::SingleQuotedString(text), position)?;
        typing::cast(self.typing, literal, PgType::INTERVAL, position)
    }

    pub(super) fn collate(
        &self,
        operand: &ast::Expr,
        collation: &ast::ObjectName,
        context: &Context<'_, '_>,
    ) -> Result<Typed> {
        let names = parts(collation);
        let known = names.last().is_some_and(|name| matches!(name.as_str(), "default" | "C" | "POSIX" | "ucs_basic"));
        if !known {
            let message = format!("collation \"{}\" for encoding \"UTF8\" does not exist", names.join("."));
            return Err(Error::new(SqlState::UndefinedObject, message).at(self.source.operator_after(operand.span())));
        }
        let value = self.expr(operand, context)?;
        let element = crate::encode::types::element_of(value.ty.oid).unwrap_or(value.ty.oid);
        if !matches!(element, oid::UNKNOWN | oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME) {
            let message = format!("collations are not supported by type {}", type_words(value.ty.oid));
            let position = self.source.operator_after(operand.span());
            return Err(Error::new(SqlState::DatatypeMismatch, message).at(position));
        }
        Ok(value)
    }

    pub(super) fn special_call(
        &self,
        expr: &ast::Expr,
        context: &Context<'_, '_>,
        position: Option<u32>,
    ) -> Result<Typed> {
        use ast::Expr as E;
        let bind = |expr: &ast::Expr| self.expr(expr, context);
        let (name, arguments) = match expr {
            E::Extract { field, expr, .. } => ("extract", vec![self.field_literal(field, position)?, bind(expr)?]),
            E::Position { expr, r#in } => ("position", vec![bind(r#in)?, bind(expr)?]),
            E::Substring { expr, substring_from, substring_for, .. } => {
                ("substring", self.substring(expr, substring_from.as_deref(), substring_for.as_deref(), context)?)
            }
            E::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                let mut arguments = vec![bind(expr)?, bind(overlay_what)?, bind(overlay_from)?];
                arguments.extend(overlay_for.as_deref().map(bind).transpose()?);
                ("overlay", arguments)
            }
            E::Trim { expr, trim_where, trim_what, trim_characters } => {
                let mut arguments = vec![bind(expr)?];
                arguments.extend(trim_what.as_deref().map(bind).transpose()?);
                for characters in trim_characters.iter().flatten() {
                    arguments.push(bind(characters)?);
                }
                (trim_function(trim_where.as_ref()), arguments)
            }
            E::Ceil { expr, field: ast::CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime) } => {
                ("ceil", vec![bind(expr)?])
            }
            E::Floor { expr, field: ast::CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime) } => {
                ("floor", vec![bind(expr)?])
            }
            E::AtTimeZone { timestamp, time_zone } => ("timezone", vec![bind(time_zone)?, bind(timestamp)?]),
            _ => return Err(Error::unsupported("this form of CEIL or FLOOR").at(position)),
        };
        let call_position = match expr {
            E::AtTimeZone { timestamp, .. } => self.source.operator_after(timestamp.span()),
            other => self.source.word_around(other.span()).or(position),
        };
        let mut value = self.call(name, arguments, call_position)?;
        value.position = position;
        Ok(value)
    }

    fn field_literal(&self, field: &ast::DateTimeField, position: Option<u32>) -> Result<Typed> {
        let name = match field {
            ast::DateTimeField::Custom(ident) => super::super::names::fold(ident),
            other => other.to_string().to_lowercase(),
        };
        typing::literal(&ast::Value::SingleQuotedString(name), position)
    }

    /// `SUBSTRING(x FOR n)` starts at 1.
    fn substring(
        &self,
        text: &ast::Expr,
        from: Option<&ast::Expr>,
        length: Option<&ast::Expr>,
        context: &Context<'_, '_>,
    ) -> Result<Vec<Typed>> {
        let mut arguments = vec![self.expr(text, context)?];
        match (from, length) {
            (None, Some(length)) => {
                arguments.push(typing::literal(&ast::Value::Number("1".to_owned(), false), None)?);
                arguments.push(self.expr(length, context)?);
            }
            (from, length) => {
                for argument in [from, length].into_iter().flatten() {
                    arguments.push(self.expr(argument, context)?);
                }
            }
        }
        Ok(arguments)
    }
}
