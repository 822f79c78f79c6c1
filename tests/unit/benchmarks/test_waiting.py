"""What a user waits for is measured by the commands themselves."""

import json

import pytest

from benchmarks import waiting
from fer_jax.errors import UserError
from tests import serving


def test_serving_is_one_record_that_json_can_hold(brightness_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(waiting, "CALLS", 3)
    clip = serving.write_clip(tmp_path / "clip.mp4", [100] * 12)
    [record] = waiting.serve(str(brightness_bundle), str(clip))
    assert json.loads(json.dumps(record)) == record
    assert (record["detector"], record["frames"], record["faces_a_frame"]) == ("haar", 12, 0)
    assert record["frames_per_s"] > 0 and 0 < record["startup_seconds"] < 60
    assert 0 < record["fastest_classification_ms"] <= record["classification_ms"]


def test_a_tool_that_fails_is_no_measurement(brightness_bundle, tmp_path):
    with pytest.raises(UserError, match="no such file or folder"):
        next(waiting.serve(str(brightness_bundle), str(tmp_path / "missing.mp4")))
