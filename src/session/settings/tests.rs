//! What SET accepts, what SHOW prints, what the end of a transaction does.

use std::sync::Arc;

use super::*;
use crate::config::page;
use crate::encode::{DateOrder, DateStyle, TextTimeZone};

fn settings() -> Settings {
    Settings::new(Arc::new(ServerSettings::new([]).unwrap()))
}

#[test]
fn the_table_is_sorted_and_its_defaults_are_valid() {
    let names: Vec<String> = DEFINITIONS.iter().map(|definition| definition.name.to_ascii_lowercase()).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(names, sorted);
    for definition in DEFINITIONS {
        let default = Value::default_of(definition);
        if definition.name != "session_authorization" {
            assert_eq!(value::parse(definition, &default.plain()).unwrap(), default, "{}", definition.name);
        }
    }
}

#[test]
fn values_are_shown_as_postgresql_shows_them() {
    let cases = [
        ("statement_timeout", "1us", "0"),
        ("statement_timeout", "90min", "90min"),
        ("statement_timeout", "1.5h", "90min"),
        ("statement_timeout", "30000", "30s"),
        ("work_mem", "4096", "4MB"),
        ("work_mem", "65kB", "65kB"),
        ("WORK_MEM", "1 GB", "1GB"),
        ("extra_float_digits", "1.6", "2"),
        ("default_transaction_read_only", "tr", "on"),
        ("default_transaction_read_only", "0", "off"),
        ("client_min_messages", "WARNING", "warning"),
        ("synchronous_commit", "yes", "on"),
        ("client_encoding", "utf-8", "UTF8"),
        ("client_encoding", "unicode", "UTF8"),
        ("datestyle", "german", "German, DMY"),
        ("datestyle", "iso, dmy", "ISO, DMY"),
        ("datestyle", "postgres", "Postgres, MDY"),
        ("timezone", "europe/paris", "Europe/Paris"),
        ("timezone", "utc+3", "UTC+3"),
        ("timezone", "+03:30", "+03:30"),
        ("timezone", "<x>+4", "<X>+4"),
        ("timezone", "-7.5", "<-07:30>+07:30"),
        ("timezone", "2", "<+02>-02"),
        ("timezone", "interval '-03:00' hour to minute", "<-03>+03"),
        ("timezone", "interval '-3' hour to minute", "<-00:03>+00:03"),
        ("timezone", "interval '-3' hour", "<-03>+03"),
        ("search_path", "a, \"B\"", "a, \"B\""),
        ("my.variable", "x", "x"),
        ("application_name", "ä", "\\xc3\\xa4"),
    ];
    for (name, text, shown) in cases {
        let mut settings = settings();
        assert_eq!(settings.set(name, text, false, false).unwrap(), shown, "{name} = {text}");
        assert_eq!(settings.get(name).unwrap(), shown);
    }
}

