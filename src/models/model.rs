//! A model as it is used: read from an artifact, asked for predictions.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::DataType;

use super::anomaly;
use super::artifact::{Sections, damaged};
use super::feature::{Feature, FeatureKind, carrier, texts, values};
use super::header::{Header, Label};
use super::inputs::{Categories, Inputs};
use super::kind::Task;
use super::learned::{Learned, encoded, refused};
use crate::encode::types::{PgType, arrow_type};
use crate::error::{Error, Result};

/// What is asked of a model for each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The class, the number, the number of the cluster from 1, whether it is an anomaly.
    Predicted,
    /// Of a class, by its place; of an isolation forest its score.
    Probability(usize),
    /// Of all classes, as a JSON object.
    Probabilities,
    /// A component, by its place.
    Score(usize),
    /// The distance to the nearest centroid.
    Nearest,
}

/// A trained model, immutable.
#[derive(Debug)]
pub struct Model {
    pub header: Header,
    pub categories: Categories,
    pub learned: Arc<Learned>,
    /// The classes as values of the label's type.
    classes: Option<ArrayRef>,
    /// Bytes in memory, about.
    pub bytes: usize,
}

impl Model {
    /// # Errors
    /// XX001 when the parts do not fit each other.
    pub fn new(mut header: Header, categories: Categories, learned: Learned) -> Result<Self> {
        learned.check(&header, &categories)?;
        // What tells series apart is a text, whatever its type.
        let fits = |feature: &Feature| {
            FeatureKind::of(feature.ty()).is_some_and(|kind| kind == feature.kind || feature.kind.is_category())
        };
        if !header.features.iter().all(fits) {
            return Err(damaged("a feature is of no type that models learn from"));
        }
        let classes = match &mut header.label {
            Some(label) if !label.classes.is_empty() => Some(class_values(label)?),
            _ => None,
        };
        if header.options.model_type.task() == Task::Classification && classes.is_none() {
            return Err(damaged("a classifier without classes"));
        }
        let label = header.label.as_ref();
        if label.is_some_and(|label| label.positive.is_some_and(|place| place >= label.classes.len())) {
            return Err(damaged("the positive class"));
        }
        let bytes = learned.bytes() + categories.bytes();
        Ok(Self { header, categories, learned: Arc::new(learned), classes, bytes })
    }

    /// A model that is only to be bound: it takes and answers what the header says, and cannot be asked.
    pub fn to_bind(&self, header: Header) -> Self {
        let learned = Arc::clone(&self.learned);
        Self { header, categories: Categories::default(), learned, classes: None, bytes: 0 }
    }

