"""Trains a forest or boosted trees by Spark MLlib over a Delta table: models_spark.py <home> <kind> <delta> <trees> <depth>. Runs in interop's
environment; JSON on standard output."""
import json
import sys
import time

from pyspark.ml.classification import GBTClassifier, RandomForestClassifier
from pyspark.ml.evaluation import BinaryClassificationEvaluator
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import SparkSession

home, kind, path, trees, depth = sys.argv[1:]
spark = (
    SparkSession.builder.master("local[2]").appName("lakegate-bench")
    .config("spark.jars", f"{home}/delta-spark_2.13.jar,{home}/delta-storage.jar")
    .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
    .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
    .config("spark.sql.shuffle.partitions", "2")
    .config("spark.driver.memory", "8g")
    .config("spark.ui.enabled", "false")
    .config("spark.ui.showConsoleProgress", "false")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.driver.host", "127.0.0.1")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("OFF")
started = time.perf_counter()
features = [f"x{place}" for place in range(20)]
rows = spark.read.format("delta").load(path).selectExpr(*features, "cast(label AS int) AS label", "held_out")
rows = VectorAssembler(inputCols=features, outputCol="features").transform(rows).select("features", "label", "held_out").cache()
rows.count()
begun = time.perf_counter()
if kind == "forest":
    learner = RandomForestClassifier(numTrees=int(trees), maxDepth=int(depth), featureSubsetStrategy="sqrt", maxBins=254, seed=1)
else:
    # MLlib grows to a depth: 2 to the power of 5 leaves are about 31.
    learner = GBTClassifier(maxIter=int(trees), maxDepth=5, stepSize=0.1, maxBins=254, minInstancesPerNode=20, seed=1)
model = learner.fit(rows.where("NOT held_out"))
fit = time.perf_counter() - begun
answers = model.transform(rows.where("held_out"))
area = BinaryClassificationEvaluator().evaluate(answers)
accuracy = answers.selectExpr("avg(cast(prediction = label AS int))").first()[0]
took = time.perf_counter() - started
status = open(f"/proc/{spark.sparkContext._gateway.proc.pid}/status").read()
peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
print(json.dumps({"all": took, "fit": fit, "accuracy": accuracy, "roc_auc": area, "memory": peak / 1024}))
