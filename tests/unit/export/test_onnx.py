"""The ONNX graph gives Flax's outputs, without BatchNorm or layout changes."""

import collections

import jax
import numpy as np
import onnx
import onnxruntime
import pytest

from fer_jax.bundle import manifest
from fer_jax.bundle import runtime as runtimes
from fer_jax.export import graph
from fer_jax.export import onnx as onnx_export
from fer_jax.export.graph import Source
from fer_jax.models import registry


def operators(path):
    return collections.Counter(node.op_type for node in onnx.load(path).graph.node)


def test_names_shapes_and_metadata(exported):
    session = onnxruntime.InferenceSession(exported.bundle.file("onnx"), providers=["CPUExecutionProvider"])
    found = [(one.name, one.type, one.shape) for one in [*session.get_inputs(), *session.get_outputs()]]
    assert found == [
        ("images", "tensor(uint8)", ["batch", 48, 48, 1]),
        ("logits", "tensor(float)", ["batch", 7]),
        ("class_maps", "tensor(float)", ["batch", 11, 11, 7]),
    ]
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["labels"] == '["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]'


def test_batchnorm_and_layout_are_gone(exported):
    found = operators(exported.bundle.file("onnx"))
    assert found["BatchNormalization"] == 0
    assert found["Mul"] == 1  # of the pixels' scaling
    assert found["Transpose"] <= 2  # the way in and the way out
    model = onnx.load(exported.bundle.file("onnx"))
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", onnx_export.OPSET)]


def assert_saved_as_computed(path, variables_of, name, args, channels, side=16):
    model = registry.create(name, 3, args, implementation="plain")
    images = np.random.default_rng(0).integers(0, 256, (2, side, side, channels), np.uint8)
    spec = manifest.Input(side, channels, "unit", "area")
    infer = graph.inference(model, variables_of(model, images.shape[1:]), spec)
    onnx_export.save(path, Source(infer, spec, {}, path.parent))
    outputs = runtimes.open_graph(path, "onnx")(images)
    for output, expected in jax.jit(infer)(images).items():
        np.testing.assert_allclose(outputs[output], expected, rtol=1e-4, atol=1e-5)


def test_class_maps_off_the_main_way_share_it(variables_of, tmp_path):
    assert_saved_as_computed(tmp_path / "model.onnx", variables_of, "resnet18", {"stage_features": (4, 8)}, 3)
    found = operators(tmp_path / "model.onnx")
    assert found["Conv"] == 10 and found["BatchNormalization"] == 0 and found["Mul"] == 1


def test_images_enlarged_within_the_network(variables_of, tmp_path):
    args = {"block_features": (4,), "enlarge_to": 24}
    assert_saved_as_computed(tmp_path / "model.onnx", variables_of, "mini_xception", args, 1)
    constants = onnx.load(tmp_path / "model.onnx").graph.initializer
    assert [tuple(c.dims) for c in constants].count((24, 16)) == 1, "rows and columns share a matrix"


SMALLEST = {  # arguments and side of the smallest image that a network takes
    "ckplus_model1": ({"dense_features": 4}, 24),
    "ckplus_model2": ({"dense_features": 4}, 16),
    "jaffe_basic": ({}, 40),
    "jaffe_best": ({}, 32),
    "jaffe_dropout": ({}, 128),
    "mini_xception": ({"block_features": (4, 8)}, 24),
    "resnet18": ({"stage_features": (4, 8, 8, 8)}, 16),
    "six_conv": ({"features": 4}, 16),
    "vgg": ({"stage_features": (4, 8, 8, 8), "dense_features": (8,)}, 16),
    "vgg16": ({}, 32),
}


@pytest.mark.parametrize("name", registry.MODELS)
def test_every_network_goes_through_onnx(variables_of, tmp_path, name):
    args, side = SMALLEST[name]
    assert_saved_as_computed(tmp_path / "model.onnx", variables_of, name, args, 1, side)
