"""The benchmark command, at a size that takes seconds."""

import json
import sys

import pytest

CONFIG = (
    "--config=configs/quickstart.py",
    "--config.data.args.examples=70",
    "--config.input.size=16",
    "--config.model.args={'block_features': (8,)}",
)
SMALL = (CONFIG[0], "--batch=16", "--steps=2", "--seconds=0.1", *CONFIG[1:])


def test_training_steps_are_measured_and_kept(command, tmp_path):
    kept = tmp_path / "cpu.jsonl"
    done = command("tools.benchmark", "step", *SMALL, "--json", "--runs=2", f"--keep={kept}", "--measure-peak")
    record = json.loads(done.stdout)
    assert json.loads(kept.read_text(encoding="utf-8")) == record
    assert record["batch"] == 16
    assert len(record["runs"]) == 2
    assert record["images_per_s"] > 0
    assert record["flops_per_s"] == pytest.approx(record["flops"] * record["images_per_s"] / 16)
    assert 0 < record["mfu"] < 1 and record["peak_source"] == "measured"
    assert {"jax", "device"} <= set(record["versions"]) and record["processor"]
    assert (
        record["command"] == f"python -m tools.benchmark step {' '.join(SMALL[:-1])} "
        "'--config.model.args={'\"'\"'block_features'\"'\"': (8,)}' --runs=2 --measure-peak"
    )


def test_a_peer_is_measured_in_turns(command, tmp_path):
    peer = tmp_path / "peer.py"
    peer.write_text("""print('{"images_per_s": 0.5, "peer": "a slow one"}')""", encoding="utf-8")
    done = command("tools.benchmark", "compare", *SMALL, "--runs=1", "--json", f"--peer={sys.executable} {peer}")
    record = json.loads(done.stdout)
    assert record["peer"] == "a slow one"
    assert record["ratio"] == record["images_per_s"] / 0.5
    peer.write_text("raise SystemExit('no such network')", encoding="utf-8")
    done = command("tools.benchmark", "compare", *SMALL, f"--peer={sys.executable} {peer}", check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"error: {sys.executable} {peer} failed: no such network"


def test_several_seeds_and_a_profile(command):
    record = json.loads(command("tools.benchmark", "seeds", *SMALL, "--runs=1", "--json", "--config.seeds=2").stdout)
    assert record["gain"] == record["images_per_s"] / record["single_images_per_s"] > 0
    record = json.loads(command("tools.benchmark", "profile", *CONFIG, "--batch=16", "--steps=2", "--json").stdout)
    assert record["step_ms"] > 0
    assert sum(record["shares"].values()) == pytest.approx(1, abs=0.01)


def test_time_to_an_accuracy(command):
    done = command(
        "tools.benchmark",
        "time-to-accuracy",
        *CONFIG,
        "--runs=1",
        "--json",
        "--target=0.05",
        "--config.batch_size=8",
        "--config.epochs=1",
    )
    record = json.loads(done.stdout)
    assert record["reached"] and record["accuracy"] >= 0.05 and record["cache"] == "cold"
    assert record["seconds"] > 0 and 0 < record["train_share"] < 1


def test_what_cannot_be_measured_is_one_line(command):
    done = command("tools.benchmark", "stepp", check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "error: 'stepp' cannot be measured: expected step, compare, scaling, seeds, input, profile, ops, startup, "
        "time-to-accuracy, serve, aot, check, first-gpu (did you mean 'step'?)\n"
    )


def test_a_subcommand_has_its_own_flags(command):
    done = command("tools.benchmark", "scaling", "--peer=x", check=False)
    assert done.returncode == 2
    assert "'peer'" in done.stderr and len(done.stderr.splitlines()) == 1
    shown = command("tools.benchmark", "aot", "--help").stdout
    assert "--batch-per-device" in shown and "--detector-model" not in shown
