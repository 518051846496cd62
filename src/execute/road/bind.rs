//! Queries, conditions and rows bound against what the statement's names mean.

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use sqlparser::ast;

use super::{Road, Target, relation_columns};
use crate::catalog::{
    self, ModelRead, ReadColumn, ReadVersion, Relation as CatalogRelation, RelationKind, View, ViewRead,
};
use crate::encode::types::{OutputColumn, PgType, format_type};
use crate::error::{Error, Result, SqlState};
use crate::execute::ground::Asked;
use crate::execute::properties::quoted;
use crate::lake::{self, ColumnSpec};
use crate::models::Model;
use crate::plan::bind::BoundQuery;
use crate::plan::recorded::Recorded;
use crate::plan::relations::{Relation, RelationColumn, RelationName, Relations, ResolvedTable};
use crate::plan::resolve::Resolver;
use crate::plan::{self, BoundChange, Changing, Parameters};
use crate::sql::{CheckConstraint, Name, QualifiedName, with_own_columns};

/// What a view's query reads.
pub(crate) struct Reads {
    pub(crate) relations: Vec<ViewRead>,
    pub(crate) models: Vec<ModelRead>,
}

/// Whose names are resolved.
enum Names<'n> {
    Of(&'n [plan::relations::RelationName]),
    /// And its owner.
    OfView(&'n ast::Query, &'n catalog::View, u32),
    /// None: the table at that place is pinned.
    Place(&'n str),
}

impl Road<'_> {
    /// Finds and pins every relation of the names.
    pub(in crate::execute) async fn resolve(&mut self, names: &[plan::relations::RelationName]) -> Result<Relations> {
        self.resolve_without(Names::Of(names), None).await
    }

    /// A table that a statement has opened, as a relation of its rows.
    pub(in crate::execute) fn as_relation(&self, target: &Target, oid: u32) -> Result<Relation> {
        Ok(Relation::Table(ResolvedTable {
            schema: target.schema.clone(),
            name: target.name.clone(),
            oid,
            columns: relation_columns(&target.table),
            provider: target.table.provider()?,
        }))
    }

    /// What the query of a materialized view reads.
    pub(crate) async fn resolve_materialized(
        &mut self,
        query: &ast::Query,
        view: &catalog::View,
        owner: u32,
    ) -> Result<Relations> {
        self.resolve_without(Names::OfView(query, view, owner), None).await
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

    /// What of a view would be another with this model as the default version of the model with that OID: an error, or one of
    /// the view's columns. `None` also for a view that cannot be read as it is.
    pub(crate) async fn changed_by_model(
        &mut self,
        (schema, name): (&str, &str),
        oid: u32,
        model: &Arc<Model>,
    ) -> Result<Option<String>> {
        let snapshot = Arc::clone(&self.snapshot);
        let Some(relation) = snapshot.relation(schema, name) else { return Ok(None) };
        let Some(view) = relation.kind.query() else { return Ok(None) };
        let query = crate::sql::parse_query(&view.query)?;
        let resolved = self.resolve_without(Names::OfView(&query, view, relation.owner), None).await;
        let Ok(mut relations) = resolved else { return Ok(None) };
        let Ok(before) = self.bind_materialized(&query, view, &relations) else { return Ok(None) };
        for (text, used) in &mut relations.models {
            if used.oid == oid && plan::model::parse_model(text).is_ok_and(|(_, version)| version.is_none()) {
                used.model = Arc::clone(model);
            }
        }
        let after = match self.bind_materialized(&query, view, &relations) {
            Ok(after) => after,
            Err(error) => return Ok(Some(error.message().to_owned())),
        };
        Ok(changed_column(relation, &before.columns, &after.columns))
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

    /// The table at a place as this transaction reads it.
    pub(super) async fn pin(&mut self, location: &str) -> Result<Arc<lake::Table>> {
        self.resolve_without(Names::Place(location), None).await?;
        let place = self.ground.lake.place(location)?;
        let pins = self.session.transaction.pins().unwrap_or(&self.pins);
        pins.table::<lake::Table>(&place).ok_or_else(|| Error::internal("a table was not pinned"))
    }

    async fn resolve_without(&mut self, of: Names<'_>, hidden: Option<(u32, String)>) -> Result<Relations> {
        let superuser = self.session.superuser;
        let role_oid = self.role_oid();
        let freshness = self.freshness();
        let input = self.input_context();
        let (files, stores) = (&self.ground.files, self.ground.lake.stores());
        let asked = Asked { statement: "COPY", superuser, writes: false };
        let open_place = |location: &str| files.open(stores, location, asked);
        let pins = self.session.transaction.pins_mut().unwrap_or(&mut self.pins);
        let mut resolver = Resolver {
            snapshot: &self.snapshot,
            catalog: &self.ground.catalog,
            lake: &self.ground.lake,
            context: &self.context,
            pins,
            freshness,
            input,
            open_place: &open_place,
            roots: &files.roots,
            superuser,
            role_oid,
            parameters: &mut self.parameters,
            source: Arc::clone(&self.source),
            hidden,
            news: Vec::new(),
        };
        let relations = match of {
            Names::Of(names) => Box::pin(resolver.resolve(names)).await?,
            Names::OfView(query, view, owner) => Box::pin(resolver.resolve_view(query, view, owner)).await?,
            Names::Place(location) => {
                Box::pin(resolver.pin(location)).await?;
                Relations::default()
            }
        };
        for (oid, table) in std::mem::take(&mut resolver.news) {
            Box::pin(self.record_news(oid, &table)).await;
        }
        Ok(relations)
    }

    /// Tells the catalog what a table's log says of its definition. The statement does not depend on it.
    pub(super) async fn record_news(&self, oid: u32, table: &lake::Table) {
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
        for (schema, name) in crate::execute::dependents::dependents_of(&self.snapshot, oid) {
            let snapshot = Arc::clone(&self.snapshot);
            let Some(relation) = snapshot.relation(&schema, &name) else { continue };
            let Some(view) = relation.kind.query() else { continue };
            let query = crate::sql::parse_query(&view.query)?;
            let hidden = Some((oid, column.to_owned()));
            let relations = self.resolve_without(Names::OfView(&query, view, relation.owner), hidden).await?;
            let bound = plan::bind_query(&query, &self.context, &relations, &view.query, &mut Parameters::to_define());
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

    /// Binds a view's query: also answers what it reads, and its text as it is kept. Parameters and files are refused.
    pub(crate) async fn bind_view(&mut self, query: &ast::Query, text: &str) -> Result<(BoundQuery, Reads, String)> {
        let names = plan::relations::names(query, &self.source);
        if let Some(file) = names.iter().find(|name| name.is_file()) {
            return Err(Error::unsupported("a view over files").at(file.position));
        }
        let relations = self.resolve(&names).await?;
        let bound = plan::bind_query(query, &self.context, &relations, &self.source, &mut Parameters::to_define())?;
        let kept = plan::settled::query(text, &relations, &self.context).map_err(Error::without_position)?;
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
        for read in &relations.version_reads {
            let is_known = reads.iter().any(|known| known.schema == read.schema && known.name == read.name);
            if let Some((_, _, relation)) = self.snapshot.relation_by_oid(read.oid).filter(|_| !is_known) {
                let columns = relation.columns.iter();
                let columns =
                    columns.map(|column| ReadColumn { name: column.name.clone(), now: column.name.clone() }).collect();
                reads.push(ViewRead { schema: read.schema.clone(), name: read.name.clone(), oid: read.oid, columns });
            }
        }
        reads.sort_by(|one, other| (&one.schema, &one.name).cmp(&(&other.schema, &other.name)));
        let models = models_read(&relations);
        Ok((bound, Reads { relations: reads, models }, kept))
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

    /// Binds a statement that changes rows of a table that [`Road::changed`] gave.
    pub(crate) async fn bind_change(
        &mut self,
        statement: Changing<'_>,
        target: &Target,
        relation: &ResolvedTable,
    ) -> Result<BoundChange> {
        let checks = target.table.check_constraints();
        let names = statement.names(&self.source);
        let relations = self.resolve(&names).await?;
        plan::bind_change(statement, (relation, &checks), &self.context, &relations, &self.source, &mut self.parameters)
    }

    /// The columns that a MERGE WITH SCHEMA EVOLUTION adds to the table that [`Road::changed`] gave.
    pub(crate) async fn merge_news(
        &mut self,
        merge: &crate::sql::Merge,
        target: &ResolvedTable,
    ) -> Result<Vec<(String, PgType)>> {
        let names = Changing::Merge(merge).names(&self.source);
        let relations = self.resolve(&names).await?;
        plan::merge_news(merge, target, &self.context, &relations, &self.source, &mut self.parameters)
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
                return Err(crate::execute::copy_from::copied_generated(&name.value));
            }
            if columns.is_empty() && relation.columns.iter().any(is_generated) {
                let columns = relation.columns.iter().filter(|column| !is_generated(column));
                given.extend(columns.map(|column| Name { value: column.name.clone(), position: 0 }));
            }
        }
        let columns = if given.is_empty() { columns } else { &given };
        let query = crate::execute::copy_to::table_query(name, columns)?;
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
            let name = crate::execute::create_table::constraint_name(table, check, &bound)?;
            let text = with_own_columns(&check.text, (None, table), quoted);
            let text = plan::settled::condition(table, &columns, &text, &self.context);
            bound.push((name, text.map_err(Error::without_position)?));
        }
        Ok(bound)
    }
}

/// The models that a query was bound with, in the order of their names.
fn models_read(relations: &Relations) -> Vec<ModelRead> {
    let read = |(text, used): (&String, &plan::model::UsedModel)| {
        let is_named = plan::model::parse_model(text).is_ok_and(|(_, version)| version.is_some());
        let version = if is_named { ReadVersion::Named(used.version) } else { ReadVersion::Default(used.version) };
        ModelRead { name: used.written.clone(), oid: used.oid, version: Some(version) }
    };
    let mut models: Vec<ModelRead> = relations.models.iter().map(read).collect();
    models.sort_by(|one, other| (&one.name, one.version).cmp(&(&other.name, other.version)));
    models.dedup();
    models
}

/// The first column of a view that would be neither what its query gives now nor what it was made with. A view shows its own
/// columns, whatever comes behind them; a materialized view is filled with all.
fn changed_column(relation: &CatalogRelation, now: &[OutputColumn], becomes: &[OutputColumn]) -> Option<String> {
    let made = relation.columns.as_slice();
    let fits = |columns: &[OutputColumn]| match relation.kind {
        RelationKind::View(_) => columns.len() >= made.len(),
        RelationKind::Table(_) => columns.len() == made.len(),
    };
    if !fits(now) {
        return None;
    }
    for ((made, now), becomes) in made.iter().zip(now).zip(becomes) {
        if becomes.name != now.name && becomes.name != made.name {
            return Some(format!("its column \"{}\" would become \"{}\"", made.name, becomes.name));
        }
        if becomes.ty != now.ty && becomes.ty != made.ty() {
            return Some(format!("its column \"{}\" would become {}", made.name, format_type(becomes.ty)));
        }
    }
    match made.get(becomes.len()) {
        Some(missing) => Some(format!("it would lack its column \"{}\"", missing.name)),
        None => (!fits(becomes)).then(|| "it would have other columns".to_owned()),
    }
}
