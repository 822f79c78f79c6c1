"""The comparison of exported formats with the Flax network."""

import dataclasses

import numpy as np
import pytest

from fer_jax.evaluation import metrics
from fer_jax.export import comparison


def a_format(role, logits, size, scored=True, latency=1.0):
    labels = np.array([0, 1, 1, 0])
    scores = metrics.scores(logits, labels, ("happy", "sad")) if scored else None
    changed = float(np.mean(logits.argmax(1) != GOOD.argmax(1)))
    latency = dict.fromkeys(comparison.BATCHES, latency)
    return comparison.Format(role, f"model.{role}", size, logits, 1e-3, changed, scores, latency)


GOOD = np.array([[1.0, 0], [0, 1], [0, 1], [1, 0]])
WORSE = np.array([[1.0, 0], [1, 0], [0, 1], [1, 0]])


def test_the_table_has_a_line_a_format():
    formats = [
        comparison.Format("flax", "", 0, GOOD, 0.0, 0.0, metrics.scores(GOOD, np.array([0, 1, 1, 0]), "ab"), {}),
        a_format("onnx", GOOD, 12345),
        a_format("int8", WORSE, 99, scored=False),
    ]
    lines = comparison.table(formats).splitlines()
    assert lines[0].split("  ")[0] == "format" and lines[0].endswith("ms, batch 64")
    assert lines[1].split() == ["flax", "1.0000"]
    assert " ".join(lines[2].split()) == "onnx model.onnx 12,345 1.0e-03 0.00 % 1.0000 1.00 1.00 1.00"
    assert " ".join(lines[3].split()) == "int8 model.int8 99 1.0e-03 25.00 % 1.00 1.00 1.00"


def test_recall_of_every_class_before_and_after():
    lines = comparison.recall_table([a_format("onnx", GOOD, 9), a_format("int8", WORSE, 9)]).splitlines()
    assert [line.split() for line in lines] == [
        ["recall", "examples", "onnx", "int8"],
        ["happy", "2", "1.0000", "1.0000"],
        ["sad", "2", "1.0000", "0.5000"],
    ]
    assert comparison.recall_table([a_format("onnx", GOOD, 9, scored=False)]) == ""


def test_what_is_kept_names_no_machine(exported):
    record = comparison.record(exported.formats)
    assert list(record) == ["onnx", "float16", "int8", "stablehlo"]
    assert set(record["int8"]) == {"largest_difference", "accuracy", "recall"}
    unscored = [dataclasses.replace(f, scores=None) for f in exported.formats]
    assert comparison.record(unscored)["onnx"]["accuracy"] is None


def test_differences_are_from_flax(exported):
    by_role = {f.role: f for f in exported.formats}
    for role, f in by_role.items():
        assert f.largest_difference == pytest.approx(np.abs(f.logits - by_role["flax"].logits).max())
        assert role == "flax" or (f.bytes > 0 and all(ms > 0 for ms in f.latency.values()))
