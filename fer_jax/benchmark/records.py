"""What every record of a measurement has: several runs with their median and spread, where and when it was made."""

from __future__ import annotations

import datetime
import pathlib
import platform
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from fer_jax import environment


def spread(name: str, values: Sequence[float]) -> dict[str, Any]:
    """{name: the median, "runs": all values, rounded to four digits, in the order they were measured}."""
    return {name: statistics.median(values), "runs": [float(f"{value:.4g}") for value in values]}


def stamp() -> dict[str, Any]:
    """ "date" (UTC), "processor" and "versions", these with the device."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "versions": environment.versions(),
    }


def keep(path: pathlib.Path, line: str) -> None:
    """Add one line of JSON to a file of records."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def processor() -> str:
    """The processor's own name, where the system tells it."""
    described = pathlib.Path("/proc/cpuinfo")
    lines = described.read_text(encoding="utf-8").splitlines() if described.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def line(record: Mapping[str, Any]) -> str:
    """A record for people."""
    return "  ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in record.items()
    )
