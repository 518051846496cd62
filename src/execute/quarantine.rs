//! The table that rows of another one are put apart in: made and widened as it is needed, written beside the other one.
//!
//! ```text
//! rows that are put apart ─→ Sink ─ the other table's columns, and why ─→ the gate of its own constraints ─→ the same transaction
//! ```
//! A value that does not fit its column, which an older definition of the other table has left, is kept as text in [`AS_TEXT`].

use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::create_table;
use super::evolve;
use super::quarantined::Rows;
use super::road::{Road, Target};
use super::row_rules::{AS_TEXT, QUARANTINE_COLUMNS, check_quarantine_name, quarantine_name, rules_of};
use crate::catalog::{Document, Relation, RelationKind};
use crate::encode::types::{PgType, format_type};
use crate::error::{Error, Result, SqlState};
use crate::lake::{ColumnSpec, Input, WriteMode, WriteRequest, Written};
use crate::quality::result::Run;
use crate::quality::{Expectation, Quarantine, QuarantinedRows, ViolationAction};
use crate::sql::{self, CreateTable, Name, QualifiedName};

/// Batches that wait for the quarantine's writer.
const BATCHES_WAITING_MAX: usize = 4;
/// The OID of `text[]`.
const TEXT_ARRAY: u32 = 1009;

pub(super) const WRITER_GONE: &str = "the writer of rows that are put apart is gone";

/// The other table that is written.
pub(super) struct Apart {
    pub name: String,
    sink: Arc<Sink>,
    pub writing: AbortOnDropHandle<Result<Written>>,
}

impl Apart {
    pub fn sink(&self) -> Arc<dyn Quarantine> {
        Arc::clone(&self.sink) as Arc<dyn Quarantine>
    }

    /// No more rows come.
    pub fn close(&self) {
        self.sink.sender.lock().take();
    }
}

/// The way of rows into the quarantine's writer.
#[derive(Debug)]
struct Sink {
    sender: Mutex<Option<mpsc::Sender<std::result::Result<RecordBatch, DataFusionError>>>>,
    rows: Rows,
}

#[async_trait]
impl Quarantine for Sink {
    async fn take(&self, rows: QuarantinedRows) -> Result<()> {
        let batch = self.rows.batch(&rows)?;
        let sender = self.sender.lock().clone();
        let Some(sender) = sender else { return Err(Error::internal("rows were put apart after their end")) };
        // A closed channel means that the writer failed: its error is the statement's.
        sender.send(Ok(batch)).await.map_err(|_| Error::internal(WRITER_GONE))
    }
}

