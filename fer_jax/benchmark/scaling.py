"""What more devices bring: images a second over 1, 2, 4, ... devices, and what they tell each other in a step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from fer_jax.benchmark import programs
from fer_jax.data.examples import Examples
from fer_jax.training import setup
from fer_jax.training.program import TrainProgram


def measure(
    config: ConfigDict, examples: Examples, devices: Sequence[int], per_device: bool, seconds: float = 5.0
) -> list[dict[str, Any]]:
    """Training speed on the first n local devices for each n of `devices`, the set resident on the devices.

    Args:
      config: the run's; its batch is that of one device where `per_device`, else the global one.
      examples: what to train on.
      devices: numbers of devices; the first is what efficiency is relative to.
      per_device: keep the batch of a device fixed (weak scaling), or the global batch (strong scaling).
      seconds: at least so long is measured, after one dispatch that compiles.

    Returns:
      A JSON-able record each: "devices", "batch_size" (global), "images_per_second", "efficiency" (images a second and
      device, relative to the first record), "all_reduces" and "all_reduce_bytes" of a step.
    """
    records = []
    for count in devices:
        changed = config.copy_and_resolve_references()
        changed.batch_size = config.batch_size * count if per_device else config.batch_size
        chunk = Chunk(changed, examples, jax.local_devices()[:count])
        reduces = all_reduces(chunk.compiled_text())
        rate = chunk.images_per_second(seconds)
        first = records[0] if records else {"devices": count, "images_per_second": rate}
        records.append(
            {
                "devices": count,
                "batch_size": changed.batch_size,
                "images_per_second": rate,
                "efficiency": rate / count / (first["images_per_second"] / first["devices"]),
                "all_reduces": len(reduces),
                "all_reduce_bytes": sum(reduces),
            }
        )
    return records


class Chunk:
    """A compiled chunk of `config.parallel.steps_per_dispatch` steps on given devices, and a fresh state for it.

    With `config.seeds` above 1, of as many models trained together.
    """

    def __init__(self, config: ConfigDict, examples: Examples, devices: list[jax.Device]):
        seeds = range(config.seed, config.seed + config.seeds)
        made = setup.create(config, len(examples.label_names))
        self._images = config.parallel.steps_per_dispatch * config.batch_size * config.seeds
        self._program = TrainProgram(made, examples, seeds, config.parallel.steps_per_dispatch, devices=devices)
        # The same weights for all: speed does not depend on what they are.
        self._program.load([made.fresh_state()] * config.seeds)
        self._feed = next(self._program.feeds(0, 1))
        self._compiled = self._program.compile()

    def compiled_text(self) -> str:
        """The optimised program, in XLA's own notation."""
        return self._compiled.as_text()

    def bytes_accessed(self) -> float | None:
        """Bytes that the operations of one step on one device read and write, as compiled, by XLA's cost analysis.

        None where the device's compiler says nothing, as that of NVIDIA's GPUs.
        """
        # XLA counts one turn of a loop, and the steps of a chunk are turns.
        return (self._compiled.cost_analysis() or {}).get("bytes accessed")

    def images_per_second(self, seconds: float) -> float:
        """Training images a second, of all models, over at least `seconds`, without the first dispatch."""
        self._dispatch()
        start, dispatches = time.perf_counter(), 0
        while (spent := time.perf_counter() - start) < seconds or not dispatches:
            self._dispatch()
            dispatches += 1
        return dispatches * self._images / spent

    def _dispatch(self) -> None:
        np.asarray(self._program.run(self._feed)["loss"])


def all_reduces(compiled_text: str) -> list[int]:
    """Bytes of each all-reduce in an optimised program; inside a loop, of one turn."""
    return [operation.bytes for operation in programs.operations(compiled_text) if operation.kind == "all-reduce"]
