"""What --source names; what comes out of a video file is tested in test_video.py, cameras in test_live.py."""

import base64
import contextlib
import http.server
import io
import os
import threading
import types

import cv2
import numpy as np
import pytest
from PIL import Image

from fer_jax.errors import UserError
from fer_jax.preprocess import images
from fer_jax.serve import sources, video
from tests import videos


@pytest.mark.parametrize("spec", ["{}", "{}/*", "{}/../**/*.*"])
def test_pictures_of_any_depth_and_channels_are_read_as_the_training_data_is(tmp_path, spec):
    (tmp_path / "pictures").mkdir()
    gray = np.random.default_rng(0).integers(0, 256, (10, 12), np.uint8)
    color = np.random.default_rng(1).integers(0, 256, (10, 12, 3), np.uint8)
    pictures = {
        "a_gray.png": gray,
        "b_alpha.png": np.dstack([color, np.full((10, 12), 128, np.uint8)]),
        "c_deep.png": color.astype(np.uint16) * 256 + 77,
        "d_deep_alpha.png": np.dstack([color, gray]).astype(np.uint16) * 257,
        "e_color.bmp": color,
    }
    for name, pixels in pictures.items():
        cv2.imwrite(str(tmp_path / "pictures" / name), pixels)
    for name in (".hidden.png", "notes.txt"):
        (tmp_path / "pictures" / name).touch()
    source = sources.open_source(spec.format(tmp_path / "pictures"))
    frames = list(source)
    assert source.still
    assert source.length == len(frames) == 5
    assert all(frame.starts for frame in frames)
    assert _names(frames) == list(pictures)
    for frame, expected in zip(frames, [np.repeat(gray[..., None], 3, axis=2), *[color] * 4], strict=True):
        assert frame.image.dtype == np.uint8
        np.testing.assert_array_equal(frame.image, expected)
        np.testing.assert_array_equal(frame.image[..., ::-1], images.read(tmp_path / "pictures" / _names([frame])[0]))


def _names(frames):
    return [frame.name.rpartition("/")[2] for frame in frames]


