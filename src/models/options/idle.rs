//! Options that say nothing beside the others. They are refused: who gives one believes that it counts.

use super::{Options, Tried, Value};
use crate::error::{Error, Result, SqlState};
use crate::models::evaluate;
use crate::models::kind::Task;

/// Options of a search.
const OF_SEARCH: [&str; 3] = ["num_trials", "hparam_algorithm", "hparam_objective"];

impl Options {
    fn is_given(&self, name: &str) -> bool {
        self.values.contains_key(name) || self.tried.contains_key(name)
    }

    /// Whether an option is, or comes to be, this word.
    fn may_be(&self, name: &str, word: &str) -> bool {
        let is_it = |value: &Value| matches!(value, Value::Text(text) if text == word);
        let candidates = match self.tried.get(name) {
            Some(Tried::OneOf(values)) => values.iter().any(is_it),
            Some(Tried::Range(..)) | None => false,
        };
        candidates || self.get(name).is_some_and(is_it)
    }

    /// Refuses an option that says nothing beside the others.
    ///
    /// # Errors
    /// The option's name, and 22023 without a position.
    pub fn check(&self) -> Result<(), (&str, Error)> {
        let refuse =
            |name: &'static str, message: String| Err((name, Error::new(SqlState::InvalidParameterValue, message)));
        let needs = |name: &'static str, what: &str| refuse(name, format!("option \"{name}\" has no meaning {what}"));
        if self.is_given("quantile") && !self.may_be("objective", "quantile") {
            return needs("quantile", "without objective = 'quantile'");
        }
        if self.is_given("split_column") && self.is_given("eval_fraction") {
            return needs("eval_fraction", "beside split_column, which says what rows are held out");
        }
        if self.is_given("num_components") && self.is_given("explained_variance") {
            return needs("explained_variance", "beside num_components");
        }
        if self.boolean("bootstrap") == Some(false) && self.boolean("oob_score") == Some(true) {
            return needs("oob_score", "with bootstrap = false: each tree is made of all rows");
        }
        if self.text("seasonal") == Some("none") && self.integer("period").is_some_and(|period| period > 1) {
            return needs("period", "with seasonal = 'none'");
        }
        if self.integer("early_stopping_rounds").is_some_and(|rounds| rounds > 0)
            && self.number("eval_fraction") == Some(0.0)
        {
            return needs("early_stopping_rounds", "where no rows are held out");
        }
        self.check_search()
    }

    fn check_search(&self) -> Result<(), (&str, Error)> {
        let refused = |message: String| Error::new(SqlState::InvalidParameterValue, message);
        if self.tried.is_empty() {
            let Some(name) = OF_SEARCH.into_iter().find(|name| self.is_given(name)) else { return Ok(()) };
            let error = refused(format!("option \"{name}\" has no meaning without a search"));
            let hint = "Give an option to search for the value HPARAM_RANGE(low, high) or HPARAM_CANDIDATES([a, b]).";
            return Err((name, error.with_hint(hint)));
        }
        if self.text("hparam_algorithm") == Some("grid") && self.is_given("num_trials") {
            let message = "option \"num_trials\" has no meaning with hparam_algorithm = 'grid'";
            return Err(("num_trials", refused(message.to_owned())));
        }
        self.objective().map(drop).map_err(|error| ("hparam_objective", error))
    }

    /// The metric that a search makes best.
    ///
    /// # Errors
    /// 22023 for one that models of the kind do not have.
    pub fn objective(&self) -> Result<&str> {
        let task = self.model_type.task();
        let Some(name) = self.text("hparam_objective") else {
            return Ok(if task == Task::Classification { "roc_auc" } else { "r2_score" });
        };
        let known = evaluate::names(task);
        known.iter().find(|metric| metric.eq_ignore_ascii_case(name)).copied().ok_or_else(|| {
            let message = format!("unknown metric \"{name}\" of option hparam_objective");
            Error::new(SqlState::InvalidParameterValue, message)
                .with_hint(format!("It is one of {}.", known.join(", ")))
        })
    }
}
