"""Where the wall clock went, by phase."""

from __future__ import annotations

import time
from collections.abc import Callable

PHASES = ("startup", "train", "eval", "checkpoint", "report")


class PhaseTimer:
    """Seconds spent in each phase; exactly one phase runs at a time.

    Attributes:
      seconds: by phase, without the time of the phase that is running.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self.seconds: dict[str, float] = dict.fromkeys(PHASES, 0.0)
        self._clock, self._phase, self._since = clock, "startup", clock()

    def enter(self, phase: str) -> None:
        """End the running phase and begin `phase`."""
        now = self._clock()
        self.seconds[self._phase] += now - self._since
        self._phase, self._since = phase, now

    def read(self) -> dict[str, float]:
        """Seconds by phase up to now."""
        self.enter(self._phase)
        return dict(self.seconds)
