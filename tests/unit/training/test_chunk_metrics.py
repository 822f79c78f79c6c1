"""Metrics are read one chunk late, added up for each model, and must be finite."""

import numpy as np
import pytest
from tqdm import tqdm

from fer_jax.training.chunk_metrics import ChunkMetrics, NonFiniteLossError
from fer_jax.training.progress import Progress


def chunk(losses, correct=2.0, norm=1.0):
    losses = np.asarray(losses, np.float32)
    return {"loss": losses, "correct": np.full_like(losses, correct), "gradient_norm": np.full_like(losses, norm)}


@pytest.fixture
def bar():
    with tqdm(total=64, disable=True) as bar:
        yield bar


def test_a_chunk_is_read_when_the_next_one_has_been_dispatched(bar):
    runs = [Progress(), Progress()]
    metrics = ChunkMetrics(runs, 8, bar)
    metrics.dispatched(chunk([[1.0, 10.0], [2.0, 20.0]]))
    assert [(run.step, run.examples, run.epoch_loss) for run in runs] == [(2, 16, 0.0), (2, 16, 0.0)]
    metrics.dispatched(chunk([[4.0, 40.0], [8.0, 80.0]]))
    assert [(run.step, run.epoch_loss, run.epoch_correct) for run in runs] == [(4, 3.0, 4.0), (4, 30.0, 4.0)]
    metrics.read_all()
    assert [(run.step, run.epoch_loss, run.epoch_correct) for run in runs] == [(4, 15.0, 8.0), (4, 150.0, 8.0)]


def test_a_loss_that_is_not_finite_names_its_steps(bar):
    metrics = ChunkMetrics([Progress(step=10)], 8, bar)
    metrics.dispatched(chunk([[1.0], [np.inf], [np.nan]], norm=7.0))
    with pytest.raises(NonFiniteLossError, match=r"not finite in steps 11 to 12 \(gradient norm before: 7\); lower"):
        metrics.read_all()
