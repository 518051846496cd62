//! Parameters.
use super::*;
use crate::error::Error;
pub(super) fn parameter(_ctx: &TypingContext, _number: usize, position: Option<u32>) -> Result<Typed> {
    Err(Error::unsupported("this").at(position))
}
