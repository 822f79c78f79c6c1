"""Small videos of every kind that cameras, phones, browsers and editors make, written by FFmpeg through PyAV."""

import pathlib
from fractions import Fraction

import av
import cv2
import numpy as np

MILLISECONDS = Fraction(1, 1000)


def frames(count, size=(64, 48)):
    """uint8 BGR frames, each of its own gray value, brighter by 5 from one to the next."""
    return [np.full((size[1], size[0], 3), 20 + 5 * i % 220, np.uint8) for i in range(count)]


def write(
    path: pathlib.Path,
    times,
    *,
    size=(64, 48),
    codec="libx264",
    rate=25,
    tick=Fraction(1, 90_000),
    gop=250,
    pixel_aspect=None,
    rotation=None,
    seconds_of_sound=0.0,
    images=None,
    transfer=None,
    **options,
) -> pathlib.Path:
    """A video with a frame at each of these times in seconds, in the container of its suffix."""
    with av.open(f"file:{path}", "w", options=options) as container:
        stream = container.add_stream(codec, rate=Fraction(rate).limit_denominator(1001))
        stream.width, stream.height = size
        stream.pix_fmt = {"gif": "rgb8", "apng": "rgb24"}.get(codec, "yuv420p")
        stream.codec_context.time_base = tick
        stream.codec_context.gop_size = gop
        if codec == "libx264":
            stream.options = {"bf": "0", "crf": "10", "preset": "ultrafast"}
        if transfer:
            stream.codec_context.color_trc = transfer
        if pixel_aspect:
            stream.codec_context.sample_aspect_ratio = Fraction(pixel_aspect)
        if rotation:
            stream.set_display_rotation(rotation)
        sound = container.add_stream("aac", rate=16_000) if seconds_of_sound else None
        for seconds, image in zip(times, images or frames(len(times), size), strict=False):
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = round(seconds / tick), tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound:
            for i in range(int(seconds_of_sound * 16_000 / 1024)):
                silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                silence.sample_rate, silence.pts, silence.time_base = 16_000, 1024 * i, Fraction(1, 16_000)
                container.mux(sound.encode(silence))
            container.mux(sound.encode(None))
    return path


def trimmed(source: pathlib.Path, path: pathlib.Path, start: float) -> pathlib.Path:
    """A copy without re-encoding that begins at `start` seconds, by an edit list: what is before is there, hidden."""
    with av.open(f"file:{source}") as given, av.open(f"file:{path}", "w") as container:
        stream = given.streams.video[0]
        copy = container.add_stream_from_template(stream)
        shift = round(start / stream.time_base)
        for packet in given.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copy
                container.mux(packet)
    return path


def music_with_cover(path: pathlib.Path, seconds=20.0) -> pathlib.Path:
    """An mp3 file of silence with a picture in it."""
    with av.open(f"file:{path}", "w") as container:
        sound = container.add_stream("libmp3lame", rate=16_000)
        cover = container.add_stream("mjpeg", rate=25)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(frames(1)[0], format="bgr24").reformat(format="yuvj420p")
        picture.pts, picture.time_base = 0, Fraction(1, 25)
        container.mux([*cover.encode(picture), *cover.encode(None)])
        for i in range(int(seconds * 16_000 / 576)):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 576), np.int16), format="s16p", layout="mono")
            silence.sample_rate, silence.pts, silence.time_base = 16_000, 576 * i, Fraction(1, 16_000)
            container.mux(sound.encode(silence))
        container.mux(sound.encode(None))
    return path


def animated_webp(path: pathlib.Path, count=5, milliseconds=100) -> pathlib.Path:
    """An animation as OpenCV writes it."""
    animation = cv2.Animation()
    # noise, for frames that are alike become one
    animation.frames = list(
        np.random.default_rng(0).integers(0, 256, (count, 48, 64, 4), np.uint8) | np.uint8([0, 0, 0, 255])
    )
    animation.durations = [milliseconds] * count
    good, data = cv2.imencodeanimation(".webp", animation)
    assert good
    path.write_bytes(data.tobytes())
    return path


def times_of(path: pathlib.Path) -> list[float]:
    """When each frame of a video is shown, in seconds."""
    with av.open(f"file:{path}") as container:
        return [frame.time for frame in container.decode(video=0)]


def duration_of(path: pathlib.Path) -> float:
    """Of a video, in seconds, as a player shows it."""
    with av.open(f"file:{path}") as container:
        return container.duration / av.time_base