@pytest.mark.parametrize(
    ("make", "spec", "words"),
    [
        (None, "{}/a.mp4", r"a\.mp4: no such file or folder: expected a camera's number or device"),
        (lambda path: path.write_bytes(b""), "{}/a.mp4", r"a\.mp4: the file is empty"),
        (lambda path: path.write_bytes(b"text" * 1000), "{}/a.mp4", r"a\.mp4: not a video that FFmpeg can open"),
        (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n"), "{}/a.mp4", r"a\.mp4: not an image"),
        (lambda path: path.mkdir(), "{}/a.mp4", r"a\.mp4: no pictures or videos there, 0 other entries"),
        (None, "{}/*.png", "no pictures or videos there"),
        (None, "http://127.0.0.1:9/video", "http://127.0.0.1:9/video: no video comes from there"),
        (None, "x" * 5000, r"x: cannot be read \(File name too long\)"),
        (None, "", "the source is empty: expected a camera's number"),
        (None, "~nobody-has-this-name/a.png", "no such file"),
        (None, "/dev/null", "/dev/null: neither a file nor a camera nor a pipe"),
        (None, "data:image/png,abc", "^.{,149}$"),
        (None, "data:", "^.{,149}$"),
        (None, "data:image/png;base64,%%%", "^.{,149}$"),
        (None, "data:;base64," + 9999 * "A", "^.{,149}$"),
    ],
)
def test_what_is_no_source(tmp_path, make, spec, words):
    if make:
        make(tmp_path / "a.mp4")
    with pytest.raises(UserError, match=words):
        sources.open_source(spec.format(tmp_path))


def test_credentials_are_in_no_error():
    with pytest.raises(UserError) as raised:
        sources.open_source("http://me:secret@127.0.0.1:9/video?token=hidden")
    assert "secret" not in str(raised.value)
    assert "hidden" not in str(raised.value)
    assert raised.value.__cause__ is None, "FFmpeg's own error has the address in it"
    assert raised.value.__suppress_context__


@pytest.mark.parametrize("name", ["photo.jfif", "photo", "photo.mp4"])
def test_a_picture_is_one_whatever_its_suffix(tmp_path, name):
    (tmp_path / name).write_bytes(_encoded(".png"))
    source = sources.open_source(str(tmp_path / name))
    assert source.still
    (frame,) = source
    np.testing.assert_array_equal(frame.image, PICTURE)
    (mirrored,) = sources.open_source(str(tmp_path / name), mirror=True)
    np.testing.assert_array_equal(mirrored.image, PICTURE[:, ::-1])
    pixels = PICTURE.copy()
    source = sources.open_source(pixels)
    pixels[:] = 0
    (kept,) = source
    np.testing.assert_array_equal(kept.image, PICTURE)


def test_a_folder_is_played_in_the_order_of_its_numbers_and_says_what_it_leaves_out(tmp_path, caplog):
    for name in ("frame10.png", "frame2.png", "Frame1.png", "frame2b.png"):
        cv2.imwrite(str(tmp_path / name), videos.frames(1)[0])
    for name in ("notes.txt", ".hidden.png", "song.mp3"):
        (tmp_path / name).touch()
    (tmp_path / "more").mkdir()
    for spec in (tmp_path, tmp_path / "*.png"):
        names = _names(sources.open_source(str(spec)))
        assert names == ["Frame1.png", "frame2.png", "frame2b.png", "frame10.png"]
    assert "left out 3, neither pictures nor videos: more, notes.txt, song.mp3" in caplog.text


def test_a_folder_of_pictures_and_videos(tmp_path, caplog):
    videos.write(tmp_path / "b.mp4", [0.0, 0.04, 0.5])
    videos.write(tmp_path / "d.webm", [0.0, 0.04], codec="libvpx", tick=videos.MILLISECONDS)
    (tmp_path / "c.mp4").write_bytes(b"damaged")
    for name in ("a.png", "e.png"):
        cv2.imwrite(str(tmp_path / name), videos.frames(1)[0])
    source = sources.open_source(str(tmp_path))
    assert (source.still, source.live, source.length) == (False, False, 0)
    frames = list(source)
    assert _names(frames) == ["a.png", *["b.mp4"] * 3, *["d.webm"] * 2, "e.png"]
    assert [frame.starts for frame in frames] == [True, True, False, False, True, False, True]
    assert [frame.still for frame in frames] == [True, *[False] * 5, True]
    times = [frame.time for frame in frames]
    np.testing.assert_allclose(times[:4], [0, 1, 1.04, 1.5], atol=1e-3)
    assert times == sorted(times)
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 5, 6, 7], "the one that cannot be read is counted"
    assert "c.mp4: not a video that FFmpeg can open" in caplog.text


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".png"])
def test_a_pipe_is_read_to_its_end(tmp_path, suffix):
    still = suffix == ".png"
    path = tmp_path / f"clip{suffix}"
    data = _encoded(suffix) if still else videos.write(path, [i / 25 for i in range(30)]).read_bytes()
    os.mkfifo(tmp_path / "pipe.png")
    assert sources.kind_of(tmp_path / "pipe.png") == "", "it is not waited for"
    writer = threading.Thread(target=(tmp_path / "pipe.png").write_bytes, args=(data,))
    writer.start()
    source = sources.open_source(str(tmp_path / "pipe.png"))
    frames = list(source)
    writer.join()
    assert not source.live
    assert [frame.still for frame in frames] == ([True] if still else [False] * 30)
    assert not still or (frames[0].image == PICTURE).all()


