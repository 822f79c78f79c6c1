"""`fer_jax.train`, `fer_jax.load` and what a run can be asked for, as a user calls them."""

import json
import pathlib
import shutil
import signal

import cv2
import numpy as np
import pytest

import fer_jax
from fer_jax import labels
from fer_jax.data.sources import fer2013
from fer_jax.errors import Preempted, UserError
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


def test_a_run_is_exported_and_the_bundle_analyses(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    exported = run.export("~/a.bundle")
    assert exported.bundle.path == tmp_path / "a.bundle"
    analyzer = fer_jax.Analyzer(tmp_path / "a.bundle", "none")
    assert analyzer.labels == run.result.label_names
    assert len(analyzer(np.zeros((16, 16), np.uint8))) == 1
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("not a bundle", encoding="utf-8")
    with pytest.raises(UserError, match="mine"):
        run.export(tmp_path / "mine")


def test_weights_of_another_epoch_than_the_scored_one_have_no_scores(run, tmp_path):
    other = shutil.copytree(run.workdir, tmp_path / "run")
    result = run.result.to_json() | {"best_epoch": 1 + run.result.best_epoch}
    (other / "result.json").write_text(json.dumps(result), encoding="utf-8")
    exported = fer_jax.load(other).export(tmp_path / "b.bundle", compact="float16")
    assert exported.bundle.provenance["result"] is None and exported.bundle.temperature == 1
    assert (
        "best_epoch"
        in fer_jax.load(run.workdir).export(tmp_path / "a.bundle", compact="int8").bundle.provenance["result"]
    )


def test_a_finished_run_is_not_trained_again(run):
    from fer_jax import config

    again = fer_jax.train(config.load(run.workdir), workdir=run.workdir)
    assert again.result == run.result


def test_a_recipe_is_trained_with_changes(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    small = {"epochs": 1, "data.args.examples": 70, "input.size": 16, "batch_size": 8, "data.pipeline": "device"}
    small |= {"data.cache_dir": str(tmp_path / "cache"), "model.args": {"block_features": (8,)}}
    rows = []
    run = fer_jax.train(pathlib.Path("configs/quickstart.py"), workdir="~/run", on_epoch=rows.append, **small)
    assert fer_jax.load("~/run") == run and not pathlib.Path("~").exists()
    assert run.result.splits["PublicTest"]["examples"] == 7
    assert run.workdir == tmp_path / "run"
    assert [row["epoch"] for row in rows] == [1]
    assert "epoch 1: train" in capsys.readouterr().err
    assert len(repr(run).splitlines()) == 2 and "PublicTest" in repr(run)
    assert "data:image/png;base64," in run._repr_html_()
    evaluation = run.evaluate()
    assert len(repr(evaluation).splitlines()) == 2 and "<table>" in evaluation._repr_html_()
    assert fer_jax.train("quickstart", workdir=tmp_path / "run", verbose=False, **small).result == run.result
    assert capsys.readouterr().err == ""


def test_forty_photographs_of_each_class_are_enough_to_fine_tune(fer2013_csv, tmp_path):
    faces, emotions, usage = fer2013.parse(fer2013_csv)
    for emotion, name in (("happy", "grin"), ("surprise", "gasp"), ("neutral", "calm")):
        chosen = np.flatnonzero((usage == "PublicTest") & (emotions == labels.FER2013.index(emotion)))[:120]
        for split, part in (("train", chosen[:40]), ("test", chosen[40:])):
            (tmp_path / split / name).mkdir(parents=True)
            for number in part:
                cv2.imwrite(str(tmp_path / split / name / f"{number}.png"), faces[number])
    run = fer_jax.train(
        "finetune", data=str(tmp_path / "train"), workdir=tmp_path / "run", epochs=6, **{"data.cache_dir": ""}
    )
    run.export(tmp_path / "mine.bundle")
    analyzer = fer_jax.Analyzer(tmp_path / "mine.bundle", "none")
    found = [analyzer(path)[0].label == path.parent.name for path in sorted((tmp_path / "test").glob("*/*.png"))]
    assert len(found) == 240
    assert np.mean(found) > 0.85


def test_control_c_in_a_script_is_a_preemption_and_the_same_call_resumes(tmp_path):
    small = {"epochs": 3, "data.args.examples": 70, "input.size": 16, "batch_size": 8, "data.pipeline": "device"}
    small |= {"data.cache_dir": str(tmp_path / "cache"), "model.args": {"block_features": (8,)}}

    def interrupt(row):
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(Preempted, match="as requested; the same command resumes"):
        fer_jax.train("quickstart", workdir=tmp_path / "run", on_epoch=interrupt, **small)
    assert fer_jax.load(tmp_path / "run", "last").result is None
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert fer_jax.train("quickstart", workdir=tmp_path / "run", **small).result.epochs == 3


@pytest.mark.parametrize(
    ("recipe", "changes", "message"),
    [
        ("quickstrat", {}, "did you mean 'quickstart'"),
        ("nowhere.py", {}, "nowhere.py: No such file"),
        ("jaffe:worst", {}, "no variant 'worst'"),
        ("quickstart", {"epoch": 1}, "no key 'epoch': the nearest is config.epochs"),
        ("quickstart", {"epochs": "many"}, "config.epochs"),
    ],
)
def test_mistakes_are_told_before_anything_is_done(tmp_path, recipe, changes, message):
    with pytest.raises(UserError, match=message):
        fer_jax.train(recipe, workdir=tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_a_file_is_no_folder_for_a_run(tmp_path):
    (tmp_path / "run").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="run is a file, expected a folder to write to"):
        fer_jax.train("quickstart", workdir=tmp_path / "run")


def test_a_checkpoint_of_another_name(run):
    with pytest.raises(UserError, match="unknown checkpoint 'Best': expected best or last"):
        fer_jax.load(run.workdir, "Best")


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(UserError, match=str(tmp_path)):
        fer_jax.load(tmp_path)


@pytest.mark.parametrize(
    ("code", "printed", "error"),
    [
        ("from fer_jax import *; print(analyze.__name__)", "analyze", ""),
        ("import fer_jax, inspect; print(len(inspect.getmembers(fer_jax)) >= len(fer_jax.__all__))", "True", ""),
        ("import fer_jax, pydoc; print('fer_jax.analyze' in pydoc.plain(pydoc.render_doc(fer_jax)))", "True", ""),
        ("import fer_jax; print(hasattr(fer_jax, 'train'))", "True", ""),
        ("from fer_jax import train; train('quickstart')", "", "pip install 'fer_jax[train]'"),
        ("import fer_jax; fer_jax.load('run')", "", "pip install 'fer_jax[train]'"),
    ],
)
def test_without_the_extra_of_training(code, printed, error):
    done = run_python("-c", f"import sys; sys.modules['ml_collections'] = None; {code}")
    assert done.stdout.strip() == printed
    assert done.stderr.strip()[-200:].endswith(error)
    assert bool(done.stderr) == bool(error)
