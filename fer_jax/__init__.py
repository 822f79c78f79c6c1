"""Facial expressions in pictures, videos and cameras, and the training of recognizers in JAX/Flax.

    import fer_jax
    faces = fer_jax.analyze("group.jpg")
    faces[0].label, faces[0].probabilities["happy"], faces[0].box

    run = fer_jax.train("xception", data="fer2013.csv", workdir="runs/xception")
    run.evaluate(tta=("flip",))
    run.export("xception.bundle")

Importing the package is cheap: what is used is imported when it is first asked for.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

if sys.version_info < (3, 11):  # noqa: UP036 an installer refuses it, a checkout does not
    print(
        f"error: fer_jax needs Python 3.11 or newer, this is {sys.version.split()[0]}: make a virtual environment with "
        "a newer one, such as python3.12 -m venv",
        file=sys.stderr,
    )
    sys.exit(2)  # fer_jax.errors.EXIT_USER_ERROR

if TYPE_CHECKING:
    from fer_jax.errors import UserError
    from fer_jax.experiments.api import TrainedRun, load, train
    from fer_jax.serve.analyzer import Analyzer, Face, Faces, analyze

# Before anything imports ONNX Runtime, which since 1.29 keeps a device id and a data base of events under the user's
# cache and sends them away; its own call to disable them comes too late.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# Before anything imports OpenCV: a picture of a few kB may claim pixels for gigabytes (fer_jax.preprocess.images).
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", "100000000")

__version__ = "0.1.0"
__all__ = ["Analyzer", "Face", "Faces", "UserError", "__version__", "analyze"]
# Else help() and a star import end at the names that need the extra.
with contextlib.suppress(ImportError):  # of a finder that refuses it rather than not to find it
    if importlib.util.find_spec("ml_collections"):
        __all__ += ["TrainedRun", "load", "train"]

_HOMES = {
    "Analyzer": "fer_jax.serve.analyzer",
    "Face": "fer_jax.serve.analyzer",
    "Faces": "fer_jax.serve.analyzer",
    "TrainedRun": "fer_jax.experiments.api",
    "UserError": "fer_jax.errors",
    "analyze": "fer_jax.serve.analyzer",
    "load": "fer_jax.experiments.api",
    "train": "fer_jax.experiments.api",
}


def __getattr__(name: str) -> Any:
    """What `_HOMES` names, imported on first use; what lacks an extra says so when it is called."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        from fer_jax import errors

        if remedy := errors.missing_extra(error):
            return functools.partial(_say_missing, remedy)
        raise
    globals()[name] = value
    return value


def _say_missing(remedy: str, *_: Any, **__: Any) -> NoReturn:
    raise ModuleNotFoundError(remedy)


def __dir__() -> list[str]:
    return sorted(__all__)
