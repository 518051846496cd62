//! EXPORT MODEL … TO '….onnx': onnxruntime gives the server's predictions.

use std::path::Path;
use std::process::Command;

use crate::files::root;
use crate::protocol::Connection;
use crate::server::{Home, Server};
use crate::stores::installed;

/// Rows with everything that a feature can be: values at thresholds, NULLs, categories that come rarely, and in `id < 0` ones
/// that no training has seen.
const ROWS: &str = "
CREATE TABLE points AS
SELECT i AS id,
       CASE WHEN i % 13 = 0 THEN NULL ELSE (i * 37 % 101)::float8 / 7 END AS x,
       CASE WHEN i % 17 = 0 THEN NULL ELSE (i * 53 % 97)::int END AS y,
       CASE WHEN i % 11 = 0 THEN NULL ELSE 'c' || (i * i % 23) END AS \"a colour\",
       CASE WHEN i % 29 = 0 THEN NULL WHEN i < 0 THEN 'unseen' ELSE 't' || (abs(i) * 7919 % 700) END AS town,
       CASE WHEN i % 19 = 0 THEN NULL ELSE i % 3 = 0 END AS flag,
       CASE WHEN i % 31 = 0 THEN NULL ELSE date '2024-01-01' + abs(i) % 60 END AS day,
       timestamp '2024-01-01 00:00:00.25' + make_interval(secs => abs(i) * 1733.125) AS at,
       1.7::numeric(10,2) * (abs(i) % 50) AS price,
       (ARRAY['ash', 'élan', 'oak', 'yew'])[1 + (i * i % 101 + abs(i) * 53 % 97) / 50] AS kind,
       CASE WHEN i = 3 THEN 'once' ELSE 'of ' || i % 5 END AS held_out_once,
       ((i * i % 101) + 2 * (abs(i) * 53 % 97) > 150) AS high,
       (abs(i) * 53 % 97 + i * i % 23) / 40 AS grade,
       1e7 * (i * i % 101) - 2e5 * (abs(i) * 53 % 97) + (i * i % 23) AS amount
FROM generate_series(-400, 2500) AS s(i)";

const FEATURES: &str = "x, y, \"a colour\", town, flag, day, at, price";

/// Name, options, label.
const MODELS: &[(&str, &str, &str)] = &[
    ("forest_of_two", "model_type = 'random_forest_classifier', num_trees = 20", "high"),
    ("forest_of_four", "model_type = 'random_forest_classifier', num_trees = 15, max_depth = 6", "kind"),
    ("forest_of_numbers", "model_type = 'random_forest_regressor', num_trees = 20", "amount"),
    ("boosted_two", "model_type = 'boosted_tree_classifier', num_iterations = 20", "high"),
    ("boosted_grades", "model_type = 'boosted_tree_classifier', num_iterations = 10", "grade"),
    ("boosted_numbers", "model_type = 'boosted_tree_regressor', num_iterations = 30", "amount"),
    ("line", "model_type = 'linear_regression'", "amount"),
    ("ridge", "model_type = 'linear_regression', l2_reg = 1, max_categories = 10", "amount"),
    ("no_intercept", "model_type = 'linear_regression', fit_intercept = false", "amount"),
    ("logit", "model_type = 'logistic_regression', l2_reg = 0.1", "high"),
    ("logits", "model_type = 'logistic_regression', l2_reg = 0.1, max_categories = 20", "kind"),
    ("logits_but_one", "model_type = 'logistic_regression', l2_reg = 1, split_column = 'flag'", "held_out_once"),
    ("odd_rows", "model_type = 'isolation_forest', num_trees = 20", ""),
];

fn compared(model: &Path, rows: &Path) -> Result<(), String> {
    let python = installed("LAKEGATE_TEST_VENV", "test-venv", "bin/python");
    let script = root().join("tests/suite/models/onnx_runtime.py");
    let ran = Command::new(python).arg(script).args([model, rows]).output().map_err(|error| error.to_string())?;
    if ran.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&ran.stderr).into_owned()) }
}

async fn export_and_compare(
    connection: &mut Connection,
    folder: &Path,
    (name, options, label): (&str, &str, &str),
) -> Result<(), String> {
    let learned = if label.is_empty() { String::new() } else { format!(", {label}") };
    let option = if label.is_empty() { String::new() } else { format!(", label = '{label}'") };
    let (model, rows) = (folder.join(format!("{name}.onnx")), folder.join(format!("{name}.json")));
    let answers = match label {
        "" => format!("predict('{name}', p.*) AS label, predict_proba('{name}', p.*) AS numbers"),
        _ if options.contains("regress") && !options.contains("logistic") => {
            format!("NULL AS label, predict('{name}', p.*) AS numbers")
        }
        _ => format!("predict('{name}', p.*) AS label, predict_probs('{name}', p.*) AS numbers"),
    };
    let statements = [
        format!(
            "CREATE MODEL {name} OPTIONS ({options}{option}, seed = 3) AS SELECT {FEATURES}{learned} FROM points WHERE id > 0"
        ),
        format!("EXPORT MODEL {name} TO '{}'", model.display()),
        format!("COPY (SELECT {FEATURES}, {answers} FROM points p) TO '{}' (FORMAT json)", rows.display()),
    ];
    for statement in statements {
        connection.query(&statement).await.map_err(|error| format!("{statement}: {error}"))?;
    }
    compared(&model, &rows).map_err(|error| format!("{name}: {error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn onnxruntime_predicts_what_the_server_predicts() {
    let home = Home::new();
    let server = Server::start_in(&home, &[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    connection.command(ROWS).await.unwrap();
    let mut failures = Vec::new();
    for model in MODELS {
        failures.extend(export_and_compare(&mut connection, home.path(), *model).await.err());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
