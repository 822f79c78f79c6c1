"""The page of performance: every figure from a record, and what is missing said."""

import json
import pathlib

import pytest

from fer_jax.benchmark import page
from fer_jax.errors import UserError

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
COMMAND = "python -m tools.benchmark compare --config=configs/a.py"


def record(ratio, command=COMMAND, device="1 x cpu"):
    return json.dumps(
        {
            "benchmark": "compare",
            "config": "a",
            "batch": 128,
            "images_per_s": 1234.5,
            "runs": [1200, 1234.5, 1300],
            "peer": "Keras",
            "peer_images_per_s": 612.0,
            "peer_runs": [600, 612, 620],
            "ratio": ratio,
            "ratios": [2.0, 2.1],
            "command": command,
            "date": "2026-11-21T10:00:00+00:00",
            "processor": "a chip",
            "versions": {"device": device, "cpus": "2", "jax": "0.10.2", "python": "3.11"},
        }
    )


@pytest.mark.parametrize("kind", ["performance", "accelerators"])
def test_the_page_on_disk_is_the_one_the_records_make(kind):
    expected = page.of_records(REPOSITORY / "docs/records" / kind, kind)
    found = (REPOSITORY / "docs" / f"{kind}.md").read_text(encoding="utf-8")
    assert found == expected, f"python -m tools.benchmark page --kind={kind} writes it anew"


def test_estimates_are_called_estimates():
    text = (REPOSITORY / "docs/accelerators.md").read_text(encoding="utf-8")
    assert "**Nothing here\nwas measured on a device.**" in text
    for target in ("v5e:2x4", "h100"):
        assert f"| xception_best, muon | {target} | 1,024 | bfloat16 |" in text


def test_the_newest_record_of_a_command_counts_and_what_is_missing_is_said(tmp_path):
    (tmp_path / "cpu.jsonl").write_text(record(1.5) + "\n" + record(2.0167) + "\n", encoding="utf-8")
    (tmp_path / "pending.json").write_text(
        json.dumps(
            [
                {"what": "VGG", "bar": "1.3 times", "command": "python -m x"},
                {"what": "mini", "bar": "3 times", "command": "python -m y"},
            ]
        ),
        encoding="utf-8",
    )
    (tmp_path / "gpu.jsonl").write_text(record(3.25, "python -m y", "1 x NVIDIA H200") + "\n", encoding="utf-8")
    text = page.of_records(tmp_path)
    assert "| a | 128 | 1,234 (1,200 to 1,300) | Keras | 612 (600 to 620) | **2.02** | 2.0, 2.1 |" in text
    assert "**1.50**" not in text
    assert f"\n    {COMMAND}\n" in text
    assert "| VGG | 1.3 times | not measured yet | `python -m x` |" in text
    assert "1,234 images/s, 3.25 times the peer (1 x NVIDIA H200, 2026-11-21) | `python -m y` |" in text


def test_a_folder_without_records_and_a_line_that_is_none(tmp_path):
    with pytest.raises(UserError, match=r"no \*\.jsonl in it: measure with"):
        page.of_records(tmp_path)
    (tmp_path / "cpu.jsonl").write_text("{}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"cpu\.jsonl, line 1: no record"):
        page.of_records(tmp_path)
