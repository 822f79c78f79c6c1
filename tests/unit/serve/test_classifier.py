"""The classifier prepares crops as training data was, and refuses what is no image."""

import sys

import numpy as np
import pytest

from fer_jax.bundle import manifest
from fer_jax.bundle.manifest import Input
from fer_jax.errors import UserError
from fer_jax.labels import FER2013
from fer_jax.preprocess import images
from fer_jax.serve import Classifier
from tests import serving
from tests.conftest import run_python


@pytest.fixture(scope="module")
def classifier(brightness_bundle):
    return Classifier(brightness_bundle)


def test_each_crop_gets_its_own_label_whatever_its_size(classifier):
    sides = (1, 3, 8, 50, 200, 9, 31)
    crops = [np.full((side, side + i % 2, 3), serving.brightness_of(i), np.uint8) for i, side in enumerate(sides)]
    predictions = classifier(crops)
    assert [p.label for p in predictions] == list(FER2013)
    for prediction in predictions:
        assert prediction.names == FER2013
        assert prediction.probabilities.dtype == np.float32
        assert prediction.probabilities.sum() == pytest.approx(1, abs=1e-6)
        assert prediction.probabilities[FER2013.index(prediction.label)] == prediction.probabilities.max()


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_prepared_as_the_training_data_was(tmp_path, channels):
    classifier = Classifier(serving.write_bundle(tmp_path / "bundle", spec=Input(12, channels, "unit", "area")))
    color = np.random.default_rng(0).integers(0, 256, (30, 30, 3), np.uint8)
    expected = images.fit(np.ascontiguousarray(color[..., ::-1]), classifier.bundle.input)
    np.testing.assert_array_equal(classifier.prepare([color])[0], expected)
    gray = color[..., 0]
    first, *others = classifier.prepare([gray, gray[..., None], np.repeat(gray[..., None], 3, axis=2)])
    assert all((first == other).all() for other in others)


def test_a_crowd_is_classified_as_each_face_alone(classifier):
    crops = np.random.default_rng(0).integers(0, 256, (200, 5, 5, 3), np.uint8)
    together = classifier.probabilities(list(crops))
    assert together.shape == (200, 7)
    np.testing.assert_allclose(together[150], classifier.probabilities([crops[150]])[0], rtol=1e-5)
    assert len(classifier(crops)) == 200, "an array of images is a list of them"
    assert classifier([]) == []
    assert classifier.probabilities([]).shape == (0, 7)


def test_a_graph_that_is_not_what_the_manifest_says_is_refused_at_once(tmp_path):
    gray = serving.write_bundle(tmp_path / "gray", spec=Input(12, 1, "unit", "area")) / "model.onnx"
    spec = Input(12, 3, "unit", "area")
    color = serving.write_bundle(tmp_path / "color", spec=spec, graph=lambda path: path.write_bytes(gray.read_bytes()))
    with pytest.raises(UserError, match=r"model.onnx: does not take images of \(12, 12, 3\), as bundle.json says"):
        Classifier(color)


def test_class_maps_where_the_network_has_them(classifier, map_bundle):
    with_maps = Classifier(map_bundle)
    assert with_maps.has_maps
    assert not classifier.has_maps
    crops = list(np.random.default_rng(0).integers(0, 256, (70, 8, 8), np.uint8))
    probabilities, maps = with_maps.classify(crops)
    assert maps.shape == (70, 8, 8, 7)
    np.testing.assert_allclose(maps.mean((1, 2)), with_maps.logits(with_maps.prepare(crops)), atol=1e-3)
    np.testing.assert_array_equal(probabilities, with_maps.probabilities(crops))
    assert classifier.classify(crops)[1] is None
    assert with_maps.classify([])[1] is None


def test_temperature_softens_and_the_threshold_flags(tmp_path):
    sharp = Classifier(serving.write_bundle(tmp_path / "sharp", uncertain_below=0.6))
    soft = Classifier(serving.write_bundle(tmp_path / "soft", temperature=4.0, uncertain_below=0.6))
    crop = [np.full((9, 9), serving.brightness_of(3), np.uint8)]
    expected = _softmax(sharp.logits(sharp.prepare(crop))[0] / 4)
    np.testing.assert_allclose(soft.probabilities(crop)[0], expected, rtol=1e-5)
    assert not sharp(crop)[0].uncertain
    assert soft(crop)[0].uncertain


def test_another_prior_shifts_the_logits_after_temperature(tmp_path):
    counts = (10, 1, 10, 40, 10, 9, 20)
    folder = serving.write_bundle(tmp_path / "bundle", temperature=50.0, uncertain_below=0.3, class_counts=counts)
    plain, flat = Classifier(folder), Classifier(folder, prior="flat")
    crops = list(np.random.default_rng(0).integers(0, 256, (5, 9, 9), np.uint8))
    logits = plain.logits(plain.prepare(crops)) / 50 - np.log(np.array(counts) / 100)
    np.testing.assert_allclose(flat.probabilities(crops), [_softmax(row) for row in logits], rtol=1e-4)
    own = Classifier(manifest.recalibrated(manifest.read(folder), tmp_path / "own", 50.0, 0.3, "", prior="flat").path)
    np.testing.assert_array_equal(own.probabilities(crops), flat.probabilities(crops))
    both, _ = flat.classify(crops, "flip")
    assert not np.allclose(both, plain.classify(crops, "flip")[0])
    np.testing.assert_allclose(both, flat.classify([crop[:, ::-1] for crop in crops], "flip")[0], rtol=1e-5)
    happy = Classifier(folder, prior="happy:0.99")
    assert happy(crops)[0].label == "happy"
    assert plain(crops)[0].uncertain and not happy(crops)[0].uncertain


