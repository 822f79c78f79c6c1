"""Every visible frame of a video at its own time, whatever the container's header claims."""

import av
import cv2
import numpy as np
import PIL.ExifTags
import PIL.Image
import pytest

from fer_jax.errors import UserError
from fer_jax.preprocess import images
from fer_jax.serve import sources, video
from tests import videos


def read(path):
    """Frames of a source, and the error at its end or None."""
    frames = []
    source = sources.open_source(str(path))
    try:
        frames.extend(frame for frame in source if frames.append(frame))
    except UserError as error:
        return source, frames, str(error)
    finally:
        source.close()
    return source, frames, None


def times(frames):
    return [frame.time for frame in frames]


VARIABLE = [0.0, 0.04, 0.08, 0.5, 0.52, 1.7, 2.9]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".mov"])
def test_variable_frame_rates_keep_the_frames_own_times(tmp_path, suffix):
    codec = "libvpx" if suffix == ".webm" else "libx264"
    path = videos.write(tmp_path / f"clip{suffix}", VARIABLE, codec=codec, tick=videos.MILLISECONDS)
    _, frames, error = read(path)
    assert error is None
    np.testing.assert_allclose(times(frames), VARIABLE, atol=2e-3)
    np.testing.assert_allclose([frame.image.mean() for frame in frames], [20 + 5 * i for i in range(7)], atol=4)
    assert [frame.starts for frame in frames] == [True] + [False] * 6


def test_a_browser_s_recording_without_rate_or_duration(real_data):
    source, frames, error = read(real_data / "cases" / "serve" / "mediarecorder" / "chromium_fake_camera.webm")
    assert error is None
    assert len(frames) >= 43
    assert source.rate < 100
    assert times(frames) == sorted(times(frames))
    assert times(frames)[-1] == pytest.approx(4.2, abs=0.2)


@pytest.mark.parametrize("name", ["vfr.mp4", "vfr.webm"])
def test_a_variable_rate_is_not_called_truncated(real_data, name):
    _, frames, error = read(real_data / "cases" / "serve" / "vfr_truncated" / name)
    assert error is None
    assert len(frames) == 40
    assert times(frames)[-1] == pytest.approx(3.8, abs=0.01)


@pytest.mark.parametrize("rate", [211.222, 239.76])
def test_slow_motion(tmp_path, rate):
    path = videos.write(tmp_path / "slow.mp4", [i / rate for i in range(100)], rate=rate)
    source, frames, error = read(path)
    assert error is None
    assert source.rate == pytest.approx(rate, rel=5e-3)
    np.testing.assert_allclose(times(frames), np.arange(100) / rate, atol=1e-4)


def test_frames_that_an_edit_list_hides_are_not_shown(tmp_path):
    whole = videos.write(tmp_path / "whole.mp4", [i / 25 for i in range(75)], gop=25)
    path = videos.trimmed(whole, tmp_path / "trimmed.mp4", 1.2)
    _, frames, error = read(path)
    assert error is None
    assert len(frames) == 45
    np.testing.assert_allclose(times(frames), np.arange(45) / 25, atol=1e-3)
    np.testing.assert_allclose([frame.image.mean() for frame in frames[:3]], [170, 175, 180], atol=4)


def test_transport_streams_put_together(tmp_path):
    one = videos.write(tmp_path / "one.ts", [i / 25 for i in range(50)])
    (tmp_path / "both.ts").write_bytes(one.read_bytes() * 2)
    _, frames, error = read(tmp_path / "both.ts")
    assert error is None
    assert len(frames) == 100
    np.testing.assert_allclose(times(frames), np.arange(100) / 25, atol=1e-3)


def test_the_cover_of_a_piece_of_music_is_one_picture(tmp_path):
    source, frames, error = read(videos.music_with_cover(tmp_path / "song.mp3"))
    assert error is None
    assert source.still
    assert [frame.image.shape for frame in frames] == [(48, 64, 3)]


def test_sound_that_goes_on_does_not_make_the_video_truncated(tmp_path):
    path = videos.write(tmp_path / "clip.mp4", [i / 25 for i in range(50)], seconds_of_sound=8.0)
    _, frames, error = read(path)
    assert error is None
    assert len(frames) == 50


def test_music_without_a_picture(tmp_path):
    path = videos.write(tmp_path / "clip.m4v", [i / 25 for i in range(5)], seconds_of_sound=1.0)
    with av.open(str(path)) as given, av.open(str(tmp_path / "song.m4a"), "w", format="mp4") as container:
        copy = container.add_stream_from_template(given.streams.audio[0])
        for packet in given.demux(audio=0):
            if packet.dts is not None:
                packet.stream = copy
                container.mux(packet)
    with pytest.raises(UserError, match=r"song.m4a: sound only in this file: expected a video or a picture"):
        sources.open_source(str(tmp_path / "song.m4a"))


