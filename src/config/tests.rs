//! Layers, types, unknown keys, and the example files.

use std::time::Duration;

use super::*;

fn load(file: &str, environment: &[(&str, &str)], set: &[&str]) -> Result<Config> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let flags = Flags { set: set.iter().map(|pair| (*pair).to_owned()).collect(), ..Flags::default() };
    Config::from_layers(Some(file), environment, &flags)
}

#[test]
fn later_layers_win() {
    let file = "[server]\nconnections_max = 10\nauthentication_timeout = \"5s\"\nsuperuser = \"root\"\n";
    let environment =
        [("LAKEGATE_SERVER__CONNECTIONS_MAX", "20"), ("LAKEGATE_SERVER__SUPERUSER", "admin"), ("LAKEGATE_HOME", "x")];
    let config = load(file, &environment, &["server.connections_max=30"]).unwrap();
    assert_eq!(config.server.connections_max, 30);
    assert_eq!(config.server.superuser, "admin");
    assert_eq!(config.server.authentication_timeout, Duration::from_secs(5));
    assert_eq!(config.server.database, "lakegate");
}

#[test]
fn named_flags_set_their_keys() {
    let flags = Flags {
        warehouse: Some("s3://bucket/x".to_owned()),
        listen: Some("127.0.0.1:1,[::1]:2".to_owned()),
        http: Some("127.0.0.1:3".to_owned()),
        ..Flags::default()
    };
    let config = Config::from_layers(None, [], &flags).unwrap();
    assert_eq!(config.warehouse.url, "s3://bucket/x");
    assert_eq!(config.server.listen.len(), 2);
    assert_eq!(config.http.listen.unwrap().port(), 3);
}

#[test]
fn every_type_is_read_from_a_file() {
    let file = r#"
        [server]
        listen = ["127.0.0.1:6000"]
        message_bytes_max = "64MB"
        host_rules = ["host all all 10.0.0.0/8 scram-sha-256"]
        tls_version_min = "1.3"
        [warehouse.storage]
        aws_region = "eu-central-1"
        [memory]
        pool_bytes = 1073741824
        [log]
        format = "json"
        [settings]
        TimeZone = "Europe/Berlin"
        "lakegate.batch_rows" = 100
    "#;
    let config = load(file, &[], &[]).unwrap();
    assert_eq!(config.server.message_bytes_max, Bytes::megabytes(64));
    assert_eq!(config.server.host_rules.len(), 1);
    assert_eq!(config.server.tls_version_min, TlsVersion::Tls13);
    assert_eq!(config.warehouse.storage["aws_region"], "eu-central-1");
    assert_eq!(config.memory.pool_bytes, Some(Bytes(1 << 30)));
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.settings["TimeZone"], "Europe/Berlin");
    let settings = config.session_settings();
    assert_eq!(settings.last().unwrap(), &("lakegate.batch_rows".to_owned(), "100".to_owned()));
}

#[test]
fn unknown_keys_are_errors_with_the_nearest_name() {
    let error = load("[server]\nlisen = \"x\"\n", &[], &[]).unwrap_err();
    assert_eq!(error.message(), "unrecognized configuration key \"server.lisen\"");
    assert_eq!(error.hint(), Some("Did you mean \"server.listen\"?"));
    assert!(error.detail().unwrap().contains("server.connections_max"));
    assert!(load("", &[("LAKEGATE_LOG__LEVEL", "x")], &[]).is_err());
    assert!(load("", &[], &["nonsense=1"]).is_err());
    assert!(load("", &[], &["nonsense"]).is_err());
}

#[test]
fn values_of_another_type_and_contradictions_are_errors() {
    let refused = [
        "server.connections_max=many",
        "server.listen=localhost",
        "server.authentication_timeout=60",
        "server.authentication_timeout=0",
        "server.superuser_reserved=200",
        "server.listen=0.0.0.0:5432",
        "server.tls_key=k.pem",
        "server.tls_client_ca=ca.pem",
        "http.listen=127.0.0.1:5432",
        "memory.pool_fraction=1.5",
        "memory.pool_bytes=64XB",
        "query.batch_rows=0",
        "lake.compression_level=40",
        "log.format=xml",
        "warehouse.storage=x",
    ];
    for pair in refused {
        let error = load("", &[], &[pair]).expect_err(pair);
        assert_eq!(error.sqlstate().code(), "F0000");
    }
    assert!(load("", &[], &["server.listen=0.0.0.0:5432", "server.allow_insecure_listen=true"]).is_ok());
}

#[test]
fn defaults_are_described_as_they_could_be_written() {
    for key in Config::describe() {
        assert!(!key.description.is_empty());
        if key.kind != "map" {
            load("", &[], &[&format!("{}={}", key.name, key.default)]).expect(&key.name);
        }
    }
}

#[test]
fn secrets_are_not_shown() {
    let config = load("", &[], &["server.superuser_password=open"]).unwrap();
    assert!(!format!("{config:?}").contains("open\""));
}

#[test]
fn example_files_are_valid() {
    for text in [
        include_str!("../../config/dev.toml"),
        include_str!("../../config/stage.toml"),
        include_str!("../../config/prod.toml"),
    ] {
        load(text, &[], &[]).unwrap();
    }
}

#[test]
fn page_lists_every_key() {
    let variable = |name: &str| format!("LAKEGATE_{}", name.replace('.', "__").to_uppercase());
    let rows = Config::describe().into_iter().map(|key| {
        let (name, default) = (page::code(&key.name), page::code(&key.default));
        let variable = if key.kind == "map" { String::new() } else { page::code(&variable(&key.name)) };
        vec![name, key.kind.to_owned(), default, key.description.to_owned(), variable]
    });
    let titles = ["Key", "Type", "Default", "Meaning", "Variable"];
    page::check("configuration.md", &page::table(&titles, rows));
}
