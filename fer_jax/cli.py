"""What every command line does around its `main`: a user's mistake is one line and an exit code, not a traceback."""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import logging
import math
import os
import pathlib
import re
import shutil
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator, Sequence

from absl import app, flags
from absl import logging as absl_logging

from fer_jax import files, zoo
from fer_jax.errors import EXIT_PREEMPTED, EXIT_USER_ERROR, Preempted, UserError
from fer_jax.faces import registry

# Importable names of the packages that an extra of this one brings.
EXTRAS = {
    "train": frozenset(
        [
            "flax",
            "jax",
            "jaxlib",
            "jinja2",
            "matplotlib",
            "ml_collections",
            "optax",
            "orbax",
            "safetensors",
            "scipy",
            "sklearn",
            "tensorboardX",
            "tensorflow",
            "tensorflow_datasets",
        ]
    ),
    "export": frozenset(("h5py", "jax2onnx", "onnx", "onnx_ir")),
}
EXIT_BROKEN_PIPE = 141  # as the shell says of a program that SIGPIPE ended
EXIT_INTERRUPTED = 130  # and of one that Ctrl-C ended
MAX_LINE = 500  # characters of an error or a warning
HELP_COLUMN = 26  # where the flags' descriptions begin
HELP_LINES = 30  # of --help, where the flags are not too many
_SYNONYMS: dict[str, str] = {}  # other spellings of this tool's flags


class Lines(logging.Handler):
    """Log records as plain lines on standard error, above a progress bar if one is shown.

    News of this package and its tools, warnings of everybody: libraries' own news is not for the user.
    """

    def __init__(self, tool: str):
        """`tool` is the file of the command that runs."""
        super().__init__()
        ours = str(pathlib.Path(__file__).parent), str(pathlib.Path(tool).parent)
        self.addFilter(lambda record: record.levelno >= logging.WARNING or record.pathname.startswith(ours))

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


class _PathParser(flags.ArgumentParser):
    """A path with ~ replaced; "" stays empty."""

    syntactic_help = "a path"

    def parse(self, argument: str) -> str:
        """The path as text."""
        return str(files.expand(argument)) if argument else argument


_outputs: list[tuple[flags.FlagHolder[str], bool]] = []


def define_path(name: str, default: str | None, help: str, required: bool = False) -> flags.FlagHolder[str]:
    """Define a flag that takes a path, in which ~ is the home folder."""
    return flags.DEFINE(_PathParser(), name, default, help, required=required)


def define_paths(name: str, default: list[str] | None, help: str, required: bool = False) -> flags.FlagHolder:
    """Define a flag that takes a path and may be given several times."""
    return flags.DEFINE_multi(_PathParser(), flags.ArgumentSerializer(), name, default, help, required=required)


def define_output(
    name: str, default: str | None, help: str, *, folder: bool, required: bool = False
) -> flags.FlagHolder[str]:
    """Define a flag that takes the path of a file or folder to write.

    Whether it can be written is tried before the command's work, see `fer_jax.files.check_output`.
    """
    flag = define_path(name, default, help, required)
    _outputs.append((flag, folder))
    return flag


class _BundleParser(_PathParser):
    """The folder of a bundle, or the name of a model that comes with the package."""

    def parse(self, argument: str) -> str:
        """The folder's path as text."""
        return str(zoo.resolve(argument)) if argument else argument


def define_bundle(default: str | None = str(zoo.DEFAULT), note: str = "") -> flags.FlagHolder:
    """Define --bundle of the tools that run one; --model is the same flag.

    Args:
      default: its value where it is not given; None is none.
      note: what to say of it in the help, in place of the default.
    """
    _SYNONYMS["model"] = "bundle"
    note = note or "Default: the mini-Xception that comes with the package"
    help = f"a model that comes with the package, by its name in fer-jax models, or a bundle's folder. {note}"
    return flags.DEFINE(_BundleParser(), "bundle", default, help)


def define_tta() -> flags.FlagHolder[str | None]:
    """Define --tta of the tools that classify what a bundle is shown."""
    return flags.DEFINE_enum(
        "tta",
        "auto",
        ["auto", "flip", "none"],
        "test-time augmentation: flip averages the logits of each face and of its mirror image; auto does so for "
        "pictures alone",
    )


def define_prior() -> flags.FlagHolder[str]:
    """Define --prior of the tools that classify."""
    return flags.DEFINE_string(
        "prior",
        "",
        "shares of the expressions to be expected in place of the training data's: flat, or of some of them, such as "
        "happy:0.3,neutral:0.4; the others divide the rest as in training",
    )


