"""Measures Lakegate against its peers in one run. Started by run.sh; see README.md."""
import argparse
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import changes
import models
import quality
from wire import Wire

HERE = pathlib.Path(__file__).resolve().parent
TABLES = "customer lineitem nation orders part partsupp region supplier".split()
LINEITEM = """l_orderkey bigint NOT NULL, l_partkey bigint NOT NULL, l_suppkey bigint NOT NULL, l_linenumber integer NOT NULL,
 l_quantity numeric(15,2) NOT NULL, l_extendedprice numeric(15,2) NOT NULL, l_discount numeric(15,2) NOT NULL,
 l_tax numeric(15,2) NOT NULL, l_returnflag text NOT NULL, l_linestatus text NOT NULL, l_shipdate date NOT NULL,
 l_commitdate date NOT NULL, l_receiptdate date NOT NULL, l_shipinstruct text NOT NULL, l_shipmode text NOT NULL,
 l_comment text NOT NULL"""


def spread(values, unit="s", scale=1.0, digits=3):
    values = [scale * value for value in values]
    return f"{statistics.median(values):.{digits}f} {unit} [{min(values):.{digits}f} to {max(values):.{digits}f}]"


def median_ratio(ours, theirs):
    return statistics.median(ours) / statistics.median(theirs)


def resident_kib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1))


class Lakegate:
    def __init__(self, binary, warehouse, *flags):
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            [binary, "serve", "--warehouse", str(warehouse), "--listen", "127.0.0.1:0", *flags],
            stdout=subprocess.PIPE, text=True, env=os.environ | {"LAKEGATE_LOG__FILTER": "warn"},
        )
        for line in self.process.stdout:
            if match := re.match(r"listening on \S+:(\d+)", line):
                self.port = int(match.group(1))
                return
        sys.exit("lakegate did not start")

    def wire(self):
        return Wire(self.port, "lakegate", "lakegate")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


class Postgres:
    """A throw-away PostgreSQL of this machine with settings fit for the comparison."""

    def __init__(self):
        # The owner of a server must be able to enter its folder, whoever's home the data of the benchmarks lies in.
        self.folder = folder = pathlib.Path(tempfile.mkdtemp(prefix="lakegate-bench-"))
        self.binaries = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        self.port = 54399
        shutil.chown(folder, "postgres") if os.geteuid() == 0 else None
        self._as_owner(f"{self.binaries}/initdb -D {folder}/data -A trust -U postgres >/dev/null")
        options = f"-p {self.port} -k {folder} -c shared_buffers=2GB -c max_wal_size=8GB -c fsync=off -c max_parallel_workers_per_gather=2"
        self._as_owner(f"{self.binaries}/pg_ctl -D {folder}/data -w -l {folder}/log -o '{options}' start >/dev/null")

    def _as_owner(self, command):
        full = ["su", "postgres", "-c", command] if os.geteuid() == 0 else ["bash", "-c", command]
        subprocess.run(full, check=True)

    def wire(self):
        return Wire(self.port, "postgres", "postgres")

    def stop(self):
        self._as_owner(f"{self.binaries}/pg_ctl -D {self.folder}/data -m immediate stop >/dev/null")
        shutil.rmtree(self.folder, ignore_errors=True)


