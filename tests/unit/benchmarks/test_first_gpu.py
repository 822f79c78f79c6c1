"""What is measured on the first accelerator at hand: at small size, and cut off."""

import json
import shlex
import sys

import pytest

from benchmarks import command, first_gpu
from fer_jax import config as configs
from tests.conftest import REPOSITORY


@pytest.mark.slow
def test_at_small_size_every_part_leaves_its_record(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where the last part makes its run
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    peer, keep = tmp_path / "peer.py", tmp_path / "gpu.jsonl"
    peer.write_text("""print('{"peer": "fake", "images_per_s": 1.0}')""", encoding="utf-8")
    torch = shlex.join([sys.executable, str(peer)])
    done = list(first_gpu.measure([], 10_000, torch, keep, small=True))
    assert [record["outcome"] for record in done] == ["measured"] * len(done), done
    kept = [json.loads(line) for line in keep.read_text(encoding="utf-8").splitlines()]
    assert list(dict.fromkeys(record["part"] for record in kept)) == [record["part"] for record in done]
    assert all(record["images_per_s"] > 0 for record in kept if record.get("benchmark") == "step")


def test_what_is_left_when_the_time_is_over_is_left_out(tmp_path):
    done = list(first_gpu.measure([], 0, "python", tmp_path / "gpu.jsonl", small=False))
    assert {record["outcome"] for record in done} == {"left out"}
    assert not (tmp_path / "gpu.jsonl").exists()


def test_a_part_that_fails_says_why_and_the_next_one_runs(monkeypatch, tmp_path):
    broken = first_gpu.Part("broken", 60, (sys.executable, "-m", "nothing"))
    monkeypatch.setattr(first_gpu, "parts", lambda *_: [broken, broken])
    done = list(first_gpu.measure([], 100, "python", None, small=True))
    assert [record["outcome"] for record in done] == ["failed", "failed"]
    assert "No module named nothing" in done[0]["reason"]


def test_the_most_valuable_comes_first_with_the_data_of_the_runs():
    parts = first_gpu.parts(["--config.data.path=a.csv"], "python", False)
    assert parts[0].name == "correctness" and parts[-1].name == "accuracy of VGG"
    assert "--config.data.path=a.csv" in parts[-1].command
    assert sum(part.seconds for part in parts[:5]) <= 300


@pytest.mark.parametrize("small", [True, False])
def test_every_command_is_one_that_the_tools_take(small):
    parts = first_gpu.parts(["--config.data.path=a.csv"], "python", small)
    for part in parts:
        if part.command[:3] == first_gpu.BENCHMARK:
            given = command.parse(list(part.command[3:]))
            assert given.verb in command.VERBS
            if hasattr(given, "config"):
                command._config(given)
        elif part.command[1] == "peers/torch_train.py":
            assert f"--mode={part.name.rpartition(' ')[2]}" in part.command
        else:
            config = dict(flag.partition("=")[::2] for flag in part.command[3:])
            changes = [f"{key.removeprefix('--config.')}={value}" for key, value in config.items() if "." in key]
            configs.validate(configs.read(config["--config"], changes))
