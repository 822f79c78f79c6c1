import numpy as np
import pytest

from fer_jax.distributed import cluster
from fer_jax.distributed.cluster import Launch, launch_of
from fer_jax.errors import UserError

SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "node[1-2]",
    "SLURM_NTASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
}
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
def test_the_environment_says_who_started_us(environ, launcher):
    assert launch_of(environ).launcher == launcher


def test_a_kubernetes_job_needs_its_package(monkeypatch):
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"package kubernetes is not installed: pip install"):
        launch_of(KUBERNETES)
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: name)
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
def test_half_an_environment_is_refused_with_what_was_found(environ, missing):
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
        (
            ("host:1", None, None),
            "--coordinator=host:1 found: give all of --coordinator, --num_processes, --process_id",
        ),
        ((None, 2, 0), "--num_processes=2, --process_id=0 found: give all of"),
        (
            ("host:1", 2, 2),
            "--process_id=2 found: expected host:port, a number of processes, and an id from 0 to one less",
        ),
        (("host", 2, 1), "--coordinator=host, .* expected host:port"),
    ],
)
def test_half_set_flags_are_refused(flags, message):
    with pytest.raises(UserError, match=message):
        launch_of({}, *flags)


def test_one_process_is_the_first_and_need_not_ask():
    assert cluster.is_first()
    assert not cluster.asked_to_stop()
    value = object()
    assert cluster.on_first(lambda: value) is value


def test_bytes_arrive_whole():
    for content in (b"", b"x", np.float32([-0.0, 1]).tobytes()):
        assert cluster._broadcast(content) == content


@pytest.mark.parametrize(
    ("said", "names"),
    [
        (
            "DEADLINE_EXCEEDED: Barrier timed out.\n# of tasks that reached the barrier: 1/3.\nThe first task at the "
            "barrier: 0. Some timed out task names:\n1\n2\n\n\nRPC: /xla",
            "process 1, 2 does not answer",
        ),
        (
            "INTERNAL: Barrier failed because: task is set to ERROR: UNAVAILABLE: Task 1 heartbeat timeout. "
            "This indicates",
            "process 1 does not answer",
        ),
        ("UNAVAILABLE: something else\nand more", "UNAVAILABLE: something else"),
    ],
)
def test_the_processes_that_do_not_answer_are_read_from_the_error(said, names):
    assert cluster._silent_of(said) == names
