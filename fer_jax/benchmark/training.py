"""Whole training steps: how many, what they compute and move, and how much of the device's best that is."""

from __future__ import annotations

import time
from typing import Any

import jax
from ml_collections import ConfigDict

from fer_jax.benchmark import model_flops, peaks, records, scaling
from fer_jax.data.examples import Examples


def measure(
    config: ConfigDict, examples: Examples, seconds: float, runs: int, measure_peak: bool = False
) -> dict[str, Any]:
    """Training speed on all local devices, the set resident on them, with the config's augmentation.

    Args:
      config: the run's.
      seconds: least duration of one run, after one dispatch that is not counted.
      runs: how often it is measured.
      measure_peak: relate to the rates that this device is measured to reach instead of its data sheet's.

    Returns:
      "images_per_s" (median) and "runs"; "compile_seconds" (less where the compile cache had it); of one step on one
      device "flops" (of the network in plain operations, the numerator of MFU as in Chowdhery et al., "PaLM", 2022) and
      "bytes" (that the compiled program reads and writes, by XLA's cost analysis, which knows no caches; None on
      NVIDIA's GPUs, whose compiler does not say);
      "flops_per_s" and "bytes_per_s" of a device; and where its peaks are known or measured, "mfu" and
      "bandwidth_share" of them, with "peak_flops_per_s", "peak_bytes_per_s" and "peak_source".
    """
    devices = jax.local_devices()
    start = time.perf_counter()
    chunk = scaling.Chunk(config, examples, devices)
    compile_seconds = time.perf_counter() - start
    speed = records.spread("images_per_s", [chunk.images_per_second(seconds) for _ in range(runs)])
    steps_per_s = speed["images_per_s"] / config.batch_size
    flops = model_flops.of_step(config, examples, config.batch_size // len(devices))
    moved = chunk.bytes_accessed()
    record = {
        "config": config.name,
        "optimizer": config.optim.name,
        "model": config.model.name,
        "batch": config.batch_size,
        "devices": len(devices),
        **speed,
        "steps_per_dispatch": config.parallel.steps_per_dispatch,
        "compile_seconds": compile_seconds,
        "flops": flops,
        "bytes": moved,
        "flops_per_s": flops * steps_per_s,
        "bytes_per_s": moved and moved * steps_per_s,
    }
    peak = peaks.measure(devices[0]) if measure_peak else peaks.known(devices[0])
    if peak is not None:
        record |= {
            "mfu": flops * steps_per_s / peak.flops,
            "bandwidth_share": moved and moved * steps_per_s / peak.bytes,
            "peak_flops_per_s": peak.flops,
            "peak_bytes_per_s": peak.bytes,
            "peak_source": peak.source,
        }
    return record
