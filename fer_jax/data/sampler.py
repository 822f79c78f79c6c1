"""The order of the training examples: a pure function of (seed, step), so a checkpoint needs no iterator state.

The examples of epoch e stand in the order of a permutation drawn from a Philox generator keyed by (seed, e); the
permutations follow one another without a gap, and step s takes the positions s * batch_size .. (s + 1) * batch_size
of that endless sequence. No example is left out at the end of an epoch, and the order does not depend on the number
of hosts or devices, so a run may be resumed on another topology.
"""

from __future__ import annotations

import functools
import math

import numpy as np


@functools.lru_cache(maxsize=4)
def permutation(seed: int, epoch: int, examples: int) -> np.ndarray:
    """int32 (examples,): the order of one epoch. Sorted raw bits, which no release of numpy may change."""
    bits = np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(examples)
    order = np.argsort(bits, kind="stable").astype(np.int32)
    order.flags.writeable = False
    return order


def indices(seed: int, step: int, steps: int, batch_size: int, examples: int) -> np.ndarray:
    """int32 (steps, batch_size): the examples of the global batches of `steps` steps from `step` on."""
    start, stop = step * batch_size, (step + steps) * batch_size
    pieces = []
    while start < stop:
        epoch, offset = divmod(start, examples)
        count = min(stop - start, examples - offset)
        pieces.append(permutation(seed, epoch, examples)[offset : offset + count])
        start += count
    return np.concatenate(pieces).reshape(steps, batch_size)


def cut_epoch(examples: int, batch_size: int, most_steps: int) -> tuple[int, int]:
    """(chunks, steps): an epoch as `chunks` dispatches of `steps` steps each, at most `most_steps`.

    All chunks of a run have the same length so that the step compiles once. The product is the number of whole steps
    nearest to examples / batch_size that such a cut reaches, usually within one step.
    """
    exact = examples / batch_size
    fewest = max(1, math.ceil(exact / most_steps))
    cuts = [(chunks, max(1, round(exact / chunks))) for chunks in range(fewest, 2 * fewest + 1)]
    cuts = [cut for cut in cuts if cut[1] <= most_steps] or cuts[-1:]
    return min(cuts, key=lambda cut: (abs(cut[0] * cut[1] - exact) > 1, abs(cut[0] * cut[1] - exact), cut[0]))
