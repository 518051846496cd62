//! CREATE MODEL: the query's rows become a dataset, the dataset a model, the model an artifact in the lake; the catalog names
//! it last. So a model that the catalog names always has its artifact, and a training that ends early leaves nothing behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use sqlparser::ast::{self, SelectItem, Spanned as _};

use super::alter::exists;
use super::given::{at_option, read_options};
use super::series;
use super::sources::sources;
use super::training::{self, Progress, train};
use super::users::{self, Checked};
use crate::catalog::{Document, Model, ModelVersion};
use crate::encode::TextStyle;
use crate::encode::column::ColumnWriter;
use crate::encode::types::{OutputColumn, PgType, format_type, oid};
use crate::error::{Error, Result, Severity, SqlState};
use crate::execute::drop::require_owner;
use crate::execute::output::{BatchStream, Output};
use crate::execute::road::Road;
use crate::lake;
use crate::models::dataset::{Builder, Plan};
use crate::models::header::{Header, Label, Rows, SETTINGS, TransformItem};
use crate::models::options::Options;
use crate::models::{self, Feature, ModelType, OfOption, Task};
use crate::plan::{self, settled};
use crate::sql::{self, CreateModel};

/// Classes that a label may have.
const CLASSES_MAX: usize = 1_000;
/// Features that a model may have.
const FEATURES_MAX: usize = 10_000;

pub(super) async fn run(road: &mut Road<'_>, statement: &CreateModel) -> Result<Output> {
    let (schema, name) = road.creation_name(&statement.name, false)?;
    if let Some(model) = road.snapshot.model(&schema, &name) {
        if statement.if_not_exists {
            let message = format!("{}, skipping", exists(&name).message());
            road.notice(Error::notice(Severity::Notice, SqlState::DuplicateObject, message));
            return Ok(Output::Done("CREATE MODEL".into()));
        }
        if !statement.or_replace {
            let hint = "CREATE OR REPLACE MODEL makes a new version.";
            return Err(exists(&name).with_hint(hint).at(super::place(&statement.name)));
        }
        require_owner((road.session.superuser, road.role_oid()), model.owner, "model", &name)?;
    }
    let at_name = |error: Error| error.at(super::place(&statement.name));
    let mut options = read_options(&statement.options)?;
    for item in &statement.transform {
        plan::model::check_transform(&item.expression.expression, &road.source)?;
    }
    let query = whole_query(statement)?;
    let names = plan::relations::names(&query, &road.source);
    let relations = road.resolve(&names).await?;
    let bound = plan::bind_query(&query, &road.context, &relations, &road.source, &mut road.parameters)?;
    let inputs = inputs(road, statement, &relations)?;
    let transform = transform(road, statement, &inputs)?;
    let roles = if options.model_type == ModelType::ExponentialSmoothing {
        series::roles(&bound.columns, &options, (statement, &road.source))?
    } else {
        roles(&bound.columns, &options, (statement, &road.source))?
    };
    let made_of = |is_wanted: &dyn Fn(&str) -> bool| -> Vec<Feature> {
        let items = statement.transform.iter().filter(|item| is_wanted(&item.name.value));
        let named: BTreeSet<String> = items.flat_map(|item| sql::column_names(&item.expression.expression)).collect();
        inputs.iter().filter(|input| named.contains(&input.name)).cloned().collect()
    };
    let label_inputs = made_of(&|name| roles.label.as_ref().is_some_and(|label| label.name == name));
    let inputs = made_of(&|name| roles.plan.features.iter().any(|(_, feature)| feature.name == name));
    let settings = settings(road, statement)?;
    users::check_default(road, (&schema, &name), |now| {
        let features = roles.plan.features.iter().map(|(_, feature)| feature.clone()).collect();
        // What training finds, such as classes, most often is what it was. It is looked at when it is known.
        let classes = now.header.label.clone();
        let label = roles.label.clone().map(|feature| match classes {
            Some(label) => Label { feature, ..label },
            None => Label { feature, classes: Vec::new(), positive: None },
        });
        Arc::new(now.to_bind(Header {
            id: "to bind".to_owned(),
            options: options.clone(),
            features,
            label,
            transform: transform.clone(),
            inputs: inputs.clone(),
            label_inputs: label_inputs.clone(),
            settings: settings.clone(),
            ..now.header.clone()
        }))
    })
    .await
    .map_err(at_name)?;
    let sources = sources(road, &relations)?;
    let query_text = with_values(road, &statement.query_text)?;
    let progress = Progress::start(road);
    let started = std::time::Instant::now();
    let builder = Builder::new(roles.plan.clone(), road.ground.engine.memory_pool());
    let rows = road.start(bound.plan).await?;
    let told = |error: Error| told(error, &options, statement);
    let builder = gathered(road, builder, rows, &progress, &told).await?;
    let (threads, watch) = (training::threads(road, &options), progress.watch());
    let dataset = road.ground.engine.compute(async move { builder.finish(threads, &watch) }).await.map_err(told)?;
    let features = dataset.features.clone();
    let counted = Rows {
        train: dataset.train_rows as u64,
        eval: (dataset.rows - dataset.train_rows) as u64,
        skipped: dataset.skipped.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
    };
    let outcome = train(road, dataset, &options, &progress).await.map_err(told)?;
    options.values.extend(outcome.chosen);
    let header = Header {
        id: uuid::Uuid::now_v7().to_string(),
        made_by: env!("CARGO_PKG_VERSION").to_owned(),
        created_at: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
        role: road.context.user.clone(),
        options,
        features,
        label: roles.label.map(|feature| Label {
            feature,
            classes: outcome.classes.clone(),
            positive: outcome.positive,
        }),
        transform,
        inputs,
        label_inputs,
        settings,
        query: query_text,
        search_path: road.context.search_path.clone(),
        sources,
        rows: counted,
        train_ms: started.elapsed().as_secs_f64() * 1e3,
        metrics: outcome.metrics,
        statistics: outcome.statistics,
        evaluation: outcome.evaluation,
        importance: outcome.importance,
        oddities: outcome.oddities,
        log: outcome.log,
        trials: outcome.trials,
        notes: outcome.notes,
    };
    let model = Arc::new(models::Model::new(header, outcome.categories, outcome.learned)?);
    if !road.staged {
        // Training takes its time: others may have made views meanwhile.
        let newest = road.ground.catalog.fresh(Duration::ZERO).await?;
        road.see(newest);
    }
    // What replaces nothing leaves the views of a model that another made meanwhile as they are.
    let checked = if statement.or_replace {
        if let Some(model) = road.snapshot.model(&schema, &name) {
            require_owner((road.session.superuser, road.role_oid()), model.owner, "model", &name)?;
        }
        users::check_default(road, (&schema, &name), |_| Arc::clone(&model)).await.map_err(at_name)?
    } else {
        Checked::default()
    };
    for note in &model.header.notes {
        road.notice(Error::notice(Severity::Notice, SqlState::SuccessfulCompletion, note.clone()));
    }
    progress.phase("storing");
    let entry = store(road, &model).await?;
    drop(outcome.memory);
    name_it(road, (schema, name), (entry, checked), (statement.or_replace, statement.if_not_exists)).await?;
    Ok(Output::Done("CREATE MODEL".into()))
}

