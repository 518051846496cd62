//! docs/sql.md, "What is refused": each thing it lists is refused, and what is refused here is listed there.

use std::collections::BTreeSet;

use super::cells;
use crate::protocol::{Connection, Failure};
use crate::server::Server;

const FEED: &str = "ALTER TABLE t SET TBLPROPERTIES ('delta.enableChangeDataFeed' = 'true')";

/// What the page calls it, and statements of it. Of a group in one line the last statement is the refused one.
const REFUSED: &[(&str, &[&[&str]])] = &[
    ("WHERE CURRENT OF", &[&["UPDATE t SET a = 1 WHERE CURRENT OF c"], &["DELETE FROM t WHERE CURRENT OF c"]]),
    ("assignment to a field or element", &[&["UPDATE t SET a[1] = 1"], &["UPDATE t SET a.b = 1"]]),
    ("ON CONFLICT ON CONSTRAINT", &[&["INSERT INTO t VALUES (1) ON CONFLICT ON CONSTRAINT c DO NOTHING"]]),
    ("a PARTITION value that is no constant", &[&["INSERT OVERWRITE t PARTITION (a = lower('x')) SELECT 1"]]),
    ("RETURNING of an INSERT that replaces rows", &[&["INSERT OVERWRITE t SELECT a, b FROM t RETURNING a"]]),
    (
        "data-modifying WITH",
        &[
            &["WITH d AS (DELETE FROM t RETURNING a) SELECT * FROM d"],
            &["WITH d AS (INSERT INTO t VALUES (1) RETURNING a) SELECT * FROM d"],
        ],
    ),
    (
        "DELETE of a row that the same transaction has updated in a table with a change data feed",
        &[&["BEGIN", FEED, "UPDATE t SET b = 'x'", "DELETE FROM t"]],
    ),
    (
        "another shape of all rows of a table with a change data feed",
        &[&["BEGIN", FEED, "ALTER TABLE t ALTER a TYPE bigint"], &["BEGIN", FEED, "ALTER TABLE t DROP b"]],
    ),
    (
        "a change data feed that begins or ends after other changes of a transaction",
        &[&["BEGIN", "UPDATE t SET b = 'x'", FEED]],
    ),
    (
        "TRANSFORM in a model of series",
        &[&[
            "CREATE MODEL m TRANSFORM (a, b) OPTIONS (model_type = 'ets', time = 'a', label = 'b') AS SELECT a, b FROM t",
        ]],
    ),
    (
        "rows for ML.FORECAST",
        &[&[
            "CREATE MODEL m OPTIONS (model_type = 'ets', time = 'd', label = 'i') AS \
             SELECT date '2024-01-01' + i AS d, i FROM generate_series(1, 9) AS i",
            "SELECT * FROM ML.FORECAST(MODEL m, (SELECT 1))",
        ]],
    ),
    ("ADD COLUMN … FIRST", &[&["ALTER TABLE t ADD COLUMN c int FIRST"]]),
    (
        "a volatile DEFAULT of a column that is added to rows",
        &[&["ALTER TABLE t ADD COLUMN c float8 DEFAULT random()"]],
    ),
    ("VALIDATE CONSTRAINT", &[&["ALTER TABLE t VALIDATE CONSTRAINT c"]]),
    ("ENABLE ROW LEVEL SECURITY", &[&["ALTER TABLE t ENABLE ROW LEVEL SECURITY"]]),
    ("SET STATISTICS", &[&["ALTER TABLE t ALTER a SET STATISTICS 5"]]),
    ("INHERIT", &[&["ALTER TABLE t INHERIT u"], &["ALTER TABLE t NO INHERIT u"]]),
    ("SCHEDULE of an expectation", &[&["CREATE EXPECTATION x ON t EXPECT (UNIQUE (a)) SCHEDULE '* * * * *'"]]),
    ("EXISTS in an expectation", &[&["CREATE EXPECTATION x ON t EXPECT (EXISTS (SELECT 1))"]]),
    ("IN (SELECT …) in an expectation", &[&["CREATE EXPECTATION x ON t EXPECT (max(a) IN (SELECT 1))"]]),
    ("a volatile function in an expectation", &[&["CREATE EXPECTATION x ON t EXPECT (max(a) > random())"]]),
    ("a set in an expectation", &[&["CREATE EXPECTATION x ON t EXPECT (max(a) > generate_series(1, 2))"]]),
    (
        "a table function in an expectation",
        &[&["CREATE EXPECTATION x ON t EXPECT (count(*) > (SELECT count(*) FROM table_at('t', 0)))"]],
    ),
    (
        "a subquery over the expectation's own table",
        &[&["CREATE EXPECTATION x ON t EXPECT (count(*) = (SELECT count(*) FROM t))"]],
    ),
    (
        "a subquery in an expectation's WHERE",
        &[&["CREATE EXPECTATION x ON t WHERE a > (SELECT max(a) FROM t) EXPECT (count(*) > 0)"]],
    ),
    (
        "several is_anomaly in one expectation",
        &[&["CREATE EXPECTATION x ON t EXPECT (is_anomaly(max(a)) OR is_anomaly(min(a)))"]],
    ),
    ("DROP ROW of a rule about all rows", &[&["CREATE EXPECTATION x ON t EXPECT (UNIQUE (a)) ON VIOLATION DROP ROW"]]),
    (
        "QUARANTINE ROW of a rule about all rows",
        &[&["CREATE EXPECTATION x ON t EXPECT (UNIQUE (a)) ON VIOLATION QUARANTINE ROW"]],
    ),
    ("SET LOGGED", &[&["ALTER TABLE t SET LOGGED"], &["ALTER TABLE t SET UNLOGGED"]]),
    ("COMMENT ON anything else", &[&["COMMENT ON ROLE reader IS 'x'"], &["COMMENT ON DATABASE lakegate IS 'x'"]]),
    ("CREATE TABLE … (LIKE …)", &[&["CREATE TABLE u (LIKE t)"]]),
    ("CREATE TABLE … AS EXECUTE", &[&["CREATE TABLE u AS EXECUTE p"]]),
    ("TRUNCATE of several tables", &[&["TRUNCATE t, u"]]),
    ("IDENTITY", &[&["CREATE TABLE u (a int GENERATED ALWAYS AS IDENTITY)"]]),
    ("serial", &[&["CREATE TABLE u (a serial)"], &["CREATE TABLE u (a bigserial)"]]),
    ("COLLATE", &[&["CREATE TABLE u (a text COLLATE \"C\")"]]),
    ("STORAGE", &[&["CREATE TABLE u (a text STORAGE EXTERNAL)"]]),
    ("COMPRESSION", &[&["CREATE TABLE u (a text COMPRESSION lz4)"]]),
    ("PRIMARY KEY", &[&["CREATE TABLE u (a int PRIMARY KEY)"], &["CREATE TABLE u (a int, PRIMARY KEY (a))"]]),
    ("UNIQUE", &[&["CREATE TABLE u (a int UNIQUE)"], &["CREATE TABLE u (a int, UNIQUE (a))"]]),
    (
        "FOREIGN KEY",
        &[&["CREATE TABLE u (a int REFERENCES t (a))"], &["CREATE TABLE u (a int, FOREIGN KEY (a) REFERENCES t (a))"]],
    ),
    ("EXCLUDE", &[&["CREATE TABLE u (a int, EXCLUDE USING gist (a WITH =))"]]),
    ("a CHECK with a subquery", &[&["CREATE TABLE u (a int CHECK (a IN (SELECT a FROM t)))"]]),
    ("a CHECK with a volatile function", &[&["CREATE TABLE u (a float8 CHECK (a > random()))"]]),
    (
        "an expectation of rows with a subquery",
        &[&["CREATE TABLE u (a int, CONSTRAINT e EXPECT (a IN (SELECT a FROM t)))"]],
    ),
    (
        "an expectation about rows of a quarantine table",
        &[&[
            "BEGIN",
            "CREATE TABLE apart (a int, CONSTRAINT k EXPECT (a > 0) ON VIOLATION QUARANTINE ROW)",
            "ALTER TABLE apart_quarantine ADD CONSTRAINT k EXPECT (a > 0)",
        ]],
    ),
    (
        "an expectation of rows with a volatile function",
        &[&["CREATE TABLE u (a float8, CONSTRAINT e EXPECT (a > random()))"]],
    ),
    ("UNLOGGED", &[&["CREATE UNLOGGED TABLE u (a int)"]]),
    ("INHERITS", &[&["CREATE TABLE u (a int) INHERITS (t)"]]),
    ("PARTITION BY", &[&["CREATE TABLE u (a int) PARTITION BY RANGE (a)"]]),
    ("TABLESPACE", &[&["CREATE TABLE u (a int) TABLESPACE fast"]]),
    ("SCHEDULE", &[&["CREATE MATERIALIZED VIEW u SCHEDULE EVERY 1 HOUR AS SELECT 1 AS a"]]),
    ("views that are recursive", &[&["CREATE RECURSIVE VIEW u (a) AS SELECT 1"]]),
    ("over files", &[&["CREATE VIEW u AS SELECT * FROM 'a.parquet'"]]),
    ("databases", &[&["CREATE DATABASE d"], &["DROP DATABASE d"], &["ALTER DATABASE lakegate SET work_mem = '1MB'"]]),
    ("indexes", &[&["CREATE INDEX ON t (a)"], &["DROP INDEX i"], &["REINDEX TABLE t"]]),
    ("sequences", &[&["CREATE SEQUENCE s"], &["ALTER SEQUENCE s RESTART"], &["DROP SEQUENCE s"]]),
    ("functions", &[&["CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'"], &["DROP FUNCTION f()"]]),
    ("procedures", &[&["CREATE PROCEDURE f() LANGUAGE sql AS 'SELECT 1'"], &["DROP PROCEDURE f()"]]),
    (
        "triggers",
        &[&["CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()"], &["DROP TRIGGER g ON t"]],
    ),
    ("types", &[&["CREATE TYPE y AS (a int)"], &["CREATE TYPE y AS ENUM ('a')"], &["DROP TYPE y"]]),
    ("domains", &[&["CREATE DOMAIN d AS int"], &["DROP DOMAIN d"]]),
    ("extensions", &[&["CREATE EXTENSION e"], &["DROP EXTENSION e"]]),
    ("rules", &[&["CREATE RULE r AS ON INSERT TO t DO INSTEAD NOTHING"]]),
    ("policies", &[&["CREATE POLICY p ON t"], &["DROP POLICY p ON t"]]),
    ("aggregates", &[&["CREATE AGGREGATE g (int) (SFUNC = int4pl, STYPE = int)"]]),
    ("operators", &[&["CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = f)"]]),
    ("casts", &[&["CREATE CAST (int AS text) WITHOUT FUNCTION"]]),
    ("collations", &[&["CREATE COLLATION c FROM \"C\""]]),
    ("statistics", &[&["CREATE STATISTICS s ON a, b FROM t"]]),
    ("publications", &[&["CREATE PUBLICATION p"]]),
    (
        "foreign tables and servers",
        &[&["CREATE FOREIGN TABLE f (a int) SERVER s"], &["CREATE SERVER s FOREIGN DATA WRAPPER w"]],
    ),
    ("tablespaces", &[&["CREATE TABLESPACE s LOCATION '/tmp'"]]),
    ("a statement inside CREATE SCHEMA", &[&["CREATE SCHEMA s CREATE TABLE u (a int)"]]),
    ("GRANT", &[&["GRANT SELECT ON t TO reader"], &["GRANT reader TO lakegate"]]),
    ("REVOKE", &[&["REVOKE SELECT ON t FROM reader"]]),
    ("ALTER ROLE … SET", &[&["ALTER ROLE reader SET work_mem = '1MB'"]]),
    ("REPLICATION", &[&["CREATE ROLE y REPLICATION"]]),
    ("BYPASSRLS", &[&["CREATE ROLE y BYPASSRLS"]]),
    ("role membership", &[&["CREATE ROLE y IN ROLE reader"], &["CREATE ROLE y ROLE reader"]]),
    ("DROP OWNED", &[&["DROP OWNED BY reader"]]),
    ("REASSIGN OWNED", &[&["REASSIGN OWNED BY reader TO lakegate"]]),
    ("ALTER DEFAULT PRIVILEGES", &[&["ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC"]]),
    ("SET SESSION AUTHORIZATION to another role", &[&["SET SESSION AUTHORIZATION reader"]]),
    ("AS OF after an alias", &[&["SELECT * FROM t AS x VERSION AS OF 1"]]),
    (
        "AS OF of a table that is written",
        &[
            &["INSERT INTO t VERSION AS OF 0 VALUES (1)"],
            &["UPDATE t FOR VERSION AS OF 0 SET a = 1"],
            &["DELETE FROM t TIMESTAMP AS OF '2024-01-01'"],
        ],
    ),
    ("VACUUM FREEZE and its kin", &[&["VACUUM FREEZE t"], &["VACUUM (FREEZE) t"], &["VACUUM (PARALLEL 2) t"]]),
    ("ANALYZE SKIP_LOCKED", &[&["ANALYZE (SKIP_LOCKED) t"]]),
    ("REORG … APPLY (UPGRADE)", &[&["REORG TABLE t APPLY (UPGRADE UNIFORM (ICEBERG_COMPAT_VERSION = 2))"]]),
    ("REORG … WHERE", &[&["REORG TABLE t WHERE a = 1 APPLY (PURGE)"]]),
    (
        "a parameter as the table of a function",
        &[
            &["PREPARE p AS SELECT * FROM profile($1)"],
            &["PREPARE p AS SELECT * FROM violations($1, 'r')"],
            &["PREPARE p AS SELECT * FROM table_at($1, 1)"],
        ],
    ),
    (
        "FOR UPDATE and its kin",
        &[
            &["SELECT * FROM t FOR UPDATE"],
            &["SELECT * FROM t FOR NO KEY UPDATE"],
            &["SELECT * FROM t FOR SHARE NOWAIT"],
            &["SELECT * FROM t FOR KEY SHARE SKIP LOCKED"],
        ],
    ),
    ("TABLESAMPLE", &[&["SELECT * FROM t TABLESAMPLE SYSTEM (10)"]]),
    (
        "frames with EXCLUDE",
        &[&["SELECT sum(a) OVER (ORDER BY a ROWS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE TIES) FROM t"]],
    ),
    (
        "DISTINCT in an aggregate of distributions",
        &[
            &["SELECT distribution(DISTINCT a) FROM t"],
            &["SELECT entropy(DISTINCT a) FROM t"],
            &["SELECT approx_percentile(DISTINCT a, 0.5) FROM t"],
            &["SELECT psi(DISTINCT a, '{\"bins\": [0, 1], \"weights\": [1]}') FROM t"],
        ],
    ),
    ("count_if(DISTINCT)", &[&["SELECT count(*), count_if(DISTINCT a = 1) FROM t"]]),
    ("XMLTABLE", &[&["SELECT * FROM xmltable('/' PASSING '<a/>' COLUMNS a int)"]]),
    ("ROWS FROM of several functions", &[&["SELECT * FROM ROWS FROM (generate_series(1, 2), generate_series(1, 3))"]]),
    (
        "ONNX of k-means",
        &[&[
            "CREATE OR REPLACE MODEL sent OPTIONS (model_type = 'kmeans', num_clusters = 2) AS SELECT g FROM generate_series(1, 9) g",
            "EXPORT MODEL sent TO 'm.onnx'",
        ]],
    ),
    (
        "ONNX of PCA",
        &[&[
            "CREATE OR REPLACE MODEL sent OPTIONS (model_type = 'pca') AS SELECT g, -g AS h FROM generate_series(1, 9) g",
            "EXPORT MODEL sent TO 'm.onnx'",
        ]],
    ),
    (
        "ONNX of forecasts",
        &[&[
            "CREATE OR REPLACE MODEL sent OPTIONS (model_type = 'exponential_smoothing', time = 'd', label = 'v') AS \
             SELECT date '2024-01-01' + g AS d, g AS v FROM generate_series(1, 30) g",
            "EXPORT MODEL sent TO 'm.onnx'",
        ]],
    ),
    (
        "ONNX of a model with TRANSFORM",
        &[&[
            "CREATE OR REPLACE MODEL sent TRANSFORM (g / 2 AS h, label) OPTIONS (model_type = 'linear_regression') AS \
             SELECT g, 2 * g AS label FROM generate_series(1, 20) g",
            "EXPORT MODEL sent TO 'm.onnx'",
        ]],
    ),
    (
        "EXPORT MODEL in another format",
        &[&[
            "CREATE OR REPLACE MODEL sent OPTIONS (model_type = 'linear_regression') AS \
             SELECT g, 2 * g AS label FROM generate_series(1, 20) g",
            "EXPORT MODEL sent TO 'm.pmml' OPTIONS (format = 'pmml')",
        ]],
    ),
    (
        "two-phase commit",
        &[&["BEGIN", "PREPARE TRANSACTION 'x'"], &["COMMIT PREPARED 'x'"], &["ROLLBACK PREPARED 'x'"]],
    ),
    (
        "SERIALIZABLE",
        &[&["BEGIN ISOLATION LEVEL SERIALIZABLE"], &["SET default_transaction_isolation = 'serializable'"]],
    ),
    ("LOCK", &[&["LOCK TABLE t"]]),
    ("LISTEN", &[&["LISTEN x"]]),
    ("NOTIFY", &[&["NOTIFY x"]]),
    ("DO", &[&["DO 'BEGIN END'"]]),
    ("CALL", &[&["CALL f()"]]),
    ("CLUSTER", &[&["CLUSTER"], &["CLUSTER t"]]),
    ("a list of columns", &[&["COPY INTO t (a) FROM 'x/' FILEFORMAT = CSV"]]),
    ("BY POSITION", &[&["COPY INTO t BY POSITION FROM 'x/' FILEFORMAT = CSV"]]),
    ("WITH", &[&["COPY INTO t FROM 'x/' WITH (CREDENTIAL c) FILEFORMAT = CSV"]]),
    ("VALIDATE", &[&["COPY INTO t FROM 'x/' FILEFORMAT = CSV VALIDATE ALL"]]),
    ("several paths", &[&["COPY INTO t FROM (SELECT a.* FROM 'x' a JOIN 'y' b USING (a)) FILEFORMAT = CSV"]]),
    (
        "other file formats",
        &[&["COPY INTO t FROM 'x/' FILEFORMAT = ORC"], &["COPY INTO t FROM 'x/' FILEFORMAT = TEXT"]],
    ),
    ("* in TRANSFORM", &[&["CREATE MODEL n TRANSFORM (*) OPTIONS (model_type = 'kmeans') AS SELECT a FROM t"]]),
    (
        "a subquery in TRANSFORM",
        &[&[
            "CREATE MODEL n TRANSFORM ((SELECT max(a) FROM t) AS a) OPTIONS (model_type = 'kmeans') AS SELECT a FROM t",
        ]],
    ),
    (
        "a window function in TRANSFORM",
        &[&[
            "CREATE MODEL n TRANSFORM (rank() OVER (ORDER BY a) AS a) OPTIONS (model_type = 'kmeans') AS SELECT a FROM t",
        ]],
    ),
    (
        "a volatile function in TRANSFORM",
        &[&["CREATE MODEL n TRANSFORM (a * random() AS a) OPTIONS (model_type = 'kmeans') AS SELECT a FROM t"]],
    ),
    (
        "DATA_SPLIT_METHOD = 'SEQ'",
        &[&[
            "CREATE MODEL n OPTIONS (model_type = 'linear_reg', data_split_method = 'SEQ') AS SELECT a, a AS label FROM t",
        ]],
    ),
    ("REINDEX", &[&["REINDEX TABLE t"]]),
    ("CHECKPOINT", &[&["CHECKPOINT"]]),
    ("LOAD", &[&["LOAD 'x'"]]),
    ("ALTER SYSTEM", &[&["ALTER SYSTEM SET work_mem = '1MB'"]]),
    (
        "EXPLAIN of what neither reads nor changes rows",
        &[&["EXPLAIN CREATE TABLE u AS SELECT 1"], &["EXPLAIN DECLARE c CURSOR FOR SELECT 1"]],
    ),
];

