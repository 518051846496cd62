//! What one statement may use, and the steps that statements share: resolve, bind, run.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use chrono::{DateTime, Utc};
use datafusion::execution::TaskContext;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use sqlparser::ast;
use tokio_util::sync::CancellationToken;

use super::copy_rows::Fill;
use super::ground::Ground;
use super::output::BatchStream;
use super::row_text::SessionText;
use crate::builtins::Context;
use crate::builtins::ContextNames;
use crate::catalog::{
    self, Definition, Document, ReadColumn, Relation as CatalogRelation, RelationKind, Snapshot, View, ViewRead,
};
use crate::encode::TextStyle;
use crate::encode::input::InputContext;
use crate::encode::types::{OutputColumn, PgType};
use crate::engine::Tuning;
use crate::error::{Error, Result, SqlState};
use crate::lake::{
    self, ColumnSpec, Freshness, Input, MadeTable, Operation, TableCheck, TableSpec, WriteMode, WriteRequest, Written,
};
use crate::plan::bind::BoundQuery;
use crate::plan::recorded::Recorded;
use crate::plan::relations::{Filled, Relation, RelationColumn, RelationName, Relations, ResolvedTable};
use crate::plan::resolve::{Resolver, schema_exists};
use crate::plan::{self, BoundChange, Changing, Parameters, Purpose};
use crate::quality::gate::{Gate, GateColumn, Rule};
use crate::session::{Pins, Session};
use crate::sql::{CheckConstraint, Name, QualifiedName, Set};

/// OIDs that one statement's definition takes for itself in a transaction, unless it needs more.
const DEFINITION_OIDS: u32 = 16;

/// What one statement may use.
pub(crate) struct Road<'a> {
    pub(crate) ground: &'a Arc<Ground>,
    pub(crate) session: &'a mut Session,
    pub(crate) snapshot: Snapshot,
    pub(crate) context: Arc<Context>,
    /// The client's text: positions in the tree are lines and columns of it.
    pub(crate) source: Arc<str>,
    pub(crate) parameters: Parameters,
    pub(crate) token: CancellationToken,
    /// Tables as this statement saw them first, outside a transaction.
    pins: Pins,
    /// Whether writes wait for the transaction's commit.
    pub(crate) staged: bool,
}

/// A table that a statement writes to.
pub(crate) struct Target {
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) table: Arc<lake::Table>,
}

/// Whose names are resolved.
enum Names<'n> {
    Of(&'n [plan::relations::RelationName]),
    OfView(&'n ast::Query, &'n catalog::View),
}

/// Schemas that no user may write to.
pub(super) fn is_system_schema(schema: &str) -> bool {
    matches!(schema, "pg_catalog" | "information_schema" | "lakegate" | "pg_toast")
}

impl<'a> Road<'a> {
    /// The road of one statement: the catalog is read as fresh as the session's settings ask, and pinned for the transaction.
    pub(crate) async fn new(
        ground: &'a Arc<Ground>,
        session: &'a mut Session,
        source: Arc<str>,
        parameters: Parameters,
        token: CancellationToken,
        server_start: DateTime<Utc>,
    ) -> Result<Self> {
        let snapshot = match session.transaction.pins_mut().and_then(|pins| pins.catalog.clone()) {
            Some(pinned) => pinned,
            None => {
                let staleness = session.settings().catalog_staleness();
                ground.catalog.fresh(staleness).await?
            }
        };
        if let Some(pins) = session.transaction.pins_mut() {
            pins.catalog.get_or_insert_with(|| Arc::clone(&snapshot));
        }
        let context = Arc::new(statement_context(session, &snapshot, server_start));
        Ok(Self { ground, session, snapshot, context, source, parameters, token, pins: Pins::default(), staged: false })
    }

    /// Changes the catalog, in a transaction its own view of it. The closure may run several times, each time on a newer
    /// document; in a transaction also at COMMIT.
    ///
    /// # Errors
    /// The closure's, unchanged; 40001 when every attempt was overtaken; the store's.
    pub(crate) async fn define<T: Send>(
        &mut self,
        change: impl Fn(&mut Document) -> Result<T> + Send + Sync + 'static,
    ) -> Result<T> {
        if !self.staged {
            return self.ground.catalog.update(change).await;
        }
        let mut count = DEFINITION_OIDS;
        loop {
            let first = self.ground.catalog.take_oids(count).await?;
            let mut document = Document::clone(&self.snapshot);
            let (answer, used) = document.with_oids(first, |document| {
                let answer = change(document)?;
                Ok((answer, document.next_oid - first))
            })?;
            if used > count {
                count = used;
                continue;
            }
            self.snapshot = Arc::new(document);
            let Some(pins) = self.session.transaction.pins_mut() else {
                return Err(Error::internal("a staged definition has no transaction"));
            };
            pins.catalog = Some(Arc::clone(&self.snapshot));
            pins.definitions.push(Definition::new(first, move |document| change(document).map(drop)));
            return Ok(answer);
        }
    }

