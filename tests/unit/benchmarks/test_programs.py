"""Compiled programs are read as XLA writes them."""

import jax
import jax.numpy as jnp

from benchmarks import programs

TEXT = """HloModule jit_chunk

%fused_computation (param_0: f32[8]) -> f32[8] {
  %param_0 = f32[8]{0} parameter(0)
  ROOT %add = f32[8]{0} add(%param_0, %param_0)
}

%body (arg: (s32[], f32[8])) -> (s32[], f32[8]) {
  %arg = (s32[], f32[8]{0}) parameter(0)
  %x = f32[8]{0} get-tuple-element(%arg), index=1
  %fusion.1 = (f32[8]{0:T(128)}, bf16[3,3]{1,0}) fusion(%x), kind=kLoop, calls=%fused_computation, \
metadata={op_name="while/body/stem1_conv/add"}, backend_config={"estimated_cycles":"120"}
  %all-reduce.1 = (f32[8]{0}, /*index=1*/f32[4]{0}) all-reduce-start(%x), metadata={op_name="while/body/psum"}
  ROOT %tuple = (s32[], f32[8]{0}) tuple(%x)
}

%condition (arg.1: (s32[], f32[8])) -> pred[] {
  %limit = s32[] constant(5)
  ROOT %less = pred[] compare(%i, %limit), direction=LT
}

ENTRY %main (p0: f32[8]) -> f32[8] {
  %p0 = f32[8]{0} parameter(0)
  %copy.1 = f32[8]{0} copy(%p0)
  %while.1 = (s32[], f32[8]{0}) while(%tuple.1), condition=%condition, body=%body
  ROOT %out = f32[8]{0} get-tuple-element(%while.1), index=1
}
"""


def test_operations_with_their_loops_cycles_and_bytes():
    copy, fusion, reduce = programs.operations(TEXT)
    assert (copy.kind, copy.times, copy.in_loop, copy.cycles, copy.bytes) == ("copy", 1, False, None, 32)
    assert (fusion.kind, fusion.times, fusion.in_loop, fusion.cycles) == ("fusion", 5, True, 120)
    assert fusion.name == "while/body/stem1_conv/add" and fusion.bytes == 8 * 4 + 9 * 2
    assert (reduce.kind, reduce.times, reduce.bytes) == ("all-reduce", 5, 48)


def test_a_trip_count_that_the_compiler_knows_comes_first():
    known = TEXT.replace("body=%body\n", 'body=%body, backend_config={"known_trip_count":{"n":"7"}}\n')
    assert {operation.times for operation in programs.operations(known)} == {1, 7}


def test_a_program_of_this_backend():
    def loop(x):
        return jax.lax.scan(lambda x, _: (jnp.sin(x @ x), None), x, None, length=9)[0]

    text = jax.jit(loop).lower(jnp.ones((16, 16))).compile().as_text()
    assert {operation.times for operation in programs.operations(text) if operation.in_loop} == {9}


def test_bytes_of_shapes():
    assert programs.bytes_of("f32[]") == 4
    assert programs.bytes_of("(pred[3]{0}, u8[2,5]{1,0:T(8,128)(4,1)S(1)}, bf16[7]{0})") == 3 + 10 + 14


ON_CHIP = """%body (arg: (s32[], f32[8])) -> (s32[], f32[8]) {
  %x = f32[8]{0:T(128)} get-tuple-element(%arg), index=1
  %copy-start.1 = (f32[8]{0:T(128)S(1)}, f32[8]{0:T(128)}, u32[]{:S(2)}) copy-start(%x)
  %slice-start.1 = ((f32[8]{0:T(128)}), f32[2]{0:T(128)S(1)}, u32[]{:S(2)}) slice-start(%x), slice={[0:2]}
  %scatter = f32[4]{0:T(128)S(1)} select-and-scatter(%x, %x), select=%region
  %copy-done.1 = f32[8]{0:T(128)S(1)} copy-done(%copy-start.1)
  %fusion = f32[16]{0:T(128)} fusion(%copy-done.1, %x), kind=kLoop, backend_config={"estimated_cycles":"120"}
  %rows = u8[3,4]{1,0:T(8,128)S(1)} gather(%x, %x), metadata={op_name="fetch/gather"}
  %named = f32[99]{0:S(1)} custom-call(), custom_call_target="AllocateBuffer"
  ROOT %mine = f32[2]{0} custom-call(%x), custom_call_target="tpu_custom_call"
}

ENTRY %main (p0: f32[8]) -> f32[8] {
  ROOT %while.1 = (s32[], f32[8]{0}) while(%p0), condition=%none, body=%body
}
"""


def test_bytes_of_the_slow_memory():
    found = [(operation.kind, operation.hbm_bytes, operation.label) for operation in programs.operations(ON_CHIP)]
    assert found == [
        ("copy-start", 32, "copy-start.1"),
        ("slice-start", 8, "slice-start.1"),
        ("select-and-scatter", 32, "scatter"),
        ("copy-done", 0, "copy-start.1"),
        ("fusion", 64 + 32, "fusion"),
        ("gather", 12, "rows"),
        ("tpu_custom_call", 8 + 32, "mine"),
    ]


def test_microseconds_that_a_gpu_compiler_expects():
    cost = '{"reification_cost":[{"end_to_end_cycles":7.0,"exec_time_us":2.5e1}]}'
    gpu = TEXT.replace('{"estimated_cycles":"120"}', cost)
    assert [operation.microseconds for operation in programs.operations(gpu)] == [None, 25.0, None]
