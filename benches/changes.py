"""The parts `copyinto`, `dml`, `commits` and `care` of bench.py, against DuckDB, Python's deltalake and Spark."""
import json
import pathlib
import shutil
import statistics
import subprocess
import threading
import time

ROWS_OF_KEYS = "l_orderkey % 100 = 7"
SESSIONS = 64
SECONDS = 10
FILES = 64


def seconds(work):
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def duck_to_arrow(sql):
    """A query's rows as Arrow in types that Delta has."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET threads=2")
    return connection.sql(sql).to_arrow_table()


def copy_into(bench, spread, median_ratio, lineitem):
    """A CSV of lineitem into an empty table; then the same statement again, which has nothing to do."""
    import deltalake
    import pyarrow.csv

    wire = bench.lakegate.wire()
    statement = (f"COPY INTO loaded FROM '{bench.csv}' FILEFORMAT = CSV FORMAT_OPTIONS ('header' = 'true')")
    ours, again, duck, python = [], [], [], []
    folder = bench.work / "deltalake-loaded"
    for _ in range(bench.repeat):
        wire.query("DROP TABLE IF EXISTS loaded")
        wire.query(f"CREATE TABLE loaded ({lineitem})")
        ours.append(wire.query(statement)[0])
        again.append(wire.query(statement)[0])
        duck.append(bench.duck_copy())
        shutil.rmtree(folder, ignore_errors=True)
        python.append(seconds(lambda: deltalake.write_deltalake(str(folder), pyarrow.csv.open_csv(bench.csv))))
    print(f"copy into: lakegate {spread(ours)}, DuckDB to Parquet {spread(duck)}, deltalake {spread(python)}: "
          f"{median_ratio(ours, duck):.2f} x and {median_ratio(ours, python):.2f} x their time")
    print(f"copy into, nothing new: lakegate {spread(again, 'ms', 1000, 1)}")


def dml(bench, spread, median_ratio, lineitem):
    """MERGE of one row in a hundred, UPDATE and DELETE by key; then many sessions that each insert row after row."""
    import deltalake

    wire = bench.lakegate.wire()
    parquet = bench.data / "parquet" / "lineitem.parquet"
    source = f"SELECT * FROM '{parquet}'"
    columns = "* REPLACE (l_quantity + 1 AS l_quantity)"
    changes = duck_to_arrow(f"SELECT {columns} FROM '{parquet}' WHERE {ROWS_OF_KEYS}")
    whole = duck_to_arrow(source)
    wire.query("DROP TABLE IF EXISTS changes")
    wire.query(f"CREATE TABLE changes ({lineitem})")
    wire.query(f"INSERT INTO changes SELECT * FROM read_parquet('{parquet}') WHERE {ROWS_OF_KEYS}")
    wire.query("UPDATE changes SET l_quantity = l_quantity + 1")
    steps = {
        "merge of 1 %": (
            "MERGE INTO changed t USING changes s ON t.l_orderkey = s.l_orderkey AND t.l_linenumber = s.l_linenumber "
            "WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *",
            lambda table: table.merge(changes, "t.l_orderkey = s.l_orderkey AND t.l_linenumber = s.l_linenumber",
                                      source_alias="s", target_alias="t")
            .when_matched_update_all().when_not_matched_insert_all().execute(),
        ),
        "update by key": (
            "UPDATE changed SET l_comment = 'changed' WHERE l_orderkey = 1000003",
            lambda table: table.update(predicate="l_orderkey = 1000003", new_values={"l_comment": "changed"}),
        ),
        "delete by key": (
            "DELETE FROM changed WHERE l_orderkey = 1000002",
            lambda table: table.delete("l_orderkey = 1000002"),
        ),
    }
    times = {name: ([], []) for name in steps}
    folder = bench.work / "deltalake-changed"
    for _ in range(bench.repeat):
        wire.query("DROP TABLE IF EXISTS changed")
        wire.query(f"CREATE TABLE changed ({lineitem})")
        wire.query(f"INSERT INTO changed SELECT * FROM read_parquet('{parquet}')")
        shutil.rmtree(folder, ignore_errors=True)
        deltalake.write_deltalake(str(folder), whole)
        for name, (sql, python) in steps.items():
            times[name][0].append(wire.query(sql)[0])
            table = deltalake.DeltaTable(str(folder))
            times[name][1].append(seconds(lambda: python(table)))
    shutil.rmtree(folder, ignore_errors=True)
    spark = in_spark(bench, parquet)
    for name, (ours, theirs) in times.items():
        line = f"{name}: lakegate {spread(ours)}, deltalake {spread(theirs)}: {median_ratio(ours, theirs):.2f} x its time"
        if name in spark:
            line += f"; Spark {spread(spark[name])}: {median_ratio(spark[name], ours):.1f} x as fast"
        print(line)


def in_spark(bench, parquet):
    """The same statements in Spark, where it is installed."""
    home = pathlib.Path(bench.args.spark or "nowhere")
    python = home / "venv" / "bin" / "python"
    if not python.exists():
        print("dml: no Spark here")
        return {}
    done = subprocess.run([python, pathlib.Path(__file__).with_name("spark.py"), home, parquet, bench.work / "spark-changed",
                           ROWS_OF_KEYS, str(bench.repeat)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def care(bench, spread, median_ratio):
    """OPTIMIZE of a table in many small files, then Z-order of the whole."""
    import deltalake

    wire = bench.lakegate.wire()
    parquet = bench.data / "parquet" / "lineitem.parquet"
    small = bench.work / "small-files"
    shutil.rmtree(small, ignore_errors=True)
    whole = duck_to_arrow(f"SELECT * FROM '{parquet}'")
    step = -(-whole.num_rows // FILES)
    for start in range(0, whole.num_rows, step):
        deltalake.write_deltalake(str(small), whole.slice(start, step), mode="append")
    del whole
    times = {"optimize": ([], []), "z-order": ([], [])}
    statements = {"optimize": "OPTIMIZE small", "z-order": "OPTIMIZE small ZORDER BY (l_shipdate, l_partkey)"}
    for _ in range(bench.repeat):
        folders = [bench.work / f"small-{side}" for side in ("ours", "theirs")]
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(small, folder)
        wire.query("DROP TABLE IF EXISTS small")
        wire.query(f"CREATE TABLE small LOCATION '{folders[0]}'")
        for name, sql in statements.items():
            times[name][0].append(wire.query(sql)[0])
            optimizer = deltalake.DeltaTable(str(folders[1])).optimize
            work = optimizer.compact if name == "optimize" else lambda: optimizer.z_order(["l_shipdate", "l_partkey"])
            times[name][1].append(seconds(work))
    for name, (ours, theirs) in times.items():
        print(f"{name}: lakegate {spread(ours)}, deltalake {spread(theirs)}: {median_ratio(ours, theirs):.2f} x its time")
    wire.query("DROP TABLE small")
    for folder in (small, *folders):
        shutil.rmtree(folder, ignore_errors=True)


def commits(bench, spread):
    """Single-row inserts of many sessions into one table."""
    rates = []
    for run in range(bench.repeat):
        bench.lakegate.wire().query(f"CREATE TABLE events{run} (id bigint, session integer, at timestamptz)")
        done, refused = [0] * SESSIONS, [0] * SESSIONS
        begin, end = threading.Barrier(SESSIONS + 1), threading.Event()

        def insert(session):
            wire = bench.lakegate.wire()
            begin.wait()
            while not end.is_set():
                try:
                    wire.query(f"INSERT INTO events{run} VALUES ({done[session]}, {session}, now())")
                    done[session] += 1
                except RuntimeError as error:
                    if "40001" not in str(error):
                        raise
                    refused[session] += 1

        threads = [threading.Thread(target=insert, args=(session,)) for session in range(SESSIONS)]
        for thread in threads:
            thread.start()
        begin.wait()
        started = time.perf_counter()
        time.sleep(SECONDS)
        end.set()
        for thread in threads:
            thread.join()
        rates.append(sum(done) / (time.perf_counter() - started))
        rows = bench.lakegate.wire()
        counted = rows.query(f"SELECT 1 FROM events{run}")[2]
        assert counted == sum(done), f"{sum(done)} rows were acknowledged, {counted} are there"
        least, most = min(done), max(done)
        print(f"inserts of {SESSIONS} sessions: {sum(done)} commits, {sum(refused)} refused with 40001, {least} to {most} a session")
    print(f"inserts of {SESSIONS} sessions: {statistics.median(rates):.0f} commits a second {spread(rates, '/s', 1, 0)}")
