"""Devices that are not there, to compile for: slices of TPUs and NVIDIA GPUs by their public figures."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import math
import os
import re
from collections.abc import Mapping
from typing import Any

from fer_jax.errors import UserError

MAX_CHIPS = 256


@dataclasses.dataclass(frozen=True)
class Chip:
    """One device of a target.

    Attributes:
      platform: as JAX calls it.
      kind: `jax.Device.device_kind`, the key of its data sheet in `fer_jax.benchmark.peaks`.
      memory: bytes.
      clock: cycles a second, what the peak of the data sheet and the size of the matrix units give; 0 for GPUs, whose
        compiler estimates no cycles.
      axes: of a slice's topology.
      accelerator_type: what libtpu wants to be told, without the number of chips.
    """

    platform: str
    kind: str
    memory: float
    clock: float = 0.0
    axes: int = 2
    accelerator_type: str = ""


# Clocks: 197, 918 and 459 TFLOP/s by 2 x 4 x 128^2, 2 x 4 x 256^2 and 2 x 8 x 128^2 a cycle.
CHIPS = {
    "v5e": Chip("tpu", "TPU v5 lite", 16 * 2**30, 197e12 / (8 * 128**2), 2, "v5litepod"),
    "v6e": Chip("tpu", "TPU v6 lite", 32 * 2**30, 918e12 / (8 * 256**2), 2, "v6e"),
    "v5p": Chip("tpu", "TPU v5p", 95 * 2**30, 459e12 / (16 * 128**2), 3, "v5p"),
    "h100": Chip("cuda", "NVIDIA H100 80GB HBM3", 80e9),
}
EXAMPLES = "v5e:2x4, v5e:16x16, v6e:2x4, v5p:2x2x1, h100, h100x8"

# Public figures of the card, in the form XLA's GpuTargetConfig wants.
H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152 shared_memory_per_core: 233472
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98 device_memory_size: 84929347584
  shared_memory_per_block_optin: 232448 cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA" dnn_version_info { major: 9 minor: 10 } runtime_version { major: 13 minor: 0 patch: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""


@dataclasses.dataclass(frozen=True)
class Target:
    """What a program is compiled for.

    Attributes:
      name: as given, such as "v5e:2x4".
      chip: each of its devices.
      topology: devices along each axis.
    """

    name: str
    chip: Chip
    topology: tuple[int, ...]

    @property
    def devices(self) -> int:
        """How many there are."""
        return math.prod(self.topology)


def find(name: str) -> Target:
    """The target of a name: a kind of TPU with its topology, or h100 with a number of GPUs.

    Raises:
      UserError: there is none of this name.
    """
    tpu = re.fullmatch(r"(v\w+):(\d+(?:x\d+)+)", name)
    gpu = re.fullmatch(r"(h100)(?:x(\d+))?", name)
    if gpu:
        kind, topology = gpu[1], (int(gpu[2] or 1),)
    elif tpu:
        kind, topology = tpu[1], tuple(map(int, tpu[2].split("x")))
    else:
        kind, topology = name, ()
    chip = CHIPS.get(kind)
    axes = 1 if gpu else chip.axes if chip else 0
    if not chip or len(topology) != axes or not 1 <= math.prod(topology) <= MAX_CHIPS:
        raise UserError(
            f"--target is {name!r}: expected a TPU slice of at most {MAX_CHIPS} chips or H100 GPUs, such as {EXAMPLES}"
        )
    return Target(name, chip, topology)


def prepare(target: Target, environment: dict[str, str] | os._Environ = os.environ) -> None:
    """Check that the target's compiler is installed and set what it reads; before JAX is imported.

    Raises:
      UserError: the compiler is not installed.
    """
    module, extra = ("libtpu", "aot-tpu") if target.chip.platform == "tpu" else ("jax_cuda13_plugin", "aot-cuda")
    if importlib.util.find_spec(module) is None:
        raise UserError(
            f"--target={target.name} needs {module}, which is not installed: pip install 'fer_jax[{extra}]'"
        )
    environment["JAX_PLATFORMS"] = "cpu"  # where the code here runs; the target is another matter
    if target.chip.platform == "tpu":
        # libtpu would look for the TPU of this machine, and lock it against others.
        environment["TPU_SKIP_MDS_QUERY"] = "1"
        environment["TPU_WORKER_HOSTNAMES"] = "localhost"
        environment["TPU_ACCELERATOR_TYPE"] = f"{target.chip.accelerator_type}-{target.devices}"
        environment["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"
    else:
        environment["CUDA_VISIBLE_DEVICES"] = "-1"


def compiler(target: Target) -> str:
    """Name and version of the package that compiles for it."""
    package = "libtpu" if target.chip.platform == "tpu" else "jax-cuda13-plugin"
    return f"{package} {importlib.metadata.version(package)}"


def devices_of(target: Target) -> list[Any]:
    """The target's devices, as `jax.Device`s to compile for; `prepare` comes first.

    Raises:
      UserError: the compiler knows no such slice.
    """
    import jax
    from jax.experimental import topologies

    options: Mapping[str, Any]
    if target.chip.platform == "tpu":
        hosts = {"chips_per_host_bounds": (1, 1, 1)} if target.devices == 1 else {}
        options = {"topology_name": target.name, "platform": "tpu", **hosts}
    else:
        _name_platform_without_device()
        topology = f"1x1x{target.devices}"
        options = {"platform": "cuda", "target_config": H100, "topology": topology}
    try:
        return list(topologies.get_topology_desc(**options).devices)
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--target is {target.name!r}: no such slice ({reason}); expected such as {EXAMPLES}") from None


def _name_platform_without_device() -> None:
    """JAX calls the platform "gpu" and asks a device whether that is CUDA; without a device it must be told.

    https://github.com/jax-ml/jax/issues/28376
    """
    from jax._src import xla_bridge

    known = xla_bridge.canonicalize_platform

    def canonicalize(platform: str) -> str:
        try:
            return known(platform)
        except RuntimeError:
            return "cuda"

    xla_bridge.canonicalize_platform = canonicalize