class Bench:
    def __init__(self, args):
        self.args = args
        self.work = pathlib.Path(args.work)
        self.data = self.work / f"tpch-{args.scale}"
        self.repeat = args.repeat
        self.make_data()
        self.warehouse = self.work / "warehouse"
        shutil.rmtree(self.warehouse, ignore_errors=True)
        self.postgres = Postgres()
        self.lakegate = Lakegate(args.lakegate, self.warehouse)
        self.idle_kib = resident_kib(self.lakegate.process.pid)

    def make_data(self):
        generator = pathlib.Path(sys.executable).parent / "tpchgen-cli"
        if not (self.data / "parquet" / "lineitem.parquet").exists():
            subprocess.run([generator, "parquet", "-s", str(self.args.scale), "--output-dir", self.data / "parquet"], check=True)
        if not (self.data / "csv" / "lineitem.csv").exists():
            subprocess.run(
                [generator, "csv", "-s", str(self.args.scale), "--tables", "lineitem", "--output-dir", self.data / "csv"], check=True
            )
        self.csv = self.data / "csv" / "lineitem.csv"

    def prepare(self):
        """Loads lineitem into both, by the COPY that `copy` measures."""
        ours, theirs = self.lakegate.wire(), self.postgres.wire()
        ours.query(f"CREATE TABLE lineitem ({LINEITEM})")
        theirs.query(f"CREATE UNLOGGED TABLE lineitem ({LINEITEM})")
        self.copy_ours, self.copy_theirs, self.copy_path, self.copy_duck = [], [], [], []
        runs = self.repeat if self.wants("copy") else 1
        for _ in range(runs):
            ours.query("TRUNCATE lineitem")
            theirs.query("TRUNCATE lineitem")
            self.copy_ours.append(ours.copy_in("COPY lineitem FROM STDIN (FORMAT csv, HEADER true)", self.csv))
            self.copy_theirs.append(theirs.copy_in("COPY lineitem FROM STDIN (FORMAT csv, HEADER true)", self.csv))
            if self.wants("copy"):
                ours.query("TRUNCATE lineitem")
                self.copy_path.append(ours.query(f"COPY lineitem FROM '{self.csv}' (FORMAT csv, HEADER true)")[0])
                self.copy_duck.append(self.duck_copy())
        theirs.query("VACUUM ANALYZE lineitem")

    def duck_copy(self):
        import duckdb

        connection = duckdb.connect()
        connection.execute("SET threads=2")
        out = self.work / "duck.parquet"
        started = time.perf_counter()
        connection.execute(f"COPY (SELECT * FROM read_csv('{self.csv}', header=true)) TO '{out}' (FORMAT parquet, COMPRESSION zstd)")
        return time.perf_counter() - started

    def wants(self, part):
        return not self.args.only or part in self.args.only.split(",")

    def copy(self):
        print(f"copy from stdin: lakegate {spread(self.copy_ours)}, PostgreSQL {spread(self.copy_theirs)}: "
              f"{1 / median_ratio(self.copy_ours, self.copy_theirs):.2f} x faster (target 1.7)")
        print(f"copy by path:    lakegate {spread(self.copy_path)}, DuckDB {spread(self.copy_duck)}: "
              f"{median_ratio(self.copy_path, self.copy_duck):.2f} x its time (target 1.3)")

    def rows(self):
        for binary, target in ((False, 2.5), (True, 4.0)):
            ours, theirs, first = [], [], []
            wire, peer = self.lakegate.wire(), self.postgres.wire()
            wire.query("SELECT * FROM lineitem LIMIT 1", binary)
            for _ in range(self.repeat):
                seconds, first_byte, count, _ = wire.query("SELECT * FROM lineitem", binary)
                ours.append(count / seconds / 1e6)
                first.append(first_byte)
                seconds, _, count, _ = peer.query("SELECT * FROM lineitem", binary)
                theirs.append(count / seconds / 1e6)
            name = "binary" if binary else "text"
            print(f"rows {name}: lakegate {spread(ours, 'M rows/s', digits=2)}, PostgreSQL {spread(theirs, 'M rows/s', digits=2)}: "
                  f"{median_ratio(ours, theirs):.2f} x (target {target}); first byte {spread(first, 'ms', 1000, 1)} (target 50)")
        print(f"rows: resident {resident_kib(self.lakegate.process.pid) / 1024:.0f} MiB, idle {self.idle_kib / 1024:.0f} MiB")

    def latency(self):
        wire, peer = self.lakegate.wire(), self.postgres.wire()
        for server in (wire, peer):
            server.query("CREATE TABLE points AS SELECT g AS id, g % 100 AS k, g * 1.5 AS v FROM generate_series(1, 100000) AS g")
        wire.query("SELECT sum(v) FROM points WHERE k = 7")
        peer.query("VACUUM ANALYZE points")
        ours = [wire.query("SELECT sum(v) FROM points WHERE k = 7")[0] for _ in range(200)]
        theirs = [peer.query("SELECT sum(v) FROM points WHERE k = 7")[0] for _ in range(200)]
        print(f"point aggregate: lakegate {spread(ours, 'ms', 1000)} (target 5), PostgreSQL {spread(theirs, 'ms', 1000)}")
        ours, theirs = [], []
        for _ in range(self.repeat):
            ours.append(self.pgbench(self.lakegate.port, "lakegate"))
            theirs.append(self.pgbench(self.postgres.port, "postgres"))
        print(f"select 1 prepared: lakegate {spread(ours, 'ms')}, PostgreSQL {spread(theirs, 'ms')}: "
              f"{median_ratio(ours, theirs):.2f} x its time (target 1.5)")

    def pgbench(self, port, user):
        script = self.work / "select1.sql"
        script.write_text("SELECT 1;\n")
        log = self.work / "pgbench-log"
        for old in self.work.glob("pgbench-log*"):
            old.unlink()
        command = [str(self.postgres.binaries / "pgbench"), "-h", "127.0.0.1", "-p", str(port), "-U", user, "-n", "-M", "prepared", "-c", "1",
                   "-T", "3", "-f", str(script), "-l", "--log-prefix", str(log), user]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)
        micros = [int(line.split()[2]) for part in self.work.glob("pgbench-log*") for line in part.read_text().splitlines()]
        return statistics.median(micros) / 1000

    def tpch(self):
        import datafusion
        import duckdb

        wire = self.lakegate.wire()
        for table in TABLES:
            if table != "lineitem":
                wire.query(f"CREATE TABLE {table} AS SELECT * FROM read_parquet('{self.data}/parquet/{table}.parquet')")
        wire.query(f"CREATE SCHEMA IF NOT EXISTS p")
        duck = duckdb.connect()
        duck.execute("SET threads=2")
        context = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(2))
        for table in TABLES:
            duck.execute(f"CREATE VIEW {table} AS SELECT * FROM '{self.data}/parquet/{table}.parquet'")
            context.register_parquet(table, f"{self.data}/parquet/{table}.parquet")
        runs = {"lakegate": lambda sql: wire.query(sql), "datafusion": lambda sql: context.sql(sql).collect(),
                "duckdb": lambda sql: duck.execute(sql).fetchall()}
        times = {name: {} for name in runs}
        for number in range(1, 23):
            sql = re.sub(r"--.*", "", (HERE.parent / f"tests/data/tpch/q{number}.sql").read_text()).strip().rstrip(";")
            for name, run in runs.items():
                samples = []
                for _ in range(self.repeat):
                    started = time.perf_counter()
                    run(sql)
                    samples.append(time.perf_counter() - started)
                times[name][number] = statistics.median(samples)
        totals = {name: sum(values.values()) for name, values in times.items()}
        for name, values in times.items():
            print(f"tpch {name}: total {totals[name]:.2f} s   " + " ".join(f"{n}:{1000 * t:.0f}" for n, t in values.items()))
        print(f"tpch: lakegate / datafusion = {totals['lakegate'] / totals['datafusion']:.2f} (target 1.1), "
              f"lakegate / duckdb = {totals['lakegate'] / totals['duckdb']:.2f}")

    def copyinto(self):
        changes.copy_into(self, spread, median_ratio, LINEITEM)

    def dml(self):
        changes.dml(self, spread, median_ratio, LINEITEM)

    def commits(self):
        changes.commits(self, spread)

    def care(self):
        changes.care(self, spread, median_ratio)

    def expectations(self):
        quality.expectations(self, spread, median_ratio, LINEITEM)

    def profile(self):
        import duckdb

        duck = duckdb.connect()
        duck.execute("SET threads=2")
        duck.execute(f"CREATE VIEW lineitem AS SELECT * FROM '{self.data}/parquet/lineitem.parquet'")
        wire = self.lakegate.wire()
        ours, theirs, suggested = [], [], []
        for _ in range(self.repeat):
            ours.append(wire.query("SELECT * FROM profile('lineitem')")[0])
            started = time.perf_counter()
            duck.execute("SUMMARIZE lineitem").fetchall()
            theirs.append(time.perf_counter() - started)
            suggested.append(wire.query("SELECT * FROM suggest_expectations('lineitem')")[0])
        print(f"profile: lakegate {spread(ours)}, DuckDB {spread(theirs)}: {median_ratio(ours, theirs):.2f} x its time (target 2); "
              f"suggestions {spread(suggested)}")

    def models(self):
        models.models(self, Lakegate, spread, median_ratio)

    def start(self):
        warehouse = self.work / "hundred"
        shutil.rmtree(warehouse, ignore_errors=True)
        server = Lakegate(self.args.lakegate, warehouse)
        wire = server.wire()
        for number in range(100):
            wire.query(f"CREATE TABLE t{number} AS SELECT g AS id, 'x' AS name FROM generate_series(1, 10) AS g")
        server.stop()
        seconds = []
        for _ in range(self.repeat):
            started = time.perf_counter()
            server = Lakegate(self.args.lakegate, warehouse)
            server.wire().query("SELECT count(*) FROM t42")
            seconds.append(time.perf_counter() - started)
            server.stop()
        print(f"start to first answer with 100 tables: {spread(seconds)} (target 1)")

    def memory(self):
        server = Lakegate(self.args.lakegate, self.work / "memory-warehouse", "--set", "server.connections_max=1100")
        before = resident_kib(server.process.pid)
        wires = [server.wire() for _ in range(1000)]
        print(f"memory: idle {before / 1024:.0f} MiB, with 1,000 idle connections {(resident_kib(server.process.pid) - before) / 1024:.0f} MiB more (target 100)")
        del wires
        for binary in (False, True):
            wire = server.wire()
            wire._send("SELECT g, g * 2 AS h, 'some text to fill the row' AS t FROM generate_series(1, 100000000) AS g", binary)
            peak = 0
            for _ in range(60):
                wire.socket.recv(1024)
                time.sleep(0.25)
                peak = max(peak, resident_kib(server.process.pid))
            wire.socket.close()
            print(f"memory: 100 million rows, slow client, {'binary' if binary else 'text'}: {(peak - before) / 1024:.0f} MiB above idle (target 400)")
        server.stop()

    def run(self):
        parts = ["copy", "copyinto", "rows", "latency", "tpch", "dml", "commits", "care", "expectations", "profile", "models", "start", "memory"]
        try:
            if any(self.wants(part) for part in ("copy", "rows", "tpch", "profile")):
                self.prepare()
            for part in parts:
                if self.wants(part):
                    getattr(self, part)()
                    sys.stdout.flush()
        finally:
            self.lakegate.stop()
            self.postgres.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lakegate", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--scale", default="1")
    parser.add_argument("--only")
    parser.add_argument("--spark", help="folder of Spark and its jars (tests/interop/install.sh)")
    parser.add_argument("--mllib", action="store_true", help="train with Spark MLlib too")
    parser.add_argument("--repeat", type=int, default=3)
    Bench(parser.parse_args()).run()


if __name__ == "__main__":
    main()
