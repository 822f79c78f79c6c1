"""Folds: each is a run of its own data, and all together give the pooled scores."""

import numpy as np
import pytest

from configs import default
from fer_jax import config as configs
from fer_jax import result as results
from fer_jax.data import identity, splits
from fer_jax.errors import UserError
from fer_jax.experiments import crossval, run, rundata
from tests import datasets


@pytest.fixture
def config(tmp_path):
    config = default.get_config()
    config.data.source, config.data.cache_dir = "folder", str(tmp_path / "cache")
    config.data.path = str(datasets.write_folder(tmp_path / "faces", size=16))
    config.data.folds, config.data.holdout, config.epochs = 2, 0.3, 1
    config.batch_size = config.eval.batch_size = 8
    config.input.size, config.model.args.block_features = 16, (4,)
    return config


def test_folds_are_runs_whose_predictions_are_pooled(config, tmp_path, monkeypatch):
    result = crossval.cross_validate(config, tmp_path / "cv")
    assert result == results.read(tmp_path / "cv")
    assert results.runs_inside(tmp_path / "cv") == ["fold_01", "fold_02"]
    assert result.pooled["examples"] == 30
    own = [results.read(tmp_path / "cv" / folder) for folder in result.folders]
    accuracies = [fold.splits["PrivateTest"]["accuracy"] for fold in own]
    assert result.mean_accuracy == pytest.approx(np.mean(accuracies))
    assert result.std_accuracy == pytest.approx(np.std(accuracies, ddof=1))
    counts = sum(np.array(fold.splits["PrivateTest"]["confusion"]) for fold in own)
    np.testing.assert_array_equal(counts, result.pooled["confusion"])
    assert (tmp_path / "cv" / "report" / "index.html").is_file()
    # A fold is scored later on its own test part, not on a split that the config would draw.
    folder = tmp_path / "cv" / "fold_02"
    found = rundata.to_score(config, [folder], "test", "", own[1].label_names)
    assert len(found) == own[1].splits["PrivateTest"]["examples"]
    assert not np.isin(identity.digests(found), identity.load(folder).trained).any()
    with pytest.raises(UserError, match=r"cv holds 2 runs, not one: give one of them, such as .*fold_01"):
        run.load_run(tmp_path / "cv")
    # Once more: finished folds are read, not trained.
    monkeypatch.setattr(run, "train", None)
    assert crossval.cross_validate(config, tmp_path / "cv").pooled == result.pooled
    # With more images the folds are others.
    datasets.write_folder(rundata.pathlib.Path(config.data.path), counts={"": 14}, size=16)
    with pytest.raises(UserError, match=r"fold_01 was trained on other data .* it had 30 images, the data has 42"):
        crossval.cross_validate(config, tmp_path / "cv")


def test_more_folds_than_images_are_refused_before_anything_is_written(config, tmp_path):
    config.data.folds = 31
    with pytest.raises(UserError, match=r"config.data.folds is 31"):
        crossval.cross_validate(config, tmp_path / "cv")
    assert not (tmp_path / "cv").exists()


def test_one_fold_is_trained_alone_and_the_call_for_all_pools_them(config, tmp_path, monkeypatch):
    assert crossval.cross_validate(config, tmp_path / "cv", only=2) is None
    assert results.runs_inside(tmp_path / "cv") == ["fold_02"]
    assert results.read(tmp_path / "cv") is None
    crossval.cross_validate(config, tmp_path / "cv", only=1)
    monkeypatch.setattr(run, "train", None)
    assert crossval.cross_validate(config, tmp_path / "cv").pooled["examples"] == 30
    with pytest.raises(UserError, match="--fold=3: expected 1 to 2, one of the folds; 0 trains all"):
        crossval.cross_validate(config, tmp_path / "cv", only=3)


def test_folds_that_are_not_finished_teach_nothing(config, tmp_path):
    crossval.cross_validate(config, tmp_path / "cv", only=2)
    config.teacher.runs = (str(tmp_path / "cv"),)
    with pytest.raises(UserError, match=r"cv', whose folds or seeds are not finished: there are fold_02 and no result"):
        configs.require_inputs(config, tmp_path / "student")


def test_only_one_split_is_dealt_into_folds(config, tmp_path):
    csv = datasets.write_fer2013(tmp_path, {"Training": 28, "PublicTest": 14, "PrivateTest": 7})
    config.data.source, config.data.path = "fer2013", str(csv)
    config.data.fold_split = "Training"
    result = crossval.cross_validate(config, tmp_path / "cv")
    assert result.pooled["examples"] == 28
    fold = results.read(tmp_path / "cv" / "fold_01")
    assert fold.splits["PublicTest"]["examples"] == 14 and fold.splits["PrivateTest"]["examples"] == 14
    own = rundata.of_run(config, tmp_path / "cv" / "fold_01", identity.load(tmp_path / "cv" / "fold_01"))
    assert set(own.examples.split_names) == {"Training", "PublicTest", "PrivateTest", splits.UNUSED}
    assert (own.examples.split == splits.UNUSED).sum() == 7
