"""Letters of any script in picture files: by matplotlib's own font, and by installed ones where it has none."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib
from absl import logging
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

OWN = "DejaVu Sans"  # comes with matplotlib


@contextlib.contextmanager
def style(settings: Mapping[str, Any], names: Sequence[str]) -> Iterator[None]:
    """matplotlib's `settings` for figures in which `names` stand, with fonts that have their letters."""
    fonts = [OWN, *dict.fromkeys(font for c in sorted(set("".join(names))) if (font := _font_of(c)) not in (OWN, None))]
    with matplotlib.rc_context({**settings, "font.family": fonts}), without_warnings():
        yield


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """matplotlib's warnings of letters that its fonts lack are not for the user."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from", UserWarning)
        yield


def shown(names: Sequence[str]) -> list[str]:
    """The names as a picture file can show them: "class 2" for the third, where no installed font has its letters."""
    found = [
        name if all(c.isspace() or _font_of(c) for c in name) and name.strip() else f"class {place}"
        for place, name in enumerate(names)
    ]
    if replaced := [f"{new} is {name}" for name, new in zip(names, found, strict=True) if name != new]:
        _say(", ".join(replaced))
    return found


@functools.cache  # a report draws several pictures
def _say(replaced: str) -> None:
    logging.info("no installed font has these letters, so pictures number the classes: %s", replaced)


@functools.cache
def _font_of(letter: str) -> str | None:
    """The font that has a letter: matplotlib's own if it can, None where no installed one does."""
    own = font_manager.findfont(OWN)
    if ord(letter) in _letters(own):
        return OWN
    for entry in sorted(font_manager.fontManager.ttflist, key=lambda entry: (entry.name, entry.fname)):
        if entry.style == "normal" and ord(letter) in _letters(entry.fname):
            return entry.name
    return None


@functools.cache
def _letters(path: str) -> frozenset[int]:
    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):  # a font that was removed since matplotlib listed it, or of another kind
        return frozenset()
