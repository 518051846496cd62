//! Answers, as PostgreSQL 15 gives them for the same tables.

use super::fixture::{bind, run};

#[tokio::test]
async fn queries_answer_as_postgresql_does() {
    let cases = [
        ("SELECT 1, 'x', NULL", "1,x,"),
        ("SELECT a FROM t ORDER BY a", "1;2;3;"),
        ("SELECT a FROM t ORDER BY a DESC", ";3;2;1"),
        ("SELECT a FROM t ORDER BY b DESC, a", ";2;1;3"),
        ("SELECT a AS b FROM t ORDER BY b LIMIT 1", "1"),
        ("SELECT * FROM t WHERE a = 1", "1,10,one"),
        ("SELECT t.*, t.a FROM t WHERE name = 'two'", "2,20,two,2"),
        ("SELECT x.a, y.a FROM t x, t y WHERE x.b = y.b AND x.a < y.a", "1,3"),
        ("SELECT t.a, c FROM t JOIN u ON t.a = u.a ORDER BY c", "1,x;1,y;3,z"),
        ("SELECT * FROM t JOIN u USING (a) ORDER BY c", "1,10,one,x;1,10,one,y;3,10,,z"),
        ("SELECT a, c FROM t RIGHT JOIN u USING (a) ORDER BY c", "5,w;1,x;1,y;3,z"),
        ("SELECT a, name, c FROM t FULL JOIN u USING (a) ORDER BY a, c", "1,one,x;1,one,y;2,two,;3,,z;5,,w;,four,"),
        ("SELECT * FROM t NATURAL JOIN u WHERE c = 'x'", "1,10,one,x"),
        ("SELECT t.a, u.c FROM t LEFT JOIN u ON t.a = u.a AND u.c > 'x' ORDER BY t.a", "1,y;2,;3,z;,"),
        ("SELECT count(*), count(a), sum(b) FROM t", "4,3,80"),
        ("SELECT b, count(*) FROM t GROUP BY b ORDER BY 1", "10,2;20,1;40,1"),
        ("SELECT b + 1 AS k, count(*) FROM t GROUP BY k HAVING count(*) > 1", "11,2"),
        ("SELECT b, sum(a) FROM t GROUP BY ROLLUP (b) ORDER BY b, sum", "10,4;20,2;40,;,6"),
        ("SELECT b, grouping(b) FROM t GROUP BY GROUPING SETS ((b), ()) ORDER BY 2, 1", "10,0;20,0;40,0;,1"),
        ("SELECT DISTINCT b FROM t ORDER BY b", "10;20;40"),
        ("SELECT DISTINCT ON (b) b, a FROM t ORDER BY b, a DESC", "10,3;20,2;40,"),
        ("SELECT max(a) FILTER (WHERE b = 10) FROM t", "3"),
        ("SELECT string_agg(name, '-' ORDER BY b DESC, name) FROM t", "four-two-one"),
        ("SELECT a, row_number() OVER (ORDER BY a DESC) FROM t WHERE a IS NOT NULL ORDER BY a", "1,3;2,2;3,1"),
        ("SELECT a, sum(b) OVER w FROM t WINDOW w AS (PARTITION BY b ORDER BY a) ORDER BY a", "1,10;2,20;3,20;,40"),
        (
            "SELECT a, sum(b) OVER (ORDER BY a ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t ORDER BY a",
            "1,10;2,30;3,30;,50",
        ),
        ("SELECT b, sum(count(*)) OVER () FROM t GROUP BY b ORDER BY b LIMIT 1", "10,4"),
        ("SELECT a FROM t WHERE a IN (SELECT a FROM u) ORDER BY a", "1;3"),
        ("SELECT a FROM t WHERE a NOT IN (SELECT a FROM u) ORDER BY a", "2"),
        ("SELECT a FROM t WHERE EXISTS (SELECT FROM u WHERE u.a = t.a) ORDER BY a", "1;3"),
        ("SELECT a FROM t WHERE NOT EXISTS (SELECT 1 FROM u WHERE u.a = t.a) ORDER BY a", "2;"),
        ("SELECT a, (SELECT max(c) FROM u WHERE u.a = t.a) FROM t ORDER BY a", "1,y;2,;3,z;,"),
        ("SELECT a, (SELECT c FROM u WHERE u.a = t.a AND c <> 'x') FROM t ORDER BY a", "1,y;2,;3,z;,"),
        ("SELECT a FROM t WHERE a > ALL (SELECT a FROM u WHERE a < 3) ORDER BY a", "2;3"),
        ("SELECT a FROM t WHERE a >= ANY (SELECT a FROM u WHERE a > 1) ORDER BY a", "3"),
        ("SELECT a FROM t WHERE a = ANY (ARRAY[1, 3]) ORDER BY a", "1;3"),
        ("SELECT a FROM t WHERE a = ANY ('{1,2}') ORDER BY a", "1;2"),
        ("SELECT a > ALL (ARRAY[1, NULL]) FROM t ORDER BY a", "false;;;"),
        ("SELECT a FROM t WHERE (a, b) IN (VALUES (1, 10), (2, 30))", "1"),
        ("SELECT a FROM t WHERE (a, b) IN ((1, 10), (2, 30))", "1"),
        ("SELECT (1, 2) < (1, 3), (2, 1) = (2, NULL)", "true,"),
        ("SELECT k, label FROM v WHERE k = 2", "2,two"),
        ("WITH w AS (SELECT a FROM t), x (n) AS (SELECT a + 1 FROM w) SELECT n FROM x ORDER BY n", "2;3;4;"),
        ("WITH RECURSIVE r (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM r WHERE n < 4) SELECT n FROM r", "1;2;3;4"),
        ("SELECT a FROM t UNION SELECT a FROM u ORDER BY a", "1;2;3;5;"),
        ("SELECT a FROM t INTERSECT SELECT a FROM u ORDER BY 1", "1;3"),
        ("SELECT a FROM u EXCEPT ALL SELECT a FROM t ORDER BY 1", "1;5"),
        ("SELECT a FROM u INTERSECT ALL (SELECT 1 UNION ALL SELECT 1) ORDER BY 1", "1;1"),
        ("SELECT '1' UNION ALL SELECT 2", "1;2"),
        ("VALUES (1, 'a'), (2, NULL) ORDER BY 1 DESC", "2,;1,a"),
        ("SELECT column2 FROM (VALUES (1, 'a'), (2, 'b')) AS s WHERE column1 = 2", "b"),
        ("SELECT y FROM (VALUES (1, 'a')) AS s (x, y)", "a"),
        ("SELECT * FROM generate_series(1, 3)", "1;2;3"),
        ("SELECT n FROM generate_series(3, 1, -1) AS n", "3;2;1"),
        ("SELECT g.v, g.o FROM unnest(ARRAY['a', 'b']) WITH ORDINALITY AS g (v, o) ORDER BY o", "a,1;b,2"),
        ("SELECT t.a, s FROM t, generate_series(1, t.a) AS s WHERE t.a < 3 ORDER BY 1, 2", "1,1;2,1;2,2"),
        ("SELECT a, unnest(ARRAY[b, 1]) FROM t WHERE a = 1 ORDER BY 2", "1,1;1,10"),
        ("SELECT generate_series(1, 3), generate_series(1, 2)", "1,1;2,2;3,"),
        ("SELECT t.a, m FROM t, LATERAL (SELECT max(c) AS m FROM u WHERE u.a = t.a) AS s ORDER BY a LIMIT 1", "1,y"),
        ("SELECT (ARRAY[5, 6, 7])[2], (ARRAY[5, 6, 7])[0], (ARRAY[5, 6, 7])[4]", "6,,"),
        ("SELECT ARRAY(SELECT a FROM u ORDER BY c)", "[5, 1, 1, 3]"),
        ("SELECT ARRAY(SELECT a FROM u WHERE a > 9)", "[]"),
        ("SELECT CASE a WHEN 1 THEN 'x' ELSE 'y' END FROM t WHERE a < 3 ORDER BY a", "x;y"),
        ("SELECT coalesce(name, '?') FROM t WHERE a = 3", "?"),
        ("SELECT nullif(a, 1), greatest(a, 2), least(a, 2) FROM t WHERE a = 1", ",2,1"),
        ("SELECT a BETWEEN 2 AND 3, a BETWEEN SYMMETRIC 3 AND 2 FROM t WHERE a = 2", "true,true"),
        ("SELECT a IS DISTINCT FROM 1 FROM t ORDER BY a", "false;true;true;true"),
        ("SELECT a FROM t ORDER BY a OFFSET 1 ROWS FETCH NEXT 2 ROWS ONLY", "2;3"),
        ("SELECT a FROM t ORDER BY a LIMIT 1 + 1", "1;2"),
        ("SELECT count(*) FROM t LIMIT NULL", "4"),
        ("SELECT j.a, j.c FROM (t JOIN u USING (a)) AS j ORDER BY c LIMIT 1", "1,x"),
        ("SELECT count(t.*), count(t) FROM t", "4,4"),
        ("SELECT name LIKE 't%', name ILIKE 'T%' FROM t WHERE a = 2", "true,true"),
        ("TABLE u ORDER BY c LIMIT 1", "5,w"),
        (
            "SELECT a FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.a = t.a AND EXISTS (SELECT 1 FROM u w WHERE w.c > u.c \
             AND w.a = u.a)) ORDER BY a",
            "1",
        ),
    ];
    let mut failures = Vec::new();
    for (text, expected) in cases {
        match run(text).await {
            Ok(answer) if answer == expected => {}
            Ok(answer) => failures.push(format!("{text}\n  expected {expected}\n  answered {answer}")),
            Err(error) => failures.push(format!("{text}\n  {error:?} at {:?}", error.position())),
        }
    }
    assert!(failures.is_empty(), "{} of them:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn output_columns_are_named_as_postgresql_names_them() {
    let cases = [
        ("SELECT 1, a, a::text, 1::text, true, -a, a + 1 FROM t", "?column?,a,a,text,?column?,?column?,?column?"),
        ("SELECT CASE WHEN true THEN 1 END, CASE WHEN true THEN 1 ELSE a END FROM t", "case,a"),
        ("SELECT coalesce(1), nullif(1, 2), greatest(1), ARRAY[1], ROW(1)", "coalesce,nullif,greatest,array,row"),
        ("SELECT EXISTS (SELECT 1), (SELECT a FROM t LIMIT 1), (SELECT 1 AS z)", "exists,a,z"),
        ("SELECT lower('X') AS \"Ü\", lower('x'), date '2020-01-01'", "Ü,lower,date"),
        ("SELECT a, a FROM t", "a,a"),
    ];
    for (text, expected) in cases {
        let names: Vec<String> = bind(text).unwrap().columns.into_iter().map(|column| column.name).collect();
        assert_eq!(names.join(","), expected, "{text}");
    }
}

#[test]
fn plain_columns_tell_their_table_through_subqueries() {
    let bound = bind("SELECT s.b, s.b + 1, s.name AS x FROM (SELECT b, name FROM t) AS s").unwrap();
    let origins: Vec<(u32, i16)> = bound.columns.iter().map(|column| (column.table_oid, column.attribute)).collect();
    assert_eq!(origins, [(16_400, 2), (0, 0), (16_400, 3)]);
}
