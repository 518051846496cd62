//! Calls of a trained model as functions of the engine: one for each version and answer.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use crate::error::{Error, SqlState};
use crate::models::{Answer, Model};

/// A model's answer as a function of its features, in the order of training.
#[derive(Debug)]
struct Prediction {
    model: Arc<Model>,
    /// As it was written, for errors.
    name: String,
    answer: Answer,
    signature: Signature,
}

/// The function that answers so; the model's name is for errors.
pub fn function(model: Arc<Model>, name: String, answer: Answer) -> ScalarUDF {
    let signature = Signature::any(model.features().len(), Volatility::Immutable);
    ScalarUDF::from(Prediction { model, name, answer, signature })
}

impl PartialEq for Prediction {
    fn eq(&self, other: &Self) -> bool {
        // The id in a header is what a file says, and files can say the same of other models. One that was read twice counts
        // as two: no more is lost by that than one computation for both.
        Arc::ptr_eq(&self.model, &other.model) && self.answer == other.answer
    }
}

impl Eq for Prediction {}

impl Hash for Prediction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.model).hash(state);
        self.answer.hash(state);
    }
}

impl ScalarUDFImpl for Prediction {
    fn name(&self) -> &str {
        match self.answer {
            Answer::Predicted => "predict",
            Answer::Probability(_) => "predict_proba",
            Answer::Probabilities => "predict_probs",
            Answer::Score(_) | Answer::Nearest => "predict_score",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.model.answer_carrier(self.answer))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let all_scalar = args.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let rows = if all_scalar { 1 } else { args.number_rows };
        let arrays: Vec<_> = args.args.into_iter().map(|value| value.into_array(rows)).collect::<Result<_>>()?;
        let answers = self.model.answer(&arrays, rows, self.answer);
        let answers = answers.map_err(|error| of_model(&self.name, error).into_datafusion())?;
        if all_scalar {
            return Ok(ColumnarValue::Scalar(datafusion::common::ScalarValue::try_from_array(&answers, 0)?));
        }
        Ok(ColumnarValue::Array(answers))
    }
}

/// An error about what a row holds says which of a query's models was asked.
fn of_model(name: &str, error: Error) -> Error {
    if error.sqlstate() != SqlState::NumericValueOutOfRange {
        return error;
    }
    let named = Error::new(error.sqlstate(), format!("model \"{name}\": {}", error.message()));
    match error.hint() {
        Some(hint) => named.with_hint(hint),
        None => named,
    }
}
