"""Which containers and codecs a recording may have."""

import os

import cv2
import pytest

from fer_jax.serve import formats
from tests import videos


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tiff", ".webp", ".ppm", ".jp2"])
@pytest.mark.parametrize("name", ["photo", "photo.jfif", "photo.mp4"])
def test_pictures_are_told_by_their_bytes(tmp_path, suffix, name):
    path = tmp_path / name
    path.write_bytes(cv2.imencode(suffix, videos.frames(1)[0])[1].tobytes())
    assert formats.kind_of(path) == "picture"


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi", ".ts", ".mpg"])
def test_videos_are_told_by_their_bytes(tmp_path, suffix):
    codec = {".mpg": "mpeg2video", ".avi": "mpeg4"}.get(suffix, "libx264")
    tick = {"tick": 1 / videos.Fraction(25)} if codec != "libx264" else {}
    path = videos.write(tmp_path / f"clip{suffix}", [i / 25 for i in range(5)], codec=codec, **tick)
    assert formats.kind_of(path.rename(tmp_path / "clip.png")) == "video"


@pytest.mark.parametrize("name", ["camera.mjpeg", "camera.MJPG"])
def test_jpeg_files_in_a_row_are_a_video(tmp_path, name):
    (tmp_path / name).write_bytes(cv2.imencode(".jpg", videos.frames(1)[0])[1].tobytes() * 5)
    assert formats.kind_of(tmp_path / name) == "video"


def test_animations(tmp_path):
    assert formats.kind_of(videos.animated_webp(tmp_path / "moving")) == "animation"
    (tmp_path / "x").write_bytes(b"GIF89a")
    assert formats.kind_of(tmp_path / "x") == "video"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe_is_neither_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    assert formats.kind_of(tmp_path / "a.png") == ""


def test_what_is_damaged_goes_by_its_suffix_and_the_rest_is_neither(tmp_path):
    for name, kind in (("a.png", "picture"), ("a.mp4", "video"), ("a.txt", ""), ("a", "")):
        (tmp_path / name).write_bytes(b"text")
        assert formats.kind_of(tmp_path / name) == kind
    assert formats.kind_of(tmp_path / "none.jpg") == "picture"
