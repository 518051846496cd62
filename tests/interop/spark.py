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
passed = 0


def check(what, got, wanted):
    global passed
    if got == wanted:
        passed += 1
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

    # The server changes rows of a table with deletion vectors, Spark goes on.
    run(f"CREATE TABLE i_vectors LOCATION '{vectors}'", "UPDATE i_vectors SET id = -id WHERE id < 5", "DELETE FROM i_vectors WHERE id > 990")
    check("the server's changes beside vectors", rows(spark.read.format("delta").load(vectors).selectExpr("count(*)", "min(id)", "max(id)")), [(891, -4, 989)])
    spark.sql(f"DELETE FROM delta.`{vectors}` WHERE id = 11")
    check("Spark's vectors again", ask("SELECT count(*) FROM i_vectors"), [(890,)])

    # Change data feeds.
    def in_order(row):
        return row[0], row[1], str(row)

    def feed(folder, columns, start):
        frame = spark.read.format("delta").option("readChangeFeed", "true").option("startingVersion", start).load(folder)
        return sorted(rows(frame.select("_commit_version", "_change_type", *columns)), key=in_order)

    def told(name, columns, start):
        return sorted(ask(f"SELECT _commit_version, _change_type, {', '.join(columns)} FROM table_changes('{name}', {start})"), key=in_order)

    run("CREATE TABLE i_feed (id int, part text, v numeric(8,2), at timestamp) PARTITIONED BY (part) TBLPROPERTIES ('delta.enableChangeDataFeed' = 'true')",
        "INSERT INTO i_feed SELECT g, CASE WHEN g % 2 = 0 THEN 'even / %' END, g FROM generate_series(1, 6) g",
        "UPDATE i_feed SET v = v * 2 WHERE id IN (1, 2)", "DELETE FROM i_feed WHERE id = 3", "OPTIMIZE i_feed",
        "MERGE WITH SCHEMA EVOLUTION INTO i_feed USING (VALUES (4, 'merged', 1.5::float8), (9, 'made', NULL)) s(id, part, extra) ON s.id = i_feed.id "
        "WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *")
    with connection.transaction():
        run("UPDATE i_feed SET v = 0 WHERE id = 1", "UPDATE i_feed SET v = 1 WHERE id = 1", "INSERT INTO i_feed VALUES (10, 'block', 10), (11, 'block', 11)",
            "DELETE FROM i_feed WHERE id IN (5, 10)")
    run("INSERT INTO i_feed REPLACE WHERE part = 'block' VALUES (12, 'block', 12)", "TRUNCATE i_feed")
    fed = folder_of("i_feed")
    columns = ["id", "part", "v", "extra"]
    check("the server's feed", feed(fed, columns, 0), told("i_feed", columns, 0))
    check("a feed of a transaction", [row[1:5] for row in feed(fed, columns, 6) if row[0] == 6], [
        ("delete", 5, None, Decimal("5.00")), ("insert", 11, "block", Decimal("11.00")),
        ("update_postimage", 1, None, Decimal("1.00")), ("update_preimage", 1, None, Decimal("2.00"))])
    spark.sql(f"INSERT INTO delta.`{fed}` VALUES (20, 'spark', 1, NULL, 1), (21, 'spark', 2, NULL, 2)")
    spark.sql(f"UPDATE delta.`{fed}` SET v = 5 WHERE id = 20")
    check("Spark's changes of the server's table", told("i_feed", ["id", "v"], 9), [
        (9, "insert", 20, Decimal("1.00")), (9, "insert", 21, Decimal("2.00")),
        (10, "update_postimage", 20, Decimal("5.00")), (10, "update_preimage", 20, Decimal("1.00"))])
    theirs = os.path.join(warehouse, "feed-by-spark")
    spark.sql(f"CREATE TABLE delta.`{theirs}` (id BIGINT, name STRING) USING DELTA TBLPROPERTIES ('delta.enableChangeDataFeed' = 'true')")
    spark.sql(f"INSERT INTO delta.`{theirs}` VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    spark.sql(f"MERGE INTO delta.`{theirs}` t USING (SELECT 1 AS id, 'A' AS name) s ON s.id = t.id WHEN MATCHED THEN UPDATE SET *")
    run(f"CREATE TABLE i_feed_spark LOCATION '{theirs}'", "UPDATE i_feed_spark SET name = 'B' WHERE id = 2", "DELETE FROM i_feed_spark WHERE id = 1")
    check("a feed by both", feed(theirs, ["id", "name"], 0), told("i_feed_spark", ["id", "name"], 0))
    check("the server's part of it", feed(theirs, ["id", "name"], 3), [
        (3, "update_postimage", 2, "B"), (3, "update_preimage", 2, "b"), (4, "delete", 1, "A")])
    run("VACUUM i_feed_spark")
    check("VACUUM leaves young changes", len(feed(theirs, ["id"], 0)), 8)

    # Generated columns: Spark fills and checks the server's, and the server Spark's.
    run("""CREATE TABLE i_generated (id int, at timestamptz, local timestamp DEFAULT '2024-02-03 04:05:06', name text, price numeric(8,2),
            day date GENERATED ALWAYS AS (at::date) STORED, year int GENERATED ALWAYS AS (extract(year FROM at)) STORED,
            twice bigint GENERATED ALWAYS AS (id * 2) STORED, label text GENERATED ALWAYS AS (upper(name) || '!') STORED,
            total numeric(12,2) GENERATED ALWAYS AS (price * id) STORED, month date GENERATED ALWAYS AS (date_trunc('month', at)::date) STORED,
            length int GENERATED ALWAYS AS (length(name)) STORED, hour smallint GENERATED ALWAYS AS (extract(hour FROM local)) STORED)
        PARTITIONED BY (day)""",
        "INSERT INTO i_generated (id, at, name, price) VALUES (1, '2024-05-01 23:30:00+00', 'one', 1.25)")
    generated = folder_of("i_generated")
    spark.sql(f"INSERT INTO delta.`{generated}` (id, at, local, name, price, length) VALUES (2, TIMESTAMP'2024-06-30 10:00:00', TIMESTAMP_NTZ'2024-06-30 07:00:00', 'two', 2.50, 3)")
    spark.sql(f"UPDATE delta.`{generated}` SET id = 3 WHERE id = 1")
    check("Spark fills generated columns", ask("SELECT id, day, year, twice, label, total, month, hour FROM i_generated ORDER BY id"), [
        (2, date(2024, 6, 30), 2024, 4, "TWO!", Decimal("5.00"), date(2024, 6, 1), 7),
        (3, date(2024, 5, 1), 2024, 6, "ONE!", Decimal("3.75"), date(2024, 5, 1), 4)])
    try:
        spark.sql(f"INSERT INTO delta.`{generated}` (id, at, name, price, twice, length) VALUES (4, TIMESTAMP'2024-06-30 10:00:00', 'x', 1, 99, 1)")
        check("a generated column in Spark", "taken", "refused")
    except Exception as error:
        check("a generated column in Spark", "CHECK constraint" in str(error) or "DELTA_VIOLATE_CONSTRAINT" in str(error), True)
    try:
        run("INSERT INTO i_generated (id, twice) VALUES (4, 99)")
        check("a generated column in the server", "taken", "refused")
    except psycopg.Error as error:
        check("a generated column in the server", error.sqlstate, "428C9")

    def made_by_spark(name, *expressions):
        delta = spark._jvm.io.delta.tables.DeltaTable
        folder = os.path.join(warehouse, name)
        builder = delta.create(spark._jsparkSession).location(folder).addColumn("id", "INT").addColumn("seen", "TIMESTAMP").addColumn("name", "STRING")
        for column, kind, expression in expressions:
            builder = builder.addColumn(delta.columnBuilder(spark._jsparkSession, column).dataType(kind).generatedAlwaysAs(expression).build())
        builder.execute()
        return folder

    theirs = made_by_spark("generated-by-spark", ("day", "DATE", "CAST(seen AS DATE)"), ("hour", "INT", "HOUR(seen)"), ("big", "BIGINT", "CAST(id AS BIGINT) * 10"))
    run(f"CREATE TABLE i_generated_spark LOCATION '{theirs}'",
        "INSERT INTO i_generated_spark (id, seen, name) VALUES (1, '2024-05-01 22:15:00+00', 'x'), (2, NULL, 'y')", "UPDATE i_generated_spark SET id = 5 WHERE id = 2")
    spark.sql(f"INSERT INTO delta.`{theirs}` (id, seen) VALUES (7, TIMESTAMP'2024-05-02 01:00:00')")
    check("Spark's generated columns", rows(spark.read.format("delta").load(theirs).select("id", "day", "hour", "big").orderBy("id")), [
        (1, date(2024, 5, 1), 22, 10), (5, None, None, 50), (7, date(2024, 5, 2), 1, 70)])
    spark.sql(f"UPDATE delta.`{theirs}` SET name = 'all' WHERE id > 0")
    check("they pass Spark's check", ask("SELECT count(*), sum(big) FROM i_generated_spark WHERE name = 'all'"), [(3, Decimal(130))])
    theirs = made_by_spark("untold-by-spark", ("word", "STRING", "date_format(seen, 'yyyy-MM')"))
    spark.sql(f"INSERT INTO delta.`{theirs}` (id, seen) VALUES (1, TIMESTAMP'2024-05-02 01:00:00')")
    run(f"CREATE TABLE i_untold LOCATION '{theirs}'")
    check("an expression without translation", ask("SELECT id, word FROM i_untold"), [(1, "2024-05")])
    try:
        run("INSERT INTO i_untold (id) VALUES (2)")
        check("a column that cannot be generated", "taken", "refused")
    except psycopg.Error as error:
        check("a column that cannot be generated", (error.sqlstate, '"word"' in str(error)), ("0A000", True))

    # Order of rows, both ways; history; VACUUM.
    run("CREATE TABLE i_ordered AS SELECT g AS id, (g * 7919) % 1000 AS k FROM generate_series(1, 1000) g", "INSERT INTO i_ordered VALUES (2000, 5)",
        "OPTIMIZE i_ordered ZORDER BY (id, k)")
    ordered = folder_of("i_ordered")
    check("the server's order", rows(spark.read.format("delta").load(ordered).selectExpr("count(*)", "sum(id)", "sum(k)")), [(1001, 502500, 499505)])
    spark.sql(f"INSERT INTO delta.`{ordered}` VALUES (3000, 6)")
    spark.sql(f"OPTIMIZE delta.`{ordered}` ZORDER BY (k)")
    run("UPDATE i_ordered SET k = -1 WHERE id = 3000")
    check("Spark's order", ask("SELECT count(*), sum(id), sum(k) FROM i_ordered"), [(1002, 505500, 499504)])
    history = rows(spark.sql(f"DESCRIBE HISTORY delta.`{ordered}`").select("version", "operation"))
    check("one history", history, [(version, operation) for version, _, _, operation, *_ in ask("DESCRIBE HISTORY i_ordered")])
    check("what is in it", [operation for _, operation in history], ["UPDATE", "OPTIMIZE", "WRITE", "OPTIMIZE", "WRITE", "CREATE TABLE AS SELECT"])
    connection.execute("VACUUM i_ordered")
    check("VACUUM by the server", rows(spark.read.format("delta").option("versionAsOf", 1).load(ordered).selectExpr("count(*)")), [(1001,)])
    check("versions of Spark's", ask("SELECT count(*) FROM i_ordered VERSION AS OF 3"), [(1002,)])

    # Definitions: the server's ALTER TABLE, Spark's mergeSchema.
    run("CREATE TABLE i_altered (id int, v text)", "INSERT INTO i_altered VALUES (1, 'a')", "ALTER TABLE i_altered ADD COLUMN w int DEFAULT 3, ADD CHECK (w < 10)",
        "ALTER TABLE i_altered RENAME v TO name", "INSERT INTO i_altered (id) VALUES (2)")
    altered = folder_of("i_altered")
    check("altered by the server", rows(spark.read.format("delta").load(altered).orderBy("id")), [(1, "a", 3), (2, None, 3)])
    spark.sql("SELECT 3 AS id, 'c' AS name, 4 AS w, 2.5D AS more").write.format("delta").mode("append").option("mergeSchema", "true").save(altered)
    run("UPDATE i_altered SET more = 1 WHERE id = 1")
    check("evolved by Spark", ask("SELECT id, name, w, more FROM i_altered ORDER BY id"), [(1, "a", 3, 1.0), (2, None, 3, None), (3, "c", 4, 2.5)])

    # Column mapping is Spark's to write, and the server's to read.
    mapped = os.path.join(warehouse, "mapped")
    spark.sql(f"CREATE TABLE delta.`{mapped}` (id BIGINT, old STRING) USING DELTA TBLPROPERTIES ('delta.columnMapping.mode' = 'name')")
    spark.sql(f"INSERT INTO delta.`{mapped}` VALUES (1, 'x'), (2, 'y')")
    spark.sql(f"ALTER TABLE delta.`{mapped}` RENAME COLUMN old TO new")
    check("column mapping", ask(f"SELECT id, new FROM read_delta('{mapped}') ORDER BY id"), [(1, "x"), (2, "y")])
    run(f"CREATE TABLE i_mapped LOCATION '{mapped}'")
    try:
        run("INSERT INTO i_mapped VALUES (3, 'z')")
        check("writing under column mapping", "taken", "refused")
    except psycopg.Error as error:
        check("writing under column mapping", error.sqlstate, "0A000")

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
print(f"{passed} passed, {len(failed)} failed")
sys.exit(1 if failed else 0)
