//! Constants of the query text.
use super::*;
use crate::error::Error;
pub(super) fn literal(_value: &ast::Value, position: Option<u32>) -> Result<Typed> {
    Err(Error::unsupported("this").at(position))
}
