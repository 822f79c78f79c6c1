"""Measure this machine, or ask a compiler about another: fer-jax benchmark step

fer-jax benchmark step --config=xception --batch=128
fer-jax benchmark serve --bundle=xception.bundle --source=talk.mp4

step              training images a second of whole steps
compare           step and a peer in turns
scaling           step on 1, 2, 4, ... devices
seeds             several seeds in one program beside one after the other
input             both input pipelines alone, or what a large set costs
profile           the time of a step by the operations of its program
ops               each rewritten operation beside the plain one of lax
startup           seconds to --help and to a run's first step
time-to-accuracy  seconds from the start of a run to --target
serve             frames a second, milliseconds for 8 faces, start of the tool
aot               a step compiled for devices that are not there: an estimate
check             steps of every layer implementation against each other
first-gpu         all that is worth measuring on a new accelerator
page              docs/performance.md or docs/accelerators.md, of the records

`benchmark WHAT --help` tells more of it and shows its flags. Records carry the
command, device, versions and date.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from absl import flags

from fer_jax import cli, environment, errors
from fer_jax import config as configs
from fer_jax.errors import UserError

if TYPE_CHECKING:
    from fer_jax.data.examples import Examples

NOT_MEASURING = ("json", "keep", "hlo")  # flags that a record's command leaves out
COMMON = ("json", "keep")
OF_STEPS = ("config", "batch", "steps")


@dataclasses.dataclass(frozen=True)
class Subcommand:
    """One word of the command line.

    Attributes:
      run: yields its records; None where it writes a page and none.
      about: what it does, for its --help.
      flags: names in `DEFINITIONS`, beside those of all.
      here: whether it runs on the devices of this machine.
    """

    run: Callable[[], Iterator[dict[str, Any]]] | None
    about: str
    flags: tuple[str, ...]
    here: bool = True


DEFINITIONS: dict[str, Callable[[], Any]] = {
    "config": lambda: configs.Flag("The config of what is trained.", default="xception"),
    "batch": lambda: flags.DEFINE_integer("batch", None, "Batch size. Default: the config's.", lower_bound=1),
    "steps": lambda: flags.DEFINE_integer("steps", None, "Steps of a dispatch. Default: the config's.", lower_bound=1),
    "runs": lambda: flags.DEFINE_integer(
        "runs", 3, "Number of repetitions; the median is reported, with all of them.", lower_bound=1
    ),
    "seconds": lambda: flags.DEFINE_float("seconds", 5.0, "Least duration of one measurement.", lower_bound=0.0),
    "examples": lambda: flags.DEFINE_integer(
        "examples",
        None,
        "Number of images of a set that is made and prepared on the spot, to be measured.",
        lower_bound=4000,
    ),
    "size": lambda: flags.DEFINE_integer("size", 112, "Of these images, in pixels.", lower_bound=16),
    "bars": lambda: flags.DEFINE_list("bars", [], "Which of what is measured of it. Default: all."),
    "measure-peak": lambda: flags.DEFINE_bool(
        "measure-peak",
        False,
        "Relate to the rates that matrix products and copies reach on this device, not to its data sheet.",
    ),
    "peer": lambda: flags.DEFINE_string(
        "peer",
        None,
        "The peer's command, such as '.venv-keras/bin/python peers/keras_train.py --model=mini_xception --batch=128'.",
    ),
    "accuracy": lambda: flags.DEFINE_float("target", 0.656, "The accuracy, in 0..1.", 0.0, 1.0),
    "bundle": lambda: cli.define_bundle(None, "What is served."),
    "source": lambda: cli.define_path("source", None, "The video."),
    "detector-model": lambda: cli.define_path("detector-model", "", "YuNet's file, to measure it beside Haar."),
    "target": lambda: flags.DEFINE_string(
        "target",
        "v5e:2x4",
        "Devices to compile for: a TPU slice such as v5e:2x4, v6e:16x16 or v5p:2x2x1, h100, h100x8.",
    ),
    "batch-per-device": lambda: flags.DEFINE_integer(
        "batch-per-device", 1024, "Images of a step on each device.", lower_bound=1
    ),
    "hlo": lambda: cli.define_output("hlo", None, "File for the compiled program in XLA's notation.", folder=False),
    "minutes": lambda: flags.DEFINE_float("minutes", 30.0, "What has not begun by then is left out.", lower_bound=0.0),
    "torch": lambda: flags.DEFINE_string(
        "torch", sys.executable, "Python with PyTorch, for the peers; they are left out where it has none."
    ),
    "small": lambda: flags.DEFINE_bool("small", False, "Sizes that take seconds on a CPU: a trial of the command."),
    "kind": lambda: flags.DEFINE_enum("kind", "performance", ("performance", "accelerators"), "Which page."),
    "records": lambda: cli.define_path("records", None, "Folder with the records. Default: docs/records/KIND."),
    "out": lambda: cli.define_path("out", None, "The page. Default: docs/KIND.md."),
    "json": lambda: flags.DEFINE_bool("json", False, "One line of JSON a record."),
    "keep": lambda: cli.define_output(
        "keep", None, "File that the records are added to, one line of JSON each.", folder=False
    ),
}


def main(what: str, argv: list[str]) -> None:
    """Measure and print, `argv` being the command's arguments."""
    if what not in SUBCOMMANDS:
        known = ", ".join(name for name, subcommand in SUBCOMMANDS.items() if subcommand.run)
        raise UserError(f"{what!r} cannot be measured: expected {known}{errors.did_you_mean(what, SUBCOMMANDS)}")
    subcommand = SUBCOMMANDS[what]
    if subcommand.run is None:
        _page()
        return
    if subcommand.here:
        environment.init()
    from fer_jax.benchmark import records

    command = shlex.join(["python", "-m", "tools.benchmark", what, *_measuring(argv)])
    # Whole before the device is asked for its name: a parent must not hold it while its children need it.
    for record in list(subcommand.run()):
        line = json.dumps({"benchmark": what, **record, "command": command, **records.stamp()})
        if _flag("keep"):
            records.keep(pathlib.Path(_flag("keep")), line)
        print(line if _flag("json") else records.line(record), flush=True)


