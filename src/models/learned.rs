//! What the learners learn, under one roof: asked for scores, written to artifacts and read from them.

use super::artifact::{Sections, damaged};
use super::cluster::KMeans;
use super::components::Pca;
use super::encoder::{Column, EncodedColumn, Encoder, Features, Part};
use super::header::Header;
use super::inputs::{Categories, Input, Inputs};
use super::kind::{ModelType, Task};
use super::linear::LinearModel;
use super::linear::logistic::LogisticModel;
use super::refusal::{OfOption, Refusal};
use super::series::SeriesSet;
use super::tree::Feature as TreeFeature;
use super::trees::Trees;
use crate::error::{Error, Result, SqlState};

/// A number that was learned for an input.
#[derive(Debug, Clone, PartialEq)]
pub struct Weight {
    /// The class, the component or the centroid that it is of, where there are several.
    pub output: Option<String>,
    pub input: String,
    pub category: Option<String>,
    pub weight: f64,
    pub standard_error: Option<f64>,
    pub p_value: Option<f64>,
}

/// What was learned.
#[derive(Debug)]
pub enum Learned {
    Trees(Trees),
    Linear(LinearModel),
    Logistic(LogisticModel),
    KMeans(KMeans),
    Components(Pca),
    Series(SeriesSet),
}

/// The section of what is kept as JSON.
const PARAMETERS: &str = "parameters";
/// How the constant of a linear model is called.
const INTERCEPT: &str = "__INTERCEPT__";

/// A learner's refusal as a statement's error.
pub fn refused(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Stopped => Error::new(SqlState::QueryCanceled, "canceling statement due to user request"),
        Refusal::Damaged(what) => damaged(what),
        Refusal::TooManyColumns { .. } => Error::new(SqlState::ProgramLimitExceeded, refusal.to_string()),
        Refusal::Overflow(_) | Refusal::Infinite { .. } => {
            Error::new(SqlState::NumericValueOutOfRange, refusal.to_string())
                .with_hint("Leave such rows out in the query.")
        }
        Refusal::Option { name, .. } => {
            Error::new(SqlState::InvalidParameterValue, refusal.to_string()).with_source(OfOption(name))
        }
        _ => Error::new(SqlState::InvalidParameterValue, refusal.to_string()),
    }
}

impl Learned {
    /// Refuses what does not fit the header.
    ///
    /// # Errors
    /// XX001.
    pub fn check(&self, header: &Header, categories: &Categories) -> Result<()> {
        categories.check(&header.features)?;
        if let Self::Series(set) = self {
            set.validate(categories.texts())?;
        }
        self.check_kinds(categories)?;
        let features = header.features.len();
        let (own, task) = match self {
            Self::Trees(trees) => (trees.ensemble.features.len(), header.options.model_type.is_of_trees()),
            Self::Linear(model) => {
                (model.encoder.features().len(), header.options.model_type == ModelType::LinearRegression)
            }
            Self::Logistic(model) => {
                (model.encoder.features().len(), header.options.model_type == ModelType::LogisticRegression)
            }
            Self::KMeans(model) => (model.encoder.features().len(), header.options.model_type == ModelType::Kmeans),
            Self::Components(model) => (model.encoder.features().len(), header.options.model_type == ModelType::Pca),
            Self::Series(set) => (set.ids + 1, header.options.model_type == ModelType::ExponentialSmoothing),
        };
        let classes = header.label.as_ref().map_or(0, |label| label.classes.len());
        let classed = header.options.model_type.task() != Task::Classification || self.width() == classes;
        if own != features || !task || !classed {
            return Err(damaged("what was learned does not fit the header"));
        }
        Ok(())
    }

    /// Refuses what takes a category for a number, or the other way round, or has not the number of its texts.
    fn check_kinds(&self, categories: &Categories) -> Result<()> {
        let fits = match self {
            Self::Trees(trees) => {
                let mut each = trees.ensemble.features.iter().zip(categories.texts());
                each.all(|(feature, texts)| match (feature, texts) {
                    (TreeFeature::Numeric, None) => true,
                    (TreeFeature::Categorical { bin_of }, Some(texts)) => bin_of.len() == texts.len(),
                    (TreeFeature::Numeric, Some(_)) | (TreeFeature::Categorical { .. }, None) => false,
                })
            }
            Self::Linear(model) => model.encoder.fits(categories.texts()),
            Self::Logistic(model) => model.encoder.fits(categories.texts()),
            Self::KMeans(model) => model.encoder.fits(categories.texts()),
            Self::Components(model) => model.encoder.fits(categories.texts()),
            Self::Series(_) => true,
        };
        if fits { Ok(()) } else { Err(damaged("what was learned does not fit the categories")) }
    }