impl Road<'_> {
    /// Begins to write the quarantine. `anew`: what was put apart before goes.
    pub(super) fn put_apart(&self, target: Target, columns: &[ColumnSpec], run: &Run, anew: bool) -> Result<Apart> {
        let (sender, receiver) =
            mpsc::channel::<std::result::Result<RecordBatch, DataFusionError>>(BATCHES_WAITING_MAX);
        let checks = target.table.check_constraints();
        let rows = target.table.arrow_schema();
        let gate = self.gate_of((&target.schema, &target.name), target.table.columns(), rows, checks)?;
        let of_table = |name: &str| columns.iter().any(|column| column.name == name);
        let given: Vec<usize> = target
            .table
            .columns()
            .iter()
            .enumerate()
            .filter(|(_, column)| column.generated.is_none())
            .filter(|(_, column)| of_table(&column.name) || QUARANTINE_COLUMNS.contains(&column.name.as_str()))
            .map(|(index, _)| index)
            .collect();
        let fills = self.fills(&target, &given)?;
        let rows = Rows::new(&target.table, columns, run, fills);
        let batches = futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|batch| (batch, receiver))
        });
        let stream = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(rows.schema()), batches));
        let has_rows = target.table.num_files() > 0;
        let request = WriteRequest {
            mode: if anew && has_rows { WriteMode::Overwrite(target.table) } else { WriteMode::Append(target.table) },
            input: Input::Streams(vec![stream]),
            gate,
            operation: self.operation("QUARANTINE"),
            memory: Arc::clone(self.ground.engine.memory_pool()),
            cancel: self.token.clone(),
        };
        let (lake, engine) = (Arc::clone(&self.ground.lake), Arc::clone(&self.ground.engine));
        let writing = tokio::spawn(async move { engine.compute(async move { lake.write(request).await }).await });
        let sink = Sink { sender: Mutex::new(Some(sender)), rows };
        Ok(Apart { name: target.name, sink: Arc::new(sink), writing: AbortOnDropHandle::new(writing) })
    }

    /// The table that rows of another one are put apart in: made or widened to have all of its columns.
    ///
    /// # Errors
    /// 42701 for a column of the other table that the quarantine has for itself; what [`check`] refuses.
    pub(super) async fn quarantine(
        &mut self,
        (schema, relation): (&str, &str),
        columns: &[ColumnSpec],
        owner: Option<u32>,
    ) -> Result<Target> {
        columns.iter().try_for_each(|column| check_quarantine_name(&column.name))?;
        let name = quarantine_name(relation);
        let named = QualifiedName { database: None, schema: Some(schema.to_owned()), name: name.clone(), position: 0 };
        if self.snapshot.relation(schema, &name).is_none() {
            self.make_quarantine(&named, (schema, relation), columns, owner).await?;
        }
        check(self, schema, relation, None)?;
        let target = self.target(&named, "insert into").await?;
        let wanted = quarantine_columns(columns);
        let there = |name: &str| target.table.columns().iter().find(|column| column.name == name);
        let fits = |column: &ColumnSpec| there(&column.name).is_none_or(|there| there.ty == column.ty);
        let as_text = (AS_TEXT, PgType::JSON);
        let missing: Vec<ColumnSpec> = wanted
            .into_iter()
            .chain((!columns.iter().all(fits)).then_some(as_text))
            .filter(|(name, _)| there(name).is_none())
            .map(|(name, ty)| ColumnSpec::new(name, ty))
            .collect();
        if missing.is_empty() || !self.staged {
            return Ok(target);
        }
        let all: Vec<ColumnSpec> = target.table.columns().iter().chain(&missing).cloned().collect();
        create_table::check_columns(&all)?;
        let key = (target.schema.clone(), target.name.clone());
        let target = evolve::evolve(target, &missing).await?;
        evolve::record(self, key, missing).await?;
        if let Some(pins) = self.session.transaction.pins_mut() {
            pins.replace(target.table.location(), Arc::clone(&target.table));
        }
        Ok(target)
    }

    async fn make_quarantine(
        &mut self,
        named: &QualifiedName,
        (schema, relation): (&str, &str),
        columns: &[ColumnSpec],
        owner: Option<u32>,
    ) -> Result<()> {
        if self.staged && self.is_known_to_all((schema, relation)).await? {
            return self.make_at_once(named, schema, columns, owner).await;
        }
        self.make(named, schema, columns, owner).await?;
        if !self.staged {
            self.snapshot = self.ground.catalog.fresh(Duration::ZERO).await?;
        }
        Ok(())
    }

    async fn make(
        &mut self,
        named: &QualifiedName,
        schema: &str,
        columns: &[ColumnSpec],
        owner: Option<u32>,
    ) -> Result<()> {
        let columns = quarantine_columns(columns).into_iter().map(|(name, ty)| definition(name, ty)).collect();
        let statement = CreateTable { columns, ..sql::empty_table(named.clone()) };
        Box::pin(create_table::run(self, &statement)).await?;
        let Some(owner) = owner.filter(|owner| *owner != self.role_oid()) else { return Ok(()) };
        let (schema, name) = (schema.to_owned(), named.name.clone());
        self.define(move |document| {
            if let Some(relation) = relation_mut(document, &schema, &name) {
                relation.owner = owner;
            }
            Ok(())
        })
        .await
    }

    /// Whether the other table is there for everybody, and the transaction has defined nothing.
    async fn is_known_to_all(&self, (schema, relation): (&str, &str)) -> Result<bool> {
        if self.session.transaction.pins().is_none_or(|pins| !pins.definitions.is_empty()) {
            return Ok(false);
        }
        let newest = self.ground.catalog.fresh(Duration::ZERO).await?;
        let oid = |document: &Document| document.relation(schema, relation).map(|relation| relation.oid);
        Ok(oid(&newest).is_some() && oid(&newest) == oid(&self.snapshot))
    }

    /// Makes it for everybody, whatever becomes of the transaction: others that need it at the same time make it too, and the
    /// first one's is everybody's.
    async fn make_at_once(
        &mut self,
        named: &QualifiedName,
        schema: &str,
        columns: &[ColumnSpec],
        owner: Option<u32>,
    ) -> Result<()> {
        let newest = self.ground.catalog.fresh(Duration::ZERO).await?;
        let seen = std::mem::replace(&mut self.snapshot, newest);
        self.staged = false;
        let made = Box::pin(self.make(named, schema, columns, owner)).await;
        self.staged = true;
        self.snapshot = seen;
        // The transaction's own commit can still be ended.
        self.decision.reopen();
        match made {
            Err(error) if error.sqlstate() != SqlState::DuplicateTable => return Err(error),
            Err(_) | Ok(()) => {}
        }
        let newest = self.ground.catalog.fresh(Duration::ZERO).await?;
        let Some(there) = newest.relation(schema, &named.name) else {
            let message = "could not serialize access due to concurrent update";
            return Err(Error::new(SqlState::SerializationFailure, message)
                .with_detail(format!("Relation \"{}\" was dropped by another transaction.", named.name))
                .with_hint("Try the statement again."));
        };
        let mut document = Document::clone(&self.snapshot);
        if let Some(schema) = document.schemas.get_mut(schema) {
            schema.relations.insert(named.name.clone(), there.clone());
        }
        self.snapshot = Arc::new(document);
        if let Some(pins) = self.session.transaction.pins_mut() {
            pins.catalog = Some(Arc::clone(&self.snapshot));
        }
        Ok(())
    }
}

