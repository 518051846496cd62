//! Whether a commit may follow what is there: the definition that its rows were made for, the files that it takes away, the
//! rows that it read.

use std::collections::{BTreeMap, HashSet};

use deltalake::kernel::transaction::{PROTOCOL, TransactionError};

use super::{Target, conflict, newest};
use crate::error::{Error, Result, SqlState};
use crate::lake::columns::{COMMENT_KEY, DEFAULT_KEY};
use crate::lake::rearrangement::Rearranged;
use crate::lake::redefinition::RowsUnder;
use crate::lake::several::without_marks;
use crate::lake::stores::Resolved;
use crate::lake::table::Table;
use crate::lake::{feed, generation, refreshed};

/// Whether we may put commits into the table's log.
pub(in crate::lake) fn can_write_to(table: &Table) -> Result<bool> {
    Ok(PROTOCOL.can_write_to(table.delta.snapshot()?).is_ok())
}

/// Refuses at once what the commit would refuse anyway, before rows are drawn and staged for it.
pub(in crate::lake) async fn check_early(location: &Resolved, target: &Target) -> Result<()> {
    match target {
        Target::Append(table) | Target::Overwrite(table) | Target::Change { table, .. } => {
            writable(table)?;
            if matches!(target, Target::Change { .. }) {
                changeable(table)?;
            }
            PROTOCOL.can_write_to(table.delta.snapshot()?).map_err(not_writable)
        }
        Target::Rearrange(rearrangement) => {
            writable(&rearrangement.table)?;
            PROTOCOL.can_write_to(rearrangement.table.delta.snapshot()?).map_err(not_writable)
        }
        Target::Redefine(redefinition) => {
            check(target, Some(&redefinition.table))?;
            PROTOCOL.can_write_to(redefinition.table.delta.snapshot()?).map_err(not_writable)
        }
        Target::Create(_) => check(target, newest(location, None).await?.as_deref()),
        Target::Replace(spec, _) => spec.validate(),
        Target::Private { .. } => Ok(()),
    }
}

/// Whether the target can be done on the newest version.
pub(super) fn check(target: &Target, base: Option<&Table>) -> Result<()> {
    match (target, base) {
        (Target::Append(planned), Some(base)) => {
            writable(base)?;
            same_rules(planned, base)
        }
        (Target::Overwrite(planned), Some(base)) => {
            writable(base)?;
            same_definition(planned, base)
        }
        (Target::Change { table, removes, reads_new_rows, .. }, Some(base)) => {
            writable(base)?;
            same_definition(table, base)?;
            unchanged_files(table, removes, base)?;
            if *reads_new_rows { no_new_files(table, base) } else { Ok(()) }
        }
        (Target::Private { base: planned, table, reads_new_rows }, Some(base)) => {
            writable(base)?;
            if table.is_whole() {
                let same = refreshed::same_rows(planned, base);
                same.map_err(|error| error.with_detail("The table's rows were changed by another transaction."))?;
            }
            // What only adds rows may have looked for them before.
            if !*reads_new_rows && is_append(planned, table)? {
                return same_rules(planned, base);
            }
            same_definition(planned, base)?;
            let staying: HashSet<&str> = table.files.iter().map(|file| file.name.as_str()).collect();
            let files = planned.files.iter().enumerate();
            let gone = files.filter(|(_, file)| !staying.contains(file.name.as_str())).map(|(number, _)| number);
            unchanged_files(planned, &gone.collect::<Vec<_>>(), base)?;
            if *reads_new_rows { no_new_files(planned, base) } else { Ok(()) }
        }
        (Target::Rearrange(rearrangement), Some(base)) => {
            writable(base)?;
            match &rearrangement.what {
                Rearranged::Files { files, .. } => {
                    same_definition(&rearrangement.table, base)?;
                    unchanged_files(&rearrangement.table, files, base)
                }
                // Whatever happened meanwhile: the table is as it was then.
                Rearranged::Restored(_) => Ok(()),
            }
        }
        (Target::Redefine(redefinition), Some(base)) => {
            let planned = &redefinition.table;
            writable(base)?;
            same_definition(planned, base)?;
            redefinition.validate()?;
            feed::check_redefinition(redefinition, base)?;
            if redefinition.rows == RowsUnder::Rewritten {
                changeable(base)?;
                unchanged_files(planned, &(0..planned.files.len()).collect::<Vec<_>>(), base)?;
            }
            if redefinition.rows == RowsUnder::Untouched { Ok(()) } else { no_new_files(planned, base) }
        }
        (
            Target::Append(_)
            | Target::Overwrite(_)
            | Target::Change { .. }
            | Target::Rearrange(_)
            | Target::Redefine(_)
            | Target::Private { .. },
            None,
        ) => Err(Error::internal("a table without a version was written")),
        (Target::Create(spec), Some(_)) => {
            let message = format!("a Delta table already exists at \"{}\"", spec.location);
            Err(Error::new(SqlState::DuplicateTable, message)
                .with_hint("Leave the columns out to use the table that is there, or choose another location."))
        }
        (Target::Create(spec) | Target::Replace(spec, _), _) => spec.validate(),
    }
}