    pub fn read(header: &Header, sections: &Sections) -> Result<Self> {
        let classes = header.label.as_ref().map_or(0, |label| label.classes.len());
        fn parameters<T: serde::de::DeserializeOwned>(sections: &Sections) -> Result<T> {
            serde_json::from_str(sections.text(PARAMETERS)?).map_err(|_| damaged("the parameters"))
        }
        match header.options.model_type {
            kind if kind.is_of_trees() => Trees::read(sections, classes).map(Self::Trees),
            ModelType::LinearRegression => {
                let model: LinearModel = parameters(sections)?;
                model.validate().map_err(refused)?;
                Ok(Self::Linear(model))
            }
            ModelType::LogisticRegression => {
                let model: LogisticModel = parameters(sections)?;
                model.validate().map_err(refused)?;
                Ok(Self::Logistic(model))
            }
            ModelType::Kmeans => {
                let model: KMeans = parameters(sections)?;
                model.validate().map_err(refused)?;
                Ok(Self::KMeans(model))
            }
            ModelType::Pca => {
                let model: Pca = parameters(sections)?;
                model.validate().map_err(refused)?;
                Ok(Self::Components(model))
            }
            // All kinds that are trees stand above.
            _ => SeriesSet::read(sections).map(Self::Series),
        }
    }

    pub fn write(&self, sections: &mut Sections) -> Result<()> {
        let text = match self {
            Self::Trees(trees) => {
                trees.write(sections);
                return Ok(());
            }
            Self::Series(set) => {
                set.write(sections);
                return Ok(());
            }
            Self::Linear(model) => serde_json::to_string(model),
            Self::Logistic(model) => serde_json::to_string(model),
            Self::KMeans(model) => serde_json::to_string(model),
            Self::Components(model) => serde_json::to_string(model),
        };
        sections.put_text(PARAMETERS, text.map_err(|error| Error::internal(error.to_string()))?);
        Ok(())
    }

    /// Numbers for each row: a probability a class, the predicted number, the distance to the nearest centroid, a component each, the score
    /// of an isolation forest, the value that is expected at a time.
    pub fn width(&self) -> usize {
        match self {
            Self::Trees(trees) => trees.width(),
            Self::Linear(_) => 1,
            Self::Logistic(model) => model.classes,
            Self::KMeans(_) => 1,
            Self::Components(model) => model.components.len(),
            Self::Series(_) => 1,
        }
    }

    /// How many parts answer for a row, each from all its features: trees, centroids, classes, components.
    pub fn parts(&self) -> usize {
        match self {
            Self::Trees(trees) => trees.ensemble.trees.len(),
            Self::KMeans(model) => model.centroids.len(),
            Self::Logistic(model) => model.classes,
            Self::Components(model) => model.components.len(),
            Self::Linear(_) | Self::Series(_) => 1,
        }
    }

    /// Those numbers, row by row.
    ///
    /// # Errors
    /// XX000 for inputs that are not the features', and for series: they are asked by [`SeriesSet::asked`].
    pub fn scores(&self, inputs: &Inputs, categories: &Categories) -> Result<Vec<f64>> {
        match self {
            Self::Trees(trees) => trees.scores(inputs),
            Self::Linear(model) => model.predict(&encoded(inputs, categories, &model.encoder)).map_err(refused),
            Self::Logistic(model) => model.probabilities(&encoded(inputs, categories, &model.encoder)).map_err(refused),
            Self::KMeans(model) => {
                let assigned = model.assign(&encoded(inputs, categories, &model.encoder)).map_err(refused)?;
                Ok(assigned.iter().map(|row| row.distance).collect())
            }
            Self::Components(model) => {
                Ok(model.transform(&encoded(inputs, categories, &model.encoder)).map_err(refused)?.scores)
            }
            Self::Series(_) => Err(Error::internal("rows of series have no scores of their own")),
        }
    }