/// Takes all rows, each batch away from the threads that talk to clients and while the next one is read.
async fn gathered(
    road: &Road<'_>,
    mut builder: Builder,
    mut rows: BatchStream,
    progress: &Progress,
    told: &impl Fn(Error) -> Error,
) -> Result<Builder> {
    let mut next = rows.next().await.transpose()?;
    while let Some(batch) = next {
        let push = road.ground.engine.compute(async move {
            builder.push(&batch)?;
            Ok(builder)
        });
        // Both to their ends: of two errors it is always the earlier row's.
        let (pushed, read) = tokio::join!(push, rows.next());
        builder = pushed.map_err(told)?;
        progress.read(builder.rows());
        next = read.transpose()?;
    }
    Ok(builder)
}

/// What the catalog is to say of an artifact, and the artifact's hold.
pub(super) struct Entry {
    version: ModelVersion,
    _stored: lake::StoredModel,
}

impl Entry {
    pub(super) fn new(header: &Header, stored: lake::StoredModel) -> Self {
        let version = ModelVersion {
            artifact: stored.artifact.clone(),
            checksum: stored.checksum.clone(),
            bytes: stored.bytes,
            model_type: header.options.model_type.name().to_owned(),
            label: header.label.as_ref().map(|label| label.feature.name.clone()),
            features: header.features.len() as u64,
            rows: header.rows.train,
            created_at: header.created_at.clone(),
            role: header.role.clone(),
            metrics: header.metrics.clone(),
        };
        Self { version, _stored: stored }
    }
}

