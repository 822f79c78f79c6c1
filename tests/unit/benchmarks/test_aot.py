"""Programs for devices that are not there: a small one compiled where libtpu is installed, and what is read of it."""

import importlib.util
import json
import os

import pytest

from benchmarks import aot, programs, targets
from fer_jax.errors import UserError
from tests.conftest import REPOSITORY, run_python

SMALL = (
    "--config=configs/quickstart.py",
    "--config.input.size=16",
    "--config.model.args={'block_features': (8,)}",
    "--config.parallel.steps_per_dispatch=2",
    "--json",
)
missing = importlib.util.find_spec("libtpu") is None
needs_libtpu = pytest.mark.skipif(missing, reason="no libtpu: pip install 'fer_jax[aot-tpu]'")


def run(*arguments):
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    return run_python("-m", "tools.benchmark", "aot", *arguments, cwd=REPOSITORY, env=environment)


@needs_libtpu
def test_a_small_network_for_a_tpu_slice(tmp_path):
    hlo = tmp_path / "program.txt"
    done = run(*SMALL, "--target=v5e:2x2", "--batch-per-device=16", f"--hlo={hlo}")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["estimated_cycles_a_step"] > 0 and sum(record["layers"].values()) == pytest.approx(1, abs=0.01)
    assert record["devices"] == 4 and record["batch_size"] == 64
    assert (record["dtype"], record["implementation"]) == ("bfloat16", "tpu")
    assert record["other_cycles_a_step"] > 0 and record["hbm_bytes_a_step"] > 0
    assert record["all_reduces"] > 0 and record["all_reduce_bytes"] > 0
    assert 0 <= record["temporary_bytes"] < record["used_bytes"] < record["memory_bytes"]
    gathers = {row["where"] for row in record["unestimated"] if row["kind"] == "gather"}
    assert gathers <= {"fetch"}  # no single pixels
    assert "HloModule" in hlo.read_text(encoding="utf-8")


@needs_libtpu
def test_a_slice_that_there_is_not():
    done = run(*SMALL, "--target=v5e:3x5")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: --target is 'v5e:3x5': no such slice")


def test_a_program_that_needs_more_memory_than_there_is_is_one_line():
    class Sizes:
        argument_size_in_bytes = output_size_in_bytes = alias_size_in_bytes = 0
        temp_size_in_bytes = 32 * 2**30

    class Compiled:
        def memory_analysis(self):
            return Sizes()

    with pytest.raises(UserError, match=r"device=4096 does not fit .* 32.0 GiB of 16.0 GiB"):
        aot._memory(Compiled(), targets.find("v5e:2x4"), 4096)


def operation(name, cycles, kind="fusion"):
    return programs.Operation(kind, name, 2, True, cycles, 8)


def test_cycles_of_what_the_compiler_estimates_nothing_of():
    done = [
        operation("norm", None, "select-and-scatter"),  # 8 bytes: a number
        programs.Operation("select-and-scatter", "norm", 2, True, None, 10**6, hbm_bytes=3 * 10**6),
        programs.Operation("tpu_custom_call", "stem", 2, True, None, 10**6),
        programs.Operation("reshape", "stem", 1, True, None, 64),
        programs.Operation("copy-start", "", 2, True, None, 10**6, hbm_bytes=10**6),
        programs.Operation("all-reduce", "", 2, True, None, 10**6),
        programs.Operation("fusion", "", 2, True, 7, 10**6, hbm_bytes=10**6),
    ]
    assert aot._other(done, 100.0) == 2 * 30_000 + 2 * 10_000 + aot.LEAST


def test_prefetches_hide_where_the_memory_is_idle():
    def one(kind, cycles=None, moved=0, label=""):
        return programs.Operation(kind, "", 3, True, cycles, moved, label, hbm_bytes=moved)

    done = [
        one("copy-start", moved=1000, label="a"),  # 100 cycles at 10 bytes each
        one("slice-start", moved=500, label="b"),  # 50
        one("fusion", 80, moved=200),  # leaves 60
        one("copy-done", label="a"),  # 40 are left of it
        one("fusion", 30),
        one("copy-start", moved=100, label="c"),  # ends before it is asked for
        one("fusion", 50, moved=800),  # leaves none
        one("slice-done", label="b"),  # 20
        one("fusion", 50),
        one("copy-done", label="c"),
    ]
    assert aot._exposed(done, 10.0) == 3 * (40 + 20)


def test_cycles_by_layer_and_what_has_none():
    done = [
        operation("while/body/jvp(MiniXception)/stem1_conv/conv", 100),
        operation("while/body/transpose(jvp(MiniXception))/stem1_conv/conv", 200),
        operation("while/body/augmentation/nrq,nqs->nrs/dot_general", 80),
        operation("while/body/add", 20),
        operation("while/body/fetch/jit(_take)/gather", None),
    ]
    assert aot._shares(done, ["stem1_conv"]) == {"stem1_conv": 0.75, "augmentation": 0.2, "other": 0.05}
    assert aot._unestimated(done, ["stem1_conv"], 2) == [{"kind": "gather", "where": "fetch", "times": 1, "bytes": 8}]
