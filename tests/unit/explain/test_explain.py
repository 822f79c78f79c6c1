"""The evidence for each face's prediction, on networks so small that it is known too, and the sheet of it."""

import functools
import types

import cv2
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import default
from fer_jax import explain as explaining
from fer_jax.errors import UserError
from fer_jax.explain import METHODS, Explainer, Network
from fer_jax.models import network as networks
from fer_jax.models import registry

NAMES = tuple("abcdefg")
SIZE = 24


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


class Linear(networks.Network):
    """logits = sum over pixels of weight times pixel."""

    @nn.compact
    def __call__(self, x, train):
        return nn.Dense(self.num_classes, name="classes")(self.tap_features(x).reshape(len(x), -1))


class Pooled(networks.Network):
    """A convolution and pooled class maps."""

    @nn.compact
    def __call__(self, x, train):
        return self.classify_pooled(self.tap_features(nn.relu(self.conv(2, 7, name="conv")(x))))


class Flat(networks.Network):
    """The same convolution under a dense head."""

    @nn.compact
    def __call__(self, x, train):
        x = self.max_pool(4, name="pool")(self.tap_features(nn.relu(self.conv(2, 7, name="conv")(x))))
        return self.classify(x.reshape(len(x), -1))


def bars(n, seed):
    """Noise with a bright bar, upright (class 0) or lying (class 1), about a random place: images, labels, places."""
    rng = np.random.default_rng(seed)
    images = rng.normal(0, 0.05, (n, SIZE, SIZE, 1)).astype(np.float32)
    labels, places = rng.integers(0, 2, n), rng.integers(4, SIZE - 4, (n, 2))
    for image, label, (y, x) in zip(images, labels, places, strict=True):
        tall, wide = (3, 1) if label == 0 else (1, 3)
        image[y - tall : y + tall + 1, x - wide : x + wide + 1] += 1.0
    return images, labels, places


def knowing(model):
    """The network with filters that answer to the two bars, and a head that passes the answers on."""
    upright = np.full((7, 7), -1.0)
    upright[:, 2:5] = 1.0
    fresh = model.init(jax.random.key(0), jnp.zeros((1, SIZE, SIZE, 1)), False)["params"]
    head = np.tile(100 * np.eye(2), (len(fresh["classes"]["kernel"]) // 2, 1))
    params = {
        "conv": {"kernel": np.stack([upright, upright.T], -1)[:, :, None] / 21, "bias": np.full(2, -0.4)},
        "classes": {"kernel": head, "bias": np.array([0.03, -0.02])},
    }
    return Network(model, {"params": jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params)})


@pytest.fixture(scope="module")
def pooled():
    return knowing(Pooled(2))


@pytest.fixture(scope="module")
def flat():
    return knowing(Flat(2))


@functools.cache
def compiled(model, method):
    return jax.jit(lambda variables, *args: METHODS[method](Network(model, variables), *args))


def maps_of(network, method, images, classes):
    return np.asarray(compiled(network.model, method)(network.variables, images, jnp.asarray(classes)))


def hits(network, method, images, labels, places, reach=4):
    """Share of the images in which the strongest place of the map is within `reach` pixels of the bar's middle."""
    maps = maps_of(network, method, images, labels)
    peaks = np.array([np.unravel_index(one.argmax(), one.shape) for one in maps])
    scale = SIZE / maps.shape[1]
    return np.mean(np.abs((peaks + 0.5) * scale - 0.5 - places).max(axis=1) <= reach)


@pytest.mark.parametrize("method", METHODS)
def test_finds_what_the_class_is_known_by(pooled, flat, method):
    images, labels, places = bars(16, 1)
    for network in (pooled, flat):
        assert np.mean(network.logits(images).argmax(1) == labels) > 0.95
        if method in explaining.methods_of(network, images):
            assert hits(network, method, images, labels, places) > 0.85


@pytest.mark.parametrize("method", METHODS)
def test_random_weights_give_other_maps(pooled, method):
    images, labels, _ = bars(16, 2)
    random = Network(pooled.model, pooled.model.init(jax.random.key(7), images[:1], False))
    maps = maps_of(pooled, method, images, labels)
    assert explaining.agreement(maps, maps) == pytest.approx(1)
    assert explaining.agreement(maps, maps_of(random, method, images, labels)) < 0.6


class TestOnALinearNetwork:
    images = np.random.default_rng(3).normal(size=(4, SIZE, SIZE, 1)).astype(np.float32)
    classes = np.array([0, 1, 1, 0])

    @pytest.fixture
    def network(self):
        model = Linear(2)
        return Network(model, model.init(jax.random.key(1), self.images, False))

    def weights(self, network):
        """Of the scores, (N, H, W, 1)."""
        kernel = np.asarray(network.variables["params"]["classes"]["kernel"])
        return (kernel - kernel.mean(axis=1, keepdims=True)).T.reshape(2, SIZE, SIZE, 1)[self.classes]

    def test_occlusion_is_the_mean_over_squares(self, network):
        found = explaining.occlusion(network, self.images, self.classes)
        lost = (self.weights(network) * (self.images - self.images.mean(axis=(1, 2), keepdims=True)))[..., 0]
        window = explaining.window_of((SIZE, SIZE))
        expected, covered = np.zeros_like(lost), np.zeros((SIZE, SIZE))
        for y in range(0, SIZE - window + 1, window // 2):
            for x in range(0, SIZE - window + 1, window // 2):
                square = np.s_[y : y + window, x : x + window]
                expected[:, *square] += lost[:, *square].sum(axis=(1, 2))[:, None, None]
                covered[square] += 1
        assert covered.min() == 1
        np.testing.assert_allclose(found, expected / covered, atol=1e-4)


def scores(network, images, labels):
    logits = np.asarray(network.logits(images))
    return logits[np.arange(len(labels)), labels] - logits.mean(axis=1)


def test_class_maps_have_the_score_as_their_mean(pooled):
    images, labels, _ = bars(8, 4)
    maps = explaining.class_activation(pooled, images, labels)
    np.testing.assert_allclose(maps.mean(axis=(1, 2)), scores(pooled, images, labels), atol=1e-4)


def test_grad_cam_of_a_pooled_network_is_its_class_map_without_bias_and_negatives(pooled):
    images, labels, _ = bars(8, 5)
    maps = explaining.class_activation(pooled, images, labels)
    bias = pooled.variables["params"]["classes"]["bias"]
    bias = (bias - bias.mean())[labels][:, None, None]
    # the gradient of a mean over the places is the head's weight divided by their number
    found = explaining.grad_cam(pooled, images, labels) * maps[0].size
    np.testing.assert_allclose(found, nn.relu(maps - bias), atol=1e-3)


def test_no_class_maps_under_a_dense_head(flat):
    images, labels, _ = bars(2, 7)
    assert "class_activation" not in explaining.methods_of(flat, images)
    with pytest.raises(UserError, match=r"Flat does not pool maps into logits .* use grad_cam"):
        explaining.class_activation(flat, images, labels)


def test_agreement_is_a_mean_rank_correlation():
    maps = np.random.default_rng(8).normal(size=(3, 5, 5))
    assert explaining.agreement(maps, np.exp(maps)) == pytest.approx(1)
    assert explaining.agreement(maps, -maps) == pytest.approx(-1)
    assert explaining.agreement(maps, np.zeros_like(maps)) == 0
