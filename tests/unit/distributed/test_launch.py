"""Which launcher started the process is read from flags or from the environment, or refused when half is missing."""

import pytest

from fer_jax.distributed import launch
from fer_jax.distributed.launch import Launch, launch_of
from fer_jax.errors import UserError

SLURM = {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "node[1-2]"}
SLURM |= {"SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_LOCALID": "0"}
OPEN_MPI = {
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_MCA_orte_hnp_uri": "1.0;tcp://10.0.0.1:4",
}
KUBERNETES = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0", "HOSTNAME": "pod-0"}
TPU = {"TPU_WORKER_ID": "0", "TPU_WORKER_HOSTNAMES": "a,b"}


def without(environ, name):
    return {key: value for key, value in environ.items() if key != name}


@pytest.mark.parametrize(
    ("environ", "launcher"),
    [
        ({}, "alone"),
        (SLURM, "slurm"),
        (SLURM | {"SLURM_NTASKS": "1"}, "alone"),
        ({"SLURM_JOB_ID": "7"}, "alone"),  # a shell in an allocation
        (OPEN_MPI, "ompi"),
        (OPEN_MPI | SLURM, "ompi"),  # mpirun inside an allocation
        (KUBERNETES | TPU, "tpu"),
        ({"TPU_WORKER_ID": "0", "TPU_WORKER_HOSTNAMES": "localhost"}, "alone"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOSTNAME": "notebook"}, "alone"),
    ],
)
def test_the_launcher_is_read_from_the_environment(environ, launcher):
    assert launch_of(environ).launcher == launcher


def test_a_kubernetes_job_needs_its_package(monkeypatch):
    monkeypatch.setattr(launch.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"package kubernetes is not installed: pip install"):
        launch_of(KUBERNETES)
    monkeypatch.setattr(launch.importlib.util, "find_spec", lambda name: name)
    assert launch_of(KUBERNETES) == Launch("kubernetes")


def test_flags_go_before_the_environment():
    assert launch_of(SLURM, "host:1234", 2, 1) == Launch("flags", "host:1234", 2, 1)


@pytest.mark.parametrize(
    ("environ", "missing"),
    [
        *((SLURM, name) for name in SLURM if name != "SLURM_NTASKS"),
        *((OPEN_MPI, name) for name in OPEN_MPI if name != "OMPI_COMM_WORLD_SIZE"),
        (KUBERNETES, "KUBERNETES_SERVICE_HOST"),
        (KUBERNETES, "HOSTNAME"),
        (TPU, "TPU_WORKER_ID"),
    ],
)
def test_an_incomplete_environment_is_refused_with_what_was_found(environ, missing):
    with pytest.raises(UserError) as caught:
        launch_of(without(environ, missing))
    message = str(caught.value)
    for name, value in without(environ, missing).items():
        assert f"{name}={value}" in message
    assert f" found, {missing} not: " in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("host:1", None, None), "--coordinator=host:1 found: give all of --coordinator, --num-processes, --process-i"),
        ((None, 2, 0), "--num-processes=2, --process-id=0 found: give all of"),
        (("host:1", 2, 2), "--process-id=2 found: expected host:port, a number of processes, and an id from 0"),
        (("host", 2, 1), "--coordinator=host, .* expected host:port"),
    ],
)
def test_half_set_flags_are_refused(flags, message):
    with pytest.raises(UserError, match=message):
        launch_of({}, *flags)
