//! Answers of PostgreSQL 15 (`testdata/values.tsv`: type, text, then `OK`, output and binary, or SQLSTATE, message, detail).

use chrono::DateTime;

use super::*;
use crate::encode::column::ColumnWriter;
use crate::encode::types::{PgType, oid, parse_type};

fn context() -> InputContext {
    let zone = TextTimeZone::Named(chrono_tz::America::New_York);
    InputContext { time_zone: zone, ..InputContext::utc(DateTime::UNIX_EPOCH) }
}

/// Text and binary of a value as the rows' encoder writes it.
fn written(text: &str, ty: PgType, style: TextStyle) -> Result<(String, Vec<u8>)> {
    let array = parse_scalar(text, ty, &context())?.to_array()?;
    let column = ColumnWriter::new(array.data_type(), ty, &std::sync::Arc::new(style))?.bind(&array)?;
    let (mut text, mut binary) = (Vec::new(), Vec::new());
    column.write_text(0, &mut text)?;
    column.write_binary(0, &mut binary)?;
    Ok((String::from_utf8_lossy(&text).into_owned(), binary))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the cast to text changes beside the output function.
fn as_cast(ty: PgType, text: String) -> String {
    match (ty.oid, text.as_str()) {
        (oid::BOOL, "t") => "true".to_owned(),
        (oid::BOOL, "f") => "false".to_owned(),
        (oid::BPCHAR, padded) => padded.trim_end_matches(' ').to_owned(),
        _ => text,
    }
}

#[test]
fn every_value_reads_and_writes_as_in_postgresql() {
    let style = TextStyle { time_zone: context().time_zone, ..TextStyle::default() };
    let mut wrong = Vec::new();
    for line in include_str!("../testdata/values.tsv").lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [type_name, text, expected @ ..] = fields.as_slice() else { panic!("{line}") };
        let ty = parse_type(type_name).unwrap_or_else(|| panic!("no type {type_name}"));
        let got = match written(text, ty, style.clone()) {
            Ok((text, binary)) => format!("OK\t{}\t{}", as_cast(ty, text), hex(&binary)),
            Err(error) => {
                format!("{}\t{}\t{}", error.sqlstate().code(), error.message(), error.detail().unwrap_or_default())
            }
        };
        let expected = expected.join("\t");
        if got != expected {
            wrong.push(format!("{type_name} {text:?}\n  postgresql {expected}\n  here       {got}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn styles_write_as_in_postgresql() {
    let mut wrong = Vec::new();
    for line in include_str!("../testdata/styles.tsv").lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [setting, value, zone, type_name, text, expected] = fields.as_slice() else { panic!("{line}") };
        let ty = parse_type(type_name).unwrap_or_else(|| panic!("no type {type_name}"));
        let zone = TextTimeZone::Named(zone.parse().unwrap());
        let mut style = TextStyle { time_zone: zone, ..TextStyle::default() };
        match *setting {
            "datestyle" => (style.date_style, style.date_order) = date_style(value),
            "intervalstyle" => style.interval_style = interval_style(value),
            "digits" => style.extra_float_digits = value.parse().unwrap(),
            "bytea" => style.bytea_hex = false,
            other => panic!("{other}"),
        }
        let context = InputContext { time_zone: zone, ..context() };
        let array = parse_scalar(text, ty, &context).unwrap().to_array().unwrap();
        let column = ColumnWriter::new(array.data_type(), ty, &std::sync::Arc::new(style)).unwrap();
        let mut out = Vec::new();
        column.bind(&array).unwrap().write_text(0, &mut out).unwrap();
        let got = String::from_utf8_lossy(&out);
        if got != *expected {
            wrong.push(format!("{setting} {value} {type_name} {text:?}\n  postgresql {expected}\n  here       {got}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

fn date_style(text: &str) -> (crate::encode::DateStyle, DateOrder) {
    use crate::encode::DateStyle;
    let (style, order) = text.split_once(", ").unwrap();
    let style = match style {
        "ISO" => DateStyle::Iso,
        "SQL" => DateStyle::Sql,
        "Postgres" => DateStyle::Postgres,
        _ => DateStyle::German,
    };
    let order = match order {
        "DMY" => DateOrder::Dmy,
        "YMD" => DateOrder::Ymd,
        _ => DateOrder::Mdy,
    };
    (style, order)
}

fn interval_style(text: &str) -> IntervalStyle {
    match text {
        "postgres_verbose" => IntervalStyle::PostgresVerbose,
        "sql_standard" => IntervalStyle::SqlStandard,
        "iso_8601" => IntervalStyle::Iso8601,
        _ => IntervalStyle::Postgres,
    }
}

#[test]
fn date_order_decides_what_stands_first() {
    let read = |order| date("01/02/03", &InputContext { date_order: order, ..context() }).unwrap();
    assert_eq!(read(DateOrder::Mdy), 12_054);
    assert_eq!(read(DateOrder::Dmy), 12_084);
    assert_eq!(read(DateOrder::Ymd), 11_356);
}

#[test]
fn words_of_today_come_from_the_given_clock() {
    let now = DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap();
    let context = InputContext { now, ..context() };
    assert_eq!(timestamptz("now", -1, &context).unwrap(), now.timestamp_micros());
    assert_eq!(date("today", &context).unwrap(), 19_675);
    assert_eq!(date("tomorrow", &context).unwrap(), 19_676);
    assert_eq!(date("yesterday", &context).unwrap(), 19_674);
}

#[test]
fn too_long_text_is_refused_unless_only_spaces_are_cut() {
    assert_eq!(varchar("abc  ", Some(3)).unwrap(), "abc");
    let error = varchar("abcd", Some(3)).unwrap_err();
    assert_eq!(error.message(), "value too long for type character varying(3)");
    assert_eq!(error.sqlstate(), SqlState::StringDataRightTruncation);
    assert_eq!(fit_varchar("äöüß", Some(3), true).unwrap(), "äöü");
    assert_eq!(bpchar("é", Some(3)).unwrap(), "é  ");
    assert_eq!(bpchar("abcd", Some(3)).unwrap_err().message(), "value too long for type character(3)");
}

#[test]
fn broken_utf8_is_shown_in_bytes() {
    let error = utf8(b"ab\xe9c").unwrap_err();
    assert_eq!(error.message(), "invalid byte sequence for encoding \"UTF8\": 0xe9 0x63");
    assert_eq!(utf8(b"a\0").unwrap_err().message(), "invalid byte sequence for encoding \"UTF8\": 0x00");
}
