//! The expression of a chosen operator whose operands have the operator's types.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Like, Operator as Engine, ReturnFieldArgs};

use super::table::{Kind, Operator};
use crate::builtins::functions::kernel::{Kernel, Returns, Run, decimals};
use crate::builtins::functions::{Volatility, casts, numeric, text, transcendental};
use crate::encode::types::{NUMERIC_COLUMN, PgType, arrow_type, element_of, oid};
use crate::error::{Error, Result};
use crate::plan::typing::{DFSchema, Typed, TypingContext};

pub(super) fn binary(
    ctx: &TypingContext,
    operator: &'static Operator,
    left: Typed,
    right: Typed,
    schema: &DFSchema,
) -> Result<Expr> {
    match operator.kind {
        Kind::Compare => Err(Error::internal("a comparison is built by itself")),
        Kind::Like { negated, insensitive } => like(ctx, left, right, negated, insensitive),
        Kind::Decimal(run) => decimal(operator, run, left.expr, right.expr, schema),
        Kind::Numeric(run) => numeric_kernel(operator, run).call(vec![left.expr, right.expr]),
        Kind::Immutable(run) => {
            let returns = result_of(operator, left.ty, right.ty);
            kernel(operator, run, Volatility::Immutable, returns).call(vec![left.expr, right.expr])
        }
        Kind::Stable(run) => {
            let left = text_operand(ctx, operator, operator.left, left)?;
            let right = text_operand(ctx, operator, operator.right, right)?;
            kernel(operator, run, Volatility::Stable, Returns::Fixed(arrow_type(PgType::of(operator.result))))
                .with_context(ctx.context())
                .call(vec![left, right])
        }
    }
}

pub(super) fn unary(ctx: &TypingContext, operator: &'static Operator, argument: Typed, _: &DFSchema) -> Result<Expr> {
    let same = Returns::Of(numeric::same_type);
    match operator.kind {
        Kind::Numeric(run) | Kind::Decimal(run) | Kind::Immutable(run) => {
            kernel(operator, run, Volatility::Immutable, same).call(vec![argument.expr])
        }
        Kind::Stable(run) => {
            kernel(operator, run, Volatility::Stable, same).with_context(ctx.context()).call(vec![argument.expr])
        }
        Kind::Compare | Kind::Like { .. } => Ok(argument.expr),
    }
}

/// `text || anynonarray` writes the other operand as text.
fn text_operand(ctx: &TypingContext, operator: &Operator, declared: u32, operand: Typed) -> Result<Expr> {
    if operator.name == "||" && declared == oid::ANYNONARRAY {
        return casts::cast(ctx.context(), operand.expr, operand.ty, PgType::TEXT, true);
    }
    Ok(operand.expr)
}

/// Array operators make an array of what their operands hold.
fn result_of(operator: &Operator, left: PgType, right: PgType) -> Returns {
    let array = match (element_of(left.oid), element_of(right.oid)) {
        (Some(_), _) if operator.result != oid::BOOL => left,
        (_, Some(_)) if operator.name == "||" => right,
        _ => return Returns::Fixed(arrow_type(PgType::of(operator.result))),
    };
    match element_of(array.oid) {
        Some(oid::NUMERIC) => Returns::Of(numerics),
        _ => Returns::Fixed(arrow_type(PgType::of(array.oid))),
    }
}

/// An array of plain numerics, with more digits where the operands, which are brought to one scale, have them.
fn numerics(args: &ReturnFieldArgs) -> Result<DataType> {
    let whole = |(precision, scale): (u8, i8)| i16::from(precision) - i16::from(scale);
    let found = args.arg_fields.iter().find_map(|field| decimals(field.data_type()));
    let longer = found.filter(|found| found.1 > NUMERIC_COLUMN.1 || whole(*found) > whole(NUMERIC_COLUMN));
    let (precision, scale) = longer.unwrap_or(NUMERIC_COLUMN);
    Ok(DataType::new_list(DataType::Decimal128(precision, scale), true))
}

fn kernel(operator: &'static Operator, run: Run, volatility: Volatility, returns: Returns) -> Kernel {
    // The operand types tell operators of one name apart.
    let identity = operator.left.wrapping_mul(65_537).wrapping_add(operator.right);
    Kernel::new(operator.name, identity, volatility, returns, run)
}

fn numeric_kernel(operator: &'static Operator, run: Run) -> Kernel {
    let returns = match operator.name {
        "+" | "-" => Returns::Of(numeric::sum_type),
        "*" => Returns::Of(numeric::product_type),
        "/" => Returns::Of(numeric::quotient_type),
        "^" => Returns::Of(transcendental::power_type),
        _ => Returns::Of(numeric::remainder_type),
    };
    kernel(operator, run, Volatility::Immutable, returns)
}

/// `+ - *` by the engine when its result type holds the exact result; by our kernel, which rounds, when the scale is too long.
fn decimal(operator: &'static Operator, run: Run, left: Expr, right: Expr, schema: &DFSchema) -> Result<Expr> {
    let constant = matches!((&left, &right), (Expr::Literal(..), Expr::Literal(..)));
    let types = (left.get_type(schema)?, right.get_type(schema)?);
    let engine = match operator.name {
        "+" => Engine::Plus,
        "-" => Engine::Minus,
        _ => Engine::Multiply,
    };
    let exact = match &types {
        (DataType::Decimal128(p1, s1), DataType::Decimal128(p2, s2)) => match engine {
            Engine::Multiply => u16::from(*p1) + u16::from(*p2) < 38 && *s1 >= 0 && *s2 >= 0,
            _ => i16::from((*p1 as i8 - s1).max(*p2 as i8 - s2)) + i16::from(*s1.max(s2)) < 38,
        },
        _ => false,
    };
    if exact && !constant {
        return Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), engine, Box::new(right))));
    }
    numeric_kernel(operator, run).call(vec![left, right])
}

fn like(ctx: &TypingContext, left: Typed, right: Typed, negated: bool, insensitive: bool) -> Result<Expr> {
    // char(n) is matched with its padding, as in PostgreSQL.
    let _ = ctx;
    if let Expr::Literal(ScalarValue::Utf8(Some(pattern)), _) = &right.expr
        && pattern.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
    {
        // The escape at the end is an error for texts that reach it.
        let reaching = format!("{}_%", pattern.get(..pattern.len() - 1).unwrap_or_default());
        let reaching = Expr::Literal(ScalarValue::Utf8(Some(reaching)), None);
        let reached = Expr::Like(Like::new(false, Box::new(left.expr), Box::new(reaching), None, insensitive));
        let returns = Returns::Fixed(DataType::Boolean);
        return Kernel::new("like_end", u32::from(negated), Volatility::Immutable, returns, text::like_end)
            .call(vec![reached]);
    }
    Ok(Expr::Like(Like::new(negated, Box::new(left.expr), Box::new(right.expr), None, insensitive)))
}
