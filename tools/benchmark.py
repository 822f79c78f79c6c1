"""Measure this machine: python -m tools.benchmark step --config=configs/xception.py --batch=128

step              training images a second of whole steps with the config's augmentation, on drawn faces;
                  what a step computes and moves; MFU and share of the memory's bandwidth where the peaks are known
compare           step and a peer in turns: --peer is a command whose last line is JSON with images_per_s
scaling           step on 1, 2, 4, ... devices, for a fixed batch a device and for a fixed global batch
seeds             several seeds in one program (--config.seeds) beside the same one after the other
input             both input pipelines alone
profile           the time of a step by the operations of its program
ops               each rewritten operation beside the plain one of lax
startup           seconds to --help and to a run's first step
time-to-accuracy  seconds from the start of a run to --target on its selection split, with a cold and a warm cache
serve             the webcam tool: frames a second, milliseconds to classify 8 faces, seconds to the first frame
page              docs/performance.md, made of the records in docs/records/performance

Prints a table for people, or with --json one line of JSON a record, each with the command, device, versions and date;
--keep=FILE.json adds them to a file of records.
"""

from __future__ import annotations

import json
import pathlib
import shlex
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from absl import flags

from fer_jax import cli, environment
from fer_jax import config as configs
from fer_jax.errors import UserError

if TYPE_CHECKING:
    from fer_jax.data.examples import Examples

_CONFIG = configs.Flag("The config of what is trained.", default="xception")
_BATCH = flags.DEFINE_integer("batch", None, "Batch size. Default: the config's.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", None, "Steps of a dispatch. Default: the config's.", lower_bound=1)
_RUNS = flags.DEFINE_integer(
    "runs", 3, "How often it is measured; the median is told, with all of them.", lower_bound=1
)
_SECONDS = flags.DEFINE_float("seconds", 5.0, "Least duration of one measurement.", lower_bound=0.0)
_MEASURE_PEAK = flags.DEFINE_bool(
    "measure-peak",
    False,
    "Of step: relate to the rates that matrix products and copies reach on this device, not to its data sheet.",
)
_PEER = flags.DEFINE_string(
    "peer",
    None,
    "Of compare: the peer's command, such as '.venv-keras/bin/python "
    "peers/keras_train.py --model=mini_xception --batch=128'.",
)
_TARGET = flags.DEFINE_float("target", 0.656, "Of time-to-accuracy: the accuracy, in 0..1.", 0.0, 1.0)
_BUNDLE = cli.define_bundle(None, "Of serve.")
_SOURCE = cli.define_path("source", None, "Of serve: the video.")
_DETECTOR_MODEL = cli.define_path("detector-model", "", "Of serve: YuNet's file, to measure it beside Haar.")
_JSON = flags.DEFINE_bool("json", False, "One line of JSON a record.")
_KEEP = cli.define_output("keep", None, "File that the records are added to, one line of JSON each.", folder=False)
_RECORDS = cli.define_path("records", "docs/records/performance", "Of page: the folder with *.jsonl, pending.json.")
_OUT = cli.define_path("out", "docs/performance.md", "Of page: the page.")

NOT_MEASURING = ("json", "keep")  # flags that a record's command leaves out


def main(what: str, argv: list[str]) -> None:
    """Measure and print, `argv` being the command's arguments."""

    environment.init()
    measured = {
        "step": _step,
        "compare": _compare,
        "scaling": _scaling,
        "seeds": _seeds,
        "input": _input,
        "profile": _profile,
        "ops": _ops,
        "startup": _startup,
        "time-to-accuracy": _time_to_accuracy,
        "serve": _serve,
    }
    if what == "page":
        _page()
        return
    if what not in measured:
        raise UserError(f"{what!r} cannot be measured: expected {', '.join(measured)}")
    from fer_jax.benchmark import records

    command = shlex.join(["python", "-m", "tools.benchmark", what, *_measuring(argv)])
    # Whole before the device is asked for its name: a parent must not hold it while its children need it.
    for record in list(measured[what]()):
        line = json.dumps({"benchmark": what, **record, "command": command, **records.stamp()})
        if _KEEP.value:
            path = pathlib.Path(_KEEP.value)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a") as file:
                file.write(line + "\n")
        print(line if _JSON.value else records.line(record), flush=True)


