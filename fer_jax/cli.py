"""What every command line does around its `main`: a user's mistake is one line and an exit code, not a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable

from absl import app

from fer_jax.errors import EXIT_USER_ERROR, UserError


def run(main: Callable[[list[str]], int | None]) -> None:
    """Parse absl flags, call `main(argv)` and exit with what it returns (None is 0).

    A `UserError` is printed to standard error as `error: ...` and gives exit code 2.
    """
    def guarded(argv: list[str]) -> int | None:
        try:
            if len(argv) > 1:
                raise UserError(f"unexpected argument {argv[1]!r}: every option is a flag, see --help")
            return main(argv)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return EXIT_USER_ERROR

    app.run(guarded)