    /// Guards a table that this statement has made, until the catalog names it.
    pub(crate) fn guard_made(&mut self, location: &str) -> Arc<MadeTable> {
        let made = Arc::new(MadeTable::new(&self.ground.lake, location));
        if let Some(pins) = self.session.transaction.pins_mut().filter(|_| self.staged) {
            pins.made.push(Arc::clone(&made));
        }
        made
    }

    /// The files of a table that the catalog does not name any more go after their time, in a transaction after its COMMIT.
    pub(crate) async fn leave(&mut self, location: String) -> Result<()> {
        if let Some(pins) = self.session.transaction.pins_mut().filter(|_| self.staged) {
            pins.left.push(location);
            return Ok(());
        }
        self.ground.lake.note_drop(&location).await?;
        self.ground.lake.dropped(&location)
    }

    pub(crate) fn notice(&self, notice: Error) {
        self.session.notice(notice);
    }

    /// The current role's OID.
    pub(crate) fn role_oid(&self) -> u32 {
        self.snapshot.roles.get(&self.context.user).map_or(0, |role| role.oid)
    }

    pub(crate) fn owns_database(&self) -> bool {
        self.snapshot.database.owner == self.role_oid()
    }

    pub(crate) fn scram_iterations(&self) -> u32 {
        self.session.settings().scram_iterations()
    }

    /// Refuses a file of the server's disk that this role may not touch.
    pub(crate) fn check_file(&self, location: &str, writes: bool) -> Result<()> {
        self.ground.files.check(location, self.session.superuser, writes)
    }

    fn freshness(&self) -> Freshness {
        match self.session.settings().table_staleness() {
            Duration::ZERO => Freshness::Latest,
            staleness => Freshness::Within(staleness),
        }
    }

    pub(super) fn tuning(&self) -> Tuning {
        tuning(self.ground, self.session)
    }

    /// Finds and pins every relation of the names.
    async fn resolve(&mut self, names: &[plan::relations::RelationName]) -> Result<Relations> {
        self.resolve_without(Names::Of(names), None).await
    }

    /// What the query of a materialized view reads.
    pub(crate) async fn resolve_materialized(&mut self, query: &ast::Query, view: &catalog::View) -> Result<Relations> {
        self.resolve_without(Names::OfView(query, view), None).await
    }

    /// Binds the query that a materialized view is made of.
    pub(crate) fn bind_materialized(
        &self,
        query: &ast::Query,
        view: &catalog::View,
        relations: &Relations,
    ) -> Result<BoundQuery> {
        let bound = plan::bind_query(query, &self.context, relations, &view.query, &mut Parameters::none());
        bound.map_err(Error::without_position)
    }

    /// The table that this statement reads for a relation; `None` for a relation that is no table of the catalog.
    pub(crate) fn pinned(&self, oid: u32) -> Result<Option<Arc<lake::Table>>> {
        let Some((_, _, CatalogRelation { kind: RelationKind::Table(table), .. })) = self.snapshot.relation_by_oid(oid)
        else {
            return Ok(None);
        };
        let place = self.ground.lake.place(&table.location)?;
        let pins = self.session.transaction.pins().unwrap_or(&self.pins);
        Ok(pins.table::<lake::Table>(&place))
    }

    async fn resolve_without(&mut self, of: Names<'_>, hidden: Option<(u32, String)>) -> Result<Relations> {
        let superuser = self.session.superuser;
        let role_oid = self.role_oid();
        let freshness = self.freshness();
        let input = self.input_context();
        let files = self.ground.files.clone();
        let check = move |location: &str| files.check(location, superuser, false);
        let pins = self.session.transaction.pins_mut().unwrap_or(&mut self.pins);
        let mut resolver = Resolver {
            snapshot: &self.snapshot,
            catalog: &self.ground.catalog,
            lake: &self.ground.lake,
            context: &self.context,
            pins,
            freshness,
            input,
            file_check: &check,
            superuser,
            role_oid,
            parameters: &mut self.parameters,
            source: Arc::clone(&self.source),
            hidden,
            news: Vec::new(),
        };
        let relations = match of {
            Names::Of(names) => Box::pin(resolver.resolve(names)).await?,
            Names::OfView(query, view) => Box::pin(resolver.resolve_view(query, view)).await?,
        };
        for (oid, table) in std::mem::take(&mut resolver.news) {
            Box::pin(self.record_news(oid, &table)).await;
        }
        Ok(relations)
    }

    /// Tells the catalog what a table's log says of its definition. The statement does not depend on it.
    async fn record_news(&self, oid: u32, table: &lake::Table) {
        let recorded = Recorded::of(table);
        let update = self.ground.catalog.update(|document| {
            recorded.apply(document, oid);
            Ok(())
        });
        if let Err(error) = update.await {
            tracing::warn!(table = table.location(), %error, "could not record a table's new definition");
        }
    }

