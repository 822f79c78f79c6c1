"""Cleaning: what each step removes, from where, and that it says so."""

import numpy as np
import pytest

from configs.default import get_config
from fer_jax import labels
from fer_jax.data import clean
from fer_jax.data.examples import Examples
from fer_jax.data.sources import synthetic
from fer_jax.errors import UserError


def examples(n=70, size=48, votes=False):
    numbers = (np.arange(n) % 7).astype(np.int32)
    return Examples(
        images=synthetic.draw(numbers, size),
        labels=numbers,
        label_names=labels.FER2013,
        split=np.where(np.arange(n) < 0.8 * n, "Training", "PublicTest"),
        votes=np.eye(7, dtype=np.float32)[numbers] if votes else None,
        description="faces",
    )


def data(**values):
    config = get_config().data
    config.update(values)
    return config


@pytest.mark.parametrize(("size", "most"), [(48, 350), (96, 1400)])
def test_flat_images_are_dropped_above_the_share_of_350_pixels(size, most):
    record = examples(size=size)
    for number, count in ((0, most), (2, most + 1), (60, most + 1)):
        noise = np.random.default_rng(number).permutation(np.arange(size * size) % 255 + 1).astype(np.uint8)
        noise[:count] = 0
        record.images[number] = noise.reshape(size, size, 1)
    kept, report = clean.steps(record, data(clean=("drop_flat",)), 0)
    assert report == {"drop_flat": {"Training": {"fear": 1}, "PublicTest": {"sad": 1}}}
    assert len(kept) == 68


def test_angry_and_disgust_become_one_class():
    record = examples(votes=True)
    merged, report = clean.steps(record, data(clean=("merge_angry_disgust",)), 0)
    assert merged.label_names == ("angry", "fear", "happy", "sad", "surprise", "neutral")
    assert merged.class_counts().tolist() == [20, 10, 10, 10, 10, 10]
    np.testing.assert_array_equal(merged.votes.argmax(axis=1), merged.labels)
    assert [merged.label_names[i] for i in merged.labels[:4]] == ["angry", "angry", "fear", "happy"]
    assert report == {"merge_angry_disgust": {}}


def test_happy_is_subsampled_in_training_only_and_by_the_seed():
    record = examples(140)
    first, again, other = (
        clean.apply(record, data(clean=("subsample_happy",), args={"subsample_happy_by": 11}), seed)
        for seed in (0, 0, 1)
    )
    assert first.of_split("Training").class_counts().tolist() == [16, 16, 16, 5, 16, 16, 16]
    assert first.of_split("PublicTest").class_counts().tolist() == [4] * 7
    np.testing.assert_array_equal(first.images, again.images)
    assert (first.images != other.images).any()
    assert first.description == "faces; subsample_happy removed 11 of Training (11 happy)"


def test_leaks_are_dropped_from_training_exact_near_and_mirrored():
    record = examples()
    record.images[[3, 4]] = record.images[60]
    record.images[5] = record.images[61, :, ::-1]
    record.images[6] = np.clip(record.images[62] * 0.9 + 10, 0, 255)
    record.images[[7, 65]] = 0
    record.images[8] = record.images[9]  # both in training
    kept, report = clean.steps(record, data(clean=("drop_leaks",)), 0)
    assert report == {"drop_leaks": {"Training": {"angry": 1, "happy": 1, "sad": 1, "surprise": 1, "neutral": 1}}}
    assert (kept.split == "PublicTest").sum() == 14


def test_steps_go_in_the_order_of_the_config():
    config = data(clean=("merge_angry_disgust", "subsample_happy", "drop_leaks"), args={"subsample_happy_by": 3})
    assert list(clean.steps(examples(), config, 0)[1]) == ["merge_angry_disgust", "subsample_happy", "drop_leaks"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clean": ("polish",)}, "config.data.clean has 'polish': expected some of drop_flat, merge_angry_disgust"),
        ({"clean": ("subsample_happy",)}, "subsample_happy would remove 3000 of the 8 happy images of Training: lower"),
        ({"clean": ("merge_angry_disgust",) * 2}, "asks for the class disgust, but the data has angry, fear, happy"),
    ],
)
def test_what_cannot_be_cleaned_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        clean.apply(examples(), data(**changes), 0)