    /// Of an isolation forest: scores above it are of anomalies.
    pub fn threshold(&self) -> f64 {
        match self {
            Self::Trees(trees) => trees.threshold,
            Self::Linear(_) | Self::Logistic(_) | Self::KMeans(_) | Self::Components(_) | Self::Series(_) => {
                f64::INFINITY
            }
        }
    }

    /// The weights of a linear model, the loadings of components, the coordinates of centroids.
    ///
    /// # Errors
    /// XX001.
    pub fn weights(&self, header: &Header, categories: &Categories) -> Result<Option<Vec<Weight>>> {
        let classes = header.label.as_ref().map(|label| label.classes.as_slice()).unwrap_or_default();
        Ok(match self {
            Self::Trees(_) => None,
            Self::Linear(model) => {
                let weight = |weight: super::linear::Weight| {
                    let (input, category) = described(&model.encoder, weight.column);
                    let (standard_error, p_value) = (weight.error, weight.p);
                    Weight { output: None, input, category, weight: weight.weight, standard_error, p_value }
                };
                Some(model.weights().into_iter().map(weight).collect())
            }
            Self::Logistic(model) => {
                let weight = |weight: super::linear::logistic::ClassWeight| {
                    let (input, category) = described(&model.encoder, weight.column);
                    let output = classes.get(weight.class).cloned();
                    Weight { output, input, category, weight: weight.weight, standard_error: None, p_value: None }
                };
                Some(model.weights().into_iter().map(weight).collect())
            }
            Self::KMeans(model) => Some(of_outputs(&model.encoder, model.centroid_values())),
            Self::Components(model) => Some(of_outputs(&model.encoder, model.loadings())),
            Self::Series(set) => Some(set.weights(categories.texts())),
        })
    }

    /// In memory, about.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Trees(trees) => trees.bytes(),
            Self::Linear(model) => model.coefficients.len() * 64,
            Self::Logistic(model) => model.coefficients.iter().map(|weights| weights.len() * 64).sum(),
            Self::KMeans(model) => model.centroids.iter().map(|centroid| centroid.len() * 16).sum(),
            Self::Components(model) => model.components.iter().map(|component| component.len() * 16).sum(),
            Self::Series(set) => set.bytes(),
        }
    }
}

/// Numbers of centroids or components, which count from 1.
fn of_outputs(encoder: &Encoder, values: Vec<(usize, EncodedColumn, f64)>) -> Vec<Weight> {
    let weight = |(output, column, weight): (usize, EncodedColumn, f64)| {
        let (input, category) = described(encoder, Some(column));
        let output = Some((output + 1).to_string());
        Weight { output, input, category, weight, standard_error: None, p_value: None }
    };
    values.into_iter().map(weight).collect()
}

/// The input of an encoded column, and its category; the constant where there is no column.
fn described(encoder: &Encoder, column: Option<EncodedColumn>) -> (String, Option<String>) {
    let Some(column) = column else { return (INTERCEPT.to_owned(), None) };
    let name = encoder.features().get(column.feature).map_or(String::new(), |feature| feature.name.clone());
    let category = match column.part {
        Part::Value => None,
        Part::Indicator => Some("(is null)".to_owned()),
        Part::Missing => Some("(null)".to_owned()),
        Part::Level(text) => Some(text),
        Part::Other => Some("(other)".to_owned()),
    };
    (name, category)
}

/// The inputs as what was learned over encoded columns takes them; its encoder and these categories are of one training.
pub fn encoded<'a>(inputs: &'a Inputs, categories: &Categories, encoder: &'a Encoder) -> Features<'a> {
    let of_texts = encoder.columns_of(|feature| categories.of(feature));
    let columns = inputs.columns.iter().enumerate().map(|(at, input)| match input {
        Input::Numbers(values) => Column::Numeric(values.values()),
        Input::Codes(codes) => Column::Bound { codes, columns: of_texts.get(at).map_or(&[], Vec::as_slice) },
    });
    Features { rows: inputs.rows, columns: columns.collect() }
}