def test_a_camera_by_its_device(monkeypatch, tmp_path):
    """/dev/v4l/by-id/... are links to the devices."""
    status = os.stat_result((0o020660, *[0] * 9))
    monkeypatch.setattr(os, "major", lambda device: 81)
    opened = []
    monkeypatch.setattr(video, "camera", lambda *args: opened.append(args))
    path = tmp_path / "usb-Camera-index0"
    path.symlink_to(tmp_path / "video7")
    monkeypatch.setattr(type(path), "stat", lambda self, **_: status)
    sources._device(path, str(path), (1280, 720), 3.0)
    assert opened == [(str(tmp_path / "video7"), f"camera {path}", (1280, 720), 3.0)]


def test_what_a_source_reads(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    both = [tmp_path / "a.png", tmp_path / "b.png"]
    assert sources.inputs_of(str(tmp_path)) == both
    assert sources.inputs_of(f"{tmp_path}/*.png") == both
    assert sources.inputs_of(str(both[0])) == both[:1]
    assert sources.inputs_of("0") == sources.inputs_of("rtsp://host/live") == sources.inputs_of("-") == []
    path = videos.write(tmp_path / "a b.mp4", [0.0, 0.04])
    assert sources.inputs_of(path.as_uri()) == [path]
    assert len(list(sources.open_source(path.as_uri()))) == 2
    with pytest.raises(UserError, match=r"--camera-size is for cameras, and .*a b.mp4 is none: leave the flag out"):
        sources.open_source(str(path), camera_size=(1280, 720))


@pytest.fixture
def server(tmp_path):
    """Serves what is in `tmp_path`, below /unsized/ without its length, and /camera as 25 frames of Motion JPEG.

    Of /damaged, every fifth is no JPEG; of /garbage, none is.
    """

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path))

        def do_GET(self):
            if period := {"/camera": 99, "/damaged": 5, "/garbage": 1}.get(self.path):
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                good, bad = cv2.imencode(".jpg", videos.frames(1)[0])[1].tobytes(), b"no JPEG" * 100
                with contextlib.suppress(ConnectionError):
                    for i in range(25 if period > 1 else 1000):
                        data = bad if i and not i % period else good
                        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                        self.wfile.write(head.encode() + data + b"\r\n")
            elif self.path.startswith("/unsized/"):
                self.send_response(200)
                self.end_headers()
                self.wfile.write((tmp_path / self.path.removeprefix("/unsized/")).read_bytes())
            else:
                super().do_GET()

        def log_message(self, *args):
            pass

    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{made.server_address[1]}"
    made.shutdown()
    made.server_close()


# without its length a transport stream is live television
@pytest.mark.parametrize("address", ["clip.mp4", "clip.webm", "clip.ts", "unsized/clip.mp4", "unsized/clip.webm"])
def test_a_file_on_a_web_server_is_a_file(tmp_path, server, address):
    name = address.rpartition("/")[2]
    codec = "libvpx" if name.endswith(".webm") else "libx264"
    options = {"movflags": "+faststart"} if name.endswith(".mp4") else {}
    videos.write(tmp_path / name, [i / 25 for i in range(60)], codec=codec, tick=videos.MILLISECONDS, **options)
    source = sources.open_source(f"{server}/{address}")
    frames = list(source)
    source.close()
    assert not source.live
    assert len(frames) == 60
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(60) / 25, atol=2e-3)


def test_a_web_server_that_gives_no_parts_of_a_file_may_be_why_it_cannot_be_read(tmp_path, server):
    noise = list(np.random.default_rng(0).integers(0, 256, (20, 96, 128, 3), np.uint8))
    videos.write(tmp_path / "clip.mp4", np.arange(20) / 25, size=(128, 96), images=noise)  # its index is at the end
    source = sources.open_source(f"{server}/clip.mp4")
    with pytest.raises(UserError, match=r"clip.mp4: no frame can be read: .* range requests can begin: give"):
        list(source)
    source.close()


