"""The page of performance, from records that were kept: the only way a figure gets onto it."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

from fer_jax.errors import UserError

SHOWN_SHARE = 0.01  # of a profile: smaller operations are added up


def of_records(folder: pathlib.Path, kind: str = "performance") -> str:
    """Markdown of the page "performance" or "accelerators", from a folder of records:

    `*.jsonl` have a record of `python -m tools.benchmark` a line, of which the last of a command counts on each
    device; `pending.json` is a list of {"what", "bar", "command"}, and says what is measured on a GPU.

    Raises UserError for a folder without records and for a line that is none.
    """
    newest: dict[tuple[str, ...], dict[str, Any]] = {}
    for path in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                record = json.loads(line)
                key = (record["command"], record["versions"]["device"], record["processor"], _which(record))
            except (ValueError, KeyError, TypeError):
                raise UserError(f"{path}, line {number}: no record of tools.benchmark; add them by --keep") from None
            newest[key] = record
    if not newest:
        raise UserError(f"{folder}: no *.jsonl in it: measure with python -m tools.benchmark --keep={folder}/cpu.jsonl")
    kept = list(newest.values())
    by_kind: dict[str, list[dict[str, Any]]] = {}
    of_gpus: dict[str, list[dict[str, Any]]] = {}
    for record in kept:
        found = by_kind if kind != "performance" or record["versions"]["device"].endswith("cpu") else of_gpus
        found.setdefault(record["benchmark"], []).append(record)
    path = folder / "pending.json"
    pending = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fer_jax.benchmark", "."),
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "number": _number,
        "range": _range,
        "percent": lambda share: f"{100 * share:.1f} %",
        "shares": _shares,
        "millions": lambda count: f"{count / 1e6:.2f} M",
        "mebibytes": lambda size: f"{size / 2**20:,.0f} MiB",
    }
    return environment.get_template(f"{kind}.md").render(
        records=by_kind,
        of_gpus=of_gpus,
        machines=sorted({_machine(record) for record in kept}),
        accelerator=[
            entry | {"measured": [_figure(r) for r in kept if r["command"] == entry["command"]]} for entry in pending
        ],
    )


def _which(record: Mapping[str, Any]) -> str:
    """What tells the records of one command apart."""
    return ", ".join(
        str(record[key])
        for key in ("op", "pipeline", "cache", "fixed", "devices", "model", "api", "implementation")
        if key in record
    )


def _machine(record: Mapping[str, Any]) -> str:
    versions = record["versions"]
    software = ", ".join(f"{name} {versions[name]}" for name in ("jax", "jaxlib", "flax", "python") if name in versions)
    return f"{record['date'][:10]}: {versions['device']}, {record['processor']}, {versions['cpus']} cores; {software}"


def _figure(record: Mapping[str, Any]) -> str:
    """The figures of an accelerator's record in a few words."""
    words = {
        "images_per_s": "{:,.0f} images/s",
        "ratio": "{:.2f} times the peer",
        "mfu": "MFU {:.1%}",
        "bandwidth_share": "{:.1%} of the bandwidth",
        "seconds": "{:.1f} s",
    }
    told = [form.format(record[key]) for key, form in words.items() if record.get(key) is not None]
    return f"{', '.join(told)} ({record['versions']['device']}, {record['date'][:10]})"


def _number(value: float) -> str:
    """Three digits that say something, with thousands."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _range(values: Sequence[float]) -> str:
    return f"{_number(min(values))} to {_number(max(values))}"


def _shares(shares: Mapping[str, float]) -> dict[str, float]:
    """The large shares, and the sum of the others."""
    large = {name: share for name, share in shares.items() if share >= SHOWN_SHARE}
    return large | {"all others": sum(shares.values()) - sum(large.values())}
