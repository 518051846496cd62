//! The async pre-pass: every relation that a statement names is found in the catalog and pinned at one version.
//!
//! ```text
//! names ─┬ system table  → rows made at scan from the statement's context
//!        ├ table         → lake: loaded at a fresh enough version, kept in `Pins` for the transaction
//!        ├ view          → its text parsed, its own names resolved under its own search path
//!        └ file          → listed, its columns inferred
//! ```
//! A name that nothing has is no error here: a common table expression may carry it. The binder reports it.

use std::sync::Arc;
use std::time::Duration;

use super::Parameters;
use super::file_call::FileCall;
use super::kept::{KeptView, kept_view, view_over};
use super::recorded::Recorded;
use super::relations::{
    self, Filled, Relation, RelationColumn, RelationName, RelationNameKind, Relations, ResolvedTable, ResolvedView,
};
use crate::builtins::{self, Context};
use crate::catalog::{self, Catalog, ModelRead, RelationKind, Snapshot, ViewRead};
use crate::encode::input::InputContext;
use crate::error::{Error, Result, SqlState};
use crate::lake::files::{self, FileSet, FileTable};
use crate::lake::kept::{self, Kept};
use crate::lake::{self, Freshness, Lake};
use crate::session::Pins;
use crate::sql;
use datafusion::catalog::TableProvider;
use datafusion::datasource::empty::EmptyTable;
use futures::future::BoxFuture;
use sqlparser::ast;

/// Versions tried of a table until it fits the others.
const CONSISTENT_ATTEMPTS_MAX: usize = 8;
/// Views may use views this deep.
const VIEW_DEPTH_MAX: usize = 64;

/// Resolves names against one catalog snapshot.
pub struct Resolver<'a> {
    pub snapshot: &'a Snapshot,
    pub catalog: &'a Catalog,
    pub lake: &'a Arc<Lake>,
    pub context: &'a Arc<Context>,
    pub pins: &'a mut Pins,
    pub freshness: Freshness,
    /// How text in files is read.
    pub input: InputContext,
    /// The place that a path or URL means, if this role may read there.
    pub open_place: &'a (dyn Fn(&str) -> Result<lake::Resolved> + Send + Sync),
    /// Folders of the server's disk that files must lie in.
    pub roots: &'a [std::path::PathBuf],
    /// Whether the role may read everything; otherwise only what it owns.
    pub superuser: bool,
    pub role_oid: u32,
    pub parameters: &'a mut Parameters,
    /// What the tree's positions count in.
    pub source: Arc<str>,
    /// A relation's column that is to be looked away from, to learn what needs it.
    pub hidden: Option<(u32, String)>,
    /// Tables whose definition the catalog does not have yet, with their OIDs.
    pub news: Vec<(u32, Arc<lake::Table>)>,
}