    /// Views, by schema and name, whose queries need that column of the relation.
    pub(crate) async fn views_reading(&mut self, oid: u32, column: &str) -> Result<Vec<(String, String)>> {
        let mut found = Vec::new();
        for (schema, name) in super::dependents::dependents_of(&self.snapshot, oid) {
            let snapshot = Arc::clone(&self.snapshot);
            let Some(relation) = snapshot.relation(&schema, &name) else { continue };
            let Some(view) = relation.kind.query() else { continue };
            let query = crate::sql::parse_query(&view.query)?;
            let hidden = Some((oid, column.to_owned()));
            let relations = self.resolve_without(Names::OfView(&query, view), hidden).await?;
            let bound = plan::bind_query(&query, &self.context, &relations, &view.query, &mut Parameters::none());
            if !bound.is_ok_and(|bound| bound.columns.len() >= relation.columns.len()) {
                found.push((schema, name));
            }
        }
        Ok(found)
    }

    /// Binds a query with this statement's parameters.
    pub(crate) async fn bind_query(&mut self, query: &ast::Query) -> Result<BoundQuery> {
        let names = plan::relations::names(query, &self.source);
        let relations = self.resolve(&names).await?;
        plan::bind_query(query, &self.context, &relations, &self.source, &mut self.parameters)
    }

    /// Binds a view's query: also answers what it reads. Parameters and files are refused.
    pub(crate) async fn bind_view(&mut self, query: &ast::Query) -> Result<(BoundQuery, Vec<ViewRead>)> {
        let names = plan::relations::names(query, &self.source);
        if let Some(file) = names.iter().find(|name| name.is_file()) {
            return Err(Error::unsupported("a view over files").at(file.position));
        }
        let relations = self.resolve(&names).await?;
        let bound = plan::bind_query(query, &self.context, &relations, &self.source, &mut self.parameters)?;
        let users =
            relations.by_name.iter().filter(|(_, relation)| self.snapshot.relation_by_oid(relation.oid()).is_some());
        let reads = users.map(|((schema, name), relation)| ViewRead {
            schema: schema.clone(),
            name: name.clone(),
            oid: relation.oid(),
            columns: relation
                .columns()
                .iter()
                .map(|column| ReadColumn { name: column.name.clone(), now: column.name.clone() })
                .collect(),
        });
        let mut reads: Vec<ViewRead> = reads.collect();
        // A table that is read as it was is needed too.
        for oid in &relations.version_oids {
            if let Some((schema, name, relation)) = self.snapshot.relation_by_oid(*oid) {
                let columns = relation.columns.iter();
                let columns =
                    columns.map(|column| ReadColumn { name: column.name.clone(), now: column.name.clone() }).collect();
                let (schema, name) = (Some(schema.to_owned()), name.to_owned());
                reads.push(ViewRead { schema, name, oid: *oid, columns });
            }
        }
        reads.sort_by(|one, other| (&one.schema, &one.name).cmp(&(&other.schema, &other.name)));
        Ok((bound, reads))
    }

    /// Binds INSERT's rows to the target's columns.
    pub(crate) async fn bind_insert(&mut self, target: &Target, statement: &crate::sql::Insert) -> Result<BoundQuery> {
        let names =
            statement.source.as_deref().map(|query| plan::relations::names(query, &self.source)).unwrap_or_default();
        let relations = self.resolve(&names).await?;
        let columns = relation_columns(&target.table);
        let into = plan::InsertTarget { relation: &target.name, columns: &columns, named: &statement.columns };
        plan::bind_insert(
            &into,
            statement.source.as_deref(),
            &self.context,
            &relations,
            &self.source,
            &mut self.parameters,
        )
    }

    /// Finds a table to write to, at its newest version.
    pub(crate) async fn target(&mut self, name: &QualifiedName, action: &str) -> Result<Target> {
        let (schema, relation) = self.find(name)?;
        // Who writes the system's own tables could break them.
        if is_system_schema(&schema) && !matches!(action, "delete from" | "optimize" | "reorganize") {
            return Err(system_catalog(name));
        }
        let kind = match &relation.kind {
            RelationKind::Table(table) if table.materialized.is_some() && !matches!(action, "refresh" | "alter") => {
                let message = format!("cannot change materialized view \"{}\"", name.name);
                return Err(Error::new(SqlState::WrongObjectType, message));
            }
            RelationKind::Table(table) => table,
            RelationKind::View(view) => {
                let noun = if view.files.is_some() { "external table" } else { "view" };
                let message = format!("cannot {action} {noun} \"{}\"", name.name);
                // PostgreSQL's own statements tell no position.
                let ours = matches!(action, "optimize" | "reorganize" | "restore");
                return Err(Error::new(SqlState::WrongObjectType, message).at(place(name).filter(|_| ours)));
            }
        };
        if !self.session.superuser && relation.owner != self.role_oid() {
            let message = format!("permission denied for table {}", name.name);
            return Err(Error::new(SqlState::InsufficientPrivilege, message));
        }
        let (location, oid) = (kind.location.clone(), relation.oid);
        let table = match self.newest(&location).await {
            Ok(table) => {
                if Recorded::is_news(&table, &relation) {
                    Box::pin(self.record_news(oid, &table)).await;
                }
                table
            }
            Err(_) if self.is_gone(oid).await => return Err(missing(name)),
            Err(error) => return Err(error),
        };
        Ok(Target { schema, name: name.name.clone(), table })
    }

