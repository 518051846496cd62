//! docs/catalogs.md: the system tables that it says have rows have some, and the others have none.

use std::collections::BTreeSet;

use super::cells;
use crate::protocol::Connection;
use crate::server::Server;

/// Objects of every kind that a catalog may show.
const OBJECTS: &[&str] = &[
    "CREATE TABLE t (a int NOT NULL CHECK (a > 0), b text) COMMENT 'described'",
    "CREATE VIEW v AS SELECT a FROM t",
    "CREATE ROLE somebody LOGIN PASSWORD 'x'",
    "PREPARE p AS SELECT 1",
    "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
];

/// The names in backquotes of some cells.
fn named(rows: &[Vec<String>], cell: usize) -> BTreeSet<String> {
    let names = regex::Regex::new("`([a-z_]+)`").unwrap();
    rows.iter().flat_map(|row| names.captures_iter(&row[cell]).map(|found| found[1].to_owned())).collect()
}

/// The relations of a system schema that have rows.
async fn filled(connection: &mut Connection, schema: &str) -> BTreeSet<String> {
    let list = format!("SELECT relname FROM pg_class WHERE relnamespace = '{schema}'::regnamespace");
    let mut filled = BTreeSet::new();
    for row in connection.rows(&list).await.unwrap() {
        let count = format!("SELECT EXISTS (SELECT FROM {schema}.{})", row[0]);
        if connection.value(&count).await.unwrap() == "t" {
            filled.insert(row[0].clone());
        }
    }
    filled
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_names_the_system_tables_with_rows_and_no_others() {
    let server = Server::start(&[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    for sql in OBJECTS {
        connection.command(sql).await.unwrap();
    }
    for (schema, cell) in [("pg_catalog", 1), ("information_schema", 0)] {
        let named = named(&cells("docs/catalogs.md", &format!("## {schema}")), cell);
        let filled = filled(&mut connection, schema).await;
        let (empty, unnamed): (Vec<_>, Vec<_>) =
            (named.difference(&filled).collect(), filled.difference(&named).collect());
        assert!(
            empty.is_empty() && unnamed.is_empty(),
            "{schema}: named and empty {empty:?}, filled and not named {unnamed:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_names_the_columns_of_lakegate_tables() {
    let server = Server::start(&[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    let listed = "SELECT attname FROM pg_attribute WHERE attrelid = 'lakegate.tables'::regclass AND attnum > 0";
    let there: BTreeSet<String> =
        connection.rows(listed).await.unwrap().into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(named(&cells("docs/catalogs.md", "## lakegate"), 0), there);
}
