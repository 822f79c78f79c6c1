"""The bundle that comes with the package."""

import numpy as np

from fer_jax import zoo
from fer_jax.bundle import manifest
from fer_jax.data.sources import fer2013
from fer_jax.labels import FER2013
from fer_jax.serve import Classifier


def test_it_is_whole_small_and_has_its_card():
    shipped = manifest.read(zoo.DEFAULT)
    assert shipped.labels == FER2013
    assert shipped.model["parameters"] == 58423
    assert sum(path.stat().st_size for path in zoo.DEFAULT.iterdir()) <= 1_000_000
    card = shipped.file("card").read_text(encoding="utf-8")
    accuracy = shipped.provenance["result"]["splits"]["PublicTest"]["accuracy"]
    assert f"| PublicTest | 3,589 | {100 * accuracy:.1f} ± " in card
    assert "Article 5(1)(f)" in card
    assert shipped.temperature != 1 and shipped.uncertain_below > 0


def test_it_scores_what_its_card_says(fer2013_csv):
    faces, labels, usage = fer2013.parse(fer2013_csv)
    public = usage == "PublicTest"
    names = [result.label for result in Classifier(zoo.DEFAULT)(list(faces[public]))]
    found = np.mean(np.array(names) == np.array(FER2013)[labels[public]])
    said = manifest.read(zoo.DEFAULT).provenance["result"]["splits"]["PublicTest"]["accuracy"]
    assert abs(found - said) <= 2 / 3589  # rounding may turn a tie
