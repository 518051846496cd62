//! Calls.
use super::*;
use crate::error::Error;
pub(super) fn resolve_call(
    _ctx: &TypingContext,
    _schema: Option<&str>,
    _name: &str,
    _args: &[Typed],
    _variadic: bool,
    position: Option<u32>,
) -> Result<Resolved> {
    Err(Error::unsupported("this").at(position))
}
pub(super) fn scalar_call(_ctx: &TypingContext, call: Resolved) -> Result<Typed> {
    Err(Error::unsupported(call.function.name))
}
