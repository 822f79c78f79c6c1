"""A recipe again and again: seeds, folds, and changes, which are checked before anything is trained."""

import json
import math
import os

import numpy as np
import pytest

from configs import default, xception
from fer_jax import config as configs
from fer_jax import result as results
from fer_jax.data import identity, splits
from fer_jax.errors import UserError
from fer_jax.experiments import run, rundata, sweep
from fer_jax.training import metric_log
from tests import datasets
from tests.results import run_result

SEEDS = (3, 4)


def test_folds_are_runs_whose_predictions_are_pooled(config, tmp_path, monkeypatch):
    result = sweep.folds(config, tmp_path / "cv")
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
    assert sweep.folds(config, tmp_path / "cv").pooled == result.pooled
    # With more images the folds are others.
    datasets.write_folder(rundata.pathlib.Path(config.data.path), counts={"": 14}, size=16)
    with pytest.raises(UserError, match=r"fold_01 was trained on other data .* it had 30 images, the data has 42"):
        sweep.folds(config, tmp_path / "cv")


def test_one_fold_is_trained_alone_and_the_call_for_all_pools_them(config, tmp_path, monkeypatch):
    config.data.folds = 31
    with pytest.raises(UserError, match=r"config.data.folds is 31"):
        sweep.folds(config, tmp_path / "cv")
    assert not (tmp_path / "cv").exists(), "more folds than images are refused before anything is written"
    config.data.folds = 2
    assert sweep.folds(config, tmp_path / "cv", only=2) is None
    assert results.runs_inside(tmp_path / "cv") == ["fold_02"]
    assert results.read(tmp_path / "cv") is None
    student = configs.changed(config, {"teacher.runs": (str(tmp_path / "cv"),)})
    with pytest.raises(UserError, match=r"cv', whose folds or seeds are not finished: there are fold_02 and no result"):
        configs.require_inputs(student, tmp_path / "student")
    sweep.folds(config, tmp_path / "cv", only=1)
    monkeypatch.setattr(run, "train", None)
    assert sweep.folds(config, tmp_path / "cv").pooled["examples"] == 30
    with pytest.raises(UserError, match="--fold=3: expected 1 to 2, one of the folds; 0 trains all"):
        sweep.folds(config, tmp_path / "cv", only=3)


def test_only_one_split_is_dealt_into_folds(config, tmp_path):
    csv = datasets.write_fer2013(tmp_path, {"Training": 28, "PublicTest": 14, "PrivateTest": 7})
    config.data.source, config.data.path = "fer2013", str(csv)
    config.data.fold_split = "Training"
    result = sweep.folds(config, tmp_path / "cv")
    assert result.pooled["examples"] == 28
    fold = results.read(tmp_path / "cv" / "fold_01")
    assert fold.splits["PublicTest"]["examples"] == 14 and fold.splits["PrivateTest"]["examples"] == 14
    own = rundata.of_run(config, tmp_path / "cv" / "fold_01", identity.load(tmp_path / "cv" / "fold_01"))
    assert set(own.examples.split_names) == {"Training", "PublicTest", "PrivateTest", splits.UNUSED}
    assert (own.examples.split == splits.UNUSED).sum() == 7


def test_each_seed_leaves_its_run_and_all_their_mean(config, tmp_path, monkeypatch):
    config.data.source, config.data.args.examples, config.seed = "synthetic", 70, 3
    result = sweep.seeds(config, tmp_path / "run", 2)
    assert result == results.read(tmp_path / "run")
    accuracies = []
    for seed in SEEDS:
        own = results.read(tmp_path / f"run/seed_{seed}")
        assert own.seed == seed
        accuracies.append(own.splits["PrivateTest"]["accuracy"])
        [row] = metric_log.read_metrics(tmp_path / f"run/seed_{seed}")
        assert row["PublicTest_accuracy"] == own.splits["PublicTest"]["accuracy"]
    found = result.splits["PrivateTest"]
    assert found["mean_accuracy"] == pytest.approx(np.mean(accuracies))
    assert found["std_accuracy"] == pytest.approx(np.std(accuracies, ddof=1))
    # Once more: finished runs are read, not trained, and what made them stays written.
    (tmp_path / "run" / "report" / "index.html").unlink()
    (tmp_path / "run" / "seed_3" / "report" / "index.html").unlink()
    earlier = tmp_path / "run" / "seed_4" / "report" / "index.html"  # of a run that was not finished
    earlier.write_text("")
    os.utime(earlier, (0, 0))
    with monkeypatch.context() as patched:
        patched.setattr(run, "train", None)
        patched.setattr("fer_jax.environment.command", lambda: "another command")
        assert sweep.seeds(config, tmp_path / "run", 2) == result
    assert (tmp_path / "run" / "report" / "index.html").is_file(), "a report that a kill prevented is written"
    assert (tmp_path / "run" / "seed_3" / "report" / "index.html").is_file()
    assert earlier.read_text(), "a report that is older than the result is written again"
    assert sweep.seeds(config, tmp_path / "run", 3).seeds == (3, 4, 5)
    with pytest.raises(UserError, match="run holds 3 runs, not one: give one of them"):
        run.train_and_score(config, tmp_path / "run")
    with pytest.raises(UserError, match="seed_3 holds one run: use another --workdir for several"):
        sweep.seeds(config, tmp_path / "run" / "seed_3", 2)


