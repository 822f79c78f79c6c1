"""A page with a camera: expressions of the faces before a browser's camera, by an exported model.

    fer-jax web                  # then open the printed address
    fer-jax web --static=site    # a folder for any web host: the model runs in the visitor's browser

Needs neither JAX nor TensorFlow.
docs/how-to/deploy.md says how others can reach it.
"""

import asyncio
import contextlib
import os
import signal
import webbrowser

from absl import flags, logging

from fer_jax.cli import options
from fer_jax.errors import UserError
from fer_jax.faces import yunet

_BUNDLE = options.define_bundle()
_PRIOR = options.define_prior()
_DEVICE = options.define_device()
_DETECTOR_MODEL = options.define_path(
    "detector-model", "", f"YuNet's ONNX file, {yunet.FILE}, where it is not in the user's cache"
)
_HOST = flags.DEFINE_string(
    "host", "127.0.0.1", "name or address to listen on; the default can be reached from this machine only"
)
_PUBLIC_ORIGIN = flags.DEFINE_list(
    "public-origin",
    [],
    "what browsers show as the address of a reverse proxy before this server, such as https://faces.example; several "
    "are separated by commas",
)
_OPEN = flags.DEFINE_bool("open", False, "open the page in the browser")
_STATIC = options.define_output(
    "static",
    None,
    "write the page into a folder for any web host, with the model in the visitor's browser, and serve nothing",
    folder=True,
)
_TOKEN = flags.DEFINE_string(
    "token",
    None,
    "16 or more letters and digits that clients must send: the page has them from the address that is printed, "
    "programs send them in the header Authorization: Bearer TOKEN",
)
_PORT = flags.DEFINE_integer("port", 8765, "to listen on; 0 takes any that is free", lower_bound=0, upper_bound=65535)


def main(argv: list[str]) -> None:
    """Serve until a signal ends it."""
    del argv
    if not _HOST.value:
        raise UserError("--host is empty: name an address; 0.0.0.0 is every network that this machine is in")
    if _TOKEN.value == "":  # such as of a variable of the shell that is not set
        raise UserError("--token is empty: give a secret, or leave the flag out to let everyone in")
    if _STATIC.value:
        from fer_jax.serve.classifier import Classifier
        from fer_jax.web import static

        classifier = Classifier(_BUNDLE.value, prior=_PRIOR.value)
        print(f"wrote {static.write(_STATIC.value, classifier, _DETECTOR_MODEL.value)}: put it on a web host")
        return
    from fer_jax.serve.analyzer import Analyzer
    from fer_jax.web import access, server

    app = server.application(
        Analyzer(_BUNDLE.value, detector_model=_DETECTOR_MODEL.value, prior=_PRIOR.value, device=_DEVICE.value),
        _DETECTOR_MODEL.value,
        _HOST.value,
        public_origins=_PUBLIC_ORIGIN.value,
        token=_TOKEN.value or "",
    )
    if not access.is_loopback(_HOST.value):
        logging.warning(
            "--host=%s: others who reach this machine can open the page too, and nothing on the way is "
            "encrypted; their browsers give their camera only to https, so they can only choose pictures",
            _HOST.value,
        )
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(server.listening(app, _HOST.value, _PORT.value)))


async def _serve(listening: contextlib.AbstractAsyncContextManager[str]) -> None:
    stop = asyncio.Event()
    with contextlib.suppress(NotImplementedError):  # Windows, where Ctrl-C cancels the wait below
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with listening as address:
        if _TOKEN.value:
            address += f"#{_TOKEN.value}"
        print(f"{address} (Ctrl-C ends it)", flush=True)
        if _OPEN.value:
            await asyncio.to_thread(webbrowser.open, address)
        with contextlib.suppress(asyncio.CancelledError):
            await stop.wait()
    os._exit(0)  # a thread that is busy with a picture would keep the process
