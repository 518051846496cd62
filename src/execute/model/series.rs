//! What the columns of the training query are for a model of series.

use super::create::{Roles, at_column, each_once, named, settled_type};
use super::given::at_option;
use crate::encode::types::{OutputColumn, format_type, oid};
use crate::error::{Error, Result, SqlState};
use crate::models::dataset::Plan;
use crate::models::options::Options;
use crate::models::{Feature, FeatureKind};
use crate::sql::CreateModel;

/// Features are the time and what tells series apart, in this order; the label is the value.
pub(super) fn roles(
    columns: &[OutputColumn],
    options: &Options,
    (statement, source): (&CreateModel, &str),
) -> Result<Roles> {
    let at = |option: &str| at_option(option, options, statement);
    if let Some(item) = statement.transform.first() {
        let error = Error::unsupported("TRANSFORM in a model of series");
        return Err(error.at(Some(item.name.position)).with_hint("Compute the columns in the training query."));
    }
    each_once(columns, (statement, source))?;
    let required = |option: &'static str, alias: &str| -> Result<usize> {
        let Some(name) = options.text(option) else {
            let message = format!("a model of type {} needs the option {alias}", options.model_type.name());
            return Err(Error::new(SqlState::InvalidParameterValue, message).at(at("model_type")));
        };
        named(columns, option, name).map_err(|error| error.at(at(option)))
    };
    let time = required("time", "time_series_timestamp_col")?;
    let value = required("label", "time_series_data_col")?;
    let ids = options.texts("series").into_iter();
    let ids = ids.map(|name| named(columns, "series", name).map_err(|error| error.at(at("series"))));
    let ids = ids.collect::<Result<Vec<_>>>()?;
    let taken: Vec<usize> = [time, value].into_iter().chain(ids.iter().copied()).collect();
    for (number, place) in taken.iter().enumerate() {
        if taken.iter().take(number).any(|other| other == place) {
            let name = columns.get(*place).map_or("", |column| column.name.as_str());
            let message = format!("column \"{name}\" is named by two options");
            let later = if number == 1 { "label" } else { "series" };
            return Err(Error::new(SqlState::InvalidParameterValue, message).at(at(later)));
        }
    }
    if let Some((place, spare)) = columns.iter().enumerate().find(|(place, _)| !taken.contains(place)) {
        let message = format!("column \"{}\" of the training query is neither time, value nor series", spare.name);
        return Err(Error::new(SqlState::InvalidParameterValue, message)
            .with_hint("Leave it out, or name it by the option time_series_id_col.")
            .at(at_column(place, (statement, source))));
    }
    let feature = |place: usize| -> Result<(usize, Feature)> {
        let column = columns.get(place).ok_or_else(|| Error::internal("a column is missing"))?;
        Ok((place, Feature::new(&column.name, settled_type(column.ty))?))
    };
    let wrong = |feature: &Feature, what: &str, option: &str| {
        let ty = format_type(feature.ty());
        let message = format!("column \"{}\" of option {option} must be {what}, not {ty}", feature.name);
        Error::new(SqlState::DatatypeMismatch, message).at(at(option))
    };
    let (time, of_time) = feature(time)?;
    if !matches!(of_time.type_oid, oid::DATE | oid::TIMESTAMP | oid::TIMESTAMPTZ) {
        return Err(wrong(&of_time, "a date or timestamp", "time"));
    }
    let label = feature(value)?;
    if label.1.kind != FeatureKind::Number {
        return Err(wrong(&label.1, "a number", "label"));
    }
    let mut features = vec![(time, of_time)];
    for id in ids {
        let (place, mut id) = feature(id)?;
        let names =
            [oid::TEXT, oid::VARCHAR, oid::BPCHAR, oid::NAME, oid::INT2, oid::INT4, oid::INT8, oid::BOOL, oid::DATE];
        if !names.contains(&id.type_oid) {
            return Err(wrong(&id, "a text, whole number, boolean or date", "series").with_hint("Cast it to text."));
        }
        id.kind = FeatureKind::Category;
        features.push((place, id));
    }
    let of_label = label.1.clone();
    let plan = Plan { features, label: Some(label), seed: options.seed(), time: Some(time), ..Plan::default() };
    Ok(Roles { plan, label: Some(of_label) })
}
