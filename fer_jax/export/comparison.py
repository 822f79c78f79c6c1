"""The formats of a bundle side by side: size, agreement with Flax, scores and speed."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fer_jax.bundle import runtime as runtimes
from fer_jax.data.examples import Examples
from fer_jax.evaluation import metrics
from fer_jax.export import quantize

BATCHES = (1, 8, 64)  # images, whose latency is measured
LATENCY_SECONDS = 0.5  # how long a batch is timed
TIMED_RUNS = (3, 100)  # at least, and at most
# what 8-bit integers may cost before it is said aloud
INT8_LOSS, INT8_SIZE = 0.005, 0.35


@dataclasses.dataclass(frozen=True)
class Format:
    """What was measured of one way to run the network.

    Attributes:
      role: of the file, a key of `bundle.FILES`; "flax" is the reference.
      file: name of the file, "" for the reference.
      bytes: size of the file.
      logits: float32 (N, classes) of the evaluated faces.
      largest_difference: of any logit from the reference's.
      scores: `metrics.scores` of them, or None for faces without labels.
      latency: median milliseconds of a batch of each of `BATCHES`; empty for the reference.
    """

    role: str
    file: str
    bytes: int
    logits: np.ndarray
    largest_difference: float
    scores: Mapping[str, Any] | None
    latency: Mapping[int, float]


def reference(logits: np.ndarray, labelled: Examples | None) -> Format:
    """The Flax network itself, by its logits of the evaluated faces and their labels, if there are any."""
    return Format("flax", "", 0, logits, 0.0, _scores(logits, labelled), {})


def measure(path: pathlib.Path, role: str, images: np.ndarray, labelled: Examples | None, flax: Format) -> Format:
    """Run the file at `path` and time it on this machine.

    Args:
      role: of the file, one of `scoring.GRAPHS`.
      images: uint8 (N, size, size, channels), N at least 1.
      labelled: the same faces with their labels, or None.
      flax: what `reference` gave for them.
    """
    logits = runtimes.logits(runtimes.open_graph(path, role, os.cpu_count()), images)
    timed = runtimes.open_graph(path, role)
    latency = {n: _latency(timed, np.resize(images[:n], (n, *images.shape[1:]))) for n in BATCHES}
    return Format(
        role,
        path.name,
        path.stat().st_size,
        logits,
        float(np.abs(logits - flax.logits).max()),
        _scores(logits, labelled),
        latency,
    )


def table(formats: Sequence[Format]) -> str:
    """One line a format, under a heading, and what the times mean."""
    rows = [("format", "file", "bytes", "largest difference", "accuracy", *(f"ms, batch {n}" for n in BATCHES))]
    for f in formats:
        accuracy = f"{f.scores['accuracy']:.4f}" if f.scores else ""
        if f.latency:
            rows.append(
                (
                    f.role,
                    f.file,
                    f"{f.bytes:,}",
                    f"{f.largest_difference:.1e}",
                    accuracy,
                    *(f"{f.latency[n]:.2f}" for n in BATCHES),
                )
            )
        else:
            rows.append((f.role, "", "", "", accuracy, *("" for _ in BATCHES)))
    return f"{_aligned(rows)}\nms: ONNX Runtime on {runtimes.THREADS} threads, StableHLO as JAX runs it here"


def recall_table(formats: Sequence[Format]) -> str:
    """Recall of every class in every format, one line a class; "" without scores."""
    scored = [f for f in formats if f.scores]
    if not scored:
        return ""
    classes = scored[0].scores["per_class"]
    return _aligned(
        [
            ("recall", "examples", *(f.role for f in scored)),
            *(
                (name, str(entry["examples"]), *(f"{f.scores['per_class'][name]['recall']:.4f}" for f in scored))
                for name, entry in classes.items()
            ),
        ]
    )


def record(formats: Sequence[Format]) -> dict[str, Any]:
    """What of it is kept in bundle.json: not the latency, which is this machine's."""
    return {
        f.role: {
            "largest_difference": f.largest_difference,
            "accuracy": f.scores["accuracy"] if f.scores else None,
            "recall": {name: entry["recall"] for name, entry in f.scores["per_class"].items()} if f.scores else None,
        }
        for f in formats
        if f.file
    }


def int8_remarks(formats: Sequence[Format], int8: pathlib.Path) -> list[str]:
    """Where the 8-bit file costs more than `INT8_LOSS` of accuracy or `INT8_SIZE` of the size, or wins no time: why."""
    by_role = {f.role: f for f in formats}
    full, small = by_role["onnx"], by_role["int8"]
    weight_bytes, depthwise = quantize.composition(int8)
    remarks = []
    if full.scores and (loss := full.scores["accuracy"] - small.scores["accuracy"]) > INT8_LOSS:
        changed = np.mean(full.logits.argmax(1) != small.logits.argmax(1))
        why = (
            f"each of the {depthwise} depthwise convolutions puts channels of very different ranges on one scale"
            if depthwise
            else "one scale a tensor is coarse where few activations are far larger than the rest"
        )
        remarks.append(
            f"int8 loses {100 * loss:.2f} points of accuracy, more than {100 * INT8_LOSS}, and changes "
            f"{100 * changed:.1f} % of the answers: {why}"
        )
    if (share := small.bytes / full.bytes) > INT8_SIZE:
        remarks.append(
            f"int8 has {share:.2f} of the float32 size, more than {INT8_SIZE}: {weight_bytes:,} of its "
            f"{small.bytes:,} bytes are weights, the rest is biases, scales and the graph itself, which do "
            "not shrink"
        )
    if (slower := small.latency[8] / full.latency[8]) > 1:
        remarks.append(
            f"int8 takes {slower:.1f} times as long as float32 for 8 faces on this machine: it saves space, not time"
        )
    return remarks


def compact_remarks(formats: Sequence[Format], stored: str) -> list[str]:
    """What storing the weights in fewer bits changes, where faces were scored."""
    flax, onnx = formats
    if not flax.scores or not onnx.scores:
        return []
    changed = np.mean(flax.logits.argmax(1) != onnx.logits.argmax(1))
    gain = onnx.scores["accuracy"] - flax.scores["accuracy"]
    return [
        f"weights in {stored}: {onnx.bytes:,} bytes, accuracy {100 * gain:+.2f} points, {100 * changed:.1f} % of the "
        "answers change"
    ]


def _latency(graph: runtimes.Graph, images: np.ndarray) -> float:
    """Median milliseconds of one batch, after a first one that may compile."""
    graph(images)
    least, most = TIMED_RUNS
    seconds: list[float] = []
    while len(seconds) < least or (sum(seconds) < LATENCY_SECONDS and len(seconds) < most):
        start = time.perf_counter()
        graph(images)
        seconds.append(time.perf_counter() - start)
    return 1e3 * float(np.median(seconds))


def _scores(logits: np.ndarray, labelled: Examples | None) -> dict[str, Any] | None:
    return None if labelled is None else metrics.scores(logits, labelled.labels, labelled.label_names)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns of equal width, the first two to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