@pytest.mark.parametrize(("path", "fewest", "most"), [("camera", 20, 25), ("damaged", 20, 21), ("garbage", 0, 1)])
def test_a_network_camera_is_live_and_what_is_damaged_is_left_out(server, path, fewest, most):
    source = sources.open_source(f"{server}/{path}")
    assert source.live
    frames = []
    with pytest.raises(UserError, match=rf"/{path} gave no frame after \d+: it was unplugged, or the connection broke"):
        frames.extend(frame for frame in source if frames.append(frame))
    source.close()
    assert fewest <= len(frames) <= most


def test_a_folder_of_folders_gives_the_pictures_below(tmp_path):
    for name in ("happy/a.png", "sad/b.png"):
        (tmp_path / name).parent.mkdir()
        assert cv2.imwrite(str(tmp_path / name), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "extracted.csv").touch()
    assert len(list(sources.open_source(str(tmp_path)))) == 2


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tiff", ".webp", ".ppm", ".jp2"])
@pytest.mark.parametrize("name", ["photo", "photo.jfif", "photo.mp4"])
def test_pictures_are_told_by_their_bytes(tmp_path, suffix, name):
    path = tmp_path / name
    path.write_bytes(cv2.imencode(suffix, videos.frames(1)[0])[1].tobytes())
    assert sources.kind_of(path) == "picture"


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi", ".ts", ".mpg"])
def test_videos_are_told_by_their_bytes(tmp_path, suffix):
    codec = {".mpg": "mpeg2video", ".avi": "mpeg4"}.get(suffix, "libx264")
    tick = {"tick": 1 / videos.Fraction(25)} if codec != "libx264" else {}
    path = videos.write(tmp_path / f"clip{suffix}", [i / 25 for i in range(5)], codec=codec, **tick)
    assert sources.kind_of(path.rename(tmp_path / "clip.png")) == "video"


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        *[
            (name, cv2.imencode(".jpg", videos.frames(1)[0])[1].tobytes() * 5, "video")
            for name in ("a.mjpeg", "a.MJPG")
        ],
        ("x", b"GIF89a", "video"),
        *[(name, b"text", kind) for name, kind in (("a.png", "picture"), ("a.mp4", "video"), ("a.txt", ""), ("a", ""))],
    ],
)
def test_what_the_first_bytes_do_not_tell_goes_by_its_suffix(tmp_path, name, data, kind):
    (tmp_path / name).write_bytes(data)
    assert sources.kind_of(tmp_path / name) == kind
    assert sources.kind_of(tmp_path / "none.jpg") == "picture"
    assert sources.kind_of(videos.animated_webp(tmp_path / "moving")) == "animation"


PICTURE = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)


def _encoded(suffix):
    if suffix == ".gif":
        file = io.BytesIO()
        Image.fromarray(PICTURE[..., ::-1]).save(file, "gif")
        return file.getvalue()
    return cv2.imencode(suffix, PICTURE)[1].tobytes()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tiff", ".gif", ".avif"])
def test_a_picture_is_a_picture_wherever_it_comes_from(tmp_path, server, monkeypatch, suffix):
    data = _encoded(suffix)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(data)
    [expected] = sources.open_source(path)
    encoded = "data:image/x;base64," + base64.b64encode(data).decode()
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(data)))
    for source in (data, bytearray(data), encoded, "-", f"{server}/a{suffix}", f"{server}/a{suffix}?width=200&x=[1]"):
        opened = sources.open_source(source)
        [frame] = opened
        assert (opened.still, opened.live, frame.still) == (True, False, True)
        np.testing.assert_array_equal(frame.image, expected.image)


def test_the_bytes_of_videos_are_videos(tmp_path):
    video = videos.write(tmp_path / "clip.mp4", [0.0, 0.04, 0.08])
    assert [frame.still for frame in sources.open_source(video.read_bytes())] == [False] * 3
    webp = videos.animated_webp(tmp_path / "moving").read_bytes()
    assert len(list(sources.open_source(webp))) == len(list(sources.open_source(tmp_path / "moving"))) > 1


