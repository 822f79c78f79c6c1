"""The arithmetic of a network, whatever device runs it and however its layers are rewritten there."""

from __future__ import annotations

import jax
from ml_collections import ConfigDict

from fer_jax.data.examples import Examples
from fer_jax.training import setup
from fer_jax.training.program import TrainProgram


def of_step(config: ConfigDict, examples: Examples, per_device: int) -> float:
    """Floating-point operations of one step on one device, as the network's plain operations need them.

    Counted for this machine's CPU, before compilation: a GPU's plugin counts nothing, and what is compiled has layers
    that are rewritten and calls of libraries.

    Args:
      config: of what is trained; with `config.seeds` above 1 all models count.
      examples: that it is trained on; only their shape matters.
      per_device: images of a step on the device.
    """
    config = config.copy_and_resolve_references()
    config.batch_size, config.dtype = per_device, "float32"
    made = setup.create(config, len(examples.label_names), platform="plain")
    seeds = range(config.seed, config.seed + config.seeds)
    steps = config.parallel.steps_per_dispatch
    program = TrainProgram(made, examples, seeds, steps, devices=jax.devices("cpu")[:1])
    # XLA counts one turn of a loop, and the steps of a chunk are turns.
    return program.lower().cost_analysis()["flops"]