/// Writes the artifact.
async fn store(road: &mut Road<'_>, model: &Arc<models::Model>) -> Result<Entry> {
    let encoded = Arc::clone(model);
    let bytes = road.ground.engine.compute(async move { encoded.encode() }).await?;
    let stored = road.ground.lake.store_model(&model.header.id, bytes.into()).await?;
    Ok(Entry::new(&model.header, stored))
}

/// Enters a version into the catalog, as the default that views were checked with.
pub(super) async fn name_it(
    road: &mut Road<'_>,
    (schema, name): (String, String),
    (entry, checked): (Entry, Checked),
    (or_replace, if_not_exists): (bool, bool),
) -> Result<()> {
    let (owner, superuser) = (road.role_oid(), road.session.superuser);
    // Whole: a transaction holds the artifact as long as it may run this again.
    let entry = Arc::new(entry);
    let skipped = road.define(move |document: &mut Document| {
        if let Some(model) = document.model(&schema, &name).filter(|_| or_replace) {
            checked.still_holds(document, model.oid)?;
        }
        let oid = document.take_oid();
        let Some(definition) = document.schemas.get_mut(&schema) else {
            return Err(Error::new(SqlState::InvalidSchemaName, format!("schema \"{schema}\" does not exist")));
        };
        let Some(model) = definition.models.get_mut(&name) else {
            let versions = BTreeMap::from([(1, entry.version.clone())]);
            let model = Model {
                oid,
                owner,
                users: BTreeSet::new(),
                comment: None,
                default_version: 1,
                next_version: 2,
                versions,
            };
            definition.models.insert(name.clone(), model);
            return Ok(None);
        };
        if if_not_exists {
            return Ok(Some(exists(&name)));
        }
        if !or_replace {
            return Err(exists(&name));
        }
        require_owner((superuser, owner), model.owner, "model", &name)?;
        let version = model.next_version;
        model.next_version += 1;
        model.versions.insert(version, entry.version.clone());
        model.default_version = version;
        Ok(None)
    });
    if let Some(there) = skipped.await? {
        let message = format!("{}, skipping", there.message());
        road.notice(Error::notice(Severity::Notice, SqlState::DuplicateObject, message));
    }
    Ok(())
}

/// The columns of the dataset, by what they are for.
pub(super) struct Roles {
    pub(super) plan: Plan,
    pub(super) label: Option<Feature>,
}

