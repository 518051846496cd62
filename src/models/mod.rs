//! Models: datasets, learners, evaluation, artifacts and predictions.
//!
//! ```text
//! batches ─ dataset ─→ train ─→ Learned + figures ─ artifact ─→ bytes
//!                               Learned + rows ─ predict ─→ columns
//! ```
//! Synchronous; it knows no SQL, no catalog, no store and no session. Training asks a [`watch::Watch`] whether to go on.

mod algebra;
pub mod artifact;
mod cluster;
mod components;
pub mod dataset;
mod encoder;
pub mod evaluate;
mod feature;
mod forecast;
pub mod header;
pub mod inputs;
mod kind;
mod learned;
mod linear;
mod metrics;
mod model;
pub mod onnx;
pub mod options;
mod refusal;
mod train;
pub mod tree;
mod trees;
pub mod watch;

pub use feature::{Feature, FeatureKind, numbers, texts};
pub use kind::{ModelType, Task};
pub use learned::{Learned, Weight};
pub use model::{Answer, Model};
pub use refusal::Refusal;
pub use train::{Control, Outcome, train};
