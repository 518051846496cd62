//! Models: datasets, learners, evaluation, artifacts and predictions.
//!
//! ```text
//! batches ─ dataset ─→ train ─→ Learned + figures ─ artifact ─→ bytes
//!                               Learned + rows ─ predict ─→ columns
//! ```
//! Synchronous; it knows no SQL, no catalog, no store and no session. Training asks a [`watch::Watch`] whether to go on.

mod algebra;
pub mod anomaly;
pub mod artifact;
mod cluster;
mod components;
pub mod dataset;
mod encoder;
pub mod evaluate;
pub mod explain;
mod feature;
pub mod forecast;
pub mod header;
pub mod inputs;
mod kind;
mod learned;
mod linear;
mod metrics;
mod model;
mod notes;
pub mod onnx;
pub mod options;
mod refusal;
mod series;
mod train;
pub mod tree;
mod trees;
pub mod watch;

pub use feature::{Feature, FeatureKind, carrier, class_values, numbers, texts, values};
pub use kind::{ModelType, Task};
pub use learned::{Learned, Weight};
pub use model::{Answer, Model};
pub use refusal::{OfOption, Refusal};
pub use series::{Asked, Expected, Known, Series, SeriesSet};
pub use train::{Control, Outcome, train};
