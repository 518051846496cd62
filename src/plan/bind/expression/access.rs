//! Subscripts, slices and fields: `a[1]`, `a[2:3]`, `(row).field`.

use arrow::datatypes::DataType;
use datafusion::functions_nested::expr_fn as nested;
use datafusion::logical_expr::{Expr, ExprSchemable as _, cast, lit, when};
use sqlparser::ast;

use super::super::Binder;
use super::super::names::fold;
use super::Context;
use crate::builtins::functions::arrays::subscript;
use crate::encode::types::{PgType, element_of, oid, pg_type_of, type_words};
use crate::error::{Error, Result, SqlState};
use crate::plan::typing::{self, Typed};

impl Binder<'_> {
    pub(super) fn access(
        &self,
        root: &ast::Expr,
        chain: &[ast::AccessExpr],
        context: &Context<'_, '_>,
    ) -> Result<Typed> {
        let (mut value, rest) = self.access_root(root, chain, context)?;
        for access in rest {
            value = match access {
                ast::AccessExpr::Dot(ast::Expr::Identifier(field)) => self.field(value, field, context)?,
                ast::AccessExpr::Dot(_) => {
                    return Err(Error::unsupported("this field access").at(value.position));
                }
                ast::AccessExpr::Subscript(ast::Subscript::Index { index }) => self.element(value, index, context)?,
                ast::AccessExpr::Subscript(ast::Subscript::Slice { lower_bound, upper_bound, stride: None }) => {
                    self.slice(value, lower_bound.as_ref(), upper_bound.as_ref(), context)?
                }
                ast::AccessExpr::Subscript(ast::Subscript::Slice { .. }) => {
                    return Err(Error::unsupported("a slice with a stride").at(value.position));
                }
            };
        }
        match rest.last() {
            Some(ast::AccessExpr::Subscript(ast::Subscript::Index { .. })) => self.whole_element(value, context),
            _ => Ok(value),
        }
    }

    /// An array with fewer subscripts than dimensions has no element there: NULL.
    fn whole_element(&self, value: Typed, context: &Context<'_, '_>) -> Result<Typed> {
        let data_type = value.expr.get_type(&context.scope.schema)?;
        match element_of(value.ty.oid) {
            Some(element) if matches!(data_type, DataType::List(_) | DataType::LargeList(_)) => {
                let ty = PgType { oid: element, typmod: value.ty.typmod };
                Ok(Typed { expr: crate::builtins::functions::casts::null(ty)?, ty, position: value.position })
            }
            _ => Ok(value),
        }
    }

    /// `t.a[1]`: the dots behind a bare name belong to the name.
    fn access_root<'e>(
        &self,
        root: &ast::Expr,
        chain: &'e [ast::AccessExpr],
        context: &Context<'_, '_>,
    ) -> Result<(Typed, &'e [ast::AccessExpr])> {
        let mut idents = match root {
            ast::Expr::Identifier(ident) => vec![ident.clone()],
            ast::Expr::CompoundIdentifier(idents) => idents.clone(),
            other => return Ok((self.expr(other, context)?, chain)),
        };
        let mut rest = chain;
        while let [ast::AccessExpr::Dot(ast::Expr::Identifier(ident)), more @ ..] = rest {
            idents.push(ident.clone());
            rest = more;
        }
        let value = match idents.as_slice() {
            [ident] => self.unqualified_column(ident, context.scope)?,
            idents => self.qualified_column(idents, context.scope)?,
        };
        Ok((value.typed, rest))
    }

    fn field(&self, value: Typed, field: &ast::Ident, context: &Context<'_, '_>) -> Result<Typed> {
        let name = fold(field);
        let position = self.position(field.span);
        let data_type = value.expr.get_type(&context.scope.schema)?;
        let found = match &data_type {
            DataType::Struct(fields) => fields.iter().find(|field| *field.name() == name).cloned(),
            _ => {
                let given = type_words(value.ty.oid);
                let message = format!("column notation .{name} applied to type {given}, which is not a composite type");
                return Err(Error::new(SqlState::WrongObjectType, message).at(value.position));
            }
        };
        let Some(found) = found else {
            let message = format!("could not identify column \"{name}\" in record data type");
            return Err(Error::new(SqlState::UndefinedColumn, message).at(position));
        };
        // Rows carry no PostgreSQL types of their fields.
        let ty = pg_type_of(found.data_type());
        let expr = datafusion::functions::core::expr_fn::get_field(value.expr, name);
        Ok(Typed { expr, ty, position: value.position })
    }

    /// `a[i]`: NULL outside the bounds. The system's vectors count from 0. A jsonb takes keys too.
    fn element(&self, value: Typed, index: &ast::Expr, context: &Context<'_, '_>) -> Result<Typed> {
        let position = value.position;
        if value.ty.oid == oid::JSONB {
            let key = self.expr(index, context)?;
            return typing::binary(self.typing, "->", value, key, position, &context.scope.schema);
        }
        let Some(element) = element_of(value.ty.oid) else {
            return Err(not_subscriptable(value.ty).at(position));
        };
        let index = cast(self.subscript(index, context)?, DataType::Int64);
        let zero_based = matches!(value.ty.oid, oid::INT2VECTOR | oid::OIDVECTOR);
        let index = if zero_based { index + lit(1_i64) } else { index };
        let expr = nested::array_element(value.expr, subscript(index)?);
        let data_type = expr.get_type(&context.scope.schema)?;
        let still_array = matches!(data_type, DataType::List(_) | DataType::LargeList(_));
        let ty = if still_array { value.ty } else { PgType { oid: element, typmod: value.ty.typmod } };
        Ok(Typed { expr, ty, position })
    }

    fn slice(
        &self,
        value: Typed,
        lower: Option<&ast::Expr>,
        upper: Option<&ast::Expr>,
        context: &Context<'_, '_>,
    ) -> Result<Typed> {
        let position = value.position;
        if element_of(value.ty.oid).is_none() {
            return Err(not_subscriptable(value.ty).at(position));
        }
        let bound = |bound: &ast::Expr| self.subscript(bound, context).map(|index| cast(index, DataType::Int64));
        let first = match lower {
            Some(lower) => datafusion::functions::core::expr_fn::greatest(vec![bound(lower)?, lit(1_i64)]),
            None => lit(1_i64),
        };
        let last = match upper {
            Some(upper) => bound(upper)?,
            None => cast(nested::array_length(value.expr.clone()), DataType::Int64),
        };
        self.note_copies(&value.expr, if upper.is_none() { 2 } else { 1 }, position)?;
        self.note_copies(&first, 1, position)?;
        self.note_copies(&last, 1, position)?;
        let slice = nested::array_slice(value.expr.clone(), first.clone(), last.clone(), None);
        let empty = nested::array_resize(value.expr, lit(0_i64), lit(datafusion::common::ScalarValue::Null));
        let expr = when(last.gt_eq(first), slice).otherwise(empty)?;
        Ok(Typed { expr, ty: value.ty, position })
    }

    fn subscript(&self, index: &ast::Expr, context: &Context<'_, '_>) -> Result<Expr> {
        let position = self.start(index);
        let index = self.expr(index, context)?;
        let coerced = typing::coerce(self.typing, index, PgType::INT4, typing::Coercion::Assignment);
        match coerced {
            Ok(index) => Ok(index.expr),
            Err(error) if error.sqlstate() == SqlState::DatatypeMismatch => {
                let message = "array subscript must have type integer";
                Err(Error::new(SqlState::DatatypeMismatch, message).at(position))
            }
            Err(error) => Err(error),
        }
    }
}

fn not_subscriptable(ty: PgType) -> Error {
    let name = type_words(ty.oid);
    let message = format!("cannot subscript type {name} because it does not support subscripting");
    Error::new(SqlState::DatatypeMismatch, message)
}
