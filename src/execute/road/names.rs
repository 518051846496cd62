//! Names of a statement as relations: found, allowed, and opened at the version that the statement sees.

use std::sync::Arc;
use std::time::Duration;

use sqlparser::ast;

use super::{Road, Target, is_system_schema, relation_columns};
use crate::catalog::{Relation as CatalogRelation, RelationKind};
use crate::error::{Error, Result, SqlState};
use crate::lake::{self, Freshness};
use crate::plan;
use crate::plan::recorded::Recorded;
use crate::plan::relations::ResolvedTable;
use crate::plan::resolve::schema_exists;
use crate::sql::QualifiedName;

impl Road<'_> {
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
    pub(in crate::execute) async fn opened(&mut self, name: &QualifiedName) -> Result<Arc<lake::Table>> {
        let (schema, relation) = self.find(name)?;
        let RelationKind::Table(kind) = &relation.kind else {
            return Err(Error::new(SqlState::WrongObjectType, format!("\"{}\" is not a table", name.name)));
        };
        let named = QualifiedName { schema: Some(schema), ..name.clone() };
        // Resolving authorises, pins and records what is new.
        let query = crate::execute::copy_to::table_query(&named, &[])?;
        self.resolve(&plan::relations::names(&query, "")).await?;
        let place = self.ground.lake.place(&kind.location)?;
        let pins = self.session.transaction.pins_mut().unwrap_or(&mut self.pins);
        pins.table::<lake::Table>(&place).ok_or_else(|| Error::internal("a table was not pinned"))
    }

    /// The table as a write finds it: its newest version, or the transaction's own view.
    pub(in crate::execute) async fn newest(&mut self, location: &str) -> Result<Arc<lake::Table>> {
        if !self.staged {
            return self.ground.lake.table(location, Freshness::Latest).await;
        }
        let place = self.ground.lake.place(location)?;
        let pinned = self.pin(location).await?;
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

    /// Whether another session has dropped the relation since this statement's snapshot of the catalog.
    pub(super) async fn is_gone(&self, oid: u32) -> bool {
        let now = self.ground.catalog.fresh(Duration::ZERO).await;
        now.is_ok_and(|now| now.relation_by_oid(oid).is_none())
    }

    /// The relation of that name in the search path; 42P01 with the name's position.
    pub(in crate::execute) fn find(&self, name: &QualifiedName) -> Result<(String, CatalogRelation)> {
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
    pub(in crate::execute) fn own(&self, name: &QualifiedName) -> QualifiedName {
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
            return Ok((crate::execute::temporary::schema_of(self.session), name.name.clone()));
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
}

/// 42501 for a table that is not for users to change.
pub(in crate::execute) fn system_catalog(name: &QualifiedName) -> Error {
    let message = format!("permission denied: \"{}\" is a system catalog", name.name);
    Error::new(SqlState::InsufficientPrivilege, message)
}

pub(super) fn missing(name: &QualifiedName) -> Error {
    Error::new(SqlState::UndefinedTable, format!("relation \"{}\" does not exist", short(name))).at(place(name))
}

pub(super) fn short(name: &QualifiedName) -> String {
    match &name.schema {
        Some(schema) => format!("{schema}.{}", name.name),
        None => name.name.clone(),
    }
}

pub(super) fn place(name: &QualifiedName) -> Option<u32> {
    (name.position > 0).then_some(name.position)
}
