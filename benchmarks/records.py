"""Records of measurements: runs with their median, and where and when they were made."""

from __future__ import annotations

import datetime
import pathlib
import platform
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from fer_jax import environment


def rounded(values: Sequence[float]) -> list[float]:
    """The values with four digits each."""
    return [float(f"{value:.4g}") for value in values]


def spread(name: str, values: Sequence[float]) -> dict[str, Any]:
    """{name: the median, "runs": all values in the order they were measured}."""
    return {name: statistics.median(values), "runs": rounded(values)}


def stamp() -> dict[str, Any]:
    """Return "date" (UTC), "processor" and "versions", these with the device."""
    return {
        "date": now(),
        "processor": processor(),
        "versions": environment.versions(),
    }


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def processor() -> str:
    """The name of the processor, with the vector and matrix extensions that decide its speed."""
    described = pathlib.Path("/proc/cpuinfo")
    text = described.read_text(encoding="utf-8") if described.exists() else ""
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
    found = [name for name in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if name in fields.get("flags", "").split()]
    name = fields.get("model name") or platform.processor() or platform.machine()
    return f"{name} ({', '.join(found)})" if found else name


def keep(path: pathlib.Path, line: str) -> None:
    """Add one line of JSON to a file of records."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def line(record: Mapping[str, Any]) -> str:
    """A record on one line of text."""
    return "  ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in record.items()
    )