#[test]
fn refusals_carry_postgresqls_codes_and_texts() {
    let cases = [
        ("foo", "1", "42704", "unrecognized configuration parameter \"foo\""),
        ("foo.1x", "1", "42602", "invalid configuration parameter name \"foo.1x\""),
        ("lakegate.foo", "1", "42602", "invalid configuration parameter name \"lakegate.foo\""),
        ("work_mem", "4XB", "22023", "invalid value for parameter \"work_mem\": \"4XB\""),
        ("work_mem", "", "22023", "invalid value for parameter \"work_mem\": \"\""),
        ("work_mem", "1", "22023", "1 kB is outside the valid range for parameter \"work_mem\" (64 .. 2147483647)"),
        (
            "statement_timeout",
            "99999999999",
            "22023",
            "invalid value for parameter \"statement_timeout\": \"99999999999\"",
        ),
        (
            "default_transaction_read_only",
            "maybe",
            "22023",
            "parameter \"default_transaction_read_only\" requires a Boolean value",
        ),
        (
            "default_transaction_read_only",
            "o",
            "22023",
            "parameter \"default_transaction_read_only\" requires a Boolean value",
        ),
        ("client_min_messages", "x", "22023", "invalid value for parameter \"client_min_messages\": \"x\""),
        ("datestyle", "foo", "22023", "invalid value for parameter \"DateStyle\": \"foo\""),
        ("datestyle", "iso, sql", "22023", "invalid value for parameter \"DateStyle\": \"iso, sql\""),
        ("timezone", "foo", "22023", "invalid value for parameter \"TimeZone\": \"foo\""),
        ("timezone", "200", "22023", "invalid value for parameter \"TimeZone\": \"200\""),
        ("client_encoding", "latin1", "0A000", "conversion between LATIN1 and UTF8 is not supported"),
        ("client_encoding", "foo", "22023", "invalid value for parameter \"client_encoding\": \"foo\""),
        ("search_path", "a,,b", "22023", "invalid value for parameter \"search_path\": \"a,,b\""),
        ("server_version", "1", "55P02", "parameter \"server_version\" cannot be changed"),
        (
            "max_connections",
            "1",
            "55P02",
            "parameter \"max_connections\" cannot be changed without restarting the server",
        ),
        ("ssl", "on", "55P02", "parameter \"ssl\" cannot be changed now"),
        ("log_statement", "all", "42501", "permission denied to set parameter \"log_statement\""),
        (
            "standard_conforming_strings",
            "off",
            "0A000",
            "parameter \"standard_conforming_strings\" with the value \"off\" is not supported",
        ),
        (
            "transaction_isolation",
            "serializable",
            "0A000",
            "parameter \"transaction_isolation\" with the value \"serializable\" is not supported",
        ),
    ];
    for (name, text, code, message) in cases {
        let error = settings().set(name, text, false, false).unwrap_err();
        assert_eq!((error.sqlstate().code(), error.message()), (code, message));
    }
    let error = settings().set("work_mem", "4XB", false, false).unwrap_err();
    assert_eq!(error.hint(), Some("Valid units for this parameter are \"B\", \"kB\", \"MB\", \"GB\", and \"TB\"."));
    assert_eq!(settings().get("foo.bar").unwrap_err().sqlstate(), SqlState::UndefinedObject);
}

#[test]
fn rollback_undoes_set_and_commit_keeps_it() {
    let mut settings = settings();
    settings.begin();
    settings.set("statement_timeout", "1s", false, false).unwrap();
    settings.rollback();
    assert_eq!(settings.get("statement_timeout").unwrap(), "0");
    settings.begin();
    settings.set("statement_timeout", "1s", false, false).unwrap();
    settings.commit();
    assert_eq!(settings.get("statement_timeout").unwrap(), "1s");
}

#[test]
fn set_local_ends_with_the_transaction() {
    let mut settings = settings();
    settings.begin();
    settings.set("statement_timeout", "1s", false, false).unwrap();
    settings.set("statement_timeout", "2s", true, false).unwrap();
    assert_eq!(settings.get("statement_timeout").unwrap(), "2s");
    settings.commit();
    assert_eq!(settings.get("statement_timeout").unwrap(), "1s");
    settings.begin();
    settings.set("statement_timeout", "3s", true, false).unwrap();
    settings.rollback();
    assert_eq!(settings.get("statement_timeout").unwrap(), "1s");
}

#[test]
fn a_custom_name_stays_known_after_rollback() {
    let mut settings = settings();
    settings.begin();
    settings.set("my.name", "x", false, false).unwrap();
    settings.rollback();
    assert_eq!(settings.get("my.name").unwrap(), "");
}

#[test]
fn reset_goes_back_to_what_the_client_asked_for_at_startup() {
    let mut settings = settings();
    settings.initialize("application_name", "psql", false, false).unwrap();
    settings.set("application_name", "other", false, false).unwrap();
    settings.reset("application_name", false, false).unwrap();
    assert_eq!(settings.get("application_name").unwrap(), "psql");
    settings.set("statement_timeout", "2s", false, false).unwrap();
    settings.reset_all();
    assert_eq!(settings.statement_timeout(), None);
}

#[test]
fn reported_settings_are_told_once_and_again_when_they_change() {
    let mut settings = settings();
    let first = settings.take_reported_changes();
    assert!(first.contains(&("server_encoding", "UTF8".to_owned())));
    assert!(settings.take_reported_changes().is_empty());
    settings.set("timezone", "Asia/Tokyo", false, false).unwrap();
    settings.set("statement_timeout", "1s", false, false).unwrap();
    assert_eq!(settings.take_reported_changes(), [("TimeZone", "Asia/Tokyo".to_owned())]);
}

