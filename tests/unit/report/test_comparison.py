"""The page that compares runs, seeds' folders and cross-validations."""

import re

import numpy as np
import pytest

from configs import default
from fer_jax import config as configs
from fer_jax import result as results
from fer_jax.report import comparison, records
from tests.reports import Page, made_examples, made_run
from tests.results import folds_result, seeds_result


class TestCompare:
    def test_side_by_side(self, finished, tmp_path):
        better = tmp_path / "better"
        better.mkdir()
        made_run(better, made_examples(), skill=4.0, **{"optim.learning_rate": 0.01})
        started = tmp_path / "started"
        started.mkdir()
        made_run(started, made_examples(), epochs=1, finished=False)
        page = Page(comparison.write([finished, better, started], tmp_path / "out"))
        accuracy = [results.read(run).splits["PrivateTest"]["accuracy"] for run in (finished, better)]
        row = re.search(
            r"PrivateTest accuracy ([\d.]+)% ± [\d.]+% ([\d.]+)% ± [\d.]+%"
            r" PrivateTest against finished \+([\d.]+)% ± ([\d.]+)%",
            page.text,
        )
        shown = [float(value) / 100 for value in row.groups()]
        assert shown[:2] == pytest.approx(accuracy, abs=1e-4)
        assert shown[2] == pytest.approx(accuracy[1] - accuracy[0], abs=1e-4)
        correct = [records.read(run).predictions("PrivateTest").correct.astype(float) for run in (finished, better)]
        assert shown[3] == pytest.approx(np.std(correct[1] - correct[0]) / np.sqrt(80), abs=1e-4)
        assert "epochs 3 3 1" in page.text and "optim.learning_rate 0.001 0.01 0.001" in page.text
        assert "batch_size" not in page.text  # is the same
        assert "not finished" in page.text

    def test_folders_of_the_same_name_are_told_apart(self, finished, tmp_path):
        other = tmp_path / finished.name
        other.mkdir()
        made_run(other, made_examples())
        text = Page(comparison.write([finished, other], tmp_path / "out")).text
        for run in (finished, other):
            assert f"{run.parent.name}/{run.name}" in text and str(run) not in text
        assert "Nothing." in text

    def test_seeds_and_folds_beside_a_single_run(self, finished, tmp_path):
        for name, result in (("seeds", seeds_result()), ("folds", folds_result())):
            (tmp_path / name).mkdir()
            configs.save(default.get_config(), tmp_path / name)
            result.write(tmp_path / name)
        found = comparison.write([finished, tmp_path / "seeds", tmp_path / "folds"], tmp_path / "out")
        text = Page(found).text
        assert "all 2 folds accuracy 75.00% ± 21.65%" in text and "PrivateTest accuracy" in text
        assert "75.00% ± 2.00% over 2 seeds" in text
        assert "runs in it 1 2 2" in text
        assert "training seconds 31 10 10" in text