fn roles(columns: &[OutputColumn], options: &Options, (statement, source): (&CreateModel, &str)) -> Result<Roles> {
    let at_option = |name: &str| at_option(name, options, statement);
    each_once(columns, (statement, source))?;
    let named = |option: &str, wanted: &str| {
        named(columns, option, wanted).map_err(|error| {
            let error = if statement.transform.is_empty() { error } else { not_transformed(option, wanted) };
            error.at(at_option(option))
        })
    };
    let kind = options.model_type;
    let label = match options.text("label") {
        Some(name) => Some(named("label", name)?),
        None if kind.is_supervised() => {
            let position = columns.iter().position(|column| column.name == "label");
            Some(position.ok_or_else(|| {
                let message = format!("a model of type {} needs a label", kind.name());
                let hint = if statement.transform.is_empty() {
                    "Give the option label = 'column'."
                } else {
                    "Give the option label = 'column', and list the column in TRANSFORM."
                };
                Error::new(SqlState::InvalidParameterValue, message).with_hint(hint)
            })?)
        }
        None => None,
    };
    let weight = options.text("weight").map(|name| named("weight", name)).transpose()?;
    let split = options.text("split_column").map(|name| named("split_column", name)).transpose()?;
    let excluded = options.texts("exclude");
    for name in &excluded {
        let place = named("exclude", name)?;
        if label == Some(place) {
            let message = format!("option exclude names the label \"{name}\"");
            return Err(Error::new(SqlState::InvalidParameterValue, message).at(at_option("exclude")));
        }
    }
    let mut taken: Vec<(&str, usize)> = Vec::new();
    for (role, place) in [("label", label), ("weight", weight), ("split_column", split)] {
        let Some(place) = place else { continue };
        if let Some((other, _)) = taken.iter().find(|(_, other)| *other == place) {
            let message = format!("options {other} and {role} name the same column");
            return Err(Error::new(SqlState::InvalidParameterValue, message).at(at_option(role)));
        }
        taken.push((role, place));
    }
    let at = |place: usize| -> Result<(usize, Feature)> {
        let column = columns.get(place).ok_or_else(|| Error::internal("a column is missing"))?;
        Ok((place, Feature::new(&column.name, settled_type(column.ty))?))
    };
    let is_role = |place: &usize| taken.iter().any(|(_, other)| other == place);
    let is_excluded =
        |place: &usize| columns.get(*place).is_some_and(|column| excluded.contains(&column.name.as_str()));
    let places = (0..columns.len()).filter(|place| !is_role(place) && !is_excluded(place));
    let features = places.map(at).collect::<Result<Vec<_>>>()?;
    if features.is_empty() {
        let message = "the training query has no column to learn from";
        return Err(Error::new(SqlState::InvalidParameterValue, message));
    }
    if features.len() > FEATURES_MAX {
        let message = format!("a model can have at most {FEATURES_MAX} features");
        return Err(Error::new(SqlState::TooManyColumns, message));
    }
    let label = label.map(at).transpose()?;
    let classes = kind.task() == Task::Classification;
    if let Some((_, feature)) = &label
        && !classes
        && feature.kind.is_category()
    {
        let message = format!("label \"{}\" of a model of type {} must be a number", feature.name, kind.name());
        return Err(Error::new(SqlState::DatatypeMismatch, message).at(at_option("label")));
    }
    let weight = weight.map(at).transpose()?;
    if let Some((_, feature)) = &weight
        && feature.kind != crate::models::FeatureKind::Number
    {
        let message = format!("weight \"{}\" must be a number", feature.name);
        return Err(Error::new(SqlState::DatatypeMismatch, message).at(at_option("weight")));
    }
    let split = split.map(at).transpose()?;
    if let Some((_, feature)) = &split
        && feature.type_oid != oid::BOOL
    {
        let message = format!("column \"{}\" of option split_column must be boolean", feature.name);
        return Err(Error::new(SqlState::DatatypeMismatch, message).at(at_option("split_column")));
    }
    let eval_fraction = if kind.is_supervised() { options.number("eval_fraction").unwrap_or(0.2) } else { 0.0 };
    let plan = Plan {
        features,
        label: label.clone(),
        classes,
        weight,
        split,
        eval_fraction,
        seed: options.seed(),
        classes_max: CLASSES_MAX,
        time: None,
    };
    Ok(Roles { plan, label: label.map(|(_, feature)| feature) })
}

/// Where a column of the training query was written; behind a `*` nobody knows, and it is the star.
pub(super) fn at_column(place: usize, (statement, source): (&CreateModel, &str)) -> Option<u32> {
    if !statement.transform.is_empty() {
        return statement.transform.get(place).map(|item| item.name.position);
    }
    let item = match statement.query.body.as_ref() {
        ast::SetExpr::Select(select) => {
            let is_one =
                |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
            let star = select.projection.iter().position(|item| !is_one(item));
            select.projection.get(star.map_or(place, |star| star.min(place)))
        }
        _ => None,
    };
    sql::span_position(source, item.map_or_else(|| statement.query.span(), |item| item.span()))
}

pub(super) fn each_once(columns: &[OutputColumn], written: (&CreateModel, &str)) -> Result<()> {
    for (at, column) in columns.iter().enumerate() {
        if columns.iter().take(at).any(|other| other.name == column.name) {
            let message = format!("column \"{}\" appears twice in the training query", column.name);
            return Err(Error::new(SqlState::DuplicateColumn, message).at(at_column(at, written)));
        }
    }
    Ok(())
}

/// The place of a column that an option names.
pub(super) fn named(columns: &[OutputColumn], option: &str, wanted: &str) -> Result<usize> {
    columns.iter().position(|column| column.name == wanted).ok_or_else(|| {
        let message = format!("column \"{wanted}\" of option {option} is not in the training query");
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        Error::new(SqlState::UndefinedColumn, message).with_hint(format!("Its columns are {}.", names.join(", ")))
    })
}

/// The error for a column of an option that TRANSFORM does not list.
fn not_transformed(option: &str, wanted: &str) -> Error {
    let message = format!("TRANSFORM lacks column \"{wanted}\" of option {option}");
    Error::new(SqlState::UndefinedColumn, message)
        .with_hint("Only what TRANSFORM lists is known to the model: the label, too.")
}

/// A constant text has no type yet.
pub(super) fn settled_type(ty: PgType) -> PgType {
    if ty.oid == oid::UNKNOWN { PgType::TEXT } else { ty }
}

