//! Every system table makes its rows; what psql and information_schema browsers read is there.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int16Type, Int32Type, Int64Type};
use arrow::record_batch::RecordBatch;
use chrono::Utc;
use datafusion::prelude::SessionContext;
use serde_json::json;

use super::*;
use crate::builtins::{Activity, SessionView, SettingRow};
use crate::catalog::{BOOTSTRAP_ROLE_OID, Document, PUBLIC_SCHEMA_OID};
use crate::encode::TextTimeZone;
use crate::encode::types::oid;
use crate::error::Result;

#[derive(Debug)]
struct Nobody;

impl SessionView for Nobody {
    fn setting(&self, _name: &str) -> Result<String> {
        Ok(String::new())
    }
    fn set_setting(&self, _name: &str, value: &str, _local: bool) -> Result<String> {
        Ok(value.to_owned())
    }
    fn settings(&self) -> Vec<SettingRow> {
        vec![SettingRow {
            name: "bytea_output",
            setting: "hex".to_owned(),
            unit: None,
            category: "",
            short_desc: "",
            context: "user",
            vartype: "enum",
            source: "default",
            min_val: None,
            max_val: None,
            enumvals: Some(vec!["escape", "hex"]),
            boot_val: None,
            reset_val: None,
        }]
    }
    fn activity(&self) -> Vec<Activity> {
        vec![Activity {
            pid: 7,
            user: "lakegate".to_owned(),
            database: "lakegate".to_owned(),
            application_name: String::new(),
            client_address: Some(([127, 0, 0, 1], 4000).into()),
            backend_start: Utc::now(),
            transaction_start: None,
            query_start: None,
            state_change: Utc::now(),
            state: "idle",
            query: String::new(),
            progress: None,
        }]
    }
    fn cancel_backend(&self, _pid: i32) -> Result<bool> {
        Ok(false)
    }
    fn terminate_backend(&self, _pid: i32) -> Result<bool> {
        Ok(false)
    }
    fn prepared_statements(&self) -> Vec<crate::builtins::PreparedRow> {
        vec![crate::builtins::PreparedRow {
            name: "s".to_owned(),
            text: "SELECT $1".into(),
            prepared: chrono::DateTime::UNIX_EPOCH,
            parameters: vec![oid::INT4],
            results: None,
            from_sql: true,
        }]
    }
    fn cursors(&self) -> Vec<crate::builtins::CursorRow> {
        vec![crate::builtins::CursorRow {
            name: "c".to_owned(),
            text: "SELECT 1".into(),
            hold: true,
            binary: false,
            scroll: false,
            created: chrono::DateTime::UNIX_EPOCH,
        }]
    }
}

/// Read from its stored form, as a server reads it.
fn document() -> Document {
    let column = |name: &str, ty: PgType, not_null: bool| json!({"name": name, "type_oid": ty.oid, "typmod": ty.typmod, "not_null": not_null});
    let columns = json!([
        column("a", PgType::INT4, true),
        column("b", PgType::with_typmod(oid::VARCHAR, 14), false),
        column("c", PgType::numeric(10, 2), false),
        column("d", PgType::with_typmod(oid::TIMESTAMPTZ, 3), false),
        column("e", PgType::of(1009), false),
    ]);
    let check = json!({"oid": 16390, "name": "t_check", "expression": "A > 1 AND c < 3"});
    let table = json!({
        "oid": 16384, "owner": BOOTSTRAP_ROLE_OID, "comment": "said", "columns": columns,
        "kind": {"kind": "table", "location": "file:///t", "managed": true, "partition_columns": ["a"], "checks": [check]},
    });
    let view = json!({
        "oid": 16385, "owner": BOOTSTRAP_ROLE_OID, "columns": [column("a", PgType::INT4, false)],
        "kind": {"kind": "view", "query": "SELECT a FROM t", "search_path": ["public"], "depends_on": [16384]},
    });
    let role = |oid: u32, superuser: bool| json!({"oid": oid, "superuser": superuser, "login": true, "verifier": "SCRAM-SHA-256$secret"});
    let public = json!({"oid": PUBLIC_SCHEMA_OID, "owner": BOOTSTRAP_ROLE_OID, "relations": {"t": table, "v": view}});
    let document = json!({
        "format": 1, "version": 1, "next_oid": 16400,
        "database": {"oid": 5, "name": "lakegate", "owner": BOOTSTRAP_ROLE_OID},
        "schemas": {"public": public},
        "roles": {"lakegate": role(BOOTSTRAP_ROLE_OID, true), "guest": role(16386, false)},
    });
    serde_json::from_value(document).unwrap()
}

