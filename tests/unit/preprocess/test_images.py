"""Any image file becomes uint8 of the network's geometry."""

import os
import pathlib

import cv2
import numpy as np
import PIL.ExifTags
import PIL.Image
import PIL.ImageOps
import pytest
from ml_collections import ConfigDict

from fer_jax.errors import UserError
from fer_jax.preprocess import images
from tests.conftest import run_python

HEIC = pathlib.Path(__file__).with_name("quads.heic")
RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
GRAY = np.repeat(RAMP[..., None], 3, axis=-1)
COLOUR = np.stack([RAMP, RAMP.T, 255 - RAMP], axis=-1)  # RGB


def geometry(size=16, channels=1, resize="area"):
    return ConfigDict({"size": size, "channels": channels, "resize": resize})


def save(path, pixels, *flags):
    assert cv2.imwrite(str(path), pixels, flags)
    return path


@pytest.mark.parametrize(
    ("suffix", "pixels", "flags", "expected"),
    [
        *((suffix, RAMP, (), GRAY) for suffix in ("png", "bmp", "tiff", "pgm")),
        ("webp", GRAY, (cv2.IMWRITE_WEBP_QUALITY, 101), GRAY),  # without loss
        *((suffix, RAMP.astype(np.uint16) * 257, (), GRAY) for suffix in ("png", "tiff")),
        ("png", COLOUR[..., ::-1], (), COLOUR),
        ("png", np.dstack([COLOUR[..., ::-1], RAMP]), (), COLOUR),  # alpha is dropped
    ],
)
def test_files_of_any_depth_and_channels_are_rgb(tmp_path, suffix, pixels, flags, expected):
    read = images.read(save(tmp_path / f"face.{suffix}", pixels, *flags))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, expected)


def test_gray_keeps_its_values_and_that_of_color_is_luma():
    for pixels, gray in ((GRAY, RAMP), (COLOUR, COLOUR @ np.array([0.299, 0.587, 0.114]))):
        np.testing.assert_allclose(images.fit(pixels, geometry())[..., 0], gray, atol=0.51)
        np.testing.assert_array_equal(images.fit(pixels, geometry(channels=3)), pixels)
    np.testing.assert_array_equal(images.fit(GRAY, geometry())[..., 0], RAMP)


def test_a_heic_photo_is_put_together_from_its_tiles_and_upright():
    # drawn with libheif: 160x96 in tiles of 64, red and green over blue and white, turned by EXIF's orientation 6
    read = images.read(HEIC)
    assert (read.shape, read.dtype) == ((160, 96, 3), np.uint8)
    quarters = [read[40, 24], read[40, 72], read[120, 24], read[120, 72]]
    np.testing.assert_allclose(quarters, [(0, 0, 255), (255, 0, 0), (255, 255, 255), (0, 255, 0)], atol=8)
    np.testing.assert_array_equal(images.decode(HEIC.read_bytes(), "bytes"), read)


@pytest.mark.skipif(os.name == "nt", reason="names there are characters")
def test_a_name_that_is_no_text_is_read(tmp_path):
    path = save(tmp_path / "face.png", RAMP)
    path = path.rename(path.with_name("f\udce9\n.png"))
    np.testing.assert_array_equal(images.read(path)[..., 0], RAMP)


def test_opencv_is_silenced_once_since_each_call_gives_up_python_s_lock(monkeypatch):
    calls = []
    monkeypatch.setattr(images.cv2.utils.logging, "setLogLevel", calls.append)
    images._silence_opencv.cache_clear()
    for _ in range(3):
        images.decode(cv2.imencode(".png", RAMP)[1].tobytes(), "face.png")
    assert calls == [cv2.utils.logging.LOG_LEVEL_SILENT]
    images._silence_opencv.cache_clear()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe_among_pictures_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "face.png")
    with pytest.raises(UserError, match=r"face.png: a pipe or device, expected an image"):
        images.read(tmp_path / "face.png")


def test_area_averages_and_linear_interpolates():
    pixels = np.array([[0, 100, 10, 10], [100, 200, 10, 10], [0, 0, 0, 80], [0, 0, 0, 80]], np.uint8)
    np.testing.assert_array_equal(images.fit(pixels, geometry(2))[..., 0], [[100, 10], [0, 40]])
    ramp = np.tile(np.arange(0, 160, 10, dtype=np.uint8), (16, 1))
    linear = images.fit(ramp, geometry(8, resize="linear"))
    np.testing.assert_array_equal(linear[3, :, 0], ramp[0].reshape(8, 2).mean(axis=1))
    with pytest.raises(UserError, match=r"config.input.resize is 'cubic': expected one of area, linear"):
        images.fit(RAMP, geometry(resize="cubic"))


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 1), (30, 40, 3)])
def test_any_shape_becomes_the_networks(shape):
    pixels = np.full(shape, 9, np.uint8)
    for channels in (1, 3):
        fitted = images.fit_all([pixels, pixels], 2, geometry(channels=channels))
        np.testing.assert_array_equal(fitted, np.full((2, 16, 16, channels), 9, np.uint8))


