"""Half-precision and 8-bit graphs agree with the float32 one within their precision."""

import shutil
import types

import numpy as np
import onnx
import pytest

from fer_jax.bundle import runtime as runtimes
from fer_jax.export import onnx as onnx_export
from fer_jax.export import quantize


@pytest.mark.parametrize(("role", "tolerance"), [("float16", 0.01), ("int8", 0.2)])
def test_smaller_graphs_agree_within_their_bits(exported, tiny, role, tolerance):
    outputs = runtimes.open_graph(exported.bundle.file(role), role)(tiny.faces.images)
    assert outputs["logits"].dtype == outputs["class_maps"].dtype == np.float32
    assert np.abs(outputs["logits"] - tiny.logits).max() < tolerance * np.abs(tiny.logits).max()
    assert np.abs(outputs["logits"] - tiny.logits).max() > 0
    full, small = (exported.bundle.file(name).stat().st_size for name in ("onnx", role))
    assert small < full


@pytest.mark.parametrize("role", ["float16", "int8"])
def test_metadata_survives(exported, role):
    full, small = (onnx_export.metadata(onnx.load(exported.bundle.file(name))) for name in ("onnx", role))
    assert small == full and "labels" in full


def test_weights_are_of_few_bits(exported):
    def stored(role):
        graph = onnx.load(exported.bundle.file(role)).graph
        arrays = [onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer]
        return [array for array in arrays if array.ndim == 4 and array.shape[0] > 1]  # (out, in, h, w)

    assert [array.dtype for array in stored("float16")] == 13 * [np.float16]
    assert [array.dtype for array in stored("int8")] == 13 * [np.int8]
    # 7 bits: the products of older processors' 16-bit sums stay in range
    assert max(np.abs(array.astype(int)).max() for array in stored("int8")) <= 64


def test_ranges_come_from_the_faces_given(exported, tmp_path):
    black = np.zeros((4, 48, 48, 1), np.uint8)
    source = types.SimpleNamespace(file=exported.bundle.file, faces=black)
    quantize.int8(tmp_path / "black.onnx", source)
    run = runtimes.open_graph(tmp_path / "black.onnx", "int8")
    # a network that only ever saw black cannot tell brighter faces apart
    bright, brighter = (run(np.full((1, 48, 48, 1), value, np.uint8))["logits"] for value in (100, 250))
    np.testing.assert_allclose(bright, brighter, atol=1e-3)


@pytest.mark.parametrize(("stored", "tolerance", "share"), [("float16", 0.002, 0.75), ("int8", 0.05, 0.65)])
def test_a_compact_graph_stores_few_bits_and_computes_in_float32(exported, tiny, tmp_path, stored, tolerance, share):
    full = exported.bundle.file("onnx")
    path = shutil.copyfile(full, tmp_path / "compact.onnx")
    quantize.compact(path, stored)
    outputs = runtimes.open_graph(path, "onnx")(tiny.faces.images)
    difference = np.abs(outputs["logits"] - tiny.logits).max()
    assert 0 < difference < tolerance * np.abs(tiny.logits).max()
    assert path.stat().st_size < share * full.stat().st_size
    assert onnx_export.metadata(onnx.load(path)) == onnx_export.metadata(onnx.load(full))
    wide = [t for t in onnx.load(path).graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
    assert max(np.prod(tensor.dims) for tensor in wide) < quantize.MIN_STORED


def test_each_output_channel_has_the_step_of_its_largest_weight(tmp_path):
    rng = np.random.default_rng(0)
    kernel = (
        rng.normal(size=(4, 8, 3, 3)).astype(np.float32) * np.array([1, 10, 100, 0.0], np.float32)[:, None, None, None]
    )
    product = rng.normal(size=(4, 40)).astype(np.float32) * 10.0 ** rng.integers(-3, 3, 40)
    x = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, ["n", 8, 3, 3])
    y = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["n", 40])
    nodes = [
        onnx.helper.make_node("Conv", ["images", "kernel"], ["c"]),
        onnx.helper.make_node("Flatten", ["c"], ["f"]),
        onnx.helper.make_node("MatMul", ["f", "product"], ["logits"]),
    ]
    constants = [
        onnx.numpy_helper.from_array(value.astype(np.float32), name)
        for name, value in (("kernel", kernel), ("product", product))
    ]
    graph = onnx.helper.make_graph(nodes, "g", [x], [y], constants)
    opset = onnx.helper.make_opsetid("", 17)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8), tmp_path / "a.onnx")
    shutil.copyfile(tmp_path / "a.onnx", tmp_path / "b.onnx")
    quantize.compact(tmp_path / "b.onnx", "int8")
    images = rng.normal(size=(5, 8, 3, 3)).astype(np.float32)
    whole, small = (runtimes.open_graph(tmp_path / f"{name}.onnx", "onnx")(images)["logits"] for name in "ab")
    np.testing.assert_allclose(small, whole, atol=0.02 * np.abs(whole).max(axis=0).max())
    relative = np.abs(small - whole).max(axis=0) / np.abs(whole).max(axis=0)
    assert relative.max() < 0.1  # of every output, whatever its size
