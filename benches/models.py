"""The part `models` of bench.py: training and prediction from SQL over Delta tables, against LightGBM, scikit-learn, XGBoost and Spark MLlib."""
import json
import pathlib
import shutil
import statistics
import subprocess
import sys

FEATURES = [f"x{place}" for place in range(20)]
TREES = ROUNDS = 100
DEPTH = 10
# Rows to train with; a fifth as many are held out.
SIZES = (100_000, 1_000_000)
PACKAGES = ["numpy==2.4.6", "pyarrow==26.0.1", "deltalake==1.6.6", "lightgbm==4.7.0", "scikit-learn==1.9.1", "xgboost-cpu==3.2.0"]
PEERS = ("LightGBM", "scikit-learn", "XGBoost")
OPTIONS = {
    "forest": f"model_type = 'random_forest_classifier', num_trees = {TREES}, max_depth = {DEPTH}, max_features = 'sqrt'",
    "boosted trees": f"model_type = 'boosted_tree_classifier', num_iterations = {ROUNDS}, num_leaves = 31, min_samples_leaf = 20, learning_rate = 0.1",
}
# How many times as fast as the peer training is to be.
TARGETS = {("forest", "LightGBM"): 3, ("forest", "scikit-learn"): 10, ("boosted trees", "LightGBM"): 1}


def models(bench, start, spread, median_ratio):
    python = installed(bench)
    warehouse = bench.work / "models-warehouse"
    shutil.rmtree(warehouse, ignore_errors=True)
    server = start(bench.args.lakegate, warehouse)
    for rows in SIZES:
        data = bench.work / f"points-{rows}.parquet"
        if not data.exists():
            peer(python, "make", str(rows), str(data))
        server.wire().query(f"CREATE TABLE points_{rows} AS SELECT * FROM read_parquet('{data}')")
    server.stop()
    for kind in OPTIONS:
        for rows in SIZES:
            training(bench, start, python, warehouse, kind, rows, spread)
    predictions(bench, start, python, warehouse, spread, median_ratio)
    shutil.rmtree(warehouse, ignore_errors=True)


def installed(bench):
    venv = bench.work.parent / "models-venv"
    stamp = venv / ".installed"
    if not stamp.exists() or stamp.read_text() != " ".join(PACKAGES):
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES], check=True)
        stamp.write_text(" ".join(PACKAGES))
    return venv / "bin" / "python"


