//! SET, SHOW and RESET.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;

use super::output::{BatchStream, Output, RowsTag};
use super::road::Road;
use crate::encode::types::{OutputColumn, PgType};
use crate::error::Result;
use crate::session::Settings;
use crate::sql::{Name, Set, Show};

pub(crate) fn set(road: &mut Road<'_>, statement: &Set) -> Result<Output> {
    road.set_setting(statement)?;
    Ok(Output::Done("SET".into()))
}

pub(crate) fn reset(road: &mut Road<'_>, name: Option<&Name>) -> Result<Output> {
    match name {
        Some(name) => {
            let set = Set { name: name.clone(), value: None, local: false };
            road.set_setting(&set)?;
        }
        None => road.session.settings().reset_all(),
    }
    Ok(Output::Done("RESET".into()))
}

/// Columns of a SHOW, known before it runs. 42704 for an unknown name.
pub(crate) fn show_columns(statement: &Show) -> Result<Vec<OutputColumn>> {
    Ok(match statement {
        Show::All => {
            ["name", "setting", "description"].iter().map(|name| OutputColumn::new(*name, PgType::TEXT)).collect()
        }
        Show::Setting(name) => vec![OutputColumn::new(Settings::canonical_name(&name.value)?, PgType::TEXT)],
    })
}

pub(crate) fn show(road: &Road<'_>, statement: &Show) -> Result<Output> {
    let columns = show_columns(statement)?;
    let settings = road.session.settings();
    let values: Vec<Vec<String>> = match statement {
        Show::Setting(name) => vec![vec![settings.get(&name.value)?]],
        Show::All => {
            let rows = settings.shown();
            vec![
                rows.iter().map(|(name, ..)| name.clone()).collect(),
                rows.iter().map(|(_, value, _)| value.clone()).collect(),
                rows.iter().map(|(.., description)| (*description).to_owned()).collect(),
            ]
        }
    };
    drop(settings);
    Ok(Output::Rows { stream: text_rows(&columns, values)?, columns: columns.into(), tag: RowsTag::Fixed("SHOW") })
}

/// One batch of text columns.
pub(super) fn text_rows(columns: &[OutputColumn], values: Vec<Vec<String>>) -> Result<BatchStream> {
    let fields: Vec<Field> = columns.iter().map(|column| Field::new(&column.name, DataType::Utf8, true)).collect();
    let arrays: Vec<ArrayRef> =
        values.into_iter().map(|values| Arc::new(StringArray::from(values)) as ArrayRef).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?;
    Ok(Box::pin(futures::stream::once(async move { Ok(batch) })))
}
