//! CREATE MODEL: the query's rows become a dataset, the dataset a model, the model an artifact in the lake; the catalog names
//! it last. So a model that the catalog names always has its artifact, and a training that ends early leaves nothing behind.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;
use sqlparser::ast::{self, SelectItem};

use super::alter::exists;
use super::series;
use super::sources::sources;
use super::training::{Progress, train};
use crate::catalog::{Document, Model, ModelVersion};
use crate::encode::types::{OutputColumn, PgType, oid};
use crate::error::{Error, Result, Severity, SqlState};
use crate::execute::drop::require_owner;
use crate::execute::output::Output;
use crate::execute::road::Road;
use crate::lake;
use crate::models::dataset::{Builder, Plan};
use crate::models::header::{Header, Label, Rows, SETTINGS, TransformItem};
use crate::models::options::{self, Options, Tried, Value};
use crate::models::{Feature, ModelType, Task};
use crate::plan::{self, settled};
use crate::sql::{self, CreateModel, ModelOption, OptionValue};

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
    let options = read_options(&statement.options)?;
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
        series::roles(&bound.columns, &options, statement)?
    } else {
        roles(&bound.columns, &options, statement)?
    };
    let made_of = |is_wanted: &dyn Fn(&str) -> bool| -> Vec<Feature> {
        let items = statement.transform.iter().filter(|item| is_wanted(&item.name.value));
        let named: BTreeSet<String> = items.flat_map(|item| sql::column_names(&item.expression.expression)).collect();
        inputs.iter().filter(|input| named.contains(&input.name)).cloned().collect()
    };
    let label_inputs = made_of(&|name| roles.label.as_ref().is_some_and(|label| label.name == name));
    let inputs = made_of(&|name| roles.plan.features.iter().any(|(_, feature)| feature.name == name));
    let sources = sources(road, &relations)?;
    let progress = Progress::start(road);
    let started = std::time::Instant::now();
    let mut builder = Builder::new(roles.plan.clone(), road.ground.engine.memory_pool());
    let mut rows = road.start(bound.plan).await?;
    while let Some(batch) = rows.next().await.transpose()? {
        builder.push(&batch).map_err(hinted)?;
        progress.read(builder.rows());
    }
    drop(rows);
    let dataset = road.ground.engine.compute(async move { builder.finish() }).await?;
    let features = dataset.features.clone();
    let counted = Rows {
        train: dataset.train_rows as u64,
        eval: (dataset.rows - dataset.train_rows) as u64,
        skipped: dataset.skipped.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
    };
    let outcome = train(road, dataset, &options, &progress).await?;
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
        settings: settings(road, statement)?,
        query: statement.query_text.clone(),
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
    for note in &header.notes {
        road.notice(Error::notice(Severity::Notice, SqlState::SuccessfulCompletion, note.clone()));
    }
    progress.phase("storing");
    let entry = store(road, header, (outcome.categories, outcome.learned)).await?;
    name_it(road, (schema, name), entry, (statement.or_replace, statement.if_not_exists)).await?;
    Ok(Output::Done("CREATE MODEL".into()))
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
async fn store(
    road: &mut Road<'_>,
    header: Header,
    (categories, learned): (crate::models::inputs::Categories, crate::models::Learned),
) -> Result<Entry> {
    let model = std::sync::Arc::new(crate::models::Model::new(header, categories, learned)?);
    let encoded = std::sync::Arc::clone(&model);
    let bytes = road.ground.engine.compute(async move { encoded.encode() }).await?;
    let stored = road.ground.lake.store_model(&model.header.id, bytes.into()).await?;
    Ok(Entry::new(&model.header, stored))
}

