"""Models of Lakegate beside those of scikit-learn and LightGBM with equal settings, on data that scikit-learn ships.

Metrics of the rows held out, as means over ten splits, differ by less than 0.01, weights of linear models by less than 1e-6, and metrics that
the server tells are those that scikit-learn computes of its predictions. LAKEGATE_MODELS_FULL=1 grows 100 trees each, boosts digits too,
and compares models of the demo's flights. The server is the one that PGHOST and PGPORT name.
"""

import os
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
warnings.filterwarnings("ignore")

import lightgbm  # noqa: E402
import numpy as np  # noqa: E402
import psycopg  # noqa: E402
from sklearn import datasets, metrics  # noqa: E402
from sklearn.cluster import KMeans  # noqa: E402
from sklearn.decomposition import PCA  # noqa: E402
from sklearn.ensemble import IsolationForest, RandomForestClassifier, RandomForestRegressor  # noqa: E402
from sklearn.linear_model import ElasticNet, LinearRegression, LogisticRegression, Ridge  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

FULL = os.environ.get("LAKEGATE_MODELS_FULL") == "1"
SEEDS = range(10)
METRICS_DIFFER_MAX = 0.01
WEIGHTS_DIFFER_MAX = 1e-6
FLIGHTS = Path(__file__).parents[2] / "sql/demo/data/flights_2013_01.csv.gz"

failures = []


def expect(holds, text):
    if not holds:
        failures.append(text)


class Data:
    """Columns f0, f1, …, label and a column for each split, here and as a table."""

    def __init__(self, name, loaded, named=True):
        self.name = name
        self.x = loaded.data.astype(float)
        classes = named and hasattr(loaded, "target_names")
        self.y = np.array(loaded.target_names)[loaded.target].astype(str) if classes else loaded.target
        self.is_classes = classes or name == "digits"
        self.features = [f"f{place}" for place in range(self.x.shape[1])]
        rows = np.arange(len(self.y))
        held_out = [train_test_split(rows, test_size=0.3, random_state=seed, stratify=self.y if self.is_classes else None)[1] for seed in SEEDS]
        self.held_out = np.stack([np.isin(rows, chosen) for chosen in held_out], axis=1)

    def load(self, connection):
        label = "text" if self.y.dtype.kind == "U" else "int" if self.is_classes else "float8"
        columns = [f"{name} float8" for name in self.features] + [f"label {label}"] + [f"s{seed} boolean" for seed in SEEDS]
        connection.execute(f"CREATE OR REPLACE TABLE {self.name} (id int, {', '.join(columns)})")
        with connection.cursor().copy(f"COPY {self.name} FROM STDIN") as copy:
            for row, (values, label) in enumerate(zip(self.x.tolist(), self.y.tolist())):
                copy.write_row([row, *values, label, *self.held_out[row].tolist()])


class Compared:
    """A kind of model here, and its peer."""

    def __init__(self, kind, options, peer, metrics):
        self.kind, self.options, self.peer, self.metrics = kind, options, peer, metrics


def kinds(data):
    trees = 100 if FULL or data.name in ("wine", "iris") else 10 if data.name == "digits" else 20
    rounds = 100 if FULL else 20
    # Here every value has a bin of its own where values are few.
    boosted = dict(min_data_in_bin=1, n_estimators=rounds, num_leaves=31, min_child_samples=20, learning_rate=0.1, max_bin=254, n_jobs=1, verbose=-1)
    ours_boosted = f"num_iterations = {rounds}, num_leaves = 31, min_samples_leaf = 20, learning_rate = 0.1"
    if not data.is_classes:
        return [
            Compared("random_forest_regressor", f"num_trees = {trees}, max_depth = 10",
                     lambda seed: RandomForestRegressor(trees, max_depth=10, random_state=seed), ["r2_score"]),
            Compared("boosted_tree_regressor", ours_boosted, lambda seed: lightgbm.LGBMRegressor(**boosted), ["r2_score"]),
            Compared("linear_regression", "l2_reg = 0", lambda seed: LinearRegression(), ["r2_score"]),
        ]
    forest = Compared("random_forest_classifier", f"num_trees = {trees}, max_depth = 10",
                      lambda seed: RandomForestClassifier(trees, max_depth=10, random_state=seed), ["accuracy", "roc_auc"])
    if data.name == "digits" and not FULL:
        # Ten classes of 64 features take too long for others in a server that is not optimised.
        return [forest]
    return [
        forest,
        Compared("boosted_tree_classifier", ours_boosted, lambda seed: lightgbm.LGBMClassifier(**boosted), ["accuracy", "roc_auc", "log_loss"]),
        Compared("logistic_regression", "l2_reg = 1, standardize = true",
                 lambda seed: make_pipeline(StandardScaler(), LogisticRegression(C=1, tol=1e-6, max_iter=10_000)),
                 ["accuracy", "roc_auc", "log_loss"]),
    ]


