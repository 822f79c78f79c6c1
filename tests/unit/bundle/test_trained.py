"""A bundle knows the images it was trained on again, in three bytes each."""

import numpy as np
import pytest

from fer_jax.bundle import trained
from fer_jax.bundle.trained import TrainedImages
from fer_jax.errors import UserError


def hashes(count, seed=0):
    return np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)


@pytest.mark.parametrize("count", [0, 1, 2, 1000, 28_709])
def test_every_image_is_known_again_and_others_are_not(tmp_path, count):
    mine, others = hashes(count), hashes(100_000, seed=1)
    TrainedImages.of(mine).save(tmp_path / "trained.npz")
    found = trained.load(tmp_path / "trained.npz")
    assert found.holds(mine).all()
    assert found.holds(others).sum() <= 1, "one in a million is taken for one"
    assert (tmp_path / "trained.npz").stat().st_size < 3.4 * count + 1000


def test_in_full_nothing_is_taken_for_another():
    mine = hashes(10)
    assert TrainedImages.exact(mine).holds(mine).all()
    assert not TrainedImages.exact(mine).holds(mine ^ np.uint64(1)).any()


def test_the_file_is_the_same_each_time_and_damage_is_one_line(tmp_path):
    for name in ("a", "b"):
        TrainedImages.of(hashes(100)).save(tmp_path / f"{name}.npz")
    content = (tmp_path / "a.npz").read_bytes()
    assert content == (tmp_path / "b.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(content[:80])
    with pytest.raises(UserError, match=r"a\.npz: hashes of a bundle's training images that is damaged"):
        trained.load(tmp_path / "a.npz")