/// Enters a version into the catalog, as the default.
pub(super) async fn name_it(
    road: &mut Road<'_>,
    (schema, name): (String, String),
    entry: Entry,
    (or_replace, if_not_exists): (bool, bool),
) -> Result<()> {
    let (owner, superuser) = (road.role_oid(), road.session.superuser);
    // Whole: a transaction holds the artifact as long as it may run this again.
    let entry = std::sync::Arc::new(entry);
    let skipped = road.define(move |document: &mut Document| {
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

fn roles(columns: &[OutputColumn], options: &Options, statement: &CreateModel) -> Result<Roles> {
    let at_option = |name: &str| at_option(name, options, statement);
    each_once(columns)?;
    let named =
        |option: &str, wanted: &str| named(columns, option, wanted).map_err(|error| error.at(at_option(option)));
    let kind = options.model_type;
    let label = match options.text("label") {
        Some(name) => Some(named("label", name)?),
        None if kind.is_supervised() => {
            let position = columns.iter().position(|column| column.name == "label");
            Some(position.ok_or_else(|| {
                let message = format!("a model of type {} needs a label", kind.name());
                Error::new(SqlState::InvalidParameterValue, message).with_hint("Give the option label = 'column'.")
            })?)
        }
        None => None,
    };
    let weight = options.text("weight").map(|name| named("weight", name)).transpose()?;
    let split = options.text("split_column").map(|name| named("split_column", name)).transpose()?;
    let excluded = options.texts("exclude");
    for name in &excluded {
        named("exclude", name)?;
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

/// Where the value of an option stands.
pub(super) fn at_option(name: &str, options: &Options, statement: &CreateModel) -> Option<u32> {
    let is_it = |option: &&ModelOption| options.spec(&option.name.value).is_ok_and(|spec| spec.name == name);
    statement.options.iter().find(is_it).map(|option| option.position)
}

pub(super) fn each_once(columns: &[OutputColumn]) -> Result<()> {
    for (at, column) in columns.iter().enumerate() {
        if columns.iter().take(at).any(|other| other.name == column.name) {
            let message = format!("column \"{}\" appears twice in the training query", column.name);
            return Err(Error::new(SqlState::DuplicateColumn, message));
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

/// A constant text has no type yet.
pub(super) fn settled_type(ty: PgType) -> PgType {
    if ty.oid == oid::UNKNOWN { PgType::TEXT } else { ty }
}

/// The options as they are kept, BigQuery's words for some put into ours.
fn read_options(given: &[ModelOption]) -> Result<Options> {
    let Some(kind) = given.iter().find(|option| option.name.value == "model_type") else {
        let names: Vec<&str> = ModelType::all().map(ModelType::name).collect();
        return Err(Error::new(SqlState::InvalidParameterValue, "the option model_type must be given")
            .with_hint(format!("It is one of {}.", names.join(", "))));
    };
    let model_type = match &kind.value {
        OptionValue::Text(name) => ModelType::named(name),
        _ => None,
    };
    let Some(model_type) = model_type else {
        let names: Vec<&str> = ModelType::all().map(ModelType::name).collect();
        let shown = match value_of(&kind.value) {
            Some(value) => options::shown(&value),
            None => "a search".to_owned(),
        };
        return Err(Error::new(SqlState::InvalidParameterValue, format!("invalid model_type: {shown}"))
            .with_hint(format!("It is one of {}.", names.join(", ")))
            .at(kind.position));
    };
    let mut options = Options::new(model_type);
    for option in given.iter().filter(|option| option.name.value != "model_type") {
        set_option(&mut options, option)?;
    }
    Ok(options)
}

fn set_option(options: &mut Options, option: &ModelOption) -> Result<()> {
    let name = option.name.value.as_str();
    let text = match &option.value {
        OptionValue::Text(text) => text.to_ascii_lowercase(),
        OptionValue::Boolean(value) => value.to_string(),
        _ => String::new(),
    };
    // Options of BigQuery that say in two what one says here.
    let (name, value) = match (name, text.as_str()) {
        ("data_split_method", "no_split") => ("eval_fraction", OptionValue::Number("0".to_owned())),
        ("data_split_method", "auto_split" | "random" | "custom") => return Ok(()),
        ("data_split_method", _) => {
            return Err(Error::unsupported(format!("data_split_method = '{text}'")).at(option.position));
        }
        ("auto_class_weights", "true") => ("class_weights", OptionValue::Text("balanced".to_owned())),
        ("auto_class_weights", "false") => return Ok(()),
        ("early_stop", "true") => ("early_stopping_rounds", OptionValue::Number("10".to_owned())),
        ("early_stop", "false") => ("early_stopping_rounds", OptionValue::Number("0".to_owned())),
        _ => (name, option.value.clone()),
    };
    let spec = options.spec(name).map_err(|error| error.at(option.name.position))?;
    if options.values.contains_key(spec.name) || options.tried.contains_key(spec.name) {
        let message = format!("option \"{}\" specified more than once", spec.name);
        return Err(Error::new(SqlState::SyntaxError, message).at(option.name.position));
    }
    let set = match &value {
        OptionValue::Range(low, high) => match (low.parse(), high.parse()) {
            (Ok(low), Ok(high)) => options.search(spec, Tried::Range(low, high)),
            _ => Err(Error::new(SqlState::InvalidParameterValue, "a range is from a number to a number")),
        },
        OptionValue::Candidates(values) => {
            let values: Option<Vec<Value>> = values.iter().map(value_of).collect();
            let values = values.ok_or_else(|| Error::unsupported("a search among searches"));
            values.and_then(|values| options.search(spec, Tried::OneOf(values)))
        }
        other => match value_of(other) {
            Some(value) => options.set(spec, value),
            None => Err(Error::unsupported("a search in a list")),
        },
    };
    set.map_err(|error| error.at(option.position))
}

fn value_of(value: &OptionValue) -> Option<Value> {
    Some(match value {
        OptionValue::Text(text) => Value::Text(text.clone()),
        OptionValue::Boolean(value) => Value::Boolean(*value),
        OptionValue::Number(text) => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(number), _) => Value::Integer(number),
            (Err(_), Ok(number)) => Value::Number(number),
            (Err(_), Err(_)) => return None,
        },
        OptionValue::List(values) => Value::List(values.iter().map(value_of).collect::<Option<_>>()?),
        OptionValue::Range(..) | OptionValue::Candidates(_) => return None,
    })
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
    let bound =
        plan::bind_query(&statement.query, &road.context, relations, &road.source, &mut plan::Parameters::none())?;
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

/// With a transform: the settings that its expressions read when they are computed.
fn settings(road: &Road<'_>, statement: &CreateModel) -> Result<BTreeMap<String, String>> {
    if statement.transform.is_empty() {
        return Ok(BTreeMap::new());
    }
    let value = |(name, _): (&str, &str)| Ok((name.to_owned(), road.context.session.setting(name)?));
    SETTINGS.into_iter().map(value).collect()
}

fn hinted(error: Error) -> Error {
    match error.sqlstate() {
        SqlState::OutOfMemory if error.hint().is_none() => error.with_hint(
            "The rows to learn from are held in memory: train on a sample of them, or on fewer columns, or raise the memory limit.",
        ),
        _ => error,
    }
}