def test_more_pixels_than_fit_are_one_line_before_they_are_decoded(tmp_path, monkeypatch):
    paths = [videos.write(tmp_path / "clip.mp4", [0.0, 0.04]), videos.animated_webp(tmp_path / "moving.webp")]
    for suffix in (".gif", ".png"):
        paths.append(tmp_path / f"a{suffix}")
        paths[-1].write_bytes(_encoded(suffix))
    monkeypatch.setattr(images.check_pixels, "__defaults__", (1000,))
    monkeypatch.setattr(images.decode, "__defaults__", (1000,))
    for path in paths:
        with pytest.raises(UserError, match=r"[\d,]+ pixels, expected 1,000 at most: make it smaller"):
            sources.open_source(path)


@pytest.mark.parametrize("name", ["~photo.png", "~", "a?b.png", "[2020].png"])
def test_names_that_mean_something_else_are_files_first(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite(str(tmp_path / "x.png"), PICTURE)
    (tmp_path / "x.png").rename(tmp_path / name)
    assert len(list(sources.open_source(name))) == 1
    assert sources.expanded(name) == [name]
    assert sources.expanded(".") == [name]
    assert sources.expanded("") == [""]  # a variable of the shell that is not set is not the folder here


def test_a_glob_below_a_folder_with_brackets_and_addresses_that_are_no_globs(tmp_path):
    (tmp_path / "Album [2020]").mkdir()
    path = tmp_path / "Album [2020]" / "a.png"
    cv2.imwrite(str(path), PICTURE)
    assert sources.expanded(f"{tmp_path}/Album [2020]/*.png") == sources.expanded(f"{tmp_path}/A*/?.png") == [str(path)]
    assert sources.expanded("http://host/a.jpg?width=[1]") == ["http://host/a.jpg?width=[1]"]


def test_pages_that_are_not_analyzed_are_told(tmp_path, caplog):
    pages = [Image.fromarray(PICTURE)] * 3
    pages[0].save(tmp_path / "pages.tiff", save_all=True, append_images=pages[1:])
    for source in (tmp_path / "pages.tiff", (tmp_path / "pages.tiff").read_bytes()):
        caplog.clear()
        assert len(list(sources.open_source(source))) == 1
        assert "the first of 3 pages" in caplog.text
    caplog.clear()
    sources.open_source(Image.open(tmp_path / "pages.tiff"))
    assert "a PIL image of 3 frames" in caplog.text


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "RGB", "RGBA", "RGBa", "La", "LA", "PA", "CMYK", "YCbCr", "LAB", "HSV", "RGBX"]
)
def test_pillow_images_of_any_mode(mode):
    gray = Image.fromarray(np.full((20, 30), 200, np.uint8))
    via = {"RGBa": "RGBA", "La": "LA", "LAB": "RGB", "HSV": "RGB", "PA": "RGBA"}.get(mode)
    image = (gray.convert(via) if via else gray).convert(mode)
    [frame] = sources.open_source(image)
    assert frame.image.shape == (20, 30, 3)
    assert abs(float(frame.image.mean()) - 200) < (60 if mode == "1" else 4)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pillow_images_that_would_be_cut_off_are_refused(mode):
    with pytest.raises(ValueError, match=f"a PIL image of mode {mode}: expected 8 bits"):
        sources.open_source(Image.new(mode, (9, 9)))


@pytest.mark.parametrize(
    ("known", "web", "endless"),
    [
        ({}, True, True),
        ({"size": 0}, True, True),
        ({"size": -1}, True, True),
        ({"size": 5000}, True, False),
        ({"duration": 5000}, True, False),
        ({"name": "mov,mp4"}, True, False),
        ({"name": "rtsp"}, False, True),
    ],
)
def test_a_stream_of_unknown_length_is_live(known, web, endless):
    """By a container of PyAV 19, which says None where FFmpeg does not know."""
    known = {"duration": None, "size": None, "name": "mpjpeg"} | known
    container = types.SimpleNamespace(**known, format=types.SimpleNamespace(name=known["name"]))
    assert video.is_endless(container, web) == endless
