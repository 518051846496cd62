//! Facts about the grammar that need more than one look at the answer.

mod accepted;
mod errors;

use proptest::prelude::*;
use sqlparser::ast::{Expr, SelectItem, SetExpr, TableFactor, Value};
use sqlparser::tokenizer::Location;

use super::*;
use crate::encode::types::{PgType, oid};
use crate::error::SqlState;

fn one(text: &str) -> Statement {
    parse(text).unwrap().remove(0).statement
}

fn expression(text: &str) -> String {
    parse_expression(text).unwrap().to_string()
}

#[test]
fn texts_are_split_by_characters() {
    let text = "SELECT 'é;', $a$;$a$ ; ;; /* ; */ SELECT \"ü;\" -- ;\n;";
    let parsed = parse(text).unwrap();
    let parts: Vec<(&str, u32)> = parsed.iter().map(|part| (part.text.as_str(), part.offset)).collect();
    assert_eq!(parts, [("SELECT 'é;', $a$;$a$", 0), ("SELECT \"ü;\"", 34)]);
    assert!(parsed.iter().all(|part| &*part.source == text));
}

#[test]
fn a_text_without_statements_is_one_empty_statement() {
    for text in ["", "  ", ";", ";;", "-- ping", "/* a */ ; -- b"] {
        let parsed = parse(text).unwrap();
        assert_eq!(parsed.len(), 1, "{text}");
        assert!(matches!(parsed[0].statement, Statement::Empty), "{text}");
    }
}

#[test]
fn precedence_is_that_of_postgresql() {
    for (text, expected) in [
        ("a or b and not c = d", "(a OR (b AND NOT (c = d)))"),
        ("- 2 ^ 2", "((-2) ^ 2)"),
        ("- a::int", "(-a::INT)"),
        ("a + b * c - d", "((a + (b * c)) - d)"),
        ("a || b + c", "(a || (b + c))"),
        ("a = b || c", "(a = (b || c))"),
        ("a -> 'b' = 'c'", "((a -> 'b') = 'c')"),
        ("a < b is null", "((a < b) IS NULL)"),
    ] {
        let got = shape(&parse_expression(text).unwrap());
        assert_eq!(got, expected, "{text}");
    }
}

/// The expression with parentheses round every operation.
fn shape(expr: &Expr) -> String {
    match expr {
        Expr::BinaryOp { left, op, right } => format!("({} {op} {})", shape(left), shape(right)),
        Expr::UnaryOp { op: sqlparser::ast::UnaryOperator::Not, expr } => format!("NOT {}", shape(expr)),
        Expr::UnaryOp { op, expr } => format!("({op}{})", shape(expr)),
        Expr::IsNull(expr) => format!("({} IS NULL)", shape(expr)),
        other => other.to_string(),
    }
}

#[test]
fn strings_are_decoded() {
    for (text, expected) in [
        (r"'it''s'", "it's"),
        (r"E'a\n\x41\101\u00e9\\'", "a\nAA\u{e9}\\"),
        (r"E'\uD83D\uDE00'", "\u{1f600}"),
        (r"U&'\0041\+01F600'", "A\u{1f600}"),
        ("U&'!0041' uescape '!'", "A"),
        ("$x$a$$b$x$", "a$$b"),
        ("'a'\n  'b'", "ab"),
    ] {
        let Expr::Value(value) = parse_expression(text).unwrap() else { panic!("{text}") };
        assert_eq!(value.value, Value::SingleQuotedString(expected.to_owned()), "{text}");
    }
}

#[test]
fn names_fold_and_are_cut_to_63_bytes() {
    assert_eq!(parse_name("Pub.\"Tab\"").unwrap().to_string(), "pub.Tab");
    assert_eq!(parse_name(&"é".repeat(40)).unwrap().name, "é".repeat(31));
    assert_eq!(parse_name("É").unwrap().name, "É");
}

#[test]
fn positions_count_characters_of_the_whole_text() {
    let text = "SELECT 'é',\n  x FROM t";
    let Statement::Query(query) = one(text) else { panic!() };
    let SetExpr::Select(select) = *query.body else { panic!() };
    let SelectItem::UnnamedExpr(Expr::Identifier(x)) = &select.projection[1] else { panic!() };
    assert_eq!(position(text, x.span.start), Some(15));
    assert_eq!(position(text, Location::new(0, 0)), None);
    assert_eq!(position(text, Location::new(9, 1)), None);
}

