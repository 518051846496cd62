//! INSERT's sources and CHECK's conditions.

use super::fixture::{column, relations, rows, typing};
use crate::encode::types::PgType;
use crate::error::Result;
use crate::plan::bind::{Binder, BoundQuery};
use crate::sql::Statement;

fn bind_insert(text: &str) -> Result<BoundQuery> {
    let Statement::Insert(insert) = crate::sql::parse(text)?.remove(0).statement else { panic!("an INSERT expected") };
    let columns = [
        column("id", PgType::INT8),
        column("label", PgType::with_typmod(PgType::VARCHAR.oid, 9)),
        column("price", PgType::numeric(5, 2)),
    ];
    let (typing, relations) = (typing(), relations());
    Binder::new(&typing, &relations, text).bind_insert("w", &columns, &insert.columns, insert.source.as_deref())
}

#[tokio::test]
async fn rows_come_in_the_tables_order_and_types() {
    let cases = [
        ("INSERT INTO w VALUES (1, 'a', 2)", "1,a,2.00"),
        ("INSERT INTO w (price, id) VALUES (1.5, '7')", "7,,1.50"),
        ("INSERT INTO w VALUES (DEFAULT, 'x', NULL), (2, 'y', '3')", ",x,;2,y,3.00"),
        ("INSERT INTO w (id) SELECT a FROM u WHERE c = 'z'", "3,,"),
        ("INSERT INTO w SELECT 5, 'q'", "5,q,"),
        ("INSERT INTO w DEFAULT VALUES", ",,"),
    ];
    for (text, expected) in cases {
        let bound = bind_insert(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        assert_eq!(rows(bound).await.unwrap_or_else(|error| panic!("{text}: {error:?}")), expected, "{text}");
    }
}

#[test]
fn bad_inserts_are_refused() {
    let cases = [
        ("INSERT INTO w (id) VALUES (1, 2)", "42601", "INSERT has more expressions than target columns", 31),
        ("INSERT INTO w (id, label) VALUES (1)", "42601", "INSERT has more target columns than expressions", 20),
        ("INSERT INTO w (nope) VALUES (1)", "42703", "column \"nope\" of relation \"w\" does not exist", 16),
        ("INSERT INTO w (id, id) VALUES (1, 2)", "42701", "column \"id\" specified more than once", 20),
        (
            "INSERT INTO w (id) SELECT c FROM u",
            "42804",
            "column \"id\" is of type bigint but expression is of type text",
            27,
        ),
    ];
    for (text, code, message, position) in cases {
        let error = bind_insert(text).unwrap_err();
        let given = (error.sqlstate().code(), error.message(), error.position());
        assert_eq!(given, (code, message, Some(position)), "{text}");
    }
}

fn bind_condition(condition: &str) -> Result<String> {
    let text = format!("SELECT {condition}");
    let Statement::Query(query) = crate::sql::parse(&text)?.remove(0).statement else { panic!("a query expected") };
    let sqlparser::ast::SetExpr::Select(select) = *query.body else { panic!("a SELECT expected") };
    let Some(sqlparser::ast::SelectItem::UnnamedExpr(expr)) = select.projection.first() else {
        panic!("an expression")
    };
    let (typing, relations) = (typing(), relations());
    let columns = [column("a", PgType::INT4)];
    Ok(Binder::new(&typing, &relations, &text).bind_condition("t", &columns, expr)?.to_string())
}

#[test]
fn conditions_hold_columns_and_constants_only() {
    assert_eq!(bind_condition("a > 1 AND t.a < 5").unwrap(), "a > Int32(1) AND a < Int32(5)");
    for (condition, code, message) in [
        ("a", "42804", "argument of CHECK must be type boolean, not type integer"),
        ("sum(a) > 1", "42803", "aggregate functions are not allowed in check constraints"),
        ("a = (SELECT 1)", "0A000", "cannot use subquery in check constraint"),
        ("z > 1", "42703", "column \"z\" does not exist"),
    ] {
        let error = bind_condition(condition).unwrap_err();
        assert_eq!((error.sqlstate().code(), error.message()), (code, message), "{condition}");
    }
}
