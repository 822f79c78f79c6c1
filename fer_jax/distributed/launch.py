"""Launcher and rank of this process: flags, Open MPI, Slurm, Kubernetes or a TPU slice."""

import dataclasses
import importlib.util
from collections.abc import Mapping
from typing import Any

from fer_jax.errors import UserError

# The variables that each launcher sets in every process. A launcher is recognized by a count above 1.
SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
OPEN_MPI = ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_MCA_orte_hnp_uri")
KUBERNETES = ("KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX", "HOSTNAME")
TPU = ("TPU_WORKER_ID", "TPU_WORKER_HOSTNAMES")


@dataclasses.dataclass(frozen=True)
class Launch:
    """Launcher of this process, and its rank.

    Attributes:
      launcher: "alone", "flags", "slurm", "ompi", "kubernetes" or "tpu".
      coordinator: "host:port" of process 0, or None where jax.distributed finds out.
      num_processes, process_id: likewise.
    """

    launcher: str
    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None


def launch_of(
    environ: Mapping[str, str],
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> Launch:
    """The launch that flags, or else the environment, speak of.

    Raises:
      UserError: some but not all of the three flags, or of a launcher's variables, are set; it lists what was found.
    """
    flags = {"--coordinator": coordinator, "--num-processes": num_processes, "--process-id": process_id}
    if any(value is not None for value in flags.values()):
        if coordinator is None or num_processes is None or process_id is None:
            raise UserError(f"{_found(flags)}: give all of {', '.join(flags)}, or none where a launcher sets them")
        if not 0 <= process_id < num_processes or not coordinator.rpartition(":")[2].isdigit():
            raise UserError(f"{_found(flags)}: expected host:port, a number of processes, and an id from 0 to one less")
        return Launch("flags", coordinator, num_processes, process_id)
    # Open MPI first: its mpirun may run inside a Slurm allocation, whose variables say nothing of ranks.
    if _several(environ, "OMPI_COMM_WORLD_SIZE"):
        _require(environ, "Open MPI", OPEN_MPI, "start every process with mpirun of Open MPI 4, or give the flags")
        return Launch("ompi")
    if _several(environ, "SLURM_NTASKS"):
        _require(environ, "Slurm", SLURM, "start the tasks of the job with srun")
        return Launch("slurm")
    if "," in environ.get("TPU_WORKER_HOSTNAMES", ""):
        _require(environ, "a TPU slice on Kubernetes", TPU, "see launch/jobset_tpu.yaml")
        return Launch("tpu")
    if "JOB_COMPLETION_INDEX" in environ:
        _require(environ, "a Kubernetes indexed job", KUBERNETES, "see launch/jobset.yaml")
        if importlib.util.find_spec("kubernetes") is None:
            raise UserError(
                "this is a pod of a Kubernetes indexed job, but the package kubernetes is not installed: "
                "pip install 'fer_jax[kubernetes]'"
            )
        return Launch("kubernetes")
    from jax._src import cloud_tpu_init  # no public name says "this is a TPU VM" without touching the TPU

    on_tpu_vm = cloud_tpu_init.running_in_cloud_tpu_vm and "TPU_WORKER_HOSTNAMES" not in environ
    return Launch("tpu" if on_tpu_vm else "alone")


def _found(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items() if value is not None) + " found"


def _several(environ: Mapping[str, str], count: str) -> bool:
    return environ.get(count, "").isdigit() and int(environ[count]) > 1


def _require(environ: Mapping[str, str], launcher: str, names: tuple[str, ...], fix: str) -> None:
    missing = [name for name in names if not environ.get(name)]
    if missing:
        raise UserError(
            f"the environment is half that of {launcher}: {_found({n: environ.get(n) for n in names})}, "
            f"{', '.join(missing)} not: {fix}"
        )
