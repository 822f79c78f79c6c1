"""FER2013 as a TFDS data set: importing this makes `tfds.load("fer2013")` known."""

from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from fer_jax import labels
from fer_jax.data.sources import fer2013
from fer_jax.data.sources.fer2013 import SIDE, WHERE_TO_GET_IT

# the names TFDS users expect; the challenge scored its entrants on PublicTest first and on PrivateTest at the end
SPLITS = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}

CITATION = """\
@inproceedings{goodfellow2013challenges,
  title={Challenges in Representation Learning: A Report on Three Machine Learning Contests},
  author={Goodfellow, Ian J. and Erhan, Dumitru and Carrier, Pierre Luc and Courville, Aaron and Mirza, Mehdi and
    Hamner, Ben and Cukierski, Will and Tang, Yichuan and Thaler, David and Lee, Dong-Hyun and others},
  booktitle={International Conference on Neural Information Processing (ICONIP)},
  pages={117--124},
  year={2013}
}"""


class Fer2013(tfds.core.GeneratorBasedBuilder):
    """Training is "train", PublicTest "validation" and PrivateTest "test"; a split the csv lacks is left out.

    Features: "image" uint8 (48, 48, 1), "label" int64 into `labels.FER2013`, "row" int64, the csv's row from 0.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "All rows of the csv."}  # noqa: RUF012 (declared by the base class)
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"The manual directory must hold the csv: {WHERE_TO_GET_IT}."

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description="35,887 gray faces of 48x48 pixels with one of seven expressions, found by image search "
            "(Goodfellow et al., 2013).",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(SIDE, SIDE, 1), encoding_format="png"),
                    "label": tfds.features.ClassLabel(names=labels.FER2013),
                    "row": np.int64,
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://www.kaggle.com/c/challenges-in-representation-learning-facial-expression-recognition-challenge",
            citation=CITATION,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        faces, emotions, usage = fer2013.parse(fer2013.locate(str(dl_manager.manual_dir)))
        return {
            name: self._generate_examples(faces, emotions, np.flatnonzero(usage == use))
            for use, name in SPLITS.items()
            if use in usage
        }

    def _generate_examples(self, faces: np.ndarray, emotions: np.ndarray, rows: np.ndarray) -> Iterator:
        for row in rows.tolist():
            yield row, {"image": faces[row][..., None], "label": int(emotions[row]), "row": row}
