"""Measure speed in a checkout: python -m tools.benchmark step --config=xception --batch=128

`python -m tools.benchmark VERB --help` shows the flags of a verb. Records carry the command, device, versions and date.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import shlex
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, NoReturn

from fer_jax import environment
from fer_jax.errors import EXIT_USER_ERROR, UserError

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests" / "unit" / "training" / "golden.json"
NOT_MEASURING = ("json", "keep", "hlo")  # flags that a record's command leaves out
Records = Iterator[dict[str, Any]]

FLAGS: dict[str, dict[str, Any]] = {
    "config": {"default": "xception", "help": "what is trained: a recipe or a file; --config.KEY=VALUE changes it"},
    "batch": {"type": int, "help": "batch size; the config's unless given"},
    "steps": {"type": int, "help": "steps of a dispatch; the config's unless given"},
    "runs": {"type": int, "default": 3, "help": "repetitions; the median is reported, with all of them"},
    "seconds": {"type": float, "default": 5.0, "help": "least duration of one measurement"},
    "examples": {"type": int, "default": 100_000, "help": "images of the set that is made on the spot"},
    "size": {"type": int, "default": 112, "help": "of these images, in pixels"},
    "bars": {"default": "sets,streamed", "help": "what is measured: sets, streamed"},
    "measure-peak": {"action": "store_true", "help": "relate to the rates that this device is measured to reach"},
    "peer": {"required": True, "help": "the peer's command, whose last line is JSON with images_per_s"},
    "accuracy": {"type": float, "default": 0.656, "help": "the accuracy, in 0..1"},
    "bundle": {"required": True, "help": "the bundle that is served"},
    "source": {"required": True, "help": "the video"},
    "detector-model": {"default": "", "help": "YuNet's file, to measure it beside Haar"},
    "target": {"default": "v5e:2x4", "help": "a TPU slice such as v5e:2x4 or v6e:16x16, h100, h100x8"},
    "batch-per-device": {"type": int, "default": 1024, "help": "images of a step on each device"},
    "hlo": {"type": pathlib.Path, "help": "file for the compiled program in XLA's notation"},
    "minutes": {"type": float, "default": 10.0, "help": "what has not begun by then is left out"},
    "torch": {"default": sys.executable, "help": "Python with PyTorch, for the peers"},
    "small": {"action": "store_true", "help": "sizes that take seconds on a CPU: a trial of the command"},
    "json": {"action": "store_true", "help": "one line of JSON a record"},
    "keep": {"type": pathlib.Path, "help": "file that the records are added to, one line of JSON each"},
}


def _config(given: argparse.Namespace) -> Any:
    from fer_jax import config as configs

    changes = [f"{key}={value}" for key, value in given.changes]
    config = configs.read(given.config, changes)
    config.batch_size = getattr(given, "batch", None) or config.batch_size
    config.parallel.steps_per_dispatch = getattr(given, "steps", None) or config.parallel.steps_per_dispatch
    config.model.pretrained = config.optim.trainable_from = ""  # speed does not depend on what the weights are
    configs.validate(config)
    return config


def _config_flags(given: argparse.Namespace) -> list[str]:
    """The flags of the config, for a command that is started with the same."""
    return [f"--config={given.config}", *(f"--config.{key}={value}" for key, value in given.changes)]


def _config_and_faces(given: argparse.Namespace) -> tuple[Any, Any]:
    from fer_jax.data.sources import synthetic

    config = _config(given)
    return config, synthetic.read(config.data, config.input)


def _step(given: argparse.Namespace) -> Records:
    """Training images a second of whole steps with the config's augmentation, on synthetic faces."""
    from benchmarks import steps

    yield steps.measure(*_config_and_faces(given), given.seconds, given.runs, given.measure_peak)


def _compare(given: argparse.Namespace) -> Records:
    """`step` and a peer in turns, since the speed of a machine drifts."""
    from benchmarks import steps

    ours = [sys.executable, "-m", "tools.benchmark", "step", "--runs=2", f"--seconds={given.seconds}", "--json"]
    ours += [f"--{name}={value}" for name in ("batch", "steps") if (value := getattr(given, name))]
    yield steps.named(_config(given)) | steps.compare([*ours, *_config_flags(given)], given.peer, given.runs)


def _scaling(given: argparse.Namespace) -> Records:
    """`step` on 1, 2, 4, ... devices, for a fixed batch a device and for a fixed global batch."""
    import jax

    from benchmarks import steps

    config, examples = _config_and_faces(given)
    counts = [2**i for i in range(jax.local_device_count().bit_length())]
    for per_device in (True, False):
        yield from steps.scaling(config, examples, counts, per_device, given.seconds)


def _input(given: argparse.Namespace) -> Records:
    """The memory and time that a set larger than memory costs, and the speed of streaming over a resident set."""
    from benchmarks import large_sets

    bars = given.bars.split(",")
    if unknown := set(bars) - set(large_sets.BARS):
        raise UserError(f"--bars has {unknown.pop()!r}: expected some of {', '.join(large_sets.BARS)}")
    yield from large_sets.measure(_config(given), given.examples, given.size, given.seconds, given.runs, bars)


