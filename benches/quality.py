"""The part `expectations` of bench.py: rules while rows are written, and VALIDATE, against Great Expectations."""
import json
import pathlib
import statistics
import subprocess
import sys

# Name, condition here, expectation there with its arguments.
ROW_RULES = [
    ("orderkey", "l_orderkey > 0", "ColumnValuesToBeBetween", {"column": "l_orderkey", "min_value": 1}),
    ("partkey", "l_partkey > 0", "ColumnValuesToBeBetween", {"column": "l_partkey", "min_value": 1}),
    ("suppkey", "l_suppkey BETWEEN 1 AND 1000000", "ColumnValuesToBeBetween", {"column": "l_suppkey", "min_value": 1, "max_value": 1000000}),
    ("linenumber", "l_linenumber BETWEEN 1 AND 7", "ColumnValuesToBeBetween", {"column": "l_linenumber", "min_value": 1, "max_value": 7}),
    ("quantity", "l_quantity BETWEEN 1 AND 50", "ColumnValuesToBeBetween", {"column": "l_quantity", "min_value": 1, "max_value": 50}),
    ("price", "l_extendedprice > 0", "ColumnValuesToBeBetween", {"column": "l_extendedprice", "min_value": 0, "strict_min": True}),
    ("discount", "l_discount BETWEEN 0 AND 0.10", "ColumnValuesToBeBetween", {"column": "l_discount", "min_value": 0, "max_value": 0.101}),
    ("tax", "l_tax BETWEEN 0 AND 0.08", "ColumnValuesToBeBetween", {"column": "l_tax", "min_value": 0, "max_value": 0.081}),
    ("returnflag", "l_returnflag IN ('A', 'N', 'R')", "ColumnValuesToBeInSet", {"column": "l_returnflag", "value_set": ["A", "N", "R"]}),
    ("linestatus", "l_linestatus IN ('F', 'O')", "ColumnValuesToBeInSet", {"column": "l_linestatus", "value_set": ["F", "O"]}),
    ("shipdate", "l_shipdate BETWEEN '1992-01-01' AND '1998-12-31'", "ColumnValuesToNotBeNull", {"column": "l_shipdate"}),
    ("commitdate", "l_commitdate BETWEEN '1992-01-01' AND '1998-12-31'", "ColumnValuesToNotBeNull", {"column": "l_commitdate"}),
    ("receiptdate", "l_receiptdate IS NOT NULL", "ColumnValuesToNotBeNull", {"column": "l_receiptdate"}),
    ("sent", "l_receiptdate > l_shipdate", "ColumnPairValuesAToBeGreaterThanB", {"column_A": "l_receiptdate", "column_B": "l_shipdate"}),
    ("shipmode", "l_shipmode IN ('AIR', 'FOB', 'MAIL', 'RAIL', 'REG AIR', 'SHIP', 'TRUCK')", "ColumnValuesToBeInSet",
     {"column": "l_shipmode", "value_set": ["AIR", "FOB", "MAIL", "RAIL", "REG AIR", "SHIP", "TRUCK"]}),
    ("shipinstruct", "l_shipinstruct IN ('COLLECT COD', 'DELIVER IN PERSON', 'NONE', 'TAKE BACK RETURN')", "ColumnValuesToBeInSet",
     {"column": "l_shipinstruct", "value_set": ["COLLECT COD", "DELIVER IN PERSON", "NONE", "TAKE BACK RETURN"]}),
    ("comment_length", "length(l_comment) BETWEEN 10 AND 43", "ColumnValueLengthsToBeBetween", {"column": "l_comment", "min_value": 10, "max_value": 43}),
    ("comment", "l_comment IS NOT NULL", "ColumnValuesToNotBeNull", {"column": "l_comment"}),
    ("flag_form", "l_returnflag ~ '^[ANR]$'", "ColumnValuesToMatchRegex", {"column": "l_returnflag", "regex": "^[ANR]$"}),
    ("worth", "l_extendedprice >= l_quantity", "ColumnPairValuesAToBeGreaterThanB",
     {"column_A": "l_extendedprice", "column_B": "l_quantity", "or_equal": True}),
]
SHIPMODES = '{"values": ["AIR", "FOB", "MAIL", "RAIL", "REG AIR", "SHIP", "TRUCK"], "weights": [1, 1, 1, 1, 1, 1, 1]}'
SET_RULES = [
    ("one_line", "UNIQUE (l_orderkey, l_linenumber)", "CompoundColumnsToBeUnique", {"column_list": ["l_orderkey", "l_linenumber"]}),
    ("one_part", "UNIQUE (l_orderkey, l_partkey, l_linenumber)", "CompoundColumnsToBeUnique",
     {"column_list": ["l_orderkey", "l_partkey", "l_linenumber"]}),
    # Great Expectations compares no tables but by queries of SQL.
    ("orders", "FOREIGN KEY (l_orderkey) REFERENCES orders (o_orderkey)", None, None),
    ("quantity_mean", "avg(l_quantity) BETWEEN 25 AND 26", "ColumnMeanToBeBetween", {"column": "l_quantity", "min_value": 25, "max_value": 26}),
    ("quantity_spread", "stddev(l_quantity) BETWEEN 14 AND 15", "ColumnStdevToBeBetween", {"column": "l_quantity", "min_value": 14, "max_value": 15}),
    ("price_sum", "sum(l_extendedprice) > 0", "ColumnSumToBeBetween", {"column": "l_extendedprice", "min_value": 0}),
    ("price_most", "max(l_extendedprice) < 1e6", "ColumnMaxToBeBetween", {"column": "l_extendedprice", "max_value": 1000000}),
    ("modes", "count(DISTINCT l_shipmode) = 7", "ColumnUniqueValueCountToBeBetween", {"column": "l_shipmode", "min_value": 7, "max_value": 7}),
    ("rows", "ROW COUNT > 0", "TableRowCountToBeBetween", {"min_value": 1}),
    ("mode_shares", f"kl_divergence(l_shipmode, '{SHIPMODES}') < 0.01", "ColumnKLDivergenceToBeLessThan",
     {"column": "l_shipmode", "threshold": 0.01, "partition_object": {"values": ["AIR", "FOB", "MAIL", "RAIL", "REG AIR", "SHIP", "TRUCK"], "weights": [1 / 7] * 7}}),
]
# What VALIDATE must read and compute whoever writes it: a scan of the same columns, two distincts, a join.
SCAN = ["""SELECT max(l_orderkey), max(l_partkey), max(l_suppkey), max(l_linenumber), avg(l_quantity), stddev(l_quantity), sum(l_extendedprice),
 max(l_discount), max(l_tax), max(l_returnflag), max(l_linestatus), max(l_shipdate), max(l_commitdate), max(l_receiptdate), max(l_shipinstruct),
 count(DISTINCT l_shipmode), max(l_comment), count(*) FROM checked""",
        "SELECT sum(n) FROM (SELECT count(*) AS n FROM checked GROUP BY l_orderkey, l_linenumber HAVING count(*) > 1) AS twice",
        "SELECT sum(n) FROM (SELECT count(*) AS n FROM checked GROUP BY l_orderkey, l_partkey, l_linenumber HAVING count(*) > 1) AS twice",
        "SELECT count(*) FROM checked WHERE NOT EXISTS (SELECT 1 FROM orders WHERE o_orderkey = l_orderkey)"]


