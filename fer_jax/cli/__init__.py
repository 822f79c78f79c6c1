"""The command `fer-jax`: a module of this package for each of its commands, found by name.

A module has `main(argv)`, which returns an exit code or None for 0, and its absl flags; its docstring is the head of
its help. `POSITIONAL = True` lets it take arguments that are no flags. Around each, its flags are parsed, it logs to
standard error, and a user's mistake is one line.
"""

import contextlib
import importlib
import io
import logging
import os
import pathlib
import signal
import sys
import traceback
from collections.abc import Iterator
from types import FrameType, ModuleType

from absl import app, flags
from absl import logging as absl_logging

import fer_jax
from fer_jax import errors, files
from fer_jax.cli import options
from fer_jax.errors import EXIT_PREEMPTED, EXIT_USER_ERROR, Lines, Preempted, UserError, one_line

GROUPS: dict[str, dict[str, str]] = {
    "look at faces": {
        "analyze": "expressions in pictures and videos: a table, annotated copies",
        "webcam": "a camera, video or picture, live in a window or headless",
        "web": "a page with a camera",
        "models": "the trained models that come with the package",
        "detector": "fetch the better face detector, once",
    },
    "data": {
        "prepare": "read and cache a data set, and say what is in it",
        "audit": "duplicates, contradicting labels, leaks, blank images",
        "extract-faces": "a training folder out of photographs",
    },
    "train": {
        "recipes": "the recipes by name, with data, parameters and scores",
        "train": "train, score and report",
        "evaluate": "score runs, ensembles and bundles",
        "report": "the page of a run, or of several side by side",
        "ablation": "what each part of a recipe gives, over seeds",
    },
    "hand over": {
        "export": "a finished run as a bundle",
        "push": "a bundle onto a model hub",
        "explain": "what a network looks at",
        "import-keras": "a Keras mini-Xception as a bundle",
    },
    "this machine": {
        "info": "versions, devices, cameras: what a bug report needs",
        "completion": "completion for bash, zsh or fish",
    },
}
COMMANDS = {name: summary for group in GROUPS.values() for name, summary in group.items()}
EXAMPLES = (
    "fer-jax analyze photo.jpg",
    "fer-jax webcam --source=0",
    "fer-jax train --config=xception:distilled --config.data.path=fer2013.csv",
)
TOO_LITTLE_MEMORY = "out of memory of this machine: give smaller pictures, or free memory"
EXIT_BROKEN_PIPE = 141  # as the shell says of a program that SIGPIPE ended
EXIT_INTERRUPTED = 130  # and of one that Ctrl-C ended


def main(command: str = "") -> None:
    """Run a command with the words of the command line, and exit; "" takes the command from the first of them."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    words = sys.argv[1:]
    if not command:
        command, words = (words[0], words[1:]) if words else ("help", [])
    with quiet_pipe():
        if command in ("-h", "-help", "--help", "help"):
            print(usage())
        elif command in ("--version", "version"):
            print(fer_jax.__version__)
        else:
            with one_line_errors():
                module = module_of(command)
            execute(module, [f"fer-jax {command}", *words])


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Python's own answer to Ctrl-C, but within an import: some swallow it, others crash or report another error."""
    caller = frame
    while caller:
        if caller.f_code.co_filename.startswith("<frozen importlib"):
            os._exit(EXIT_INTERRUPTED)
        caller = caller.f_back
    signal.default_int_handler(number, frame)


def usage() -> str:
    """The text of `fer-jax --help`."""
    width = max(map(len, COMMANDS))
    lines = ["Facial expressions: train recognizers, run them on pictures, videos, cameras."]
    lines += [f"  {example}" for example in EXAMPLES]
    lines.append("")
    for title, commands in GROUPS.items():
        lines += [f"{title}:", *(f"  {name:{width}}  {summary}" for name, summary in commands.items())]
    return "\n".join([*lines, "fer-jax COMMAND --help shows a command's flags."])


def execute(module: ModuleType, argv: list[str]) -> None:
    """Parse the flags in `argv`, call the module's `main` and exit with what it returns (None is 0).

    A `UserError`, also one raised while a config file is loaded, a wrong flag, a config key that does not exist and a
    package that an extra would have brought are printed to standard error as one line, `error: ...`, and give exit
    code 2. So are the file system's errors for a path, and a full disk (`files.user_error`). `Preempted` gives exit
    code 75. A closed pipe (`| head`) and Ctrl-C end the command quietly, with the exit codes that a shell gives them.
    """
    _occupy_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without UTF-8 shows escapes
            stream.reconfigure(errors="backslashreplace")
    with quiet_pipe():
        app.run(lambda rest: _work(module, rest), argv=argv, flags_parser=lambda argv: _parse(module, argv))


def module_of(name: str) -> ModuleType:
    """The module of a command; UserError with the nearest name for one that does not exist."""
    if name not in COMMANDS:
        raise UserError(
            f"fer-jax has no command {name!r}{errors.did_you_mean(name, COMMANDS)}: fer-jax --help lists them"
        )
    return importlib.import_module(f"fer_jax.cli.{name.replace('-', '_')}")


