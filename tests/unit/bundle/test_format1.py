"""A bundle that was written at commit c45f567, whose format is public: what reads it today must say the same.

The network is a mini-Xception of two small blocks with random weights. `tiny.bundle` is never written again.
"""

import pathlib

import numpy as np
import pytest

from fer_jax.bundle import manifest, weights
from fer_jax.labels import FER2013
from fer_jax.serve import Classifier

BUNDLE = pathlib.Path(__file__).parent / "format1" / "tiny.bundle"
SHAPES = ((24, 24, 1), (48, 48, 3), (100, 80, 3), (17, 31, 3))
# name, whether it is uncertain, and probabilities of each image, as they were at c45f567
SAID = [
    ("happy", True, [0.131326, 0.113775, 0.156065, 0.190954, 0.142845, 0.12766, 0.137376]),
    ("happy", True, [0.127107, 0.114638, 0.160822, 0.178247, 0.129691, 0.147561, 0.141934]),
    ("happy", True, [0.11944, 0.10719, 0.150497, 0.180775, 0.13783, 0.150497, 0.153771]),
    ("happy", True, [0.130768, 0.113523, 0.160119, 0.181569, 0.127333, 0.145693, 0.140994]),
]


def _images():
    """One uint8 image of stripes for each of `SHAPES`."""
    return [
        (np.arange(np.prod(shape)).reshape(shape) * (7 + i) // (3 + i) % 251).astype(np.uint8)
        for i, shape in enumerate(SHAPES)
    ]


def test_it_reads_and_all_its_files_are_whole():
    bundle = manifest.read(BUNDLE)
    assert bundle.labels == FER2013
    assert bundle.input == manifest.Input(24, 1, "signed", "area")
    assert (bundle.temperature, bundle.uncertain_below) == (1.5, 0.3)
    assert bundle.crop["detectors"].keys() == {"haar", "yunet"}
    assert bundle.files.keys() == {"onnx", "stablehlo", "weights", "card"}


def test_it_classifies_the_same():
    for prediction, (label, uncertain, probabilities) in zip(Classifier(BUNDLE)(_images()), SAID, strict=True):
        assert (prediction.label, prediction.uncertain) == (label, uncertain)
        assert prediction.probabilities == pytest.approx(probabilities, abs=2e-5)


def test_its_weights_are_the_graph_s():
    variables = weights.load(manifest.read(BUNDLE))
    assert variables.keys() == {"params", "batch_stats"}
    assert variables["params"]["stem1_conv"]["kernel"].shape == (3, 3, 1, 8)
