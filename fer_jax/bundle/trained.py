"""The images that a bundle was trained on, as a compact set of hashes, so that an evaluation can leave them out.

A set of N hashes of 64 bits is kept by their leading bits, 20 more than it takes to number N, as the differences of
the sorted values: 3.3 bytes an image after compression, 95 kB for FER2013. An image that was not trained on is taken
for one that was with a probability of at most 2**-20. The images cannot be made from the hashes; anyone who has an
image can find out whether it was among them.
"""

from __future__ import annotations

import dataclasses
import os

import numpy as np

from fer_jax import files

EXTRA_BITS = 20


@dataclasses.dataclass(frozen=True)
class TrainedImages:
    """A set of hashes.

    Attributes:
      bits: how many leading bits of a hash are kept.
      kept: uint64 (N,), sorted, each below 2**bits.
    """

    bits: int
    kept: np.ndarray

    @classmethod
    def of(cls, hashes: np.ndarray) -> TrainedImages:
        """The set of uint64 (M,) hashes, as `fer_jax.data.identity.hashes` gives them."""
        bits = min(64, EXTRA_BITS + max(len(hashes), 1).bit_length())
        return cls(bits, np.unique(hashes.astype(np.uint64) >> np.uint64(64 - bits)))

    @classmethod
    def exact(cls, hashes: np.ndarray) -> TrainedImages:
        """The set of uint64 (M,) hashes in full, which takes nothing else for one of them."""
        return cls(64, np.unique(hashes))

    def holds(self, hashes: np.ndarray) -> np.ndarray:
        """bool (N,), which of uint64 (N,) hashes are in the set."""
        return np.isin(hashes.astype(np.uint64) >> np.uint64(64 - self.bits), self.kept)

    def save(self, path: str | os.PathLike) -> None:
        """Write an .npz file."""
        steps = np.diff(self.kept, prepend=np.uint64(0))
        fits = steps.max(initial=0) < 2**32
        np.savez_compressed(path, bits=np.int64(self.bits), steps=steps.astype(np.uint32) if fits else steps)


def load(path: str | os.PathLike) -> TrainedImages:
    """The set that `TrainedImages.save` wrote; UserError for a damaged file."""
    arrays = files.read_npz(path, "hashes of a bundle's training images", "copy the bundle again or export it again")
    return TrainedImages(int(arrays["bits"]), np.cumsum(arrays["steps"], dtype=np.uint64))