def test_a_file_that_is_cut_off_gives_what_it_has_and_then_says_so(tmp_path):
    rng = np.random.default_rng(0)
    images = list(rng.integers(0, 256, (100, 48, 64, 3), np.uint8))
    path = videos.write(
        tmp_path / "whole.mp4", [i / 25 for i in range(100)], images=images, movflags="+faststart", gop=10
    )
    data = path.read_bytes()
    (tmp_path / "half.mp4").write_bytes(data[: len(data) // 2])
    _, frames, error = read(tmp_path / "half.mp4")
    assert 30 < len(frames) < 70
    assert "half.mp4: ends after" in error
    assert "of 4.0 s" in error
    assert "truncated or damaged" in error
    (tmp_path / "nearly.mp4").write_bytes(data[: len(data) * 9 // 10])
    assert read(tmp_path / "nearly.mp4")[2] is None, "less than a second is missing"


def test_non_square_pixels_are_made_square(tmp_path):
    path = videos.write(tmp_path / "wide.mp4", [i / 25 for i in range(5)], pixel_aspect="16/11")
    _, frames, _ = read(path)
    assert frames[0].image.shape == (48, round(64 * 16 / 11), 3)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_rotated_video_is_upright(tmp_path, rotation):
    marked = np.zeros((48, 64, 3), np.uint8)
    marked[:16, :16] = 255
    path = videos.write(tmp_path / "phone.mp4", [0.0, 0.04], images=[marked, marked], rotation=rotation)
    _, frames, _ = read(path)
    expected = cv2.VideoCapture(str(path)).read()[1]
    assert frames[0].image.shape == expected.shape == ((48, 64, 3) if rotation == 180 else (64, 48, 3))
    np.testing.assert_allclose(frames[0].image.astype(int), expected, atol=3)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_an_animation_with_exif_is_upright(tmp_path, orientation):
    # a kind of side data that PyAV does not know and would refuse with all others
    marked = np.zeros((48, 64, 3), np.uint8)
    marked[:16, :16] = 255
    exif = PIL.Image.Exif()
    exif[PIL.ExifTags.Base.Orientation] = orientation
    first, second = PIL.Image.fromarray(marked), PIL.Image.fromarray(255 - marked)
    first.save(tmp_path / "moving.png", save_all=True, append_images=[second], duration=100, exif=exif)
    first.save(tmp_path / "still.png", exif=exif)
    _, frames, error = read(tmp_path / "moving.png")
    assert (len(frames), error) == (2, None)
    np.testing.assert_array_equal(frames[0].image, images.read(tmp_path / "still.png"))


@pytest.mark.parametrize(("suffix", "codec"), [(".gif", "gif"), (".png", "apng")])
def test_animations_are_videos(tmp_path, suffix, codec):
    options = {"plays": "0"} if codec == "apng" else {}
    path = tmp_path / f"moving{suffix}"
    with av.open(str(path), "w", format=codec, options=options) as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb8" if codec == "gif" else "rgb24"
        for image in videos.frames(8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode(None))
    source, frames, error = read(path)
    assert error is None
    assert not source.still
    assert len(frames) == 8
    np.testing.assert_allclose(times(frames), np.arange(8) / 10, atol=1e-2)


def test_an_animated_webp(tmp_path):
    source, frames, error = read(videos.animated_webp(tmp_path / "moving.webp"))
    assert error is None
    assert (source.still, source.rate, len(frames)) == (False, 10, 5)
    np.testing.assert_allclose(times(frames), np.arange(5) / 10)
    (tmp_path / "broken.webp").write_bytes((tmp_path / "moving.webp").read_bytes()[:60])
    with pytest.raises(UserError, match=r"broken.webp: "):
        sources.open_source(str(tmp_path / "broken.webp"))


def test_a_gif_of_one_frame_is_a_picture(tmp_path):
    path = tmp_path / "still.gif"
    path.write_bytes(cv2.imencode(".gif", videos.frames(1)[0])[1].tobytes())
    source, frames, error = read(path)
    assert error is None
    assert source.still
    assert len(frames) == 1


@pytest.mark.parametrize(
    "name", ["a:b.mp4", "100%03d.mp4", "caf\udce9.mp4", "-dash.mp4", "new\nline.mp4", "'quote.mp4"]
)
def test_names_of_any_characters(tmp_path, name):
    path = videos.write(tmp_path / "clip.mp4", [i / 25 for i in range(5)]).rename(tmp_path / name)
    source, frames, error = read(path)
    assert error is None
    assert len(frames) == 5
    source.name.encode()  # valid Unicode: it goes into events and a window's title


def test_closing_ends_a_source_that_another_thread_reads(tmp_path):
    opened = sources.open_source(str(videos.write(tmp_path / "clip.mp4", [i / 25 for i in range(5)])))
    assert isinstance(opened, video.VideoFile)
    frames = iter(opened)
    next(frames)
    opened.close()
    opened.close()
    assert list(frames) == []
