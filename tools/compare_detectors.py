"""Measure the face detectors: what they find, what they take for a face, how long they take.

    python -m tools.compare_detectors --config=xception --config.data.path=fer2013.csv --detector-model=yunet.onnx
    python -m tools.compare_detectors --source=group.jpg --source=group.mp4 --detector-model=yunet.onnx

With --config, faces of its training split are laid over synthetic blinds, paving, sky and foliage, and those
backgrounds are searched without faces, too. In a --source, all that YuNet finds at 320, 640 and 960 pixels counts as
its faces. Prints the table of docs/webcam.md.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

from absl import flags

from fer_jax import cli
from fer_jax import config as configs
from fer_jax.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from fer_jax.faces.comparison import Picture

_CONFIG = configs.Flag("the config whose training faces are laid over backgrounds")
_SOURCE = cli.define_paths("source", None, "a picture, a folder of pictures or a video; may be given several times")
_DETECTOR_MODEL = cli.define_path("detector-model", "", "YuNet's ONNX file")
_COMPOSITES = flags.DEFINE_integer(
    "composites", 60, "how many composites are made, with faces and without", lower_bound=1
)
_EVERY = flags.DEFINE_integer("every", 10, "of a video every N-th frame is searched", lower_bound=1)
_BUNDLE = cli.define_bundle()

FACES = 400  # of the config that composites are made of
TRUTH_SIDES = (320, 640, 960)  # pixels
# detector, pixels of the longer side that is searched, minNeighbors of Haar's cascade
Setting = tuple[str, int, int | None]
STILL_SETTINGS: list[Setting] = [
    *(("haar", side, fewest) for side in (640, 960) for fewest in (2, 4, 6, 8)),
    ("yunet", 960, None),
]
MOVING_SETTINGS: list[Setting] = [("haar", 320, 2), ("haar", 320, 4), ("haar", 480, 2), ("yunet", 320, None)]


def main(argv: list[str]) -> None:
    """Measure and print."""
    del argv
    if not _SOURCE.value and not _CONFIG.given:
        raise UserError("nothing to search: give --config, for composites of its faces, or --source")
    print("| | detector | pixels | minNeighbors | found | false | named without doubt: faces, others | CPU ms |")
    print("|---|---|---|---|---|---|---|---|")
    for name, pictures, still in _sets():
        for setting in STILL_SETTINGS if still else MOVING_SETTINGS:
            print(_row(name, pictures, *setting), flush=True)


def _sets() -> list[tuple[str, list[Picture], bool]]:
    """What is searched: a name, pictures with known faces, and whether they are pictures of their own."""
    import numpy as np

    from fer_jax.faces import comparison, registry

    sets = []
    if _CONFIG.given:
        faces = _faces()
        sets.append(("composites", list(comparison.composites(faces, _COMPOSITES.value)), True))
        nobody = np.empty((0, *faces.shape[1:]), np.uint8)
        sets.append(("backgrounds", list(comparison.composites(nobody, _COMPOSITES.value, seed=1)), True))
    searches = [registry.create("yunet", _DETECTOR_MODEL.value, search_side=side) for side in TRUTH_SIDES]
    for source in _SOURCE.value or []:
        images, still = _images(source)
        sets.append((source.rpartition("/")[2], list(comparison.agreed(images, searches)), still))
    return sets


def _faces() -> np.ndarray:
    """uint8 (N, H, W), grey training faces of the config, evenly spread."""
    import numpy as np

    from fer_jax.data import loading

    config = _CONFIG.read()
    training = loading.load(config).of_split(config.data.train_split)
    images = training.images[np.unique(np.linspace(0, len(training) - 1, FACES).round().astype(int))]
    return images.mean(axis=-1).astype(np.uint8)


def _images(source: str) -> tuple[list[np.ndarray], bool]:
    from fer_jax.serve import sources

    opened = sources.open_source(source)
    try:
        step = 1 if opened.still else _EVERY.value
        return [frame.image for frame in itertools.islice(opened, 0, None, step)], opened.still
    finally:
        opened.close()


def _row(name: str, pictures: list[Picture], detector_name: str, side: int, min_neighbors: int | None) -> str:
    from fer_jax.faces import comparison, cropping, detection, registry
    from fer_jax.serve.classifier import Classifier

    if min_neighbors is None:
        detector = registry.create(detector_name, _DETECTOR_MODEL.value, search_side=side)
    else:
        detector = detection.Haar(search_side=side, min_neighbors=min_neighbors)
    classifier = Classifier(_BUNDLE.value)
    policy = cropping.CropPolicy.of(classifier.bundle.crop, detector_name)
    named = {True: 0, False: 0}

    def name_it(picture: Picture, box: np.ndarray, score: float, is_face: bool) -> None:
        probabilities = classifier.probabilities([cropping.cut(picture.image, box, policy)])[0]
        named[is_face] += not classifier.is_uncertain(probabilities, score)

    outcome = comparison.measure(detector, pictures, name_it)
    cells = dataclasses.asdict(outcome)
    return (
        f"| {name} | {detector_name} | {side} | {min_neighbors or ''} | {cells['found']} of {cells['faces']} | "
        f"{cells['false']} | {named[True]}, {named[False]} | {1000 * outcome.seconds / outcome.pictures:.0f} |"
    )


if __name__ == "__main__":
    cli.run(main)
