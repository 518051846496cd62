//! What suggest_expectations answers is run as it is: each statement is taken, and the rows keep every rule.

use crate::protocol::Connection;
use crate::server::Server;

const ROWS: &str = "INSERT INTO \"My Orders\" SELECT g, g % 40, (g % 90) - 0.5, g / 7.0, CASE g % 3 WHEN 0 THEN 'open' WHEN 1 THEN 'a\\b' ELSE 'it''s late' END, \
    'user' || g || '@mail.example', DATE '2024-01-01' + (g % 60), DATE '2999-01-01' + (g % 60), TIME '12:00' + g * INTERVAL '1 second', \
    TIMESTAMPTZ '2024-01-01 00:00:00+00' + g * INTERVAL '1 hour', CASE WHEN g % 50 = 0 THEN NULL ELSE 'n' || g END, \
    CASE WHEN g % 3 = 0 THEN NULL ELSE 'Ü' || g END, g % 2 = 0, ARRAY[g], '{}' FROM generate_series(1, 6000) AS g";

#[tokio::test(flavor = "multi_thread")]
async fn suggested_statements_run_as_they_are() {
    let server = Server::start(&[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    for sql in [
        "CREATE SCHEMA \"Sales\"",
        "SET search_path = \"Sales\"",
        "CREATE TABLE \"My Orders\" (id bigint NOT NULL, customer int, amount numeric(10,2), ratio double precision, \"State\" text, email varchar(40), placed date, due date, at time, seen timestamptz, \"Say \"\"hi\"\"\" text, \"order\" text, flag boolean, list int[], doc jsonb)",
        ROWS,
        // Nobody's settings change what a statement means.
        "SET datestyle = 'German, DMY'",
        "SET timezone = 'Asia/Tokyo'",
        "SET extra_float_digits = -10",
    ] {
        connection.command(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let suggest = "SELECT kind, statement FROM suggest_expectations('\"My Orders\"')";
    let suggested = connection.rows(suggest).await.unwrap();
    let of = |kind: &str| suggested.iter().filter(|row| row[0] == kind).count();
    for kind in [
        "not_null",
        "positive",
        "range",
        "not_future",
        "known_values",
        "length",
        "pattern",
        "unique",
        "distinct",
        "mean",
        "row_count",
    ] {
        assert!(of(kind) > 0, "{kind}: {suggested:#?}");
    }
    for row in &suggested {
        connection.command(&row[1]).await.unwrap_or_else(|error| panic!("{}: {error}", row[1]));
    }
    let results = connection.rows("VALIDATE \"My Orders\"").await.unwrap();
    assert_eq!(results.len(), suggested.len(), "{results:#?}");
    assert!(results.iter().all(|row| row.contains(&"passed".to_owned())), "{results:#?}");
    // Rules that the table has are not suggested again.
    let again = connection.rows(suggest).await.unwrap();
    assert!(again.is_empty(), "{again:#?}");
    // Rows like those that are there break none of them.
    connection.command("INSERT INTO \"My Orders\" (id, customer, \"State\") VALUES (6001, 3, 'open')").await.unwrap();
    let anew =
        connection.rows(&suggest.replace("My Orders\"'", "My Orders\"', columns => '{id,State}'")).await.unwrap();
    assert!(anew.is_empty(), "{anew:#?}");
    // A materialized view takes its own, and goes on being refreshed.
    let sql = "CREATE MATERIALIZED VIEW \"My Totals\" AS SELECT customer, \"State\", count(*) AS orders, sum(amount) AS \"Sum\", min(placed) AS first, max(seen) AS last, 'n' || customer AS code FROM \"My Orders\" WHERE id <= 6000 GROUP BY customer, \"State\"";
    connection.command(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let suggest = suggest.replace("My Orders", "My Totals");
    let suggested = connection.rows(&suggest).await.unwrap();
    assert!(suggested.len() > 5, "{suggested:#?}");
    for row in &suggested {
        connection.command(&row[1]).await.unwrap_or_else(|error| panic!("{}: {error}", row[1]));
    }
    let results = connection.rows("VALIDATE \"My Totals\"").await.unwrap();
    assert_eq!(results.len(), suggested.len(), "{results:#?}");
    assert!(results.iter().all(|row| row.contains(&"passed".to_owned())), "{results:#?}");
    let again = connection.rows(&suggest).await.unwrap();
    assert!(again.is_empty(), "{again:#?}");
    connection.command("REFRESH MATERIALIZED VIEW \"My Totals\"").await.unwrap();
}
