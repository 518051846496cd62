//! Commits that put files in the place of files: the same rows in fewer or better ones, or an earlier version's.

use std::collections::HashSet;
use std::sync::Arc;

use deltalake::kernel::{Action, Add};
use deltalake::protocol::DeltaOperation;

use super::Lake;
use super::commit::{self, Target, removes_of};
use super::past::check_files;
use super::several::with_marks_of;
use super::table::Table;
use super::write::Operation;
use crate::error::{Error, Result};

/// What goes in the place of what.
#[derive(Debug)]
pub(super) struct Rearrangement {
    /// The version that was read.
    pub(super) table: Arc<Table>,
    pub(super) what: Rearranged,
}

#[derive(Debug)]
pub(super) enum Rearranged {
    /// The same rows, or more statistics of them. Conflicts with whoever changes one of these files, by their numbers.
    Files {
        files: Vec<usize>,
        /// Whether the files go: otherwise they are named again.
        removed: bool,
        target_bytes: u64,
    },
    /// The rows and the definition of an earlier version.
    Restored(Arc<Table>),
}

impl Rearrangement {
    pub(super) fn actions(&self, base: Option<&Table>, adds: &[Add]) -> Result<(Vec<Action>, DeltaOperation)> {
        let Some(base) = base else { return Err(Error::internal("a table without a version was rearranged")) };
        match &self.what {
            Rearranged::Files { files, removed, target_bytes } => {
                let names: HashSet<&str> =
                    files.iter().filter_map(|number| Some(self.table.files.get(*number)?.name.as_str())).collect();
                let mut actions =
                    if *removed { removes_of(Some(base), |name| names.contains(name))? } else { Vec::new() };
                for action in &mut actions {
                    if let Action::Remove(remove) = action {
                        remove.data_change = false;
                    }
                }
                actions.extend(adds.iter().map(|add| Action::Add(Add { data_change: false, ..add.clone() })));
                let target_size = i64::try_from(*target_bytes).unwrap_or(i64::MAX);
                Ok((actions, DeltaOperation::Optimize { predicate: None, target_size }))
            }
            Rearranged::Restored(past) => {
                let mut actions = Vec::new();
                let metadata = with_marks_of(past.snapshot()?.metadata(), base)?;
                if metadata != *base.snapshot()?.metadata() {
                    actions.push(Action::Metadata(metadata));
                }
                let (wanted, here) = (past.identities(), base.identities());
                for file in base.snapshot()?.try_log_data()?.iter() {
                    if !wanted.contains(&super::data_file::identity(&file)) {
                        actions.push(Action::Remove(file.remove_action(true)));
                    }
                }
                for file in past.snapshot()?.try_log_data()?.iter() {
                    if !here.contains(&super::data_file::identity(&file)) {
                        #[expect(deprecated, reason = "there is no other way from a version's file to its action")]
                        let add = file.add_action();
                        actions.push(Action::Add(add));
                    }
                }
                Ok((actions, DeltaOperation::Restore { version: Some(past.version()), datetime: None }))
            }
        }
    }
}

/// What RESTORE did.
#[derive(Debug, Clone)]
pub struct Restored {
    pub table: Arc<Table>,
    pub restored_files: u64,
    pub restored_bytes: u64,
    pub removed_files: u64,
    pub removed_bytes: u64,
}

impl Lake {
    /// Makes the newest version of a table what an earlier one was, in one commit.
    ///
    /// # Errors
    /// 55000 when files of the earlier version are gone; what a commit gives.
    pub async fn restore(
        self: &Arc<Self>,
        table: &Arc<Table>,
        past: &Arc<Table>,
        mut operation: Operation,
    ) -> Result<Restored> {
        check_files(past, table).await?;
        let (wanted, here) = (past.identities(), table.identities());
        let sum = |from: &Table, not_in: &HashSet<_>| {
            let files = from.files.iter().filter(|file| !not_in.contains(&file.identity()));
            files.fold((0_u64, 0_u64), |(count, bytes), file| (count + 1, bytes + file.bytes))
        };
        let (restored_files, restored_bytes) = sum(past, &here);
        let (removed_files, removed_bytes) = sum(table, &wanted);
        operation.metrics = vec![
            ("numRestoredFiles", restored_files),
            ("restoredFilesSize", restored_bytes),
            ("numRemovedFiles", removed_files),
            ("removedFilesSize", removed_bytes),
            ("numOfFilesAfterRestore", past.num_files() as u64),
            ("tableSizeAfterRestore", past.size_bytes()),
        ];
        let what = Rearranged::Restored(Arc::clone(past));
        let target = Target::Rearrange(Arc::new(Rearrangement { table: Arc::clone(table), what }));
        let location = table.location.clone();
        let table = commit::commit(Arc::clone(self), location, target, Vec::new(), operation).await?;
        Ok(Restored { table, restored_files, restored_bytes, removed_files, removed_bytes })
    }
}