def expectations(bench, spread, median_ratio, lineitem):
    wire = bench.lakegate.wire()
    rules = ", ".join(f"CONSTRAINT {name} EXPECT ({condition})" for name, condition, _, _ in ROW_RULES)
    for table in ("plain", "checked"):
        wire.query(f"DROP TABLE IF EXISTS {table}")
    wire.query(f"CREATE TABLE plain ({lineitem})")
    wire.query(f"CREATE TABLE checked ({lineitem}, {rules})")
    plain, checked = [], []
    copies = (("plain", plain), ("checked", checked))
    for run in range(bench.repeat):
        # By turns the first of the two: the second one may find a warmer machine.
        for table, times in copies if run % 2 else reversed(copies):
            wire.query(f"TRUNCATE {table}")
            times.append(wire.copy_in(f"COPY {table} FROM STDIN (FORMAT csv, HEADER true)", bench.csv))
    print(f"copy from stdin with 20 row rules: {spread(checked)}, without: {spread(plain)}: "
          f"{median_ratio(checked, plain):.2f} x the time (target 1.15)")
    wire.query("DROP TABLE plain")
    wire.query("DROP TABLE IF EXISTS orders")
    wire.query(f"CREATE TABLE orders AS SELECT * FROM read_parquet('{bench.data}/parquet/orders.parquet')")
    for name, rule, _, _ in SET_RULES:
        wire.query(f"CREATE EXPECTATION {name} ON checked EXPECT ({rule})")
    loaded, first, again, scan = [], [], [], []
    for _ in range(bench.repeat):
        wire.query("TRUNCATE checked")
        wire.copy_in("COPY checked FROM STDIN (FORMAT csv, HEADER true)", bench.csv)
        loaded.append(wire.query("VALIDATE checked")[0])
        scan.append(sum(wire.query(sql)[0] for sql in SCAN))
        # As if somebody else had written the files: what statements and runs have found in these goes.
        for kept in bench.warehouse.rglob("_lakegate/parts"):
            kept.unlink()
        first.append(wire.query("VALIDATE checked")[0])
        again.append(wire.query("VALIDATE checked")[0])
    runs = (("after the load", loaded), ("of files that others wrote", first), ("again", again))
    for name, times in runs:
        print(f"validate, 20 row rules and 10 set rules, {name}: {spread(times)}, a scan with the same distincts and joins: {spread(scan)}: "
              f"{median_ratio(times, scan):.2f} x the time (target 1.5)")
    for source, (seconds, loading) in great_expectations(bench, lineitem).items():
        ratios = (f"{seconds / statistics.median(times):.1f} x our time {name}" for name, times in runs)
        print(f"validate: Great Expectations on {source} {seconds:.1f} s after {loading:.1f} s of loading: {', '.join(ratios)} (target 20)")
    print(f"validate, 1000 row rules on a table of few rows: {spread(thousand(wire, bench.repeat), 'ms', 1000, 0)} (target 200 ms)")
    for table in ("checked", "orders"):
        wire.query(f"DROP TABLE {table}")