def of_classes(truth, probabilities, classes):
    two = len(classes) == 2
    ranked = probabilities[:, 1] if two else probabilities
    return {
        "accuracy": metrics.accuracy_score(truth, classes[probabilities.argmax(axis=1)]),
        "roc_auc": metrics.roc_auc_score(truth, ranked, **({} if two else {"multi_class": "ovr"})),
        "log_loss": metrics.log_loss(truth, probabilities, labels=classes),
    }


def of_numbers(truth, values):
    return {
        "r2_score": metrics.r2_score(truth, values),
        "mean_absolute_error": metrics.mean_absolute_error(truth, values),
        "mean_squared_error": metrics.mean_squared_error(truth, values),
        "median_absolute_error": metrics.median_absolute_error(truth, values),
        "explained_variance": metrics.explained_variance_score(truth, values),
    }


def evaluated(connection, model, rows=""):
    cursor = connection.execute(f"SELECT * FROM ML.EVALUATE(MODEL {model}{rows})")
    return dict(zip((column.name for column in cursor.description), cursor.fetchone()))


def compare(connection, data, compared):
    """Trains over all splits; the means of the metrics here and there."""
    model = f"{data.name}_{compared.kind}"
    ours, theirs = [], []
    for seed in SEEDS:
        connection.execute(
            f"CREATE OR REPLACE MODEL {model} OPTIONS (model_type = '{compared.kind}', split_column = s{seed}, seed = {seed}, threads = 1, {compared.options})"
            f" AS SELECT {', '.join(data.features)}, label, s{seed} FROM {data.name}")
        found = evaluated(connection, model)
        ours.append([found[name] for name in compared.metrics])
        apart = data.held_out[:, seed]
        peer = compared.peer(seed).fit(data.x[~apart], data.y[~apart])
        truth = data.y[apart]
        known = of_classes(truth, peer.predict_proba(data.x[apart]), peer.classes_) if data.is_classes else of_numbers(truth, peer.predict(data.x[apart]))
        theirs.append([known[name] for name in compared.metrics])
        if seed == 0:
            check_predictions(connection, data, model, found)
    ours, theirs = np.mean(ours, axis=0), np.mean(theirs, axis=0)
    lines = []
    for name, own, other in zip(compared.metrics, ours, theirs):
        lines.append(f"{data.name:10} {compared.kind:26} {name:9} {own:.4f} {other:.4f} {own - other:+.4f}")
        expect(abs(own - other) < METRICS_DIFFER_MAX, f"{model}: {name} is {own:.4f}, with the peer {other:.4f}")
    return lines


def check_predictions(connection, data, model, found):
    """What predict, ML.PREDICT and ML.EVALUATE say of the rows of the first split is one thing, and scikit-learn computes the same of it."""
    rows = f"(SELECT * FROM {data.name} WHERE s0)"
    again = evaluated(connection, model, f", {rows}")
    for name, value in again.items():
        expect(value == found[name] or abs(value - found[name]) < 1e-9, f"{model}: {name} was {found[name]} in training and is {value} of the same rows")
    apart = data.held_out[:, 0]
    if data.is_classes:
        asked = "predict_probs('{0}', t.*), predicted_label_probs, predict('{0}', t.*), predicted_label"
    else:
        asked = "predict('{0}', t.*), predicted_label, predict('{0}', t.*), predicted_label"
    answers = connection.execute(f"SELECT {asked.format(model)} FROM ML.PREDICT(MODEL {model}, {rows}) AS t ORDER BY id").fetchall()
    different = sum(scalar != table or value != other for scalar, table, value, other in answers)
    expect(different == 0 and len(answers) == apart.sum(), f"{model}: predict and ML.PREDICT differ in {different} of {len(answers)} rows")
    if data.is_classes:
        classes = np.unique(data.y)
        probabilities = np.array([[answer[0][str(name)] for name in classes] for answer in answers], dtype=float)
        expect(np.abs(probabilities.sum(axis=1) - 1).max() < 1e-9, f"{model}: probabilities do not add up to 1")
        expect([answer[2] for answer in answers] == classes[probabilities.argmax(axis=1)].tolist(), f"{model}: another class than the most probable one")
        known = of_classes(data.y[apart], probabilities, classes)
    else:
        known = of_numbers(data.y[apart], np.array([answer[0] for answer in answers]))
    for name, value in known.items():
        expect(abs(value - found[name]) < 1e-9 * max(1, abs(value)), f"{model}: {name} is {found[name]}, by scikit-learn {value}")


