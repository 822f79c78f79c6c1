"""The streamed and the resident pipeline give the same batches, from any step on."""

import dataclasses
import importlib.util
import threading

import numpy as np
import pytest

from fer_jax.data import pipelines
from tests import datasets
from tests.conftest import run_python

BATCH, STEPS = 6, 4


@pytest.fixture(scope="module")
def examples():
    return datasets.noise(["train"] * 25, size=5, classes=3)


def batches(name, examples, step, chunks, shard=slice(None), sampling="uniform"):
    made = pipelines.create(name, examples, 3, BATCH, shard, sampling)
    for feed in made.feeds(step, STEPS, chunks):
        for i in range(STEPS):
            images, targets = made.fetch(made.resident, {k: v[i] for k, v in feed.items()})
            yield np.asarray(images), np.asarray(targets)


def assert_same(streamed, resident):
    assert len(streamed) == len(resident)
    for (a, ya), (b, yb) in zip(streamed, resident, strict=True):
        assert a.dtype == b.dtype == np.uint8
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(ya, yb)


@pytest.mark.parametrize("sampling", ["uniform", "balanced"])
@pytest.mark.parametrize("kind", ["array", "selection", "mapped"])
@pytest.mark.parametrize("shard", [slice(None), slice(2, 4)])
def test_both_pipelines_give_the_same_batches_bit_for_bit(examples, shard, kind, sampling, tmp_path):
    if kind != "array":
        chosen = np.random.default_rng(1).permutation(25)[:19]
        if kind == "mapped":
            np.save(tmp_path / "images.npy", examples.images)
            mapped = np.asarray(np.load(tmp_path / "images.npy", mmap_mode="r"))
            examples = dataclasses.replace(examples, images=mapped)
        examples = examples.take(chosen)
    streamed, resident = (list(batches(name, examples, 5, 4, shard, sampling)) for name in ("tf", "device"))
    assert [images.shape for images, _ in streamed] == [(len(range(BATCH)[shard]), 5, 5, 1)] * 4 * STEPS
    assert_same(streamed, resident)


def test_a_pipeline_continues_anywhere(examples):
    whole = list(batches("device", examples, 0, 3))
    assert_same(whole[STEPS:], list(batches("device", examples, STEPS, 2)))


def test_hosts_read_their_own_share(examples):
    whole = list(batches("tf", examples, 2, 2))
    parts = [list(batches("tf", examples, 2, 2, shard)) for shard in (slice(0, 2), slice(2, 6))]
    for (images, _), *shares in zip(whole, *parts, strict=True):
        np.testing.assert_array_equal(images, np.concatenate([share for share, _ in shares]))


def test_auto_streams_on_a_cpu_and_says_so(examples, caplog):
    assert type(pipelines.create("auto", examples, 0, BATCH, slice(None))).__name__ == "TfPipeline"
    assert "data pipeline: tf" in caplog.text


def test_chunks_are_the_same_before_and_after_tensorflow_is_there(examples, monkeypatch):
    there = threading.Event()
    monkeypatch.setattr(pipelines, "_import_ahead", there.wait)
    streamed = []
    for batch in batches("tf", examples, 5, 6):
        streamed.append(batch)
        if len(streamed) == 3 * STEPS:  # reached without TensorFlow
            there.set()
    assert len(streamed) == 6 * STEPS
    assert_same(streamed, list(batches("device", examples, 5, 6)))


def test_one_chunk_needs_no_tensorflow(examples, monkeypatch):
    monkeypatch.setattr(pipelines, "_tensorflow", lambda: pytest.fail("TensorFlow is imported"))
    assert len(list(batches("tf", examples, 0, 1))) == STEPS


def test_a_missing_tensorflow_is_missed_before_the_first_step(examples, monkeypatch):
    def missing():
        raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")

    monkeypatch.setattr(pipelines, "_tensorflow", missing)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError):
        pipelines.create("tf", examples, 0, BATCH, slice(None))


def test_the_resident_pipeline_runs_without_tensorflow():
    code = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('tensorflow', 'tensorflow_datasets'):
            raise ImportError(name + ' is blocked')
sys.meta_path.insert(0, Blocked())
import numpy as np
from fer_jax.evaluation import evaluator
from fer_jax.experiments import run
from fer_jax.training import train
from fer_jax.data import pipelines
from fer_jax.data.examples import Examples
examples = Examples(images=np.zeros((4, 5, 5, 1), np.uint8), labels=np.zeros(4, np.int32), split=np.full(4, 'train'),
                    label_names=('a', 'b'))
made = pipelines.create('device', examples, 0, 2, slice(None))
feed = next(made.feeds(0, 1, 1))
print(made.fetch(made.resident, {'indices': feed['indices'][0]})[0].shape)
"""
    done = run_python("-c", code)
    assert done.stdout.strip() == "(2, 5, 5, 1)", done.stderr
