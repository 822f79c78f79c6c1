"""The audit's table and summary, on synthetic faces with known faults."""

import csv
import json

import numpy as np
import pytest

from fer_jax import labels
from fer_jax.data import audit
from fer_jax.data.examples import Examples
from fer_jax.data.sources import synthetic


@pytest.fixture(scope="module")
def examples():
    numbers = (np.arange(70) % 7).astype(np.int32)
    images = synthetic.draw(numbers, 48, seed=4)
    images[7] = images[0]  # the same label, the same split
    images[10] = images[1]  # another label
    images[63] = images[2, :, ::-1]  # the same label, mirrored, in the other split
    numbers[63] = numbers[2]
    images[5] = 80  # blank
    images[6] = images[6] // 16 * 16  # 16 tones
    images[12, 10:40, :36] = 255  # 47 % of one tone
    split = np.where(np.arange(70) < 60, "Training", "PublicTest")
    return Examples(images, numbers, split, labels.FER2013, description="seventy faces")


@pytest.fixture(scope="module")
def result(examples):
    return audit.audit(examples)


def test_every_fault_is_found_and_nothing_else(result):
    assert {name: np.flatnonzero(found).tolist() for name, found in result.found.items()} == {
        "exact_duplicate": [0, 1, 7, 10],
        "near_duplicate": [2, 63],
        "contradicting": [1, 10],
        "across_splits": [2, 63],
        "blank": [5],
        "few_toned": [6, 12],
    }
    assert result.columns["exact_group"][[7, 10, 63]].tolist() == [0, 1, 63]
    assert result.columns["near_group"][[7, 10, 63]].tolist() == [0, 1, 2]


def test_the_summary_counts_groups_and_leaks(result, examples):
    summary = result.summary
    keys = ("groups", "images", "groups_with_contradicting_labels", "groups_across_splits")
    assert summary["exact_duplicates"] == dict(zip(keys, (2, 4, 1, 0), strict=True))
    assert summary["exact_and_near_duplicates"] == dict(zip(keys, (3, 6, 1, 1), strict=True))
    assert summary["images_with_a_duplicate_in"] == {"Training of PublicTest": 1, "PublicTest of Training": 1}
    assert (summary["blank"], summary["few_toned"]) == (1, 2)
    assert sum(summary["classes"]["Training"].values()) == 60
    text = audit.text(summary, examples)
    assert "seventy faces" in text
    assert "exact duplicates: 2 groups of 4 images, 1 with contradicting labels, 0 across splits" in text
    assert "Training images with a copy in PublicTest, exact or near: 1" in text


def test_files_hold_a_row_an_image_with_a_finding(result, examples, tmp_path):
    folder = tmp_path / "audit"
    audit.write(result, examples, folder)
    assert {path.name for path in folder.iterdir()} == {"findings.csv", "summary.json", "summary.txt"}
    with (folder / "findings.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["index"]) for row in rows] == [0, 1, 2, 5, 6, 7, 10, 12, 63]
    expected = {"index": "1", "split": "Training", "label": "disgust", "exact_group": "1", "near_group": "1"}
    expected |= dict.fromkeys(("exact_duplicate", "contradicting"), "1")
    expected |= dict.fromkeys(("near_duplicate", "across_splits", "blank", "few_toned"), "0")
    assert rows[1] == expected | {name: rows[1][name] for name in ("tones", "largest_tone")}
    assert json.loads((folder / "summary.json").read_text(encoding="utf-8")) == result.summary


def test_clean_data_gives_no_findings():
    numbers = (np.arange(14) % 7).astype(np.int32)
    found = audit.audit(Examples(synthetic.draw(numbers, 48), numbers, np.full(14, "all"), labels.FER2013))
    assert not any(mask.any() for mask in found.found.values())
    assert found.summary["images_with_a_duplicate_in"] == {}


def test_all_frames_of_a_camera_count_as_leaks_though_not_all_pairs_are_kept():
    faces, rng = synthetic.draw([3, 4], 48, seed=1).astype(float), np.random.default_rng(0)
    shown = [faces[i % 2] + rng.normal(0, 4, faces[0].shape) for i in range(120)]
    images = np.clip(shown, 0, 255).astype(np.uint8)
    split = np.where(np.arange(120) < 100, "Training", "PublicTest")
    record = Examples(images, np.arange(120, dtype=np.int32) % 2 + 3, split, labels.FER2013)
    found = audit.audit(record).summary["images_with_a_duplicate_in"]
    assert found == {"Training of PublicTest": 100, "PublicTest of Training": 20}