def _profile(given: argparse.Namespace) -> Records:
    """The time of a step by the operations of its program."""
    from benchmarks import operations

    yield operations.profile(*_config_and_faces(given))


def _startup(given: argparse.Namespace) -> Records:
    """Seconds to --help and to the first step of a run."""
    from benchmarks import steps, waiting

    yield steps.named(_config(given)) | waiting.startup(_config_flags(given), given.runs)


def _time_to_accuracy(given: argparse.Namespace) -> Records:
    """Seconds from the start of a run to --accuracy on its selection split, with a cold and a warm cache."""
    from benchmarks import steps, waiting

    config = _config(given)
    flags = _config_flags(given)
    for record in waiting.time_to_accuracy(flags, config.data.select_split, given.accuracy, given.runs):
        yield steps.named(config) | record


def _serve(given: argparse.Namespace) -> Records:
    """The webcam tool: frames a second, milliseconds to classify 8 faces, seconds to the first frame."""
    from benchmarks import waiting

    yield from waiting.serve(given.bundle, given.source, given.detector_model)


def _aot(given: argparse.Namespace) -> Records:
    """The training step compiled for a TPU slice or GPUs that are not there: its compiler's estimate."""
    from benchmarks import targets

    target = targets.find(given.target)
    targets.prepare(target)
    from benchmarks import aot

    yield aot.estimate(_config(given), target, given.batch_per_device, given.hlo)


def _check(given: argparse.Namespace) -> Records:
    """Training steps of every layer implementation and API against each other, on this device."""
    from benchmarks import steps

    yield from steps.check(GOLDEN if GOLDEN.exists() else None, given.small)


def _first_gpu(given: argparse.Namespace) -> Records:
    """All that is worth measuring on a new accelerator, the most valuable first; may be cut off anywhere."""
    from benchmarks import first_gpu

    yield from first_gpu.measure(_config_flags(given), given.minutes * 60, given.torch, given.keep, given.small)


class Verb(NamedTuple):
    """What a word of the command line runs, its flags, and whether it runs on the devices of this process."""

    run: Callable[[argparse.Namespace], Records]
    flags: tuple[str, ...]
    here: bool = True


OF_STEPS = ("config", "batch", "steps")
VERBS = {
    "step": Verb(_step, (*OF_STEPS, "runs", "seconds", "measure-peak")),
    "compare": Verb(_compare, (*OF_STEPS, "runs", "seconds", "peer")),
    "scaling": Verb(_scaling, (*OF_STEPS, "seconds")),
    "input": Verb(_input, (*OF_STEPS, "runs", "seconds", "examples", "size", "bars")),
    "profile": Verb(_profile, OF_STEPS),
    "startup": Verb(_startup, ("config", "runs")),
    "time-to-accuracy": Verb(_time_to_accuracy, ("config", "runs", "accuracy")),
    "serve": Verb(_serve, ("bundle", "source", "detector-model")),
    "aot": Verb(_aot, ("config", "target", "batch-per-device", "hlo"), here=False),
    "check": Verb(_check, ("small",)),
    "first-gpu": Verb(_first_gpu, ("config", "minutes", "torch", "small"), here=False),
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see --help")


def parser() -> argparse.ArgumentParser:
    """The parser of the command line; --config.KEY=VALUE is left to `parse`."""
    whole = _Parser("python -m tools.benchmark", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    verbs = whole.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, verb in VERBS.items():
        about = verb.run.__doc__
        sub = verbs.add_parser(name, help=about, description=about, allow_abbrev=False)
        for flag in (*verb.flags, "json", "keep"):
            sub.add_argument(f"--{flag}", **FLAGS[flag])
    return whole


def parse(words: list[str]) -> argparse.Namespace:
    """The flags of a command line, with `changes` of the config as (key, value); UserError for a wrong one."""
    given, rest = parser().parse_known_args(words)
    given.changes = []
    for word in rest:
        key, equals, value = word.removeprefix("--config.").partition("=")
        if not word.startswith("--config.") or not equals or not hasattr(given, "config"):
            raise UserError(f"{given.verb} has no flag {word!r}; see --help")
        given.changes.append((key, value))
    return given


def main(words: list[str]) -> int:
    """Measure and print; returns the exit code."""
    try:
        given = parse(words)
        verb = VERBS[given.verb]
        if verb.here:
            environment.init()
        measuring = [word for word in words if word.lstrip("-").partition("=")[0] not in NOT_MEASURING]
        command = shlex.join(["python", "-m", "tools.benchmark", *measuring])
        from benchmarks import records

        # Whole before the device is asked for its name: a parent must not hold it while its children need it.
        for record in list(verb.run(given)):
            line = json.dumps({"benchmark": given.verb, **record, "command": command, **records.stamp()})
            if given.keep:
                records.keep(given.keep, line)
            print(line if given.json else records.line(record), flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    return 0