/// Runs all statements of a group; the last one must be refused.
async fn run(connection: &mut Connection, group: &[&str]) -> Result<(), String> {
    let (last, before) = group.split_last().unwrap();
    for sql in before {
        connection.query(sql).await.map_err(|error| format!("{sql}: {error}"))?;
    }
    let answer = connection.query(last).await;
    let _ = connection.query("ROLLBACK").await;
    match answer {
        Ok(_) => Err(format!("{last}: succeeds")),
        Err(Failure::Refused(told)) if told.code() == "0A000" && !told.message().is_empty() => Ok(()),
        Err(error) => Err(format!("{last}: {error}")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_page_says_is_refused_is_refused() {
    let server = Server::start(&[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    for sql in [
        "CREATE TABLE t (a int, b text)",
        "INSERT INTO t VALUES (7, 'kept')",
        "CREATE VIEW v AS SELECT a FROM t",
        "CREATE ROLE reader",
        "PREPARE p AS SELECT 1 AS a",
    ] {
        connection.command(sql).await.unwrap();
    }
    let mut failures = Vec::new();
    for (_, groups) in REFUSED {
        for group in *groups {
            failures.extend(run(&mut connection, group).await.err());
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    // Nothing of it had an effect.
    assert_eq!(connection.rows("SELECT * FROM t").await.unwrap(), [["7", "kept"]]);
    assert_eq!(connection.value("SELECT string_agg(table_name, ' ') FROM lakegate.tables").await.unwrap(), "t");
}

#[test]
fn the_page_lists_what_is_tried_and_what_it_lists_is_tried() {
    let rows = cells("docs/sql.md", "## What is refused");
    let listed: BTreeSet<String> =
        rows.iter().flat_map(|row| row[1].split(", ").map(str::to_owned).collect::<Vec<_>>()).collect();
    let tried: BTreeSet<String> = REFUSED.iter().map(|(name, _)| (*name).to_owned()).collect();
    let (unlisted, untried): (Vec<_>, Vec<_>) =
        (tried.difference(&listed).collect(), listed.difference(&tried).collect());
    assert!(unlisted.is_empty() && untried.is_empty(), "not in docs/sql.md: {unlisted:?}; not tried: {untried:?}");
}