impl Resolver<'_> {
    /// Resolves what the names stand for.
    pub async fn resolve(&mut self, names: &[RelationName]) -> Result<Relations> {
        let path = self.context.search_path.clone();
        self.resolve_names(names, &path, (&[], &[]), 0).await
    }

    /// What a view's query reads, with its owner's rights.
    pub async fn resolve_view(&mut self, query: &ast::Query, view: &catalog::View, owner: u32) -> Result<Relations> {
        let names = relations::names(query, &view.query);
        let rights = self.take_rights_of(owner);
        let relations = self.resolve_names(&names, &view.search_path, (&view.reads, &view.models), 1).await;
        (self.superuser, self.role_oid) = rights;
        relations
    }

    /// Takes a role's rights; the ones that it had before.
    pub(super) fn take_rights_of(&mut self, role: u32) -> (bool, u32) {
        let before = (self.superuser, self.role_oid);
        self.superuser = self.snapshot.roles.values().any(|other| other.oid == role && other.superuser);
        self.role_oid = role;
        before
    }

    /// Boxed, because views resolve names too.
    fn resolve_names<'s>(
        &'s mut self,
        names: &'s [RelationName],
        path: &'s [String],
        reads: (&'s [ViewRead], &'s [ModelRead]),
        depth: usize,
    ) -> BoxFuture<'s, Result<Relations>> {
        Box::pin(self.resolve_each(names, path, reads, depth))
    }

    async fn resolve_each(
        &mut self,
        names: &[RelationName],
        path: &[String],
        (reads, models): (&[ViewRead], &[ModelRead]),
        depth: usize,
    ) -> Result<Relations> {
        if depth > VIEW_DEPTH_MAX {
            return Err(Error::new(SqlState::StatementTooComplex, "views are nested too deeply"));
        }
        let mut relations = Relations::default();
        for name in names {
            let call = match &name.kind {
                RelationNameKind::Named { schema, name, .. } => {
                    let read = reads.iter().find(|read| read.schema == *schema && read.name == *name);
                    if let Some(relation) = self.resolve_read(read, depth).await? {
                        relations.by_name.insert((schema.clone(), name.clone()), relation);
                        continue;
                    }
                    self.resolve_into(&mut relations, schema.as_ref(), name, path, depth).await?;
                    continue;
                }
                RelationNameKind::Version { schema, name: table, version, key } => {
                    let asked = self.version((schema.as_deref(), table.as_str()), (path, reads), version).await;
                    if let Some((relation, read)) = asked.map_err(|error| at(error, name.position))? {
                        relations.by_version.insert(key.clone(), relation);
                        relations.version_reads.push(read);
                    }
                    continue;
                }
                RelationNameKind::VersionFunction { name: function, arguments, key } => {
                    let called = self.version_function(function, arguments, (path, reads)).await;
                    let (relation, read) = called.map_err(|error| at(error, name.position))?;
                    relations.by_version.insert(key.clone(), relation);
                    relations.version_reads.push(read);
                    continue;
                }
                RelationNameKind::ProfileFunction { name: function, arguments, key } => {
                    let called = Box::pin(self.profile_function(function, arguments, (path, reads), depth)).await;
                    let (relation, read, profiled) = called.map_err(|error| at(error, name.position))?;
                    relations.by_version.insert(key.clone(), relation);
                    relations.profiled.insert(key.clone(), profiled);
                    relations.version_reads.push(read);
                    continue;
                }
                RelationNameKind::Model(text) => {
                    let used = self.used_model(text, path, models).await;
                    if let Some(used) = used.map_err(|error| at(error, name.position))? {
                        relations.models.insert(text.clone(), used);
                    }
                    continue;
                }
                RelationNameKind::Path(path) => FileCall::of_path(path),
                RelationNameKind::FileFunction { name: function, arguments } if function == "read_delta" => {
                    let table = self.open_delta(arguments).await.map_err(|error| error.at(name.position))?;
                    relations.by_position.insert(name.position, table);
                    continue;
                }
                RelationNameKind::FileFunction { name, arguments } => FileCall::of_function(name, arguments),
            };
            let file = self.open_file(&call.map_err(|error| error.at(name.position))?).await;
            let file = file.map_err(|error| error.at(name.position))?;
            relations.by_position.insert(name.position, file);
        }
        Ok(relations)
    }

    /// What a view's query meant by a name.
    pub(super) async fn resolve_read(&mut self, read: Option<&ViewRead>, depth: usize) -> Result<Option<Relation>> {
        let Some(read) = read else { return Ok(None) };
        let snapshot = Arc::clone(self.snapshot);
        let Some((schema, name, relation)) = snapshot.relation_by_oid(read.oid) else { return Ok(None) };
        self.authorise(name, relation)?;
        self.open(schema, name, relation, depth).await?.as_read(read).map(Some)
    }

    async fn resolve_into(
        &mut self,
        relations: &mut Relations,
        schema: Option<&String>,
        name: &str,
        path: &[String],
        depth: usize,
    ) -> Result<()> {
        let key = (schema.cloned(), name.to_owned());
        if relations.by_name.contains_key(&key) {
            return Ok(());
        }
        match self.resolve_name(schema, name, path, depth).await? {
            Some(relation) => {
                relations.by_name.insert(key, relation);
            }
            None => {
                if let Some(schema) = schema.filter(|schema| !schema_exists(self.snapshot, schema)) {
                    relations.missing_schemas.push(schema.clone());
                }
            }
        }
        Ok(())
    }

    pub(super) async fn resolve_name(
        &mut self,
        schema: Option<&String>,
        name: &str,
        path: &[String],
        depth: usize,
    ) -> Result<Option<Relation>> {
        let context = Arc::clone(self.context);
        let schemas: Vec<&String> = match (schema, &context.temporary) {
            (Some(schema), Some(temporary)) if schema == "pg_temp" => vec![temporary],
            (Some(schema), _) => vec![schema],
            (None, _) => path.iter().collect(),
        };
        for schema in schemas {
            if let Some(table) = builtins::tables::lookup(schema, name, self.context) {
                return Ok(Some(Relation::Table(system_table(schema, name, table))));
            }
            if let Some(kept) = Kept::find(schema, name) {
                return self.kept(kept).await.map(Some);
            }
            if let Some((kept, query)) = kept_view(schema, name) {
                return self.kept_view(kept, name, query).await.map(Some);
            }
            let snapshot = Arc::clone(self.snapshot);
            if let Some(relation) = snapshot.relation(schema, name) {
                self.authorise(name, relation)?;
                return self.open(schema, name, relation, depth).await.map(Some);
            }
        }
        Ok(None)
    }

    /// A log of the server's own; who is no superuser sees the rows that are told to him.
    async fn kept(&mut self, kept: Kept) -> Result<Relation> {
        let columns = kept.columns();
        let provider: Arc<dyn TableProvider> = match self.lake.kept(kept).await? {
            // Not pinned: what is told apart from transactions is seen at once.
            Some(table) => table.provider()?,
            None => Arc::new(EmptyTable::new(
                lake::TableSpec { columns: columns.clone(), ..lake::TableSpec::default() }.engine_schema(),
            )),
        };
        let columns: Vec<RelationColumn> = columns.iter().map(column_of).collect();
        let (schema, name) = (kept::SCHEMA.to_owned(), kept.name().to_owned());
        let table =
            ResolvedTable { schema: schema.clone(), name: name.clone(), oid: 0, columns: columns.clone(), provider };
        if self.superuser {
            return Ok(Relation::Table(table));
        }
        let query = format!("SELECT * FROM {name} WHERE {}", kept.own_rows());
        view_over(&name, Relation::Table(table), columns, &name, &query)
    }

    /// What is told of a log in other words.
    async fn kept_view(&mut self, kept: Kept, name: &str, (query, columns): KeptView) -> Result<Relation> {
        let under = self.kept(kept).await?;
        let columns = columns.iter().map(|(name, ty)| RelationColumn::new(*name, *ty)).collect();
        view_over(kept.name(), under, columns, name, query)
    }

    /// Files as a relation.
    async fn open_file(&self, call: &FileCall) -> Result<Relation> {
        let resolved = (self.open_place)(&call.location)?;
        let set = FileSet::find(resolved.store, resolved.url, resolved.path.as_ref()).await?;
        set.check_within(self.roots).await?;
        let table = files::table(set, call.format, &call.options, call.columns.clone(), self.input).await?;
        Ok(Relation::Table(file_table(&call.location, table)))
    }

    /// The Delta table at a place, whether the catalog knows it or not.
    async fn open_delta(&mut self, arguments: &[ast::FunctionArg]) -> Result<Relation> {
        let location = FileCall::delta_location(arguments)?;
        let place = (self.open_place)(&location)?;
        let table = self.pin(place.location.as_str()).await?;
        let columns = table.columns().iter().map(column_of).collect();
        let provider = table.provider()?;
        Ok(Relation::Table(ResolvedTable { schema: String::new(), name: location, oid: 0, columns, provider }))
    }

    /// Without GRANT only the owner and superusers may read.
    pub(super) fn authorise(&self, name: &str, relation: &catalog::Relation) -> Result<()> {
        if self.superuser || relation.owner == self.role_oid {
            return Ok(());
        }
        let noun = relation.kind.noun();
        Err(Error::new(SqlState::InsufficientPrivilege, format!("permission denied for {noun} {name}")))
    }

    pub(super) async fn open(
        &mut self,
        schema: &str,
        name: &str,
        relation: &catalog::Relation,
        depth: usize,
    ) -> Result<Relation> {
        match &relation.kind {
            RelationKind::Table(table) => {
                if table.materialized.as_ref().is_some_and(|materialized| !materialized.populated) {
                    let message = format!("materialized view \"{name}\" has not been populated");
                    return Err(Error::new(SqlState::ObjectNotInPrerequisiteState, message)
                        .with_hint("Use the REFRESH MATERIALIZED VIEW command."));
                }
                let pinned = self.pin(&table.location).await?;
                if Recorded::is_news(&pinned, relation) {
                    self.news.push((relation.oid, Arc::clone(&pinned)));
                }
                let found = Relation::Table(ResolvedTable {
                    schema: schema.to_owned(),
                    name: name.to_owned(),
                    oid: relation.oid,
                    columns: pinned.columns().iter().map(column_of).collect(),
                    provider: pinned.provider()?,
                });
                match &self.hidden {
                    Some((oid, column)) if *oid == relation.oid => found.without(name, column),
                    Some(_) | None => Ok(found),
                }
            }
            RelationKind::View(view) => {
                let query = sql::parse_query(&view.query)?;
                let names = relations::names(&query, &view.query);
                // A view reads with its owner's rights, as in PostgreSQL.
                let rights = self.take_rights_of(relation.owner);
                // Its text is not the client's: nothing in it has a position.
                let source = std::mem::replace(&mut self.source, "".into());
                let inner = self.resolve_names(&names, &view.search_path, (&view.reads, &view.models), depth + 1).await;
                (self.superuser, self.role_oid) = rights;
                self.source = source;
                Ok(Relation::View(ResolvedView {
                    schema: schema.to_owned(),
                    name: name.to_owned(),
                    oid: relation.oid,
                    columns: relation
                        .columns
                        .iter()
                        .map(|column| RelationColumn::new(&column.name, column.ty()))
                        .collect(),
                    query: Arc::new(query),
                    text: if view.files.is_some() { view.query.as_str().into() } else { "".into() },
                    relations: Arc::new(inner?),
                }))
            }
        }
    }

    /// The table at the version this transaction saw first.
    pub async fn pin(&mut self, location: &str) -> Result<Arc<lake::Table>> {
        let place = self.lake.place(location)?;
        if let Some(pinned) = self.pins.table::<lake::Table>(&place) {
            return Ok(pinned);
        }
        let table = self.lake.table(location, self.freshness).await?;
        let table = Box::pin(self.consistent(location, &place, table)).await?;
        self.pins.pin(&place, Arc::clone(&table));
        Ok(table)
    }

    /// The version of the table that fits those that are pinned: of a transaction over several tables all changes are seen, or
    /// none.
    async fn consistent(&self, location: &str, place: &str, mut table: Arc<lake::Table>) -> Result<Arc<lake::Table>> {
        let pinned: Vec<Arc<lake::Table>> =
            self.pins.tables.keys().filter_map(|place| self.pins.table::<lake::Table>(place)).collect();
        let concerned = |table: &Arc<lake::Table>| table.was_changed_with_others();
        if pinned.is_empty() || !(concerned(&table) || pinned.iter().any(concerned)) {
            return Ok(table);
        }
        let now = self.catalog.fresh(Duration::ZERO).await?;
        if now.forgotten_through > self.snapshot.version {
            return Err(too_old());
        }
        for _ in 0..CONSISTENT_ATTEMPTS_MAX {
            let Some(fit) = misfit(&now, self.lake, place, &table, &pinned)? else { return Ok(table) };
            table = match fit {
                Fit::Newer => self.lake.table(location, Freshness::Latest).await?,
                Fit::At(version) => self.lake.table_at(location, version).await?,
            };
        }
        Err(too_old())
    }
}

