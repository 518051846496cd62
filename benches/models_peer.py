"""Trains and asks models of LightGBM, scikit-learn and XGBoost over Delta tables, each in a process of its own. JSON on standard output.

models_peer.py make <rows> <parquet> | train <library> <kind> <delta> <trees> <depth> | predict <library> <small> <large> <trees> <depth> <repeat>
"""
import json
import resource
import sys
import time

import numpy as np

FEATURES = [f"x{place}" for place in range(20)]
THREADS = 2


def make(rows, path):
    """Numbers of several kinds, a label that depends on some of them and on chance; a fifth more rows are held out."""
    import pyarrow
    import pyarrow.parquet

    random = np.random.default_rng(7)
    count = int(rows) * 6 // 5
    x = random.normal(size=(count, len(FEATURES)))
    x[:, 10:14] = np.exp(x[:, 10:14])
    x[:, 14:17] = np.round(x[:, 14:17] * 10)
    x[:, 17:] = random.integers(0, 5, size=(count, 3))
    score = x[:, 0] + x[:, 1] * x[:, 2] - 0.5 * x[:, 10] + np.sin(3 * x[:, 3]) + 0.08 * x[:, 14] + (x[:, 17] == 2) * x[:, 4] + 0.7 * (x[:, 5] > 0.5)
    label = random.random(count) < 1 / (1 + np.exp(-2 * score))
    held_out = np.arange(count) % 6 == 5
    columns = {name: x[:, place] for place, name in enumerate(FEATURES)}
    pyarrow.parquet.write_table(pyarrow.table(columns | {"label": label, "held_out": held_out}), path, compression="zstd")
    return {"rows": count}


def read(path):
    """Features, labels and which rows are held out, as these libraries take them."""
    import deltalake

    table = deltalake.DeltaTable(path).to_pyarrow_table()
    x = np.empty((table.num_rows, len(FEATURES)))
    for place, name in enumerate(FEATURES):
        x[:, place] = table.column(name).to_numpy()
    return x, table.column("label").to_numpy().astype(np.int8), table.column("held_out").to_numpy()


def learner(library, kind, trees, depth):
    """Equal settings: of a forest the square root of the features at a node, and about the rows that a bootstrap draws."""
    share = int(len(FEATURES) ** 0.5) / len(FEATURES)
    if library == "LightGBM":
        import lightgbm

        if kind == "forest":
            return lightgbm.LGBMClassifier(boosting_type="rf", n_estimators=trees, max_depth=depth, num_leaves=2**depth, min_child_samples=1,
                                           min_child_weight=0, subsample=0.632, subsample_freq=1, feature_fraction_bynode=share, n_jobs=THREADS, verbose=-1)
        return lightgbm.LGBMClassifier(n_estimators=trees, num_leaves=31, min_child_samples=20, learning_rate=0.1, n_jobs=THREADS, verbose=-1)
    if library == "scikit-learn":
        from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

        if kind == "forest":
            return RandomForestClassifier(trees, max_depth=depth, max_features="sqrt", n_jobs=THREADS, random_state=1)
        return HistGradientBoostingClassifier(max_iter=trees, max_leaf_nodes=31, min_samples_leaf=20, learning_rate=0.1, early_stopping=False)
    import xgboost

    if kind == "forest":
        return xgboost.XGBRFClassifier(n_estimators=trees, max_depth=depth, subsample=0.632, colsample_bynode=share, n_jobs=THREADS, tree_method="hist")
    return xgboost.XGBClassifier(n_estimators=trees, max_leaves=31, max_depth=0, grow_policy="lossguide", learning_rate=0.1, n_jobs=THREADS, tree_method="hist")


def peak_kib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def train(library, kind, path, trees, depth):
    from sklearn.metrics import accuracy_score, roc_auc_score

    model = learner(library, kind, int(trees), int(depth))
    import deltalake  # noqa: F401  what the libraries themselves take is not counted
    import pyarrow  # noqa: F401

    idle = peak_kib()
    started = time.perf_counter()
    x, y, held_out = read(path)
    given, labels = x[~held_out], y[~held_out]
    apart, truth = x[held_out], y[held_out]
    del x
    begun = time.perf_counter()
    model.fit(given, labels)
    fit = time.perf_counter() - begun
    probabilities = model.predict_proba(apart)[:, 1]
    accuracy, area = accuracy_score(truth, probabilities > 0.5), roc_auc_score(truth, probabilities)
    return {"all": time.perf_counter() - started, "fit": fit, "accuracy": accuracy, "roc_auc": area, "memory": (peak_kib() - idle) / 1024}


def predict(library, small, large, trees, depth, repeat):
    model = learner(library, "forest", int(trees), int(depth))
    x, y, held_out = read(small)
    model.fit(x[~held_out], y[~held_out])
    begun = time.perf_counter()
    x, _, held_out = read(large)
    x = x[~held_out]
    reading = time.perf_counter() - begun
    times = []
    for _ in range(int(repeat)):
        begun = time.perf_counter()
        model.predict_proba(x)
        times.append(time.perf_counter() - begun)
    return {"read": reading, "predict": times}


if __name__ == "__main__":
    print(json.dumps({"make": make, "train": train, "predict": predict}[sys.argv[1]](*sys.argv[2:])))
