"""Fetch the better face detector, once: python -m tools.detector yunet

    fer-jax detector           # which detector is in use, and why
    fer-jax detector yunet     # 0.2 MB from OpenCV's model zoo, checked and kept in the user's cache

YuNet finds 98 % of the faces of a group video at 5 ms a frame where Haar's cascade, which OpenCV carries, finds 75 % at
53 ms. Nothing is fetched unless this command is given. Without a network put face_detection_yunet_2023mar.onnx into the
user's cache, or name it in --detector-model or the environment variable FER_JAX_YUNET.
"""

from __future__ import annotations

from absl import flags

from fer_jax import cli
from fer_jax.errors import UserError

_ADDRESS = flags.DEFINE_string("address", None, "A mirror to fetch from, http:// or https://.")


def main(argv: list[str]) -> None:
    """Fetch what is named, or say what is in use."""
    from fer_jax.faces import download, registry

    if argv[1:] == ["yunet"]:
        path = download.fetch(_ADDRESS.value or download.ADDRESS)
        print(f"{path}\nlicence: {download.LICENCE}\nfrom now on it is the default detector")
    elif argv[1:] == ["haar"]:
        print("haar comes with OpenCV: there is nothing to fetch")
    elif len(argv) > 1:
        raise UserError(f"unknown detector {' '.join(argv[1:])!r}: yunet can be fetched, haar comes with OpenCV")
    elif model := registry.find_model():
        print(f"yunet, {model}")
    else:
        print(f"haar: {registry.HINT}")


if __name__ == "__main__":
    cli.run(main, positional=True)
