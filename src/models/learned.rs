//! What the learners learn, under one roof.

use super::artifact::Sections;
use super::header::Header;
use super::inputs::Inputs;
use crate::error::Result;

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
pub enum Learned {}

impl Learned {
    /// Refuses what does not fit the header.
    ///
    /// # Errors
    /// XX001.
    pub fn check(&self, _header: &Header) -> Result<()> {
        match *self {}
    }

    pub fn read(header: &Header, _sections: &Sections) -> Result<Self> {
        Err(crate::error::Error::unsupported(header.options.model_type.name()))
    }

    pub fn write(&self, _sections: &mut Sections) -> Result<()> {
        match *self {}
    }

    /// Numbers for each row: a probability a class, the predicted number, a distance a cluster, a component each, the score of
    /// an isolation forest.
    pub fn width(&self) -> usize {
        match *self {}
    }

    /// Those numbers, row by row.
    pub fn scores(&self, _inputs: &Inputs) -> Result<Vec<f64>> {
        match *self {}
    }

    /// Of an isolation forest: scores above it are of anomalies.
    pub fn threshold(&self) -> f64 {
        match *self {}
    }

    /// The weights of a linear model, the loadings of components, the coordinates of centroids.
    ///
    /// # Errors
    /// XX001.
    pub fn weights(&self, _header: &Header) -> Result<Option<Vec<Weight>>> {
        match *self {}
    }

    /// In memory, about.
    pub fn bytes(&self) -> usize {
        match *self {}
    }
}