def define_detector(searching: bool = False) -> tuple[flags.FlagHolder[str | None], flags.FlagHolder[str]]:
    """Define --detector and --detector-model of the tools that look for faces.

    Args:
      searching: whether the detector "none", which takes each frame for a face, is left out.
    """
    names = [name for name, entry in registry.DETECTORS.items() if entry.searches or not searching]
    whole = "" if searching else "; none takes every picture for a face"
    name = flags.DEFINE_enum(
        "detector",
        None,
        names,
        f"what finds faces{whole}. Default: yunet, whose file (0.2 MB) is fetched once; haar where that fails or "
        "FER_JAX_OFFLINE=1 forbids it",
    )
    return name, define_path("detector-model", "", "YuNet's ONNX file")


def run(main: Callable[[list[str]], int | None], positional: bool = False, rare: Sequence[str] = ()) -> None:
    """Parse absl flags, call `main(argv)` and exit with what it returns (None is 0).

    A `UserError`, also one raised while a config file is loaded, a wrong flag, a config key that does not exist and a
    package that an extra would have brought are printed to standard error as one line, `error: ...`, and give exit
    code 2. So are the file system's errors for a path, and a full disk (`files.user_error`). `Preempted` gives exit
    code 75. A closed pipe (`| head`) and Ctrl-C end the command quietly, with the exit codes that a shell gives them.

    Args:
      main: takes the arguments that are no flags, after the command's name.
      positional: whether there may be any.
      rare: flags that --help lists by name alone, so that it fits a screen; --help=all describes all of them.
    """

    def guarded(argv: list[str]) -> int | None:
        logging.root.handlers[:] = [Lines(inspect.getfile(main))]
        absl_logging.set_verbosity(absl_logging.INFO)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a terminal without UTF-8 shows escapes
                stream.reconfigure(errors="backslashreplace")
        try:
            if len(argv) > 1 and not positional:
                raise UserError(f"unexpected argument {argv[1]!r}: every option is a flag, see --help")
            for flag, folder in _outputs:
                if flag.value and flag.value != "-":  # standard output
                    files.check_output(flag.value, folder=folder)
            return main(argv)
        except BaseException as error:
            if (code := _exit_code(error)) is None:
                raise
            return code

    with quiet_pipe():
        app.run(guarded, flags_parser=functools.partial(_parse, rare=rare))


@contextlib.contextmanager
def quiet_pipe() -> Iterator[None]:
    """End the process quietly where nobody reads its output any more, as after `| head`."""
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


def missing_extra(error: ModuleNotFoundError) -> str | None:
    """What to install for a package that is missing, in one line; None where no extra of this package brings it."""
    package = (error.name or "").partition(".")[0]
    for extra, packages in EXTRAS.items():
        if package in packages:
            return f"this needs {package}, which is not installed: pip install 'fer_jax[{extra}]'"
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


def _parse(argv: list[str], rare: Sequence[str] = ()) -> list[str]:
    if asks_for_help(argv[1:]):
        print(_help(argv[0], rare, whole="--help=all" in argv))
        sys.exit(0)
    try:
        given = with_config_set(flags.FLAGS.read_flags_from_files(argv, force_gnu=False))
        rest = flags.FLAGS(_with_known_spellings(given))
        _refuse_nan()
        return rest
    except UserError as error:
        sys.exit(_fail(error))
    except ModuleNotFoundError as error:  # of a config file
        if remedy := missing_extra(error):
            sys.exit(_fail(remedy))
        raise
    except flags.Error as error:
        if missing := re.findall(r"Flag (--[\w-]+) must have a value other than None", str(error)):
            sys.exit(_fail(f"{' and '.join(missing)} must be given; see --help"))
        sys.exit(_fail(f"{str(error).removesuffix('.')}; see --help"))


def _refuse_nan() -> None:
    """UserError for a flag that is no number: absl's bounds let it pass."""
    for name in flags.FLAGS:
        value = flags.FLAGS[name].value
        if isinstance(value, float) and math.isnan(value):
            raise UserError(f"--{name}=nan: expected a number")


def asks_for_help(arguments: Sequence[str]) -> bool:
    """Whether a command line wants to know its flags rather than use them."""
    return not {"-h", "-help", "--help", "--help=all"}.isdisjoint(arguments)


def with_config_set(argv: list[str]) -> list[str]:
    """The command line with --config_set=KEY=VALUE for --config.KEY=VALUE, --config.KEY VALUE and --noconfig.KEY."""
    changed, rest = [], list(argv)
    while rest:
        found = re.fullmatch(r"--?(no)?config\.([\w.]+)(?:=(.*))?", argument := rest.pop(0), re.DOTALL)
        if not found:
            changed.append(argument)
            continue
        no, key, value = found.groups()
        if no:
            value = "false"
        elif value is None:
            value = rest.pop(0) if rest and not rest[0].startswith("-") else "true"
        changed.append(f"--config_set={key}={value}")
    return changed


def _with_known_spellings(argv: list[str]) -> list[str]:
    """The arguments with every flag by the name that it is defined with."""
    renamed = list(argv)
    for i, argument in enumerate(argv[1:], 1):
        if argument == "--":
            break
        flag, equals, value = argument.partition("=")
        new = _SYNONYMS.get(flag.lstrip("-")) if flag.startswith("-") else None
        if new:
            renamed[i] = f"--{new}{equals}{value}"
    return renamed