    /// Finds a table to tell of, as fresh as this session reads.
    pub(crate) async fn told(&mut self, name: &QualifiedName) -> Result<Target> {
        let (schema, relation) = self.find(name)?;
        let RelationKind::Table(kind) = &relation.kind else {
            let message = format!("\"{}\" is not a table", name.name);
            return Err(Error::new(SqlState::WrongObjectType, message).at(place(name)));
        };
        if !self.session.superuser && relation.owner != self.role_oid() {
            let message = format!("permission denied for table {}", name.name);
            return Err(Error::new(SqlState::InsufficientPrivilege, message));
        }
        let spot = self.ground.lake.place(&kind.location)?;
        let pinned = self.session.transaction.pins().and_then(|pins| pins.table::<lake::Table>(&spot));
        let table = match pinned {
            Some(table) => table,
            None => self.ground.lake.table(&kind.location, self.freshness()).await?,
        };
        Ok(Target { schema, name: name.name.clone(), table })
    }

    /// All tables that the role owns; a superuser's are all.
    pub(crate) fn own_tables(&self) -> Vec<QualifiedName> {
        let (superuser, role) = (self.session.superuser, self.role_oid());
        let mut names = Vec::new();
        for (schema, definition) in &self.snapshot.schemas {
            for (name, relation) in &definition.relations {
                if matches!(relation.kind, RelationKind::Table(_)) && (superuser || relation.owner == role) {
                    let (schema, name) = (Some(schema.clone()), name.clone());
                    names.push(QualifiedName { database: None, schema, name, position: 0 });
                }
            }
        }
        names
    }

    /// The version of a table that AS OF asks for.
    pub(crate) async fn version(
        &mut self,
        table: &Arc<lake::Table>,
        version: &ast::TableVersion,
    ) -> Result<Arc<lake::Table>> {
        let now = self.context.statement_start;
        match plan::moment_of(version, &self.context, &self.source, &mut self.parameters)? {
            plan::Moment::Version(version) => self.ground.lake.version(table, version).await,
            plan::Moment::Time(time) => {
                let version = self.ground.lake.version_at(table, time, now).await?;
                self.ground.lake.version(table, version).await
            }
            plan::Moment::Unknown => Ok(Arc::clone(table)),
        }
    }

    /// A table to tell about, at the version that this transaction reads.
    pub(super) async fn opened(&mut self, name: &QualifiedName) -> Result<Arc<lake::Table>> {
        let (schema, relation) = self.find(name)?;
        let RelationKind::Table(kind) = &relation.kind else {
            return Err(Error::new(SqlState::WrongObjectType, format!("\"{}\" is not a table", name.name)));
        };
        let named = QualifiedName { schema: Some(schema), ..name.clone() };
        // Resolving authorises, pins and records what is new.
        let query = super::copy_to::table_query(&named, &[])?;
        self.resolve(&plan::relations::names(&query, "")).await?;
        let place = self.ground.lake.place(&kind.location)?;
        let pins = self.session.transaction.pins_mut().unwrap_or(&mut self.pins);
        pins.table::<lake::Table>(&place).ok_or_else(|| Error::internal("a table was not pinned"))
    }

    /// The table as a write finds it: its newest version, or the transaction's own view.
    async fn newest(&mut self, location: &str) -> Result<Arc<lake::Table>> {
        if !self.staged {
            return self.ground.lake.table(location, Freshness::Latest).await;
        }
        let freshness = self.freshness();
        let place = self.ground.lake.place(location)?;
        let Some(pins) = self.session.transaction.pins_mut() else {
            return Err(Error::internal("a staged write has no transaction"));
        };
        let pinned = match pins.table::<lake::Table>(&place) {
            Some(pinned) => pinned,
            None => self.ground.lake.table(location, freshness).await?,
        };
        let private = pinned.private()?;
        if let Some(pins) = self.session.transaction.pins_mut() {
            pins.replace(&place, Arc::clone(&private));
        }
        Ok(private)
    }

    /// A table whose rows a statement changes, pinned at its newest version: also as a relation that tells its rows.
    pub(crate) async fn changed(&mut self, name: &QualifiedName, action: &str) -> Result<(Target, ResolvedTable)> {
        let target = self.target(name, action).await?;
        let table = &target.table;
        let pins = self.session.transaction.pins_mut().unwrap_or(&mut self.pins);
        pins.pin(table.location(), Arc::clone(table));
        let relation = ResolvedTable {
            schema: target.schema.clone(),
            name: target.name.clone(),
            oid: self.snapshot.relation(&target.schema, &target.name).map_or(0, |relation| relation.oid),
            columns: relation_columns(table),
            provider: table.tagged_provider()?,
        };
        Ok((target, relation))
    }

