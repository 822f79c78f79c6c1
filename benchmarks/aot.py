"""The training program compiled for devices that are not there, and what their compiler expects of it.

An estimate, not a measurement: cycles are what XLA's TPU backend notes beside each fusion, at the clock that the data
sheet's peak implies; for GPUs microseconds of the kernels that XLA makes itself, without cuDNN's convolutions.
"""

from __future__ import annotations

import collections
import pathlib
import re
import signal
import time
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from benchmarks import peaks, programs, targets
from benchmarks.chunk import model_flops, program_of
from fer_jax import files, labels, ops
from fer_jax.data.examples import Examples
from fer_jax.data.pipelines import RESIDENT_SHARE_OF_MEMORY
from fer_jax.errors import UserError
from fer_jax.models import network, registry
from fer_jax.training import setup
from fer_jax.training.program import TrainProgram

EXAMPLES = 28_709  # as many as FER2013 trains on
MOVES = (*programs.PREFETCHES, *programs.WAITS)
# Cycles that no operation is without: what XLA expects of the smallest fusions on v5e. Its other estimates have it in.
LEAST = 1825
SCOPES = ("fetch", "augmentation", "optimizer")  # of the step, beside the network's layers


def estimate(
    config: ConfigDict, target: targets.Target, per_device: int, hlo: pathlib.Path | None = None
) -> dict[str, Any]:
    """Compile the chunk that training on `target` would run, and read it.

    Args:
      config: the run's; its batch size is replaced, and its teachers are left out.
      target: prepared by `targets.prepare` before JAX was imported.
      per_device: images of a step on each device.
      hlo: file for the compiled program's text.

    Returns:
      A JSON-able record, a step and a device where nothing else is said: "target", "devices", "api", "dtype",
      "pipeline", "batch_size" (global), "compile_seconds", "estimated_cycles_a_step" (the compiler's, None for
      GPUs), "other_cycles_a_step" and "exposed_cycles_a_step" (of TPUs; see `_other` and `_exposed`), "layers" {name:
      share of the compiler's cycles}, "unestimated" (a list of {"kind", "where", "times", "bytes"}),
      "images_per_s_estimate" (of all devices and all three kinds of cycles), "peak_share_estimate", "flops_a_step" (of
      the compiled program, None for GPUs), "model_flops_a_step" (of the network's plain operations),
      "hbm_bytes_a_step" (between the operations and the memory that is not in the chip; gathered rows count alone),
      "kernel_microseconds_a_step" (None for TPUs), "kernels_a_step", "all_reduces", "all_reduce_bytes",
      "temporary_bytes", "used_bytes" and "memory_bytes".

    Raises:
      UserError: the program does not fit the memory of a device, with the largest batch that would, about.
    """
    config = config.copy_and_resolve_references()
    config.batch_size, config.teacher.runs = per_device * target.devices, ()
    config.model.pretrained = ""
    devices = targets.devices_of(target)
    examples = _examples(config)
    # What is resident where it fits; the program of the streaming pipeline differs in its arguments alone.
    pipeline = "device" if examples.images.nbytes <= RESIDENT_SHARE_OF_MEMORY * target.chip.memory else "tf"
    made = setup.create(config, len(examples.label_names), platform=ops.platform_of(devices[0]))
    program = program_of(config, examples, made, devices, pipeline=pipeline)
    compiled, seconds = _compile(program, target, per_device)
    text = compiled.as_text()
    if hlo:
        with files.atomic_path(hlo) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return {
        "config": config.name,
        "optimizer": config.optim.name,
        "target": target.name,
        "devices": target.devices,
        "api": config.parallel.api,
        "dtype": "float32" if made.model.dtype is None else np.dtype(made.model.dtype).name,
        "implementation": made.model.implementation,
        "pipeline": pipeline,
        "batch_size": config.batch_size,
        "compiler": targets.compiler(target),
        "compile_seconds": round(seconds, 1),
        **_memory(compiled, target, per_device),
        **_work(text, compiled, config, made, target, examples),
    }


def _examples(config: ConfigDict) -> Examples:
    size, channels = config.input.size, config.input.channels
    return Examples(
        images=np.zeros((EXAMPLES, size, size, channels), np.uint8),
        labels=(np.arange(EXAMPLES) % len(labels.FER2013)).astype(np.int32),
        split=np.full(EXAMPLES, config.data.train_split),
        label_names=labels.FER2013,
    )


def _compile(program: TrainProgram, target: targets.Target, per_device: int) -> tuple[Any, float]:
    # The compiler hears no signal of Python's and takes minutes: the system ends the process instead.
    before = [signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM)]
    begin = time.perf_counter()
    try:
        return program.compile(), time.perf_counter() - begin
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        reason = str(error).splitlines()[0].removeprefix("RESOURCE_EXHAUSTED: ")
        raise UserError(f"--batch-per-device={per_device} does not fit a device of {target.name}: {reason}") from None
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
            signal.signal(number, handler)


