//! docs/limits.md: each limit is met by a statement that goes beyond it, or by the constant or default that it repeats.

use super::cells;
use crate::files::root;
use crate::protocol::{Connection, Failure};
use crate::server::Server;

/// What shows that a line of the page is true.
enum Held {
    /// The statement is refused with a code that the line names.
    Refused(String),
    /// The statement runs: it stays below.
    Runs(String),
    /// What takes too long or too much to try: a text that stands in a file of the sources or in a generated page.
    Stands(&'static str, &'static str),
}

fn refused(sql: impl Into<String>) -> Held {
    Held::Refused(sql.into())
}

fn runs(sql: impl Into<String>) -> Held {
    Held::Runs(sql.into())
}

fn columns(count: usize) -> String {
    let columns: Vec<String> = (0..count).map(|number| format!("c{number} int")).collect();
    format!("CREATE TABLE wide{count} ({})", columns.join(", "))
}

fn nested(levels: usize) -> String {
    format!("SELECT {}1{}", "(".repeat(levels), ")".repeat(levels))
}

/// BETWEEN inside BETWEEN, each of which holds its operand twice.
fn betweens(levels: usize) -> String {
    let operand = (0..levels).fold("true".to_owned(), |operand, _| format!("({operand} BETWEEN false AND true)"));
    format!("SELECT {operand}")
}

/// `1, 2, …`
fn numbers(count: usize) -> String {
    (1..=count).map(|number| number.to_string()).collect::<Vec<_>>().join(", ")
}

/// A label of so many classes.
fn classes(count: usize) -> String {
    format!(
        "CREATE MODEL classes{count} OPTIONS (model_type = 'random_forest_classifier', num_trees = 1, max_depth = 1, eval_fraction = 0) AS \
         SELECT i AS x, i::text AS label FROM generate_series(1, {count}) AS s(i)"
    )
}

const SETTINGS: &str = "docs/configuration.md";

