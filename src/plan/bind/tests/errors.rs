//! Refusals: code, message and position as PostgreSQL 15 gives them for the same tables.

use super::fixture::refusal;

#[tokio::test]
async fn bad_queries_are_refused_as_postgresql_refuses_them() {
    let cases: &[(&str, &str, &str, u32)] = &[
        ("SELECT * FROM nope", "42P01", "relation \"nope\" does not exist", 15),
        ("SELECT * FROM s.nope", "42P01", "relation \"s.nope\" does not exist", 15),
        ("SELECT x FROM t", "42703", "column \"x\" does not exist", 8),
        ("SELECT t.x FROM t", "42703", "column t.x does not exist", 8),
        ("SELECT z.a FROM t", "42P01", "missing FROM-clause entry for table \"z\"", 8),
        ("SELECT t.a FROM t AS z", "42P01", "invalid reference to FROM-clause entry for table \"t\"", 8),
        ("SELECT a FROM t, u", "42702", "column reference \"a\" is ambiguous", 8),
        ("SELECT 1 FROM t, t", "42712", "table name \"t\" specified more than once", 0),
        ("SELECT a FROM t ORDER BY 2", "42P10", "ORDER BY position 2 is not in select list", 26),
        ("SELECT a FROM t GROUP BY 3", "42P10", "GROUP BY position 3 is not in select list", 26),
        ("SELECT a FROM t ORDER BY 'x'", "42601", "non-integer constant in ORDER BY", 26),
        (
            "SELECT a, count(*) FROM t",
            "42803",
            "column \"t.a\" must appear in the GROUP BY clause or be used in an aggregate function",
            8,
        ),
        (
            "SELECT b, sum(a) + a FROM t AS x GROUP BY b",
            "42803",
            "column \"x.a\" must appear in the GROUP BY clause or be used in an aggregate function",
            20,
        ),
        (
            "SELECT count(*) FROM t ORDER BY b",
            "42803",
            "column \"t.b\" must appear in the GROUP BY clause or be used in an aggregate function",
            33,
        ),
        (
            "SELECT b, (SELECT max(u.a) FROM u WHERE u.a = t.a) FROM t GROUP BY b",
            "42803",
            "subquery uses ungrouped column \"t.a\" from outer query",
            47,
        ),
        ("SELECT 1 FROM t WHERE sum(a) > 1", "42803", "aggregate functions are not allowed in WHERE", 23),
        (
            "SELECT 1 FROM t JOIN u ON count(*) = 1",
            "42803",
            "aggregate functions are not allowed in JOIN conditions",
            27,
        ),
        ("SELECT 1 FROM t GROUP BY sum(a)", "42803", "aggregate functions are not allowed in GROUP BY", 26),
        ("SELECT sum(a) FROM t GROUP BY 1", "42803", "aggregate functions are not allowed in GROUP BY", 8),
        ("SELECT sum(sum(a)) FROM t", "42803", "aggregate function calls cannot be nested", 12),
        ("SELECT 1 FROM t WHERE row_number() OVER () = 1", "42P20", "window functions are not allowed in WHERE", 23),
        ("SELECT row_number() FROM t", "42809", "window function row_number requires an OVER clause", 8),
        ("SELECT rank() OVER w FROM t", "42704", "window \"w\" does not exist", 20),
        (
            "SELECT 1 FROM t WHERE generate_series(1, 2) = 1",
            "0A000",
            "set-returning functions are not allowed in WHERE",
            23,
        ),
        ("SELECT 1 FROM t WHERE a", "42804", "argument of WHERE must be type boolean, not type integer", 23),
        ("SELECT 1 UNION SELECT 1, 2", "42601", "each UNION query must have the same number of columns", 23),
        ("SELECT a FROM t UNION SELECT c FROM u", "42804", "UNION types integer and text cannot be matched", 30),
        ("SELECT (SELECT a, b FROM t)", "42601", "subquery must return only one column", 8),
        ("SELECT a IN (SELECT a, b FROM t) FROM t", "42601", "subquery has too many columns", 10),
        ("SELECT 1 LIMIT -1", "2201W", "LIMIT must not be negative", 0),
        ("SELECT 1 OFFSET -1", "2201X", "OFFSET must not be negative", 0),
        ("SELECT *", "42601", "SELECT * with no tables specified is not valid", 8),
        ("VALUES (1), (1, 2)", "42601", "VALUES lists must all be the same length", 14),
        (
            "SELECT * FROM t JOIN u USING (c)",
            "42703",
            "column \"c\" specified in USING clause does not exist in left table",
            0,
        ),
        (
            "SELECT DISTINCT a FROM t ORDER BY b",
            "42P10",
            "for SELECT DISTINCT, ORDER BY expressions must appear in select list",
            35,
        ),
        (
            "SELECT DISTINCT ON (a) a FROM t ORDER BY b",
            "42P10",
            "SELECT DISTINCT ON expressions must match initial ORDER BY expressions",
            21,
        ),
        (
            "WITH w AS (SELECT 1), w AS (SELECT 2) SELECT 1",
            "42712",
            "WITH query name \"w\" specified more than once",
            23,
        ),
        (
            "WITH w (a, b) AS (SELECT 1) SELECT 1",
            "42P10",
            "WITH query \"w\" has 1 columns available but 2 columns specified",
            6,
        ),
        (
            "SELECT 1 FROM t AS x (a, b, c, d)",
            "42P10",
            "table \"x\" has 3 columns available but 4 columns specified",
            0,
        ),
        ("SELECT lower(DISTINCT 'x')", "42809", "DISTINCT specified, but lower is not an aggregate function", 8),
        (
            "SELECT lower('x') OVER ()",
            "42809",
            "OVER specified, but lower is not a window function nor an aggregate function",
            8,
        ),
        ("SELECT 1 FROM t, (SELECT t.a) AS s", "42P01", "invalid reference to FROM-clause entry for table \"t\"", 26),
        ("SELECT 1 FROM t x JOIN u y ON z.a = 1", "42P01", "missing FROM-clause entry for table \"z\"", 31),
        ("SELECT (1, 2) = (1, 2, 3)", "42601", "unequal number of entries in row expressions", 15),
        (
            "SELECT a FROM t UNION SELECT a FROM u ORDER BY a + 1",
            "0A000",
            "invalid UNION/INTERSECT/EXCEPT ORDER BY clause",
            48,
        ),
        ("SELECT 'x' COLLATE \"nope\"", "42704", "collation \"nope\" for encoding \"UTF8\" does not exist", 12),
        (
            "SELECT (SELECT c FROM u WHERE u.a = t.a) FROM t",
            "21000",
            "more than one row returned by a subquery used as an expression",
            0,
        ),
    ];
    let mut failures = Vec::new();
    for (text, code, message, position) in cases {
        let error = refusal(text).await;
        let expected = (*code, *message, (*position > 0).then_some(*position));
        let given = (error.sqlstate().code(), error.message(), error.position());
        if expected != given {
            failures.push(format!("{text}\n  expected {expected:?}\n  given    {given:?}"));
        }
    }
    assert!(failures.is_empty(), "{} of them:\n{}", failures.len(), failures.join("\n"));
}

#[tokio::test]
async fn near_names_are_suggested() {
    let cases = [
        ("SELECT nmae FROM t", "Perhaps you meant to reference the column \"t.name\"."),
        ("SELECT t.nam FROM t", "Perhaps you meant to reference the column \"t.name\"."),
        ("SELECT t.a FROM t AS z", "Perhaps you meant to reference the table alias \"z\"."),
        (
            "SELECT 1 FROM t, (SELECT t.a) AS s",
            "There is an entry for table \"t\", but it cannot be referenced from this part of the query.",
        ),
    ];
    for (text, hint) in cases {
        assert_eq!(refusal(text).await.hint(), Some(hint), "{text}");
    }
    assert_eq!(refusal("SELECT zzzz FROM t").await.hint(), None);
}