    /// Binds a statement that changes rows of a table that [`Road::changed`] gave.
    pub(crate) async fn bind_change(&mut self, statement: Changing<'_>, target: &ResolvedTable) -> Result<BoundChange> {
        let names = statement.names(&self.source);
        let relations = self.resolve(&names).await?;
        plan::bind_change(statement, target, &self.context, &relations, &self.source, &mut self.parameters)
    }

    /// Forgets the versions that this statement saw, to run it again on newer ones.
    pub(crate) fn unpin(&mut self) {
        self.pins = Pins::default();
    }

    /// Whether another session has dropped the relation since this statement's snapshot of the catalog.
    async fn is_gone(&self, oid: u32) -> bool {
        let now = self.ground.catalog.fresh(Duration::ZERO).await;
        now.is_ok_and(|now| now.relation_by_oid(oid).is_none())
    }

    /// The relation of that name in the search path; 42P01 with the name's position.
    pub(super) fn find(&self, name: &QualifiedName) -> Result<(String, CatalogRelation)> {
        let name = &self.own(name);
        if let Some(database) = name.database.as_ref().filter(|database| **database != self.context.database) {
            let message = format!("cross-database references are not implemented: \"{database}.{}\"", short(name));
            return Err(Error::new(SqlState::FeatureNotSupported, message).at(place(name)));
        }
        let schemas: Vec<&String> = match &name.schema {
            Some(schema) if !schema_exists(&self.snapshot, schema) => {
                let message = format!("schema \"{schema}\" does not exist");
                return Err(Error::new(SqlState::InvalidSchemaName, message).at(place(name)));
            }
            Some(schema) => vec![schema],
            None => self.context.search_path.iter().collect(),
        };
        for schema in schemas {
            if let Some(relation) = self.snapshot.relation(schema, &name.name) {
                return Ok((schema.clone(), relation.clone()));
            }
            if let Some(relation) = plan::resolve::system_relation(schema, &name.name) {
                return Ok((schema.clone(), relation));
            }
            if crate::builtins::tables::lookup(schema, &name.name, &self.context).is_some() {
                return Err(system_catalog(name));
            }
        }
        Err(missing(name))
    }

    /// The name with `pg_temp` as the schema that it means in this session.
    pub(super) fn own(&self, name: &QualifiedName) -> QualifiedName {
        match (&name.schema, &self.context.temporary) {
            (Some(schema), Some(temporary)) if schema == "pg_temp" => {
                QualifiedName { schema: Some(temporary.clone()), ..name.clone() }
            }
            _ => name.clone(),
        }
    }

    /// Where a new relation of that name goes.
    pub(crate) fn creation_name(&mut self, name: &QualifiedName, temporary: bool) -> Result<(String, String)> {
        let own = name
            .schema
            .as_deref()
            .is_some_and(|schema| schema == "pg_temp" || self.session.temporary.as_deref() == Some(schema));
        if own || temporary && name.schema.is_none() {
            return Ok((super::temporary::schema_of(self.session), name.name.clone()));
        }
        if temporary {
            let message = "cannot create temporary relation in non-temporary schema";
            return Err(Error::new(SqlState::InvalidTableDefinition, message).at(place(name)));
        }
        if let Some(database) = name.database.as_ref().filter(|database| **database != self.context.database) {
            let message = format!("cross-database references are not implemented: \"{database}.{}\"", short(name));
            return Err(Error::new(SqlState::FeatureNotSupported, message).at(place(name)));
        }
        let schema = match &name.schema {
            Some(schema) => schema.clone(),
            None => match self
                .context
                .search_path
                .iter()
                .find(|schema| !is_system_schema(schema) && self.context.temporary.as_ref() != Some(*schema))
            {
                Some(schema) => schema.clone(),
                None => {
                    let message = "no schema has been selected to create in";
                    return Err(Error::new(SqlState::InvalidSchemaName, message).at(place(name)));
                }
            },
        };
        if is_system_schema(&schema) {
            let message = format!("permission denied to create \"{schema}.{}\"", name.name);
            return Err(Error::new(SqlState::InsufficientPrivilege, message)
                .with_detail("System catalog modifications are currently disallowed."));
        }
        let Some(definition) = self.snapshot.schemas.get(&schema) else {
            return Err(
                Error::new(SqlState::InvalidSchemaName, format!("schema \"{schema}\" does not exist")).at(place(name))
            );
        };
        if !self.session.superuser && definition.owner != self.role_oid() {
            let message = format!("permission denied for schema {schema}");
            return Err(Error::new(SqlState::InsufficientPrivilege, message).at(place(name)));
        }
        Ok((schema, name.name.clone()))
    }