def test_splits_are_drawn_once_for_all_seeds(config, tmp_path):
    config.seed = 3
    counts = {"train": 10, "test": 3}  # as Kaggle's: the selection split is carved
    config.data.path = str(datasets.write_folder(tmp_path / "others", counts=counts, size=16))
    config.data.holdout = 0.1
    sweep.seeds(config, tmp_path / "run", 2)
    of_all, *of_each = (identity.load(tmp_path / "run" / name) for name in ("", "seed_3", "seed_4"))
    counts = {name: split["examples"] for name, split in of_all.splits.items()}
    assert counts == {"PrivateTest": 9, "Training": 27, "PublicTest": 3}
    for own in of_each:
        assert own.difference(of_all) == ""
    with pytest.raises(UserError, match=r"run holds 2 runs, not one: give one of them, such as .*seed_3"):
        run.load_run(tmp_path / "run")
    assert run.load_run(tmp_path / "run/seed_4").result.seed == 4


def result(config, accuracy):
    scores = {"accuracy": accuracy, "macro_f1": accuracy - 0.1, "examples": 400}
    scores["per_class"] = {"disgust": {"recall": accuracy / 2}}
    return run_result(seed=config.seed, splits={"PublicTest": scores})


def test_every_change_is_trained_with_every_seed_in_a_folder_of_its_own(tmp_path, monkeypatch):
    trained = []

    def train_and_score(config, workdir):
        trained.append((workdir.name, config.seed, config.augment.erase))
        return result(config, 0.5 + 0.1 * config.augment.erase * (config.seed - 4))

    monkeypatch.setattr(sweep, "train_and_score", train_and_score)
    config = default.get_config()
    config.seed = 5
    record = sweep.changes(config, {"more erasing": {"augment.erase": 0.5}}, 2, tmp_path, "the command")
    runs = [(name, seed, erase) for seed in (5, 6) for name, erase in (("as_it_is", 0.0), ("more_erasing", 0.5))]
    assert trained == [(f"{name}_seed{seed}", seed, erase) for name, seed, erase in runs]
    assert json.loads((tmp_path / "ablation.json").read_text(encoding="utf-8")) == record
    base, erasing = record["rows"]
    assert (base["name"], base["seeds"], base["accuracy"]) == (sweep.BASE, [5, 6], [0.5, 0.5])
    np.testing.assert_allclose(erasing["accuracy"], [0.55, 0.6])
    assert erasing["difference"] == pytest.approx({"mean": 0.075, "standard_error": 0.025})
    assert config.augment.erase == 0.0


@pytest.mark.parametrize(
    "change", [{"data.holdout": 0.3}, {"data.split": "random"}, {"data.holdout": 0.3, "input.size": 40}]
)
def test_changes_that_score_other_faces_are_refused_before_training(tmp_path, monkeypatch, change):
    monkeypatch.setattr(sweep, "train_and_score", None)
    faces = datasets.draw(tmp_path / "faces", *(f"{name}/{i}.png" for name in ("happy", "sad") for i in range(30)))
    config = datasets.config_of("folder", faces)
    sweep._require_same_faces(config, {"more": {"data.sampling": "balanced"}, "size": {"input.size": 40}})
    with pytest.raises(
        UserError, match="the change 'other' scores other faces or labels of PublicTest than the config"
    ):
        sweep.changes(config, {"other": change}, 1, tmp_path / "runs")


def test_the_error_of_one_seed_is_that_of_two_samples_of_faces():
    found = sweep.difference([0.6], [0.5], 400)
    assert found == pytest.approx({"mean": 0.1, "standard_error": math.sqrt((0.24 + 0.25) / 400)})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "Expecting property name"),
        ("[]", "holds no object of objects"),
        ('{"a": 1}', "holds no object of objects"),
        ('{"long": {"epoch": 3}}', "long: the config has no key 'epoch'"),
        ('{"long": {"epochs": "x"}}', "long: config.epochs is 'x': expected a whole number"),
        ('{"long": {"augment.flip": null}}', "long: config.augment.flip is None: expected a number"),
        ('{"long": {"augment": {"flip": 0}}}', "long: config.augment is a group of keys"),
        ('{"long": {"augment.flip": NaN}}', "long: config.augment.flip is nan"),
        ('{"long": {"seed": 5}}', "long: config.seed is the same for all changes: leave it out; --config.seed and"),
        ('{"lr 1e-3": {"epochs": 3}, "LR-1e-3": {"epochs": 4}}', "'LR-1e-3' and 'lr 1e-3' would share the folder"),
        ('{"as it is": {"epochs": 3}}', "'as it is' is the name of the unchanged config"),
        ('{"as_it_is": {"epochs": 3}}', "'as_it_is' and 'as it is' would share the folder"),
        ('{"a": {"epochs": 3}, "a": {"epochs": 4}}', "'a' appears twice"),
        ("{}", "holds no changes"),
        ('{"long": {}}', "long: it changes nothing: give keys and values"),
        ('{"long": {"epochs": 0}}', "long: config.epochs is 0: expected at least 1"),
    ],
)
def test_bad_changes_are_refused_before_anything_is_trained(tmp_path, content, message):
    path = tmp_path / "changes.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError) as error:
        sweep.read_changes(path, default.get_config())
    assert str(error.value).startswith("--changes: ")
    assert message in str(error.value)


def test_changes_are_read_with_a_byte_order_mark_and_the_kept_ones_are_good(tmp_path):
    (path := tmp_path / "changes.json").write_text('{"no flip": {"augment.flip": 0}}', encoding="utf-8-sig")
    assert sweep.read_changes(path, default.get_config()) == {"no flip": {"augment.flip": 0}}
    for name in ("optimizers", "learning", "images", "length"):
        assert sweep.read_changes(f"configs/ablations/{name}.json", xception.get_config())
    assert sweep.read_changes("configs/ablations/teaching.json", xception.get_config("distilled"))
