"""A graph gives the same logits however a batch is divided over threads."""

import numpy as np
import pytest

from fer_jax.bundle import runtime as runtimes
from fer_jax.errors import UserError


@pytest.mark.parametrize("batch", [1, 3, 8, 42])
def test_a_batch_divided_over_threads_keeps_its_order(exported, tiny, batch):
    alone, divided = (
        runtimes.open_graph(exported.bundle.file("onnx"), "onnx", threads)(tiny.faces.images[:batch])
        for threads in (1, 3)
    )
    assert divided.keys() == alone.keys()
    for name, values in alone.items():
        assert divided[name].shape == values.shape
        np.testing.assert_allclose(divided[name], values, rtol=1e-5, atol=1e-6)


def test_what_fails_in_another_thread_is_raised(exported):
    run = runtimes.open_graph(exported.bundle.file("onnx"), "onnx", 2)
    with pytest.raises(Exception, match="Got: 47 Expected: 48"):
        run(np.zeros((8, 47, 48, 1), np.uint8))


def test_what_is_no_graph(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(UserError, match=r"model\.onnx: ONNX Runtime .* cannot load it .* export the bundle again"):
        runtimes.open_graph(tmp_path / "model.onnx", "onnx")
