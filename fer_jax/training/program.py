"""The compiled chunk of training steps with its state and its feeds, for the loop, the benchmarks and the tests."""

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from absl import logging

from fer_jax.data import pipelines
from fer_jax.data.examples import Examples
from fer_jax.distributed.parallel import Parallel
from fer_jax.training import step
from fer_jax.training.setup import Setup, TrainState

Tree = Any
BATCH_AXIS = 1  # of a host's feed, whose first axis is the steps
TRACED_CALL = 2  # counted from 1: the first one compiles, or waits for what was dispatched before


class TrainProgram:
    """Several training steps in one dispatch.

    Attributes:
      setup: what is compiled into the step, except the data.
      steps: of a chunk.
      parallel: the devices.
      state: on every device; the next `run` overwrites its buffers.
    """

    def __init__(
        self,
        setup: Setup,
        train_set: Examples,
        steps: int,
        pipeline: str = "device",
        devices: list[jax.Device] | None = None,  # pyright: ignore[reportInvalidTypeForm]
    ):
        """Does not compute, compile or transfer anything.

        Args:
          setup: its `config` says the seed, the batch, the API and the augmentation.
          train_set: the examples to train on.
          steps: of a chunk.
          pipeline: see `fer_jax.data.pipelines.create`.
          devices: to run on, or to compile for; all devices of all processes unless given.

        Raises:
          UserError: the batch does not divide by the devices, or the pipeline does not exist.
        """
        config = setup.config
        self.setup, self.steps = setup, steps
        self.parallel = Parallel(config.parallel.api, config.batch_size, devices)
        self._source = pipelines.create(
            pipeline, train_set, config.seed, config.batch_size, self.parallel.shard, config.data.sampling
        )
        chunk = step.make_chunk(setup, self._source.fetch)
        self._run: Callable = self.parallel.compile(chunk, replicated=2, donate=(0,))
        self.state: Any = None
        self._resident: Tree = None

    def load(self, state: TrainState) -> None:
        """Place a state, numpy arrays or those of a device, and the resident data on every device."""
        self.state = self.parallel.replicate(state)
        if self._resident is None:
            self._resident = self.parallel.replicate(self._source.resident)

    def feeds(self, start: int, chunks: int) -> Iterator[Tree]:
        """Arguments of `run` for each of `chunks` chunks from step `start` on, placed on the devices."""
        for feed in self._source.feeds(start, self.steps, chunks):
            yield self.parallel.split(feed, axis=BATCH_AXIS)

    def run(self, feed: Tree) -> dict[str, jax.Array]:
        """Dispatch one chunk: the state moves on, and the metrics of its steps come back, float32 (steps,).

        The metrics are those of `fer_jax.training.step.make_chunk`. Nothing is waited for.
        """
        self.state, metrics = self._run(self.state, self._resident, feed)
        return metrics

    def set_lr_scale(self, scale: float) -> None:
        """Set the factor of the learning rate."""
        self.state = self.state.replace(lr_scale=self.parallel.replicate(np.float32(scale)))

    def lower(self) -> Any:
        """The chunk as `jax.stages.Lowered`, from shapes alone: also for devices that are not there."""
        replicated = self.parallel.replicated_shapes((self.setup.state_shapes, dict(self._source.resident)))
        return self._run.lower(
            *replicated, self.parallel.split_shapes(self._source.feed_shapes(self.steps), BATCH_AXIS)
        )

    def compile(self) -> Any:
        """The chunk as `jax.stages.Compiled`, which `run` then calls."""
        self._run = self.lower().compile()
        return self._run

    def profile(self, folder: pathlib.Path) -> None:
        """Trace the second chunk that is run by `jax.profiler` into `folder`, and log it.

        Look at it with `tensorboard --logdir` (package tensorboard-plugin-profile) or `xprof`, or open its
        `*.trace.json.gz` in https://ui.perfetto.dev.
        """
        function, calls = self._run, 0

        def traced(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls != TRACED_CALL:
                return function(*arguments)
            jax.block_until_ready(arguments)  # what was dispatched before is no part of it
            with jax.profiler.trace(folder):
                result = jax.block_until_ready(function(*arguments))
            logging.info("profile of one dispatch: %s", folder)
            return result

        self._run = traced
