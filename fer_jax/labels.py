"""Names of the expressions in the order each data set numbers them, and what the same expression is called elsewhere.

Labels are always names with an order written down next to the numbers: a number without its list of names is never
stored or printed.
"""

import functools
import unicodedata
from collections.abc import Sequence

FER2013 = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
# Barsoum et al., "Training deep networks for facial expression recognition with crowd-sourced label distribution"
FERPLUS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
# Kohn-Kanade's Emotion files number these 1 to 7 (0 is neutral)
CKPLUS = ("anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")
JAFFE = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")

_CANONICAL = {
    "angry": {"angry", "anger", "an"},
    "disgust": {"disgust", "disgusted", "di"},
    "fear": {"fear", "fearful", "afraid", "fe"},
    "happy": {"happy", "happiness", "joy", "ha"},
    "sad": {"sad", "sadness", "sa"},
    "surprise": {"surprise", "surprised", "su"},
    "neutral": {"neutral", "ne"},
    "contempt": {"contempt", "contemptuous", "co"},
}

MAX_LISTED = 30  # classes that a line, a plot or a table's columns have room to name
EXPRESSIONS = tuple(_CANONICAL)  # all that have a name here, by FER2013's words


@functools.lru_cache(maxsize=4096)
def canonical(name: str) -> str:
    """FER2013's word for an expression ("anger" gives "angry").

    Another name comes back in lower case, with its letters composed (NFKC), single blanks and nothing invisible.
    """
    composed = unicodedata.normalize("NFKC", name).casefold()
    lowered = " ".join("".join(sign for sign in composed if unicodedata.category(sign) != "Cf").split())
    return next((key for key, aliases in _CANONICAL.items() if lowered in aliases), lowered)


def columns(names: Sequence[str], known: Sequence[str]) -> list[int]:
    """For each of `names` the place in `known` of the same expression ("anger" is "angry"), -1 where there is none.

    What brings logits or weights of the classes `known` into the order of `names`.
    """
    if list(names) == list(known):
        return list(range(len(known)))
    places = {canonical(name): place for place, name in reversed(list(enumerate(known)))}
    return [places.get(canonical(name), -1) for name in names]


def latin(names: Sequence[str]) -> list[str]:
    """The names in ASCII for pictures drawn by OpenCV, whose fonts have no other letters.

    Accents are dropped; a name with other letters becomes its place among the names, "class 2".
    """
    shown = []
    for place, name in enumerate(names):
        parts = unicodedata.normalize("NFKD", name)
        bare = "".join(c for c in parts if not unicodedata.combining(c))
        shown.append(bare if bare.isascii() and bare.strip() else f"class {place}")
    return shown


def in_order(names: Sequence[str]) -> str:
    """The names with their numbers for a line of a log; of more than `MAX_LISTED` how many they are, and the first."""
    if len(names) > MAX_LISTED:
        return f"{len(names)} classes: {', '.join(names[:3])}, ..."
    return "labels in order: " + ", ".join(f"{number} {name}" for number, name in enumerate(names))
