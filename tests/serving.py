"""A bundle and clips to serve, made without JAX: the label of a face is how bright its pixels are."""

import contextlib
import pathlib
import resource

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fer_jax.bundle import manifest
from fer_jax.faces import cropping
from fer_jax.labels import FER2013
from fer_jax.serve.analysis import TrackedFace
from fer_jax.serve.frames import Frame

STEEPNESS = 200.0
SMALL = manifest.Input(8, 1, "unit", "area")


def brightness_of(label: int, classes: int = len(FER2013)) -> int:
    """The gray value in the middle of a label's range."""
    return round(255 * (label + 0.5) / classes)


def write_bundle(
    folder: pathlib.Path,
    labels=FER2013,
    spec=SMALL,
    graph=None,
    temperature=1.0,
    uncertain_below=0.0,
    crop=cropping.CROP,
    maps=False,
    class_counts=None,
) -> pathlib.Path:
    """A whole bundle whose network compares an image's mean with each label's gray value.

    With `maps` its class maps do so with each pixel. `graph(path)` writes another ONNX file in place of this network.
    """
    folder.mkdir(parents=True)
    (graph or (lambda path: _write_graph(path, len(labels), spec, maps)))(folder / manifest.FILES["onnx"])
    manifest.write(
        folder,
        name="brightness",
        labels=labels,
        input=spec,
        crop=crop,
        temperature=temperature,
        uncertain_below=uncertain_below,
        model={"name": "brightness", "args": {}, "parameters": 1},
        provenance={
            "licence": "",
            "training_data": "none",
            "result": None,
            "config": {},
            "versions": {},
            "created": "2000-01-01T00:00:00+00:00",
        }
        | ({"class_counts": dict(zip(labels, class_counts, strict=True))} if class_counts else {}),
    )
    return folder


def _write_graph(path: pathlib.Path, classes: int, spec: manifest.Input, maps: bool) -> None:
    centres = (np.arange(classes, dtype=np.float32) + 0.5) / classes
    constants = {
        "scale": np.float32(1 / 255),
        "axes": np.array([1, 2, 3], np.int64),
        "share": np.float32(1 / (spec.size**2 * spec.channels)),
        "last": np.array([1], np.int64),
        "slope": 2 * STEEPNESS * centres,
        "shift": -STEEPNESS * centres**2,
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["pixels", "scale"], ["unit"]),
        helper.make_node("ReduceSum", ["unit", "axes"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "share"], ["mean"]),
        helper.make_node("Unsqueeze", ["mean", "last"], ["column"]),
        helper.make_node("Mul", ["column", "slope"], ["sloped"]),
        helper.make_node("Add", ["sloped", "shift"], ["logits"]),
    ]
    shape = ["batch", spec.size, spec.size, spec.channels]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])]
    if maps:
        nodes += [
            helper.make_node("ReduceMean", ["unit"], ["cells"], axes=[3]),
            helper.make_node("Mul", ["cells", "slope"], ["sloped_cells"]),
            helper.make_node("Add", ["sloped_cells", "shift"], ["class_maps"]),
        ]
        outputs.append(helper.make_tensor_value_info("class_maps", TensorProto.FLOAT, [*shape[:3], classes]))
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, shape)],
        outputs,
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def frame(index=0, time=None, image=None, name="clip.mp4", **known) -> Frame:
    """A frame of a clip of 25 frames a second; black, 64x48, unless `image` is given."""
    image = np.zeros((48, 64, 3), np.uint8) if image is None else image
    given = {"captured": 0.0, "starts": not index} | known
    return Frame(image, index, index / 25 if time is None else time, name=name, **given)


def tracked(track, box, label, probabilities, **known) -> TrackedFace:
    """A face of a frame that was found."""
    row = np.float32(probabilities)
    given = {"probabilities": row, "smoothed": row, "uncertain": False, "found": True, "crop": None}
    return TrackedFace(track, np.array(box, float), label, **given | known)


def write_clip(path: pathlib.Path, grays, size=(64, 48), rate=25.0) -> pathlib.Path:
    """A video (MPEG-4, or what the suffix asks for) of plain frames of these gray values."""
    codec = cv2.VideoWriter.fourcc(*("MJPG" if path.suffix == ".avi" else "mp4v"))
    video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, rate, size)
    for gray in grays:
        video.write(np.full((size[1], size[0], 3), gray, np.uint8))
    video.release()
    return path


def drawn_people(expressions, frames=1, size=(640, 480), seed=3) -> list[np.ndarray]:
    """Frames, uint8 BGR, with a synthetic face for each of the named expressions of FER2013, side by side, swaying.

    The last frame leads on to the first one.
    """
    from fer_jax.data.sources import synthetic

    width, height = size
    side = min(height, width // len(expressions)) - 12
    people = synthetic.draw([FER2013.index(name) for name in expressions], side, 3, seed, zoom=0.66, noise=0.3)
    made = []
    for phase in 2 * np.pi * np.arange(frames) / frames:
        frame = np.full((height, width, 3), (96, 84, 70), np.uint8)
        for i, person in enumerate(people):
            left = round((i + 0.5) * width / len(people) - side / 2 + 5 * np.sin(phase + i))
            top = round((height - side) / 2 * (1 + 0.4 * np.cos(phase + 2 * i)))
            frame[top : top + side, left : left + side] = person[..., ::-1]
        made.append(frame)
    return made


def write_motion_jpeg(path: pathlib.Path, frames) -> pathlib.Path:
    """JPEG files one after the other, which Chromium takes for a camera."""
    with path.open("wb") as file:
        for frame in frames:
            file.write(cv2.imencode(".jpg", frame)[1].tobytes())
    return path


@contextlib.contextmanager
def full_disk(room: int):
    """No file may have more than `room` bytes, which fails as a full disk does: Python ignores the limit's signal."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def frames_of(path: pathlib.Path) -> list[np.ndarray]:
    """All frames of a video that can be read."""
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (frame := capture.read())[0]:
        frames.append(frame[1])
    capture.release()
    return frames
