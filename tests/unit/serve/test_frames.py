"""Frames as sources give them, and names as people see them."""

import dataclasses

import numpy as np
import pytest

from fer_jax.serve import frames


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("rtsp://admin:secret@cam.local:554/live", "rtsp://cam.local:554/live"),
        ("http://me:p%40ss@10.0.0.1/video?fps=5", "http://10.0.0.1/video?fps=5"),
        ("http://user:a/b@host/x", "http://host/x"),
        ("http://cam/cgi?user=me&pwd=1234&channel=2", "http://cam/cgi?user=...&pwd=...&channel=2"),
        ("https://cam/v?access_token=abc#t=3", "https://cam/v?access_token=...#t=3"),
        ("rtsp://[::1]:554/live", "rtsp://[::1]:554/live"),
        ("a\x1b[31mb\n\x9b\u202e.jpg", "a\\x1b[31mb\\n\\x9b\\u202e.jpg"),
        (
            "Foto von J\u00f6rg\u202f9 \U0001f469\u200d\U0001f680.jpg",
            "Foto von J\u00f6rg\u202f9 \U0001f469\u200d\U0001f680.jpg",
        ),
        ("http://host:8080/@someone/clip.mp4", "http://host:8080/@someone/clip.mp4"),
        ("talk.mp4", "talk.mp4"),
        ("mail@home.mp4", "mail@home.mp4"),
        ("caf\udce9.mp4", "caf\\xe9.mp4"),
    ],
)
def test_names_carry_no_credentials_and_are_unicode(spec, name):
    assert frames.shown(spec) == name


@pytest.mark.parametrize(
    ("options", "stamps", "times"),
    [
        ({"period": 0.1}, (None, None, None), [0, 0.1, 0.2]),
        ({"period": 0.04}, (1.4, 1.44, 1.43, 1.48, 61.48, 1.4, 1.44), [0, 0.04, 0.04, 0.08, 60.08, 60.12, 60.16]),
        # a long step is a new beginning in formats that can be put together
        ({"period": 0.04, "max_step": 10.0}, (0.0, 9.0, 500.0, 500.04), [0, 9, 9.04, 9.08]),
    ],
)
def test_a_timeline_begins_at_zero_and_never_runs_backwards(options, stamps, times):
    line = frames.Timeline(**options)
    assert [line.at(stamp) for stamp in stamps] == pytest.approx(times)


def test_a_mirror_swaps_left_and_right():
    frame = frames.Frame(np.arange(24, dtype=np.uint8).reshape(2, 4, 3), 0, 0.0, 0.0, "x", True)

    class Made:
        name, rate, live, still, length = "x", 25.0, True, False, 0
        closed = False

        def __iter__(self):
            yield frame

        def close(self):
            self.closed = True

    source = Made()
    mirrored = frames.Mirrored(source)
    (seen,) = mirrored
    np.testing.assert_array_equal(seen.image, frame.image[:, ::-1])
    assert dataclasses.replace(seen, image=frame.image) == frame
    assert (mirrored.name, mirrored.rate, mirrored.live) == ("x", 25.0, True)
    mirrored.close()
    assert source.closed


@pytest.mark.parametrize(
    "image",
    [
        np.full((6, 8), 7, np.uint8),
        np.full((6, 8, 1), 7, np.uint8),
        np.full((6, 8, 4), 7, np.uint8),
        np.full((6, 8), 7 * 256 + 99, np.uint16),
        np.full((6, 8, 4), 7 * 256, np.uint16),
    ],
)
def test_cameras_may_give_gray_alpha_or_sixteen_bits(image):
    np.testing.assert_array_equal(frames.as_bgr(image), np.full((6, 8, 3), 7, np.uint8))
