"""What every command line does around its `main`: a user's mistake is one line and an exit code, not a traceback."""

from __future__ import annotations

import logging
import pathlib
import sys
from collections.abc import Callable

from absl import app, flags
from absl import logging as absl_logging

from fer_jax import zoo
from fer_jax.errors import EXIT_PREEMPTED, EXIT_USER_ERROR, Preempted, UserError

OURS = (str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parent.parent / "tools"))


class Lines(logging.Handler):
    """Log records as plain lines on standard error, above a progress bar if one is shown.

    News of this package and its tools, warnings of everybody: libraries' own news is not for the user.
    """

    def __init__(self):
        super().__init__()
        self.addFilter(lambda record: record.levelno >= logging.WARNING or record.pathname.startswith(OURS))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        line = self.format(record)
        if record.levelno >= logging.WARNING:
            line = f"{record.levelname.lower()}: {line}"
        tqdm = sys.modules.get("tqdm")  # loaded where there can be a bar
        if tqdm is not None:
            tqdm.tqdm.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr)


def define_model() -> flags.FlagHolder[str]:
    """Define --model of the tools that serve a bundle."""
    return flags.DEFINE_string(
        "model",
        str(zoo.DEFAULT),
        "folder of a bundle, as python -m tools.export writes it. "
        "Default: the mini-Xception that comes with the package",
    )


def run(main: Callable[[list[str]], int | None]) -> None:
    """Parse absl flags, call `main(argv)` and exit with what it returns (None is 0).

    A `UserError`, also one raised while a config file is loaded, a wrong flag and a config key that does not exist are
    printed to standard error as one line, `error: ...`, and give exit code 2. `Preempted` gives exit code 75.
    """

    def guarded(argv: list[str]) -> int | None:
        logging.root.handlers[:] = [Lines()]
        absl_logging.set_verbosity(absl_logging.INFO)
        try:
            if len(argv) > 1:
                raise UserError(f"unexpected argument {argv[1]!r}: every option is a flag, see --help")
            return main(argv)
        except UserError as error:
            return _fail(error)
        except Preempted as stop:
            absl_logging.info("%s", stop)
            return EXIT_PREEMPTED

    app.run(guarded, flags_parser=_parse)


def _parse(argv: list[str]) -> list[str]:
    try:
        return flags.FLAGS(argv)
    except UserError as error:
        sys.exit(_fail(error))
    except flags.Error as error:
        sys.exit(_fail(f"{str(error).removesuffix('.')}; see --help"))
    except (AttributeError, KeyError) as error:
        # ml_collections raises these with the missing part of the key alone.
        key = str(error.args[0]).strip("\"'") if error.args else ""
        of_config = [arg for arg in argv if arg.startswith("--config.")]
        flag = next((arg for arg in of_config if key in arg.partition("=")[0].split(".")), None)
        if not key or flag is None:
            raise
        sys.exit(_fail(f"{flag}: the config has no key {key!r}; configs/default.py has them all"))


def _fail(error: object) -> int:
    print(f"error: {error}", file=sys.stderr)
    return EXIT_USER_ERROR