def weights(connection, model):
    """(output, input, category) → weight."""
    rows = connection.execute(f"SELECT output, processed_input, category, weight FROM ML.WEIGHTS(MODEL {model})").fetchall()
    return {tuple(row[:3]): row[3] for row in rows}


def same_weights(model, ours, theirs):
    expect(ours.keys() == theirs.keys(), f"{model}: weights of {sorted(map(str, ours.keys() ^ theirs.keys()))} are there and not there")
    for key in ours.keys() & theirs.keys():
        differs = abs(ours[key] - theirs[key])
        expect(differs < WEIGHTS_DIFFER_MAX * max(1, abs(theirs[key])), f"{model}: the weight of {key} is {ours[key]}, with scikit-learn {theirs[key]}")


def named(features, coefficients, intercept, output=None):
    return {(output, name, None): value for name, value in zip(features, coefficients)} | {(output, "__INTERCEPT__", None): intercept}


def linear(connection, data):
    """Least squares with and without penalties, weights of rows and a category."""
    x, y, rows = data.x, data.y, len(data.y)
    columns = ", ".join(data.features)
    peers = {
        "ols": ("fit_intercept = true", LinearRegression()),
        "no_constant": ("fit_intercept = false", LinearRegression(fit_intercept=False)),
        "ridge": ("l2_reg = 0.7", Ridge(alpha=0.7, tol=1e-14)),
        "lasso": (f"l1_reg = {rows * 0.3}, tolerance = 1e-13", ElasticNet(alpha=0.3, l1_ratio=1, tol=1e-14, max_iter=1_000_000)),
        "elastic": (f"l1_reg = {rows * 0.05}, l2_reg = {rows * 0.05}, tolerance = 1e-13",
                    ElasticNet(alpha=0.1, l1_ratio=0.5, tol=1e-14, max_iter=1_000_000)),
    }
    for name, (options, peer) in peers.items():
        connection.execute(f"CREATE MODEL {name} OPTIONS (model_type = 'linear_regression', label = 'label', eval_fraction = 0, {options}) AS SELECT {columns}, label FROM {data.name}")
        peer.fit(x, y)
        theirs = named(data.features, peer.coef_, peer.intercept_)
        if name == "no_constant":
            del theirs[None, "__INTERCEPT__", None]
        same_weights(name, weights(connection, name), theirs)
    # Rows count by the first feature's place; the second is a category of three texts.
    weigh = 1 + x[:, 0].argsort().argsort() % 3
    connection.execute("CREATE TABLE weighed (place int, w int, kind text)")
    thirds = np.digitize(x[:, 3], np.quantile(x[:, 3], [0.2, 0.7]))
    with connection.cursor().copy("COPY weighed FROM STDIN") as copy:
        for row in range(rows):
            copy.write_row([row, int(weigh[row]), "abc"[thirds[row]]])
    connection.execute(f"CREATE MODEL weighed OPTIONS (model_type = 'linear_regression', label = 'label', weight = 'w', eval_fraction = 0)"
                       f" AS SELECT f0, f2, kind, w, label FROM {data.name} JOIN weighed ON place = id")
    # The most frequent category is what the others are compared with.
    levels = [place for place in range(3) if place != np.bincount(thirds, weights=weigh).argmax()]
    hot = np.stack([x[:, 0], x[:, 2], *(thirds == place for place in levels)], axis=1)
    peer = LinearRegression().fit(hot, y, sample_weight=weigh)
    theirs = named(["f0", "f2"], peer.coef_[:2], peer.intercept_) | {(None, "kind", "abc"[place]): value for place, value in zip(levels, peer.coef_[2:])}
    same_weights("weighed", weights(connection, "weighed"), theirs)


