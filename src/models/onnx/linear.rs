//! Encoded features times coefficients, in double precision.
//!
//! Numbers: NULL becomes the mean, then `(x - shift) / scale · coefficient`. A category is looked up in a table that has a row of
//! coefficients for each level: what one-hot columns times coefficients give.

use std::collections::HashMap;

use super::Nulls;
use super::graph::{Builder, ML, int, ints, texts};
use crate::error::Result;
use crate::models::encoder::{Encoder, Kind, Levels, Part};
use crate::models::feature::Feature;

/// What a feature weighs: of each of its encoded columns, a coefficient for each output.
type Weights = Vec<(Part, Vec<f64>)>;

/// `intercepts + Σ encoded · coefficients`: a column for each row of coefficients.
pub(super) fn scores(
    builder: &mut Builder,
    features: &[Feature],
    encoder: &Encoder,
    (intercepts, coefficients): (&[f64], &[Vec<f64>]),
    nulls: &Nulls<'_>,
) -> Result<String> {
    let outputs = intercepts.len();
    let weights = weights(encoder, coefficients);
    let mut numbers = Vec::new();
    let mut parts = Vec::new();
    for ((feature, encoding), weights) in features.iter().zip(encoder.features()).zip(&weights) {
        match &encoding.kind {
            Kind::Numeric { mean, shift, scale, indicator: _ } => {
                let of = |part: &Part, factor: f64| {
                    let found = weights.iter().find(|(own, _)| own == part);
                    found.map_or(vec![0.0; outputs], |(_, row)| row.iter().map(|weight| weight * factor).collect())
                };
                let (slopes, indicators) = (of(&Part::Value, 1.0 / scale), of(&Part::Indicator, 1.0));
                numbers.push(Number { name: &feature.name, mean: *mean, shift: *shift, slopes, indicators });
            }
            Kind::Category(levels) => parts.push(looked_up(builder, feature, levels, (weights, outputs), nulls)?),
            Kind::Dropped { .. } => {}
        }
    }
    if !numbers.is_empty() {
        parts.extend(products(builder, &numbers, outputs));
    }
    let intercepts = builder.doubles(intercepts, outputs);
    Ok(parts.iter().fold(intercepts, |sum, part| builder.add("Add", &[&sum, part], Vec::new())))
}

fn weights(encoder: &Encoder, coefficients: &[Vec<f64>]) -> Vec<Weights> {
    let mut weights = vec![Weights::new(); encoder.features().len()];
    for (place, column) in encoder.columns().into_iter().enumerate() {
        let row = coefficients.iter().map(|row| row.get(place).copied().unwrap_or(0.0)).collect();
        if let Some(weights) = weights.get_mut(column.feature) {
            weights.push((column.part, row));
        }
    }
    weights
}

struct Number<'a> {
    name: &'a str,
    mean: f64,
    shift: f64,
    slopes: Vec<f64>,
    indicators: Vec<f64>,
}

/// The sums over all numbers.
fn products(builder: &mut Builder, numbers: &[Number<'_>], outputs: usize) -> Vec<String> {
    let columns: Vec<String> = numbers.iter().map(|number| number.name.to_owned()).collect();
    let given = builder.beside(&columns);
    let is_null = builder.add("IsNaN", &[&given], Vec::new());
    let means: Vec<f64> = numbers.iter().map(|number| number.mean).collect();
    let means = builder.doubles(&means, numbers.len());
    let filled = builder.add("Where", &[&is_null, &means, &given], Vec::new());
    let shifts: Vec<f64> = numbers.iter().map(|number| number.shift).collect();
    let shifts = builder.doubles(&shifts, numbers.len());
    let centred = builder.add("Sub", &[&filled, &shifts], Vec::new());
    let slopes: Vec<f64> = numbers.iter().flat_map(|number| number.slopes.iter().copied()).collect();
    let slopes = builder.doubles(&slopes, outputs);
    let mut parts = vec![builder.add("MatMul", &[&centred, &slopes], Vec::new())];
    let indicators: Vec<f64> = numbers.iter().flat_map(|number| number.indicators.iter().copied()).collect();
    if indicators.iter().any(|weight| *weight != 0.0) {
        let ones = builder.as_double(&is_null);
        let indicators = builder.doubles(&indicators, outputs);
        parts.push(builder.add("MatMul", &[&ones, &indicators], Vec::new()));
    }
    parts
}

/// The coefficients of the level that the text is: of the levels, then of NULL, then of all other texts.
fn looked_up(
    builder: &mut Builder,
    feature: &Feature,
    levels: &Levels,
    (weights, outputs): (&Weights, usize),
    nulls: &Nulls<'_>,
) -> Result<String> {
    nulls.check(feature, &levels.texts)?;
    let zeros = vec![0.0; outputs];
    let of = |wanted: &Part| weights.iter().find(|(part, _)| part == wanted).map_or(&zeros, |(_, row)| row);
    let of_level: HashMap<&str, &Vec<f64>> = weights
        .iter()
        .filter_map(|(part, row)| match part {
            Part::Level(text) => Some((text.as_str(), row)),
            Part::Value | Part::Indicator | Part::Other | Part::Missing => None,
        })
        .collect();
    // A level without a column is the reference.
    let mut table: Vec<&Vec<f64>> =
        levels.texts.iter().map(|text| of_level.get(text.as_str()).copied().unwrap_or(&zeros)).collect();
    table.extend([of(&Part::Missing), of(&Part::Other)]);
    let table: Vec<f64> = table.into_iter().flatten().copied().collect();
    let mut keys = levels.texts.clone();
    keys.push(nulls.text.to_owned());
    let attributes = vec![
        texts("keys_strings", &keys),
        ints("values_int64s", (0..keys.len() as i64).collect()),
        int("default_int64", keys.len() as i64),
    ];
    let rows = builder.add_of(ML, "LabelEncoder", &[&feature.name], attributes);
    let flat = builder.integers(&[-1]);
    let rows = builder.add("Reshape", &[&rows, &flat], Vec::new());
    let table = builder.doubles(&table, outputs);
    Ok(builder.add("Gather", &[&table, &rows], vec![int("axis", 0)]))
}