def peer(python, *arguments, script="models_peer.py"):
    """What a process of its own says: so its peak of memory is that of one training."""
    done = subprocess.run([python, pathlib.Path(__file__).with_name(script), *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def peak_kib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def asked(server, sql):
    import psycopg

    with psycopg.connect(f"host=127.0.0.1 port={server.port} user=lakegate dbname=lakegate", autocommit=True) as connection:
        return connection.execute(sql).fetchone()


def trained(bench, start, warehouse, kind, rows, name):
    """One training by a server of its own: seconds of the statement, those of the learner alone, the metrics, MiB above idle."""
    server = start(bench.args.lakegate, warehouse)
    wire = server.wire()
    wire.query(f"SELECT count(*) FROM points_{rows}")
    idle = peak_kib(server.process.pid)
    sql = f"CREATE OR REPLACE MODEL {name} OPTIONS ({OPTIONS[kind]}, label = 'label', split_column = 'held_out') AS SELECT * FROM points_{rows}"
    seconds = wire.query(sql)[0]
    memory = (peak_kib(server.process.pid) - idle) / 1024
    fit = asked(server, f"SELECT max(duration_ms) / 1000 FROM ML.TRAINING_INFO(MODEL {name})")[0]
    accuracy, area = asked(server, f"SELECT accuracy, roc_auc FROM ML.EVALUATE(MODEL {name})")
    server.stop()
    return {"all": seconds, "fit": fit, "accuracy": accuracy, "roc_auc": area, "memory": memory}


def training(bench, start, python, warehouse, kind, rows, spread):
    name = f"{kind.replace(' ', '_')}_{rows}"
    table = warehouse / "public" / f"points_{rows}"
    ours, theirs = [], {other: [] for other in PEERS}
    for run in range(bench.repeat):
        ours.append(trained(bench, start, warehouse, kind, rows, name))
        for other in PEERS:
            # What takes minutes is done once.
            if run == 0 or theirs[other][0]["all"] < 30:
                theirs[other].append(peer(python, "train", other, kind, str(table), str(TREES), str(DEPTH)))
    if bench.args.mllib:
        spark = pathlib.Path(bench.args.spark) / "venv" / "bin" / "python"
        # MLlib asks for what Spark's SQL does not.
        subprocess.run([spark, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGES[0]], check=True)
        theirs["MLlib"] = [peer(spark, bench.args.spark, kind, str(table), str(TREES), str(DEPTH), script="models_spark.py")]
    told = f"models: {kind}, {rows:,} x {len(FEATURES)}"
    print(f"{told}: lakegate {described(ours, spread)}")
    for other, runs in theirs.items():
        target = TARGETS.get((kind, other))
        ratio = {part: median(runs, part) / median(ours, part) for part in ("all", "fit", "memory")}
        print(f"{told}: {other} {described(runs, spread)}: lakegate is {ratio['all']:.1f} x as fast" + (f" (target {target})" if target else "")
              + f", the learner alone {ratio['fit']:.1f} x, in {1 / ratio['memory']:.2f} x the memory")
    sys.stdout.flush()


def median(runs, part):
    return statistics.median(run[part] for run in runs)


def described(runs, spread):
    return (f"{spread([run['all'] for run in runs])} with reading and evaluation, {median(runs, 'fit'):.2f} s of it the learner, "
            f"accuracy {median(runs, 'accuracy'):.4f}, ROC AUC {median(runs, 'roc_auc'):.4f}, {median(runs, 'memory'):.0f} MiB")


def predictions(bench, start, python, warehouse, spread, median_ratio):
    rows = SIZES[-1]
    server = start(bench.args.lakegate, warehouse)
    wire = server.wire()
    wire.query(f"CREATE MODEL forest OPTIONS ({OPTIONS['forest']}, label = 'label', split_column = 'held_out') AS SELECT * FROM points_{SIZES[0]}")
    wire.query(f"CREATE MODEL linear OPTIONS (model_type = 'linear_regression', label = 'y', split_column = 'held_out')"
               f" AS SELECT {', '.join(FEATURES)}, label::int AS y, held_out FROM points_{SIZES[0]}")
    among = f"FROM points_{rows} AS p WHERE NOT held_out"
    queries = {
        "scan": f"SELECT sum({' + '.join(FEATURES)}) {among}",
        "linear": f"SELECT sum(predict('linear', p.*)) {among}",
        "forest": f"SELECT sum(predict_proba('forest', p.*)) {among}",
    }
    times = {name: [] for name in queries}
    for sql in queries.values():
        wire.query(sql)
    for _ in range(max(bench.repeat, 5)):
        for name, sql in queries.items():
            times[name].append(wire.query(sql)[0])
    server.stop()
    print(f"models: predict over {rows:,} rows, linear: {spread(times['linear'])}, sum of the same columns {spread(times['scan'])}: "
          f"{median_ratio(times['linear'], times['scan']):.2f} x the time (target 1.2)")
    tables = [str(warehouse / "public" / f"points_{size}") for size in (SIZES[0], rows)]
    for other in PEERS:
        found = peer(python, "predict", other, *tables, str(TREES), str(DEPTH), str(bench.repeat))
        # The server reads the table each time; a peer that is asked again does not.
        ratio = statistics.median(found["predict"]) / statistics.median(times["forest"])
        whole = (statistics.median(found["predict"]) + found["read"]) / statistics.median(times["forest"])
        target = " (target 2)" if other == "LightGBM" else ""
        print(f"models: predict over {rows:,} rows, forest: lakegate {spread(times['forest'])} with reading, {other} {spread(found['predict'])} "
              f"after {found['read']:.2f} s of reading: {ratio:.1f} x its rate{target}, {whole:.1f} x with reading")
