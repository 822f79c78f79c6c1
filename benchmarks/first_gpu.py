"""All that is worth measuring on a new accelerator, the most valuable first, each part with a record of its own.

A part runs as a command of its own, which holds the device alone and whose records are kept as soon as it ends:
whatever cuts this off, what is measured is kept.
"""

from __future__ import annotations

import json
import os
import pathlib
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks import records

BENCHMARK = (sys.executable, "-m", "tools.benchmark")
PEER_MODES = ("graph", "max-autotune", "max-autotune-no-cudagraphs", "eager")
# XLA leaves cuDNN's convolutions and loops out of CUDA graphs unless they are added.
COMMAND_BUFFERS = ("+CONVOLUTION", "+CONVOLUTION,+WHILE")
# Sizes that take seconds on a CPU: a rehearsal of every part before a GPU is paid for.
TINY = (
    "--config.data.source=synthetic",
    "--config.data.args={'examples': 70}",
    "--config.data.path=",
    "--config.input.size=16",
)
SMALL = {
    "xception": (*TINY, "--config.model.args={'block_features': (8,)}"),
    "vgg": (*TINY, "--config.input.crop=12", "--config.model.args={'stage_features': (8, 8), 'dense_features': (8,)}"),
}
SHORT = ("--config.epochs=1", "--config.optim.warmup_epochs=0", "--config.batch_size=8")


class Part(NamedTuple):
    """One measurement: its name, the seconds after which it is ended, a command, and what its environment adds.

    The last lines of JSON that the command prints are its records.
    """

    name: str
    seconds: float
    command: tuple[str, ...]
    environment: Mapping[str, str] = {}


def parts(config_flags: Sequence[str], torch: str, small: bool) -> list[Part]:
    """What is measured, in its order.

    Args:
      config_flags: of the config, as they were given: the data of the runs to an accuracy.
      torch: command of a Python with PyTorch.
      small: the same parts at sizes that take seconds on a CPU, with synthetic faces.
    """
    sizes = (16, 8, 24) if small else (1024, 256, 4096)

    def measured(verb: str, recipe: str, batch: int, *flags: str) -> tuple[str, ...]:
        words = (*BENCHMARK, verb, "--json", f"--config={recipe}", f"--batch={batch}", *flags)
        quick = ("--runs=1", "--seconds=0.1") if verb != "profile" else ()
        return (*words, "--steps=2", *quick, *SMALL[recipe]) if small else (*words, "--steps=32")

    def peer(model: str, mode: str) -> Part:
        seconds = "--seconds=0.1" if small else "--seconds=3"
        flags = (f"--model={model}", f"--mode={mode}", f"--batch={sizes[0]}", seconds)
        return Part(f"PyTorch's {model}, {mode}", 90, (*shlex.split(torch), "peers/torch_train.py", *flags))

    def step(recipe: str, batch: int, seconds: float) -> Part:
        return Part(f"{recipe}, {batch} images", seconds, measured("step", recipe, batch))

    data = tuple(flag for flag in config_flags if flag.startswith("--config."))
    device = "--config.data.pipeline=device"
    reach = (*BENCHMARK, "time-to-accuracy", "--json", "--config=xception", "--runs=1", device)
    reach += (*SMALL["xception"], *SHORT, "--accuracy=0.01") if small else data
    train = (sys.executable, "-m", "fer_jax.main", "--config=vgg", device)
    train += (*SMALL["vgg"], *SHORT) if small else data
    buffers = [
        Part(
            f"xception, {sizes[0]} images, command buffers {added}",
            60,
            measured("step", "xception", sizes[0]),
            {"XLA_FLAGS": f"--xla_gpu_enable_command_buffer={added}"},
        )
        for added in COMMAND_BUFFERS
    ]
    found = [
        Part("correctness", 60, (*BENCHMARK, "check", "--json", *(("--small",) if small else ()))),
        step("xception", sizes[0], 60),
        step("vgg", sizes[0], 60),
        *buffers,
        *(peer("mini_xception", mode) for mode in PEER_MODES),
        peer("vgg", "graph"),
        peer("vgg", "max-autotune"),
        Part("time to accuracy", 90, reach),
        *(Part(f"profile of {recipe}", 60, measured("profile", recipe, sizes[0])) for recipe in SMALL),
        *(step(recipe, batch, 60) for batch in sizes[1:] for recipe in SMALL),
        Part("streamed beside resident", 90, measured("input", "xception", sizes[0], "--bars=streamed")),
        Part("accuracy of VGG", 900, train),
    ]
    return [part._replace(seconds=600) for part in found] if small else found


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
      keep: file that every part's records are added to as soon as it ends.
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
    record: dict[str, Any] = {"part": part.name}
    if left <= 0:
        return record | {"seconds": 0.0, "outcome": "left out", "reason": "no time is left"}
    begin = clock()
    try:
        done = subprocess.run(
            part.command,
            env=os.environ | part.environment,
            capture_output=True,
            text=True,
            timeout=min(part.seconds, left),
            check=False,
            encoding="utf-8",
        )
    except OSError as error:
        return record | {"seconds": 0.0, "outcome": "failed", "reason": f"{part.command[0]}: {error.strerror}"}
    except subprocess.TimeoutExpired:
        return record | {"seconds": round(clock() - begin, 1), "outcome": "out of time"}
    record |= {"seconds": round(clock() - begin, 1), "outcome": "failed" if done.returncode else "measured"}
    if done.returncode:
        record["reason"] = next(reversed(done.stderr.strip().splitlines()), f"exit code {done.returncode}")
    elif keep:
        # Without the versions, which are asked of a device: this process must not hold the one its parts need.
        about = {"part": part.name, "environment": dict(part.environment), "command": shlex.join(part.command)}
        said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        for found in said or [{"output": done.stdout[-2000:]}]:
            records.keep(keep, json.dumps({**about, "date": records.now(), **found}))
    return record
