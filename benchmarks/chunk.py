"""The compiled chunk of training steps that is measured, and the arithmetic of one step."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from benchmarks import programs
from fer_jax.data.examples import Examples
from fer_jax.training import setup
from fer_jax.training.program import TrainProgram


def program_of(config: ConfigDict, examples: Examples, made: setup.Setup, devices: list[Any], **options: Any) -> Any:
    """The training program of a run; `options` are those of `TrainProgram`."""
    steps = config.parallel.steps_per_dispatch
    return TrainProgram(made, examples, steps, devices=devices, **options)


def model_flops(config: ConfigDict, examples: Examples, per_device: int) -> float:
    """Floating-point operations of one step on one device, as the network's plain operations need them.

    Counted for the CPU of this machine before compilation: the plugin of a GPU counts nothing, and a compiled program
    has layers that are rewritten and calls of libraries.

    Args:
      config: of what is trained.
      examples: only their shape matters.
      per_device: images of a step on the device.
    """
    config = config.copy_and_resolve_references()
    config.batch_size, config.dtype = per_device, "float32"
    made = setup.create(config, len(examples.label_names), platform="plain")
    # XLA counts one turn of a loop, and the steps of a chunk are turns.
    return program_of(config, examples, made, jax.devices("cpu")[:1]).lower().cost_analysis()["flops"]


class Speed(NamedTuple):
    """Training images a second, by the clock and by the processor's time."""

    images_per_s: float
    images_per_cpu_s: float


class Chunk:
    """A compiled chunk of `config.parallel.steps_per_dispatch` steps with a fresh state, the set on the devices."""

    def __init__(self, config: ConfigDict, examples: Examples, devices: list[jax.Device], pipeline: str = "device"):  # pyright: ignore[reportInvalidTypeForm]
        made = setup.create(config, len(examples.label_names), platform=None)
        self._images = config.parallel.steps_per_dispatch * config.batch_size
        self._program = program_of(config, examples, made, devices, pipeline=pipeline)
        self._program.load(made.fresh_state())
        self._feeds = self._program.feeds(0, 10**6)
        self._feed = next(self._feeds)
        self._compiled = self._program.compile()

    def all_reduces(self) -> list[int]:
        """Bytes of each all-reduce of one step."""
        found = programs.operations(self._compiled.as_text())
        return [operation.bytes for operation in found if operation.kind == "all-reduce"]

    def bytes_accessed(self) -> float | None:
        """Bytes that the operations of one step on one device read and write, by XLA's cost analysis.

        None where the device's compiler does not say, as for NVIDIA's GPUs.
        """
        return (self._compiled.cost_analysis() or {}).get("bytes accessed")

    def dispatch(self) -> None:
        """Run the chunk once and wait for it; the next one's input is fetched meanwhile, as the training loop does."""
        metrics = self._program.run(self._feed)
        self._feed = next(self._feeds)
        np.asarray(metrics["loss"])

    def speed(self, seconds: float) -> Speed:
        """Measured over at least `seconds`, after one dispatch."""
        self.dispatch()
        start, start_cpu, dispatches = time.perf_counter(), time.process_time(), 0
        while (spent := time.perf_counter() - start) < seconds or not dispatches:
            self.dispatch()
            dispatches += 1
        images = dispatches * self._images
        return Speed(images / spent, images / (time.process_time() - start_cpu))