def _step() -> Iterator[dict[str, Any]]:
    from fer_jax.benchmark import training

    yield training.measure(*_config_and_faces(), _SECONDS.value, _RUNS.value, _MEASURE_PEAK.value)


def _compare() -> Iterator[dict[str, Any]]:
    from fer_jax.benchmark import interleaved

    if not _PEER.value:
        raise UserError("compare needs --peer, the command of what is measured beside step")
    ours = [
        sys.executable,
        "-m",
        "fer_jax.commands",
        "benchmark",
        "step",
        "--runs=2",
        f"--seconds={_SECONDS.value}",
        "--json",
    ]
    ours += [f"--{flag.name}={flag.value}" for flag in (_BATCH, _STEPS) if flag.value] + _config_flags()
    config = _CONFIG.read()
    yield {
        "config": config.name,
        "optimizer": config.optim.name,
        "model": config.model.name,
        "batch": _BATCH.value or config.batch_size,
        **interleaved.compare(ours, _PEER.value, _RUNS.value),
    }


def _scaling() -> Iterator[dict[str, Any]]:
    import jax

    from fer_jax.benchmark import scaling

    config, examples = _config_and_faces()
    counts = [2**i for i in range(jax.local_device_count().bit_length())]
    for per_device in (True, False):
        for record in scaling.measure(config, examples, counts, per_device, _SECONDS.value):
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
    yield seeds.measure(config, examples, _SECONDS.value, _RUNS.value)


def _input() -> Iterator[dict[str, Any]]:
    from fer_jax.benchmark import pipelines

    config, examples = _config_and_faces()
    for name in ("tf", "device"):
        yield pipelines.measure(name, config, examples, _SECONDS.value, _RUNS.value)


def _profile() -> Iterator[dict[str, Any]]:
    from fer_jax.benchmark import tracing

    yield tracing.measure(*_config_and_faces())


def _ops() -> Iterator[dict[str, Any]]:
    from fer_jax.benchmark import layers

    yield from layers.measure(_BATCH.value or _CONFIG.read().batch_size, _RUNS.value)


def _startup() -> Iterator[dict[str, Any]]:
    from fer_jax.benchmark import latency

    config = _CONFIG.read()
    yield {
        "config": config.name,
        "optimizer": config.optim.name,
        **latency.startup(_config_flags(), _RUNS.value),
    }


def _time_to_accuracy() -> Iterator[dict[str, Any]]:
    from fer_jax.benchmark import latency

    config = _CONFIG.read()
    for record in latency.time_to_accuracy(_config_flags(), config.data.select_split, _TARGET.value, _RUNS.value):
        yield {"config": config.name, "optimizer": config.optim.name, **record}


def _serve() -> Iterator[dict[str, Any]]:
    from fer_jax.benchmark import serving

    if not _BUNDLE.value or not _SOURCE.value:
        raise UserError("serve needs --bundle and --source, a video")
    yield serving.measure(_BUNDLE.value, _SOURCE.value, _DETECTOR_MODEL.value)


def _page() -> None:
    from fer_jax import files
    from fer_jax.benchmark import page

    text = page.of_records(pathlib.Path(_RECORDS.value))
    with files.atomic_path(_OUT.value) as tmp:
        tmp.write_text(text)
    print(f"written to {_OUT.value}")


def _config_and_faces() -> tuple[Any, Examples]:
    from fer_jax.data.sources import synthetic

    config = _CONFIG.read()
    config.batch_size = _BATCH.value or config.batch_size
    config.parallel.steps_per_dispatch = _STEPS.value or config.parallel.steps_per_dispatch
    config.model.pretrained = config.optim.trainable_from = ""  # speed does not depend on what the weights are
    configs.validate(config)
    return config, synthetic.read(config.data, config.input)


def _config_flags() -> list[str]:
    """The flags of the config as they were given, for a command that is started with the same."""
    given = [argument for argument in sys.argv[1:] if argument.startswith(("--config", "--noconfig."))]
    return given if any(argument.startswith("--config=") for argument in given) else ["--config=xception", *given]


def _measuring(argv: list[str]) -> list[str]:
    return [argument for argument in argv if argument.lstrip("-").partition("=")[0] not in NOT_MEASURING]


if __name__ == "__main__":
    # What to measure is a word, as in other tools' subcommands; the rest are flags.
    word = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else ""
    cli.run(lambda argv: main(word, sys.argv[1:]))
