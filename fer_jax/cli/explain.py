"""Show what a trained network sees in faces, as pictures.

fer-jax explain --bundle=BUNDLE --source=group.jpg --out=explained
fer-jax explain --workdir=runs/xception --split=PublicTest --out=explained

Writes faces.png, each face beside its maps by every method, and agreement.json, how far each method agrees with what
covering parts of the face does.
"""

from __future__ import annotations

import itertools
import pathlib
from typing import TYPE_CHECKING

from absl import flags

from fer_jax import environment
from fer_jax.cli import options
from fer_jax.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from ml_collections import ConfigDict

_BUNDLE = options.define_bundle(None, "Or give --workdir.")
_WORKDIR = options.define_path("workdir", None, "Folder of a run.")
_SOURCE = flags.DEFINE_string(
    "source",
    None,
    "A picture, a folder or glob of pictures, a video or a camera's number; the faces in it are explained.",
)
_DETECTOR, _DETECTOR_MODEL = options.define_detector()
_SPLIT = flags.DEFINE_string(
    "split", None, "Without --source: faces of this split. Default: the one that the epoch was selected on."
)
_DATA = options.define_path("data", "", "Other data of the same labels for --split. Default: the run's own.")
_METHODS = flags.DEFINE_list(
    "methods",
    None,
    "Of class_activation, grad_cam, occlusion. Default: all that the network allows.",
)
_FACES = flags.DEFINE_integer("faces", 12, "How many faces to show, at most.", lower_bound=1)
_OUT = options.define_output("out", None, "Folder to write into.", folder=True, required=True)


def main(argv: list[str]) -> None:
    """Write the pictures and print their paths."""
    if bool(_BUNDLE.value) == bool(_WORKDIR.value):
        raise UserError("which network? Give either --bundle=BUNDLE or --workdir=RUN")
    if _SOURCE.value and (_SPLIT.value or _DATA.value):
        raise UserError("--source and --split are two places to take faces from: give one")

    from fer_jax import explain, files
    from fer_jax.experiments import rundata
    from fer_jax.report import faces

    environment.init()
    explainer = explain.of_bundle(_BUNDLE.value) if _BUNDLE.value else explain.of_run(_WORKDIR.value)
    methods = _METHODS.value or explainer.methods
    out = pathlib.Path(_OUT.value)
    if _SOURCE.value:
        images, labels = _faces_of_source(explainer.config, _SOURCE.value), None
    else:
        split = _SPLIT.value or explainer.config.data.select_split
        workdirs = [_WORKDIR.value] if _WORKDIR.value else []
        examples = rundata.to_score(explainer.config, workdirs, split, _DATA.value, explainer.label_names)
        shown = faces.sample(len(examples), _FACES.value)
        images, labels = examples.images[shown], examples.labels[shown]
    explained = explain.explain(explainer, images, methods, labels)
    explain.save_faces(out / "faces.png", explained, explainer.label_names)
    print(out / "faces.png")
    if "occlusion" in methods:
        agreement = explain.agreement_with_occlusion(explained)
        files.write_json(out / "agreement.json", {"faces": len(images), "spearman_with_occlusion": agreement})
        print(out / "agreement.json", *(f"{method} {value:.2f}" for method, value in agreement.items()))


def _faces_of_source(config: ConfigDict, path: str) -> np.ndarray:
    """uint8 (N, size, size, C), the first faces found in `path`, framed as the webcam tool frames them."""
    import cv2

    from fer_jax import files
    from fer_jax.faces import cropping, extraction, registry
    from fer_jax.preprocess import images as image_files
    from fer_jax.serve import sources

    source = sources.open_source(path)
    cut_already = (files.expand(path) / extraction.LISTING).is_file()  # by tools.extract_faces
    name = _DETECTOR.value or ("none" if cut_already else None)
    detectors = registry.Detectors(name, _DETECTOR_MODEL.value)
    policy = cropping.CropPolicy.of(cropping.CROP, detectors.name)
    found = (
        cv2.cvtColor(cropping.cut(frame.image, face.box, policy, face.roll), cv2.COLOR_BGR2RGB)
        for frame in source
        for face in detectors.of(frame.still).detect(frame.image)
    )
    try:
        crops = list(itertools.islice(found, _FACES.value))
    finally:
        source.close()
    if not crops:
        raise UserError(f"{path}: no face found; --detector=none takes each picture as one")
    return image_files.fit_all(crops, len(crops), config.input)