#[test]
fn typed_accessors_follow_the_values() {
    let mut settings = settings();
    settings.set("datestyle", "SQL, DMY", false, false).unwrap();
    settings.set("timezone", "UTC+3", false, false).unwrap();
    let style = settings.text_style();
    assert_eq!((style.date_style, style.date_order), (DateStyle::Sql, DateOrder::Dmy));
    assert_eq!(style.time_zone, TextTimeZone::Fixed(-3 * 3600));
    settings.set("timezone", "-8", false, false).unwrap();
    assert_eq!(settings.text_style().time_zone, TextTimeZone::Fixed(-8 * 3600));
    assert_eq!(settings.search_path(), ["$user", "public"]);
    settings.set("search_path", "Raw, \"My \"\"Schema\"", false, false).unwrap();
    assert_eq!(settings.search_path(), ["raw", "My \"Schema"]);
}

#[test]
fn what_the_configuration_gives_is_valid() {
    for file in ["", include_str!("../../../config/stage.toml"), include_str!("../../../config/prod.toml")] {
        let config = crate::config::Config::from_layers(Some(file), [], &crate::config::Flags::default()).unwrap();
        let given = config.session_settings();
        let server = ServerSettings::new(given.iter().map(|(name, value)| (name.as_str(), value.as_str()))).unwrap();
        let settings = Settings::new(Arc::new(server));
        assert_eq!(settings.get("max_connections").unwrap(), config.server.connections_max.to_string());
        assert_eq!(settings.get("ssl").unwrap() == "on", config.server.tls_key.is_some());
        assert_eq!(settings.statement_timeout().unwrap_or_default(), config.query.statement_timeout);
    }
}

#[test]
fn startup_values_of_known_drivers_are_accepted() {
    let sent = [
        ("client_encoding", "'utf-8'"),
        ("client_encoding", "UTF8"),
        ("DateStyle", "ISO"),
        ("TimeZone", "Europe/Berlin"),
        ("TimeZone", "GMT+02:00"),
        ("extra_float_digits", "2"),
        ("application_name", "psql"),
        ("search_path", "\"$user\",public"),
        ("options_of.mine", "1"),
        ("jit", "off"),
        ("statement_timeout", "0"),
    ];
    for (name, value) in sent {
        settings().initialize(name, value, false, false).expect(name);
    }
    assert!(settings().initialize("is_superuser", "on", false, false).is_err());
    assert!(settings().initialize("is_superuser", "on", false, true).is_ok());
}

/// Type, unit, bounds and the values that are taken, for the documentation.
fn documented_values(definition: &Definition) -> String {
    let values = match definition.kind {
        Kind::Bool { .. } => vec!["on", "off"],
        Kind::Int { min, max, unit, .. } => {
            let unit = unit.map(|unit| format!(" {}", unit.name())).unwrap_or_default();
            return if min == max { format!("{min}{unit}") } else { format!("{min} to {max}{unit}") };
        }
        Kind::Enum { values, .. } => values.to_vec(),
        Kind::Text { .. } => vec![],
    };
    let values = definition.honoured.unwrap_or(&values);
    let quoted = values.iter().map(|value| if value.is_empty() { "empty".to_owned() } else { page::code(value) });
    let list: Vec<String> = quoted.collect();
    if list.is_empty() { "text".to_owned() } else { list.join(", ") }
}

#[test]
fn page_lists_every_setting() {
    let rows = DEFINITIONS.iter().map(|definition| {
        let default = Value::default_of(definition).shown(Some(definition));
        vec![
            page::code(definition.name),
            page::code(&default),
            documented_values(definition),
            definition.scope.name().to_owned(),
            if definition.reported { "yes" } else { "" }.to_owned(),
            definition.description.to_owned(),
        ]
    });
    let titles = ["Setting", "Default", "Values", "Context", "Reported", "Meaning"];
    page::check("settings.md", &page::table(&titles, rows));
}

#[test]
fn the_configuration_cannot_set_what_follows_from_other_keys() {
    for (name, code) in [
        ("TimeZone", None),
        ("log_statement", None),
        ("max_connections", Some("55P02")),
        ("ssl", Some("55P02")),
        ("server_version", Some("55P02")),
        ("role", Some("55P02")),
        ("nonsense", Some("42704")),
    ] {
        let checked = ServerSettings::check_configurable(name);
        assert_eq!(checked.err().map(|error| error.sqlstate().code()), code, "{name}");
    }
}
