"""The folder of plain arrays: what is checked at an opening, and what a checksum of it stands for."""

import os

import numpy as np
import pytest

from fer_jax.data import identity, lazy, mapped, preparation
from fer_jax.data.examples import Examples


@pytest.fixture
def examples():
    rng = np.random.default_rng(0)
    return Examples(
        images=rng.integers(0, 256, (100, 4, 4, 1), np.uint8),
        labels=rng.integers(0, 2, 100, np.int32),
        split=np.full(100, "all"),
        label_names=("angry", "happy"),
    )


@pytest.fixture
def folder(tmp_path, examples, monkeypatch):
    monkeypatch.setattr(lazy, "_BYTES_AT_ONCE", 16)
    path = tmp_path / "set"
    with preparation.turn(path) as partial:
        preparation.write(partial, path, examples)
    return path


def flip(folder, image):
    """Change one pixel of an image and leave the file's time as it was."""
    path = folder / mapped.IMAGES
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(before.st_size - (100 - image) * 16)
        pixel = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([pixel ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("image", [0, 99])
def test_a_changed_block_that_is_checked_is_found(folder, image):
    flip(folder, image)
    with pytest.raises(mapped.DamagedError, match=r"images\.npy is not what was written"):
        mapped.open_folder(folder)


def test_only_some_blocks_of_a_large_set_are_read_and_all_of_a_copy(folder):
    flip(folder, 1)
    mapped.open_folder(folder)
    os.utime(folder / mapped.IMAGES, ns=(1, 1))
    with pytest.raises(mapped.DamagedError):
        mapped.open_folder(folder)


def test_an_empty_folder_is_damaged(tmp_path):
    with pytest.raises(mapped.DamagedError):
        mapped.open_folder(tmp_path)


def test_digests_of_images_are_kept_and_follow_selections(folder, examples, monkeypatch):
    opened = mapped.open_folder(folder)
    expected = identity.digests(examples.images)
    monkeypatch.setattr(identity, "hashlib", None)  # nothing is computed again
    np.testing.assert_array_equal(identity.digests(opened.images), expected)
    rows = np.array([7, 3, 99])
    np.testing.assert_array_equal(identity.digests(opened.take(rows).images), expected[rows])
    assert mapped.digests_of(opened.images[:50]) is None


def test_the_digest_is_that_of_the_content(folder, tmp_path, examples):
    first = mapped.digest(folder)
    os.utime(folder / mapped.IMAGES, ns=(1, 1))
    with preparation.turn(tmp_path / "again") as partial:
        preparation.write(partial, tmp_path / "again", examples)
    assert mapped.digest(tmp_path / "again") == first
    examples.images[50] ^= 1
    with preparation.turn(tmp_path / "other") as partial:
        preparation.write(partial, tmp_path / "other", examples)
    assert mapped.digest(tmp_path / "other") != first
