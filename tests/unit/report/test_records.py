"""What runs left in their folders, read back."""

import numpy as np
import pytest

from configs import default
from fer_jax import config as configs
from fer_jax.errors import UserError
from fer_jax.report import records
from tests.reports import made_examples
from tests.results import SCORES, folds_result, run_result, seeds_result


def test_a_finished_run(finished):
    found = records.read(finished)
    assert (found.name, found.inside, found.split) == ("finished", (), "PrivateTest")
    assert [row["epoch"] for row in found.rows] == [1, 2, 3]
    predictions = found.predictions("PrivateTest")
    np.testing.assert_allclose(predictions.probabilities.sum(axis=1), 1)
    assert predictions.correct.mean() == found.splits["PrivateTest"]["accuracy"]
    predictions.require_same(made_examples().labels_of("PrivateTest"))
    with pytest.raises(UserError, match="the data has 90 labels that are not those of the run's 80 predictions"):
        predictions.require_same(made_examples().labels_of("PublicTest"))
    assert found.predictions("Training") is None


KINDS = [(run_result(), {"PublicTest": SCORES}), (folds_result(), {"all 2 folds": SCORES})]


@pytest.mark.parametrize(("result", "splits"), [*KINDS, (seeds_result(), seeds_result().splits)])
def test_the_splits_of_each_kind_of_result(tmp_path, result, splits):
    with pytest.raises(UserError, match="no run's folder"):
        records.read(tmp_path)
    configs.save(default.get_config(), tmp_path)
    assert records.read(tmp_path).splits == {} and records.read(tmp_path).split == ""
    result.write(tmp_path)
    found = records.read(tmp_path)
    assert found.splits == splits and found.split == list(splits)[-1]
