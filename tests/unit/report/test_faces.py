"""Which faces a report shows, and what is written below them."""

import dataclasses
import re

import numpy as np

from configs import default
from fer_jax.data import sampler
from fer_jax.data.examples import Examples
from fer_jax.report import faces, records
from tests.reports import NAMES, made_examples


class TestChoiceOfFaces:
    labels = np.array([0, 1, 0, 0, 0], np.int32)
    predictions = records.Predictions(
        np.array([[0.9, 0.1], [0.8, 0.2], [0.51, 0.49], [0.3, 0.7], [0.05, 0.95]]), labels
    )

    def test_mistakes_by_confidence_and_least_certain_first(self):
        assert faces.confident_mistakes(self.predictions).tolist() == [4, 1, 3]
        assert faces.least_certain(self.predictions).tolist() == [2, 3, 1, 0, 4]

    def test_sample_spreads_over_the_split(self):
        assert faces.sample(5).tolist() == [0, 1, 2, 3, 4]
        assert faces.sample(10, 4).tolist() == [0, 3, 6, 9] and faces.sample(0).tolist() == []
        chosen = faces.sample(1000)
        assert len(chosen) == faces.SHOWN and chosen[0] == 0 and chosen[-1] == 999
        assert np.ptp(np.diff(chosen)) <= 1

    def test_what_is_written_below_a_face(self):
        examples = Examples(np.zeros((5, 8, 8, 1), np.uint8), self.labels, np.full(5, "test"), ("sad", "happy"))
        right, wrong = faces.predicted(examples, self.predictions, [0, 4])
        assert (right.lines, right.correct) == (("✓ sad 90 %",), True)
        assert (wrong.lines, wrong.correct) == (("✗ happy 95 %", "is sad"), False)


class TestAsTrained:
    def test_is_the_first_batch_of_training(self):
        examples, config = made_examples(), default.get_config()
        config.augment.flip = 0.0
        config.batch_size = 16
        shown, values = faces.as_trained(config, examples)
        train_set = examples.of_split("Training")
        first = sampler.Order(config.seed, np.zeros(64)).indices(0, 1, 16)[0]
        assert len(shown) == 16
        for face, i in zip(shown, first, strict=True):
            np.testing.assert_array_equal(face.image, train_set.images[i])
            assert face.lines == (NAMES[train_set.labels[i]],)
        assert values == "values from -1.00 to 1.00, mean 0.00"

    def test_mixed_targets_are_named_with_their_shares(self):
        config = default.get_config()
        config.augment.mixup = 1.0
        shown, _ = faces.as_trained(config, made_examples())
        mixed = [face.lines for face in shown if len(face.lines) == 2]
        assert len(mixed) > 10
        for lines in mixed:
            shares = [int(re.fullmatch(r"\w+ (\d+) %", line)[1]) for line in lines]
            assert shares[0] >= shares[1] and 98 <= sum(shares) <= 101

    def test_soft_targets_of_a_teacher_are_what_is_shown(self):
        examples, config = made_examples(), default.get_config()
        config.batch_size = 16
        soft = np.full((len(examples), 7), 0.01, np.float32)
        soft[np.arange(len(examples)), (examples.labels + 1) % 7] = 0.94
        shown, _ = faces.as_trained(config, dataclasses.replace(examples, votes=soft))
        first = sampler.Order(config.seed, np.zeros(64)).indices(0, 1, 16)[0]
        labels = examples.labels_of("Training")[first]
        assert [face.lines for face in shown] == [(f"{NAMES[(label + 1) % 7]} 94 %",) for label in labels]
