"""What a compiled program is made of, read from its text in XLA's notation."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator

COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
CALLED = {
    "while": re.compile(r"body=%?([\w.\-]+)"),
    "call": re.compile(r"to_apply=%?([\w.\-]+)"),
    "conditional": re.compile(r"(?:true_computation=|false_computation=|branch_computations=\{)%?([\w.\-]+)"),
}
SHAPE = re.compile(r"\b(pred|bf16|[fsu](?:8|16|32|64))\[([\d,]*)\]")
BYTES = {"pred": 1, "bf16": 2}
# What starts no work of its own on a device: names, views, and the ends of what was started.
VIEWS = ("bitcast", "constant", "get-tuple-element", "iota", "parameter", "partition-id", "replica-id", "tuple")
FREE = frozenset((*VIEWS, "after-all", "call", "conditional", "opt-barrier", "while"))
PREFETCHES = ("copy-start", "slice-start")  # into a TPU's fast memory, while something else is computed


@dataclasses.dataclass(frozen=True)
class Operation:
    """One operation that a device runs.

    Attributes:
      kind: such as "fusion" or "all-reduce".
      name: where it comes from, such as "while/body/jvp(MiniXception)/stem1_conv/conv_general_dilated".
      times: how often it runs in a call of the program.
      in_loop: whether it is within a loop.
      cycles: that the compiler expects of one run, None where it says nothing.
      bytes: of its results.
      microseconds: that a GPU's compiler expects of one run, None where it says nothing, as of cuDNN's convolutions.
    """

    kind: str
    name: str
    times: int
    in_loop: bool
    cycles: int | None
    bytes: int
    microseconds: float | None = None


def operations(text: str) -> list[Operation]:
    """All operations of a program that are work for the device, those within fusions left out."""
    computations, entry = _computations(text)
    return list(_walk(computations, entry, 1, False))


def bytes_of(shape: str) -> int:
    """Of a shape such as "(f32[8]{0}, bf16[3,3]{1,0})"."""
    # The numbers in braces are layouts.
    return sum(
        math.prod(map(int, filter(None, sides.split(",")))) * (BYTES.get(kind) or int(kind[1:]) // 8)
        for kind, sides in SHAPE.findall(re.sub(r"\{[^}]*\}", "", shape))
    )


def _computations(text: str) -> tuple[dict[str, list[str]], str]:
    computations: dict[str, list[str]] = {}
    entry = name = ""
    for line in text.splitlines():
        if begin := COMPUTATION.match(line):
            name = begin[2]
            computations[name] = []
            entry = name if begin[1] else entry
        elif " = " in line and name:
            computations[name].append(line.strip())
    return computations, entry


def _walk(computations: dict[str, list[str]], name: str, times: int, in_loop: bool) -> Iterator[Operation]:
    for line in computations[name]:
        shape, kind, rest = _parts(line)
        if kind in CALLED:
            turns = _turns(computations, rest) if kind == "while" else 1
            for called in CALLED[kind].findall(rest):
                yield from _walk(computations, called, times * turns, in_loop or kind == "while")
        if kind in FREE or kind.endswith("-done"):
            continue
        cycles = re.search(r'"estimated_cycles":"(\d+)"', rest)
        microseconds = re.search(r'"reification_cost":\[\{[^}]*?"exec_time_us":([\d.e+-]+)', rest)
        origin = re.search(r'op_name="([^"]*)"', rest)
        yield Operation(
            kind if kind in PREFETCHES else kind.removesuffix("-start"),
            origin[1] if origin else "",
            times,
            in_loop,
            int(cycles[1]) if cycles else None,
            bytes_of(shape),
            float(microseconds[1]) if microseconds else None,
        )


def _parts(line: str) -> tuple[str, str, str]:
    """Shape, kind and arguments of "%name = shape kind(arguments)"; the shape may be a tuple."""
    rest = line.partition(" = ")[2]
    end = _end_of_tuple(rest) if rest.startswith("(") else rest.find(" ")
    shape, rest = rest[:end], rest[end:].lstrip()
    return shape, rest.partition("(")[0], rest


def _end_of_tuple(text: str) -> int:
    depth = 0
    for place, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return place + 1
    return len(text)


def _turns(computations: dict[str, list[str]], arguments: str) -> int:
    """Of a loop: as its compiler found out, or the one number its condition compares with; else 1."""
    if known := re.search(r'"known_trip_count":\{"n":"(\d+)"', arguments):
        return int(known[1])
    condition = re.search(r"condition=%?([\w.\-]+)", arguments)
    lines = computations.get(condition[1], []) if condition else []
    limits = [found[1] for found in (re.search(r" constant\((\d+)\)", line) for line in lines) if found]
    return int(limits[0]) if len(limits) == 1 else 1
