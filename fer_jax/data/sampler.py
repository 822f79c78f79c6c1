"""The order of the training examples: a pure function of (seed, step), so a checkpoint needs no iterator state.

The examples of epoch e stand in the order of a permutation drawn from a Philox generator keyed by (seed, e); the
permutations follow one another without a gap, and step s takes the positions s * batch_size .. (s + 1) * batch_size
of that endless sequence. No example is left out at the end of an epoch, and the order does not depend on the number
of hosts or devices, so a run may be resumed on another topology.

Balanced sampling deals the positions of an epoch to the classes in equal numbers instead. Each class has permutations
of its own that follow one another without a gap, so a rare example comes more often and a common one in fewer epochs.
"""

import functools
import math

import numpy as np

SAMPLINGS = ("uniform", "balanced")


@functools.lru_cache(maxsize=4)
def permutation(seed: int, epoch: int, examples: int) -> np.ndarray:
    """int32 (examples,): the order of one epoch. Sorted raw bits, which no release of numpy may change."""
    bits = np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(examples)
    order = np.argsort(bits, kind="stable").astype(np.int32)
    order.flags.writeable = False
    return order


class Order:
    """The order of one set's examples, of which `indices` cuts batches.

    Attributes:
      examples: how many there are, and how many positions an epoch has.
    """

    def __init__(self, seed: int, labels: np.ndarray, sampling: str = "uniform"):
        """Order examples with `labels`, int32 (N,); `sampling` is one of `SAMPLINGS`."""
        self.examples, self._seed = len(labels), seed
        self._members: list[np.ndarray] = []
        if sampling == "balanced":
            self._members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        self.epoch = functools.lru_cache(maxsize=4)(self._epoch)

    def indices(self, step: int, steps: int, batch_size: int) -> np.ndarray:
        """int32 (steps, batch_size): the examples of the global batches of `steps` steps from `step` on."""
        start, stop = step * batch_size, (step + steps) * batch_size
        pieces = []
        while start < stop:
            epoch, offset = divmod(start, self.examples)
            count = min(stop - start, self.examples - offset)
            pieces.append(self.epoch(epoch)[offset : offset + count])
            start += count
        return np.concatenate(pieces).reshape(steps, batch_size)

    def _epoch(self, epoch: int) -> np.ndarray:
        """int32 (N,): the examples at the positions of an epoch."""
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
