"""The trained models that come with the package: fer-jax models

    fer-jax models                    # a paragraph each: network, scores, size, terms
    fer-jax models mini_xception      # a model's card

`--bundle=NAME` of every command that runs a model takes one of them, `fer_jax.Analyzer("NAME")` too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fer_jax import zoo
from fer_jax.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from fer_jax.bundle.manifest import Bundle

POSITIONAL = True


def main(argv: list[str]) -> None:
    """Print the list, or one model's card."""
    from fer_jax.bundle import manifest

    if len(argv) == 1:
        paragraphs = [_paragraph(manifest.read(zoo.HOME / name)) for name in zoo.names()]
        more = "fer-jax models NAME shows the card of one, with every score and its uses to avoid."
        print("\n\n".join([*paragraphs, more]))
        return
    for name in argv[1:]:
        if name not in zoo.names():
            known = ", ".join(zoo.names())
            raise UserError(f"no model is called {name!r}{did_you_mean(name, zoo.names())}: expected one of {known}")
        found = manifest.read(zoo.HOME / name)
        print(f"{found.path}\n\n{found.file('card').read_text(encoding='utf-8').rstrip()}")


def _paragraph(bundle: Bundle) -> str:
    model, spec = bundle.model, bundle.input
    size = sum(path.stat().st_size for path in bundle.path.iterdir())
    stored = f", weights in {model['stored']}" if "stored" in model else ""
    served = ", before the prior it is served by" if "prior" in bundle.provenance else ""
    lines = [
        f"{bundle.path.name}{' (the default)' if bundle.path == zoo.DEFAULT else ''}",
        f"take it   when {zoo.USES[bundle.path.name]}",
        f"network   {model['name']}, {model['parameters']:,} parameters{stored}; {spec.size}x{spec.size} "
        f"{'gray' if spec.channels == 1 else 'RGB'}; {size / 1e6:.1f} MB",
        f"names     {', '.join(bundle.labels)}",
        *(
            _scores(split, scores) + served
            for split, scores in ((bundle.provenance["result"] or {}).get("splits") or {}).items()
        ),
        f"data      {bundle.provenance['training_data']}",
        f"license   {bundle.provenance['licence']}",
    ]
    return "\n  ".join(lines)


def _scores(split: str, scores: Mapping[str, Any]) -> str:
    accuracy, faces = scores["accuracy"], scores["examples"]
    error = math.sqrt(accuracy * (1 - accuracy) / faces)
    return f"score     {split} {accuracy:.1%} ± {error:.1%} of {faces:,} faces, macro-F1 {scores['macro_f1']:.3f}"