def test_more_pixels_than_opencv_takes_is_one_line(tmp_path, monkeypatch):
    def raises(*_):
        raise cv2.error("OpenCV: (-215) pixels <= CV_IO_MAX_IMAGE_PIXELS")

    monkeypatch.setattr(images.cv2, "imdecode", raises)
    (tmp_path / "scan.png").write_bytes(b"PNG")
    with pytest.raises(UserError, match=r"scan.png: more pixels, expected 100,000,000 at most: make it smaller"):
        images.read(tmp_path / "scan.png")


def test_hidden_files_are_not_seen_and_a_link_to_a_folder_above_is_not_followed_round_and_round(tmp_path, caplog):
    (tmp_path / "happy").mkdir()
    for name in ("b.png", "a.png", ".DS_Store", "._a.png"):
        (tmp_path / "happy" / name).touch()
    (tmp_path / "happy" / "again").symlink_to(tmp_path)
    assert list(images.below(tmp_path)) == [tmp_path / "happy" / "a.png", tmp_path / "happy" / "b.png"]
    assert "is a link to a folder above it" in caplog.text


def jpeg(image, *flags):
    return cv2.imencode(".jpg", image, flags)[1].tobytes()


@pytest.mark.parametrize("flags", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)])
@pytest.mark.parametrize("size", [(1, 1), (48, 64), (300, 17)])
def test_the_pixels_of_a_file_are_read_from_its_header_and_not_from_a_thumbnail(size, flags):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    data, small = jpeg(image, *flags), jpeg(np.zeros((8, 9, 3), np.uint8))
    exif = b"\xff\xe1" + (len(small) + 2).to_bytes(2, "big") + small
    assert images.declared_pixels(data) == size[0] * size[1]
    assert images.declared_pixels(data[:2] + exif + data[2:]) == max(size[0] * size[1], 8 * 9)
    assert images.declared_pixels(cv2.imencode(".png", image)[1].tobytes()) == size[0] * size[1]
    assert images.declared_pixels(cv2.imencode(".bmp", image)[1].tobytes()) == 0


def progressive_bomb(scans):
    """A progressive JPEG whose last scan is repeated."""
    data = jpeg(np.full((64, 64, 3), 128, np.uint8), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * scans + data[-2:]


@pytest.mark.parametrize(
    ("data", "decoded", "words"),
    [
        (b"", True, r"not an image that OpenCV can read \(0 bytes\)"),
        (b"\x89PNG\r\n\x1a\n", True, r"not an image that OpenCV can read \(8 bytes\)"),
        (b"no picture at all", True, r"not an image that OpenCV can read \(17 bytes\)"),
        (HEIC.read_bytes()[:40], True, r"a HEIC photo that cannot be read \([^\n]+\): copy it again"),
        (HEIC.read_bytes()[:300], True, r"a HEIC photo that cannot be read \([^\n]+\): copy it again"),
        (b"\0\0\0\x18ftypheic" + bytes(100), True, r"a HEIC photo that cannot be read \([^\n]+\): copy it again"),
        # what would take gigabytes or minutes is refused unseen
        (jpeg(COLOUR).replace(b"\0\x10\0\x10", b"\xff\xff\xff\xff"), False, "4,294,836,225 pixels"),
        (progressive_bomb(1000), False, r"a JPEG of 1,0\d\d scans, expected 100 at most"),
    ],
)
def test_what_is_no_image_is_named(data, decoded, words, tmp_path, monkeypatch):
    if not decoded:
        monkeypatch.setattr(cv2, "imdecode", None)
    (tmp_path / "photo").write_bytes(data)
    with pytest.raises(UserError, match=f"photo: {words}"):
        images.read(tmp_path / "photo")


def test_opencv_refuses_other_formats_above_the_same_limit():
    """In a fresh process: OpenCV reads its limit when it is imported."""
    script = """if True:
        import sys, fer_jax, cv2, numpy as np
        from fer_jax.preprocess import images
        data = bytearray(cv2.imencode(".bmp", np.zeros((4, 4, 3), np.uint8))[1].tobytes())
        data[18:26] = (20000).to_bytes(4, "little") * 2
        images.decode(bytes(data), "photo")"""
    done = run_python("-c", script)
    assert "photo: more pixels, expected 100,000,000 at most" in done.stderr


def test_a_video_behind_a_photo_is_no_scan_of_it():
    photo = jpeg(COLOUR)
    np.testing.assert_array_equal(images.decode(photo + 200 * b"\xff\xda\x01", "photo"), images.decode(photo, "photo"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff", ".avif"])
def test_pictures_of_every_format_are_upright(tmp_path, suffix, orientation):
    marked = np.zeros((48, 64, 3), np.uint8)
    marked[:16, :16] = 255
    exif = PIL.Image.Exif()
    exif[PIL.ExifTags.Base.Orientation] = orientation
    PIL.Image.fromarray(marked).save(tmp_path / f"a{suffix}", exif=exif)
    expected = PIL.ImageOps.exif_transpose(PIL.Image.open(tmp_path / f"a{suffix}")).convert("RGB")
    found = images.read(tmp_path / f"a{suffix}")
    assert found.shape == np.asarray(expected).shape == ((64, 48, 3) if orientation > 4 else (48, 64, 3))
    assert np.abs(found.astype(int) - np.asarray(expected)).mean() < 3
