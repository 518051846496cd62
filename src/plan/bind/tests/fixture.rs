//! Tables, a statement's context, and ways to bind and run a text.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::Utc;
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::datasource::empty::EmptyTable;
use datafusion::prelude::SessionContext;

use crate::builtins::{Activity, Context, SessionView, SettingRow};
use crate::catalog::{Database, Document};
use crate::encode::TextTimeZone;
use crate::encode::types::{PgType, arrow_type};
use crate::error::{Error, Result};
use crate::plan::bind::{Binder, BoundQuery};
use crate::plan::relations::{Relation, RelationColumn, Relations, ResolvedTable, ResolvedView};
use crate::plan::typing::TypingContext;
use crate::sql::Statement;

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
        Vec::new()
    }
    fn activity(&self) -> Vec<Activity> {
        Vec::new()
    }
    fn cancel_backend(&self, _pid: i32) -> Result<bool> {
        Ok(false)
    }
    fn terminate_backend(&self, _pid: i32) -> Result<bool> {
        Ok(false)
    }
    fn prepared_statements(&self) -> Vec<crate::builtins::PreparedRow> {
        Vec::new()
    }
    fn cursors(&self) -> Vec<crate::builtins::CursorRow> {
        Vec::new()
    }
}

/// A context for a statement that is not prepared.
pub(super) fn typing() -> TypingContext {
    let catalog = Document {
        format: 1,
        version: 1,
        commit_id: String::new(),
        transactions: Vec::new(),
        given_up: Vec::new(),
        forgotten_through: 0,
        next_oid: 20_000,
        database: Database { oid: 1, name: "lakegate".to_owned(), owner: 10 },
        schemas: BTreeMap::new(),
        roles: BTreeMap::new(),
    };
    let context = Context {
        catalog: Arc::new(catalog),
        session: Arc::new(Nobody),
        pid: 1,
        user: "lakegate".to_owned(),
        session_user: "lakegate".to_owned(),
        database: "lakegate".to_owned(),
        search_path: vec!["pg_catalog".to_owned(), "public".to_owned()],
        catalog_implicit: true,
        temporary: None,
        time_zone: TextTimeZone::Named(chrono_tz::UTC),
        transaction_start: Utc::now(),
        statement_start: Utc::now(),
        server_start: Utc::now(),
        server_address: None,
        client_address: None,
    };
    TypingContext {
        context: Arc::new(context),
        parameters: Vec::new().into(),
        parameters_allowed: false,
        contextual: Default::default(),
        literals: std::cell::RefCell::default(),
        pinned: std::cell::RefCell::default(),
    }
}

pub(super) fn column(name: &str, ty: PgType) -> RelationColumn {
    RelationColumn::new(name, ty)
}

fn schema_of(columns: &[RelationColumn]) -> Arc<Schema> {
    Arc::new(Schema::new(
        columns.iter().map(|column| Field::new(&column.name, arrow_type(column.ty), true)).collect::<Vec<_>>(),
    ))
}

fn add(
    relations: &mut Relations,
    name: &str,
    oid: u32,
    columns: Vec<RelationColumn>,
    provider: Arc<dyn TableProvider>,
) {
    let table = ResolvedTable { schema: "public".to_owned(), name: name.to_owned(), oid, columns, provider };
    relations.by_name.insert((None, name.to_owned()), Relation::Table(table.clone()));
    relations.by_name.insert((Some("public".to_owned()), name.to_owned()), Relation::Table(table));
}

/// An empty table of these columns.
pub(super) fn empty(relations: &mut Relations, name: &str, columns: Vec<RelationColumn>) {
    let provider = Arc::new(EmptyTable::new(schema_of(&columns)));
    add(relations, name, 16_500, columns, provider);
}

/// t(a int, b int, name text), u(a int, c text), and the view v over t.
pub(super) fn relations() -> Relations {
    let mut relations = Relations::default();
    let t = vec![column("a", PgType::INT4), column("b", PgType::INT4), column("name", PgType::TEXT)];
    let t_rows: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![Some(1), Some(2), Some(3), None])),
        Arc::new(Int32Array::from(vec![Some(10), Some(20), Some(10), Some(40)])),
        Arc::new(StringArray::from(vec![Some("one"), Some("two"), None, Some("four")])),
    ];
    let u = vec![column("a", PgType::INT4), column("c", PgType::TEXT)];
    let u_rows: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![Some(1), Some(1), Some(3), Some(5)])),
        Arc::new(StringArray::from(vec!["x", "y", "z", "w"])),
    ];
    for (name, oid, columns, rows) in [("t", 16_400, t.clone(), t_rows), ("u", 16_401, u, u_rows)] {
        let schema = schema_of(&columns);
        let batch = RecordBatch::try_new(Arc::clone(&schema), rows).unwrap();
        let provider = Arc::new(MemTable::try_new(schema, vec![vec![batch]]).unwrap());
        add(&mut relations, name, oid, columns, provider);
    }
    let Statement::Query(query) = crate::sql::parse("SELECT a AS k, name FROM t").unwrap().remove(0).statement else {
        panic!("a query expected");
    };
    let view = ResolvedView {
        schema: "public".to_owned(),
        name: "v".to_owned(),
        oid: 16_402,
        columns: vec![column("k", PgType::INT4), column("label", PgType::TEXT)],
        query: Arc::new(*query),
        text: "".into(),
        relations: Arc::new(relations.clone()),
    };
    relations.by_name.insert((None, "v".to_owned()), Relation::View(view));
    relations
}

pub(super) fn bind_over(relations: &Relations, text: &str) -> Result<BoundQuery> {
    let mut parsed = crate::sql::parse(text)?;
    let Statement::Query(query) = parsed.remove(0).statement else { panic!("a query expected: {text}") };
    let typing = typing();
    Binder::new(&typing, relations, text).with_values(Some(Vec::new())).bind_query(&query)
}

pub(super) fn bind(text: &str) -> Result<BoundQuery> {
    bind_over(&relations(), text)
}

/// The rows as `a,b` lines joined by `;`, NULL as nothing.
pub(super) async fn rows(bound: BoundQuery) -> Result<String> {
    let context = SessionContext::new();
    let batches = context.execute_logical_plan(bound.plan).await?.collect().await?;
    let mut lines = Vec::new();
    for batch in &batches {
        let options = FormatOptions::default();
        let columns: Vec<ArrayFormatter<'_>> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            let values: Vec<String> = columns.iter().map(|column| column.value(row).to_string()).collect();
            lines.push(values.join(","));
        }
    }
    Ok(lines.join(";"))
}

pub(super) async fn run(text: &str) -> Result<String> {
    rows(bind(text)?).await
}

/// The error that binding or running the text gives.
pub(super) async fn refusal(text: &str) -> Error {
    match run(text).await {
        Ok(rows) => panic!("{text} answered {rows}"),
        Err(error) => error,
    }
}
