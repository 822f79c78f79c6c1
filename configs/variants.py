"""Parses what follows the colon of `--config=jaffe:best,optimizer=sgd`."""

from __future__ import annotations

from types import SimpleNamespace

from fer_jax.errors import UserError


def parse(variant: str, names: tuple[str, ...], **options: tuple[str, ...]) -> SimpleNamespace:
    """Read "best", "optimizer=sgd", "best,optimizer=sgd" or "".

    Args:
      variant: what was given.
      names: the variants there are, the default first.
      options: the values each option can have, its default first.

    Returns:
      `name`, each option's value under the option's own name, and `label`: the parts that were chosen, joined by
      "_", for the run's name; the variant's name is always one of them where there are several.

    Raises:
      UserError: an unknown variant, option or value, with the known ones; an option that is given twice.
    """
    chosen: dict[str, str] = {}
    for part in filter(None, variant.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            key, value = "name", part
        allowed = names if key == "name" else options.get(key)
        if allowed is None:
            raise UserError(f"the config has no option {key!r}: expected {_known(options)}")
        if value not in allowed:
            what = "variant" if key == "name" else key
            raise UserError(f"the config has no {what} {value!r}: expected {' or '.join(allowed)}")
        if key in chosen:
            raise UserError(f"the config's variant {variant!r} says {key} twice: say it once")
        chosen[key] = value
    label = [chosen.get("name", names[0])] if names[1:] else []
    label += [f"{key}-{chosen[key]}" for key in options if chosen.get(key, options[key][0]) != options[key][0]]
    return SimpleNamespace(
        **{"name": names[0], **{key: values[0] for key, values in options.items()}, **chosen}, label="_".join(label)
    )


def _known(options: dict[str, tuple[str, ...]]) -> str:
    return ", ".join(f"{key}={'|'.join(values)}" for key, values in options.items()) or "none"