/// Which version of a table would fit better.
enum Fit {
    Newer,
    At(u64),
}

/// What must change so that no transaction over several tables is seen in a part of them only.
fn misfit(
    now: &Snapshot,
    lake: &Lake,
    place: &str,
    table: &lake::Table,
    pinned: &[Arc<lake::Table>],
) -> Result<Option<Fit>> {
    // A transaction's tables may be read by another spelling of their places.
    let place = lake.identity(place)?;
    let pinned = pinned.iter().map(|other| Ok((lake.identity(other.location())?, other)));
    let pinned = pinned.collect::<Result<Vec<_>>>()?;
    for transaction in &now.transactions {
        let mut tables = Vec::with_capacity(transaction.tables.len());
        for (location, reserved) in &transaction.tables {
            tables.push((lake.identity(location)?, *reserved));
        }
        let sees =
            |table: &lake::Table, reserved: u64| table.seen_version() > reserved && !table.awaits(&transaction.id);
        let Some((_, reserved)) = tables.iter().find(|(other, _)| *other == place) else { continue };
        for (place, other) in &pinned {
            let Some((_, of_other)) = tables.iter().find(|(other, _)| other == place) else { continue };
            match (sees(other, *of_other), sees(table, *reserved)) {
                (true, false) => return Ok(Some(Fit::Newer)),
                (false, true) => return Ok(Some(Fit::At(reserved.saturating_sub(1)))),
                (true, true) | (false, false) => {}
            }
        }
    }
    Ok(None)
}

