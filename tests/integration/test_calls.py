"""`fer_jax.train`, `fer_jax.load` and what a run can be asked for, as a user calls them."""

import shutil

import numpy as np
import pytest

import fer_jax
from fer_jax.errors import UserError
from tests.conftest import run_python


@pytest.fixture(scope="module")
def run(whole, tmp_path_factory):
    return fer_jax.load(shutil.copytree(whole, tmp_path_factory.mktemp("calls") / "run"))


def test_a_run_is_loaded_and_evaluated(run):
    evaluation = run.evaluate(tta=["flip"])
    scores = evaluation.splits["PublicTest"]
    assert scores["accuracy"] == run.result.splits["PublicTest"]["accuracy"]
    assert set(scores["tta"]) == {"flip"}
    assert set(run.evaluate("PrivateTest").splits) == {"PrivateTest"}


def test_a_run_is_exported_and_the_bundle_analyses(run, tmp_path):
    exported = run.export(tmp_path / "a.bundle")
    assert exported.bundle.path == tmp_path / "a.bundle"
    analyzer = fer_jax.Analyzer(tmp_path / "a.bundle", "none")
    assert analyzer.labels == run.result.label_names
    assert len(analyzer(np.zeros((16, 16), np.uint8))) == 1
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("not a bundle", encoding="utf-8")
    with pytest.raises(UserError, match="mine"):
        run.export(tmp_path / "mine")


def test_a_finished_run_is_not_trained_again(run):
    from fer_jax import config

    again = fer_jax.train(config.load(run.workdir), workdir=run.workdir)
    assert again.result == run.result


def test_a_recipe_is_trained_with_changes(tmp_path):
    small = {"epochs": 1, "data.args.examples": 70, "input.size": 16, "batch_size": 8, "data.pipeline": "device"}
    small |= {"data.cache_dir": str(tmp_path / "cache"), "model.args": {"block_features": (8,)}}
    run = fer_jax.train("quickstart", workdir=tmp_path / "run", **small)
    assert run.result.splits["PublicTest"]["examples"] == 7
    assert run.workdir == tmp_path / "run"


@pytest.mark.parametrize(
    ("recipe", "changes", "message"),
    [
        ("quickstrat", {}, "did you mean 'quickstart'"),
        ("nowhere.py", {}, "nowhere.py: No such file"),
        ("jaffe:worst", {}, "no variant 'worst'"),
        ("quickstart", {"epoch": 1}, "no key 'epoch': the nearest is config.epochs"),
        ("quickstart", {"epochs": "many"}, "config.epochs"),
        ("quickstart", {"seeds": 2}, "one call trains one model"),
    ],
)
def test_mistakes_are_told_before_anything_is_done(tmp_path, recipe, changes, message):
    with pytest.raises(UserError, match=message):
        fer_jax.train(recipe, workdir=tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(UserError, match=str(tmp_path)):
        fer_jax.load(tmp_path)


def test_without_jax_it_says_which_extra_to_install():
    code = "import sys; sys.modules['ml_collections'] = None; import fer_jax; fer_jax.train('quickstart')"
    done = run_python("-c", code)
    assert done.stderr.splitlines()[-1].endswith("pip install 'fer_jax[train]'")