/// By the first words of the line.
fn limits() -> Vec<(&'static str, Vec<Held>)> {
    vec![
        (
            "digits of numeric",
            vec![
                refused("CREATE TABLE u (a numeric(39, 0))"),
                runs("CREATE TABLE n (a numeric)"),
                runs("INSERT INTO n VALUES (9999999999999999999999999999.0123456789)"),
                refused("INSERT INTO n VALUES (99999999999999999999999999999)"),
            ],
        ),
        (
            "length of varchar(n), char(n)",
            vec![
                refused("CREATE TABLE u (a varchar(10485761))"),
                refused("CREATE TABLE u (a char(10485761))"),
                runs("CREATE TABLE long (a varchar(10485760), b char(10485760))"),
            ],
        ),
        (
            "bins and categories of a baseline",
            vec![
                runs("SELECT distribution(1, 1000), distribution('a', 1000)"),
                refused("SELECT distribution(1, 1001)"),
                refused(format!("SELECT psi('a', '{{\"values\": [{0}], \"weights\": [{0}]}}')", numbers(1001))),
            ],
        ),
        (
            "values that distribution and approx_percentile keep exactly",
            vec![Held::Stands("src/builtins/functions/statistics/sketch.rs", "LEVEL_VALUES_MAX: usize = 8192;")],
        ),
        (
            "categories that distribution and entropy count exactly",
            vec![
                Held::Stands("src/builtins/functions/statistics/tally.rs", "CATEGORIES_MAX: usize = 16_384;"),
                Held::Stands("src/builtins/functions/statistics/tally.rs", "BYTES_MAX: usize = 4 << 20;"),
            ],
        ),
        (
            "series of a model",
            vec![
                Held::Stands("src/models/train/fit/series.rs", "const SERIES_MAX: usize = 100_000;"),
                Held::Stands("src/models/forecast/grid.rs", "pub const STEPS_MAX: usize = 10_000_000;"),
            ],
        ),
        (
            "steps that a model of series forecasts",
            vec![
                runs(
                    "CREATE MODEL s OPTIONS (model_type = 'exponential_smoothing', time = 'd', label = 'n') AS \
                     SELECT date '2024-01-01' + i AS d, i AS n FROM generate_series(1, 9) AS i",
                ),
                runs("SELECT count(*) FROM ML.FORECAST(MODEL s, horizon => 10000)"),
                refused("SELECT count(*) FROM ML.FORECAST(MODEL s, horizon => 10001)"),
            ],
        ),
        (
            "nesting of a JSON schema and of what it is applied to",
            vec![refused("SELECT json_matches_schema('{\"$ref\": \"#\"}', '1')")],
        ),
        (
            "columns of ZORDER BY",
            vec![
                runs("CREATE TABLE z (a int, b int, c int, d int, e int, f int, g int, h int, i int)"),
                runs("OPTIMIZE z ZORDER BY (a, b, c, d, e, f, g, h)"),
                refused("OPTIMIZE z ZORDER BY (a, b, c, d, e, f, g, h, i)"),
            ],
        ),
        (
            "timestamps",
            vec![
                runs("SELECT timestamp '4713-01-01 BC', timestamp '294247-01-10'"),
                refused("SELECT timestamp '4715-01-01 BC'"),
                refused("SELECT timestamp '294247-01-11'"),
            ],
        ),
        (
            "dates",
            vec![
                runs("SELECT date '4714-11-24 BC', date '5874897-12-31'"),
                refused("SELECT date '4714-11-23 BC'"),
                refused("SELECT date '5874898-01-01'"),
            ],
        ),
        (
            "dimensions of an array in a table",
            vec![runs("CREATE TABLE a (a int[])"), refused("INSERT INTO a VALUES (ARRAY[[1, 2], [3, 4]])")],
        ),
        (
            "texts that a function makes for one batch of rows",
            vec![refused("SELECT count(repeat('x', 1000000 + n)) FROM generate_series(1, 8000) AS s(n)")],
        ),
        ("columns of a table", vec![runs(columns(1600)), refused(columns(1601))]),
        (
            "bytes of an identifier",
            vec![runs(format!("SELECT \"{}\" FROM (SELECT 1 AS \"{}\") q", "a".repeat(63), "a".repeat(70)))],
        ),
        ("nesting of expressions and queries", vec![runs(nested(1_900)), refused(nested(2_001))]),
        ("parts of expressions that BETWEEN", vec![runs(betweens(8)), refused(betweens(40))]),
        (
            "operators in one chain",
            vec![
                runs(format!("SELECT true{}", " AND true".repeat(3_000))),
                refused(format!("SELECT 1{}", " + 1".repeat(1_001))),
            ],
        ),
        ("files of one glob", vec![Held::Stands("src/lake/files/list.rs", "const FILES_MAX: usize = 1_000_000;")]),
        ("files of one COPY TO", vec![Held::Stands("src/lake/files/export.rs", "const FILES_MAX: usize = 10_000;")]),
        (
            "different headers of CSV files that are united",
            vec![Held::Stands("src/lake/files/headers.rs", "const HEADERS_MAX: usize = 64;")],
        ),
        (
            "rejected rows that are kept of one load",
            vec![
                Held::Stands("src/encode/copy/decode.rs", "REJECTS_LISTED_MAX: usize = 10_000;"),
                Held::Stands("src/encode/copy/decode.rs", "REJECTED_BYTES_MAX: usize = 1000;"),
                Held::Stands("src/lake/kept.rs", "Self::RejectedRows => 30,"),
            ],
        ),
        (
            "one record of a COPY or file",
            vec![Held::Stands("src/encode/copy/split/mod.rs", "const RECORD_BYTES_MAX: usize = (1 << 30) - 1;")],
        ),
        (
            "sample for inference",
            vec![
                Held::Stands("src/lake/files/format.rs", "sample_rows_max: 20_000,"),
                Held::Stands("src/lake/files/format.rs", "sample_bytes_max: 64 << 20,"),
                Held::Stands("src/lake/files/format.rs", "sample_files_max: 32,"),
            ],
        ),
        (
            "features of a model",
            vec![Held::Stands("src/execute/model/create.rs", "const FEATURES_MAX: usize = 10_000;")],
        ),
        ("classes of a model's label", vec![runs(classes(1_000)), refused(classes(1_001))]),
        (
            "distinct texts of a model's feature",
            vec![Held::Stands("src/models/dataset/dictionary.rs", "const TEXTS_MAX: usize = 1 << 20;")],
        ),
        (
            "combinations of a search through a grid",
            vec![refused(format!(
                "CREATE MODEL grid OPTIONS (model_type = 'boosted_tree_regressor', hparam_algorithm = 'grid', num_iterations = HPARAM_CANDIDATES([{0}]), \
                 max_depth = HPARAM_CANDIDATES([{0}])) AS SELECT i AS x, i AS label FROM generate_series(1, 50) AS s(i)",
                numbers(32)
            ))],
        ),
        ("one message of a client", vec![Held::Stands(SETTINGS, "| `server.message_bytes_max` | bytes | `256MB` |")]),
        ("parameters of a statement", vec![refused("PREPARE p AS SELECT $65536::int")]),
        (
            "prepared statements and portals of a session",
            vec![Held::Stands("src/query/conversation.rs", "const KEPT_MAX: usize = 10_000;")],
        ),
        (
            "notices kept for one statement",
            vec![Held::Stands("src/session/mod.rs", "const NOTICES_MAX: usize = 10_000;")],
        ),
        ("connections", vec![Held::Stands(SETTINGS, "| `server.connections_max` | integer | `200` |")]),
        ("memory of all statements", vec![Held::Stands(SETTINGS, "| `memory.pool_fraction` | number | `0.6` |")]),
        ("spilled bytes", vec![Held::Stands(SETTINGS, "| `memory.spill_bytes_max` | bytes | `100GB` |")]),
        ("tables kept loaded", vec![Held::Stands(SETTINGS, "| `lake.table_cache_entries` | integer | `1000` |")]),
        ("attempts of a commit", vec![Held::Stands("src/lake/commit.rs", "const ATTEMPTS_MAX: u32 = 40;")]),
        ("size of a data file", vec![Held::Stands("src/lake/files/export.rs", "file_bytes_max: 512 << 20")]),
        ("a model that is imported", vec![Held::Stands(SETTINGS, "| `files.model_bytes_max` | bytes | `1GB` |")]),
        (
            "a model as ONNX",
            vec![Held::Stands("src/models/onnx/mod.rs", "const BYTES_MAX: usize = i32::MAX as usize;")],
        ),
        ("databases of a server", vec![refused("CREATE DATABASE second")]),
        ("tables that one statement writes", vec![refused("TRUNCATE n, a")]),
    ]
}

