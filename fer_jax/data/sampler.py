"""The order of the training examples: a pure function of (seed, step), so a checkpoint needs no iterator state.

The examples of epoch e stand in the order of a permutation drawn from a Philox generator keyed by (seed, e); the
permutations follow one another without a gap, and step s takes the positions s * batch_size .. (s + 1) * batch_size
of that endless sequence. No example is left out at the end of an epoch, and the order does not depend on the number
of hosts or devices, so a run may be resumed on another topology.

Shuffled by a buffer, the permutation is drawn in two steps: blocks of examples that follow one another are permuted,
and then the examples of every buffer's worth of blocks. A reader that fills one buffer after the other, in the order of
the examples, reads whole blocks; see `Order.windows`.

Balanced sampling deals the positions of an epoch to the classes in equal numbers instead. Each class has permutations
of its own that follow one another without a gap, so a rare example comes more often and a common one in fewer epochs.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator

import numpy as np

SAMPLINGS = ("uniform", "balanced")
# Keys of epochs are small numbers: those of other draws lie far from them.
KEY_OF_BLOCKS, KEY_WITHIN_BUFFERS = 1 << 62, 3 << 61


@functools.lru_cache(maxsize=4)
def permutation(seed: int, epoch: int, examples: int) -> np.ndarray:
    """int32 (examples,): the order of one epoch. Sorted raw bits, which no release of numpy may change."""
    bits = np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(examples)
    order = np.argsort(bits, kind="stable").astype(np.int32)
    order.flags.writeable = False
    return order


def buffered_permutation(seed: int, epoch: int, examples: int, buffer: int, block: int) -> np.ndarray:
    """int32 (examples,): an epoch whose every `buffer` positions hold blocks of `block` neighbours, shuffled."""
    key = np.array([seed, KEY_OF_BLOCKS + epoch], np.uint64)
    blocks = np.argsort(np.random.Philox(key=key).random_raw(-(-examples // block)), kind="stable")
    rows = (blocks[:, None] * block + np.arange(block)).ravel()
    rows = rows[rows < examples]  # the last block may be short
    key = np.array([seed, KEY_WITHIN_BUFFERS + epoch], np.uint64)
    bits = np.random.Philox(key=key).random_raw(examples)
    return rows[np.lexsort((bits, np.arange(examples) // buffer))].astype(np.int32)


class Order:
    """The order of one set's examples, of which `indices` cuts batches.

    Attributes:
      examples: how many there are, and how many positions an epoch has.
      buffer: positions that are shuffled together; 0 where all are.
    """

    def __init__(self, seed: int, labels: np.ndarray, sampling: str = "uniform", buffer: int = 0, block: int = 1):
        """No example is chosen yet.

        Args:
          seed: of the draws.
          labels: int32 (N,).
          sampling: one of `SAMPLINGS`, and uniform with a buffer.
          buffer: see above.
          block: examples that follow one another and come into a buffer together.
        """
        self.examples, self.buffer, self._block, self._seed = len(labels), buffer, block, seed
        self._members: list[np.ndarray] = []
        if sampling == "balanced":
            self._members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        self.epoch = functools.lru_cache(maxsize=4)(self._epoch)

    def indices(self, step: int, steps: int, batch_size: int) -> np.ndarray:
        """int32 (steps, batch_size): the examples of the global batches of `steps` steps from `step` on."""
        return _cut(self.epoch, step, steps, batch_size, self.examples)

    def windows(self, step: int, steps: int, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The positions of `indices`, cut where a buffer ends: (positions int64 (n,), examples int32 (n,)) of each."""
        start, stop = step * batch_size, (step + steps) * batch_size
        while start < stop:
            epoch, offset = divmod(start, self.examples)
            ends = self.examples, offset - offset % self.buffer + self.buffer, offset + stop - start
            count = min(ends) - offset
            yield np.arange(start, start + count), self.epoch(epoch)[offset : offset + count]
            start += count

    def _epoch(self, epoch: int) -> np.ndarray:
        """int32 (N,): the examples at the positions of an epoch."""
        if self.buffer:
            return buffered_permutation(self._seed, epoch, self.examples, self.buffer, self._block)
        positions = permutation(self._seed, epoch, self.examples)
        if not self._members:
            return positions
        order = np.empty(self.examples, np.int32)
        for number, members in enumerate(self._members):
            places = np.flatnonzero(positions % len(self._members) == number)
            turns = epoch * len(places) + np.arange(len(places))  # of all that the class has had since the beginning
            order[places] = members[self._permutations(number, len(members), turns)]
        return order

    def _permutations(self, number: int, count: int, turns: np.ndarray) -> np.ndarray:
        """The elements at `turns` (consecutive) of the endless sequence of permutations of `count` of a class."""
        if not len(turns):
            return turns
        first, last = turns[0] // count, turns[-1] // count
        blocks = -(-count // 4)  # a count of Philox gives four numbers
        # Keys of epochs are small: those of classes count from the other end.
        key = np.array([self._seed, 2**64 - 1 - number], np.uint64)
        bits = np.random.Philox(key=key, counter=int(first) * blocks).random_raw(int(last - first + 1) * blocks * 4)
        shuffled = np.argsort(bits.reshape(-1, blocks * 4)[:, :count], axis=1, kind="stable")
        return shuffled.ravel()[turns - first * count]


def indices(seed: int, step: int, steps: int, batch_size: int, examples: int) -> np.ndarray:
    """int32 (steps, batch_size): uniform sampling, see `Order.indices`."""
    return _cut(lambda epoch: permutation(seed, epoch, examples), step, steps, batch_size, examples)


def _cut(of_epoch: Callable[[int], np.ndarray], step: int, steps: int, batch_size: int, examples: int) -> np.ndarray:
    start, stop = step * batch_size, (step + steps) * batch_size
    pieces = []
    while start < stop:
        epoch, offset = divmod(start, examples)
        count = min(stop - start, examples - offset)
        pieces.append(of_epoch(epoch)[offset : offset + count])
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