fn context(user: &str) -> Arc<Context> {
    Arc::new(Context {
        catalog: Arc::new(document()),
        session: Arc::new(Nobody),
        pid: 7,
        user: user.to_owned(),
        session_user: user.to_owned(),
        database: "lakegate".to_owned(),
        search_path: vec!["pg_catalog".to_owned(), "public".to_owned()],
        catalog_implicit: true,
        temporary: None,
        time_zone: TextTimeZone::Fixed(0),
        transaction_start: Utc::now(),
        statement_start: Utc::now(),
        server_start: Utc::now(),
        server_address: None,
        client_address: None,
    })
}

async fn read(user: &str, schema: &str, name: &str) -> RecordBatch {
    let table = lookup(schema, name, &context(user)).unwrap();
    let frame = SessionContext::new().read_table(table.provider).unwrap();
    let batches = frame.collect().await.unwrap();
    arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap()
}

fn texts(batch: &RecordBatch, column: &str) -> Vec<String> {
    let array = batch.column_by_name(column).unwrap().as_string::<i32>();
    array.iter().map(|text| text.unwrap_or("NULL").to_owned()).collect()
}

#[tokio::test]
async fn every_system_table_makes_its_rows() {
    for (schema, name, _) in names() {
        let table = lookup(schema, name, &context("lakegate")).unwrap();
        assert_eq!(table.columns.len(), table.provider.schema().fields().len());
        assert!(!table.columns.is_empty(), "{schema}.{name}");
        read("lakegate", schema, name).await;
    }
}

#[test]
fn oids_are_unique_and_below_the_users() {
    let mut seen = HashSet::new();
    for (schema, name, oid) in names() {
        assert!(oid < crate::catalog::FIRST_USER_OID && seen.insert(oid), "{schema}.{name}");
    }
    assert!(seen.len() > 180, "a line of the definitions is malformed");
}

#[tokio::test]
async fn a_projection_makes_only_its_columns() {
    let table = lookup("pg_catalog", "pg_class", &context("lakegate")).unwrap();
    let frame = SessionContext::new().read_table(table.provider).unwrap();
    let batches = frame.select_columns(&["relname", "oid"]).unwrap().collect().await.unwrap();
    assert_eq!(batches[0].schema().fields().len(), 2);
    assert_eq!(texts(&batches[0], "relname")[..2], ["t", "v"]);
}

#[tokio::test]
async fn attributes_carry_true_typmods() {
    let batch = read("lakegate", "pg_catalog", "pg_attribute").await;
    let modifiers = batch.column_by_name("atttypmod").unwrap().as_primitive::<Int32Type>();
    assert_eq!(texts(&batch, "attname")[..5], ["a", "b", "c", "d", "e"]);
    assert_eq!(modifiers.values()[..5], [-1, 14, (10 << 16 | 2) + 4, 3, -1]);
    let lengths = batch.column_by_name("attlen").unwrap().as_primitive::<Int16Type>();
    assert_eq!(lengths.values()[..2], [4, -1]);
}

#[tokio::test]
async fn columns_are_described_in_the_standards_words() {
    let batch = read("lakegate", "information_schema", "columns").await;
    assert_eq!(
        texts(&batch, "data_type")[..5],
        ["integer", "character varying", "numeric", "timestamp with time zone", "ARRAY"]
    );
    assert_eq!(texts(&batch, "udt_name")[4], "_text");
    assert_eq!(texts(&batch, "is_nullable")[..2], ["NO", "YES"]);
    let lengths = batch.column_by_name("character_octet_length").unwrap().as_primitive::<Int32Type>();
    assert!(lengths.is_null(0));
    assert_eq!(lengths.value(1), 40);
}

