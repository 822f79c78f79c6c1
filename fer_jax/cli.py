"""What every command line does around its `main`: a user's mistake is one line and an exit code, not a traceback."""

from __future__ import annotations

import logging
import pathlib
import sys
from collections.abc import Callable

from absl import app
from absl import logging as absl_logging

from fer_jax.errors import EXIT_USER_ERROR, UserError

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


def run(main: Callable[[list[str]], int | None]) -> None:
    """Parse absl flags, call `main(argv)` and exit with what it returns (None is 0).

    A `UserError` is printed to standard error as `error: ...` and gives exit code 2.
    """
    def guarded(argv: list[str]) -> int | None:
        logging.root.handlers[:] = [Lines()]
        absl_logging.set_verbosity(absl_logging.INFO)
        try:
            if len(argv) > 1:
                raise UserError(f"unexpected argument {argv[1]!r}: every option is a flag, see --help")
            return main(argv)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return EXIT_USER_ERROR

    app.run(guarded)
