//! Models as ONNX, for other programs: trees and linear models, with what they do to categories and NULL.
//!
//! ```text
//! a column each [N, 1]: doubles (NULL is NaN), texts (NULL is a text that is no category)
//!   trees:  texts ─ LabelEncoder ─ bins ─┬ Concat ─ TreeEnsembleRegressor ─ base, scale, link ─┐
//!           doubles ────────────────────┘                                                    ├ ArgMax, Gather ─ label
//!   linear: doubles ─ means for NaN ─ MatMul ─ + ─ LabelEncoder, Gather of texts ─ link ───────┘
//! ```
//! Operators of opset 16 and `ai.onnx.ml` 3 (ONNX 1.11 of 2022): the oldest with thresholds of double precision. All else is
//! computed in double precision too, by operators whose results the standard settles: TreeEnsembleClassifier would answer in
//! single precision, and decide between two classes by rules of its own.

mod graph;
mod linear;
mod proto;
mod trees;

use prost::Message as _;

use self::graph::{Builder, ML, int, ints, texts};
use self::proto::{Element, Entry, OperatorSet};
use super::anomaly;
use super::feature::{Feature, FeatureKind};
use super::header::{Header, Label};
use super::inputs::Categories;
use super::kind::Task;
use super::learned::Learned;
use super::model::Model;
use super::tree::{self, MISSING};
use super::trees::Trees;
use crate::encode::types::oid;
use crate::error::{Error, Result, SqlState};

const IR: i64 = 8;
const OPSET: i64 = 16;
const ML_OPSET: i64 = 3;
/// No message of protobuf may be larger.
const BYTES_MAX: usize = i32::MAX as usize;

/// The text that stands for NULL among a category's inputs.
pub(super) struct Nulls<'a> {
    text: &'a str,
}

impl Nulls<'_> {
    /// Refuses a category that cannot be told from NULL.
    fn check(&self, feature: &Feature, categories: &[String]) -> Result<()> {
        if !categories.iter().any(|category| category == self.text) {
            return Ok(());
        }
        let message = format!("category '{}' of feature \"{}\" cannot be told from NULL", self.text, feature.name);
        Err(Error::new(SqlState::InvalidParameterValue, message)
            .with_hint("ONNX has no NULL: the option null_text says which text, that is no category, stands for it."))
    }
}

/// The model as ONNX. Where `null_text` is a category's input, it is NULL.
///
/// # Errors
/// 0A000 for what ONNX cannot say, 22023 for a `null_text` that is a category, 54000 for more than protobuf holds.
pub fn export(model: &Model, null_text: &str) -> Result<Vec<u8>> {
    let header = &model.header;
    let kind = header.options.model_type.name();
    if !header.transform.is_empty() {
        return Err(Error::unsupported("TRANSFORM in an ONNX export")
            .with_hint("Its expressions are SQL. Train on a query that computes these columns, or export in the format 'lakegate'."));
    }
    let features = &header.features;
    let mut builder = Builder::new(features.iter().map(|feature| feature.name.as_str()));
    for feature in features {
        builder.input(&feature.name, if feature.kind.is_category() { Element::Text } else { Element::Double });
    }
    let nulls = Nulls { text: null_text };
    let scores = match model.learned.as_ref() {
        Learned::Trees(trees) => of_trees(&mut builder, features, &model.categories, trees, &nulls)?,
        Learned::Linear(model) => {
            let coefficients = std::slice::from_ref(&model.coefficients);
            linear::scores(&mut builder, features, &model.encoder, (&[model.intercept], coefficients), &nulls)?
        }
        Learned::Logistic(model) => {
            let coefficients = (model.intercepts.as_slice(), model.coefficients.as_slice());
            let scores = linear::scores(&mut builder, features, &model.encoder, coefficients, &nulls)?;
            match model.classes {
                2 => builder.add("Sigmoid", &[&scores], Vec::new()),
                _ => builder.add("Softmax", &[&scores], vec![int("axis", 1)]),
            }
        }
        Learned::KMeans(_) | Learned::Components(_) | Learned::Series(_) => {
            return Err(Error::unsupported(format!("a model of type {kind} as ONNX")));
        }
    };
    answers(&mut builder, model, &scores)?;
    let operators = [("", OPSET), (ML, ML_OPSET)];
    let operators =
        operators.into_iter().map(|(domain, version)| OperatorSet { domain: domain.to_owned(), version }).collect();
    let whole = proto::Model {
        ir_version: IR,
        producer_name: "lakegate".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        doc: format!("{kind} of Lakegate, trained {}", header.created_at),
        graph: Some(builder.finish(kind)),
        operators,
        metadata: metadata(header, null_text)?,
    };
    let bytes = whole.encoded_len();
    if bytes > BYTES_MAX {
        let message = format!("the model has {bytes} bytes as ONNX, more than {BYTES_MAX}");
        return Err(Error::new(SqlState::ProgramLimitExceeded, message));
    }
    Ok(whole.encode_to_vec())
}

