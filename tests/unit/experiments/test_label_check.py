"""Labels are checked by what folds say about the images they hold out, and what is found can be cleaned away."""

import csv
import pathlib

import numpy as np
import pytest

from fer_jax.data import loading
from fer_jax.errors import UserError
from fer_jax.experiments import label_check, sweep


def test_doubtful_labels_are_listed_shown_and_dropped(config, tmp_path):
    sweep.folds(config, tmp_path / "cv")
    for number in (1, 2):  # each fold is sure of every label but its first, which it calls sad
        path = tmp_path / "cv" / f"fold_0{number}" / "predictions" / "PrivateTest.npz"
        labels = np.load(path)["labels"]
        logits = 5 * np.eye(3, dtype=np.float32)[labels]
        logits[0] = 0, 0, 4 + number
        np.savez(path, logits=logits, labels=labels)
    assert label_check.check(tmp_path / "cv", tmp_path / "audit") == (30, 2)
    with (tmp_path / "audit" / "doubtful.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["label"], row["suggested"]) for row in rows] == [("angry", "sad")] * 2
    assert float(rows[0]["probability_of_label"]) < float(rows[1]["probability_of_label"]) < 0.01
    assert all(pathlib.Path(row["place"]).parent == tmp_path / "faces" / "angry" for row in rows)
    page = (tmp_path / "audit" / "doubtful.html").read_text(encoding="utf-8")
    assert page.count("<img") == 2 and pathlib.Path(rows[0]["place"]).name in page
    config.data.clean, config.data.args.doubtful = ("drop_doubtful",), str(tmp_path / "audit" / "doubtful.csv")
    assert "drop_doubtful removed" in loading.load(config).description


def test_a_fold_that_is_not_finished_is_one_line(config, tmp_path):
    sweep.folds(config, tmp_path / "cv", only=1)
    (tmp_path / "cv" / "fold_01" / "predictions" / "PrivateTest.npz").unlink()
    with pytest.raises(UserError, match="fold_01 has no predictions of PrivateTest: run its command to the end"):
        label_check.check(tmp_path / "cv", tmp_path / "audit")
