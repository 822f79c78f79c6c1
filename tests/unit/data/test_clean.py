"""Cleaning: what each step removes, from where, and that it says so."""

import numpy as np
import pytest

from fer_jax import labels
from fer_jax.data import clean, doubtful, identity
from fer_jax.data.examples import Examples
from fer_jax.data.sources import synthetic
from fer_jax.errors import UserError
from tests.datasets import data_of as data


def examples(n=70, size=48, votes=False):
    numbers = (np.arange(n) % 7).astype(np.int32)
    split = np.where(np.arange(n) < 0.8 * n, "Training", "PublicTest")
    soft = np.eye(7, dtype=np.float32)[numbers] if votes else None
    return Examples(synthetic.draw(numbers, size), numbers, split, labels.FER2013, votes=soft, description="faces")


@pytest.mark.parametrize(("size", "most"), [(48, 350), (96, 1400)])
def test_flat_images_are_dropped_above_the_share_of_350_pixels(size, most):
    record = examples(size=size)
    for number, count in ((0, most), (2, most + 1), (60, most + 1)):
        noise = np.random.default_rng(number).permutation(np.arange(size * size) % 255 + 1).astype(np.uint8)
        noise[:count] = 0
        record.images[number] = noise.reshape(size, size, 1)
    kept = clean.apply(record, data(clean=("drop_flat",)), 0)
    assert kept.description == "faces; drop_flat removed 1 of Training (1 fear); 1 of PublicTest (1 sad)"
    assert len(kept) == 68


def test_angry_and_disgust_become_one_class():
    record = examples(votes=True)
    merged = clean.apply(record, data(clean=("merge_angry_disgust",)), 0)
    assert merged.label_names == ("angry", "fear", "happy", "sad", "surprise", "neutral")
    assert merged.class_counts().tolist() == [20, 10, 10, 10, 10, 10]
    np.testing.assert_array_equal(merged.votes.argmax(axis=1), merged.labels)
    assert [merged.label_names[i] for i in merged.labels[:4]] == ["angry", "angry", "fear", "happy"]
    assert merged.description == "faces; merge_angry_disgust removed none"


def test_happy_is_subsampled_in_training_only_and_by_the_seed():
    record, config = examples(140), data(clean=("subsample_happy",), args={"subsample_happy_by": 11})
    first, again, other = (clean.apply(record, config, seed) for seed in (0, 0, 1))
    assert first.of_split("Training").class_counts().tolist() == [16, 16, 16, 5, 16, 16, 16]
    assert first.of_split("PublicTest").class_counts().tolist() == [4] * 7
    np.testing.assert_array_equal(first.images, again.images)
    assert (np.asarray(first.images) != np.asarray(other.images)).any()
    assert first.description == "faces; subsample_happy removed 11 of Training (11 happy)"


def test_leaks_are_dropped_from_training_exact_near_and_mirrored():
    record = examples()
    record.images[[3, 4]] = record.images[60]
    record.images[5] = record.images[61, :, ::-1]
    record.images[6] = np.clip(record.images[62] * 0.9 + 10, 0, 255)
    record.images[[7, 65]] = 0
    record.images[8] = record.images[9]  # both in training
    kept = clean.apply(record, data(clean=("drop_leaks",)), 0)
    assert kept.description.endswith("removed 5 of Training (1 angry, 1 happy, 1 sad, 1 surprise, 1 neutral)")
    assert (kept.split == "PublicTest").sum() == 14


def test_steps_go_in_the_order_of_the_config():
    config = data(clean=("merge_angry_disgust", "subsample_happy", "drop_leaks"), args={"subsample_happy_by": 3})
    steps = [part.partition(" ")[0] for part in clean.apply(examples(), config, 0).description.split("; ")[1:]]
    assert steps == ["merge_angry_disgust", "subsample_happy", "drop_leaks"]


@pytest.mark.parametrize("votes", [False, True])
def test_doubtful_labels_of_training_are_dropped_or_changed(tmp_path, votes):
    record = examples(votes=votes)
    hashes = identity.digests(record)
    rows = [doubtful.Row(f"{hashes[i]:016x}", labels.FER2013[i % 7], "joy", 0.01, 0.9, "") for i in (1, 2, 60)]
    rows.append(rows[0]._replace(image=f"{hashes[8]:016x}", label="sad"))  # has another label now
    doubtful.write(tmp_path / "doubtful.csv", rows)
    args = {"doubtful": str(tmp_path / "doubtful.csv")}
    kept = clean.apply(record, data(clean=("drop_doubtful",), args=args), 0)
    assert kept.description == "faces; drop_doubtful removed 2 of Training (1 disgust, 1 fear)"
    changed = clean.apply(record, data(clean=("relabel_doubtful",), args=args), 0)
    assert changed.description == "faces; relabel_doubtful changed 2 labels"
    assert changed.labels[[1, 2, 8, 60]].tolist() == [3, 3, 1, 4]
    np.testing.assert_array_equal(changed.targets().argmax(axis=1), changed.labels)
    assert record.labels[1] == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clean": ("subsample_happy",)}, "subsample_happy would remove 3000 of the 8 happy images of Training: lower"),
        ({"clean": ("drop_doubtful",)}, "asks for doubtful labels: give the csv"),
        ({"clean": ("relabel_doubtful",), "args": {"doubtful": "/no/such.csv"}}, "such.csv: no such file, expected"),
        ({"clean": ("merge_angry_disgust",) * 2}, "asks for the class disgust, but the data has angry, fear, happy"),
    ],
)
def test_what_cannot_be_cleaned_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        clean.apply(examples(), data(**changes), 0)
