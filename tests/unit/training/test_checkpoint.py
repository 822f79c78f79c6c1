"""Checkpoints restore bit for bit, and survive damage."""

import json

import jax
import numpy as np
import optax
import pytest

from fer_jax import files
from fer_jax.errors import UserError
from fer_jax.models import registry
from fer_jax.training import setup
from fer_jax.training.checkpoint import Checkpoints, Progress


def fresh_state(classes=3, optimizer=None):
    model = registry.create("mini_xception", classes, {"block_features": (8,)})
    variables = jax.jit(model.init, static_argnums=2)(jax.random.key(0), np.zeros((1, 16, 16, 1), np.float32), False)
    return setup.from_variables(variables, optimizer or optax.adam(1e-3), ema=True)


@pytest.fixture(scope="module")
def start():
    return fresh_state()


def at(start, step):
    return start.replace(step=np.int32(step), lr_scale=np.float32(step))


@pytest.fixture
def checkpoints(tmp_path):
    made = Checkpoints(tmp_path)
    yield made
    made.close()


def filled(checkpoints, start, steps, best):
    for step in steps:
        checkpoints.save(at(start, step), Progress(best_step=best, epoch=step))
    checkpoints.wait()


def test_a_state_comes_back_bit_for_bit(checkpoints, start):
    assert checkpoints.restore(start) is None
    filled(checkpoints, start, [5], best=5)
    restored, host = checkpoints.restore(start)
    assert host == Progress(best_step=5, epoch=5)
    assert jax.tree.structure(restored) == jax.tree.structure(start)
    for a, b in zip(jax.tree.leaves(restored), jax.tree.leaves(at(start, 5)), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_the_newest_and_the_best_are_kept(checkpoints, start):
    filled(checkpoints, start, [1, 2, 3, 4], best=1)
    assert checkpoints.steps() == [1, 3, 4]
    assert checkpoints.restore(start, 1)[0].step == 1


@pytest.mark.parametrize("harm", ["flip", "truncate", "delete", "no checksums"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(checkpoints, start, harm, caplog):
    filled(checkpoints, start, [1, 2], best=2)
    folder = checkpoints.folder / "00000002"
    victim = max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    content = victim.read_bytes()
    if harm == "flip":
        victim.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif harm == "truncate":
        victim.write_bytes(content[: len(content) // 2])
    elif harm == "delete":
        victim.unlink()
    else:
        (folder / "checksums.json").unlink()
    assert checkpoints.restore(start)[0].step == 1
    with pytest.raises(UserError, match=r"00000002: .*(changed|missing|cannot be read)"):
        checkpoints.restore(start, 2)


def test_damage_to_any_file_is_detected(checkpoints, start):
    filled(checkpoints, start, [1], best=1)
    folder = checkpoints.folder / "00000001"
    for victim in [path for path in folder.rglob("*") if path.is_file()]:
        content = victim.read_bytes()
        for harmed in (b"", content[:-1], content[:-1] + bytes([content[-1] ^ 1])):
            victim.write_bytes(harmed)
            assert checkpoints.damage(1) or (victim.name == "checksums.json" and harmed.strip() == content.strip())
        victim.unlink()
        assert checkpoints.damage(1)
        victim.write_bytes(content)
        assert checkpoints.damage(1) is None


def test_a_half_written_checkpoint_is_ignored(checkpoints, start, monkeypatch):
    filled(checkpoints, start, [1], best=1)

    def full_disk(*_):
        monkeypatch.undo()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "sha256", full_disk)
    checkpoints.save(at(start, 2), Progress(best_step=1))
    whole = "No space left.*; the checkpoint of step 1 is whole: make room"
    with pytest.raises(UserError, match=f"step 2 could not be written .*{whole}"):
        checkpoints.wait()
    assert checkpoints.steps() == [1]
    assert [p.name for p in checkpoints.folder.iterdir()] == ["00000001"], "nothing half written is left"
    assert checkpoints.restore(start)[0].step == 1


def test_a_checkpoint_of_another_network_or_optimizer_is_refused_by_name(checkpoints, start):
    filled(checkpoints, start, [1], best=1)
    with pytest.raises(UserError, match=r"another network or optimizer: .*classes_conv.*\(3,\).*expected \(\(4,\)"):
        checkpoints.restore(fresh_state(classes=4))
    with pytest.raises(UserError, match="another network or optimizer"):
        checkpoints.restore(fresh_state(optimizer=optax.sgd(0.1)))


def test_a_checkpoint_of_another_format_is_refused(checkpoints, start):
    filled(checkpoints, start, [1], best=1)
    folder = checkpoints.folder / "00000001"
    host = json.loads((folder / "host.json").read_text(encoding="utf-8"))
    files.write_json(folder / "host.json", host | {"format": 99})
    sums = json.loads((folder / "checksums.json").read_text(encoding="utf-8"))
    files.write_json(folder / "checksums.json", sums | {"host.json": files.sha256(folder / "host.json")})
    with pytest.raises(UserError, match="00000001 has format 99, expected 1: use the version"):
        checkpoints.restore(start)


def test_damaged_newer_checkpoints_do_not_push_out_whole_ones(checkpoints, start):
    filled(checkpoints, start, [1, 2, 3], best=2)
    (checkpoints.folder / "00000003" / "host.json").unlink()
    checkpoints.save(at(start, 2), Progress(best_step=2))
    checkpoints.save(at(start, 1), Progress(best_step=2))
    checkpoints.wait()
    assert checkpoints.steps() == [1, 2, 3]
    assert checkpoints.newest() == Progress(best_step=2)
