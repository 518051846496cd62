//! What a commit does to its table.

use std::sync::Arc;

use deltalake::kernel::AddCDCFile;

use crate::lake::columns::TableSpec;
use crate::lake::rearrangement::Rearrangement;
use crate::lake::redefinition::{Redefinition, RowsUnder};
use crate::lake::table::Table;
use crate::lake::transaction::Private;

/// What the commit does to the table.
#[derive(Debug, Clone)]
pub(in crate::lake) enum Target {
    /// Adds files to the table as it was when the rows were checked.
    Append(Arc<Table>),
    /// Takes all files away, then adds.
    Overwrite(Arc<Table>),
    /// Takes some files of the version that was read away, then adds.
    Change {
        table: Arc<Table>,
        /// By their numbers in the table's list.
        removes: Vec<usize>,
        /// The changed rows, where the table's change data feed needs them.
        changes: Vec<AddCDCFile>,
        /// Whether files that others added meanwhile are a conflict.
        reads_new_rows: bool,
    },
    /// Puts other files in the place of files.
    Rearrange(Arc<Rearrangement>),
    /// Gives the table another definition, and new files where that asks for them.
    Redefine(Arc<Redefinition>),
    /// Everything that a transaction did to a table.
    Private {
        /// The version that it read.
        base: Arc<Table>,
        /// The table as the transaction sees it.
        table: Arc<Table>,
        reads_new_rows: bool,
    },
    /// Makes the table: there must be none.
    Create(TableSpec),
    /// Makes the table, or gives the one that is there a new definition and new files: in a transaction its own view of it.
    Replace(TableSpec, Option<Arc<Table>>),
}

impl Target {
    /// What a transaction that writes the table has of its own.
    pub(in crate::lake) fn private(&self) -> Option<&Arc<Private>> {
        match self {
            Self::Append(table) | Self::Overwrite(table) | Self::Change { table, .. } => table.private.as_ref(),
            Self::Redefine(redefinition) => redefinition.table.private.as_ref(),
            Self::Replace(_, table) => table.as_ref()?.private.as_ref(),
            Self::Rearrange(_) | Self::Private { .. } | Self::Create(_) => None,
        }
    }

    /// Files of changed rows that the commit names beside its others.
    pub(in crate::lake) fn changes(&self) -> &[AddCDCFile] {
        match self {
            Self::Change { changes, .. } => changes,
            Self::Append(_)
            | Self::Overwrite(_)
            | Self::Rearrange(_)
            | Self::Redefine(_)
            | Self::Private { .. }
            | Self::Create(_)
            | Self::Replace(..) => &[],
        }
    }

    /// Whether rows that others add meanwhile would have changed the outcome.
    pub(in crate::lake) fn reads_new_rows(&self) -> bool {
        match self {
            Self::Change { reads_new_rows, .. } | Self::Private { reads_new_rows, .. } => *reads_new_rows,
            // Of a transaction: whoever replaces a table by itself wins.
            Self::Overwrite(_) | Self::Replace(..) => true,
            Self::Redefine(redefinition) => redefinition.rows != RowsUnder::Untouched,
            Self::Append(_) | Self::Rearrange(_) | Self::Create(_) => false,
        }
    }
}
