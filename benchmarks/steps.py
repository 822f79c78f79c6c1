"""Whole training steps: alone, on several devices, beside a peer, and checked against each other."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shlex
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from benchmarks import peaks, records
from benchmarks.chunk import Chunk, model_flops, program_of
from fer_jax import labels, ops, recipes
from fer_jax.data.examples import Examples
from fer_jax.distributed import parallel
from fer_jax.errors import UserError
from fer_jax.training import setup


def named(config: ConfigDict) -> dict[str, Any]:
    """What a record says of its config."""
    return {
        "config": config.name,
        "optimizer": config.optim.name,
        "model": config.model.name,
        "dtype": config.dtype,
        "batch": config.batch_size,
    }


def measure(
    config: ConfigDict, examples: Examples, seconds: float, runs: int, measure_peak: bool = False
) -> dict[str, Any]:
    """Training speed on the devices that a run takes, the set resident on them, with the config's augmentation.

    Args:
      seconds: least duration of one run, after one dispatch that is not counted.
      runs: how often it is measured.
      measure_peak: relate to the rates that this device is measured to reach instead of its data sheet's.

    Returns:
      "images_per_s" (median) and "runs"; "images_per_cpu_s", which other programs on the machine change less;
      "compile_seconds" (less where the compile cache had it); of one step on one device "flops" (of the network in
      plain operations, the numerator of MFU as in Chowdhery et al., "PaLM", 2022) and "bytes" (that the compiled
      program reads and writes, by XLA's cost analysis, which knows no caches); "flops_per_s" and "bytes_per_s" of a
      device; and where its peaks are known or measured, "mfu" and "bandwidth_share" of them. A CPU's devices divide
      its measured peaks.
    """
    devices = parallel.devices_for(config.batch_size)
    start = time.perf_counter()
    chunk = Chunk(config, examples, devices)
    compile_seconds = time.perf_counter() - start
    speeds = [chunk.speed(seconds) for _ in range(runs)]
    found = records.spread("images_per_s", [speed.images_per_s for speed in speeds])
    steps_per_s = found["images_per_s"] / config.batch_size
    flops, moved = model_flops(config, examples, config.batch_size // len(devices)), chunk.bytes_accessed()
    record = {
        **named(config),
        "devices": len(devices),
        **found,
        "images_per_cpu_s": statistics.median(speed.images_per_cpu_s for speed in speeds),
        "steps_per_dispatch": config.parallel.steps_per_dispatch,
        "compile_seconds": compile_seconds,
        "flops": flops,
        "bytes": moved,
        "flops_per_s": flops * steps_per_s,
        "bytes_per_s": moved and moved * steps_per_s,
    }
    peak = peaks.measure(devices[0]) if measure_peak else peaks.DATA_SHEETS.get(devices[0].device_kind)
    if peak is not None:
        if devices[0].platform == "cpu":
            peak = peak._replace(flops=peak.flops / len(devices), bytes=peak.bytes / len(devices))
        record |= {
            "mfu": flops * steps_per_s / peak.flops,
            "bandwidth_share": moved and moved * steps_per_s / peak.bytes,
            "peak_flops_per_s": peak.flops,
            "peak_bytes_per_s": peak.bytes,
            "peak_source": peak.source,
        }
    return record


def scaling(
    config: ConfigDict, examples: Examples, devices: Sequence[int], per_device: bool, seconds: float
) -> Iterator[dict[str, Any]]:
    """Training speed on the first n local devices for each n of `devices`.

    Args:
      config: its batch is that of one device where `per_device`, else the global one.
      devices: numbers of devices; the first is what "efficiency" is relative to.
      per_device: keep the batch of a device fixed (weak scaling), or the global batch (strong scaling).

    Yields:
      "devices", "batch" (global), "images_per_s", "efficiency" (images a second and device, relative to the first
      record), "all_reduces" and "all_reduce_bytes" of a step.
    """
    first = None
    for count in devices:
        changed = config.copy_and_resolve_references()
        changed.batch_size = config.batch_size * count if per_device else config.batch_size
        chunk = Chunk(changed, examples, jax.local_devices()[:count])
        rate, reduces = chunk.speed(seconds).images_per_s, chunk.all_reduces()
        first = first or rate / count
        yield {
            **named(changed),
            "sync_batchnorm": config.parallel.sync_batchnorm,
            "fixed": "batch per device" if per_device else "global batch",
            "devices": count,
            "images_per_s": rate,
            "efficiency": rate / count / first,
            "all_reduces": len(reduces),
            "all_reduce_bytes": sum(reduces),
        }


def compare(ours: Sequence[str], peer: str, rounds: int) -> dict[str, Any]:
    """Run both commands in turns, since the speed of a machine drifts and ratios within a round do not.

    Args:
      ours: a command, which is not named in the record.
      peer: a command line. Either prints as its last line a JSON object with "images_per_s".

    Returns:
      "peer" (what it calls itself), "images_per_s" and "runs" of ours, "peer_images_per_s" and "peer_runs", "ratio"
      (the median of each round's) and "ratios"; "cpu_ratio", of images a second of the processor, where both say.

    Raises:
      UserError: a command is absent or fails, or its last line says no images a second.
    """
    pairs = [(_report_of(ours), _report_of(shlex.split(peer))) for _ in range(rounds)]
    own, other = ([pair[side]["images_per_s"] for pair in pairs] for side in (0, 1))
    ratios = [mine / theirs for mine, theirs in zip(own, other, strict=True)]
    by_cpu = [
        mine["images_per_cpu_s"] / theirs["images_per_cpu_s"]
        for mine, theirs in pairs
        if {"images_per_cpu_s"} <= mine.keys() & theirs.keys()
    ]
    return {
        "peer": pairs[0][1].get("peer", peer),
        **records.spread("images_per_s", own),
        "peer_images_per_s": statistics.median(other),
        "peer_runs": records.rounded(other),
        "ratio": statistics.median(ratios),
        "ratios": [round(ratio, 2) for ratio in ratios],
        **({"cpu_ratio": statistics.median(by_cpu)} if by_cpu else {}),
    }


def _report_of(command: Sequence[str]) -> dict[str, Any]:
    shown = shlex.join(command)
    try:
        done = subprocess.run(command, text=True, capture_output=True, check=False, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{shown} could not be started: {error.strerror}") from error
    if done.returncode:
        raise UserError(f"{shown} failed: {(done.stderr.splitlines() or ['it said nothing'])[-1]}")
    try:
        report = json.loads(done.stdout.splitlines()[-1])
        float(report["images_per_s"])
    except (IndexError, KeyError, TypeError, ValueError):
        raise UserError(f"{shown} ended without a line of JSON with images_per_s") from None
    return report


# The steps that tests/unit/training/test_golden.py pins.
BATCH, STEPS, EXAMPLES = 8, 3, 40
TOLERANCE = 5e-3  # of a loss after three steps in float32, whose sums have another order on every device


def check(golden: pathlib.Path | None = None, small: bool = False) -> Iterator[dict[str, Any]]:
    """Compare three float32 steps of every API and layer implementation on one device of this machine.

    Args:
      golden: JSON with the "losses" that the golden test pins.
      small: one block in place of four, of which nothing is pinned.

    Yields:
      "api", "implementation", "losses", "difference" (the largest from the plain layers under pmap),
      "golden_difference" (from the pinned losses, None without them) and "agrees".
    """
    pinned = json.loads(golden.read_text(encoding="utf-8"))["losses"] if golden and not small else None
    reference: list[float] = []
    own = ops.implementation("auto")
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
    config = recipes.xception.get_config("best")
    config.batch_size, config.seed, config.dtype = BATCH, 3, "float32"
    config.augment.erase, config.augment.mixup = 0.5, 0.2
    config.parallel.api, config.parallel.steps_per_dispatch = api, STEPS
    if small:
        config.model.args.block_features = (8,)
    bits = np.random.Philox(key=np.array([7, 11], np.uint64)).random_raw(EXAMPLES * 48 * 48 // 8)
    examples = Examples(
        images=bits.view(np.uint8).reshape(EXAMPLES, 48, 48, 1) // 4 + 96,
        labels=(np.arange(EXAMPLES) % 7).astype(np.int32),
        split=np.full(EXAMPLES, "Training"),
        label_names=labels.FER2013,
    )
    # Tensor cores would round the factors of every product to ten bits.
    with jax.default_matmul_precision("highest"):
        made = setup.create(config, 7, 20, 5)
        made = dataclasses.replace(made, model=made.model.clone(implementation=implementation))
        program = program_of(config, examples, made, jax.local_devices()[:1])
        program.load(made.fresh_state())
        (feed,) = program.feeds(0, 1)
        return [float(loss) for loss in np.asarray(program.run(feed)["loss"])]


def _largest(found: list[float], expected: list[float]) -> float:
    return max(abs(a - b) for a, b in zip(found, expected, strict=True))