    /// SET, with the roles that `role` and `session_authorization` name checked against the catalog.
    pub(crate) fn set_setting(&mut self, statement: &Set) -> Result<()> {
        let name = statement.name.value.to_ascii_lowercase();
        if !matches!(name.as_str(), "role" | "session_authorization") {
            return self.session.set(&name, statement.value.as_deref(), statement.local);
        }
        let wanted = statement.value.as_deref().filter(|value| !value.eq_ignore_ascii_case("none"));
        if name == "session_authorization" {
            return self.set_session_authorization(wanted);
        }
        let Some(wanted) = wanted else {
            self.session.set_role(None, statement.local);
            return Ok(());
        };
        let Some(role) = self.snapshot.roles.get(wanted) else {
            let message = format!("role \"{wanted}\" does not exist");
            return Err(Error::new(SqlState::InvalidParameterValue, message));
        };
        let may = wanted == self.session.session_user || self.session.entry().superuser;
        if !may {
            let message = format!("permission denied to set role \"{wanted}\"");
            return Err(Error::new(SqlState::InsufficientPrivilege, message));
        }
        let superuser = role.superuser;
        self.session.set_role(Some((wanted, superuser)), statement.local);
        Ok(())
    }

    fn set_session_authorization(&mut self, wanted: Option<&str>) -> Result<()> {
        match wanted {
            None => Ok(()),
            Some(wanted) if wanted == self.session.session_user => Ok(()),
            Some(_) => Err(Error::unsupported("SET SESSION AUTHORIZATION to another role")),
        }
    }

    /// What a query over files reads, the files given; its output's names and types.
    pub(crate) async fn resolve_with_files(
        &mut self,
        query: &ast::Query,
        files: Relation,
    ) -> Result<(Relations, Vec<OutputColumn>)> {
        let (paths, others): (Vec<_>, Vec<_>) =
            plan::relations::names(query, &self.source).into_iter().partition(RelationName::is_file);
        let [path] = paths.as_slice() else {
            return Err(Error::unsupported("COPY INTO from a query that reads other than one path"));
        };
        let mut relations = self.resolve(&others).await?;
        relations.by_position.insert(path.position, files);
        let bound = plan::bind_query(query, &self.context, &relations, &self.source, &mut self.parameters)?;
        Ok((relations, bound.columns))
    }

    /// The rows of that query for the target's columns of these names.
    pub(crate) fn bind_loaded_query(
        &mut self,
        target: &Target,
        named: &[Name],
        query: &ast::Query,
        relations: &Relations,
    ) -> Result<BoundQuery> {
        let columns = relation_columns(&target.table);
        let into = plan::InsertTarget { relation: &target.name, columns: &columns, named };
        plan::bind_insert(&into, Some(query), &self.context, relations, &self.source, &mut self.parameters)
    }

    /// A whole table, or some of its columns, for COPY … TO.
    pub(crate) async fn bind_table(&mut self, name: &QualifiedName, columns: &[Name]) -> Result<BoundQuery> {
        let found = self.find(name);
        if let Ok((_, CatalogRelation { kind: RelationKind::View(View { files: None, .. }), .. })) = &found {
            let message = format!("cannot copy from view \"{}\"", name.name);
            return Err(
                Error::new(SqlState::WrongObjectType, message).with_hint("Try the COPY (SELECT ...) TO variant.")
            );
        }
        let mut given = Vec::new();
        if let Ok((_, relation)) = &found {
            let is_generated = |column: &catalog::Column| column.generated.is_some();
            if let Some(name) = columns
                .iter()
                .find(|name| relation.columns.iter().any(|column| column.name == name.value && is_generated(column)))
            {
                return Err(super::copy_from::copied_generated(&name.value));
            }
            if columns.is_empty() && relation.columns.iter().any(is_generated) {
                let columns = relation.columns.iter().filter(|column| !is_generated(column));
                given.extend(columns.map(|column| Name { value: column.name.clone(), position: 0 }));
            }
        }
        let columns = if given.is_empty() { columns } else { &given };
        let query = super::copy_to::table_query(name, columns)?;
        self.bind_query(&query).await.map_err(Error::without_position)
    }

    /// The rows of a query as a new table's columns: cast where the stored type is another one.
    pub(crate) fn as_table_columns(&mut self, bound: BoundQuery, columns: &[ColumnSpec]) -> Result<LogicalPlan> {
        let wanted: Vec<(String, PgType)> = columns.iter().map(|column| (column.name.clone(), column.ty)).collect();
        plan::cast_columns(bound, &wanted)
    }

