//! What a commit writes into the log.

use std::collections::{HashMap, HashSet};

use deltalake::kernel::{Action, Add};
use deltalake::protocol::{DeltaOperation, SaveMode};

use super::{Definition, ID_KEY, Target};
use crate::error::{Error, Result};
use crate::lake::history::OPERATION_KEY;
use crate::lake::redefinition::RowsUnder;
use crate::lake::refreshed;
use crate::lake::several::{with_marks_of, without_marks};
use crate::lake::stores::Resolved;
use crate::lake::table::Table;
use crate::lake::write::Operation;

pub(super) fn actions(
    location: &Resolved,
    target: &Target,
    base: Option<&Table>,
    adds: &[Add],
) -> Result<(Vec<Action>, DeltaOperation)> {
    let added = adds.iter().cloned().map(Action::Add);
    let write = |table: &Table, mode| DeltaOperation::Write {
        mode,
        partition_by: Some(table.partition_columns().to_vec()).filter(|columns| !columns.is_empty()),
        predicate: None,
    };
    match target {
        Target::Append(table) => Ok((added.collect(), write(table, SaveMode::Append))),
        Target::Overwrite(table) => {
            let actions = removes_of(base, |_| true)?.into_iter().chain(added).collect();
            Ok((actions, write(table, SaveMode::Overwrite)))
        }
        Target::Change { table, removes, changes, .. } => {
            let removed = removes.iter().filter_map(|number| table.files.get(*number));
            let names: HashSet<&str> = removed.map(|file| file.name.as_str()).collect();
            let told = changes.iter().cloned().map(Action::Cdc);
            let actions = removes_of(base, |name| names.contains(name))?.into_iter().chain(added).chain(told).collect();
            Ok((actions, write(table, SaveMode::Overwrite)))
        }
        Target::Rearrange(rearrangement) => rearrangement.actions(base, adds),
        Target::Redefine(redefinition) => {
            let Some(base) = base else { return Err(Error::internal("a table without a version was redefined")) };
            let definition = Definition::redefined(redefinition, base)?;
            let mut actions = Vec::new();
            if definition.protocol != *base.snapshot()?.protocol() {
                actions.push(Action::Protocol(definition.protocol));
            }
            if definition.metadata != *base.snapshot()?.metadata() {
                actions.push(Action::Metadata(definition.metadata));
            }
            if redefinition.rows == RowsUnder::Rewritten {
                actions.extend(removes_of(Some(base), |_| true)?);
            }
            Ok((actions.into_iter().chain(added).collect(), write(base, SaveMode::Overwrite)))
        }
        Target::Private { base: planned, table, .. } => {
            Ok((difference(planned, table, base)?, write(table, SaveMode::Append)))
        }
        Target::Create(spec) | Target::Replace(spec, _) => {
            let mut definition = Definition::new(spec, base)?;
            if let Some(base) = base {
                definition.metadata = with_marks_of(&definition.metadata, base)?;
            }
            let mode = if base.is_some() { SaveMode::Overwrite } else { SaveMode::ErrorIfExists };
            let described = DeltaOperation::Create {
                mode,
                location: location.location.clone(),
                protocol: definition.protocol.clone(),
                metadata: definition.metadata.clone(),
            };
            let defined = [Action::Protocol(definition.protocol), Action::Metadata(definition.metadata)];
            Ok((defined.into_iter().chain(removes_of(base, |_| true)?).chain(added).collect(), described))
        }
    }
}

pub(in crate::lake) fn removes_of(base: Option<&Table>, is_gone: impl Fn(&str) -> bool) -> Result<Vec<Action>> {
    let Some(base) = base else { return Ok(Vec::new()) };
    let files = base.snapshot()?.try_log_data()?;
    let gone = files.iter().filter(|file| is_gone(file.path().as_ref()));
    Ok(gone.map(|file| Action::Remove(file.remove_action(true))).collect())
}

/// What leads from the version that a transaction read to the one that it made. A file that it added and removed again is in
/// neither.
pub(super) fn difference(planned: &Table, made: &Table, base: Option<&Table>) -> Result<Vec<Action>> {
    let (before, after) = (planned.snapshot()?, made.snapshot()?);
    let mut actions = Vec::new();
    if before.protocol() != after.protocol() {
        actions.push(Action::Protocol(after.protocol().clone()));
    }
    if before.metadata() != after.metadata() {
        actions.push(Action::Metadata(without_marks(after.metadata())?));
    }
    let names = |table: &Table| table.files.iter().map(|file| file.name.clone()).collect::<HashSet<_>>();
    let (known, staying) = (names(planned), names(made));
    actions.extend(removes_of(base, |name| known.contains(name) && !staying.contains(name))?);
    for file in made.files.iter().filter(|file| !known.contains(&file.name)) {
        let add = made.private.as_ref().and_then(|private| private.add(&file.name));
        actions.push(Action::Add(add.ok_or_else(|| Error::internal("a transaction lost a file"))?));
    }
    if let Some(private) = &made.private {
        actions.extend(private.feed().files(made).into_iter().map(Action::Cdc));
    }
    Ok(actions)
}

/// What the commit tells of itself in Delta's own words: DESCRIBE HISTORY shows it.
pub(in crate::lake) fn commit_info(operation: &Operation, described: &DeltaOperation, base: Option<&Table>) -> Action {
    let mut info = described.get_commit_info();
    info.timestamp = Some(chrono::Utc::now().timestamp_millis());
    if !operation.name.is_empty() {
        info.operation = Some(operation.name.clone());
    }
    let parameters = operation.parameters.iter().map(|(key, value)| (key.clone(), value.as_str().into()));
    info.operation_parameters.get_or_insert_default().extend(parameters);
    info.read_version = base.map(Table::version);
    info.user_name.clone_from(&operation.user);
    info.engine_info = Some(concat!("lakegate/", env!("CARGO_PKG_VERSION")).to_owned());
    Action::CommitInfo(info)
}

pub(in crate::lake) fn info(id: &str, operation: &Operation) -> HashMap<String, serde_json::Value> {
    let mut info = HashMap::from([
        (ID_KEY.to_owned(), id.into()),
        (OPERATION_KEY.to_owned(), operation.name.as_str().into()),
        ("clientVersion".to_owned(), concat!("lakegate ", env!("CARGO_PKG_VERSION")).into()),
    ]);
    if let Some(told) = operation.refreshed.as_ref().and_then(|told| serde_json::to_string(told).ok()) {
        info.insert(refreshed::KEY.to_owned(), told.into());
    }
    if !operation.metrics.is_empty() {
        // Delta has them as texts.
        let metrics = operation.metrics.iter().map(|(key, value)| ((*key).to_owned(), value.to_string().into()));
        info.insert("operationMetrics".to_owned(), serde_json::Value::Object(metrics.collect()));
    }
    info
}
