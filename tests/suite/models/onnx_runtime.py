"""Runs a model of EXPORT MODEL by onnxruntime over rows in a file of JSON, and compares with what the server predicted.

onnx_runtime.py MODEL ROWS: a row has a value for each input, `label` for the prediction, and `numbers` for the numbers behind
it (probabilities by class, the number itself, the score). Prints the largest difference.
"""

import datetime
import json
import math
import sys

import numpy
import onnx
import onnxruntime

# Relative above 1.
TOLERANCE = 1e-6
# Classes that are nearer to each other are equal, but for rounding.
EQUAL = 1e-12


def number(value, unit):
    if value is None:
        return math.nan
    if unit.startswith("days"):
        return float((datetime.date.fromisoformat(value) - datetime.date(1970, 1, 1)).days)
    if unit.startswith("seconds"):
        at = datetime.datetime.fromisoformat(value)
        at = at if at.tzinfo else at.replace(tzinfo=datetime.timezone.utc)
        return at.timestamp()
    return float(value)


def text(label):
    """As the server writes a class."""
    return str(label).lower() if isinstance(label, bool) else str(label)


def column(rows, feature, null_text):
    values = [row[feature["name"]] for row in rows]
    if feature["value"] == "text":
        return numpy.array([null_text if value is None else value for value in values], dtype=object)[:, None]
    return numpy.array([number(value, feature["value"]) for value in values], dtype=numpy.float64)[:, None]


def main(path, rows_path):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    told = {entry.key: entry.value for entry in model.metadata_props}
    features = json.loads(told["lakegate.features"])
    assert [feature["name"] for feature in features] == [value.name for value in model.graph.input]
    rows = [json.loads(line) for line in open(rows_path, encoding="utf-8")]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs = {feature["name"]: column(rows, feature, told["lakegate.null_text"]) for feature in features}
    first, *others = session.run(None, inputs)
    classes = json.loads(told.get("lakegate.classes", "[]"))
    if others:
        labels, numbers = first.reshape(-1), others[0]
        for row, label in zip(rows, labels):
            label = label.item() if hasattr(label, "item") else label
            if row["label"] != label:
                one, other = (row["numbers"][text(value)] for value in (row["label"], label))
                assert abs(one - other) < EQUAL, f"label {row['label']!r} is {label!r} in {row}"
    else:
        numbers = first
    assert numbers.dtype == numpy.float64
    worst = 0.0
    for row, own in zip(rows, numbers):
        expected = row["numbers"]
        expected = [expected[name] for name in classes] if classes else [float(expected)]
        assert len(expected) == len(own)
        for one, other in zip(expected, own.tolist()):
            difference = abs(one - other) / max(1.0, abs(one))
            assert difference <= TOLERANCE, f"{one} is {other} in {row}"
            worst = max(worst, difference)
    assert len(rows) > 0
    print(f"{len(rows)} rows, {worst:.1e}")


main(*sys.argv[1:])