    /// CHECK constraints of a new table, each bound against its columns: names and texts.
    pub(crate) fn bind_checks(
        &self,
        table: &str,
        columns: &[ColumnSpec],
        checks: &[CheckConstraint],
    ) -> Result<Vec<(String, String)>> {
        let columns: Vec<RelationColumn> = columns.iter().map(plan::resolve::column_of).collect();
        let mut bound = Vec::with_capacity(checks.len());
        for check in checks {
            plan::bind_condition(table, &columns, &check.expression, &self.context, &self.source)?;
            let name = super::create_table::constraint_name(table, check, &bound)?;
            bound.push((name, check.text.clone()));
        }
        Ok(bound)
    }

    /// The gate of a table: NOT NULL and its CHECKs, compiled against the rows that are written.
    pub(crate) fn gate(&self, target: &Target) -> Result<Gate> {
        let table = &target.table;
        self.gate_of((&target.schema, &target.name), table.columns(), table.arrow_schema(), table.check_constraints())
    }

    /// The gate of a table that is about to be made.
    pub(crate) fn gate_of_new(&self, (schema, name): (&str, &str), spec: &TableSpec) -> Result<Gate> {
        let checks = spec.checks.iter().cloned();
        let checks = checks.map(|(name, expression)| TableCheck { name, expression, null_passes: true }).collect();
        self.gate_of((schema, name), &spec.columns, &spec.engine_schema(), checks)
    }

    pub(super) fn gate_of(
        &self,
        (schema, name): (&str, &str),
        columns: &[ColumnSpec],
        rows: &SchemaRef,
        checks: Vec<TableCheck>,
    ) -> Result<Gate> {
        let relation: Vec<RelationColumn> = columns.iter().map(plan::resolve::column_of).collect();
        let types = columns.iter().map(|column| column.ty).collect();
        let text = SessionText { types, style: Arc::new(self.style()) };
        let columns =
            columns.iter().map(|column| GateColumn { name: column.name.clone(), not_null: column.not_null }).collect();
        let mut rules = Vec::with_capacity(checks.len());
        for check in checks {
            let text = check.expression.as_str();
            let expression = crate::sql::parse_expression(text)?;
            let expr = plan::condition_on_rows(name, &relation, &expression, rows, &self.context, text)?;
            rules.push(Rule::Check { name: check.name, expr, null_passes: check.null_passes });
        }
        Ok(Gate::new(schema, name, columns, rules).with_text(Arc::new(text)))
    }

    /// What the table itself puts into the columns that COPY's data has not.
    pub(super) fn fills(&self, target: &Target, chosen: &[usize]) -> Result<Vec<Fill>> {
        let columns = relation_columns(&target.table);
        let rows = target.table.arrow_schema();
        let mut fills = Vec::new();
        for purpose in [Purpose::Default, Purpose::Generated] {
            for (index, column) in columns.iter().enumerate().filter(|(index, _)| !chosen.contains(index)) {
                let text = match (&column.filled, purpose) {
                    (Filled::Default(text), Purpose::Default) | (Filled::Generated(text), Purpose::Generated) => text,
                    _ => continue,
                };
                let over = (target.name.as_str(), columns.as_slice());
                fills.push((index, plan::stored_on_rows(over, column, purpose, rows, &self.context, text)?));
            }
        }
        Ok(fills)
    }

    /// Runs rows through the gate into a table: the one road of all statements that write.
    pub(crate) async fn write(
        &mut self,
        mode: WriteMode,
        input: Input,
        gate: Gate,
        operation: impl Into<Operation>,
    ) -> Result<Written> {
        let written = self.write_apart(mode, input, gate, operation).await?;
        if let (Some(table), Some(pins)) = (&written.table, self.session.transaction.pins_mut())
            && table.is_changed_privately()
        {
            pins.replace(table.location(), Arc::clone(table));
        }
        Ok(written)
    }

    /// The same, where what is written to a private table is this statement's to commit and not the transaction's.
    pub(crate) async fn write_apart(
        &mut self,
        mode: WriteMode,
        input: Input,
        gate: Gate,
        operation: impl Into<Operation>,
    ) -> Result<Written> {
        let _interest = match &input {
            Input::Plan(plan, _) => self.ground.engine.interest(plan),
            Input::Streams(_) => None,
        };
        let request = WriteRequest {
            mode,
            input,
            gate,
            operation: Operation { user: Some(self.context.user.clone()), ..operation.into() },
            memory: Arc::clone(self.ground.engine.memory_pool()),
            cancel: self.token.clone(),
        };
        let lake = Arc::clone(&self.ground.lake);
        self.ground.engine.compute(async move { lake.write(request).await }).await
    }

    /// What a commit tells of this statement.
    pub(crate) fn operation(&self, name: &str) -> Operation {
        Operation { user: Some(self.context.user.clone()), ..Operation::new(name) }
    }

    /// How many streams work on one statement.
    pub(crate) fn partitions(&self) -> usize {
        self.tuning().target_partitions
    }

    /// How this session writes values as text.
    pub(crate) fn style(&self) -> TextStyle {
        let mut style = self.session.settings().text_style();
        style.names = Some(Arc::new(ContextNames::new(Arc::clone(&self.context))));
        style
    }

