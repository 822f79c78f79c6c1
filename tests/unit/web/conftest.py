"""Classifiers that tell faces by their brightness, and frames as a page sends them."""

import struct

import cv2
import numpy as np
import pytest

import fer_jax
from fer_jax.serve import Classifier
from tests import serving


@pytest.fixture(scope="session")
def analyzer(classifier):
    return fer_jax.Analyzer(classifier.bundle.path, "none")


@pytest.fixture(scope="session")
def classifier(tmp_path_factory):
    return Classifier(serving.write_bundle(tmp_path_factory.mktemp("bundles") / "maps", maps=True, uncertain_below=0.4))


@pytest.fixture(scope="session")
def classifier_without_maps(tmp_path_factory):
    return Classifier(serving.write_bundle(tmp_path_factory.mktemp("bundles") / "plain"))


def jpeg_of(label, size=(48, 64)):
    """A plain picture that is taken for `label`."""
    return cv2.imencode(".jpg", np.full((*size, 3), serving.brightness_of(label), np.uint8))[1].tobytes()


def frame(number, jpeg, still=False):
    return struct.pack(">BI", still, number) + jpeg
