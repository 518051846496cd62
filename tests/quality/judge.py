"""Runs the rows of catalogue.toml that have arguments for Great Expectations on good.csv and bad.csv.

Prints one JSON object a line: the row's number among those of Great Expectations, the data, and what came of it.
"""

import json
import logging
import os
import sys
import tomllib
import warnings
from pathlib import Path

os.environ["GX_ANALYTICS_ENABLED"] = "false"
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import great_expectations  # noqa: E402
import pandas  # noqa: E402
from great_expectations.expectations import core  # noqa: E402

FOLDER = Path(__file__).parent
NARROW = ["id", "age", "x"]


def batches():
    context = great_expectations.get_context(mode="ephemeral")
    source = context.data_sources.add_pandas("csv")

    def batch(name, frame):
        definition = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe(name)
        return definition.get_batch({"dataframe": frame})

    good = pandas.read_csv(FOLDER / "good.csv")
    bad = pandas.read_csv(FOLDER / "bad.csv")
    narrow = good[NARROW].astype(str).rename(columns={"x": "z"})
    return {"good": batch("good", good), "bad": batch("bad", bad), "narrow": batch("narrow", narrow)}


def outcome(batch, row):
    expectation = getattr(core, row["name"])(**row["ge"])
    result = batch.validate(expectation, result_format="BASIC")
    exception = result.exception_info or {}
    if exception.get("raised_exception") or any(
        isinstance(one, dict) and one.get("raised_exception") for one in exception.values()
    ):
        return {"exception": str(exception)}
    found = result.result or {}
    return {
        "success": result.success,
        "elements": found.get("element_count"),
        "missing": found.get("missing_count"),
        "unexpected": found.get("unexpected_count"),
    }


def main():
    catalogue = tomllib.loads((FOLDER / "catalogue.toml").read_text())
    data = batches()
    for number, row in enumerate(catalogue["great_expectations"]):
        if "ge" not in row:
            continue
        for name in ("good", row.get("bad", "bad")):
            told = {"row": number, "data": name, **outcome(data[name], row)}
            print(json.dumps(told, default=lambda value: value.item()))
    names = [name for name in dir(core) if name.startswith("Expect")]
    print(json.dumps({"core": names, "version": great_expectations.__version__}))


sys.exit(main())
