"""Say which face detector is in use, or fetch the better one at once: fer-jax detector yunet

    fer-jax detector           # which detector is in use, and why
    fer-jax detector yunet     # 0.2 MB from OpenCV's model zoo, checked and kept in the user's cache

YuNet finds 98 % of the faces of a group video at 5 ms a frame where Haar's cascade, which OpenCV carries, finds 75 % at
53 ms. Commands that look for faces fetch it by themselves when they first need it. Without a network put
face_detection_yunet_2023mar.onnx into the user's cache, or name it in --detector-model or the environment variable
FER_JAX_YUNET; FER_JAX_OFFLINE=1 keeps every command from the network.
"""

from absl import flags

from fer_jax.errors import UserError

_ADDRESS = flags.DEFINE_string("address", "", "A mirror to fetch from, http:// or https://.")

POSITIONAL = True


def main(argv: list[str]) -> None:
    """Fetch what is named, or say what is in use."""
    from fer_jax.faces import yunet

    if argv[1:] == ["yunet"]:
        print(f"{yunet.find() or yunet.fetch(_ADDRESS.value)}\nlicense: {yunet.LICENSE}")
    elif argv[1:] == ["haar"]:
        print("haar comes with OpenCV: there is nothing to fetch")
    elif len(argv) > 1:
        raise UserError(f"unknown detector {' '.join(argv[1:])!r}: yunet can be fetched, haar comes with OpenCV")
    elif model := yunet.find():
        print(f"yunet, {model}")
    elif yunet.offline():
        print(f"haar: YuNet's file is not here, and {yunet.OFFLINE} is set")
    elif yunet.failed():
        print("haar: YuNet's file could not be fetched today; `fer-jax detector yunet` tries again")
    else:
        print("yunet: its file is fetched when it is first needed, or now by `fer-jax detector yunet`")
