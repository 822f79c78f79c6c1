"""What launch/ starts, started, and what cannot be started here checked against its schema."""

import signal
import subprocess
import sys

import kubernetes_validate
import pytest
import yaml

from fer_jax import recipes
from tests.integration.conftest import REPOSITORY, SLOWLY, checkpoints

LAUNCH = REPOSITORY / "launch"
STOPPED = 75


def local(runs, workdir, *flags):
    return runs.command(
        sys.executable, LAUNCH / "local.py", "--processes=2", "--cpu_devices=2", "--", *runs.flags(workdir), *flags
    )


@pytest.mark.slow
def test_processes_of_one_machine_stop_together_and_finish(runs):
    workdir = runs.folder / "run"
    stopped = local(runs, workdir, SLOWLY).until("[0] epoch 1:").send(signal.SIGTERM)
    assert stopped.wait() == STOPPED, stopped.output
    assert f"[0] stopped after step {max(checkpoints(workdir))} of " in stopped.output
    again = local(runs, workdir)
    assert again.wait() == 0, again.output
    assert "[1] process 1 of 2" in again.output and (workdir / "result.json").exists()


@pytest.mark.slow
def test_one_that_dies_ends_the_others_and_is_named(runs):
    process = local(runs, runs.folder / "run", "--config.epochs=100000").until("[0] epoch 1:")
    # "process 1 of 2: HOST, pid N, devices: 2"
    said = next(line for line in process.output.splitlines() if line.startswith("[1] process 1 of 2:"))
    subprocess.run(["kill", "-KILL", said.partition("pid ")[2].partition(",")[0]], check=True)
    assert process.wait() == 128 + signal.SIGKILL
    assert "process 1 of 2 ended with signal 9 (SIGKILL); ending the others" in process.output
    # on a loaded machine the launcher ends it before it has found out
    assert "process 1 does not answer" in process.output or "killing them" in process.output


def manifests(name):
    return list(yaml.safe_load_all((LAUNCH / name).read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", ["jobset.yaml", "jobset_tpu.yaml"])
def test_kubernetes_manifests_keep_to_the_schemas(name):
    version = kubernetes_validate.latest_version()
    *others, jobset = manifests(name)
    for manifest in others:
        kubernetes_validate.validate(manifest, version, strict=True)
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    # JobSet's own schema is in no package; the templates of its jobs are those of Kubernetes.
    [replicated] = jobset["spec"]["replicatedJobs"]
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}, **replicated["template"]}
    kubernetes_validate.validate(job, version, strict=True)
    spec = job["spec"]
    assert spec["parallelism"] == spec["completions"] and spec["completionMode"] == "Indexed"
    [rule] = spec["podFailurePolicy"]["rules"]
    [container] = spec["template"]["spec"]["containers"]
    assert rule["onExitCodes"] == {"containerName": container["name"], "operator": "In", "values": [2]}
    config = next(arg for arg in container["args"] if arg.startswith("--config="))
    assert config.partition("=")[2] in recipes.names()


def test_the_role_allows_what_peer_discovery_requests():
    account, role, binding, jobset = manifests("jobset.yaml")
    allowed = {(resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]}
    assert {("pods", "list"), ("services", "list"), ("jobs", "get")} <= allowed
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    pod = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == account["metadata"]["name"] == binding["subjects"][0]["name"]


def test_the_tpu_script_quotes_what_it_passes_on(tmp_path):
    seen = tmp_path / "seen"
    stand_in = tmp_path / "gcloud"
    stand_in.write_text(f'#!/bin/bash\nprintf "%s\\n" "$@" > {seen}\n', encoding="utf-8")
    stand_in.chmod(0o755)
    flags = ["--config=configs/xception.py", "--config.model.args={'a': (8,)}"]
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run([LAUNCH / "tpu_vm.sh", "my-tpu", "us-east5-b", *flags], check=True, env=path)
    *_, command = seen.read_text(encoding="utf-8").splitlines()
    assert command.startswith("--command=cd fer_jax && python3 -u -m fer_jax.main ")
    shown = f"printf '%s\\n' {command.partition('fer_jax.main ')[2]}"
    words = subprocess.check_output(["bash", "-c", shown], encoding="utf-8").splitlines()
    assert words == ["--workdir=runs/tpu", *flags]


def test_scripts_pass_shellcheck():
    for script in ("slurm.sbatch", "tpu_vm.sh"):
        subprocess.run(["bash", "-n", LAUNCH / script], check=True)
