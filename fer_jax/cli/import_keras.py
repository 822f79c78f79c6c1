"""Turn a Keras mini-Xception file into a bundle: fer-jax import-keras --weights=X.hdf5 --out=X.bundle

The file is one of whole saved models, such as github.com/oarriaga/face_classification publishes. The size of the images
and the widths of the layers are read from it. With --data the bundle's formats are scored on PublicTest.
"""

import pathlib

from absl import flags

from fer_jax import environment, labels
from fer_jax.cli import options
from fer_jax.errors import UserError

_WEIGHTS = options.define_path("weights", None, "The HDF5 file that Keras' model.save wrote.", required=True)
_MODEL = flags.DEFINE_enum("model", "mini_xception", ["mini_xception"], "The network in it.")
_OUT = options.define_output(
    "out", None, "Folder of the bundle: new, or a bundle to be replaced.", folder=True, required=True
)
_LABELS = flags.DEFINE_list("labels", list(labels.FER2013), "Names of the classes in the order of the logits.")
_DATA = options.define_path("data", None, "FER2013's csv, to score the bundle on.")
_SPLIT = flags.DEFINE_string("split", "PublicTest", "The split of --data to score on.")
_LICENSE = flags.DEFINE_string("license", None, "Terms of the weights. Default: the note on FER2013.")


def main(argv: list[str]) -> None:
    """Read the file, write the bundle and print how its formats compare."""
    from absl import logging

    from fer_jax import files
    from fer_jax.bundle import manifest
    from fer_jax.data import loading
    from fer_jax.export import comparison, exporting
    from fer_jax.export.trained import Trained, license_note
    from fer_jax.models import pretrained
    from fer_jax.recipes import default

    logging.set_verbosity(logging.INFO)
    manifest.refuse_other_content(_OUT.value)
    environment.init()
    path = pathlib.Path(_WEIGHTS.value)
    imported, variables = pretrained.import_mini_xception(path)
    if imported.num_classes != len(_LABELS.value):
        raise UserError(
            f"{path}: has {imported.num_classes} classes, --labels names {len(_LABELS.value)}: "
            "give them in the order of its training data"
        )
    config = default.get_config()
    config.name = path.stem
    config.model.name, config.model.args = _MODEL.value, imported.args
    config.input.size, config.input.channels = imported.input_size, imported.channels
    config.input.scaling, config.input.resize = "signed", "linear"  # as the authors' code does
    evaluation = None
    if _DATA.value:
        evaluation = loading.load_split(config, _SPLIT.value, _DATA.value, tuple(_LABELS.value))
    trained = Trained(
        config,
        variables,
        _LABELS.value,
        training_data=f"by the authors of {path.name} (sha256 {files.sha256(path)}), imported from Keras: "
        "of the config only model and input say something about it",
        license=_LICENSE.value or license_note("fer2013"),
    )
    exported = exporting.export(_OUT.value, trained, evaluation=evaluation)
    print(comparison.table(exported.formats))
    print(f"\ndone: {exported.bundle.path}")