/// Rows were checked and encoded for one definition: they may not land under another.
pub(super) fn same_definition(planned: &Table, base: &Table) -> Result<()> {
    let (planned, base) = (planned.snapshot()?, base.snapshot()?);
    if planned.protocol() == base.protocol()
        && (planned.metadata() == base.metadata()
            || without_marks(planned.metadata())? == without_marks(base.metadata())?)
    {
        return Ok(());
    }
    Err(redefined())
}

/// Rows that are only added may land under a definition that differs in words: comments, defaults, the user's properties.
pub(in crate::lake) fn same_rules(planned: &Table, base: &Table) -> Result<()> {
    let fields = |table: &Table| -> Result<Vec<_>> {
        let schema = table.snapshot()?.schema();
        Ok(schema
            .fields()
            .map(|field| {
                let metadata =
                    field.metadata().iter().filter(|(key, _)| !matches!(key.as_str(), COMMENT_KEY | DEFAULT_KEY));
                let metadata: BTreeMap<_, _> = metadata.map(|(key, value)| (key.clone(), value.clone())).collect();
                (field.name().clone(), field.data_type().clone(), field.is_nullable(), metadata)
            })
            .collect())
    };
    let rules = |table: &Table| -> BTreeMap<String, String> {
        let rules = table.properties().iter().filter(|(key, _)| key.starts_with("delta."));
        rules.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let same = planned.version() == base.version()
        || planned.snapshot()?.protocol() == base.snapshot()?.protocol()
            && planned.partition_columns() == base.partition_columns()
            && rules(planned) == rules(base)
            && fields(planned)? == fields(base)?;
    if same { Ok(()) } else { Err(redefined()) }
}

/// Whether a transaction has only added files to the version that it read.
pub(in crate::lake) fn is_append(planned: &Table, made: &Table) -> Result<bool> {
    let (before, after) = (planned.snapshot()?, made.snapshot()?);
    let staying: HashSet<&str> = made.files.iter().map(|file| file.name.as_str()).collect();
    Ok(before.protocol() == after.protocol()
        && before.metadata() == after.metadata()
        && planned.files.iter().all(|file| staying.contains(file.name.as_str())))
}

pub(super) fn redefined() -> Error {
    conflict("The table's definition was changed by another transaction.")
}

/// Refuses tables with promises that our writer does not keep.
pub(in crate::lake) fn writable(table: &Table) -> Result<()> {
    let refused = [("delta.identity.start", "identity columns"), ("delta.invariants", "column invariants")];
    for (field, column) in table.snapshot()?.schema().fields().zip(table.columns()) {
        for (key, what) in refused {
            if field.metadata().contains_key(key) {
                return Err(Error::unsupported(format!("writing to a table with {what}")));
            }
        }
        if let (None, Some(text)) = (&column.generated, generation::expression_of(field)) {
            let what = format!("writing to a table whose column \"{}\" is generated by another program", column.name);
            return Err(Error::unsupported(what).with_detail(format!("Its expression has no translation: {text}")));
        }
    }
    if table.properties().get("delta.columnMapping.mode").is_some_and(|mode| mode != "none") {
        return Err(Error::unsupported("writing to a table with column mapping"));
    }
    Ok(())
}

/// The files whose rows were changed must all be there still, as they were.
pub(super) fn unchanged_files(planned: &Table, removes: &[usize], base: &Table) -> Result<()> {
    if planned.version() == base.version() {
        return Ok(());
    }
    let there = base.identities();
    let removed = removes.iter().filter_map(|number| planned.files.get(*number));
    if removed.into_iter().all(|file| there.contains(&file.identity())) {
        return Ok(());
    }
    Err(conflict("Rows that this statement changes were changed by another transaction."))
}

pub(super) fn no_new_files(planned: &Table, base: &Table) -> Result<()> {
    if planned.version() == base.version() {
        return Ok(());
    }
    let known: HashSet<&str> = planned.files.iter().map(|file| file.name.as_str()).collect();
    if base.files.iter().all(|file| known.contains(file.name.as_str())) {
        return Ok(());
    }
    Err(conflict("Another transaction added rows that this statement did not see."))
}

/// Refuses tables whose changes are recorded in ways that we do not write.
pub(super) fn changeable(table: &Table) -> Result<()> {
    if table.special {
        return Err(Error::unsupported("changing rows of a table with column mapping or with files elsewhere"));
    }
    Ok(())
}

pub(super) fn not_writable(error: TransactionError) -> Error {
    match error {
        TransactionError::DeltaTableAppendOnly => {
            Error::new(SqlState::ObjectNotInPrerequisiteState, "cannot remove rows from an append-only table")
                .with_hint("The table's property delta.appendOnly forbids it.")
        }
        other => Error::unsupported("writing to this Delta table").with_detail(other.to_string()),
    }
}