def _parse(module: ModuleType, argv: list[str]) -> list[str]:
    if not {"-h", "-help", "--help"}.isdisjoint(argv[1:]):
        print(options.help_of(module))
        sys.exit(0)
    with one_line_errors():
        return options.parse(argv)


def _work(module: ModuleType, argv: list[str]) -> int | None:
    logging.root.handlers[:] = [Lines()]
    absl_logging.set_verbosity(absl_logging.INFO)
    with one_line_errors():
        if len(argv) > 1 and not getattr(module, "POSITIONAL", False):
            raise UserError(f"unexpected argument {argv[1]!r}: every option is a flag, see --help")
        options.check_outputs()
        return module.main(argv)


def _occupy_standard_streams() -> None:
    """Connect closed standard streams to nothing; otherwise the next file opened takes their number and their text."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r+", encoding="utf-8"))  # noqa: SIM115 PTH123 open until the end


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Exit with one line for what is no defect."""
    try:
        yield
    except BaseException as error:
        if (code := exit_code(error)) is None:
            raise
        sys.exit(code)


@contextlib.contextmanager
def quiet_pipe() -> Iterator[None]:
    """End the process quietly once its output has no reader, as after `| head`."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError as error:
        if error.filename is not None:
            raise
        # What is left in the buffer has no reader: Python would complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_BROKEN_PIPE)


def exit_code(error: BaseException) -> int | None:
    """Print the line of an exception and return its exit code; None for a defect, of which nothing is printed."""
    match error:
        case UserError() | flags.Error():
            return _fail(error)
        case Preempted():
            absl_logging.info("%s", error)
            return EXIT_PREEMPTED
        case KeyboardInterrupt():
            return EXIT_INTERRUPTED
    remedy = _remedy(error)
    return None if remedy is None else _fail(remedy)


def _remedy(error: BaseException) -> object | None:
    """The remedy for a fault around this package, for one line; None for what may be a defect."""
    match error:
        case ModuleNotFoundError():
            return errors.missing_extra(error)
        case ImportError() if "failed to map segment" in str(error):
            return TOO_LITTLE_MEMORY
        case ImportError():
            return missing_library(error)
        case OSError():
            return files.user_error(error)
        case Exception() if type(error).__module__ == "cv2" and "Insufficient memory" in str(error):
            return TOO_LITTLE_MEMORY
        case MemoryError() | RuntimeError() | AssertionError():
            return _out_of_memory(error) or _no_device(error)
        case ValueError() if _raised_in(error, "jax/_src/config.py"):
            return f"JAX does not take an environment variable ({error}): correct or unset it"
    return None


def missing_library(error: ImportError) -> str | None:
    """What to install for a library of the system without which a package does not load; None where that is not why."""
    reason = " ".join(str(error).split())
    if not any(sign in reason for sign in ("cannot open shared object file", "DLL load failed", "Library not loaded")):
        return None
    if error.name != "cv2" and "libGL" not in reason:
        return f"{error.name or 'a package'} cannot be loaded ({reason}): install the library that it names"
    return (
        f"OpenCV cannot be loaded ({reason}): install what it names (on Debian: apt-get install libgl1 libglib2.0-0), "
        "or opencv-python-headless in place of opencv-python, which opens no window"
    )


def _out_of_memory(error: Exception) -> str | None:
    """What to do where the memory of this machine or of a device is too small; None where that is not why."""
    reason = str(error)
    if not isinstance(error, MemoryError) and not ("RESOURCE_EXHAUSTED" in reason and "memory" in reason):  # JAX's
        return None
    reason = " ".join(reason.removeprefix("RESOURCE_EXHAUSTED: ").split())[:200].rstrip(".")
    return f"out of memory ({reason or 'of this machine'}): lower config.batch_size or --batch"


def _no_device(error: Exception) -> str | None:
    """What to do where JAX_PLATFORMS names what this JAX has no plugin for; None where that is not why.

    Devices that are there and do not start, as while another process holds them, are another matter.
    """
    asked = os.environ.get("JAX_PLATFORMS")
    missing = isinstance(error, AssertionError) and _raised_in(error, "jax/_src/xla_bridge.py")
    signs = ("is not in the list of known backends", "Failed to open libtpu")
    if not asked or not (missing or any(sign in str(error) for sign in signs)):
        return None
    remedy = "unset it, or install one, pip install 'fer_jax[cuda]' or 'fer_jax[tpu]'"
    return f"JAX has no plugin for JAX_PLATFORMS={asked}: {remedy if asked.islower() else f'write {asked.lower()}'}"


def _raised_in(error: BaseException, module: str) -> bool:
    """Return whether an error was raised in the file whose path ends like this."""
    frames = traceback.extract_tb(error.__traceback__)[-1:]
    return any(pathlib.PurePath(frame.filename).as_posix().endswith(module) for frame in frames)


def _fail(error: object) -> int:
    print(one_line(f"error: {error}"), file=sys.stderr)
    return EXIT_USER_ERROR
