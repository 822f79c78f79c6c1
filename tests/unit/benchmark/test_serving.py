"""Serving speed is measured in one record that can be kept as JSON."""

import json

import pytest

from fer_jax.benchmark import serving as measured
from tests import serving


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return serving.write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", [100] * 12)


def test_everything_is_measured_and_can_be_kept_as_json(brightness_bundle, clip, monkeypatch):
    monkeypatch.setattr(measured, "STARTS", 1)
    monkeypatch.setattr(measured, "REPETITIONS", 3)
    result = measured.measure(brightness_bundle, clip)
    assert result == json.loads(json.dumps(result))
    assert result.keys() == {"classification", "startup", "haar"}
    assert result["classification"]["faces"] == 8
    assert 0 < result["classification"]["fastest_ms"] <= result["classification"]["median_ms"]
    assert result["haar"]["frames"] == 12
    assert result["haar"]["faces_per_frame"] == 0
    assert result["haar"]["frames_per_second"] > 0
    assert result["haar"]["cpu_ms_per_frame"] > 0
    assert 0 < result["startup"]["seconds"] < 60


def test_a_tool_that_fails_is_no_measurement(brightness_bundle, clip):
    with pytest.raises(RuntimeError, match="no such file or folder"):
        measured.startup(brightness_bundle, clip.with_name("missing.mp4"))
