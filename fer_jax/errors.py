"""The exceptions that are no defects, and the exit codes they give a command line."""

import difflib
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


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """ " (did you mean 'webcam'?)" for a word that resembles known ones, "" where none does: part of a message."""
    near = difflib.get_close_matches(word, list(known), n=2)
    return f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""
