"""Versions, devices, ONNX Runtime's providers, cameras: fer-jax info

What a bug report needs. Nothing is sent anywhere.
"""

import importlib.metadata
import os
import platform

PACKAGES = [
    "fer_jax",
    "numpy",
    "scipy",
    "opencv-python",
    "onnxruntime",
    "absl-py",
    "aiohttp",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "tensorflow",
    "tensorflow-cpu",
    "tensorflow-datasets",
    "ml-collections",
    "jax2onnx",
    "onnx",
]


def main(argv: list[str]) -> None:
    """Print a line for each thing."""
    del argv
    for name, value in facts().items():
        print(f"{name:20} {value}")


def facts() -> dict[str, str]:
    """{what: how it is here}, in the order to print."""
    import cv2
    import onnxruntime

    from fer_jax.serve import video

    found = {"python": platform.python_version(), "platform": platform.platform(), "cpus": str(os.cpu_count())}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return found | {
        "devices of JAX": _devices(),
        "ONNX Runtime runs on": ", ".join(onnxruntime.get_available_providers()),
        "cameras": ", ".join(map(str, video.cameras(other_than=-1))) or "none that opens",
    }


def _devices() -> str:
    try:
        import jax
    except ModuleNotFoundError:
        return "JAX is not installed: pip install 'fer_jax[train]'"
    try:
        devices = jax.devices()
    except RuntimeError as error:
        return f"JAX finds none: {' '.join(str(error).split())}"
    return f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})"
