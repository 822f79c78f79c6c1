"""The metrics of the chunks, read so that the device never waits for the host."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np
from absl import logging
from tqdm import tqdm

from fer_jax.errors import UserError
from fer_jax.training.progress import Progress

FIRST_STEPS = "the first steps of this session are done"


class NonFiniteLossError(UserError):
    """The loss became infinite or not a number: the message names the steps and what may help."""


class ChunkMetrics:
    """Reads the metrics of a chunk after the next one has been dispatched, and adds them up in the progress.

    Attributes:
      read_any: whether the metrics of a chunk have been read.
    """

    def __init__(self, progresses: Sequence[Progress], batch_size: int, bar: tqdm):
        """`progresses` of the models, in the order of the metrics' second axis."""
        self._progresses, self._batch_size, self._bar = progresses, batch_size, bar
        self._pending: list[tuple[int, dict[str, jax.Array]]] = []
        self.read_any = False

    def dispatched(self, metrics: dict[str, jax.Array]) -> None:
        """Count a chunk, whose metrics are (steps, models), as done, and read the one before it."""
        steps = len(metrics["loss"])
        self._pending.append((self._progresses[0].step, metrics))
        for progress in self._progresses:
            progress.step += steps
            progress.examples += steps * self._batch_size
        while len(self._pending) > 1:
            self._read(*self._pending.pop(0))

    def idle(self) -> bool:
        """Whether the devices have finished all that was dispatched, and wait."""
        return all(metrics["loss"].is_ready() for _, metrics in self._pending)

    def read_all(self) -> None:
        """Wait for what was dispatched: the sums in the progress are those of its step."""
        while self._pending:
            self._read(*self._pending.pop(0))

    def _read(self, first_step: int, metrics: dict[str, jax.Array]) -> None:
        values = jax.device_get(metrics)
        if not self.read_any:
            self.read_any = True
            logging.info(FIRST_STEPS)
        self._require_finite(first_step, values)
        for i, progress in enumerate(self._progresses):
            progress.epoch_loss += float(values["loss"][:, i].astype(np.float64).sum())
            progress.epoch_correct += float(values["correct"][:, i].sum())
        self._bar.update(len(values["loss"]) * self._batch_size)

    @staticmethod
    def _require_finite(first_step: int, values: dict[str, np.ndarray]) -> None:
        bad = np.flatnonzero(~np.isfinite(values["loss"]).all(axis=1))
        if len(bad):
            before = values["gradient_norm"][: bad[0]].max(axis=1)
            norm = before[-1] if len(before) else float("nan")
            raise NonFiniteLossError(
                f"the loss was not finite in steps {first_step + bad[0]} to {first_step + bad[-1]} (gradient norm "
                f"before: {norm:.3g}); lower config.optim.learning_rate, set config.optim.clip_norm, or use "
                "config.dtype=float32"
            )
