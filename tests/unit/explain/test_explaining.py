"""The evidence for each face's prediction, and the sheet of it."""

import types

import cv2
import jax
import numpy as np
import pytest

from configs import default
from fer_jax.errors import UserError
from fer_jax.explain import explaining
from fer_jax.explain.attribution import METHODS, Network
from fer_jax.explain.explaining import Explainer
from fer_jax.models import registry

NAMES = tuple("abcdefg")


def explainer_of(**changes):
    config = default.get_config()
    config.input.size = 24
    config.model.args = {"block_features": (8,)}
    config.update_from_flattened_dict(changes)
    model = registry.create(config.model.name, 7, config.model.args)
    images = np.zeros((1, *registry.input_shape(config)), np.float32)
    variables = jax.jit(lambda key: model.init(key, images, False))(jax.random.key(3))
    return Explainer(Network(model, variables), config, NAMES, temperature=2.0)


@pytest.fixture(scope="module")
def explainer():
    return explainer_of()


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 24, 24, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def explained(explainer, images):
    return explaining.explain(explainer, images, explainer.methods, np.arange(5))


class TestExplain:
    def test_every_method_in_the_size_of_the_face(self, explainer, explained):
        assert explainer.methods == tuple(METHODS)
        for maps in explained.maps.values():
            assert maps.shape == (5, 24, 24) and np.isfinite(maps).all()
            assert np.ptp(maps, axis=(1, 2)).min() > 0

    def test_names_and_calibrated_probabilities(self, explainer, images, explained):
        logits = jax.jit(explainer.network.logits)(images / np.float32(127.5) - 1)
        np.testing.assert_array_equal(explained.predicted, logits.argmax(axis=1))
        np.testing.assert_allclose(explained.confidence, jax.nn.softmax(logits / 2).max(axis=1), rtol=1e-5)

    def test_batches_do_not_show(self, explainer, images, explained, monkeypatch):
        monkeypatch.setattr(explaining, "FACES_AT_ONCE", 2)
        again = explaining.explain(explainer, images, ["grad_cam"])
        np.testing.assert_allclose(again.maps["grad_cam"], explained.maps["grad_cam"], atol=1e-4)

    def test_a_dense_head_and_a_central_crop(self):
        explainer = explainer_of(**{"model.name": "jaffe_basic", "model.args": {}, "input.size": 40, "input.crop": 32})
        images = np.random.default_rng(1).integers(0, 256, (2, 40, 40, 1), dtype=np.uint8)
        found = explaining.explain(explainer, images, ["grad_cam"])
        np.testing.assert_array_equal(found.images, images[:, 4:36, 4:36])
        assert found.maps["grad_cam"].shape == (2, 32, 32) and found.maps["grad_cam"].min() >= 0
        with pytest.raises(UserError, match=r"'class_activation': expected some of grad_cam, .* does not pool"):
            explaining.explain(explainer, images, ["class_activation"])

    def test_an_unknown_method(self, explainer, images):
        with pytest.raises(UserError, match="method 'magic': expected some of class_activation, grad_cam, occl"):
            explaining.explain(explainer, images, ["magic"])

    def test_agreement_is_of_all_methods_with_occlusion(self, explained):
        agreement = explaining.agreement_with_occlusion(explained)
        assert list(agreement) == [name for name in METHODS if name != "occlusion"]
        assert all(-1 <= value <= 1 for value in agreement.values())
        maps = dict.fromkeys(("occlusion", "again"), explained.maps["occlusion"])
        same = types.SimpleNamespace(images=explained.images, maps=maps)
        assert explaining.agreement_with_occlusion(same) == {"again": pytest.approx(1)}


class TestPictures:
    def test_overlay_is_red_for_and_blue_against(self):
        face = np.full((4, 4, 3), 128, np.uint8)
        values = np.zeros((4, 4))
        values[0], values[1] = 2.0, -2.0
        tinted = explaining.overlay(face, values).astype(int)
        assert (tinted[0, :, 0] > tinted[0, :, 2] + 30).all() and (tinted[1, :, 2] > tinted[1, :, 0] + 30).all()
        np.testing.assert_array_equal(tinted[2:], 128)
        np.testing.assert_array_equal(explaining.overlay(face, np.zeros((4, 4))), face)

    def test_a_sheet_is_written(self, explained, tmp_path):
        explaining.save_faces(tmp_path / "faces.png", explained, NAMES)
        height, width, _ = cv2.imread(str(tmp_path / "faces.png")).shape
        assert height > 5 * 120 and width > 4 * 120
