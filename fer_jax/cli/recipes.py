"""The recipes by name, with their data, parameters and measured scores: fer-jax recipes

    fer-jax recipes                   # the table
    fer-jax recipes xception          # what a recipe says of itself, and where its file lies, to copy and change

`fer-jax train --config=NAME` or `--config=NAME:VARIANT` trains one from anywhere; your own file is given by its path.
"""

import json

from fer_jax import recipes
from fer_jax.errors import UserError, did_you_mean

POSITIONAL = True


def main(argv: list[str]) -> None:
    """Print the table, or one recipe's page."""
    if len(argv) == 1:
        print(table())
        return
    for name in (argument.partition(":")[0] for argument in argv[1:]):  # a variant stands in its recipe's page
        if name not in (*recipes.names(), "default"):
            raise UserError(
                f"no recipe is called {name!r}{did_you_mean(name, recipes.names())}: "
                f"expected one of {', '.join(recipes.names())}"
            )
        print(f"{recipes.folder() / f'{name}.py'}\n\n{recipes.docstring(name)}")


def table() -> str:
    """A line for each recipe: its name and the first line of its docstring, then its variants and what was measured."""
    lines, measured = [], json.loads((recipes.folder() / "scores.json").read_text(encoding="utf-8"))
    for name in recipes.names():
        lines.append(f"{name:12} {recipes.docstring(name).splitlines()[0]}")
        if variants := recipes.variants_of(name):
            lines.append(f"{'':12} variants: {', '.join(variants)}")
        for recipe, score in measured.items():
            if recipe.partition(":")[0] == name:
                lines.append(
                    f"{'':12} measured: {recipe}, {score['parameters']:,} parameters, {score['split']} "
                    f"{score['accuracy']:.1%} ± {score['standard_error']:.1%} of {score['examples']:,}"
                )
    more = "fer-jax recipes NAME tells what was measured, and of which protocol; fer-jax models lists trained models."
    return "\n".join([*lines, "", more])
