"""Apache Spark with Delta Lake on the server's tables, and the server on Spark's. Started by run.sh."""
import os
import sys
from datetime import date, datetime
from decimal import Decimal

import psycopg
from pyspark.sql import SparkSession

warehouse = os.environ["LAKEGATE_TEST_WAREHOUSE"]
jars = os.environ["SPARK_DELTA_JARS"]

spark = (
    SparkSession.builder.master("local[2]").appName("lakegate-interop")
    .config("spark.jars", jars)
    .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
    .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.sql.shuffle.partitions", "2")
    .config("spark.ui.enabled", "false")
    .config("spark.ui.showConsoleProgress", "false")
    .config("spark.databricks.delta.snapshotPartitions", "2")
    .config("spark.sql.sources.parallelPartitionDiscovery.parallelism", "4")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.sql.warehouse.dir", os.path.join(warehouse, "spark"))
    .getOrCreate()
)
spark.sparkContext.setLogLevel("OFF")
failed = []


def check(what, got, wanted):
    if got == wanted:
        print(f"ok      {what}")
    else:
        print(f"FAILED  {what}: {got!r}, not {wanted!r}")
        failed.append(what)


def rows(frame):
    return [tuple(row) for row in frame.collect()]


with psycopg.connect("", autocommit=True) as connection:
    connection.execute("SET TimeZone = 'UTC'")

    def ask(query):
        return connection.execute(query).fetchall()

    def run(*statements):
        for statement in statements:
            connection.execute(statement)

    def folder_of(name):
        (location,), = ask(f"SELECT location FROM lakegate.tables WHERE table_name = '{name}'")
        return os.path.join(warehouse, location.removeprefix("warehouse:"))

    # Types, partitions and constraints as the server writes them.
    run("""CREATE TABLE i_types (
            id int NOT NULL CHECK (id > 0), big bigint, small smallint, name text, price numeric(10,2), ratio float8, single real,
            good boolean, day date, at timestamptz, local timestamp, raw bytea, tags int[]
        ) PARTITIONED BY (day, name)""",
        """INSERT INTO i_types VALUES
            (1, 1099511627776, 7, 'Zoë / %20=', 12.50, 0.25, 0.5, true, '2024-05-01', '2024-05-01 12:00:00+02', '2024-05-01 12:00:00.000001', '\\x00ff', '{1,NULL,3}'),
            (2, NULL, NULL, NULL, NULL, 'NaN', NULL, NULL, NULL, NULL, NULL, NULL, NULL)""")
    table = folder_of("i_types")
    frame = spark.read.format("delta").load(table)
    first = frame.where("id = 1").collect()[0].asDict()
    check("types", first | {"raw": bytes(first["raw"])}, {
        "id": 1, "big": 2**40, "small": 7, "name": "Zoë / %20=", "price": Decimal("12.50"), "ratio": 0.25, "single": 0.5, "good": True,
        "day": date(2024, 5, 1), "at": datetime(2024, 5, 1, 10), "local": datetime(2024, 5, 1, 12, 0, 0, 1), "raw": b"\x00\xff",
        "tags": [1, None, 3]})
    check("partition pruning", rows(frame.where("name = 'Zoë / %20='").select("id")), [(1,)])
    check("NULL partitions", rows(frame.where("day IS NULL").select("id", "name")), [(2, None)])

    # A check of the server's binds Spark too.
    try:
        spark.sql(f"INSERT INTO delta.`{table}` (id, name) VALUES (-1, 'no')")
        check("CHECK in Spark", "taken", "refused")
    except Exception as error:
        check("CHECK in Spark", "CHECK constraint" in str(error) or "DELTA_VIOLATE_CONSTRAINT" in str(error), True)

    # Evolution by COPY INTO with mergeSchema, many commits, checkpoints; the record of loaded files.
    run("CREATE TABLE i_loaded (id int) TBLPROPERTIES ('delta.checkpointInterval' = '3')")
    inbox = os.path.join(warehouse, "inbox")
    os.makedirs(inbox)
    for number in range(8):
        header = "id,extra" if number > 3 else "id"
        with open(os.path.join(inbox, f"{number}.csv"), "w") as file:
            file.write(f"{header}\n{number}{',' + str(number / 2) if number > 3 else ''}\n")
        run(f"COPY INTO i_loaded FROM '{inbox}/' FILEFORMAT = CSV FORMAT_OPTIONS (header = true) COPY_OPTIONS (mergeSchema = true)")
    loaded = folder_of("i_loaded")
    check("checkpoints were written", any(name.endswith(".parquet") for name in os.listdir(f"{loaded}/_delta_log")), True)
    check("evolution", rows(spark.read.format("delta").load(loaded).orderBy("id"))[3:6], [(3, None), (4, 2.0), (5, 2.5)])
    check("an old version", spark.read.format("delta").option("versionAsOf", 2).load(loaded).columns, ["id"])
    spark.sql(f"INSERT INTO delta.`{loaded}` VALUES (100, 1.5)")
    spark.sql(f"UPDATE delta.`{loaded}` SET extra = 9.5 WHERE id = 4")
    spark.sql(f"DELETE FROM delta.`{loaded}` WHERE id = 5")
    spark.sql(f"OPTIMIZE delta.`{loaded}`")
    spark.conf.set("spark.databricks.delta.retentionDurationCheck.enabled", "false")
    spark.sql(f"VACUUM delta.`{loaded}` RETAIN 0 HOURS")
    check("Spark's changes", ask("SELECT id, extra FROM i_loaded WHERE id IN (3, 4, 5, 100) ORDER BY id"), [(3, None), (4, 9.5), (100, 1.5)])
    again = f"COPY INTO i_loaded FROM '{inbox}/' FILEFORMAT = CSV FORMAT_OPTIONS (header = true)"
    check("loaded files stay loaded", ask(again), [(0, 8, 0, 0)])

    # UPDATE, DELETE and MERGE by the server.
    run("CREATE TABLE i_changed AS SELECT g AS id, 'row ' || g AS name FROM generate_series(1, 1000) g",
        "UPDATE i_changed SET name = 'changed' WHERE id <= 10", "DELETE FROM i_changed WHERE id > 990",
        "MERGE INTO i_changed t USING (VALUES (1, 'merged'), (2000, 'new')) s(id, name) ON t.id = s.id "
        "WHEN MATCHED THEN UPDATE SET name = s.name WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.name)")
    changed = spark.read.format("delta").load(folder_of("i_changed"))
    check("changed rows", rows(changed.selectExpr("count(*)", "count_if(name = 'changed')", "max(id)")), [(991, 9, 2000)])

    # What Spark makes.
    made = os.path.join(warehouse, "made-by-spark")
    spark.sql(f"""CREATE TABLE delta.`{made}` (id BIGINT NOT NULL, name STRING, amount DECIMAL(12,3), at TIMESTAMP, day DATE,
        CONSTRAINT_FREE INT) USING DELTA PARTITIONED BY (day) TBLPROPERTIES ('delta.checkpointInterval' = '2')""")
    for number in range(5):
        spark.sql(f"INSERT INTO delta.`{made}` VALUES ({number}, 'n{number}', {number}.125, TIMESTAMP'2024-05-01 10:00:00', DATE'2024-05-0{number + 1}', NULL)")
    spark.sql(f"ALTER TABLE delta.`{made}` ADD CONSTRAINT small CHECK (id < 1000)")
    run(f"CREATE TABLE i_spark LOCATION '{made}'")
    check("Spark's table", ask("SELECT id, name, amount, at, day FROM i_spark WHERE id = 2")[0][:3], (2, "n2", Decimal("2.125")))
    check("read_delta", ask(f"SELECT count(*), sum(amount) FROM read_delta('{made}')"), [(5, Decimal("10.625"))])
    run("INSERT INTO i_spark (id, name, day) VALUES (7, 'by the server', '2024-06-01')", "DELETE FROM i_spark WHERE id = 0")
    check("the server's rows in Spark's table", rows(spark.read.format("delta").load(made).selectExpr("count(*)", "max(id)")), [(5, 7)])
    try:
        run("INSERT INTO i_spark (id) VALUES (1000)")
        check("Spark's CHECK in the server", "taken", "refused")
    except psycopg.Error as error:
        check("Spark's CHECK in the server", error.sqlstate, "23514")

    # Deletion vectors are Spark's to write, and the server's to read.
    vectors = os.path.join(warehouse, "with-vectors")
    spark.sql(f"CREATE TABLE delta.`{vectors}` USING DELTA TBLPROPERTIES ('delta.enableDeletionVectors' = 'true') AS SELECT id FROM range(0, 1000, 1, 1)")
    spark.sql(f"DELETE FROM delta.`{vectors}` WHERE id % 10 = 0")
    check("deletion vectors", ask(f"SELECT count(*), min(id) FROM read_delta('{vectors}')"), [(900, 1)])

    # Nested Parquet.
    nested = os.path.join(warehouse, "nested.parquet")
    spark.sql("SELECT 1 AS id, named_struct('a', 1, 'b', 'x') AS s, map('k', 2) AS m, array(named_struct('z', 3)) AS l").write.parquet(nested)
    check("nested Parquet", [row[:1] for row in ask(f"SELECT id, s, m, l FROM read_parquet('{nested}/*.parquet')")], [(1,)])

    # Parquet folders both ways.
    exported = os.path.join(warehouse, "exported/")
    run(f"COPY (SELECT g AS id, CASE WHEN g % 2 = 0 THEN 'even' END AS kind, date '2024-01-01' + g AS day FROM generate_series(1, 10) g) "
        f"TO '{exported}' WITH (FORMAT parquet, PARTITION BY (kind))")
    check("Hive's folders", rows(spark.read.parquet(exported).groupBy("kind").count().orderBy("kind")), [(None, 5), ("even", 5)])
    spark.range(10).selectExpr("id", "id % 3 AS part").write.partitionBy("part").parquet(os.path.join(warehouse, "by-spark"))
    check("Spark's folders", ask(f"SELECT part, count(*) FROM read_parquet('{warehouse}/by-spark/') GROUP BY part ORDER BY part"), [(0, 4), (1, 3), (2, 3)])

spark.stop()
print(f"{len(failed)} failed")
sys.exit(1 if failed else 0)