#[test]
fn a_quoted_path_is_a_table_of_quote_style_apostrophe() {
    let Statement::Query(query) = one("SELECT * FROM 's3://b/x.parquet'") else { panic!() };
    let SetExpr::Select(select) = *query.body else { panic!() };
    let TableFactor::Table { name, .. } = &select.from[0].relation else { panic!() };
    let ident = name.0[0].as_ident().unwrap();
    assert_eq!((ident.value.as_str(), ident.quote_style), ("s3://b/x.parquet", Some('\'')));
}

#[test]
fn forms_without_a_field_of_their_own_keep_their_meaning() {
    assert_eq!(expression("a operator(pg_catalog.~) b"), "a OPERATOR(pg_catalog.~) b");
    assert_eq!(expression("a between symmetric 1 and 2"), "a BETWEEN SYMMETRIC 1 AND 2");
    assert_eq!(expression("(row(1)).f1"), "(row(1)).f1");
    let Expr::Function(call) = parse_expression("f(VARIADIC a)").unwrap() else { panic!() };
    let ast::FunctionArguments::List(list) = call.args else { panic!() };
    assert!(variadic_argument(&list.args[0]).is_some());
}

#[test]
fn types_carry_their_modifiers() {
    for (text, expected) in [
        ("numeric(12,2)", PgType::numeric(12, 2)),
        ("varchar(10)", PgType::with_typmod(oid::VARCHAR, 14)),
        ("character varying", PgType::VARCHAR),
        ("char", PgType::with_typmod(oid::BPCHAR, 5)),
        ("\"char\"", PgType::CHAR),
        ("timestamp(3) with time zone", PgType::with_typmod(oid::TIMESTAMPTZ, 3)),
        ("timestamptz(9)", PgType::with_typmod(oid::TIMESTAMPTZ, 6)),
        ("pg_catalog.int8[]", PgType::of(1016)),
        ("interval day to second(3)", PgType::with_typmod(oid::INTERVAL, 0x1c08_0003)),
        ("float(20)", PgType::FLOAT4),
        ("_text", PgType::of(1009)),
    ] {
        assert_eq!(parse_type(text).unwrap(), expected, "{text}");
    }
    for (text, state) in [
        ("numeric(1001)", SqlState::InvalidParameterValue),
        ("numeric(39)", SqlState::FeatureNotSupported),
        ("foo", SqlState::UndefinedObject),
        ("varchar(0)", SqlState::InvalidParameterValue),
        ("text(5)", SqlState::SyntaxError),
    ] {
        assert_eq!(parse_type(text).unwrap_err().sqlstate(), state, "{text}");
    }
    let error = parse("CREATE TABLE t (é int, b foo)").unwrap_err();
    assert_eq!((error.message(), error.position()), ("type \"foo\" does not exist", Some(26)));
}

#[test]
fn settings_are_joined_as_postgresql_does() {
    for (text, name, value) in [
        ("SET search_path = a, \"B\", 'c d'", "search_path", Some("a, \"B\", \"c d\"")),
        ("SET DateStyle TO iso, 'MDY'", "datestyle", Some("iso, MDY")),
        ("SET extra_float_digits = -1", "extra_float_digits", Some("-1")),
        ("SET x TO DEFAULT", "x", None),
        ("SET TIME ZONE LOCAL", "timezone", None),
        ("SET SESSION TIMEZONE TO 'UTC'", "timezone", Some("UTC")),
        ("SET NAMES 'UTF8'", "client_encoding", Some("UTF8")),
        ("SET ROLE none", "role", Some("none")),
        ("SET SESSION AUTHORIZATION DEFAULT", "session_authorization", None),
    ] {
        let Statement::Set(set) = one(text) else { panic!("{text}") };
        assert_eq!((set.name.value.as_str(), set.value.as_deref()), (name, value), "{text}");
    }
}

#[test]
fn what_nobody_honours_is_refused_by_name() {
    for (text, message, position) in [
        ("SELECT 1; CHECKPOINT", "CHECKPOINT is not supported", 11),
        ("UPDATE t SET a = 1 WHERE CURRENT OF c", "WHERE CURRENT OF is not supported", 26),
        (
            "INSERT INTO t VALUES (1) ON CONFLICT ON CONSTRAINT c DO NOTHING",
            "ON CONFLICT ON CONSTRAINT is not supported",
            38,
        ),
        ("CREATE INDEX i ON t (a)", "CREATE INDEX is not supported", 1),
        ("ALTER TABLE t INHERIT u", "ALTER TABLE … INHERIT is not supported", 15),
        ("SELECT 1 FOR UPDATE", "FOR UPDATE is not supported", 10),
        ("SELECT 1 INTO TEMP t", "SELECT INTO a temporary or unlogged table is not supported", 15),
        ("SELECT * FROM t TABLESAMPLE system (1)", "TABLESAMPLE is not supported", 17),
        ("CREATE TABLE t (a int GENERATED BY DEFAULT AS IDENTITY)", "IDENTITY is not supported", 23),
        ("CREATE TABLE t (a int, PRIMARY KEY (a))", "PRIMARY KEY is not supported", 24),
        ("WITH x AS (DELETE FROM t) SELECT 1", "a data-modifying statement in WITH is not supported", 12),
        ("COPY t FROM PROGRAM 'x'", "COPY with PROGRAM is not supported", 13),
        ("SELECT B'101'", "a bit string constant is not supported", 8),
    ] {
        let error = parse(text).unwrap_err();
        let got = (error.sqlstate(), error.message(), error.position());
        assert_eq!(got, (SqlState::FeatureNotSupported, message, Some(position)), "{text}");
    }
    let error = parse("COPY t FROM STDIN (FOO 1)").unwrap_err();
    assert_eq!((error.message(), error.position()), ("option \"foo\" not recognized", Some(20)));
}