#[tokio::test]
async fn checks_know_the_columns_they_read() {
    let batch = read("lakegate", "pg_catalog", "pg_constraint").await;
    let keys = batch.column_by_name("conkey").unwrap().as_list::<i32>().value(0);
    assert_eq!(keys.as_primitive::<Int16Type>().values()[..], [1, 3]);
    let usage = read("lakegate", "information_schema", "constraint_column_usage").await;
    assert_eq!(texts(&usage, "column_name"), ["a", "c"]);
}

#[tokio::test]
async fn every_type_of_a_system_column_is_in_pg_type() {
    let batch = read("lakegate", "pg_catalog", "pg_type").await;
    let known: HashSet<i64> =
        batch.column_by_name("oid").unwrap().as_primitive::<Int64Type>().values().iter().copied().collect();
    let missing: HashSet<u32> = definitions()
        .iter()
        .flat_map(|definition| &definition.columns)
        .map(|column| column.ty.oid)
        .filter(|oid| !known.contains(&i64::from(*oid)))
        .collect();
    assert_eq!(missing, HashSet::new());
}

#[tokio::test]
async fn guests_see_neither_secrets_nor_the_tables_of_others() {
    let table = lookup("pg_catalog", "pg_authid", &context("guest")).unwrap();
    let frame = SessionContext::new().read_table(table.provider).unwrap();
    let error: crate::error::Error = frame.collect().await.unwrap_err().into();
    assert_eq!((error.sqlstate().code(), error.message()), ("42501", "permission denied for table pg_authid"));
    let tables = read("guest", "information_schema", "tables").await;
    assert!(!texts(&tables, "table_schema").contains(&"public".to_owned()));
    let all = read("lakegate", "pg_catalog", "pg_authid").await;
    assert!(texts(&all, "rolpassword").iter().all(|password| password == "NULL"));
}

#[tokio::test]
async fn types_find_their_functions() {
    let types = read("lakegate", "pg_catalog", "pg_type").await;
    let functions = read("lakegate", "pg_catalog", "pg_proc").await;
    let known: HashSet<i64> =
        functions.column_by_name("oid").unwrap().as_primitive::<Int64Type>().values().iter().copied().collect();
    let names = texts(&types, "typname");
    for column in ["typinput", "typoutput"] {
        let oids = types.column_by_name(column).unwrap().as_primitive::<Int64Type>();
        for (name, oid) in names.iter().zip(oids.values()) {
            assert!(known.contains(oid), "{column} of {name}");
        }
    }
    let at = names.iter().position(|name| name == "_varchar").unwrap();
    let number = |column: &str| types.column_by_name(column).unwrap().as_primitive::<Int64Type>().value(at);
    assert_eq!((number("typinput"), number("typmodin"), number("typcollation")), (750, 2915, 100));
}

#[tokio::test]
async fn operators_and_casts_speak_of_known_types() {
    let types = read("lakegate", "pg_catalog", "pg_type").await;
    let known: HashSet<i64> =
        types.column_by_name("oid").unwrap().as_primitive::<Int64Type>().values().iter().copied().collect();
    for (table, columns) in [("pg_operator", ["oprright", "oprresult"]), ("pg_cast", ["castsource", "casttarget"])] {
        let rows = read("lakegate", "pg_catalog", table).await;
        assert!(rows.num_rows() > 100);
        for column in columns {
            let oids = rows.column_by_name(column).unwrap().as_primitive::<Int64Type>();
            assert!(oids.values().iter().all(|oid| known.contains(oid)), "{table}.{column}");
        }
    }
}

#[tokio::test]
async fn views_name_the_tables_they_read() {
    let usage = read("lakegate", "information_schema", "view_table_usage").await;
    assert_eq!((texts(&usage, "view_name"), texts(&usage, "table_name")), (vec!["v".to_owned()], vec!["t".to_owned()]));
    let dependencies = read("lakegate", "pg_catalog", "pg_depend").await;
    let referred = dependencies.column_by_name("refobjid").unwrap().as_primitive::<Int64Type>();
    assert_eq!(referred.values()[..], [16385, 16384]);
}
