"""One face's history: its label changes when the expression does, not with the noise of the pixels."""

from __future__ import annotations

import collections
import math

import numpy as np

from fer_jax.errors import UserError

TIME_CONSTANT_SECONDS = 0.5  # of the average: a change of expression shows after about half a second
# The label changes to one that is more probable by this margin. On a still picture with a camera's noise the difference
# of the two largest probabilities varies by 0.05 to 0.3 from frame to frame, a fifth of that in the average: without a
# margin, labels that are nearly equal would alternate.
MARGIN = 0.15
# One that leads by less takes over after leading for this long, so that a stale label does not persist.
LASTING_MARGIN, LASTING_SECONDS = 0.08, 1.0
LAST_LABELS = 10  # as in the reports this project follows: the most frequent of the last ten

METHODS = ("average", "last10", "none")


class SteadyLabel:
    """A label that changes when another one clearly leads, or leads for a while; -1 before the first update."""

    def __init__(self):
        self.label = -1
        self._led_since = math.inf  # when another label than this one began to lead

    def update(self, probabilities: np.ndarray, time: float) -> int:
        """The label, after probabilities (classes,) at `time`, in seconds, not before the last one's."""
        best = int(probabilities.argmax())
        lead = np.inf if self.label < 0 else probabilities[best] - probabilities[self.label]
        self._led_since = min(self._led_since, time) if lead > LASTING_MARGIN else math.inf
        if lead > MARGIN or time - self._led_since >= LASTING_SECONDS:
            self.label, self._led_since = best, math.inf
        return self.label


class History:
    """The recent probabilities of one face.

    Attributes:
      latest: float32 (classes,), of the last update; empty before the first.
      probabilities: float32 (classes,), smoothed; sums to 1; empty before the first update.
      label: index of the label to show, -1 before the first update.
    """

    def __init__(self, method: str = "average"):
        """`method` is "average" (exponential, in time, with a margin for the label), "last10" (the most frequent label
        of the last ten frames; the probabilities are still averaged) or "none"; UserError for another."""
        if method not in METHODS:
            raise UserError(f"unknown smoothing {method!r}: expected one of {', '.join(METHODS)}")
        self._method = method
        self._recent: collections.deque[int] = collections.deque(maxlen=LAST_LABELS)
        self._time = 0.0
        self._steady = SteadyLabel()
        self.latest = self.probabilities = np.empty(0, np.float32)
        self.label = -1

    def update(self, probabilities: np.ndarray, time: float) -> None:
        """Update with the probabilities (classes,) of a frame at `time`, in seconds, not before the last one's."""
        if not self.probabilities.size or self._method == "none":
            self.probabilities = probabilities
        else:
            weight = 1 - math.exp(-max(time - self._time, 0.0) / TIME_CONSTANT_SECONDS)
            self.probabilities = self.probabilities + np.float32(weight) * (probabilities - self.probabilities)
        self.latest, self._time = probabilities, time
        self._recent.append(int(probabilities.argmax()))
        self.label = self._choose()

    def _choose(self) -> int:
        if self._method == "last10":
            counts = np.bincount(self._recent, minlength=len(self.probabilities))
            # a tie keeps the label that is shown
            return self.label if self.label >= 0 and counts[self.label] == counts.max() else int(counts.argmax())
        if self._method == "none":
            return int(self.probabilities.argmax())
        return self._steady.update(self.probabilities, self._time)
