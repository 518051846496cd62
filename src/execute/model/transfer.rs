//! EXPORT and IMPORT MODEL.

use crate::error::{Error, Result};
use crate::execute::output::Output;
use crate::execute::road::Road;
use crate::sql::{ExportModel, ImportModel};

pub(super) async fn export(_: &mut Road<'_>, _: &ExportModel) -> Result<Output> {
    Err(Error::unsupported("EXPORT MODEL"))
}

pub(super) async fn import(_: &mut Road<'_>, _: &ImportModel) -> Result<Output> {
    Err(Error::unsupported("IMPORT MODEL"))
}
