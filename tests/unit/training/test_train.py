"""The loop itself: what it compiles, what it moves, and what it writes besides metrics."""

import collections
import logging

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import default
from fer_jax.distributed.parallel import Parallel
from fer_jax.errors import UserError
from fer_jax.training import metric_log, train
from fer_jax.training.checkpoint import Progress
from fer_jax.training.program import TrainProgram
from fer_jax.training.train import PhaseTimer, Session
from tests import datasets


@pytest.fixture(scope="module")
def examples():
    return datasets.noise(["Training"] * 40 + ["PublicTest"] * 19)


@pytest.fixture
def config():
    config = default.get_config()
    config.batch_size, config.input.size, config.parallel.steps_per_dispatch, config.epochs = 8, 16, 2, 2
    config.data.pipeline = "device"
    config.model.args = ConfigDict({"block_features": (8,)})
    return config


def test_nothing_compiles_twice_and_the_second_dispatch_is_traced(config, examples, tmp_path, caplog, request):
    seen = []
    jax.config.update("jax_log_compiles", True)  # for all threads, as `jax.log_compiles()` is not
    request.addfinalizer(lambda: jax.config.update("jax_log_compiles", False))
    with caplog.at_level(logging.WARNING):
        train.train(config, tmp_path, examples, PhaseTimer(), Session(seen.append, profile=True))
    # A message names the function, its shapes and their places; pmap calls every function "_fun".
    messages = (record.getMessage() for record in caplog.records)
    compiled = collections.Counter(message for message in messages if message.startswith("Compiling "))
    assert set(compiled.values()) == {1}, compiled.most_common(3)
    assert sum(message.startswith("Compiling jit(_fun)") for message in compiled) == 2, "the chunk and the evaluation"
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))
    rows = metric_log.read_metrics(tmp_path)
    assert len(rows) == config.epochs and rows == seen
    seconds = {key: value for key, value in rows[-1].items() if key.startswith("seconds_")}
    assert 0 <= rows[-1]["input_wait_share"] < 1
    assert rows[-1]["train_share"] == pytest.approx(seconds["seconds_train"] / sum(seconds.values()), abs=1e-3)


@pytest.mark.parametrize("pipeline", ["tf", "device"])
def test_the_next_input_is_sent_and_dispatched_before_a_chunk_is_waited_for(
    config, examples, tmp_path, monkeypatch, pipeline
):
    """What overlaps copies and steps: the host waits for a chunk when the one after it is on its way already."""
    config.data.pipeline, config.epochs, config.parallel.steps_per_dispatch = pipeline, 1, 1
    events = []
    split, run, read = Parallel.split, TrainProgram.run, train.Run._require_finite

    def record(name, function):
        def recorded(*arguments, **named):
            events.append(name)
            return function(*arguments, **named)

        return recorded

    monkeypatch.setattr(TrainProgram, "run", record("run", run))
    monkeypatch.setattr(train.Run, "_require_finite", staticmethod(record("read", read)))
    monkeypatch.setattr(Parallel, "split", record("sent", split))
    train.train(config, tmp_path, examples, PhaseTimer())
    events = events[events.index("run") - 1 :]
    chunks = events.count("run")
    assert chunks == 5 and events.count("read") == chunks
    waited_for = [i for i, event in enumerate(events) if event == "read"]
    for chunk, place in enumerate(waited_for[:-1], 1):  # the last is waited for at the end of the epoch
        assert events[:place].count("sent") >= chunk + 1
        assert events[:place].count("run") >= chunk + 1


def test_an_implicit_transfer_is_refused(config, examples, tmp_path, monkeypatch):
    def as_numpy(self, tree, axis):
        return jax.tree.map(lambda x: np.stack(np.split(x, self.devices, axis)), tree)

    monkeypatch.setattr(Parallel, "split", as_numpy)
    with pytest.raises(jax.errors.JaxRuntimeError, match="Disallowed host-to-device transfer"):
        train.train(config, tmp_path, examples, PhaseTimer())


def test_more_steps_to_accumulate_than_there_are_is_refused(config, examples, tmp_path):
    config.optim.accumulate_steps = 13
    with pytest.raises(UserError, match=r"accumulate_steps is 13 and the run has \d+ steps: no update would be made"):
        train.train(config, tmp_path, examples, PhaseTimer())


@pytest.mark.parametrize(
    ("examples", "mixup", "expected"),
    [(200, 0.2, 128), (90, 0.0, 88), (90, 0.2, 80), (7, 0.0, 7), (7, 0.2, 6), (1, 0.2, 2)],
)
def test_a_batch_is_at_most_the_training_set(config, caplog, examples, mixup, expected):
    config.batch_size, config.augment.mixup = 128, mixup
    with caplog.at_level(logging.INFO):
        assert train.fitted_batch(config, examples).batch_size == expected
    assert config.batch_size == 128
    assert ("batches of" in caplog.text) == (expected < 128)


def test_a_loss_that_is_not_finite_names_its_steps():
    losses = np.array([1.0, np.inf, np.nan], np.float32)
    with pytest.raises(train.NonFiniteLossError, match=r"steps 11 to 12 \(gradient norm before: 7\); lower"):
        train.Run._require_finite(10, {"loss": losses, "gradient_norm": np.full(3, 7.0)})


def test_every_second_is_counted_in_one_phase_and_those_of_earlier_sessions_too():
    times = iter([0.0, 2.0, 5.0, 6.0, 10.0])
    watch = PhaseTimer(clock=lambda: next(times))
    watch.enter("train")
    watch.add({"train": 100.0})
    watch.enter("eval")
    watch.enter("train")
    assert watch.read() == dict.fromkeys(train.PHASES, 0.0) | {"startup": 2.0, "train": 107.0, "eval": 1.0}


def decided(scores, **changes):
    """Whether each score was the best, the factors of the learning rate after each, and the progress."""
    config, progress, found = default.get_config(), Progress(), []
    config.epochs = len(scores)
    config.update_from_flattened_dict(changes)
    for score in scores:
        progress.epoch, progress.step = progress.epoch + 1, progress.step + 10
        found.append((train.decide(config, progress, score), progress.lr_scale))
        if progress.finished:
            break
    return [best for best, _ in found], [scale for _, scale in found], progress


def test_the_first_of_equal_epochs_is_the_best_and_waiting_lowers_the_rate_or_ends_the_run():
    best, _, progress = decided([1, 3, 3, 2])
    assert best == [True, True, False, False]
    assert (progress.best_epoch, progress.best_step, progress.best_score, progress.finished) == (2, 20, 3, True)
    changes = {"optim.schedule": "plateau", "optim.plateau_patience": 2, "optim.plateau_factor": 0.1}
    _, scales, progress = decided([2, 2, 2, 3, 1, 1, 1, 1], **changes)
    assert scales == pytest.approx([1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001])
    assert progress.waited == 4
    best, _, progress = decided([2, 1, 1, 4], **{"eval.early_stop": 2})
    assert len(best) == 3 and progress.finished
