"""All that is worth measuring on a new accelerator, the most valuable first, each part with a record of its own.

A part runs as a command of its own, which holds the device alone and keeps its records when it ends: whatever cuts this
off, what is measured is kept.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks import records

SMALL = (
    "--batch=16",
    "--steps=2",
    "--config.data.args.examples=70",
    "--config.input.size=16",
    "--config.model.args={'block_features': (8,)}",
)


@dataclasses.dataclass(frozen=True)
class Part:
    """One measurement.

    Attributes:
      name: for people.
      seconds: it is ended after.
      arguments: of `python -m`.
    """

    name: str
    seconds: float
    arguments: tuple[str, ...]


def parts(config_flags: Sequence[str], torch: str, small: bool) -> list[Part]:
    """What is measured, in its order.

    Args:
      config_flags: of the config, as they were given: the data of the runs to an accuracy.
      torch: Python with PyTorch.
      small: sizes that take seconds on a CPU, and no peers and no runs on real data.
    """
    if small:
        return [
            Part("correctness", 600, ("tools.benchmark", "check", "--small")),
            Part("step", 600, ("tools.benchmark", "step", "--config=quickstart", *SMALL, "--runs=1", "--seconds=0.1")),
        ]
    data = tuple(flag for flag in config_flags if flag.startswith("--config."))
    xception, vgg = ("--config=xception", "--batch=1024"), ("--config=vgg", "--batch=1024", "--steps=8")
    return [
        Part("correctness", 240, ("tools.benchmark", "check")),
        Part("mini-Xception", 240, ("tools.benchmark", "step", *xception, "--measure-peak")),
        Part("VGG", 240, ("tools.benchmark", "step", *vgg, "--measure-peak")),
        Part("operations", 240, ("tools.benchmark", "ops", "--batch=1024")),
        Part(
            "mini-Xception beside PyTorch",
            300,
            ("tools.benchmark", "compare", *xception, _peer(torch, "mini_xception")),
        ),
        Part("VGG beside PyTorch", 300, ("tools.benchmark", "compare", *vgg, _peer(torch, "vgg"))),
        Part("profile", 180, ("tools.benchmark", "profile", *xception)),
        Part(
            "time to accuracy",
            420,
            (
                "tools.benchmark",
                "time-to-accuracy",
                "--config=xception",
                "--runs=1",
                "--config.data.pipeline=device",
                *data,
            ),
        ),
        Part("accuracy of VGG", 900, ("fer_jax.main", "--config=vgg", "--config.data.pipeline=device", *data)),
    ]


def _peer(torch: str, model: str) -> str:
    return f"--peer={torch} peers/torch_train.py --model={model} --batch=1024"


def measure(
    config_flags: Sequence[str],
    seconds: float,
    torch: str,
    keep: pathlib.Path | None,
    small: bool,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[dict[str, Any]]:
    """Run the parts until `seconds` are over.

    Args:
      keep: file that every part adds its records to as soon as it ends.
      clock: seconds that pass.

    Yields:
      A record for each part: "part", "seconds", "outcome" ("measured", "failed", "out of time" or "left out") and the
      "reason" for which it failed, the last line that it wrote.
    """
    begin = clock()
    for part in parts(config_flags, torch, small):
        left = seconds - (clock() - begin)
        yield _run(part, left, keep, clock)


def _run(part: Part, left: float, keep: pathlib.Path | None, clock: Callable[[], float]) -> dict[str, Any]:
    record = {"part": part.name}
    if left <= 0:
        return record | {"seconds": 0.0, "outcome": "left out", "reason": "no time is left"}
    arguments = list(part.arguments)
    measures = arguments[0] == "tools.benchmark"
    if measures:
        arguments += ["--json", *([f"--keep={keep}"] if keep else [])]
    begin = clock()
    try:
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            capture_output=True,
            text=True,
            timeout=min(part.seconds, left),
            check=False,
            encoding="utf-8",
        )
    except subprocess.TimeoutExpired:
        return record | {"seconds": round(clock() - begin, 1), "outcome": "out of time"}
    record |= {"seconds": round(clock() - begin, 1), "outcome": "measured" if done.returncode == 0 else "failed"}
    if done.returncode:
        record["reason"] = next(reversed(done.stderr.strip().splitlines()), f"exit code {done.returncode}")
    elif keep and not measures:
        line = {
            "benchmark": part.name,
            "command": " ".join(arguments),
            "output": done.stdout[-2000:],
            **records.stamp(),
        }
        records.keep(keep, json.dumps(line))
    return record
