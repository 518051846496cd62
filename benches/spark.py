"""MERGE, UPDATE and DELETE of changes.py in Spark with Delta Lake: a list of seconds for each, as JSON. Runs in interop's environment."""
import json
import shutil
import sys
import time

from pyspark.sql import SparkSession

home, parquet, folder, keys, repeat = sys.argv[1:]
spark = (
    SparkSession.builder.master("local[2]").appName("lakegate-bench")
    .config("spark.jars", f"{home}/delta-spark_2.13.jar,{home}/delta-storage.jar")
    .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
    .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
    .config("spark.sql.session.timeZone", "UTC")
    # As many as cores: the default of 200 would slow it down here.
    .config("spark.sql.shuffle.partitions", "2")
    .config("spark.databricks.delta.snapshotPartitions", "2")
    .config("spark.driver.memory", "6g")
    .config("spark.ui.enabled", "false")
    .config("spark.ui.showConsoleProgress", "false")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.sql.warehouse.dir", f"{folder}-warehouse")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("OFF")
table = f"delta.`{folder}`"
columns = [f"{name} + 1 AS {name}" if name == "l_quantity" else name for name in spark.read.parquet(parquet).columns]
changes = f"{folder}-changes"
shutil.rmtree(changes, ignore_errors=True)
# A sum of decimals is wider than its operands: changes have the table's types.
schema = spark.read.parquet(parquet).schema
changed = spark.read.parquet(parquet).where(keys).selectExpr(*columns)
changed.select([changed[field.name].cast(field.dataType) for field in schema]).write.format("delta").save(changes)
steps = {
    "merge of 1 %": f"MERGE INTO {table} t USING delta.`{changes}` s ON t.l_orderkey = s.l_orderkey AND t.l_linenumber = s.l_linenumber "
    "WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *",
    "update by key": f"UPDATE {table} SET l_comment = 'changed' WHERE l_orderkey = 1000003",
    "delete by key": f"DELETE FROM {table} WHERE l_orderkey = 1000002",
}
times = {name: [] for name in steps}
for _ in range(int(repeat)):
    shutil.rmtree(folder, ignore_errors=True)
    spark.read.parquet(parquet).write.format("delta").save(folder)
    for name, sql in steps.items():
        started = time.perf_counter()
        spark.sql(sql).collect()
        times[name].append(time.perf_counter() - started)
for written in (folder, changes, f"{folder}-warehouse"):
    shutil.rmtree(written, ignore_errors=True)
print(json.dumps(times))
