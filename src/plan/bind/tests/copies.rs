//! Forms that name an operand several times, inside each other.

use super::fixture::{bind, run};
use crate::error::SqlState;

/// `form` with `innermost` in the place of its `@`, and that in the place of the next form's.
fn nested(form: &str, innermost: &str, levels: usize) -> String {
    (0..levels).fold(innermost.to_owned(), |inner, _| form.replace('@', &inner))
}

/// Rows with columns of several types.
const ROWS: &str = "(SELECT a, a = 1 AS x, b::float8 AS f, name, date '2020-01-01' + a AS d FROM t WHERE a = 1) AS s";

#[tokio::test]
async fn operands_that_are_named_once_may_nest_as_deep_as_any() {
    let cases = [
        ("(@) IN (x, true)", "x IS NULL", "false"),
        ("(@) NOT IN (x, x)", "x IS NULL", "false"),
        ("nullif(@, 5)", "a + 1", "2"),
        ("(ARRAY[1, 2])[@]", "a", "1"),
        ("nullif(@, 'ONE')", "lower(name)", "one"),
        ("CASE @ WHEN 1 THEN 2 WHEN a + 1 THEN 1 ELSE 0 END", "a + 0", "1"),
        ("CASE @ WHEN 'one' THEN 'two' WHEN NULL THEN 'x' ELSE 'one' END", "lower(name)", "one"),
    ];
    for (form, innermost, expected) in cases {
        let text = format!("SELECT {} FROM {ROWS}", nested(form, innermost, 40));
        assert_eq!(run(&text).await.unwrap(), expected, "{form}");
    }
}

#[test]
fn operands_that_are_repeated_have_a_limit_together() {
    let cases = [
        ("(@) BETWEEN false AND x", "x"),
        ("x BETWEEN SYMMETRIC false AND (@)", "x"),
        ("(@) IN (x, NOT x)", "x"),
        ("(@) IS NOT DISTINCT FROM x", "x"),
        ("((@), 1) < (x, 2)", "x"),
        ("((@), 1) IN ((x, 1), (x, 2))", "x"),
        ("(@) IN (SELECT u.a = 1 FROM u)", "x"),
        ("((@), 1) IN (SELECT u.a = 1, u.a FROM u)", "x"),
        ("nullif(@, 1.5::float8)", "f"),
        ("(@)[1:]", "ARRAY[a]"),
    ];
    for (form, innermost) in cases {
        let text = format!("SELECT {} FROM {ROWS}", nested(form, innermost, 40));
        let error = bind(&text).map(|_| ()).unwrap_err();
        assert_eq!(error.sqlstate(), SqlState::StatementTooComplex, "{form}: {error:?}");
        assert!(error.position().is_some(), "{form}");
    }
}

#[tokio::test]
async fn long_lists_of_items_are_within_the_limit() {
    let items = vec!["x"; 200].join(", ");
    assert_eq!(run(&format!("SELECT (a IS NULL) IN (NOT x, {items}) FROM {ROWS}")).await.unwrap(), "true");
    let whens = (0..500).map(|at| format!("WHEN {at}::float8 THEN {at}")).collect::<Vec<_>>().join(" ");
    assert_eq!(run(&format!("SELECT CASE f / 2 {whens} END FROM {ROWS}")).await.unwrap(), "5");
}