#[test]
fn endless_nesting_is_refused_and_long_lists_are_not() {
    let nested = [
        format!("SELECT {}1{}", "(".repeat(5000), ")".repeat(5000)),
        format!("SELECT {}", "(".repeat(100_000)),
        format!("{}SELECT 1", "(".repeat(5000)),
        format!("SELECT {} 1", "NOT ".repeat(5000)),
        format!("SELECT {} 1", "- ".repeat(5000)),
        format!("SELECT 1{}", " + 1".repeat(5000)),
        format!("SELECT 1{}", "::int".repeat(5000)),
        format!("SELECT a{}", "[1]".repeat(5000)),
        format!("SELECT 1{}", " UNION SELECT 1".repeat(5000)),
        format!("SELECT {}", "CASE WHEN ".repeat(5000)),
        format!("SELECT {}", "f(".repeat(5000)),
        format!("SELECT {}", "ARRAY[".repeat(5000)),
        format!("SELECT * FROM {}", "(SELECT * FROM ".repeat(5000)),
        format!("{} SELECT 1", "EXPLAIN ".repeat(5000)),
    ];
    for text in nested {
        let error = parse(&text).unwrap_err();
        assert_eq!(error.sqlstate(), SqlState::StatementTooComplex, "{}", &text[..30]);
    }
    let terms = vec!["a = 1"; 20_000].join(" OR ");
    assert!(parse(&format!("SELECT * FROM t WHERE {terms}")).is_ok());
    assert!(parse(&format!("SELECT * FROM t WHERE a IN ({})", vec!["1"; 50_000].join(","))).is_ok());
    assert!(parse(&format!("INSERT INTO t VALUES {}", vec!["(1,'a')"; 20_000].join(","))).is_ok());
}

const PIECES: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "(",
    ")",
    ",",
    ";",
    "a",
    "\"b\"",
    "'c'",
    "1",
    "1.5",
    "$1",
    "=",
    "+",
    "-",
    "::",
    "int",
    "AND",
    "NOT",
    "IN",
    "BETWEEN",
    "LIKE",
    "IS",
    "NULL",
    "CASE",
    "WHEN",
    "END",
    "[",
    "]",
    ".",
    "*",
    "AS",
    "JOIN",
    "ON",
    "VALUES",
    "WITH",
    "INSERT",
    "INTO",
    "CREATE",
    "TABLE",
    "COPY",
    "SET",
    "TO",
    "FETCH",
    "DECLARE",
    "CURSOR",
    "FOR",
    "interval",
    "é",
    "'",
    "\"",
    "$$",
    "/*",
    "--",
    "E'\\",
    "U&'\\00",
    "OPERATOR",
    "ARRAY",
    "ROW",
    "OVER",
    "ORDER",
    "BY",
    "GROUP",
    "UNION",
    "EXPLAIN",
    "PREPARE",
    "LIMIT",
    "99999999999999999999",
    "\0",
    "\u{1f600}",
    ":",
    "=>",
    "DEFAULT",
    "EXTRACT",
    "TRIM",
];

proptest! {
    #[test]
    fn token_soup_never_panics(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..40)) {
        let _ = parse(&pieces.join(" "));
        let _ = parse(&pieces.concat());
    }

    #[test]
    fn any_text_never_panics(text in "\\PC*") {
        let _ = parse(&text);
        let _ = parse_expression(&text);
    }

    #[test]
    fn the_position_of_an_error_is_inside_the_text(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 1..12)) {
        let text = pieces.join(" ");
        if let Err(error) = parse(&text)
            && let Some(position) = error.position() {
                prop_assert!(position >= 1 && position as usize <= text.chars().count() + 1);
            }
    }
}
