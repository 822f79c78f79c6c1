"""The StableHLO file is for every platform and compiles rarely."""

import jax
import numpy as np
import pytest

from fer_jax.errors import UserError
from fer_jax.export import stablehlo


def test_it_holds_all_platforms_in_full_precision(exported):
    program = jax.export.deserialize(bytearray(exported.bundle.file("stablehlo").read_bytes()))
    assert program.platforms == ("cpu", "cuda", "tpu")
    convolutions = [line for line in program.mlir_module().splitlines() if "stablehlo.convolution(" in line]
    assert convolutions and all(line.count("<precision HIGHEST>") == 2 for line in convolutions)


def test_batches_of_many_sizes_compile_rarely(exported, tiny, caplog):
    run = stablehlo.load(exported.bundle.file("stablehlo"))
    with jax.log_compiles(), caplog.at_level("WARNING"):
        for batch in (5, 6, 7, 8):
            assert run(tiny.faces.images[:batch])["logits"].shape == (batch, 7)
    assert sum("Finished XLA compilation" in message for message in caplog.messages) == 1


def test_a_file_of_another_time_and_a_graph_that_calls_other_code_are_refused(tmp_path):
    path = tmp_path / "model.stablehlo"
    path.write_bytes(b"something else")
    with pytest.raises(UserError, match=r"model.stablehlo: JAX .* cannot read it .*use the bundle's ONNX graph"):
        stablehlo.load(path)
    shape = jax.ShapeDtypeStruct((2, 3), np.float32)

    def foreign(images):
        return {"logits": jax.ffi.ffi_call("foreign_code", shape)(images)}

    checks = [jax.export.DisabledSafetyCheck.custom_call("foreign_code")]
    written = jax.export.export(jax.jit(foreign), disabled_checks=checks, platforms=["cpu"])(shape)
    path.write_bytes(written.serialize())
    with pytest.raises(UserError, match="has a custom_call @foreign_code, which no exported network has"):
        stablehlo.load(path)