/// The training query, with TRANSFORM over it.
fn whole_query(statement: &CreateModel) -> Result<ast::Query> {
    if statement.transform.is_empty() {
        return Ok(statement.query.as_ref().clone());
    }
    let mut query = sql::parse_query("SELECT 1 FROM (SELECT 1) AS input")?;
    if let ast::SetExpr::Select(select) = query.body.as_mut() {
        select.projection = statement
            .transform
            .iter()
            .map(|item| SelectItem::ExprWithAlias {
                expr: item.expression.expression.as_ref().clone(),
                alias: ast::Ident::with_quote('"', item.name.value.clone()),
            })
            .collect();
        if let Some(ast::TableFactor::Derived { subquery, .. }) = select.from.first_mut().map(|from| &mut from.relation)
        {
            subquery.clone_from(&statement.query);
        }
    }
    Ok(query)
}

/// With a transform: the columns of the query that it names.
fn inputs(
    road: &mut Road<'_>,
    statement: &CreateModel,
    relations: &plan::relations::Relations,
) -> Result<Vec<Feature>> {
    if statement.transform.is_empty() {
        return Ok(Vec::new());
    }
    // They have their types since the whole query was bound.
    let mut parameters = road.parameters.clone();
    let bound = plan::bind_query(&statement.query, &road.context, relations, &road.source, &mut parameters)?;
    let mut named = std::collections::BTreeSet::new();
    for item in &statement.transform {
        named.extend(sql::column_names(&item.expression.expression));
    }
    let columns = bound.columns.iter().filter(|column| named.contains(&column.name));
    // An input may be of any type: what it becomes is a feature.
    Ok(columns
        .map(|column| {
            let ty = settled_type(column.ty);
            let kind = crate::models::FeatureKind::of(ty).unwrap_or(crate::models::FeatureKind::Category);
            Feature { name: column.name.clone(), type_oid: ty.oid, typmod: ty.typmod, kind }
        })
        .collect())
}

/// The expressions of TRANSFORM as they are kept: no setting changes what their literals mean.
fn transform(road: &Road<'_>, statement: &CreateModel, inputs: &[Feature]) -> Result<Vec<TransformItem>> {
    let relations = plan::model::inputs_as_relation(inputs);
    let mut items = Vec::with_capacity(statement.transform.len());
    for item in &statement.transform {
        let text = &item.expression.text;
        let query = plan::model::over_inputs(sql::parse_expression(text)?)?;
        let text = settled::part(text, &query, &relations, &road.context).map_err(Error::without_position)?;
        items.push(TransformItem { name: item.name.value.clone(), expression: text });
    }
    Ok(items)
}

/// The training query with the values that its parameters have.
fn with_values(road: &Road<'_>, text: &str) -> Result<String> {
    let Some(values) = &road.parameters.values else { return Ok(text.to_owned()) };
    let mut literals = Vec::with_capacity(values.len());
    for (value, ty) in values.iter().zip(&road.parameters.types) {
        let ty = ty.unwrap_or(PgType::TEXT);
        let array = value.to_array()?;
        let column = ColumnWriter::new(array.data_type(), ty, &Arc::new(TextStyle::default()))?.bind(&array)?;
        let mut bytes = Vec::new();
        let literal = match column.write_text(0, &mut bytes)? {
            true => format!("'{}'", String::from_utf8_lossy(&bytes).replace('\'', "''")),
            false => "NULL".to_owned(),
        };
        literals.push(format!("{literal}::{}", format_type(ty)));
    }
    Ok(sql::with_parameters(text, &literals))
}

/// With a transform: the settings that its expressions read when they are computed.
fn settings(road: &Road<'_>, statement: &CreateModel) -> Result<BTreeMap<String, String>> {
    if statement.transform.is_empty() {
        return Ok(BTreeMap::new());
    }
    let value = |(name, _): (&str, &str)| Ok((name.to_owned(), road.context.session.setting(name)?));
    SETTINGS.into_iter().map(value).collect()
}

/// An error of training as the statement tells it: at the option that it is about, or at the model's name where that is not
/// written.
fn told(error: Error, options: &Options, statement: &CreateModel) -> Error {
    let error = match OfOption::of(&error) {
        Some(name) => error.at(at_option(name, options, statement).or(super::place(&statement.name))),
        None => error,
    };
    if error.sqlstate() != SqlState::OutOfMemory {
        return error;
    }
    error.with_hint(
        "The rows to learn from and what is learned are held in memory: train on a sample of the rows, on fewer columns or with fewer or smaller trees (num_trees, max_depth), or raise memory.pool_bytes.",
    )
}