fn too_old() -> Error {
    Error::new(SqlState::SerializationFailure, "could not serialize access due to concurrent update")
        .with_detail("The transaction began too long ago to read further tables as they were then.")
        .with_hint("Try the transaction again.")
}

/// The error at the place of the name, unless it has a place of its own.
fn at(error: Error, position: u32) -> Error {
    match error.position() {
        None if position > 0 => error.at(position),
        _ => error,
    }
}

/// A table of a system schema that is kept in the warehouse.
pub fn system_relation(schema: &str, name: &str) -> Option<catalog::Relation> {
    Kept::find(schema, name).map(|kept| catalog::Relation {
        oid: 0,
        owner: catalog::BOOTSTRAP_ROLE_OID,
        comment: None,
        columns: Vec::new(),
        kind: RelationKind::Table(catalog::Table {
            location: kept.place(),
            managed: true,
            partition_columns: vec!["day".to_owned()],
            checks: Vec::new(),
            expectations: Vec::new(),
            materialized: None,
            on_commit: None,
            version: 0,
        }),
    })
}

/// Whether the schema is a user's or a system schema.
pub fn schema_exists(snapshot: &Snapshot, schema: &str) -> bool {
    matches!(schema, "pg_catalog" | "information_schema" | "lakegate") || snapshot.schemas.contains_key(schema)
}

/// A table's column as the binder sees it.
pub fn column_of(column: &lake::ColumnSpec) -> RelationColumn {
    let filled = match (&column.generated, &column.default) {
        (Some(text), _) => Filled::Generated(text.as_str().into()),
        (None, Some(text)) => Filled::Default(text.as_str().into()),
        (None, None) => Filled::Null,
    };
    RelationColumn { not_null: column.not_null, filled, ..RelationColumn::new(&column.name, column.ty) }
}

fn system_table(schema: &str, name: &str, table: builtins::tables::SystemTable) -> ResolvedTable {
    ResolvedTable {
        schema: schema.to_owned(),
        name: name.to_owned(),
        oid: table.oid,
        columns: table.columns.iter().map(|(name, ty)| RelationColumn::new(*name, *ty)).collect(),
        provider: table.provider,
    }
}

fn file_table(location: &str, table: FileTable) -> ResolvedTable {
    ResolvedTable {
        schema: String::new(),
        name: location.to_owned(),
        oid: 0,
        columns: table.columns.into_iter().map(|(name, ty)| RelationColumn::new(name, ty)).collect(),
        provider: table.provider,
    }
}
