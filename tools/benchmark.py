"""Measure this machine: python -m tools.benchmark step --config=configs/xception.py --batch=128

step     training images a second, whole steps with the config's augmentation, on drawn faces of the config's geometry
scaling  the same on 1, 2, 4, ... devices, for a fixed batch a device and for a fixed global batch
serve    frames a second of the webcam tool, milliseconds to classify 8 faces, seconds to the first annotated frame

Prints a table for people, or with --json one line of JSON a record, each with the device, versions and date.
"""

from __future__ import annotations

import datetime
import json
import statistics
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from absl import flags
from ml_collections import config_flags

from fer_jax import cli
from fer_jax.errors import UserError

if TYPE_CHECKING:
    from fer_jax.data.examples import Examples

_CONFIG = config_flags.DEFINE_config_file("config", "configs/xception.py", "Of step and scaling: the config.")
_BATCH = flags.DEFINE_integer("batch", None, "Batch size. Default: the config's.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", None, "Steps of a dispatch. Default: the config's.", lower_bound=1)
_RUNS = flags.DEFINE_integer("runs", 3, "How often step is measured; the median is told, with all of them.",
                             lower_bound=1)
_SECONDS = flags.DEFINE_float("seconds", 5.0, "Least duration of one measurement.", lower_bound=0.0)
_MODEL = flags.DEFINE_string("model", None, "Of serve: the bundle.")
_SOURCE = flags.DEFINE_string("source", None, "Of serve: the video.")
_DETECTOR_MODEL = flags.DEFINE_string("detector-model", "", "Of serve: YuNet's file, to measure it beside Haar.")
_JSON = flags.DEFINE_bool("json", False, "One line of JSON a record.")


def main(what: str) -> None:
    """Measure and print."""
    from fer_jax import runtime

    runtime.init()
    measured = {"step": _step, "scaling": _scaling, "serve": _serve}
    if what not in measured:
        raise UserError(f"{what!r} cannot be measured: expected {', '.join(measured)}")
    stamp = {"date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), "versions": runtime.versions()}
    for record in measured[what]():
        if _JSON.value:
            print(json.dumps({"benchmark": what, **record, **stamp}), flush=True)
        else:
            print("  ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
                            for key, value in record.items()), flush=True)


def _step() -> Iterator[dict[str, Any]]:
    import time

    import jax

    from fer_jax import scaleout

    config, examples = _config_and_faces()
    start = time.perf_counter()
    chunk = scaleout.Chunk(config, examples, jax.local_devices())
    compile_seconds = time.perf_counter() - start
    rates = [chunk.images_per_second(_SECONDS.value) for _ in range(_RUNS.value)]
    yield {"config": config.name, "model": config.model.name, "batch": config.batch_size,
           "images_per_s": statistics.median(rates), "runs": [round(rate) for rate in rates],
           "steps_per_dispatch": config.parallel.steps_per_dispatch, "compile_seconds": compile_seconds}


def _scaling() -> Iterator[dict[str, Any]]:
    import jax

    from fer_jax import scaleout

    config, examples = _config_and_faces()
    counts = [2**i for i in range(jax.local_device_count().bit_length())]
    for per_device in (True, False):
        for record in scaleout.measure(config, examples, counts, per_device, _SECONDS.value):
            yield {"fixed": "batch per device" if per_device else "global batch", **record}


def _serve() -> Iterator[dict[str, Any]]:
    from fer_jax.serve import measure

    if not _MODEL.value or not _SOURCE.value:
        raise UserError("serve needs --model, a bundle, and --source, a video")
    yield measure.measure(_MODEL.value, _SOURCE.value, _DETECTOR_MODEL.value)


def _config_and_faces() -> tuple[Any, Examples]:
    from fer_jax import config as configs
    from fer_jax.data.sources import synthetic

    config = _CONFIG.value
    config.batch_size = _BATCH.value or config.batch_size
    config.parallel.steps_per_dispatch = _STEPS.value or config.parallel.steps_per_dispatch
    config.model.pretrained = config.optim.trainable_from = ""  # speed does not depend on what the weights are
    configs.validate(config)
    return config, synthetic.read(config.data, config.input)


if __name__ == "__main__":
    import sys

    # What to measure is a word, as in other tools' subcommands; the rest are flags.
    word = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else ""
    cli.run(lambda argv: main(word))
