//! A transaction's own table with more columns: what mergeSchema asks for before the rows come.

use std::sync::Arc;

use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::transaction::CommitData;
use deltalake::kernel::{Action, StructField};
use deltalake::protocol::DeltaOperation;

use super::columns::{ColumnSpec, delta_field};
use super::commit::{self, Definition};
use super::log::{self, Put};
use super::table::Table;
use crate::error::{Error, Result};

impl Table {
    /// The table with these columns, which may be NULL, after its own. `self` must be [`private`](Table::private): nobody
    /// else commits there.
    ///
    /// # Errors
    /// As ALTER TABLE's: 42701 for a name that is there, 0A000 for types and tables that we cannot write.
    pub async fn evolved(self: &Arc<Self>, columns: &[ColumnSpec]) -> Result<Arc<Self>> {
        if self.private.is_none() {
            return Err(Error::internal("a table that others see was to be changed alone"));
        }
        commit::writable(self)?;
        let definition = Definition::with_columns(self, columns)?;
        let fields = columns.iter().map(|column| (&delta_field(column)).try_into_kernel());
        let fields: Vec<StructField> = fields.collect::<std::result::Result<_, _>>()?;
        let mut actions = vec![Action::Metadata(definition.metadata)];
        if definition.protocol != *self.snapshot()?.protocol() {
            actions.push(Action::Protocol(definition.protocol));
        }
        let id = uuid::Uuid::new_v4().to_string();
        let info = [(commit::ID_KEY.to_owned(), id.as_str().into())].into();
        let bytes = CommitData::new(actions, DeltaOperation::AddColumn { fields }, info, Vec::new()).get_bytes();
        let bytes = bytes.map_err(|error| Error::from(deltalake::DeltaTableError::from(error)))?;
        let version = self.version() + 1;
        match log::put(&self.location, version, bytes, &id).await {
            Put::Done => Ok(Arc::new(commit::read_again(&self.location, Some(self.as_ref()), version).await?)),
            Put::Taken => Err(Error::internal("a transaction's own version was taken")),
            Put::Failed(error) | Put::Unknown(error) => Err(error),
        }
    }
}
