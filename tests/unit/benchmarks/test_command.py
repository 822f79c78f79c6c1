"""The command line of measuring: verbs, flags, one-line errors and records."""

import json
import shlex

import pytest

from benchmarks import command

SMALL = (
    "--config=quickstart",
    "--config.data.args.examples=70",
    "--config.input.size=16",
    "--config.model.args={'block_features': (8,)}",
)


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("stepp", "invalid choice: 'stepp'"),
        ("scaling --peer=x", "scaling has no flag '--peer=x'"),
        ("compare", "--peer"),
        ("check --config.epochs=3", "check has no flag"),
        ("step --runs=many", "invalid int value: 'many'"),
        ("input --bars=speed", "--bars has 'speed'"),
        ("aot --target=v9:2x4", "--target is 'v9:2x4'"),
    ],
)
def test_a_wrong_command_is_one_line(capsys, line, word):
    assert command.main(line.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and word in error and error.count("\n") == 1


def test_a_verb_has_its_own_flags(capsys):
    with pytest.raises(SystemExit):
        command.main(["aot", "--help"])
    shown = capsys.readouterr().out
    assert "--batch-per-device" in shown and "--detector-model" not in shown
    assert command.parse(["aot", "--target=h100"]).target == "h100"
    assert command.parse(["time-to-accuracy", "--accuracy=0.5"]).accuracy == 0.5


def test_steps_are_measured_and_kept(capsys, tmp_path):
    kept = tmp_path / "cpu.jsonl"
    words = ["step", *SMALL, "--batch=16", "--steps=2", "--seconds=0.1", "--runs=2"]
    assert command.main([*words, "--json", f"--keep={kept}"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert json.loads(kept.read_text(encoding="utf-8")) == record
    assert record["batch"] == 16 and len(record["runs"]) == 2
    assert record["flops_per_s"] == pytest.approx(record["flops"] * record["images_per_s"] / 16)
    assert {"jax", "device"} <= set(record["versions"]) and record["processor"]
    assert shlex.split(record["command"]) == ["python", "-m", "tools.benchmark", *words]


def test_a_profile_is_of_one_dispatch(capsys):
    assert command.main(["profile", *SMALL, "--batch=16", "--steps=2", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["step_ms"] > 0 and 0 < record["busy_share"] <= 1
    assert sum(record["shares"].values()) == pytest.approx(1, abs=0.01)


@pytest.mark.slow
def test_seconds_to_the_first_step_and_to_an_accuracy(capsys):
    assert command.main(["startup", *SMALL, "--runs=1", "--config.batch_size=8", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["cold_first_step_seconds"] > record["first_step_seconds"] > record["help_seconds"] > 0
    words = ["time-to-accuracy", *SMALL, "--runs=1", "--accuracy=0.05", "--config.batch_size=8", "--config.epochs=1"]
    assert command.main([*words, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["reached"] and record["accuracy"] >= 0.05 and record["cache"] == "cold"
    assert record["seconds"] > 0 and 0 < record["train_share"] < 1
