//! Operators.
use super::*;
use crate::error::Error;
pub(super) fn binary(
    _ctx: &TypingContext,
    _op: &str,
    _left: Typed,
    _right: Typed,
    position: Option<u32>,
    _schema: &DFSchema,
) -> Result<Typed> {
    Err(Error::unsupported("this").at(position))
}
pub(super) fn unary(
    _ctx: &TypingContext,
    _op: &str,
    _argument: Typed,
    position: Option<u32>,
    _schema: &DFSchema,
) -> Result<Typed> {
    Err(Error::unsupported("this").at(position))
}