async fn check(connection: &mut Connection, held: &Held, codes: &str) -> Result<(), String> {
    let shown = |sql: &str| sql.chars().take(80).collect::<String>();
    match held {
        Held::Stands(file, text) => {
            let stands = std::fs::read_to_string(root().join(file)).unwrap().contains(text);
            stands.then_some(()).ok_or_else(|| format!("{file} does not say: {text}"))
        }
        Held::Runs(sql) => connection.query(sql).await.map(drop).map_err(|error| format!("{}: {error}", shown(sql))),
        Held::Refused(sql) => match connection.query(sql).await {
            Err(Failure::Refused(told)) if codes.contains(told.code()) => Ok(()),
            Err(error) => Err(format!("{}: must fail with {codes}: {error}", shown(sql))),
            Ok(_) => Err(format!("{}: must fail with {codes}", shown(sql))),
        },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_limit_of_the_page_is_one() {
    let server = Server::start(&[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    let limits = limits();
    let rows = cells("docs/limits.md", "# Limits");
    let mut failures = Vec::new();
    for row in &rows {
        let Some((_, held)) = limits.iter().find(|(name, _)| row[0].starts_with(name)) else {
            failures.push(format!("nothing holds \"{}\"", row[0]));
            continue;
        };
        for held in held {
            failures.extend(check(&mut connection, held, &row[2]).await.err());
        }
    }
    for (name, _) in &limits {
        if !rows.iter().any(|row| row[0].starts_with(name)) {
            failures.push(format!("\"{name}\" is not on the page"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