def test_what_may_be_no_face_must_be_all_the_surer(tmp_path):
    classifier = Classifier(serving.write_bundle(tmp_path / "bundle", uncertain_below=0.4))
    happy = np.array([0.05, 0.05, 0.05, 0.54, 0.1, 0.1, 0.11], np.float32)
    assert not classifier.is_uncertain(happy)
    assert not classifier.is_uncertain(happy, face_score=0.92)
    assert classifier.is_uncertain(happy, face_score=0.7)


def _softmax(logits):
    exponentials = np.exp(logits - logits.max())
    return exponentials / exponentials.sum()


GOOD = np.zeros((4, 4), np.uint8)
NO_LIST = r"shape \({}\) where a list of images was expected: give \[image\]"


@pytest.mark.parametrize(
    ("crops", "words"),
    [
        ([GOOD, None], r"image 1 is None: a read failed, such as cv2\.imread"),
        ([GOOD, np.zeros((4, 4), np.float32)], r"image 1 is float32 \(4, 4\): expected uint8 in 0\.\.255"),
        ([GOOD, np.zeros((4, 4, 4), np.uint8)], r"image 1 has the shape \(4, 4, 4\): .* drop an alpha channel"),
        ([GOOD, np.zeros((4, 4, 2), np.uint8)], r"image 1 has the shape \(4, 4, 2\)"),
        ([GOOD, np.zeros(4, np.uint8)], r"image 1 has the shape \(4,\)"),
        ([GOOD, np.zeros((0, 4), np.uint8)], r"image 1 has the shape \(0, 4\) and no pixels"),
        ([GOOD, [[1, 2], [3, 4]]], "image 1 is a list: expected a NumPy array"),
        ([GOOD, "face.png"], "image 1 is a str: expected a NumPy array"),
        *[
            (np.zeros(s, np.uint8), NO_LIST.format(str(s)[1:-1]))
            for s in ((48, 64), (48, 64, 1), (48, 64, 3), (3, 48, 64))
        ],
        (None, "where a list of images was expected: read them with"),
        ("face.png", "where a list of images was expected: read them with"),
    ],
)
def test_what_is_no_crop_is_refused_by_its_number_and_what_is_no_list(classifier, crops, words):
    for ask in (classifier, classifier.probabilities, classifier.classify, classifier.prepare):
        with pytest.raises(UserError, match=words):
            ask(crops)


def test_a_bundle_opened_by_several_threads_at_once(brightness_bundle):
    """In a process of its own: what is imported and built at the first use must not be met half done."""
    code = f"""
import concurrent.futures, threading
import numpy as np
barrier = threading.Barrier(8)
def work(i):
    barrier.wait()
    from fer_jax.serve.classifier import Classifier
    classifier = Classifier({str(brightness_bundle)!r})
    return [classifier([np.full((9, 9), 255 * (i % 7) // 7 + 18, np.uint8)])[0].label for _ in range(20)]
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    results = list(pool.map(work, range(8)))
assert [set(labels) for labels in results[:7]] == [{{name}} for name in {FER2013!r}], results
"""
    for _ in range(3):
        done = run_python("-c", code)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"prior": "flat"}, "does not say how many training examples each class had"),
        ({"runtime": "int8"}, "has no int8 file"),
        ({"runtime": "jax"}, "has no stablehlo file"),
        ({"runtime": "torch"}, "unknown runtime 'torch': expected one of onnx, float16, int8, stablehlo, jax"),
    ],
)
def test_what_the_bundle_has_not(brightness_bundle, choice, words):
    with pytest.raises(UserError, match=words):
        Classifier(brightness_bundle, **choice)


def test_the_runtime_jax_without_jax(brightness_bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "fer_jax.export.graph", None)
    monkeypatch.delattr("fer_jax.export.graph", raising=False)  # where a test before this one imported it
    monkeypatch.setattr("fer_jax.bundle.manifest.Bundle.file", lambda self, role: self.path / role)
    with pytest.raises(UserError, match=r"stablehlo cannot be run without .*: pip install .*, or use onnx"):
        Classifier(brightness_bundle, runtime="jax")


def test_flipping_averages_the_logits_and_turns_the_maps_back(map_bundle):
    classifier = Classifier(map_bundle)
    crop = np.zeros((8, 8), np.uint8)
    crop[:, :4] = 255
    plain, plain_maps = classifier.classify([crop])
    mirrored, mirrored_maps = classifier.classify([crop[:, ::-1].copy()])
    flipped, flipped_maps = classifier.classify([crop], "flip")
    logits = [np.log(p) - np.log(p).mean(axis=1, keepdims=True) for p in (plain, mirrored, flipped)]
    np.testing.assert_allclose(logits[2], (logits[0] + logits[1]) / 2, atol=1e-4)
    np.testing.assert_allclose(flipped_maps, (plain_maps + mirrored_maps[:, :, ::-1]) / 2, rtol=1e-5, atol=1e-4)
    assert classifier.classify([], "flip")[0].shape == (0, len(classifier.labels))
    with pytest.raises(UserError, match="unknown test-time augmentation 'ten_crop': expected one of none, flip"):
        classifier.classify([crop], "ten_crop")
