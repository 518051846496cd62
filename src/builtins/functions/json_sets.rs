//! The set-returning functions whose rows a kernel makes as a list: parts of JSON documents, matches, series of numerics.

use arrow::array::{Array, ArrayRef, Decimal128Builder, ListBuilder, StringBuilder};
use arrow::datatypes::{DataType, Field};
use datafusion::logical_expr::{Expr, ReturnFieldArgs};

use super::json_text::{self, Kind};
use super::kernel::{Call, Kernel, Returns, Run, some};
use super::numeric::{self, decimal_type, rescale, scale_of};
use super::regexp::{Compiled, flags};
use super::{SetFunction, Volatility};
use crate::encode::types::{PgType, oid};
use crate::error::{Error, Result, SqlState};

/// A set's columns: name where the function gives one, list for each row, type.
pub type Lists = Vec<(Option<&'static str>, Expr, PgType)>;

/// The columns of a call, or none when its rows are not made here. The arguments have the declared types.
pub fn lists(function: SetFunction, name: &'static str, returns: PgType, arguments: &[Expr]) -> Result<Option<Lists>> {
    let texts = |column: u32, run: Run| {
        Kernel::new(name, column, Volatility::Immutable, Returns::Fixed(DataType::new_list(DataType::Utf8, true)), run)
            .call(arguments.to_vec())
    };
    let part = if name.ends_with("_text") {
        PgType::TEXT
    } else if name.starts_with("jsonb") {
        PgType::JSONB
    } else {
        PgType::JSON
    };
    Ok(Some(match function {
        SetFunction::JsonArrayElements => vec![(Some("value"), texts(0, elements)?, returns)],
        SetFunction::JsonObjectKeys => vec![(None, texts(0, keys)?, returns)],
        SetFunction::JsonEach => {
            vec![(Some("key"), texts(0, keys)?, PgType::TEXT), (Some("value"), texts(1, values)?, part)]
        }
        SetFunction::Keywords => super::keywords::lists(),
        SetFunction::Options => vec![
            (Some("option_name"), texts(0, super::facilities::option_names)?, PgType::TEXT),
            (Some("option_value"), texts(1, super::facilities::option_values)?, PgType::TEXT),
        ],
        SetFunction::RegexpMatches => {
            let item = DataType::new_list(DataType::Utf8, true);
            let kernel =
                Kernel::new(name, 0, Volatility::Immutable, Returns::Fixed(DataType::new_list(item, true)), matches);
            vec![(None, kernel.call(arguments.to_vec())?, returns)]
        }
        SetFunction::GenerateSeries if returns.oid == oid::NUMERIC => {
            let kernel = Kernel::new(name, 0, Volatility::Immutable, Returns::Of(series_type), series);
            vec![(None, kernel.call(arguments.to_vec())?, returns)]
        }
        SetFunction::GenerateSeries
        | SetFunction::GenerateSubscripts
        | SetFunction::Unnest
        | SetFunction::ExpandArray
        | SetFunction::RegexpSplitToTable
        | SetFunction::StringToTable
        | SetFunction::Empty => return Ok(None),
    }))
}

/// Appends a part, as text or as JSON.
fn append(call: &Call, out: &mut StringBuilder, value: &str) {
    if call.name.ends_with("_text") {
        out.append_option(json_text::plain(value));
    } else {
        out.append_value(value);
    }
}

fn elements(call: &Call) -> Result<ArrayRef> {
    let documents = call.text(0)?;
    call.text_lists(|row, out| {
        let document = some!(documents.get(row));
        let kind = json_text::kind(document);
        if kind != Kind::Array {
            let message = match (call.name.starts_with("jsonb"), kind) {
                (true, Kind::Object) => "cannot extract elements from an object".to_owned(),
                (true, _) => "cannot extract elements from a scalar".to_owned(),
                (false, Kind::Object) => format!("cannot call {} on a non-array", call.name),
                (false, _) => format!("cannot call {} on a scalar", call.name),
            };
            return Err(Error::new(SqlState::InvalidParameterValue, message));
        }
        json_text::items(document).for_each(|item| append(call, out, item));
        Ok(Some(()))
    })
}

fn check_object(call: &Call, document: &str) -> Result<()> {
    let kind = json_text::kind(document);
    if kind == Kind::Object {
        return Ok(());
    }
    let name = call.name;
    let message = match (name, kind) {
        ("json_object_keys" | "jsonb_object_keys", Kind::Array) => format!("cannot call {name} on an array"),
        ("json_object_keys" | "jsonb_object_keys", _) => format!("cannot call {name} on a scalar"),
        (name, _) if name.starts_with("jsonb") => format!("cannot call {name} on a non-object"),
        (_, Kind::Array) => "cannot deconstruct an array as an object".to_owned(),
        _ => "cannot deconstruct a scalar".to_owned(),
    };
    Err(Error::new(SqlState::InvalidParameterValue, message))
}

fn keys(call: &Call) -> Result<ArrayRef> {
    let documents = call.text(0)?;
    call.text_lists(|row, out| {
        let document = some!(documents.get(row));
        check_object(call, document)?;
        json_text::members(document).for_each(|(key, _)| out.append_value(json_text::unescape(key)));
        Ok(Some(()))
    })
}

fn values(call: &Call) -> Result<ArrayRef> {
    let documents = call.text(0)?;
    call.text_lists(|row, out| {
        let document = some!(documents.get(row));
        check_object(call, document)?;
        json_text::members(document).for_each(|(_, value)| append(call, out, value));
        Ok(Some(()))
    })
}

/// `regexp_matches`: the groups of the first match, or of each with the flag g.
fn matches(call: &Call) -> Result<ArrayRef> {
    let (texts, patterns) = (call.text(0)?, call.text(1)?);
    let options = if call.len() > 2 { Some(call.text(2)?) } else { None };
    let mut compiled = Compiled::new();
    let item = std::sync::Arc::new(Field::new("item", DataType::Utf8, true));
    let groups = ListBuilder::new(StringBuilder::new()).with_field(item.clone());
    let list = std::sync::Arc::new(Field::new("item", DataType::List(item), true));
    let mut builder = ListBuilder::new(groups).with_field(list);
    for row in 0..call.rows {
        let options = match &options {
            Some(options) => options.get(row),
            None => Some(""),
        };
        let (Some(text), Some(pattern), Some(options)) = (texts.get(row), patterns.get(row), options) else {
            builder.append_null();
            continue;
        };
        let flags = flags(options)?;
        let all = flags.global;
        let regex = compiled.get(pattern, flags)?;
        for captures in regex.captures_iter(text).take(if all { usize::MAX } else { 1 }) {
            let groups = builder.values();
            if captures.len() == 1 {
                groups.values().append_value(captures.get(0).map_or("", |found| found.as_str()));
            }
            for group in captures.iter().skip(1) {
                groups.values().append_option(group.map(|found| found.as_str()));
            }
            groups.append(true);
        }
        builder.append(true);
    }
    Ok(std::sync::Arc::new(builder.finish()))
}

fn series_type(args: &ReturnFieldArgs) -> Result<DataType> {
    let scale = args.arg_fields.iter().map(|field| scale_of(&decimal_type(field.data_type()))).max().unwrap_or(0);
    Ok(DataType::new_list(DataType::Decimal128(numeric::DIGITS_MAX, scale), true))
}

/// Most numbers of one series, which is held in memory.
const NUMBERS_MAX: usize = 10_000_000;

fn series(call: &Call) -> Result<ArrayRef> {
    let (starts, s1) = call.decimal(0)?;
    let (stops, s2) = call.decimal(1)?;
    let steps = if call.len() > 2 { Some(call.decimal(2)?) } else { None };
    let DataType::List(field) = call.returns else { return Err(Error::internal("a series is a list")) };
    let to = scale_of(field.data_type());
    let numbers = Decimal128Builder::new().with_data_type(field.data_type().clone());
    let mut builder = ListBuilder::new(numbers).with_field(field.clone());
    for row in 0..call.rows {
        let step = match &steps {
            Some((steps, scale)) => steps.get(row).map(|step| (step, *scale)),
            None => Some((1, 0)),
        };
        let (Some(start), Some(stop), Some((step, s3))) = (starts.get(row), stops.get(row), step) else {
            builder.append_null();
            continue;
        };
        let (mut at, stop, step) = (rescale(start, s1, to)?, rescale(stop, s2, to)?, rescale(step, s3, to)?);
        if step == 0 {
            return Err(Error::new(SqlState::InvalidParameterValue, "step size cannot equal zero"));
        }
        let mut count = 0;
        while if step > 0 { at <= stop } else { at >= stop } {
            count += 1;
            if count > NUMBERS_MAX {
                return Err(Error::new(SqlState::ProgramLimitExceeded, "a series of too many numerics"));
            }
            builder.values().append_value(at);
            at = at.checked_add(step).ok_or_else(numeric::overflow)?;
        }
        builder.append(true);
    }
    let array = builder.finish();
    debug_assert_eq!(array.len(), call.rows);
    Ok(std::sync::Arc::new(array))
}
