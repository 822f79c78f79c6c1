"""The formats of a bundle side by side: size, agreement with Flax, scores and speed."""

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

BATCHES = (1, 8, 64)  # images, whose latency is measured
LATENCY_SECONDS = 0.2  # how long a batch is timed
TIMED_RUNS = (3, 100)  # at least, and at most


@dataclasses.dataclass(frozen=True)
class Format:
    """Measurements of one way to run the network.

    Attributes:
      role: of the file, a key of `bundle.FILES`; "flax" is the reference.
      file: name of the file, "" for the reference.
      bytes: size of the file.
      logits: float32 (N, classes) of the evaluated faces.
      largest_difference: of any logit from the reference's.
      changed: share of the faces whose most probable class is another than the reference's.
      scores: `metrics.scores` of them, or None for faces without labels.
      latency: median milliseconds of a batch of each of `BATCHES`; empty for the reference.
    """

    role: str
    file: str
    bytes: int
    logits: np.ndarray
    largest_difference: float
    changed: float
    scores: Mapping[str, Any] | None
    latency: Mapping[int, float]


def reference(logits: np.ndarray, labeled: Examples | None) -> Format:
    """The Flax network itself, by its logits of the evaluated faces and their labels, if there are any."""
    return Format("flax", "", 0, logits, 0.0, 0.0, _scores(logits, labeled), {})


def measure(path: pathlib.Path, role: str, images: np.ndarray, labeled: Examples | None, flax: Format) -> Format:
    """Run the file at `path` and time it on this machine.

    Args:
      role: of the file, one of `scoring.GRAPHS`.
      images: uint8 (N, size, size, channels), N at least 1.
      labeled: the same faces with their labels, or None.
      flax: what `reference` gave for them.
    """
    logits = runtimes.logits(runtimes.open_graph(path, role, os.cpu_count() or 1), images)
    timed = runtimes.open_graph(path, role)
    latency = {n: _latency(timed, np.resize(images[:n], (n, *images.shape[1:]))) for n in BATCHES}
    return Format(
        role,
        path.name,
        path.stat().st_size,
        logits,
        float(np.abs(logits - flax.logits).max()),
        float(np.mean(logits.argmax(1) != flax.logits.argmax(1))),
        _scores(logits, labeled),
        latency,
    )


def table(formats: Sequence[Format]) -> str:
    """One line a format, Flax first, under a heading, and what the times mean."""
    times = [f"ms, batch {n}" for n in BATCHES]
    rows: list[tuple[str, ...]] = [
        ("format", "file", "bytes", "largest difference", "other answers", "accuracy", *times)
    ]
    for f in formats:
        accuracy = f"{f.scores['accuracy']:.4f}" if f.scores else ""
        measured = (f"{f.bytes:,}", f"{f.largest_difference:.1e}", f"{100 * f.changed:.2f} %") if f.file else 3 * ("",)
        rows.append((f.role, f.file, *measured, accuracy, *(f"{f.latency[n]:.2f}" if f.file else "" for n in BATCHES)))
    return f"{_aligned(rows)}\nms: ONNX Runtime on {runtimes.THREADS} threads, StableHLO as JAX runs it here"


def recall_table(formats: Sequence[Format]) -> str:
    """Recall of every class in every format, one line a class; "" without scores."""
    scored = {f.role: f.scores["per_class"] for f in formats if f.scores}
    if not scored:
        return ""
    classes = next(iter(scored.values()))
    return _aligned(
        [
            ("recall", "examples", *scored),
            *(
                (name, str(entry["examples"]), *(f"{recalls[name]['recall']:.4f}" for recalls in scored.values()))
                for name, entry in classes.items()
            ),
        ]
    )


def record(formats: Sequence[Format]) -> dict[str, Any]:
    """Part of it that bundle.json keeps: not the latency, which is this machine's."""
    return {
        f.role: {
            "largest_difference": f.largest_difference,
            "accuracy": f.scores["accuracy"] if f.scores else None,
            "recall": {name: entry["recall"] for name, entry in f.scores["per_class"].items()} if f.scores else None,
        }
        for f in formats
        if f.file
    }


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


def _scores(logits: np.ndarray, labeled: Examples | None) -> dict[str, Any] | None:
    return None if labeled is None else metrics.scores(logits, labeled.labels, labeled.label_names)


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
