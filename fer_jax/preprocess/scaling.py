"""Scaling of pixels to the network's input: named, so that a config and a bundle say the same thing in one word."""

from fer_jax.errors import UserError

# name: (factor, offset), input = pixel * factor + offset for a pixel in 0..255
SCALINGS = {
    "signed": (1 / 127.5, -1.0),
    "unit": (1 / 255, 0.0),
}


def factor_and_offset(name: str) -> tuple[float, float]:
    """The pair of a scaling by its name; UserError for a name there is not."""
    if name not in SCALINGS:
        raise UserError(f"config.input.scaling is {name!r}: expected one of {', '.join(SCALINGS)}")
    return SCALINGS[name]
