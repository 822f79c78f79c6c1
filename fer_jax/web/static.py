"""The page as a folder for any web host: the model runs in the visitor's browser, which keeps what its camera sees."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import urllib.request

from fer_jax import files
from fer_jax.errors import UserError
from fer_jax.faces import cropping, detection, registry, yunet
from fer_jax.serve import tracker
from fer_jax.serve.classifier import Classifier
from fer_jax.web import protocol

HERE = pathlib.Path(__file__).parent
RUNTIME = "onnxruntime-web"
RUNTIME_VERSION = "1.30.0"
ADDRESS = f"https://cdn.jsdelivr.net/npm/{RUNTIME}@{RUNTIME_VERSION}/dist/"
# name in the folder: name in the package's dist/, its SHA-256
RUNTIME_FILES = {
    "ort.js": ("ort.wasm.bundle.min.mjs", "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90"),
    "ort.wasm": ("ort-wasm-simd-threaded.wasm", "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"),
}
FETCH_SECONDS = 60.0
# The page may load and ask for nothing but its own files, whatever its scripts say.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'"
)
# YuNet's graph is declared for 640 x 640 pixels alone: there its two dimensions get names, which lets it take any size.
DECLARED_SIZE, NAMED_SIZES = b"\x0a\x03\x08\x80\x05", (b"\x0a\x03\x12\x01h", b"\x0a\x03\x12\x01w")
NOTICE = f"""This folder was written by fer-jax web --static (Apache-2.0).
ort.js, ort.wasm: {RUNTIME} {RUNTIME_VERSION}, MIT License, Copyright (c) Microsoft Corporation.
yunet.onnx: {yunet.FILE}, {yunet.LICENSE}.
model.onnx: MODEL.md has its origin and terms.
"""


def write(folder: str | os.PathLike, classifier: Classifier, detector_model: str = "") -> pathlib.Path:
    """Write the page, the model, the detector and the runtime into a folder, whole or not at all.

    Args:
      folder: new, empty, or written by an earlier call, which it replaces.
      classifier: its bundle's ONNX file is copied.
      detector_model: path of YuNet's file; "" looks for it and fetches it, see `fer_jax.faces.yunet.fetch`.

    Returns:
      the folder.

    Raises:
      UserError: the folder holds something else, YuNet or the runtime cannot be had, or the bundle has no crop for
        YuNet.
    """
    folder = files.expand(folder)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / "offline.js").is_file()):
        raise UserError(f"--static={folder} holds something else, which would be lost: name a new folder")
    content = {path.name: path.read_bytes() for path in (HERE / "page").iterdir()}
    content |= {path.name: path.read_bytes() for path in (HERE / "static").iterdir()}
    content |= {name: _runtime(*file) for name, file in RUNTIME_FILES.items()}
    content |= {
        "yunet.onnx": _any_size(pathlib.Path(detector_model or yunet.find() or yunet.fetch()).read_bytes()),
        "model.onnx": classifier.bundle.file("onnx").read_bytes(),
        "model.json": json.dumps(description(classifier)).encode(),
        "NOTICE.txt": NOTICE.encode(),
    }
    if "card" in classifier.bundle.files:
        content["MODEL.md"] = classifier.bundle.file("card").read_bytes()
    meta = f'<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    page = content["index.html"].replace(b'<meta charset="utf-8">', meta.encode())
    content["index.html"] = page.replace(b" or video", b"").replace(b",video/*", b"")  # which only the program decodes
    version = hashlib.sha256(b"".join(content[name] for name in sorted(content))).hexdigest()[:16]
    unkept = {"offline.js", "NOTICE.txt", "MODEL.md"}
    kept = json.dumps(["./", *(name for name in sorted(content) if name not in unkept)])
    listed = f'VERSION = "fer_jax {version}", FILES = {kept}'
    content["offline.js"] = content["offline.js"].replace(b'VERSION = "", FILES = []', listed.encode())
    with files.atomic_path(folder) as tmp:
        tmp.mkdir()
        for name, data in content.items():
            (tmp / name).write_bytes(data)
    return folder


def description(classifier: Classifier) -> dict:
    """The model as the page's scripts need it, and the program's constants that they share."""
    bundle, spec = classifier.bundle, classifier.bundle.input
    policy = cropping.CropPolicy.of(bundle.crop, "yunet")
    assert policy is not None, "YuNet searches"
    entry = registry.DETECTORS["yunet"]
    return protocol.model(classifier, ("yunet", "none")) | {
        "input": {"size": spec.size, "channels": spec.channels, "resize": spec.resize, "seen": spec.seen},
        "crop": {"enlarge": policy.enlarge, "offset": policy.offset},
        "temperature": bundle.temperature,
        "shift": classifier.shift.tolist(),
        "constants": {
            "moving_side": entry.moving_side,
            "still_side": entry.still_side,
            "min_score": detection.YUNET_MIN_SCORE,
            "sure_score": detection.YUNET_SURE_SCORE,
            "max_overlap": detection.YUNET_MAX_OVERLAP,
            "min_overlap": tracker.MIN_OVERLAP,
            "hits_to_show": tracker.HITS_TO_SHOW,
            "survives_seconds": tracker.SURVIVES_SECONDS,
            "alpha": tracker.ALPHA,
            "beta": tracker.BETA,
            "time_constant": tracker.TIME_CONSTANT_SECONDS,
            "margin": tracker.MARGIN,
            "lasting_margin": tracker.LASTING_MARGIN,
            "lasting_seconds": tracker.LASTING_SECONDS,
            "last_labels": tracker.LAST_LABELS,
        },
    }


def _any_size(graph: bytes) -> bytes:
    """YuNet's file with an input of any height and width; UserError for another file."""
    if graph.count(DECLARED_SIZE) != len(NAMED_SIZES):
        raise UserError(f"the detector is no {yunet.FILE}: `fer-jax detector yunet` fetches it")
    for name in NAMED_SIZES:
        graph = graph.replace(DECLARED_SIZE, name, 1)
    return graph


def _runtime(name: str, sha256: str) -> bytes:
    """A file of ONNX Runtime for browsers: from ./node_modules, from the user's cache, or fetched into it, once."""
    cached = files.user_cache() / f"{RUNTIME}-{RUNTIME_VERSION}" / name
    for path in (pathlib.Path("node_modules", RUNTIME, "dist", name), cached):
        if path.is_file() and files.sha256(path) == sha256:
            return path.read_bytes()
    advice = f"run npm install {RUNTIME}@{RUNTIME_VERSION} in this folder"
    if yunet.offline():
        raise UserError(f"{RUNTIME} is not fetched, since {yunet.OFFLINE} is set: {advice}")
    try:
        with urllib.request.urlopen(ADDRESS + name, timeout=FETCH_SECONDS) as answer:
            data = answer.read()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ValueError(f"{len(data):,} bytes of another checksum")
        with files.atomic_path(cached) as tmp:
            tmp.write_bytes(data)
    except (OSError, ValueError) as error:
        raise UserError(f"{RUNTIME} cannot be fetched from {ADDRESS} ({error}): {advice}") from None
    return data
