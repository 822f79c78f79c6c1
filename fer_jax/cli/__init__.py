"""The command `fer-jax`: a module of this package for each of its commands, found by name.

A module has `main(argv)`, which returns an exit code or None for 0, and its absl flags; its docstring is the head of
its help. `POSITIONAL = True` lets it take arguments that are no flags.
"""

import sys

import fer_jax

GROUPS: dict[str, dict[str, str]] = {
    "look at faces": {
        "analyze": "expressions in pictures and videos: a table, annotated copies",
        "webcam": "a camera, video or picture, live in a window or headless",
        "web": "a page with a camera",
        "models": "the trained models that come with the package",
        "detector": "fetch the better face detector, once",
    },
    "data": {
        "prepare": "read and cache a data set, and say what is in it",
        "audit": "duplicates, contradicting labels, leaks, blank images",
        "extract-faces": "a training folder out of photographs",
    },
    "train": {
        "recipes": "the recipes by name, with data, parameters and scores",
        "train": "train, score and report",
        "evaluate": "score runs, ensembles and bundles",
        "report": "the page of a run, or of several side by side",
        "ablation": "what each part of a recipe gives, over seeds",
    },
    "hand over": {
        "export": "a finished run as a bundle",
        "push": "a bundle onto a model hub",
        "explain": "what a network looks at",
        "import-keras": "a Keras mini-Xception as a bundle",
    },
    "this machine": {
        "info": "versions, devices, cameras: what a bug report needs",
        "completion": "completion for bash, zsh or fish",
    },
}
COMMANDS = {name: summary for group in GROUPS.values() for name, summary in group.items()}
EXAMPLES = (
    "fer-jax analyze photo.jpg",
    "fer-jax webcam --source=0",
    "fer-jax train --config=xception:distilled --config.data.path=fer2013.csv",
)


def main(command: str = "") -> None:
    """Run a command with the words of the command line, and exit; "" takes the command from the first of them."""
    from fer_jax.cli import command as runner

    words = sys.argv[1:]
    if not command:
        command, words = (words[0], words[1:]) if words else ("help", [])
    with runner.quiet_pipe():
        if command in ("-h", "-help", "--help", "help"):
            print(usage())
        elif command in ("--version", "version"):
            print(fer_jax.__version__)
        else:
            runner.run(command, words)


def usage() -> str:
    """The text of `fer-jax --help`."""
    width = max(map(len, COMMANDS))
    lines = ["Facial expressions: train recognizers, run them on pictures, videos, cameras."]
    lines += [f"  {example}" for example in EXAMPLES]
    lines.append("")
    for title, commands in GROUPS.items():
        lines += [f"{title}:", *(f"  {name:{width}}  {summary}" for name, summary in commands.items())]
    return "\n".join([*lines, "fer-jax COMMAND --help shows a command's flags."])
