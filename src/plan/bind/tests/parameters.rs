//! Types that a statement's parameters get from their uses, and arguments of EXECUTE.

use super::fixture::{relations, typing};
use crate::encode::types::{PgType, format_type};
use crate::plan::bind::Binder;
use crate::sql::Statement;

/// The parameters' types after binding, joined by `,`.
fn parameters(text: &str) -> String {
    let Statement::Query(query) = crate::sql::parse(text).unwrap().remove(0).statement else {
        panic!("a query: {text}")
    };
    let (mut typing, relations) = (typing(), relations());
    typing.parameters_allowed = true;
    Binder::new(&typing, &relations, text).bind_query(&query).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    let types = typing.parameters.borrow();
    types.iter().map(|ty| ty.map_or("?".to_owned(), format_type)).collect::<Vec<_>>().join(",")
}

#[test]
fn parameters_take_their_types_from_their_uses() {
    for (text, types) in [
        ("SELECT $1", "text"),
        ("SELECT a FROM t WHERE a = $1", "integer"),
        ("SELECT a FROM t WHERE name LIKE $2 AND b > $1", "integer,text"),
        ("SELECT a FROM t WHERE a IN ($1, $2)", "integer,integer"),
        ("SELECT a FROM t WHERE a = ANY ($1)", "integer[]"),
        ("SELECT a FROM t LIMIT $1 OFFSET $2", "bigint,bigint"),
        ("SELECT $1::date, CASE WHEN $2 THEN 1 END", "date,boolean"),
        ("SELECT a FROM t UNION SELECT $1", "integer"),
        ("SELECT coalesce(a, $1) FROM t", "integer"),
        ("VALUES (1), ($1)", "integer"),
        ("SELECT a FROM t WHERE a BETWEEN $1 AND $2", "integer,integer"),
        ("SELECT a FROM t WHERE a IN (SELECT a FROM u WHERE c = $1)", "text"),
    ] {
        assert_eq!(parameters(text), types, "{text}");
    }
}

#[test]
fn arguments_are_cast_to_the_parameters_types() {
    let text = "SELECT 1 + 1, 'x'";
    let Statement::Query(query) = crate::sql::parse(text).unwrap().remove(0).statement else { panic!("a query") };
    let sqlparser::ast::SetExpr::Select(select) = *query.body else { panic!("a SELECT") };
    let arguments: Vec<_> = select
        .projection
        .into_iter()
        .map(|item| match item {
            sqlparser::ast::SelectItem::UnnamedExpr(expr) => expr,
            other => panic!("{other}"),
        })
        .collect();
    let (typing, relations) = (typing(), relations());
    let binder = Binder::new(&typing, &relations, text);
    assert_eq!(binder.bind_arguments("p", &arguments, &[PgType::INT8, PgType::TEXT]).unwrap().len(), 2);
    let few = binder.bind_arguments("p", &arguments, &[PgType::INT8]).unwrap_err();
    assert_eq!(few.message(), "wrong number of parameters for prepared statement \"p\"");
    assert_eq!(few.detail(), Some("Expected 1 parameters but got 2."));
    let wrong = binder.bind_arguments("p", &arguments, &[PgType::DATE, PgType::TEXT]).unwrap_err();
    assert_eq!(wrong.message(), "parameter $1 of type integer cannot be coerced to the expected type date");
}
