"""Around every command: parses its flags, logs to standard error, turns a user's mistake into one line, exits."""

import contextlib
import importlib
import io
import logging
import os
import pathlib
import sys
import traceback
from collections.abc import Iterator
from types import ModuleType

from absl import app, flags
from absl import logging as absl_logging

from fer_jax import cli, errors, files
from fer_jax.cli import options
from fer_jax.errors import EXIT_PREEMPTED, EXIT_USER_ERROR, Lines, Preempted, UserError, one_line

TOO_LITTLE_MEMORY = "out of memory of this machine: give smaller pictures, or free memory"
EXIT_BROKEN_PIPE = 141  # as the shell says of a program that SIGPIPE ended
EXIT_INTERRUPTED = 130  # and of one that Ctrl-C ended


def run(name: str, words: list[str]) -> None:
    """Run the command of this name with the words that follow it, and exit; see `execute`."""
    with one_line_errors():
        module = module_of(name)
    execute(module, [f"fer-jax {name}", *words])


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
    if name not in cli.COMMANDS:
        raise UserError(
            f"fer-jax has no command {name!r}{errors.did_you_mean(name, cli.COMMANDS)}: fer-jax --help lists them"
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
    """What is wrong around this package, and what to do about it; None of what may be a defect."""
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