def logistic(connection, data):
    columns = ", ".join(data.features)
    scaler = StandardScaler().fit(data.x)
    x = scaler.transform(data.x)
    classes = np.unique(data.y)
    for strength in (1.0, 0.01):
        model = f"{data.name}_weights_{'one' if strength == 1 else 'weak'}"
        connection.execute(f"CREATE MODEL {model} OPTIONS (model_type = 'logistic_regression', label = 'label', eval_fraction = 0, l2_reg = {strength}, standardize = true, tolerance = 1e-12)"
                           f" AS SELECT {columns}, label FROM {data.name}")
        peer = LogisticRegression(C=1 / strength, solver="newton-cholesky", tol=1e-13, max_iter=10_000).fit(x, data.y)
        coefficients = peer.coef_ / scaler.scale_
        intercepts = peer.intercept_ - coefficients @ scaler.mean_
        ours = weights(connection, model)
        if len(classes) == 2:
            # The name of the output is not what is compared.
            ours = {(None, *key[1:]): value for key, value in ours.items()}
            same_weights(model, ours, named(data.features, coefficients[0], intercepts[0]))
            continue
        theirs = {}
        for place, name in enumerate(classes):
            theirs |= named(data.features, coefficients[place], intercepts[place], str(name))
        # Constants of softmax are known but for one that all have in common.
        for both in (ours, theirs):
            constants = [key for key in both if key[1] == "__INTERCEPT__"]
            mean = np.mean([both[key] for key in constants])
            both.update({key: both[key] - mean for key in constants})
        same_weights(model, ours, theirs)


def unlabelled(connection, data):
    """k-means finds the same clusters, PCA the same components."""
    columns = ", ".join(data.features)
    x = StandardScaler().fit_transform(data.x)
    clusters = f"{data.name}_clusters"
    connection.execute(f"CREATE MODEL {clusters} OPTIONS (model_type = 'kmeans', num_clusters = 3) AS SELECT {columns} FROM {data.name}")
    ours = evaluated(connection, clusters)["inertia"]
    theirs = KMeans(3, n_init=10, random_state=0, tol=1e-8).fit(x).inertia_
    expect(abs(ours / theirs - 1) < 1e-3, f"{clusters}: inertia {ours}, with scikit-learn {theirs}")
    parts = f"{data.name}_parts"
    connection.execute(f"CREATE MODEL {parts} OPTIONS (model_type = 'pca', num_components = 3) AS SELECT {columns} FROM {data.name}")
    rows = connection.execute(f"SELECT principal_component_1, principal_component_2, principal_component_3 FROM ML.PREDICT(MODEL {parts}, TABLE {data.name}) ORDER BY id").fetchall()
    differs = np.abs(np.abs(np.array(rows)) - np.abs(PCA(3, svd_solver="full").fit_transform(x))).max()
    expect(differs < 1e-6, f"{parts}: components differ by {differs}")


def anomalies(connection, data):
    """Of tumours the malignant ones are unlike the others."""
    model, columns = f"{data.name}_anomalies", ", ".join(data.features)
    ours, theirs = [], []
    wanted = data.y == "malignant"
    for seed in SEEDS:
        connection.execute(f"CREATE OR REPLACE MODEL {model} OPTIONS (model_type = 'isolation_forest', num_trees = 50, seed = {seed}, threads = 1) AS SELECT {columns} FROM {data.name}")
        scores = connection.execute(f"SELECT anomaly_score FROM ML.PREDICT(MODEL {model}, TABLE {data.name}) ORDER BY id").fetchall()
        ours.append(metrics.roc_auc_score(wanted, np.array(scores)[:, 0]))
        theirs.append(metrics.roc_auc_score(wanted, -IsolationForest(n_estimators=50, random_state=seed).fit(data.x).score_samples(data.x)))
    own, other = np.mean(ours), np.mean(theirs)
    expect(abs(own - other) < METRICS_DIFFER_MAX, f"{model}: roc_auc is {own:.4f}, with scikit-learn {other:.4f}")
    return [f"{data.name:10} {'isolation_forest':26} {'roc_auc':9} {own:.4f} {other:.4f} {own - other:+.4f}"]


