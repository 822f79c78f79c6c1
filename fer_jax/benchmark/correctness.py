"""Whether this device computes what the plain layers on any device compute: a few steps of mini-Xception in float32."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from fer_jax import labels, recipes
from fer_jax.data.examples import Examples
from fer_jax.ops import platforms
from fer_jax.training import setup
from fer_jax.training.program import TrainProgram

BATCH, STEPS, EXAMPLES = 8, 3, 40
TOLERANCE = 5e-3  # of a loss after three steps in float32, whose sums have another order on every device


def config_of() -> ConfigDict:
    """Of the steps that the golden test pins: the default recipe with erasing and mixup."""
    config = recipes.xception.get_config("best")
    config.batch_size, config.seed, config.dtype = BATCH, 3, "float32"
    config.augment.erase, config.augment.mixup = 0.5, 0.2
    return config


def examples_of() -> Examples:
    """Of the golden test: noise that a seed gives."""
    bits = np.random.Philox(key=np.array([7, 11], np.uint64)).random_raw(EXAMPLES * 48 * 48 // 8)
    return Examples(
        images=bits.view(np.uint8).reshape(EXAMPLES, 48, 48, 1) // 4 + 96,
        labels=(np.arange(EXAMPLES) % 7).astype(np.int32),
        split=np.full(EXAMPLES, "Training"),
        label_names=labels.FER2013,
    )


def measure(golden: pathlib.Path | None = None, small: bool = False) -> Iterator[dict[str, Any]]:
    """A record for each API and each implementation of the layers, on one device of this machine.

    Args:
      golden: JSON with the "losses" that the golden test pins, where it is at hand.
      small: one block instead of four, which nothing is pinned of.

    Yields:
      "api", "implementation", "losses" of the steps, "difference" (the largest from the plain layers under pmap),
      "golden_difference" (from the pinned losses, None without them) and "agrees".
    """
    pinned = json.loads(golden.read_text(encoding="utf-8"))["losses"] if golden and not small else None
    own = platforms.implementation("auto")
    reference: list[float] | None = None
    for api, implementation in (("pmap", "plain"), ("shard_map", "plain"), ("pmap", own), ("shard_map", own)):
        losses = _losses(api, implementation, small)
        reference = reference or losses
        difference = _largest(losses, reference)
        from_golden = _largest(losses, pinned) if pinned else None
        yield {
            "api": api,
            "implementation": implementation,
            "losses": losses,
            "difference": difference,
            "golden_difference": from_golden,
            "agrees": max(difference, from_golden or 0) <= TOLERANCE,
        }


def _losses(api: str, implementation: str, small: bool) -> list[float]:
    config, examples = config_of(), examples_of()
    if small:
        config.model.args.block_features = (8,)
    config.parallel.api = api
    # Tensor cores would round the factors of every product to ten bits.
    with jax.default_matmul_precision("highest"):
        made = setup.create(config, 7, 20, 5)
        made = dataclasses.replace(made, model=made.model.clone(implementation=implementation))
        program = TrainProgram(made, examples, [config.seed], STEPS, devices=jax.local_devices()[:1])
        program.load([made.fresh_state()])
        (feed,) = program.feeds(0, 1)
        return [float(loss) for loss in np.asarray(program.run(feed)["loss"])[:, 0]]


def _largest(found: list[float], expected: list[float]) -> float:
    return max(abs(a - b) for a, b in zip(found, expected, strict=True))
