//! Casts.
use super::*;
use crate::error::Error;
pub(super) fn coerce(_ctx: &TypingContext, value: Typed, _target: PgType, _coercion: Coercion) -> Result<Typed> {
    Err(Error::unsupported("this").at(value.position))
}
pub(super) fn cast(_ctx: &TypingContext, _value: Typed, _target: PgType, position: Option<u32>) -> Result<Typed> {
    Err(Error::unsupported("this").at(position))
}
pub(super) fn coerce_to_boolean(_ctx: &TypingContext, value: Typed, _clause: &str) -> Result<Typed> {
    Err(Error::unsupported("this").at(value.position))
}
pub(super) fn settle(_ctx: &TypingContext, value: Typed) -> Result<Typed> {
    Err(Error::unsupported("this").at(value.position))
}
pub(super) fn common_type(_ctx: &TypingContext, _values: &[Typed], _construct: &str) -> Result<PgType> {
    Err(Error::unsupported("this"))
}
