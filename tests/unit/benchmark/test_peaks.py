"""A device's peak rates come from its data sheet or from a measurement."""

import types

import jax

from fer_jax.benchmark import peaks


def test_a_data_sheet_is_found_by_the_name_of_the_device():
    assert peaks.known(types.SimpleNamespace(device_kind="NVIDIA H200")).bytes == 4.8e12
    assert peaks.known(jax.devices("cpu")[0]) is None


def test_what_a_device_reaches_is_measured():
    peak = peaks.measure(jax.devices("cpu")[0], seconds=0, side=64)
    assert 1e6 < peak.flops < 1e15
    assert 1e6 < peak.bytes < 1e13
    assert peak.source == "measured"