def _help(main_module: str, rare: Sequence[str], whole: bool) -> str:
    """The tool's docstring, then its flags: what fits a screen, the rare ones by name, or the `whole` of them."""
    head = [*inspect.cleandoc(sys.modules["__main__"].__doc__ or "").splitlines(), "", "flags:"]
    found = {flag.name: flag for name in (main_module, __name__) for flag in flags.FLAGS.get_key_flags_for_module(name)}
    named = [f"--{name}" for name in sorted(found) if name in rare and not whole]
    tail = _wrapped("  also: ", " ".join(named)) if named else []
    flag_lines = {name: _flag_lines(flag) for name, flag in sorted(found.items()) if whole or name not in rare}
    rows = sum(max(math.ceil(len(line) / _columns()), 1) for line in head)
    spare = HELP_LINES - rows - len(flag_lines) - len(tail) - 2
    cut = bool(named)
    for name in sorted(flag_lines, key=lambda name: len(flag_lines[name])):  # what needs little room gets it first
        spare -= len(flag_lines[name]) - 1
        if spare < 0 and not whole:
            flag_lines[name] = _flag_lines(found[name], max(len(flag_lines[name]) + spare, 1))
            spare, cut = 0, True
    more = "--help=all shows the whole of every flag, --helpfull those" if cut else "--helpfull shows the flags"
    return "\n".join(
        [*head, *(line for lines in flag_lines.values() for line in lines), *tail, "", f"{more} of the libraries too."]
    )


def _flag_lines(flag: flags.Flag, max_lines: int | None = None) -> list[str]:
    """A flag's names, its help, cut where it takes more lines than that, and its default."""
    name = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}"
    shown = isinstance(flag.default, str | int | float) and flag.default not in ("", False)
    default = f" [{flag.default}]" if shown and flag.name != "bundle" else ""
    lines = _wrapped(f"  {name:{HELP_COLUMN - 3}} ", f"{flag.help}{default}")
    if max_lines is None or len(lines) <= max_lines:
        return lines
    return _wrapped(f"  {name:{HELP_COLUMN - 3}} ", flag.help, max_lines, f" ...{default}")


def _columns() -> int:
    return shutil.get_terminal_size().columns


def _wrapped(head: str, text: str, max_lines: int | None = None, end: str = "") -> list[str]:
    """The text in lines after `head`, as wide as the terminal; `end` stands where it is cut to `max_lines`."""
    return textwrap.wrap(
        " ".join(text.split()),
        min(_columns(), 120),
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_on_hyphens=False,
        max_lines=max_lines,
        placeholder=end,
    )


def _exit_code(error: BaseException) -> int | None:
    """The exit code of what is no defect, after its line was printed; None of a defect."""
    match error:
        case UserError():
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
            return missing_extra(error)
        case ImportError():
            return missing_library(error)
        case OSError():
            return files.user_error(error)
        case MemoryError() | RuntimeError() | AssertionError():
            return _out_of_memory(error) or _no_device(error)
    return None


def _out_of_memory(error: Exception) -> str | None:
    """What to do where the memory of this machine or of a device is too small; None where that is not why."""
    reason = str(error)
    if not isinstance(error, MemoryError) and not ("RESOURCE_EXHAUSTED" in reason and "memory" in reason):  # JAX's
        return None
    reason = " ".join(reason.removeprefix("RESOURCE_EXHAUSTED: ").split())[:200].rstrip(".")
    return f"out of memory ({reason or 'of this machine'}): lower config.batch_size, config.eval.batch_size or --batch"


def _no_device(error: Exception) -> str | None:
    """What to do where JAX_PLATFORMS names what this JAX has no plugin for; None where that is not why.

    Devices that are there and do not start, as while another process holds them, are another matter.
    """
    asked = os.environ.get("JAX_PLATFORMS")
    place = traceback.extract_tb(error.__traceback__)[-1:]
    missing = (
        isinstance(error, AssertionError) and place and pathlib.PurePath(place[0].filename).name == "xla_bridge.py"
    )
    if not asked or not (missing or "is not in the list of known backends" in str(error)):
        return None
    return (
        f"JAX has no plugin for JAX_PLATFORMS={asked}: unset it, or install one, pip install 'fer_jax[cuda]' or "
        "'fer_jax[tpu]'"
    )


def one_line(text: str) -> str:
    """`text` on a line of `MAX_LINE` characters at most: shortened in the middle, what cannot be shown escaped."""
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(text.split()))
    if len(line) > MAX_LINE:
        end = MAX_LINE // 3
        line = f"{line[: MAX_LINE - end - 5]} ... {line[-end:]}"
    return line


def _fail(error: object) -> int:
    print(one_line(f"error: {error}"), file=sys.stderr)
    return EXIT_USER_ERROR
