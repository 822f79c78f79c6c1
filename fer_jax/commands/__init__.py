"""The command `fer-jax` and its subcommands: each is a module that `python -m` runs as well."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Command:
    """One subcommand.

    Attributes:
      module: what it runs: a module of fer_jax, or of the tools.
      summary: what it does, in a few words.
    """

    module: str
    summary: str


GROUPS: dict[str, dict[str, Command]] = {
    "look at faces": {
        "analyze": Command("tools.analyze", "expressions in pictures and videos: a table, annotated copies"),
        "webcam": Command("tools.webcam", "a camera, video or picture, live in a window or headless"),
        "web": Command("tools.web", "a page with a camera"),
        "models": Command("tools.models", "the trained models that come with the package"),
        "detector": Command("tools.detector", "fetch the better face detector, once"),
    },
    "data": {
        "prepare": Command("tools.prepare_data", "read and cache a data set, and say what is in it"),
        "audit": Command("tools.audit_data", "duplicates, blank images and likely wrong labels"),
        "extract-faces": Command("tools.extract_faces", "a training folder out of photographs"),
    },
    "train": {
        "recipes": Command("tools.recipes", "the recipes by name, with data, parameters and scores"),
        "train": Command("fer_jax.main", "train, score and report"),
        "evaluate": Command("tools.evaluate", "score runs, ensembles and bundles"),
        "report": Command("tools.report", "the page of a run, or of several side by side"),
        "ablation": Command("tools.ablation", "what each part of a recipe gives, over seeds"),
    },
    "hand over": {
        "export": Command("tools.export", "a finished run as a bundle"),
        "explain": Command("tools.explain", "what a network looks at"),
        "import-keras": Command("tools.import_keras", "a Keras mini-Xception as a bundle"),
    },
    "this machine": {
        "info": Command("tools.info", "versions, devices, cameras: what a bug report needs"),
        "completion": Command("fer_jax.commands.completion", "completion for bash, zsh or fish"),
    },
}
COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}
EXAMPLES = (
    "fer-jax analyze photo.jpg",
    "fer-jax webcam --source=0",
    "fer-jax train --config=xception:taught --config.data.path=fer2013.csv",
)
