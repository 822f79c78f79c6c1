"""A bundle's weights come back bit for bit, under names that any reader of safetensors understands."""

import jax
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from fer_jax.bundle import manifest, weights
from fer_jax.errors import UserError


def test_the_tree_comes_back_bit_for_bit(exported, tiny):
    loaded = weights.load(exported.bundle)
    jax.tree.map(np.testing.assert_array_equal, loaded, tiny.variables)


def test_names_are_flat_and_readable_without_this_package(exported):
    arrays = safetensors.numpy.load_file(exported.bundle.file("weights"))
    assert arrays["params/stem1_conv/kernel"].shape == (3, 3, 1, 8)
    assert arrays["batch_stats/stem1_norm/mean"].shape == (8,)


def test_a_bundle_without_weights(tmp_path, manifest_arguments):
    (tmp_path / "model.onnx").write_bytes(b"graph")
    with pytest.raises(UserError, match="has no weights file, only onnx"):
        weights.load(manifest.write(tmp_path, **manifest_arguments))


def test_weights_have_the_permissions_of_the_graph(exported):
    graph, weights_file = (exported.bundle.file(role).stat().st_mode for role in ("onnx", "weights"))
    assert weights_file == graph


def test_numbers_beyond_float32_are_refused(tmp_path):
    safetensors.numpy.save_file({"a": np.array([1e300])}, tmp_path / "a.safetensors")
    with pytest.raises(UserError, match="'a' has numbers that are infinite or NaN"):
        weights.read_safetensors(tmp_path / "a.safetensors")


def test_half_precision_of_either_kind_is_taken(tmp_path):
    for kind in (np.float16, ml_dtypes.bfloat16):
        safetensors.numpy.save_file({"a": np.array([1.5, -2], kind)}, tmp_path / "a.safetensors")
        found = weights.read_safetensors(tmp_path / "a.safetensors")["a"]
        assert (found.dtype, found.tolist()) == (np.float32, [1.5, -2.0])
