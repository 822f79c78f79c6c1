"""A graph gives the same logits however a batch is divided over threads."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fer_jax.bundle import formats, manifest
from fer_jax.bundle import runtime as runtimes
from fer_jax.errors import UserError
from tests import serving


@pytest.mark.parametrize(("role", "threads"), [("onnx", 1), ("onnx", 3), ("stablehlo", 1)])
def test_any_batch_gives_flax_outputs_in_its_order(exported, tiny, role, threads):
    graph = runtimes.open_graph(exported.bundle.file(role), role, threads)
    for batch in (1, 2, 3, 8, 42):
        outputs = graph(tiny.faces.images[:batch])
        assert outputs.keys() == {"logits", "class_maps"} and outputs["class_maps"].shape == (batch, 11, 11, 7)
        np.testing.assert_allclose(outputs["logits"], tiny.logits[:batch], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(outputs["class_maps"].mean((1, 2)), outputs["logits"], rtol=1e-4, atol=1e-5)


def test_what_fails_in_another_thread_is_raised(exported):
    run = runtimes.open_graph(exported.bundle.file("onnx"), "onnx", 2)
    with pytest.raises(Exception, match="Got: 47 Expected: 48"):
        run(np.zeros((8, 47, 48, 1), np.uint8))


def test_what_is_no_graph(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(UserError, match=r"model\.onnx: ONNX Runtime .* cannot load it .* export the bundle again"):
        runtimes.open_graph(tmp_path / "model.onnx", "onnx")


CPU, CUDA, OPENVINO, COREML = (formats.PROVIDERS[name][0] for name in ("cpu", "cuda", "openvino", "coreml"))


@pytest.mark.parametrize(
    ("device", "available", "expected"),
    [
        ("auto", [CPU], "cpu"),
        ("auto", ["AzureExecutionProvider", COREML, CPU], "cpu"),
        ("auto", [OPENVINO, CPU], "openvino"),
        ("auto", ["TensorrtExecutionProvider", CUDA, CPU], "cuda"),
        ("cpu", [CUDA, CPU], "cpu"),
        ("coreml", [COREML, CPU], "coreml"),
    ],
)
def test_devices_by_the_providers_that_are_installed(device, available, expected):
    assert runtimes.chosen_device(device, available) == expected


def test_devices_that_are_missing_or_do_not_start(exported, monkeypatch):
    path = exported.bundle.file("onnx")
    for device, available, message in (
        ("directml", [CPU], "has no DmlExecutionProvider, only CPUExecutionProvider: install onnxruntime-directml"),
        ("gpu", [CPU], "unknown device 'gpu': expected one of auto, cuda"),
        ("cuda", [CUDA, CPU], "CUDAExecutionProvider does not start here"),
    ):
        monkeypatch.setattr("onnxruntime.get_available_providers", lambda available=available: available)
        with pytest.raises(UserError, match=message):
            runtimes.open_graph(path, "onnx", device=device)
    with pytest.raises(UserError, match="JAX chooses its own"):
        runtimes.open_graph(path, "stablehlo", device="cuda")


def test_the_session_is_asked_for_the_provider_and_then_the_cpu(exported, monkeypatch):
    import onnxruntime

    asked, session = [], onnxruntime.InferenceSession

    def opened(path, options, providers):
        asked.append(providers)
        made = session(path, options, providers=[CPU])
        monkeypatch.setattr(made, "get_providers", lambda: providers)
        return made

    monkeypatch.setattr(onnxruntime, "InferenceSession", opened)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [OPENVINO, CPU])
    for device in ("auto", "openvino", "cpu"):
        run = runtimes.open_graph(exported.bundle.file("onnx"), "onnx", device=device)
        assert run(np.zeros((9, 48, 48, 1), np.uint8))["logits"].shape == (9, 7)
    assert asked == [[OPENVINO, CPU], [OPENVINO, CPU], [CPU]]


def graph_of(*nodes, constants=(), kind=TensorProto.FLOAT):
    """A writer of an ONNX file whose nodes follow "mean" (N, 1), the mean of each image over 255."""

    def write(path):
        first = [
            helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["pixels"], ["sum"], axes=[1, 2, 3], keepdims=0),
            helper.make_node("Unsqueeze", ["sum", "one"], ["mean"]),
            helper.make_node("Concat", ["mean"] * 7, ["seven"], axis=1),
        ]
        given = [("one", np.array([1])), *constants]
        outputs = [name for node in nodes for name in node.output if name in ("logits", "class_maps", "other")]
        graph = helper.make_graph(
            [*first, *nodes],
            "graph",
            [helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", 8, 8, 1])],
            [helper.make_tensor_value_info(name, kind, None) for name in outputs],
            [numpy_helper.from_array(value, name) for name, value in given],
        )
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)

    return write


LOGITS = helper.make_node("Identity", ["seven"], ["logits"])


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (graph_of(helper.make_node("Identity", ["seven"], ["other"])), "gives other and no logits"),
        (graph_of(helper.make_node("Identity", ["mean"], ["logits"])), r"gives logits of float32 \(1, 1\), expected"),
        (
            graph_of(helper.make_node("Cast", ["seven"], ["logits"], to=TensorProto.DOUBLE), kind=TensorProto.DOUBLE),
            r"gives logits of float64 \(1, 7\)",
        ),
        (
            graph_of(helper.make_node("Gather", ["seven", "zero"], ["logits"]), constants=[("zero", np.array([0]))]),
            r"gives logits of float32 \(1, 7\), expected float32 \(2, 7\)",
        ),
        (
            graph_of(LOGITS, helper.make_node("Identity", ["seven"], ["class_maps"])),
            r"gives class_maps of float32 \(1, 7\), expected",
        ),
        (graph_of(helper.make_node("Log", ["seven"], ["logits"])), "gives logits that are infinite or not a number"),
    ],
)
def test_a_graph_that_does_not_what_its_manifest_says(tmp_path, graph, message):
    bundle = manifest.read(serving.write_bundle(tmp_path / "bundle", graph=graph))
    with pytest.raises(UserError, match=rf"model\.onnx: {message}") as caught:
        runtimes.open_bundle(bundle, "onnx")
    assert "\n" not in str(caught.value)


def test_a_result_that_is_not_a_number_is_refused_when_it_comes(tmp_path):
    nodes = [helper.make_node("Sub", ["hundred", "seven"], ["left"]), helper.make_node("Sqrt", ["left"], ["logits"])]
    graph = graph_of(*nodes, constants=[("hundred", np.float32(100))])
    run = runtimes.open_bundle(manifest.read(serving.write_bundle(tmp_path / "bundle", graph=graph)), "onnx")
    assert run(np.full((3, 8, 8, 1), 99, np.uint8))["logits"].shape == (3, 7)
    with pytest.raises(UserError, match="infinite or not a number"):
        run(np.full((3, 8, 8, 1), 101, np.uint8))
