"""The exported function takes raw pixels, scales and crops them itself, and has BatchNorm folded into its weights."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from fer_jax.bundle import manifest
from fer_jax.errors import UserError
from fer_jax.export import graph
from fer_jax.models import layers, registry
from tests.conftest import REPOSITORY


def test_it_takes_pixels_and_scales_them(tiny):
    infer = jax.jit(graph.inference(tiny.model, tiny.variables, manifest.Input(48, 1, "signed", "area")))
    outputs = infer(tiny.faces.images)
    np.testing.assert_allclose(outputs["logits"], tiny.logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(outputs["class_maps"].mean((1, 2)), outputs["logits"], rtol=1e-4, atol=1e-5)


def test_the_network_may_see_a_central_square_only(tiny):
    images = tiny.faces.images[:3]
    infer = jax.jit(graph.inference(tiny.model, tiny.variables, manifest.Input(48, 1, "unit", "area", seen=40)))
    expected = jax.jit(lambda x: tiny.model.apply(tiny.variables, x / np.float32(255), False))(images[:, 4:44, 4:44])
    np.testing.assert_allclose(infer(images)["logits"], expected, rtol=1e-4, atol=1e-5)


def test_a_network_without_class_maps_gives_logits_alone(variables_of):
    model = registry.create("six_conv", 5, {"features": 2}, implementation="plain")
    infer = graph.inference(model, variables_of(model, (48, 48, 1)), manifest.Input(48, 1, "unit", "area"))
    outputs = jax.eval_shape(infer, jax.ShapeDtypeStruct((2, 48, 48, 1), np.uint8))
    assert {name: value.shape for name, value in outputs.items()} == {"logits": (2, 5)}


class Mixed(nn.Module):
    """BatchNorm after a convolution with a bias, after a separable one, and after something else."""

    @nn.compact
    def __call__(self, x, train):
        x = layers.BatchNorm(name="norm0")(x, train)
        x = layers.Conv(4, name="conv1")(x)
        x = nn.relu(layers.BatchNorm(name="norm1")(x, train))
        x = layers.SeparableConv(5, name="conv2")(x)
        x = layers.BatchNorm(name="norm2", epsilon=1e-2)(x, train)
        return layers.BatchNorm(name="norm3")(nn.relu(x), train).mean((1, 2))


@pytest.mark.parametrize("model", [Mixed(), "mini_xception", "resnet18", "vgg"])
def test_folded_weights_give_what_the_network_gave(model, variables_of):
    if isinstance(model, str):
        args = {"resnet18": {"stage_features": (4, 8)}, "vgg": {"stage_features": (4, 8), "dense_features": ()}}
        model = registry.create(model, 3, args.get(model), implementation="plain")
    images = np.random.default_rng(1).normal(size=(2, 24, 24, 1)).astype(np.float32)
    variables = variables_of(model, images.shape[1:])
    folded, scale_and_shift = graph.fold(model, variables, jax.ShapeDtypeStruct(images.shape, images.dtype))

    @jax.jit
    def both(x):
        with nn.intercept_methods(scale_and_shift):
            result = model.apply(folded, x, False)
        return result, model.apply(variables, x, False)

    np.testing.assert_allclose(*both(images), rtol=1e-4, atol=1e-5)


def test_a_scale_goes_into_the_convolution_and_only_there(variables_of):
    model = Mixed()
    variables = variables_of(model, (6, 6, 1))
    folded, _ = graph.fold(model, variables, jax.ShapeDtypeStruct((1, 6, 6, 1), np.float32))
    norm, statistics = variables["params"]["norm1"], variables["batch_stats"]["norm1"]
    scale = norm["scale"] / np.sqrt(statistics["var"] + 1e-3)
    before, after = variables["params"], folded["params"]
    for name in ("kernel", "bias"):
        np.testing.assert_allclose(after["conv1"][name], before["conv1"][name] * scale, rtol=1e-5)
    np.testing.assert_array_equal(after["conv2"]["depthwise_kernel"], before["conv2"]["depthwise_kernel"])
    assert not np.allclose(after["conv2"]["pointwise_kernel"], before["conv2"]["pointwise_kernel"])


def test_stablehlo_holds_all_platforms_in_full_precision(exported):
    program = jax.export.deserialize(bytearray(exported.bundle.file("stablehlo").read_bytes()))
    assert program.platforms == ("cpu", "cuda", "tpu")
    convolutions = [line for line in program.mlir_module().splitlines() if "stablehlo.convolution(" in line]
    assert convolutions and all(line.count("<precision HIGHEST>") == 2 for line in convolutions)


def test_stablehlo_for_batches_of_many_sizes_compile_rarely(exported, tiny, caplog):
    run = graph.load_stablehlo(exported.bundle.file("stablehlo"))
    with jax.log_compiles(), caplog.at_level("WARNING"):
        for batch in (5, 6, 7, 8):
            assert run(tiny.faces.images[:batch])["logits"].shape == (batch, 7)
    assert sum("Finished XLA compilation" in message for message in caplog.messages) == 1


def test_stablehlo_names_no_folder_of_the_machine(exported):
    held = exported.bundle.file("stablehlo").read_bytes()
    assert b"graph.py" in held and str(REPOSITORY).encode() not in held and b"site-packages/" not in held
    assert jax.config.values[graph.SOURCE_FILES] is None


def test_a_file_of_another_time_and_a_graph_that_calls_other_code_are_refused(tmp_path):
    path = tmp_path / "model.stablehlo"
    path.write_bytes(b"something else")
    with pytest.raises(UserError, match=r"model.stablehlo: JAX .* cannot read it .*use the bundle's ONNX graph"):
        graph.load_stablehlo(path)
    shape = jax.ShapeDtypeStruct((2, 3), np.float32)

    def foreign(images):
        return {"logits": jax.ffi.ffi_call("foreign_code", shape)(images)}

    checks = [jax.export.DisabledSafetyCheck.custom_call("foreign_code")]
    written = jax.export.export(jax.jit(foreign), disabled_checks=checks, platforms=["cpu"])(shape)
    path.write_bytes(written.serialize())
    with pytest.raises(UserError, match="has a custom_call @foreign_code, which no exported network has"):
        graph.load_stablehlo(path)
