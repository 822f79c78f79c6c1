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
SHAPE = re.compile(r"\b(pred|bf16|[fsu](?:8|16|32|64))\[([\d,]*)\](\{[^}]*\})?")
BYTES = {"pred": 1, "bf16": 2}
# What starts no work of its own on a device: names, views, and the ends of what was started.
VIEWS = ("bitcast", "constant", "get-tuple-element", "iota", "parameter", "partition-id", "replica-id", "tuple")
PLACES = ("AllocateBuffer", "ConcatBitcast")  # custom calls that name memory
FREE = frozenset((*VIEWS, *PLACES, "after-all", "call", "conditional", "opt-barrier", "while"))
# Into a TPU's fast memory or out of it, while something else is computed, and where that has to have ended.
PREFETCHES, WAITS = ("copy-start", "slice-start"), ("copy-done", "slice-done")
FAST_MEMORY = "S(1)"  # in a layout


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
      label: its own name, of the end of a prefetch that of its beginning.
      microseconds: that a GPU's compiler expects of one run, None where it says nothing, as of cuDNN's convolutions.
      hbm_bytes: of its operands and results that are not in a TPU's fast memory, of a prefetch what it moves.
    """

    kind: str
    name: str
    times: int
    in_loop: bool
    cycles: int | None
    bytes: int
    label: str = ""
    microseconds: float | None = None
    hbm_bytes: int = 0


def operations(text: str) -> list[Operation]:
    """All operations of a program that are work for the device, those within fusions left out."""
    computations, entry = _computations(text)
    return list(_walk(computations, entry, 1, False))


def bytes_of(shape: str, slow: bool = False) -> int:
    """Of a shape such as "(f32[8]{0}, bf16[3,3]{1,0:S(1)})"; `slow` leaves out what is in a TPU's fast memory."""
    return sum(
        math.prod(map(int, filter(None, sides.split(",")))) * (BYTES.get(kind) or int(kind[1:]) // 8)
        for kind, sides, layout in SHAPE.findall(shape)
        if not (slow and FAST_MEMORY in layout)
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
    parts = [_parts(line) for line in computations[name]]
    shapes = {label: shape for label, shape, _, _ in parts}
    for label, shape, kind, rest in parts:
        if kind in CALLED:
            turns = _turns(computations, rest) if kind == "while" else 1
            for called in CALLED[kind].findall(rest):
                yield from _walk(computations, called, times * turns, in_loop or kind == "while")
        if target := re.search(r'custom_call_target="(\w+)"', rest):
            kind = target[1]
        if kind in FREE or (kind.endswith("-done") and kind not in WAITS):
            continue
        operands = list(dict.fromkeys(re.findall(r"%([\w.\-]+)", rest.partition(")")[0])))
        cycles = re.search(r'"estimated_cycles":"(\d+)"', rest)
        microseconds = re.search(r'"reification_cost":\[\{[^}]*?"exec_time_us":([\d.e+-]+)', rest)
        origin = re.search(r'op_name="([^"]*)"', rest)
        operation = Operation(
            kind if kind in PREFETCHES else kind.removesuffix("-start"),
            origin[1] if origin else "",
            times,
            in_loop,
            int(cycles[1]) if cycles else None,
            bytes_of(shape),
            label=operands[0] if kind in WAITS else label,
            microseconds=float(microseconds[1]) if microseconds else None,
        )
        moved = _hbm_bytes(operation, shape, [shapes.get(operand, "") for operand in operands])
        yield dataclasses.replace(operation, hbm_bytes=moved)


def _hbm_bytes(operation: Operation, shape: str, operands: list[str]) -> int:
    if operation.kind in WAITS:
        return 0
    if operation.kind in PREFETCHES:  # a tuple of both ends, of a slice one of them the whole array, and a flag
        return min(bytes_of(end[0]) for end in SHAPE.finditer(shape) if end[2])
    if operation.name.endswith("gather"):  # some rows of an operand
        return bytes_of(shape) + bytes_of(shape, slow=True)
    return sum(bytes_of(one, slow=True) for one in (shape, *operands))


def _parts(line: str) -> tuple[str, str, str, str]:
    """Name, shape, kind and arguments of "%name = shape kind(arguments)"; the shape may be a tuple."""
    name, _, rest = line.partition(" = ")
    end = _end_of_tuple(rest) if rest.startswith("(") else rest.find(" ")
    shape, rest = rest[:end], rest[end:].lstrip()
    return name.removeprefix("ROOT ").lstrip("%"), shape, rest.partition("(")[0], rest


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
