"""High-throughput training of facial-expression recognisers in JAX/Flax, and serving without it.

    import fer_jax
    faces = fer_jax.analyze("group.jpg")
    faces[0].label, faces[0].probabilities["happy"], faces[0].box

Importing the package is cheap: what is used is imported when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fer_jax.errors import UserError
    from fer_jax.serve.analyzer import Analyzer, Face, Faces, analyze

__version__ = "0.1.0"
__all__ = ["Analyzer", "Face", "Faces", "UserError", "__version__", "analyze"]

_HOMES = {
    "Analyzer": "fer_jax.serve.analyzer",
    "Face": "fer_jax.serve.analyzer",
    "Faces": "fer_jax.serve.analyzer",
    "UserError": "fer_jax.errors",
    "analyze": "fer_jax.serve.analyzer",
}


def __getattr__(name: str) -> Any:
    """What `__all__` names, imported on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