/// Numbers as they are and categories as their bins, through the trees.
fn of_trees(
    builder: &mut Builder,
    features: &[Feature],
    categories: &Categories,
    trees: &Trees,
    nulls: &Nulls<'_>,
) -> Result<String> {
    let mut columns = Vec::with_capacity(features.len());
    for (at, (feature, kind)) in features.iter().zip(&trees.ensemble.features).enumerate() {
        columns.push(match kind {
            tree::Feature::Numeric => feature.name.clone(),
            tree::Feature::Categorical { bin_of } => {
                let known = categories.of(at);
                nulls.check(feature, known)?;
                let bins = known.iter().zip(bin_of).filter(|(_, bin)| **bin != MISSING);
                let (mut keys, mut values): (Vec<String>, Vec<i64>) =
                    bins.map(|(key, bin)| (key.clone(), i64::from(*bin))).unzip();
                keys.push(nulls.text.to_owned());
                values.push(i64::from(MISSING));
                let attributes = vec![
                    texts("keys_strings", &keys),
                    ints("values_int64s", values),
                    // An unknown category is missing.
                    int("default_int64", i64::from(MISSING)),
                ];
                let bins = builder.add_of(ML, "LabelEncoder", &[&feature.name], attributes);
                builder.as_double(&bins)
            }
        });
    }
    let columns = builder.beside(&columns);
    Ok(trees::outputs(builder, &trees.ensemble, &columns))
}

/// From scores to the columns of ML.PREDICT and ML.DETECT_ANOMALIES.
fn answers(builder: &mut Builder, model: &Model, scores: &str) -> Result<()> {
    let header = &model.header;
    match (model.task(), &header.label) {
        (Task::Classification, Some(label)) => {
            let probabilities = match label.classes.len() {
                2 => {
                    let one = builder.double(1.0);
                    let first = builder.add("Sub", &[&one, scores], Vec::new());
                    builder.beside(&[first, scores.to_owned()])
                }
                _ => scores.to_owned(),
            };
            // Of equal probabilities the first, as everywhere.
            let best = vec![int("axis", 1), int("keepdims", 0), int("select_last_index", 0)];
            let best = builder.add("ArgMax", &[&probabilities], best);
            let (classes, element) = classes(builder, label);
            let predicted = builder.add("Gather", &[&classes, &best], vec![int("axis", 0)]);
            let name = format!("predicted_{}", label.feature.name);
            builder.output(&name, &predicted, element, None);
            builder.output(&format!("{name}_probs"), &probabilities, Element::Double, Some(label.classes.len()));
        }
        (Task::Regression, Some(label)) => {
            builder.output(&format!("predicted_{}", label.feature.name), scores, Element::Double, Some(1));
        }
        (Task::Anomalies, _) => {
            let threshold = builder.double(anomaly::bound(model.learned.threshold()));
            let found = builder.add("Greater", &[scores, &threshold], Vec::new());
            builder.output("is_anomaly", &found, Element::Bool, Some(1));
            builder.output("anomaly_score", scores, Element::Double, Some(1));
        }
        (Task::Classification | Task::Regression | Task::Clustering | Task::Components | Task::Forecast, _) => {
            return Err(Error::internal("a model without answers as ONNX"));
        }
    }
    Ok(())
}

/// The classes as values of the type that is nearest to the label's; as texts where there is none.
fn classes(builder: &mut Builder, label: &Label) -> (String, Element) {
    let classes = &label.classes;
    match label.feature.type_oid {
        oid::BOOL => {
            let values: Vec<bool> = classes.iter().map(|class| class == "true").collect();
            (builder.booleans(&values), Element::Bool)
        }
        oid::INT2 | oid::INT4 | oid::INT8 => {
            if let Ok(values) = classes.iter().map(|class| class.parse()).collect::<Result<Vec<i64>, _>>() {
                return (builder.integers(&values), Element::Int64);
            }
            (builder.texts(classes), Element::Text)
        }
        oid::FLOAT4 | oid::FLOAT8 | oid::NUMERIC => {
            if let Ok(values) = classes.iter().map(|class| class.parse()).collect::<Result<Vec<f64>, _>>() {
                return (builder.vector(&values), Element::Double);
            }
            (builder.texts(classes), Element::Text)
        }
        _ => (builder.texts(classes), Element::Text),
    }
}

/// What a program can read of the model, as texts.
fn metadata(header: &Header, null_text: &str) -> Result<Vec<Entry>> {
    let json =
        |value: &serde_json::Value| serde_json::to_string(value).map_err(|error| Error::internal(error.to_string()));
    let unit = |kind: FeatureKind| match kind {
        FeatureKind::Number => "number",
        FeatureKind::Boolean => "0 or 1",
        FeatureKind::Date => "days since 1970-01-01",
        FeatureKind::Time => "seconds since 1970-01-01 00:00 UTC, or since midnight",
        FeatureKind::Category => "text",
    };
    let features =
        header.features.iter().map(|feature| serde_json::json!({"name": feature.name, "value": unit(feature.kind)}));
    let mut entries = vec![
        ("model_type", header.options.model_type.name().to_owned()),
        ("features", json(&features.collect())?),
        ("null_text", null_text.to_owned()),
        ("created_at", header.created_at.clone()),
    ];
    if let Some(label) = &header.label {
        entries.push(("label", label.feature.name.clone()));
        entries.push(("classes", json(&serde_json::json!(label.classes))?));
    }
    Ok(entries.into_iter().map(|(key, value)| Entry { key: format!("lakegate.{key}"), value }).collect())
}
