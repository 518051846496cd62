//! Why a learner did not learn or a model did not answer. The caller turns each into an error with SQLSTATE and hint.

use super::watch::Stopped;

/// What was refused, in words for the user.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The watch said so: cancel, timeout or shutdown.
    #[error("training was stopped")]
    Stopped,
    #[error("there are no rows to learn from")]
    NoRows,
    #[error("at least {needed} rows with values are needed, not {rows}")]
    TooFewRows { rows: usize, needed: usize },
    /// Every feature is constant or only NULL.
    #[error("no feature has two different values")]
    NoFeatures,
    #[error("all rows have the same label")]
    OneClass,
    /// Or its square is.
    #[error("column \"{column}\" has an infinite value, or one too large to square")]
    Infinite { column: String },
    #[error("the label is NULL or not finite in row {row}")]
    BadLabel { row: usize },
    #[error("the weight is negative or not finite in row {row}")]
    BadWeight { row: usize },
    #[error("the features make {columns} columns, and {limit} are allowed")]
    TooManyColumns { columns: usize, limit: usize },
    #[error("option \"{name}\" {reason}")]
    Option { name: &'static str, reason: String },
    /// The features are not those that the model was made from.
    #[error("the model needs {0}")]
    Mismatch(String),
    /// The numbers left the range of double precision.
    #[error("{0} is not finite")]
    Overflow(&'static str),
    /// A stored model that cannot be true: never answered from.
    #[error("the stored model is damaged: {0}")]
    Damaged(&'static str),
}

/// The option that an error of training is about. It is the error's source, for whoever knows where the option was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("option \"{0}\"")]
pub struct OfOption(pub &'static str);

impl OfOption {
    /// The option's own name.
    pub fn of(error: &crate::error::Error) -> Option<&'static str> {
        let source = std::error::Error::source(error)?;
        source.downcast_ref::<Self>().map(|option| option.0)
    }
}

impl From<Stopped> for Refusal {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl Refusal {
    pub fn option(name: &'static str, reason: impl Into<String>) -> Self {
        Self::Option { name, reason: reason.into() }
    }
}

/// `Damaged(what)` unless `good`.
pub fn sound(good: bool, what: &'static str) -> Result<(), Refusal> {
    if good { Ok(()) } else { Err(Refusal::Damaged(what)) }
}

/// `Damaged(what)` unless all values are finite.
pub fn finite(values: &[f64], what: &'static str) -> Result<(), Refusal> {
    sound(values.iter().all(|value| value.is_finite()), what)
}
