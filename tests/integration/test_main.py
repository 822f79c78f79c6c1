"""Training from the command line: what a run leaves, how it goes on, and what bad input gets."""

import csv
import json
import shlex
import shutil

import numpy as np
import pytest

# Small enough for seconds: the command is what is tested here, not the network.
TINY_NET = ("--config.model.args={'block_features': (8,)}", "--config.input.size=24")
SMALL = ("--config.epochs=2", "--config.batch_size=56", "--config.data.args.examples=700", *TINY_NET)
SMALL += ("--config.eval.tta=('flip',)",)


@pytest.fixture(scope="module")
def finished(command, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run") / "quickstart"
    command("fer_jax.main", "--config=configs/quickstart.py", f"--workdir={workdir}", *SMALL)
    return workdir


def test_a_run_leaves_its_result_metrics_and_report(finished):
    result = json.loads((finished / "result.json").read_text(encoding="utf-8"))
    assert result["selected_on"] == "PublicTest"
    assert result["best_epoch"] in (1, 2)
    for split in ("PublicTest", "PrivateTest"):
        scores = result["splits"][split]
        assert scores["examples"] == 70
        confusion = np.array(scores["confusion"])
        assert confusion.sum() == 70
        assert scores["accuracy"] == pytest.approx(np.trace(confusion) / 70)
        assert set(scores["per_class"]) == set(result["label_names"])
    assert result["train_examples_per_second"] > 0
    assert result["wall_seconds"] >= result["train_seconds"] > 0
    assert "jax" in result["versions"]
    assert result["command"].startswith("python -m fer_jax.main --config=configs/quickstart.py --workdir=")
    assert result["splits"]["PublicTest"]["tta"]["flip"]["examples"] == 70
    assert result["calibration"]["fitted_on"] == "PublicTest"
    assert result["calibration"]["temperature"] > 0
    rows = [json.loads(line) for line in (finished / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    with (finished / "metrics.csv").open(encoding="utf-8") as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == [1, 2]
    best = max(rows, key=lambda row: row["PublicTest_accuracy"])
    assert result["splits"]["PublicTest"]["accuracy"] == pytest.approx(best["PublicTest_accuracy"])
    report = {path.name for path in (finished / "report").iterdir()}
    assert report >= {"index.html", "learning_curves.png", "confusion.png", "faces.png"}


def test_the_same_command_again_says_that_it_is_finished(command, finished):
    before = (finished / "result.json").read_bytes()
    done = command("fer_jax.main", "--config=configs/quickstart.py", f"--workdir={finished}", *SMALL)
    assert "already finished: PublicTest" in done.stderr
    assert (finished / "result.json").read_bytes() == before


def test_evaluate_gives_the_numbers_of_the_run(command, finished, tmp_path):
    out = tmp_path / "scores.json"
    done = command("tools.evaluate", f"--workdir={finished}", "--split=PrivateTest", f"--json={out}", "--tta=flip")
    found, result = (json.loads(path.read_text(encoding="utf-8")) for path in (out, finished / "result.json"))
    for key in ("accuracy", "confusion", "macro_f1", "examples"):
        assert found["splits"]["PrivateTest"][key] == result["splits"]["PrivateTest"][key]
    assert found["splits"]["PrivateTest"]["tta"]["flip"]["examples"] == 70
    assert "accuracy" in done.stdout


def test_evaluate_corrects_the_prior_and_chooses_a_threshold(command, finished, tmp_path):
    out = tmp_path / "scores.json"
    arguments = f"--workdir={finished}", "--prior=happy:0.5", "--calibrate", "--coverage=0.5", f"--json={out}"
    done = command("tools.evaluate", *arguments)
    found = json.loads(out.read_text())
    assert found["prior"][0]["target"]["happy"] == 0.5
    assert found["prior"][0]["trained"] == pytest.approx(dict.fromkeys(found["label_names"], 1 / 7), abs=0.01)
    assert found["command"].startswith("python -m tools.evaluate --workdir=")
    chosen = found["splits"]["PublicTest"]["calibration"]["chosen"]
    assert chosen["coverage"] == pytest.approx(0.5, abs=0.02)
    assert f"uncertain_below {chosen['uncertain_below']:.4f} answers 50.0% of these faces" in done.stdout


def test_evaluate_says_what_does_not_fit_together(mistakes, finished, tmp_path):
    said = {
        "--coverage=0.5": "--coverage says how to calibrate: give --calibrate too",
        "--calibrate --coverage=90": "--coverage=90: expected a share above 0 and at most 1",
        "--calibrate --refit-temperature --prior=flat": "--refit-temperature with a prior, --prior's or",
        f"--calibrate --out={tmp_path}/copy": "--out writes a copy of a bundle: give --bundle",
        "--prior=bored:0.3": "--prior has 'bored:0.3': expected flat, or shares of angry",
        "--split=Extra": "no examples of split 'Extra': there are Training, PublicTest, PrivateTest",
    }
    errors = mistakes(*(f"evaluate --workdir={finished} {words}" for words in said))
    for error, words in zip(errors, said.values(), strict=True):
        assert words in error
    assert not (tmp_path / "copy").exists()


def test_a_run_killed_before_its_result_resumes_to_the_same_result(command, finished, tmp_path):
    workdir = tmp_path / "resumed"
    shutil.copytree(finished, workdir)
    (workdir / "result.json").unlink()
    newest = max((workdir / "checkpoints").iterdir())
    shutil.rmtree(newest)
    done = command("fer_jax.main", "--config=configs/quickstart.py", f"--workdir={workdir}", *SMALL)
    assert "resuming" in done.stderr
    once, again = (json.loads((d / "result.json").read_text(encoding="utf-8")) for d in (finished, workdir))
    assert again["splits"] == once["splits"]
    assert again["train_examples"] == once["train_examples"]


def test_bad_input_is_one_line_exit_2_and_leaves_nothing(mistakes, finished, tmp_path):
    said = {
        "--config=configs/nope.py": "--config: configs/nope.py: No such file or directory",
        "--config=configs/quickstart.py --config.optim.lr=1": "the config has no key 'optim.lr'",
        "--config=configs/quickstart.py --config.epochs=x": "config.epochs is 'x': expected a whole number",
        "--config=configs/quickstart.py --config.optim.name=adagrad": "expected one of adam, adamw",
        "--config=configs/quickstart.py stray": "unexpected argument 'stray'",
        "--config=configs/xception.py": "--config=quickstart needs no data",
        "--config=configs/xception.py --config.data.path=/nowhere/fer2013.csv": "/nowhere/fer2013.csv",
        "--config=configs/quickstart.py --config.batch_size=57 --config.data.pipeline=device": (
            "batch size 57 does not divide over 2 devices: use 56 or 58"
        ),
        "": "--config must be given",
    }
    two = "--xla_force_host_platform_device_count=2"
    errors = mistakes(*(f"train --workdir={tmp_path}/run {words}" for words in said), XLA_FLAGS=two)
    for error, words in zip(errors, said.values(), strict=True):
        assert words in error
    assert not (tmp_path / "run" / "config.json").exists()
    other = shlex.join(["train", "--config=quickstart", f"--workdir={finished}", *SMALL])
    [error] = mistakes(f"{other} --config.optim.learning_rate=0.5")
    assert "optim.learning_rate was" in error and "is 0.5" in error


def test_a_loss_that_explodes_stops_the_run_and_names_the_steps(command, tmp_path):
    explosive = ("--config.optim.name=sgd", "--config.optim.learning_rate=1e30")
    run = ("--config=configs/quickstart.py", f"--workdir={tmp_path / 'run'}")
    done = command("fer_jax.main", *run, *SMALL, *explosive, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "error: the loss was not finite in steps 1 to" in done.stderr
    assert not (tmp_path / "run" / "result.json").exists()


@pytest.mark.slow
def test_five_epochs_learn_the_expressions_of_faces_that_are_held_out(command, tmp_path):
    """Took 77 s of processor time, most of it to compile."""
    command(
        "fer_jax.main",
        "--config=configs/quickstart.py",
        f"--workdir={tmp_path / 'run'}",
        "--config.data.args.examples=3500",
        "--config.data.pipeline=device",
        "--config.input.size=32",
        "--config.model.args={'block_features': (16, 32, 64)}",
        "--config.epochs=5",
        "--config.optim.name=muon",
        "--config.optim.learning_rate=2e-2",
        "--config.augment.rotation=0",
        "--config.augment.shift=0",
    )
    splits = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))["splits"]
    assert min(split["accuracy"] for split in splits.values()) > 0.9


def test_help_is_quick_and_needs_no_jax(command, tmp_path):
    done = command("fer_jax.main", "--help", check=False, cold=True)
    assert "--mode" in done.stdout
    blocker = tmp_path / "sitecustomize.py"
    blocker.write_text("import sys\nsys.modules['jax'] = sys.modules['tensorflow'] = None\n", encoding="utf-8")
    done = command("fer_jax.main", "--help", check=False, cold=True, env={"PYTHONPATH": str(tmp_path)})
    assert "--mode" in done.stdout


def test_summary_prints_the_network(command):
    done = command("fer_jax.main", "--config=configs/xception.py", "--mode=summary")
    assert "Parameters: 58,423" in done.stdout


def test_cross_validation_scores_every_example_once(command, tmp_path):
    args = ("fer_jax.main", "--config=configs/quickstart.py", "--mode=crossval", f"--workdir={tmp_path / 'cv'}")
    args += ("--config.epochs=1", "--config.batch_size=28", "--config.data.args.examples=140")
    args += ("--config.data.folds=2", "--config.data.holdout=0.2", *TINY_NET)
    command(*args, "--fold=2")
    assert not (tmp_path / "cv" / "result.json").exists()
    command(*args)
    result = json.loads((tmp_path / "cv" / "result.json").read_text(encoding="utf-8"))
    assert result["folds"] == 2
    assert result["pooled"]["examples"] == 140
    accuracies = [fold["accuracy"] for fold in result["per_fold"]]
    assert result["mean_accuracy"] == pytest.approx(np.mean(accuracies))
    assert "all 2 folds" in (tmp_path / "cv" / "report" / "index.html").read_text(encoding="utf-8")
    done = command(*args)
    assert done.stderr.count("already finished") == 2
