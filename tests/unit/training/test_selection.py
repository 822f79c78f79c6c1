"""The best epoch, the plateau and early stopping follow from the scores of the selection split."""

import numpy as np
import pytest

from configs import default
from fer_jax.data.examples import Examples
from fer_jax.training.progress import Progress
from fer_jax.training.selection import ModelSelection

LABELS = np.array([0, 1, 1, 0], np.int32)


class State:
    def variables(self):
        return {}


class Evaluator:
    """Is right about the first `right` examples, sure of each."""

    right = 0

    def logits(self, variables, images, examples):
        guesses = np.where(np.arange(examples) < self.right, LABELS, 1 - LABELS)
        return 2 * np.eye(2, dtype=np.float32)[guesses]


@pytest.fixture
def evaluated():
    """A function from config changes and the numbers right in each epoch to what each evaluation gave."""

    def run(rights, **changes):
        config = default.get_config()
        config.epochs = len(rights)
        config.update_from_flattened_dict(changes)
        examples = Examples(np.zeros((4, 8, 8, 1), np.uint8), LABELS, np.full(4, "PublicTest"), ("a", "b"))
        progress, evaluator = Progress(), Evaluator()
        selection = ModelSelection(config, progress, examples, evaluator, [])
        found = []
        for evaluator.right in rights:
            progress.epoch += 1
            progress.step += 10
            row, improved = selection.evaluate(State(), 0.5, 10)
            found.append((row, improved))
            if progress.finished:
                break
        return found, progress, selection

    return run


def test_the_first_of_equal_epochs_is_the_best(evaluated):
    found, progress, _ = evaluated([1, 3, 3, 2])
    assert [improved for _, improved in found] == [True, True, False, False]
    assert (progress.best_epoch, progress.best_step, progress.best_score) == (2, 20, 0.75)
    assert [row["PublicTest_accuracy"] for row, _ in found] == [0.25, 0.75, 0.75, 0.5]
    assert progress.finished


def test_a_plateau_lowers_the_rate_of_the_epochs_after_it(evaluated):
    changes = {"optim.schedule": "plateau", "optim.plateau_patience": 2, "optim.plateau_factor": 0.1}
    found, _, selection = evaluated([2, 2, 2, 2], **changes)
    assert [row["learning_rate"] for row, _ in found] == pytest.approx([0.5, 0.5, 0.5, 0.05])
    assert selection.lr_scale == pytest.approx(0.1)


def test_early_stopping_ends_the_run(evaluated):
    found, progress, _ = evaluated([2, 1, 1, 4], **{"eval.early_stop": 2})
    assert len(found) == 3
    assert progress.finished


def test_the_counters_are_kept_for_a_resumed_run(evaluated):
    _, progress, _ = evaluated([2, 1], **{"optim.schedule": "plateau"})
    assert progress.plateau["waited"] == 1
    assert progress.early_stop["waited"] == 1
