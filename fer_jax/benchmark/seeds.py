"""Several seeds in one program beside the same seeds one after the other."""

from __future__ import annotations

import statistics
from typing import Any

import jax
from ml_collections import ConfigDict

from fer_jax.benchmark import records, scaling
from fer_jax.data.examples import Examples


def measure(config: ConfigDict, examples: Examples, seconds: float, runs: int) -> dict[str, Any]:
    """Training speed of `config.seeds` models together and of one alone, in turns, on all local devices.

    Returns:
      "seeds", "images_per_s" (median, of all models) and "runs" of one program; "single_images_per_s" and "single_runs"
      of a model alone, which is also the speed of several one after the other; "gain", the median of each turn's ratio.
    """
    alone = config.copy_and_resolve_references()
    alone.seeds = 1
    chunks = [scaling.Chunk(each, examples, jax.local_devices()) for each in (config, alone)]
    together, single = zip(*[[chunk.images_per_second(seconds) for chunk in chunks] for _ in range(runs)], strict=True)
    of_one = records.spread("images_per_s", single)
    return {
        "config": config.name,
        "optimizer": config.optim.name,
        "model": config.model.name,
        "batch": config.batch_size,
        "seeds": config.seeds,
        **records.spread("images_per_s", together),
        "single_images_per_s": of_one["images_per_s"],
        "single_runs": of_one["runs"],
        "gain": statistics.median(a / b for a, b in zip(together, single, strict=True)),
    }
