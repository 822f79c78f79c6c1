"""What is measured on the first accelerator at hand: at small size, and cut off."""

import json

import pytest

from benchmarks import first_gpu


@pytest.mark.slow
def test_at_small_size_every_part_leaves_its_record(tmp_path):
    keep = tmp_path / "gpu.jsonl"
    done = list(first_gpu.measure([], 1200, "python", keep, small=True))
    assert [record["outcome"] for record in done] == ["measured"] * len(done), done
    kept = [json.loads(line) for line in keep.read_text(encoding="utf-8").splitlines()]
    assert [record["benchmark"] for record in kept] == ["check"] * 4 + ["step"]


def test_what_is_left_when_the_time_is_over_is_left_out(tmp_path):
    done = list(first_gpu.measure([], 0, "python", tmp_path / "gpu.jsonl", small=False))
    assert {record["outcome"] for record in done} == {"left out"}
    assert not (tmp_path / "gpu.jsonl").exists()


def test_a_part_that_fails_says_why_and_the_next_one_runs(monkeypatch, tmp_path):
    broken = first_gpu.Part("broken", 60, ("nothing",))
    monkeypatch.setattr(first_gpu, "parts", lambda *_: [broken, broken])
    done = list(first_gpu.measure([], 100, "python", None, small=True))
    assert [record["outcome"] for record in done] == ["failed", "failed"]
    assert "No module named nothing" in done[0]["reason"]


def test_the_most_valuable_comes_first_and_fits_into_its_time():
    names = [part.name for part in first_gpu.parts(["--config=xception", "--config.data.path=a.csv"], "py", False)]
    assert names[0] == "correctness" and names[-1] == "accuracy of VGG"
    parts = first_gpu.parts(["--config.data.path=a.csv"], "py", False)
    assert "--config.data.path=a.csv" in parts[-1].arguments
    assert parts[1].arguments[1] == "step" and "--measure-peak" in parts[1].arguments
