"""The exported function takes raw pixels and scales and crops them itself."""

import jax
import numpy as np

from fer_jax.bundle import manifest
from fer_jax.export import graph
from fer_jax.models import registry


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
