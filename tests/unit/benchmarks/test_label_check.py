"""Doubtful labels of FER2013 against the votes of FER+."""

import csv

from benchmarks import label_check
from fer_jax.data import doubtful
from tests import datasets


def test_shares_of_contradicted_labels(tmp_path):
    path = datasets.write_fer2013(tmp_path, {"Training": 14, "PublicTest": 7}, votes=True)
    votes = tmp_path / "fer2013new.csv"
    rows = list(csv.reader(votes.read_text(encoding="utf-8").splitlines()))
    rows[1][2:] = ["10", *["0"] * 9]  # the first face is labelled angry, and ten call it neutral
    votes.write_text("\n".join(map(",".join, rows)), encoding="utf-8")
    listed = [doubtful.Row("0", "angry", "neutral", 0.0, 0.9, f"row {row}") for row in (0, 3)]
    doubtful.write(tmp_path / "doubtful.csv", listed)
    found = label_check.precision(tmp_path / "doubtful.csv", path)
    assert (found["first_100"], found["all"], found["base"]) == (0.5, 0.5, 1 / 14)