def define(what: Iterable[str]) -> None:
    """Define the flags of these subcommands and of all; a name that two of them have is the first's."""
    for name in dict.fromkeys([*(name for word in what for name in SUBCOMMANDS[word].flags), *COMMON]):
        if name not in flags.FLAGS and not (name == "accuracy" and "target" in flags.FLAGS):
            DEFINITIONS[name]()


def _flag(name: str) -> Any:
    return flags.FLAGS[name].value


def _config() -> Any:
    return configs.read(_flag("config"), _flag("config_set"))


def _step() -> Iterator[dict[str, Any]]:
    from fer_jax.benchmark import training

    yield training.measure(*_config_and_faces(), _flag("seconds"), _flag("runs"), _flag("measure-peak"))


def _compare() -> Iterator[dict[str, Any]]:
    from fer_jax.benchmark import interleaved

    if not _flag("peer"):
        raise UserError("compare needs --peer, the command of what is measured beside step")
    ours = [
        sys.executable,
        "-m",
        "fer_jax.commands",
        "benchmark",
        "step",
        "--runs=2",
        f"--seconds={_flag('seconds')}",
        "--json",
    ]
    ours += [f"--{name}={_flag(name)}" for name in ("batch", "steps") if _flag(name)] + _config_flags()
    config = _config()
    yield {
        "config": config.name,
        "optimizer": config.optim.name,
        "model": config.model.name,
        "batch": _flag("batch") or config.batch_size,
        **interleaved.compare(ours, _flag("peer"), _flag("runs")),
    }


