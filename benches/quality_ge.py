"""Great Expectations over lineitem: `quality_ge.py pandas|PostgreSQL <place>`, the expectations as JSON on standard input."""
import json
import logging
import os
import sys
import time
import warnings

os.environ["GX_ANALYTICS_ENABLED"] = "false"
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import great_expectations
from great_expectations.expectations import core

source, place = sys.argv[1:]
context = great_expectations.get_context(mode="ephemeral")
begun = time.perf_counter()
if source == "pandas":
    import pandas
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(place)
    # Decimals would be Python objects, which nobody would do to pandas.
    for at, field in enumerate(table.schema):
        if str(field.type).startswith("decimal"):
            table = table.set_column(at, field.name, table.column(at).cast("double"))
    frame = table.to_pandas(date_as_object=False)
    asset = context.data_sources.add_pandas("memory").add_dataframe_asset("lineitem")
    definition, parameters = asset.add_batch_definition_whole_dataframe("whole"), {"dataframe": frame}
else:
    asset = context.data_sources.add_postgres("postgres", connection_string=place).add_table_asset("checked", table_name="checked")
    definition, parameters = asset.add_batch_definition_whole_table("whole"), None
loading = time.perf_counter() - begun
suite = great_expectations.ExpectationSuite(name="lineitem")
for name, arguments in json.load(sys.stdin):
    suite.add_expectation(getattr(core, f"Expect{name}")(**arguments))
batch = definition.get_batch(parameters) if parameters else definition.get_batch()
started = time.perf_counter()
result = batch.validate(suite, result_format="BASIC")
seconds = time.perf_counter() - started
failed = [one.expectation_config.type for one in result.results if not one.success]
print(json.dumps({"seconds": seconds, "loading": loading, "failed": failed}))
