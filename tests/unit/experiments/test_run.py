"""What a run refuses before it writes anything."""

import contextlib
import errno
import json
import os
import re

import pytest

from configs import default
from fer_jax.errors import UserError
from fer_jax.experiments import run
from fer_jax.training.train import NonFiniteLossError
from tests.results import folds_result


def small_config(tmp_path):
    config = default.get_config()
    config.data.source, config.data.args.examples, config.data.cache_dir = "synthetic", 70, str(tmp_path / "cache")
    config.batch_size, config.epochs, config.model.args.block_features = 16, 1, (4,)
    return config


def test_neighbors_that_are_mixed_must_be_on_one_device(tmp_path):
    config = small_config(tmp_path)
    config.batch_size, config.augment.mixup = 56, 0.2
    with pytest.raises(UserError, match=r"56 gives each of 8 devices 7: mixup .*; use 64"):
        run.train_and_score(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_ends_before_the_first_checkpoint_does_not_block_the_folder(tmp_path, monkeypatch):
    def refuse(*_):
        raise UserError("too much")

    config = small_config(tmp_path)
    with monkeypatch.context() as patched, pytest.raises(UserError, match="too much"):
        patched.setattr(run, "train", refuse)
        run.train_and_score(config, tmp_path / "run")
    config.batch_size = 8
    result = run.train_and_score(config, tmp_path / "run")
    config.seed += 1
    with pytest.raises(UserError, match="holds a run of another config: seed was"):
        run.train_and_score(config, tmp_path / "run")
    config.seed -= 1
    config.data.args.examples += 70  # not free to change either
    with pytest.raises(UserError, match=r"data.args.examples was 70, is 140"):
        run.train_and_score(config, tmp_path / "run")
    config.data.args.examples -= 70
    assert run.train_and_score(config, tmp_path / "run") == result


def test_advice_on_a_loss_that_explodes_can_be_followed(tmp_path, monkeypatch):
    def explode(*_):
        raise NonFiniteLossError("lower config.optim.learning_rate")

    config = small_config(tmp_path)
    monkeypatch.setattr(run, "train", explode)
    with pytest.raises(NonFiniteLossError, match=r"lower config\.optim\.learning_rate$"):
        run.train_and_score(config, tmp_path / "run")
    config.optim.learning_rate /= 2
    (tmp_path / "run" / "checkpoints" / "00000001").mkdir(parents=True)
    with pytest.raises(UserError, match="holds a run of another config"):
        run.train_and_score(config, tmp_path / "run")
    config.optim.learning_rate *= 2
    advice = rf"rate; give it another --workdir, {tmp_path / 'run'} keeps the epochs before$"
    with pytest.raises(NonFiniteLossError, match=advice):
        run.train_and_score(config, tmp_path / "run")
    with pytest.raises(NonFiniteLossError, match=advice), run.keeping_its_epochs(tmp_path):  # as of a fold
        run.train_and_score(config, tmp_path / "run")


def test_several_runs_are_no_run(tmp_path):
    folds_result().write(tmp_path)
    with pytest.raises(UserError, match="holds a cross-validation, not one run: give one of fold_01, fold_02 in it"):
        run.read_run_result(tmp_path)


def test_a_folder_in_use_is_one_line_that_names_the_holder(tmp_path):
    with run.locked(tmp_path), pytest.raises(UserError, match=rf"in use by process {os.getpid()} of "):  # noqa: SIM117
        with run.locked(tmp_path):
            pass
    with run.locked(tmp_path):
        pass


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "mine.txt").write_text("keep", encoding="utf-8")
    (tmp_path / "run").mkdir()
    for name in ("lock", "holder.txt"):
        (tmp_path / "run" / name).symlink_to(tmp_path / "mine.txt")
        with contextlib.suppress(OSError), run.locked(tmp_path / "run"):
            pass
        (tmp_path / "run" / name).unlink()
    assert (tmp_path / "mine.txt").read_text(encoding="utf-8") == "keep"


def test_a_file_system_without_locks_is_no_hindrance(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with run.locked(tmp_path):
        pass
    assert "cannot be locked" in caplog.text


@pytest.mark.parametrize(
    ("train", "right", "said"), [(0.99, 36, True), (0.99, 54, True), (0.99, 60, False), (0.9, 36, False)]
)
def test_memorized_images_lead_to_advice(tmp_path, train, right, said):
    rows = [{"step": step, "train_accuracy": accuracy} for step, accuracy in ((1, 0.2), (2, train), (3, 0.5))]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    counts = {"happy": 45, "sad": 30, "angry": 25}
    scores = {"examples": 100, "accuracy": right / 100, "per_class": {k: {"examples": n} for k, n in counts.items()}}
    warning = run.memorized(tmp_path, scores, "PublicTest")
    expected = "99 % of the training images are right and .* commonest class gives 45 %.*--config=finetune"
    assert bool(re.match(expected, warning)) == said == bool(warning)
