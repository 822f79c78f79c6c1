"""The compiled chunk of training steps with its state and its feeds, for the loop, the benchmarks and the tests."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fer_jax.data import pipelines
from fer_jax.data.examples import Examples
from fer_jax.distributed.parallel import Parallel
from fer_jax.training import losses, profiling, step
from fer_jax.training.setup import Setup
from fer_jax.training.state import TrainState

Tree = Any
STEP_AXIS = 0  # of a host's feed
MODEL_AXIS = 1  # of a host's feed and of the metrics, where several models are trained


class TrainProgram:
    """Several steps of one model, or of one model for each of several seeds, in one dispatch.

    Several models are a leading axis of every leaf of the state, over which the step is mapped. One model alone has no
    such axis, since XLA compiles a mapped convolution to a slower one; only this class knows the difference.

    Attributes:
      setup: what is compiled into the step, except the data.
      seeds: one a model.
      steps: of a chunk.
      parallel: the devices.
    """

    def __init__(
        self,
        setup: Setup,
        train_set: Examples,
        seeds: Sequence[int],
        steps: int,
        pipeline: str = "device",
        devices: list[jax.Device] | None = None,
    ):
        """Nothing is computed, compiled or placed yet.

        Args:
          setup: its `config` says the batch, the API and the augmentation; its seed is not looked at.
          train_set: the examples to train on.
          seeds: one a model.
          steps: of a chunk.
          pipeline: see `fer_jax.data.pipelines.create`.
          devices: to run on, or to compile for; all devices of all processes unless given.

        Raises:
          UserError: the batch does not divide by the devices, or the pipeline does not exist.
        """
        config = setup.config
        self.setup, self.seeds, self.steps = setup, tuple(seeds), steps
        self.parallel = Parallel(config.parallel.api, config.batch_size, devices)
        self._sources = [
            pipelines.create(
                pipeline,
                train_set,
                seed,
                config.batch_size,
                self.parallel.shard,
                config.data.sampling,
            )
            for seed in seeds
        ]
        adjustment = losses.logit_adjustment(train_set.class_counts(), config.loss.logit_adjustment)
        train_step = step.make_train_step(setup, self._sources[0].fetch, adjustment)
        self._run: Callable = self.parallel.compile(self._chunk(train_step), replicated=2, donate=(0,))
        self._unstack = jax.jit(lambda tree: [jax.tree.map(lambda x, i=i: x[i], tree) for i in range(len(self.seeds))])
        self._state: Tree = None
        self._resident: Tree = None

    @property
    def single(self) -> bool:
        """Whether there is one model, without an axis of models."""
        return len(self.seeds) == 1

    def load(self, states: Sequence[TrainState]) -> None:
        """Place one state a model, numpy arrays or those of a device, and the resident data on every device."""
        self._state = self.parallel.replicate(self._stack(states))
        if self._resident is None:
            self._resident = self.parallel.replicate(self._sources[0].resident)

    def feeds(self, start: int, chunks: int) -> Iterator[Tree]:
        """What `run` takes for each of `chunks` chunks from step `start` on, placed on the devices."""
        streams = [source.feeds(start, self.steps, chunks) for source in self._sources]
        for feeds in zip(*streams, strict=True):
            if self.single:
                yield self.parallel.split(feeds[0], axis=MODEL_AXIS)
            else:
                stacked = {name: np.stack([feed[name] for feed in feeds], axis=MODEL_AXIS) for name in feeds[0]}
                yield self.parallel.split(stacked, axis=MODEL_AXIS + 1)

    def run(self, feed: Tree) -> dict[str, jax.Array]:
        """Dispatch one chunk: the state moves on, and the metrics of its steps come back, float32 (steps, models).

        The metrics are those of `fer_jax.training.step.make_train_step`. Nothing is waited for.
        """
        self._state, metrics = self._run(self._state, self._resident, feed)
        return metrics

    def states(self) -> list[TrainState]:
        """The state of each model, on the devices. The next `run` overwrites the buffers of a single model's."""
        return [self._state] if self.single else self._unstack(self._state)

    def set_lr_scales(self, scales: Sequence[float]) -> None:
        """Set the factor of each model's learning rate."""
        stacked = self._stack([np.float32(scale) for scale in scales])
        self._state = self._state.replace(lr_scale=self.parallel.replicate(stacked))

    def profile(self, folder: pathlib.Path) -> None:
        """Trace the second chunk that is run into `folder`."""
        self._run = profiling.traced(self._run, folder)

    def lower(self) -> Any:
        """The chunk as `jax.stages.Lowered`, from shapes alone: also for devices that are not there."""
        state = jax.tree.map(self._with_models, self.setup.state_shapes())
        source = self._sources[0]
        feed, axis = source.feed_shapes(self.steps), MODEL_AXIS
        if not self.single:
            feed = {name: self._with_models(shape, MODEL_AXIS) for name, shape in feed.items()}
            axis += 1
        replicated = self.parallel.replicated_shapes((state, dict(source.resident)))
        return self._run.lower(*replicated, self.parallel.split_shapes(feed, axis))

    def compile(self) -> Any:
        """The chunk as `jax.stages.Compiled`, which `run` then calls."""
        self._run = self.lower().compile()
        return self._run

    def _chunk(self, train_step: Callable) -> Callable:
        def one_model(resident: Tree) -> Callable:
            def body(state: TrainState, feed: Tree) -> tuple[TrainState, Tree]:
                return train_step(state, resident, feed, self.seeds[0])

            return body

        def several_models(resident: Tree) -> Callable:
            def body(state: TrainState, feed: Tree) -> tuple[TrainState, Tree]:
                return jax.vmap(train_step, in_axes=(0, None, 0, 0))(state, resident, feed, jnp.asarray(self.seeds))

            return body

        def chunk(state: TrainState, resident: Tree, feed: Tree) -> tuple[TrainState, Tree]:
            body = one_model(resident) if self.single else several_models(resident)
            state, metrics = lax.scan(body, state, feed)
            return state, {name: x.reshape(self.steps, len(self.seeds)) for name, x in metrics.items()}

        return chunk

    def _stack(self, trees: Sequence[Tree]) -> Tree:
        return trees[0] if self.single else jax.tree.map(lambda *leaves: np.stack(leaves), *trees)

    def _with_models(self, shape: jax.ShapeDtypeStruct, axis: int = 0) -> jax.ShapeDtypeStruct:
        models = () if self.single else (len(self.seeds),)
        return jax.ShapeDtypeStruct((*shape.shape[:axis], *models, *shape.shape[axis:]), shape.dtype)