def _scaling() -> Iterator[dict[str, Any]]:
    import jax

    from fer_jax.benchmark import scaling

    config, examples = _config_and_faces()
    counts = [2**i for i in range(jax.local_device_count().bit_length())]
    for per_device in (True, False):
        for record in scaling.measure(config, examples, counts, per_device, _flag("seconds")):
            yield {
                "config": config.name,
                "optimizer": config.optim.name,
                "sync_batchnorm": config.parallel.sync_batchnorm,
                "fixed": "batch per device" if per_device else "global batch",
                **record,
            }


def _seeds() -> Iterator[dict[str, Any]]:
    from fer_jax.benchmark import seeds

    config, examples = _config_and_faces()
    if config.seeds == 1:
        raise UserError("seeds needs --config.seeds, how many models are trained together")
    yield seeds.measure(config, examples, _flag("seconds"), _flag("runs"))


def _input() -> Iterator[dict[str, Any]]:
    from fer_jax.benchmark import large_sets, pipelines

    if _flag("examples"):
        bars = _flag("bars") or large_sets.BARS
        if unknown := [bar for bar in bars if bar not in large_sets.BARS]:
            raise UserError(f"--bars has {unknown[0]!r}: expected some of {', '.join(large_sets.BARS)}")
        yield from large_sets.measure(_flag("examples"), _flag("size"), _flag("seconds"), _flag("runs"), bars)
        return
    config, examples = _config_and_faces()
    for name in ("tf", "device"):
        yield pipelines.measure(name, config, examples, _flag("seconds"), _flag("runs"))


def _profile() -> Iterator[dict[str, Any]]:
    from fer_jax.benchmark import tracing

    yield tracing.measure(*_config_and_faces())


def _ops() -> Iterator[dict[str, Any]]:
    from fer_jax.benchmark import layers

    yield from layers.measure(_flag("batch") or _config().batch_size, _flag("runs"))


def _startup() -> Iterator[dict[str, Any]]:
    from fer_jax.benchmark import latency

    yield {
        "config": _config().name,
        "optimizer": _config().optim.name,
        **latency.startup(_config_flags(), _flag("runs")),
    }


def _time_to_accuracy() -> Iterator[dict[str, Any]]:
    from fer_jax.benchmark import latency

    config = _config()
    for record in latency.time_to_accuracy(_config_flags(), config.data.select_split, _flag("target"), _flag("runs")):
        yield {"config": config.name, "optimizer": config.optim.name, **record}


def _serve() -> Iterator[dict[str, Any]]:
    from fer_jax.benchmark import serving

    if not _flag("bundle") or not _flag("source"):
        raise UserError("serve needs --bundle, a bundle, and --source, a video")
    yield serving.measure(_flag("bundle"), _flag("source"), _flag("detector-model"))


def _aot() -> Iterator[dict[str, Any]]:
    from fer_jax.benchmark import targets

    target = targets.find(_flag("target"))
    targets.prepare(target)
    from fer_jax.benchmark import aot

    config = _config()
    yield aot.estimate(config, target, _flag("batch-per-device"), _flag("hlo") and pathlib.Path(_flag("hlo")))


def _check() -> Iterator[dict[str, Any]]:
    from fer_jax.benchmark import correctness

    golden = pathlib.Path("tests/unit/training/golden.json")
    yield from correctness.measure(golden if golden.exists() else None, _flag("small"))


def _first_gpu() -> Iterator[dict[str, Any]]:
    from fer_jax.benchmark import first_gpu

    keep = _flag("keep")
    yield from first_gpu.measure(
        _config_flags(), _flag("minutes") * 60, _flag("torch"), pathlib.Path(keep) if keep else None, _flag("small")
    )


def _page() -> None:
    from fer_jax import files
    from fer_jax.benchmark import page

    kind = _flag("kind")
    folder, out = _flag("records") or f"docs/records/{kind}", _flag("out") or f"docs/{kind}.md"
    text = page.of_records(pathlib.Path(folder), kind)
    with files.atomic_path(out) as tmp:
        tmp.write_text(text, encoding="utf-8")
    print(f"written to {out}")


