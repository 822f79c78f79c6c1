"""The graphs that a bundle may hold, one row each.

Files, flags, runtimes and the roles in bundle.json follow from this table: another format takes a row here and a module
that writes it and opens it.
"""

import dataclasses
import importlib
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True)
class Format:
    """One kind of graph.

    Attributes:
      file: its name in the bundle.
      what: it is, for people.
      writer: "module:function" of (path, `fer_jax.export.trained.Source`), which writes the file.
      opener: "module:function" of (path, threads, device), which gives a `fer_jax.bundle.runtime.Graph`.
      tolerance: largest difference of a logit from the network's, above which the export fails; None where numbers are
        rounded and the difference is only shown.
      optional: whether it is written only when asked for, by a flag of its name.
      needs_faces: whether its writer fits something to training faces.
    """

    file: str
    what: str
    writer: str
    opener: str
    tolerance: float | None = None
    optional: bool = False
    needs_faces: bool = False


_ONNX = "fer_jax.bundle.runtime:open_onnx"

# By role: its name in flags and in bundle.json. float16 and int8 are made from model.onnx, so they follow it.
GRAPHS = {
    "onnx": Format("model.onnx", "the graph in ONNX", "fer_jax.export.onnx:save", _ONNX, tolerance=1e-4),
    "float16": Format(
        "model.float16.onnx", "the graph in half precision", "fer_jax.export.quantize:float16", _ONNX, optional=True
    ),
    "int8": Format(
        "model.int8.onnx",
        "the graph in 8-bit integers, its ranges fitted to training faces",
        "fer_jax.export.quantize:int8",
        _ONNX,
        optional=True,
        needs_faces=True,
    ),
    "stablehlo": Format(
        "model.stablehlo",
        "the graph for JAX on any device",
        "fer_jax.export.graph:save_stablehlo",
        "fer_jax.export.graph:load_stablehlo",
        tolerance=1e-4,
    ),
}
FILES = {role: row.file for role, row in GRAPHS.items()} | {"weights": "weights.safetensors", "card": "README.md"}

# By device: ONNX Runtime's provider of it, and what is installed for it.
PROVIDERS = {
    "cuda": ("CUDAExecutionProvider", "onnxruntime-gpu"),
    "directml": ("DmlExecutionProvider", "onnxruntime-directml"),
    "openvino": ("OpenVINOExecutionProvider", "onnxruntime-openvino"),
    "coreml": ("CoreMLExecutionProvider", "onnxruntime on a Mac"),
    "cpu": ("CPUExecutionProvider", "onnxruntime"),
}
DEVICES = ("auto", *PROVIDERS)
AUTOMATIC = ("cuda", "directml", "openvino", "cpu")  # CoreML is in every wheel for the Mac, asked for or not


def function(name: str) -> Callable[..., Any]:
    """The writer or opener "module:function"; ImportError where what it needs is not installed."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)
