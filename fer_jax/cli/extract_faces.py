"""Make a training folder out of photographs: fer-jax extract-faces --source=photographs --out=faces

Finds the faces, cuts them out as the webcam tool does, and keeps the folders, so that photographs in a folder for each
class become data for config.data.source=folder. extracted.csv lists what was found in which photograph.
"""

import pathlib

from absl import flags, logging

from fer_jax.cli import options

_SOURCE = options.define_path("source", None, "Folder of photographs, in any folders below it.", required=True)
_OUT = options.define_output(
    "out", None, "Folder for the faces; must not be there or be empty.", folder=True, required=True
)
_ALIGN = flags.DEFINE_bool("align", True, "Level tilted heads, as in serving.")
_FACES = flags.DEFINE_enum("faces", "largest", ["largest", "all"], "Which faces of a photograph.")
_SIZE = flags.DEFINE_integer(
    "size",
    0,
    "Side of the written images in pixels; 0 keeps that of the photograph.",
    lower_bound=0,
    upper_bound=10_000,
)
_DETECTOR, _DETECTOR_MODEL = options.define_detector(searching=True)

_SHOWN = 10  # photographs of each kind that are named on the terminal


def main(argv: list[str]) -> None:
    """Extract and say what was found."""
    from fer_jax.faces import extraction, registry

    detector = registry.create(_DETECTOR.value, _DETECTOR_MODEL.value, align=_ALIGN.value, still=True)
    if detector.name == "haar":
        logging.warning(
            "Haar's cascade also boxes what is no face (3 of 40 boxes in eleven group photographs): look through the "
            "faces"
        )
    result = extraction.extract(
        pathlib.Path(_SOURCE.value), pathlib.Path(_OUT.value), detector, _FACES.value == "all", _SIZE.value
    )
    print(f"{result.faces} faces of {len(result.with_face)} photographs are in {_OUT.value}")
    for names, kind in ((result.without_face, "without a face"), (result.unreadable, "that cannot be read as images")):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            print(f"{len(names)} files {kind}: {', '.join(names[:_SHOWN])}{more}; see {extraction.LISTING}")