    /// The artifact's bytes.
    ///
    /// # Errors
    /// XX000 when the header cannot be written.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut sections = Sections::default();
        let text = |value: serde_json::Result<String>| value.map_err(|error| Error::internal(error.to_string()));
        sections.put_text("header", text(serde_json::to_string(&self.header))?);
        sections.put_text("categories", text(serde_json::to_string(self.categories.texts()))?);
        self.learned.write(&mut sections)?;
        Ok(sections.encode())
    }

    /// What [`encode`](Self::encode) wrote, checked so that no answer can follow from damage.
    ///
    /// # Errors
    /// XX001, and 0A000 for what a newer program wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let sections = Sections::decode(bytes)?;
        let header: Header = serde_json::from_str(sections.text("header")?).map_err(|_| damaged("the header"))?;
        let categories = Categories::read(sections.text("categories")?, &header.features)?;
        let learned = Learned::read(&header, &sections)?;
        let mut model = Self::new(header, categories, learned)?;
        model.bytes = model.bytes.max(bytes.len());
        Ok(model)
    }

    pub fn features(&self) -> &[Feature] {
        &self.header.features
    }

    pub fn task(&self) -> Task {
        self.header.options.model_type.task()
    }

    /// The type of an answer.
    pub fn answer_type(&self, answer: Answer) -> PgType {
        match (answer, self.task()) {
            (Answer::Predicted, Task::Classification) => {
                self.header.label.as_ref().map_or(PgType::TEXT, |label| label.feature.ty())
            }
            (Answer::Predicted, Task::Clustering) => PgType::INT8,
            (Answer::Predicted, Task::Anomalies) => PgType::BOOL,
            (Answer::Probabilities, _) => PgType::JSONB,
            (Answer::Predicted | Answer::Probability(_) | Answer::Score(_) | Answer::Nearest, _) => PgType::FLOAT8,
        }
    }

    /// The Arrow type that carries an answer: numerics as classes may have more digits before the point than a table's.
    pub fn answer_carrier(&self, answer: Answer) -> DataType {
        let ty = self.answer_type(answer);
        if let (Answer::Predicted, Task::Classification, Some(label)) = (answer, self.task(), &self.header.label) {
            let known = self.classes.as_ref().map(|classes| classes.data_type().clone());
            return known.unwrap_or_else(|| carrier(label.classes.iter().map(String::as_str), ty));
        }
        arrow_type(ty)
    }

    /// The classes at these places, as values of the label's type.
    ///
    /// # Errors
    /// XX001 for a model without classes.
    pub fn class_values(&self, places: &UInt32Array) -> Result<ArrayRef> {
        let classes = self.classes.as_ref().ok_or_else(|| damaged("a classifier without classes"))?;
        Ok(take(classes.as_ref(), places, None)?)
    }

    /// The answer for each row; `arrays` are the features in the order of training.
    ///
    /// # Errors
    /// XX000 when the arrays are not the features'.
    pub fn answer(&self, arrays: &[ArrayRef], rows: usize, answer: Answer) -> Result<ArrayRef> {
        let inputs = Inputs::new(&self.header.features, &self.categories, arrays, rows)?;
        // Where one of many numbers is asked for, only that one is computed.
        if let (Answer::Predicted, Learned::KMeans(model)) = (answer, self.learned.as_ref()) {
            let assigned = model.assign(&encoded(&inputs, &self.categories, &model.encoder)).map_err(refused)?;
            return Ok(Arc::new(assigned.iter().map(|row| Some(row.cluster as i64 + 1)).collect::<Int64Array>()));
        }
        if let (Answer::Score(place), Learned::Components(model)) = (answer, self.learned.as_ref()) {
            let features = encoded(&inputs, &self.categories, &model.encoder);
            return Ok(Arc::new(Float64Array::from(model.score(&features, place).map_err(refused)?)));
        }
        let scores = self.learned.scores(&inputs, &self.categories)?;
        let width = self.learned.width().max(1);
        let column = |place: usize| -> ArrayRef {
            Arc::new(scores.chunks_exact(width).map(|row| row.get(place).copied()).collect::<Float64Array>())
        };
        let best = |row: &[f64]| {
            let mut best = 0;
            for (place, value) in row.iter().enumerate() {
                if *value > row.get(best).copied().unwrap_or(f64::NAN) {
                    best = place;
                }
            }
            best
        };
        Ok(match (answer, self.task()) {
            (Answer::Predicted, Task::Classification) => {
                self.class_values(&scores.chunks_exact(width).map(|row| Some(best(row) as u32)).collect())?
            }
            (Answer::Predicted, Task::Anomalies) => {
                let threshold = anomaly::bound(self.learned.threshold());
                let found = scores.chunks_exact(width).map(|row| row.first().map(|score| *score > threshold));
                Arc::new(found.collect::<arrow::array::BooleanArray>())
            }
            (Answer::Probabilities, _) => self.probabilities(&scores, width)?,
            (Answer::Predicted | Answer::Nearest, _) => column(0),
            (Answer::Probability(place) | Answer::Score(place), _) => column(place),
        })
    }

    fn probabilities(&self, scores: &[f64], width: usize) -> Result<ArrayRef> {
        let classes = self.header.label.as_ref().map(|label| label.classes.as_slice()).unwrap_or_default();
        let mut keys = Vec::with_capacity(classes.len());
        for (place, class) in classes.iter().enumerate() {
            let key = serde_json::to_string(class).map_err(|error| Error::internal(error.to_string()))?;
            keys.push((place, class.as_str(), key));
        }
        // As PostgreSQL orders the keys of jsonb.
        keys.sort_by(|(_, one, _), (_, other, _)| (one.len(), one).cmp(&(other.len(), other)));
        let object = |row: &[f64]| {
            let fields =
                keys.iter().map(|(place, _, key)| format!("{key}: {}", row.get(*place).copied().unwrap_or(0.0)));
            Some(format!("{{{}}}", fields.collect::<Vec<_>>().join(", ")))
        };
        let texts: ArrayRef = Arc::new(scores.chunks_exact(width).map(object).collect::<StringArray>());
        let carrier = arrow_type(PgType::JSONB);
        Ok(if carrier == DataType::Utf8 { texts } else { cast(&texts, &carrier)? })
    }
}

/// The classes as values of the label's type. Their texts become those of the values, which rows to evaluate with are compared with.
fn class_values(label: &mut Label) -> Result<ArrayRef> {
    let ty = label.feature.ty();
    let read = values(label.classes.iter().map(|class| Some(class.as_str())), ty);
    let read = read.map_err(|_| damaged("a class is no value of the label's type"))?;
    let written = texts(&read, ty)?;
    let distinct: HashSet<Option<&str>> = written.iter().collect();
    if distinct.len() < label.classes.len() {
        return Err(damaged("a class that is there twice"));
    }
    label.classes = written.iter().flatten().map(str::to_owned).collect();
    Ok(read)
}