    /// How this session reads values from text.
    pub(crate) fn input_context(&self) -> InputContext {
        let style = self.session.settings().text_style();
        InputContext::of_style(&style, self.context.transaction_start)
    }

    /// The engine's state with this session's tuning.
    pub(crate) fn state(&self) -> Arc<SessionState> {
        self.ground.engine.state(&self.tuning()).0
    }

    /// The physical plan of a bound one, and the context to run it in.
    pub(crate) async fn physical(&self, plan: LogicalPlan) -> Result<(Arc<dyn ExecutionPlan>, Arc<TaskContext>)> {
        let engine = &self.ground.engine;
        let (state, context) = engine.state(&self.tuning());
        let plan = engine.physical(state, plan).await?;
        Ok((plan, context))
    }

    /// Runs a bound plan; the stream ends the work when it is dropped.
    pub(crate) async fn start(&self, plan: LogicalPlan) -> Result<BatchStream> {
        let (plan, context) = self.physical(plan).await?;
        let stream = self.ground.engine.run(plan, context)?;
        Ok(Box::pin(stream.map(|batch| batch.map_err(Error::from))))
    }

    /// Constant expressions, such as EXECUTE's arguments, as values of the given types.
    pub(crate) async fn constants(
        &mut self,
        statement: &str,
        arguments: &[ast::Expr],
        types: &[PgType],
    ) -> Result<Vec<ScalarValue>> {
        let plan = plan::bind_constants(statement, arguments, types, &self.context, &self.source)?;
        let mut stream = self.start(plan).await?;
        let Some(batch) = stream.next().await.transpose()? else {
            return Err(Error::internal("constants gave no row"));
        };
        batch.columns().iter().map(|column| Ok(ScalarValue::try_from_array(column, 0)?)).collect()
    }
}

/// How the session wants its plans.
pub(super) fn tuning(ground: &Ground, session: &Session) -> Tuning {
    let settings = session.settings();
    Tuning {
        target_partitions: settings.target_partitions().unwrap_or_else(|| ground.engine.default_partitions()),
        batch_rows: settings.batch_rows(),
    }
}

/// 42501 for a table that is not for users to change.
pub(super) fn system_catalog(name: &QualifiedName) -> Error {
    let message = format!("permission denied: \"{}\" is a system catalog", name.name);
    Error::new(SqlState::InsufficientPrivilege, message)
}

fn missing(name: &QualifiedName) -> Error {
    Error::new(SqlState::UndefinedTable, format!("relation \"{}\" does not exist", short(name))).at(place(name))
}

fn short(name: &QualifiedName) -> String {
    match &name.schema {
        Some(schema) => format!("{schema}.{}", name.name),
        None => name.name.clone(),
    }
}

fn place(name: &QualifiedName) -> Option<u32> {
    (name.position > 0).then_some(name.position)
}

/// A table's columns as the binder sees them.
pub(super) fn relation_columns(table: &lake::Table) -> Vec<plan::relations::RelationColumn> {
    table.columns().iter().map(plan::resolve::column_of).collect()
}

/// The context that one statement's functions and system tables read.
pub(crate) fn statement_context(session: &Session, snapshot: &Snapshot, server_start: DateTime<Utc>) -> Context {
    let now = Utc::now();
    let settings = session.settings();
    let mut search_path = Vec::new();
    for schema in settings.search_path() {
        // A role may be called as a system schema is: its name does not make that schema its own.
        let schema = match schema.as_str() {
            "$user" if is_system_schema(&session.user) => continue,
            "$user" => session.user.clone(),
            "pg_temp" => match &session.temporary {
                Some(temporary) => temporary.clone(),
                None => continue,
            },
            _ => schema,
        };
        if schema_exists(snapshot, &schema) && !search_path.contains(&schema) {
            search_path.push(schema);
        }
    }
    let temporary = session.temporary.clone().filter(|schema| snapshot.schemas.contains_key(schema));
    let catalog_implicit = !search_path.iter().any(|schema| schema == "pg_catalog");
    if catalog_implicit {
        search_path.insert(0, "pg_catalog".to_owned());
    }
    if let Some(schema) = temporary.as_ref().filter(|schema| !search_path.contains(schema)) {
        search_path.insert(0, schema.clone());
    }
    Context {
        catalog: Arc::clone(snapshot),
        pid: session.pid(),
        user: session.user.clone(),
        session_user: session.session_user.clone(),
        database: session.database().to_owned(),
        search_path,
        catalog_implicit,
        temporary,
        time_zone: settings.time_zone(),
        transaction_start: session.transaction.started().unwrap_or(now),
        statement_start: now,
        server_start,
        server_address: session.server_address,
        client_address: session.client_address(),
        session: {
            drop(settings);
            Arc::clone(session.handle()) as Arc<dyn crate::builtins::SessionView>
        },
    }
}
