"""Images that occur more than once: to the byte, or as the same photograph cropped, scaled, compressed or mirrored.

Near duplicates are found in two steps. Small copies of all images, each without its mean and without the average
image (all faces look alike to that extent), are correlated by one matrix product; the few pairs above
`CANDIDATE_CORRELATION` are then compared at `COMPARED_SIZE` by normalized cross-correlation, with one image moved over
the other by up to `MARGIN` pixels.

On FER2013 pairs above `NEAR_CORRELATION` are the same photograph but for a few half-lit faces, other pairs reach 0.90,
and there is a valley between the two kinds about 0.89. Of its faces moved by 2 pixels 90 % are found, by 3 pixels 33 %;
turned by 3 degrees 87 %; enlarged by 5 % two thirds, by 10 % few.
"""

import itertools
from collections.abc import Iterator

import cv2
import numpy as np
import tqdm

from fer_jax.data import identity
from fer_jax.data.examples import Examples

SMALL_SIZE = 12  # pixels, of the copies that are correlated all with all
CANDIDATE_CORRELATION = 0.8
COMPARED_SIZE = 48  # pixels
MARGIN = 4  # pixels of COMPARED_SIZE
NEAR_CORRELATION = 0.92
BLANK_DEVIATION = 4.0  # gray levels; an image of a smaller standard deviation has nothing to compare

# Frames of one camera are all alike. A few pairs of each image, with images that come after it, connect them all, and
# of many candidates the most alike are compared: the time is then linear in them. An audit of 6,000 frames of three
# faces took 31 s on two busy cores.
MAX_PAIRS = 32
MAX_COMPARED = 256

_ROWS_AT_ONCE = 1024  # of the matrix of correlations


def gray(images: np.ndarray) -> np.ndarray:
    """uint8 (N, H, W) from uint8 (N, H, W, 1 or 3); color by ITU-R BT.601 luma."""
    return images[..., 0] if images.shape[-1] == 1 else np.stack(list(each_gray(images)))


def each_gray(images: np.ndarray) -> Iterator[np.ndarray]:
    """The images of `gray`, one (H, W) after the other."""
    for image in images:
        yield image[..., 0] if image.shape[-1] == 1 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def first_same(examples: Examples) -> np.ndarray:
    """int64 (N,): for each image the index of the first that is equal to the byte, its own where there is none."""
    _, first, which = np.unique(identity.digests(examples), return_index=True, return_inverse=True)
    return first[which]


def near_pairs(images: np.ndarray, others: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of near or exact duplicates; blank images are in none.

    Args:
      images: uint8 (N, H, W, C).
      others: uint8 (M, H, W, C) to find each image's duplicates in, or None for pairs within `images`.

    Returns:
      int64 (P, 2) indices into `images` and `others` (with None: first < second), sorted, and float32 (P,) their
      normalized correlation, above `NEAR_CORRELATION`. Of an image with more than `MAX_PAIRS` duplicates after it not
      all are there, but those that `groups` needs to connect it.
    """
    first = _compared(images)
    second = first if others is None else _compared(others)
    small, blank = _small(first)
    other_small, other_blank = (small, blank) if others is None else _small(second)
    average = (small.sum(0) + other_small.sum(0)) / (len(small) + len(other_small))
    small, other_small = _unit(small - average), _unit(other_small - average)
    small[blank] = other_small[other_blank] = 0
    found: dict[tuple[int, int], float] = {}
    shown_if = None if len(small) > 2000 else True  # None: on a terminal alone
    with tqdm.tqdm(total=2 * len(small), unit="image", desc="near duplicates", leave=False, disable=shown_if) as bar:
        for mirrored in (False, True):
            rows = small.reshape(-1, SMALL_SIZE, SMALL_SIZE)[:, :, ::-1].reshape(small.shape) if mirrored else small
            shown = first[:, :, ::-1] if mirrored else first
            for start in range(0, len(rows), _ROWS_AT_ONCE):
                alike = rows[start : start + _ROWS_AT_ONCE] @ other_small.T
                for i, values in enumerate(alike, start):
                    # within one set only pairs to the right of the diagonal
                    after = i + 1 if others is None else 0
                    for j, correlation in _near(shown[i], second, values[after:], after):
                        found[i, j] = max(correlation, found.get((i, j), 0.0))
                    bar.update()
    pairs = sorted(found)
    return np.array(pairs, np.int64).reshape(-1, 2), np.array([found[pair] for pair in pairs], np.float32)


def _near(image: np.ndarray, others: np.ndarray, alike: np.ndarray, first: int) -> Iterator[tuple[int, float]]:
    """Index into `others` and correlation of the duplicates of `image`, `MAX_PAIRS` at most.

    Args:
      image: uint8 (COMPARED_SIZE, COMPARED_SIZE).
      others: uint8 (M, COMPARED_SIZE, COMPARED_SIZE).
      alike: correlation of the small copies of `image` and of those of `others` from `first` on.
    """
    candidates = np.flatnonzero(alike > CANDIDATE_CORRELATION)
    if len(candidates) > MAX_PAIRS:
        candidates = candidates[np.argsort(-alike[candidates], kind="stable")[:MAX_COMPARED]]
    compared = ((j, _correlation(image, others[j])) for j in (candidates + first).tolist())
    return itertools.islice((pair for pair in compared if pair[1] > NEAR_CORRELATION), MAX_PAIRS)


def groups(count: int, pairs: np.ndarray) -> np.ndarray:
    """int64 (count,): the smallest index each of `count` images is connected to by `pairs` (P, 2), at least its own."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    component = connected_components(graph, directed=False)[1]
    return np.unique(component, return_index=True)[1][component]


def _compared(images: np.ndarray) -> np.ndarray:
    side = (COMPARED_SIZE, COMPARED_SIZE)
    compared = np.empty((len(images), *side), np.uint8)
    for row, image in zip(compared, each_gray(images), strict=True):
        row[...] = image if image.shape == side else cv2.resize(image, side, interpolation=cv2.INTER_AREA)
    return compared


def _small(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Small copies float32 (N, SMALL_SIZE²) without mean and of length 1, and which images are blank, bool (N,)."""
    small = np.stack([cv2.resize(image, (SMALL_SIZE, SMALL_SIZE), interpolation=cv2.INTER_AREA) for image in images])
    blank = images.reshape(len(images), -1).std(axis=1) < BLANK_DEVIATION
    return _unit(small.reshape(len(images), -1).astype(np.float32)), blank


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = rows - rows.mean(axis=1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


def _correlation(image: np.ndarray, other: np.ndarray) -> float:
    """Best normalized correlation of the middle of `image` with `other`, over shifts of up to MARGIN pixels."""
    middle = np.ascontiguousarray(image[MARGIN:-MARGIN, MARGIN:-MARGIN])
    if middle.std() < BLANK_DEVIATION:  # OpenCV calls a flat template equal to anything
        return 0.0
    return float(cv2.matchTemplate(other, middle, cv2.TM_CCOEFF_NORMED).max())