def flights(connection):
    """A month of the demo's flights: categories and NULLs as they are."""
    numbers, texts = ["day", "hour", "sched_arr_time", "dep_delay", "distance"], ["carrier", "origin", "dest"]
    splits = ", ".join(f"(id * 7919 + {seed}) % 10 < 3 AS s{seed}" for seed in SEEDS)
    connection.execute(f"CREATE TABLE flights AS SELECT *, {splits} FROM (SELECT row_number() OVER (ORDER BY day, sched_dep_time, carrier, flight, origin) AS id,"
                       f" {', '.join(numbers + texts)}, arr_delay > 15 AS late FROM read_csv('{FLIGHTS}', header => true, nullstr => 'NA')) AS f WHERE late IS NOT NULL")
    rows = connection.execute(f"SELECT {', '.join(numbers)}, {', '.join(texts)}, late, {', '.join(f's{seed}' for seed in SEEDS)} FROM flights").fetchall()
    width = len(numbers) + len(texts)
    held_out = np.array([row[width + 1:] for row in rows])
    y = np.array([row[width] for row in rows])
    x = np.array([[np.nan if value is None else float(value) for value in row[: len(numbers)]] for row in rows])
    codes = [np.unique([row[place] for row in rows], return_inverse=True)[1] for place in range(len(numbers), width)]
    coded = np.column_stack([x, *codes])
    lines = []
    for kind, options, features, peer in [
        ("boosted_tree_classifier", "num_iterations = 100", numbers + texts,
         lambda seed: lightgbm.LGBMClassifier(n_estimators=100, n_jobs=1, verbose=-1, max_bin=254)),
        ("random_forest_classifier", "num_trees = 100, max_depth = 10", numbers,
         lambda seed: RandomForestClassifier(100, max_depth=10, random_state=seed)),
    ]:
        ours, theirs = [], []
        for seed in SEEDS:
            connection.execute(f"CREATE OR REPLACE MODEL flights OPTIONS (model_type = '{kind}', label = 'late', split_column = s{seed}, seed = {seed}, {options})"
                               f" AS SELECT {', '.join(features)}, late, s{seed} FROM flights")
            found = evaluated(connection, "flights")
            ours.append([found["accuracy"], found["roc_auc"]])
            apart = held_out[:, seed]
            given = coded if len(features) == width else x
            arguments = {"categorical_feature": list(range(len(numbers), width))} if len(features) == width else {}
            probabilities = peer(seed).fit(given[~apart], y[~apart], **arguments).predict_proba(given[apart])
            known = of_classes(y[apart], probabilities, np.array([False, True]))
            theirs.append([known["accuracy"], known["roc_auc"]])
        for name, own, other in zip(("accuracy", "roc_auc"), np.mean(ours, axis=0), np.mean(theirs, axis=0)):
            lines.append(f"{'flights':10} {kind:26} {name:9} {own:.4f} {other:.4f} {own - other:+.4f}")
            expect(abs(own - other) < METRICS_DIFFER_MAX, f"flights {kind}: {name} is {own:.4f}, with the peer {other:.4f}")
    return lines


def main():
    started = time.perf_counter()
    loaded = {
        "cancer": Data("cancer", datasets.load_breast_cancer()),
        "diabetes": Data("diabetes", datasets.load_diabetes(scaled=False)),
        "wine": Data("wine", datasets.load_wine()),
        "iris": Data("iris", datasets.load_iris()),
        "digits": Data("digits", datasets.load_digits(), named=False),
    }

    def connected():
        return psycopg.connect("", autocommit=True)

    with connected() as connection:
        for data in loaded.values():
            data.load(connection)
    jobs = [(data.name, compared.kind, lambda connection, data=data, compared=compared: compare(connection, data, compared))
            for data in loaded.values() for compared in kinds(data)]
    # The longest first.
    jobs.sort(key=lambda job: (job[0] != "digits", "logistic" in job[1] or "linear" in job[1]))
    jobs += [
        ("diabetes", "weights", lambda connection: linear(connection, loaded["diabetes"])),
        ("cancer", "weights", lambda connection: logistic(connection, loaded["cancer"])),
        ("iris", "weights", lambda connection: logistic(connection, loaded["iris"])),
        ("wine", "unlabelled", lambda connection: unlabelled(connection, loaded["wine"])),
        ("iris", "unlabelled", lambda connection: unlabelled(connection, loaded["iris"])),
        ("cancer", "anomalies", lambda connection: anomalies(connection, loaded["cancer"])),
    ]
    if FULL:
        jobs.append(("flights", "", flights))

    def run(job):
        began = time.perf_counter()
        with connected() as connection:
            try:
                lines = job[2](connection) or []
            except Exception as error:
                failures.append(f"{job[0]} {job[1]}: {type(error).__name__}: {error}")
                lines = []
        return lines, f"{job[0]} {job[1]} {time.perf_counter() - began:.1f} s"

    # The server trains each model with one thread: two at a time keep two cores busy.
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(run, jobs))
    print("data       kind                       metric    here   there  difference")
    for line in (line for lines, _ in done for line in lines):
        print(line)
    print("; ".join(took for _, took in done))
    print(f"{time.perf_counter() - started:.1f} s", flush=True)
    print(*failures, sep="\n", file=sys.stderr)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
