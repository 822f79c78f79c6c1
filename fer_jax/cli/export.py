"""Turn a finished run into a bundle: fer-jax export --workdir=runs/xception --out=xception.bundle

Writes ONNX, StableHLO and safetensors, and if asked for half precision and 8-bit integers; compares each with the Flax
network over the run's selection split before it says done; prints size, difference, accuracy and latency of each.
"""

import pathlib

from absl import flags

from fer_jax import environment
from fer_jax.bundle import formats
from fer_jax.cli import options

_WORKDIR = options.define_path("workdir", None, "Folder of the finished run.", required=True)
_OUT = options.define_output(
    "out", None, "Folder of the bundle: new, or a bundle to be replaced.", folder=True, required=True
)
_CHECKPOINT = flags.DEFINE_enum("checkpoint", "best", ["best", "last"], "Which checkpoint of the run.")
_DATA = options.define_path("data", None, "Where the run's data lies now, if not where it was trained from.")
_FORMATS = {
    role: flags.DEFINE_bool(role, False, f"Add {row.what}.") for role, row in formats.GRAPHS.items() if row.optional
}
_COMPACT = flags.DEFINE_enum(
    "compact",
    None,
    ["float16", "int8"],
    "Write a small bundle: one graph, its weights stored so and computed with in float32.",
)
_NAME = flags.DEFINE_string("name", None, "Name of the model, on its card and in its files. Default: the config's.")
_NOTE = flags.DEFINE_string("note", None, "A sentence for the card, such as how this run was chosen among several.")
_LICENSE = flags.DEFINE_string("license", None, "Terms of the weights. Default: the note on the run's data source.")


def main(argv: list[str]) -> None:
    """Export and print the tables."""
    from absl import logging

    from fer_jax.experiments.api import TrainedRun
    from fer_jax.export import comparison

    logging.set_verbosity(logging.INFO)
    environment.init()
    exported = TrainedRun(pathlib.Path(_WORKDIR.value), _CHECKPOINT.value).export(
        _OUT.value,
        data=_DATA.value or "",
        formats=[role for role, flag in _FORMATS.items() if flag.value],
        compact=_COMPACT.value or "",
        license=_LICENSE.value or "",
        name=_NAME.value or "",
        note=_NOTE.value or "",
    )
    print(comparison.table(exported.formats))
    if recall := comparison.recall_table(exported.formats):
        print(f"\n{recall}")
    print(f"\ndone: {exported.bundle.path}")