def _memory(compiled: Any, target: targets.Target, per_device: int) -> dict[str, Any]:
    sizes = compiled.memory_analysis()
    used = (
        sizes.argument_size_in_bytes + sizes.output_size_in_bytes - sizes.alias_size_in_bytes + sizes.temp_size_in_bytes
    )
    if used > target.chip.memory:
        raise UserError(
            f"--batch-per-device={per_device} does not fit a device of {target.name}: the program needs "
            f"{used / 2**30:.1f} GiB of {target.chip.memory / 2**30:.1f} GiB"
        )
    return {
        "temporary_bytes": sizes.temp_size_in_bytes,
        "used_bytes": used,
        "memory_bytes": int(target.chip.memory),
    }


def _work(
    text: str, compiled: Any, config: ConfigDict, made: setup.Setup, target: targets.Target, examples: Examples
) -> dict[str, Any]:
    steps = config.parallel.steps_per_dispatch
    done = [operation for operation in programs.operations(text) if operation.in_loop]
    costs = compiled.cost_analysis() or {}
    costs = costs[0] if isinstance(costs, list) else costs
    cycles = sum(operation.times * (operation.cycles or 0) for operation in done) / steps
    rate = peaks.DATA_SHEETS[target.chip.kind].bytes / target.chip.clock if cycles else 1.0
    beside = (
        {"other_cycles_a_step": _other(done, rate), "exposed_cycles_a_step": _exposed(done, rate)} if cycles else {}
    )
    beside = {name: round(value / steps) for name, value in beside.items()}
    seconds = (cycles + sum(beside.values())) / target.chip.clock if cycles else None
    flops = model_flops(config, examples, config.batch_size // target.devices)
    peak = peaks.DATA_SHEETS[target.chip.kind].flops
    reduces = [op for op in done if op.kind == "all-reduce"]
    layers = [layer.name for layer in network.layers_of(made.inference_model, registry.input_shape(config))]
    return {
        "estimated_cycles_a_step": round(cycles) or None,
        **beside,
        "layers": _shares(done, layers),
        "unestimated": _unestimated(done, layers, steps) if cycles else [],
        "images_per_s_estimate": seconds and config.batch_size / seconds,
        "model_flops_a_step": flops,
        "peak_share_estimate": seconds and flops / seconds / peak,
        "flops_a_step": costs.get("flops"),
        "hbm_bytes_a_step": round(sum(op.times * op.hbm_bytes for op in done) / steps),
        "kernel_microseconds_a_step": round(sum(op.times * (op.microseconds or 0.0) for op in done) / steps, 1) or None,
        "kernels_a_step": round(sum(op.times for op in done if op.kind not in MOVES) / steps),
        "all_reduces": round(sum(op.times for op in reduces) / steps),
        "all_reduce_bytes": round(sum(op.times * op.bytes for op in reduces) / steps),
    }


def where(name: str, layers: Iterable[str]) -> str:
    """The layer, or the part of the step, that an operation comes from; "other" where it does not say."""
    parts = re.split(r"[/()]", name)
    return next((part for part in parts if part in layers or part in SCOPES), "other")


def _shares(done: list[programs.Operation], layers: list[str]) -> dict[str, float]:
    """Of the cycles, by layer, the largest first."""
    cycles: collections.Counter[str] = collections.Counter()
    for operation in done:
        cycles[where(operation.name, layers)] += operation.times * (operation.cycles or 0)
    total = sum(cycles.values())
    return {name: round(count / total, 4) for name, count in cycles.most_common() if count} if total else {}


def _other(done: list[programs.Operation], rate: float) -> float:
    """Cycles of what the compiler estimates nothing of, such as a max-pool's gradient and custom calls.

    By all bytes of their results at `rate` bytes a cycle of the slow memory, and what it moves there of operands; at
    least `LEAST`, of numbers alone nothing, and of messages nothing, which are listed.
    """
    return sum(
        op.times * max(LEAST, max(op.bytes, op.hbm_bytes) / rate)
        for op in done
        if op.cycles is None and op.bytes > 8 and op.kind not in (*MOVES, "all-reduce")
    )


def _exposed(done: list[programs.Operation], rate: float) -> float:
    """Cycles that operations wait for prefetches, which come one after the other while no operation uses the memory."""
    waited, coming = 0.0, {}  # {label: cycles that are left}
    for op in done:
        if op.kind in programs.PREFETCHES:
            coming[op.label] = op.hbm_bytes / rate
        elif op.kind in programs.WAITS:
            while op.label in coming:
                waited += op.times * coming.pop(next(iter(coming)))
        else:
            idle = max(0.0, (op.cycles or 0) - op.hbm_bytes / rate)
            while coming and idle:
                first = next(iter(coming))
                taken = min(idle, coming[first])
                idle, coming[first] = idle - taken, coming[first] - taken
                if not coming[first]:
                    del coming[first]
    return waited


def _unestimated(done: list[programs.Operation], layers: list[str], steps: int) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], list[int]] = collections.defaultdict(lambda: [0, 0])
    for operation in done:
        if operation.cycles is None and operation.kind not in programs.WAITS:
            kind = "gather" if operation.name.endswith("gather") else operation.kind
            entry = found[kind, where(operation.name, layers)]
            entry[0] += operation.times
            entry[1] += operation.times * operation.bytes
    rows = [
        {"kind": kind, "where": place, "times": round(times / steps), "bytes": round(size / steps)}
        for (kind, place), (times, size) in found.items()
    ]
    return sorted((row for row in rows if row["times"]), key=lambda row: -row["bytes"])
