"""The time of a step by its operations, from a profile."""

import pytest

from benchmarks import operations


def event(name, begin, duration, thread=1, **args):
    return {"ph": "X", "pid": 1, "tid": thread, "name": name, "ts": begin, "dur": duration, "args": args}


EVENTS = [
    event("while.3", 0, 100, hlo_op="while.3"),  # holds the others
    event("jit__outer_.59", 10, 30, hlo_op="jit__outer_.59"),
    event("ynn_fusion.4", 15, 20, hlo_op="ynn_fusion.4"),  # within the one before
    event("jit__outer_.7", 50, 10, hlo_op="jit__outer_.7"),
    event("add_fusion.clone.1", 10, 60, thread=2, hlo_op="add_fusion.clone.1"),
    event("python", 0, 1000),
    {"ph": "M", "pid": 1, "name": "process_name"},
]


def test_shares_of_a_profile_count_an_operation_once():
    assert operations.shares(EVENTS) == pytest.approx({"add_fusion": 0.6, "outer": 0.4})


def test_the_device_is_busy_while_any_operation_runs():
    assert operations.busy_microseconds(EVENTS) == 60
    assert operations.busy_microseconds([event("a", 0, 5, hlo_op="a"), event("b", 7, 5, hlo_op="b")]) == 10


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("sm80_xmma_dgrad_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc", "cuDNN convolution, gradient of the input"),
        ("_ZN17cutlass__5x_cudnn6KernelI27Conv2dWgradOutputGradient", "cuDNN convolution, gradient of the kernel"),
        ("sm90_xmma_fprop_implicit_gemm_bf16bf16_bf16f32_f32", "cuDNN convolution"),
        ("void convolve_common_engine_float_NHWC<__nv_bfloat16>", "cuDNN convolution"),
        ("void cudnn::engines_precompiled::nchwToNhwcKernel<x>", "cuDNN change of layout"),
        ("nvjet_hsh_128x256_64x4_2x1_v_bz_coopA_NNT", "cuBLAS matrix product"),
        ("gemm_fusion_dot_general_3", "gemm_fusion_dot_general"),  # XLA's own
        ("loop_convert_fusion_12", "loop_convert_fusion"),
        ("x" * 3000, "x" * 60),
    ],
)
def test_kernels_of_a_gpu_are_named_by_their_library(symbol, name):
    assert list(operations.shares([event(symbol, 0, 1, hlo_op="custom-call.1")])) == [name]