/// Refuses what is called as the quarantine of the table and cannot be one for the table's owner.
pub(super) fn check(road: &Road<'_>, schema: &str, table: &str, owner: Option<u32>) -> Result<()> {
    let name = quarantine_name(table);
    let Some(relation) = road.snapshot.relation(schema, &name) else { return Ok(()) };
    let detail = format!("Rows of table \"{table}\" that are put apart need a table of that name.");
    if relation.kind.noun() != "table" {
        let message = format!("\"{name}\" is not a table");
        return Err(Error::new(SqlState::WrongObjectType, message).with_detail(detail));
    }
    let is_superuser = |oid: u32| road.snapshot.roles.values().any(|role| role.oid == oid && role.superuser);
    if owner.is_some_and(|owner| owner != relation.owner && !is_superuser(owner)) {
        let message = format!("must be owner of table {name}");
        return Err(Error::new(SqlState::InsufficientPrivilege, message).with_detail(detail));
    }
    let asks = |rule: &Expectation| rule.enabled && rule.rule.is_of_rows();
    if let Some(rule) = rules_of(relation).iter().find(|rule| asks(rule)) {
        return Err(asked(&name).with_detail(format!("It has expectation \"{}\".", rule.name)));
    }
    for (name, ty) in added_columns().into_iter().chain([(AS_TEXT, PgType::JSON)]) {
        let column = relation.columns.iter().find(|column| column.name == name);
        if column.is_some_and(|column| column.type_oid != ty.oid) {
            let message = format!("column \"{name}\" of a quarantine table must be type {}", format_type(ty));
            return Err(Error::new(SqlState::DatatypeMismatch, message).with_detail(detail));
        }
    }
    Ok(())
}

/// Refuses rules about the rows of a table that is the quarantine of another one.
pub(super) fn check_no_quarantine(road: &Road<'_>, schema: &str, table: &str) -> Result<()> {
    let of = road.snapshot.schemas.get(schema).into_iter().flat_map(|schema| &schema.relations);
    let mut of =
        of.filter(|(name, relation)| quarantine_name(name) == table && super::watched::has_quarantine(relation));
    if of.next().is_some() { Err(asked(table)) } else { Ok(()) }
}

fn asked(name: &str) -> Error {
    Error::unsupported(format!("an expectation about rows of quarantine table \"{name}\""))
        .with_hint("CHECK and NOT NULL constraints are kept there, and expectations about all rows.")
}

/// The quarantine goes along with its table to another owner.
pub(super) fn give(document: &mut Document, oid: u32, from: u32, to: u32) {
    let Some((schema, name, relation)) = document.relation_by_oid(oid) else { return };
    if !rules_of(relation).iter().any(|rule| rule.action == ViolationAction::QuarantineRow) {
        return;
    }
    let (schema, name) = (schema.to_owned(), quarantine_name(name));
    let quarantine = relation_mut(document, &schema, &name);
    if let Some(quarantine) = quarantine.filter(|one| one.owner == from && matches!(one.kind, RelationKind::Table(_))) {
        quarantine.owner = to;
    }
}

fn relation_mut<'d>(document: &'d mut Document, schema: &str, name: &str) -> Option<&'d mut Relation> {
    document.schemas.get_mut(schema)?.relations.get_mut(name)
}

/// What a quarantine has besides its table's columns.
fn added_columns() -> [(&'static str, PgType); 4] {
    [
        ("_rules", PgType::of(TEXT_ARRAY)),
        ("_run_id", PgType::TEXT),
        ("_at", PgType::TIMESTAMPTZ),
        ("_source", PgType::TEXT),
    ]
}

/// A table's columns as its quarantine has them.
fn quarantine_columns(columns: &[ColumnSpec]) -> Vec<(&str, PgType)> {
    columns.iter().map(|column| (column.name.as_str(), column.ty)).chain(added_columns()).collect()
}

fn definition(name: &str, ty: PgType) -> sql::ColumnDefinition {
    sql::ColumnDefinition {
        name: Name { value: name.to_owned(), position: 0 },
        ty: Some(ty),
        not_null: false,
        comment: None,
        default: None,
        generated: None,
    }
}