def _config_and_faces() -> tuple[Any, Examples]:
    from fer_jax.data.sources import synthetic

    config = _config()
    config.batch_size = _flag("batch") or config.batch_size
    config.parallel.steps_per_dispatch = _flag("steps") or config.parallel.steps_per_dispatch
    config.model.pretrained = config.optim.trainable_from = ""  # speed does not depend on what the weights are
    configs.validate(config)
    return config, synthetic.read(config.data, config.input)


def _config_flags() -> list[str]:
    """The flags of the config as they were given, for a command that is started with the same."""
    given = [argument for argument in sys.argv[1:] if argument.startswith(("--config", "--noconfig."))]
    return given if any(argument.startswith("--config=") for argument in given) else ["--config=xception", *given]


def _measuring(argv: list[str]) -> list[str]:
    return [argument for argument in argv if argument.lstrip("-").partition("=")[0] not in NOT_MEASURING]


MEASURED = ("runs", "seconds")
SUBCOMMANDS = {
    "step": Subcommand(
        _step,
        "Training images a second of whole steps with the config's augmentation, on synthetic faces; what a step\n"
        "computes and moves; MFU and share of the memory's bandwidth where the peaks are known.",
        (*OF_STEPS, *MEASURED, "measure-peak"),
    ),
    "compare": Subcommand(
        _compare,
        "`step` and a peer in turns: --peer is a command whose last line is JSON with images_per_s.",
        (*OF_STEPS, *MEASURED, "peer"),
    ),
    "scaling": Subcommand(
        _scaling,
        "`step` on 1, 2, 4, ... devices, for a fixed batch a device and for a fixed global batch.",
        (*OF_STEPS, "seconds"),
    ),
    "seeds": Subcommand(
        _seeds,
        "Several seeds in one program (--config.seeds) beside the same one after the other.",
        (*OF_STEPS, *MEASURED),
    ),
    "input": Subcommand(
        _input,
        "Both input pipelines alone; with --examples what a set larger than memory costs in memory and time.",
        (*OF_STEPS, *MEASURED, "examples", "size", "bars"),
    ),
    "profile": Subcommand(_profile, "The time of a step by the operations of its program.", OF_STEPS),
    "ops": Subcommand(_ops, "Each rewritten operation beside the plain one of lax.", ("config", "batch", "runs")),
    "startup": Subcommand(_startup, "Seconds to --help and to a run's first step.", ("config", "runs")),
    "time-to-accuracy": Subcommand(
        _time_to_accuracy,
        "Seconds from the start of a run to --target on its selection split, with a cold and a warm cache.",
        ("config", "runs", "accuracy"),
    ),
    "serve": Subcommand(
        _serve,
        "The webcam tool: frames a second, milliseconds to classify 8 faces, seconds to the first frame.",
        ("bundle", "source", "detector-model"),
    ),
    "aot": Subcommand(
        _aot,
        "The training step compiled for a TPU slice or GPUs that are not there: its compiler's estimate.",
        ("config", "target", "batch-per-device", "hlo"),
        here=False,
    ),
    "check": Subcommand(
        _check,
        "Training steps of every layer implementation and API against each other, on this device.",
        ("small",),
    ),
    "first-gpu": Subcommand(
        _first_gpu,
        "All that is worth measuring on a new accelerator, the most valuable first; may be cut off anywhere.",
        ("config", "minutes", "torch", "small"),
        here=False,
    ),
    "page": Subcommand(
        None,
        "docs/performance.md or, with --kind=accelerators, docs/accelerators.md, made of their records.",
        ("kind", "records", "out"),
    ),
}

if __name__ == "__main__":
    # What to measure is a word, as in other tools' subcommands; the rest are its flags.
    word = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else ""
    if word in SUBCOMMANDS:
        __doc__ = f"fer-jax benchmark {word}\n\n{SUBCOMMANDS[word].about}"
        define([word])
    else:
        define([] if cli.asks_for_help(sys.argv[1:]) else SUBCOMMANDS)
    cli.run(lambda argv: main(word, sys.argv[1:]))
else:
    define(SUBCOMMANDS)
