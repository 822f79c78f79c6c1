"""The exceptions that are no defects, the exit codes they give a command line, and the lines of its log."""

import difflib
import logging
import pathlib
import sys
from collections.abc import Iterable


class UserError(Exception):
    """Bad input from outside: a file, a flag, a config value.

    The message is one line that says what was found, what was expected and what to do. Command lines print it
    without a traceback and exit with `EXIT_USER_ERROR`; anything else that is raised is a defect of this package
    and keeps its traceback.
    """


class Preempted(Exception):
    """A signal asked the run to stop; the message says where it stopped. Everything is saved.

    Command lines exit with `EXIT_PREEMPTED`.
    """


EXIT_USER_ERROR = 2
EXIT_PREEMPTED = 75  # sysexits' EX_TEMPFAIL: stopped by a signal before the end; run the same command again

# Importable names of the packages that an extra of this one brings.
EXTRAS = {
    "train": (
        *("filelock", "flax", "jax", "jaxlib", "jinja2", "matplotlib", "ml_collections", "optax", "orbax"),
        *("safetensors", "scipy", "sklearn", "tensorboardX", "tensorflow", "tensorflow_datasets"),
    ),
    "export": ("h5py", "jax2onnx", "onnx", "onnx_ir"),
    "huggingface": ("pyarrow",),
    "hub": ("huggingface_hub",),
    "kubernetes": ("kubernetes",),
}
MAX_LINE = 500  # characters of an error or a warning


class Lines(logging.Handler):
    """Log records as plain lines on standard error, above a progress bar if one is shown.

    Shows INFO from this package and warnings from any library.
    """

    def __init__(self):
        super().__init__()
        home = str(pathlib.Path(__file__).parent)
        self.addFilter(lambda record: record.levelno >= logging.WARNING or record.pathname.startswith(home))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        line = self.format(record)
        if record.levelno >= logging.WARNING:
            line = one_line(f"{record.levelname.lower()}: {line}")
        tqdm = sys.modules.get("tqdm")  # loaded where there can be a bar
        if tqdm is not None:
            tqdm.tqdm.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr)


def one_line(text: str) -> str:
    """`text` on a line of `MAX_LINE` characters at most: shortened in the middle, what cannot be shown escaped."""
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(text.split()))
    if len(line) > MAX_LINE:
        end = MAX_LINE // 3
        line = f"{line[: MAX_LINE - end - 5]} ... {line[-end:]}"
    return line


def missing_extra(error: ModuleNotFoundError) -> str | None:
    """What to install for a package that is missing, in one line; None where no extra of this package brings it."""
    package = (error.name or "").partition(".")[0]
    for extra, packages in EXTRAS.items():
        if package in packages:
            return f"this needs {package}, which is not installed: pip install 'fer_jax[{extra}]'"
    return None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """ " (did you mean 'webcam'?)" for a word that resembles known ones, "" where none does: part of a message."""
    near = difflib.get_close_matches(word, list(known), n=2)
    return f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""
