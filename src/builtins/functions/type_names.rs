//! Names of types beside `encode`'s: OIDs of pseudo-types, `typname` to OID.

use crate::encode::types::{all_types, array_of, type_info};
pub use crate::encode::types::{format_type, parse_type};

pub const ANYCOMPATIBLE: u32 = 5077;
pub const ANYCOMPATIBLEARRAY: u32 = 5078;
pub const ANYCOMPATIBLENONARRAY: u32 = 5079;

/// The OID behind a `typname`; a leading underscore makes it the array type.
pub fn oid_of_typname(name: &str) -> Option<u32> {
    if let Some(found) = all_types().iter().find(|info| info.name == name) {
        return Some(found.oid);
    }
    name.strip_prefix('_').and_then(oid_of_typname).and_then(array_of)
}

/// `typname` of a type.
pub fn typname(type_oid: u32) -> Option<&'static str> {
    type_info(type_oid).map(|info| info.name)
}