def thousand(wire, repeat):
    """Seconds of planning many rules, and of little else."""
    conditions = (f"a > {i - 2000} AND (b IS NULL OR length(b) < {i + 100}) AND c BETWEEN {-i} AND {i + 10}" for i in range(1000))
    rules = ", ".join(f"CONSTRAINT r{number} EXPECT ({condition})" for number, condition in enumerate(conditions))
    wire.query("DROP TABLE IF EXISTS many")
    wire.query(f"CREATE TABLE many (a int, b text, c float8, {rules})")
    wire.query("INSERT INTO many VALUES (1, 'x', 0)")
    times = [wire.query("INSERT INTO many VALUES (1, 'x', 0)")[0] for _ in range(repeat)]
    print(f"insert beside 1000 row rules: {statistics.median(times) * 1000:.0f} ms (target 200 ms)")
    validate = [wire.query("VALIDATE many")[0] for _ in range(repeat)]
    wire.query("DROP TABLE many")
    return validate


def great_expectations(bench, lineitem):
    """Seconds by source, and those before: the rows are brought into memory from Parquet, or are in PostgreSQL already."""
    venv = bench.work.parent / "ge-venv"
    python = venv / "bin" / "python"
    if not (venv / ".installed").exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        packages = ["great_expectations[postgresql]==1.24.1", "pyarrow"]
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages], check=True)
        (venv / ".installed").touch()
    peer = bench.postgres.wire()
    peer.query("DROP TABLE IF EXISTS checked")
    peer.query(f"CREATE UNLOGGED TABLE checked ({lineitem})")
    peer.copy_in("COPY checked FROM STDIN (FORMAT csv, HEADER true)", bench.csv)
    peer.query("VACUUM ANALYZE checked")
    asked = [[name, arguments] for _, _, name, arguments in ROW_RULES + SET_RULES if name]
    sources = {"pandas": str(bench.data / "parquet" / "lineitem.parquet"),
               "PostgreSQL": f"postgresql+psycopg2://postgres@127.0.0.1:{bench.postgres.port}/postgres"}
    times = {}
    for source, place in sources.items():
        script = pathlib.Path(__file__).with_name("quality_ge.py")
        done = subprocess.run([python, script, source, place], input=json.dumps(asked), capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        told = json.loads(done.stdout.splitlines()[-1])
        if told["failed"]:
            print(f"validate: on {source} Great Expectations fails {told['failed']}")
        times[source] = (told["seconds"], told["loading"])
    return times
