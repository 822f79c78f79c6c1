"""FER+: its authors' rules on worked examples, and votes that do not belong to the csv."""

import csv

import numpy as np
import pytest

from configs.default import get_config
from fer_jax import labels
from fer_jax.data.sources import fer2013, ferplus
from fer_jax.errors import UserError

HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"


def one_hot(name):
    return [float(name == other) for other in labels.FERPLUS]


def test_agreement_counts_the_images_with_a_majority_for_one_of_the_labels(tmp_path):
    votes = (
        "0,0,0,0,9,0,0,0,0,0",  # anger, as labeled
        "9,0,0,0,0,0,0,0,0,0",  # neutral instead
        "0,0,0,0,0,0,0,9,0,0",  # contempt, which has no label
        "3,3,0,0,3,0,0,0,0,0",  # no majority
        "0,9,0,0,0,0,0,0,0,0",
    )
    usages = ["Training"] * 4 + ["PublicTest"]
    lines = [f"{use},a.png,{counts}" for use, counts in zip(usages, votes, strict=True)]
    config = write(tmp_path, lines, usages, emotions=(0, 0, 0, 0, 3))
    faces = fer2013.read(config.data, config.input)
    assert ferplus.agreement(config.data, faces) == {"Training": 0.5, "PublicTest": 1.0}


def write(folder, votes, usages=("Training", "Training", "PublicTest", "PublicTest"), emotions=(0,) * 4):
    """Rows of faces whose pixels all are the row's number, and the lines of votes beside them."""
    rows = enumerate(zip(emotions, usages, strict=True))
    faces = [f"{emotion},{' '.join([str(i)] * 48 * 48)},{usage}" for i, (emotion, usage) in rows]
    (folder / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *faces, ""]), encoding="utf-8")
    (folder / "fer2013new.csv").write_text("\n".join([HEADER, *votes, ""]), encoding="utf-8")
    config = get_config()
    config.data.path = str(folder)
    return config


VOTES = (
    "Training,fer0000000.png,4,0,0,1,3,2,0,0,0,0",  # no majority, but a distribution
    "Training,,0,9,0,0,0,0,0,0,0,1",  # no image name
    "PublicTest,fer0000001.png,4,0,0,1,3,2,0,0,0,0",
    "PublicTest,fer0000002.png,0,6,0,0,2,2,0,0,0,0",
)


def test_only_training_has_distributions(tmp_path):
    config = write(tmp_path, VOTES)
    examples = ferplus.read(config.data, config.input)
    assert examples.label_names == labels.FERPLUS
    assert examples.images[:, 0, 0, 0].tolist() == [0, 3]
    assert examples.split.tolist() == ["Training", "PublicTest"]
    np.testing.assert_allclose(examples.votes, [[4 / 7, 0, 0, 0, 3 / 7, 0, 0, 0], one_hot("happiness")])
    assert examples.labels.tolist() == [0, 1]


def test_without_votes_the_majority_counts_everywhere(tmp_path):
    config = write(tmp_path, VOTES)
    config.data.args.votes = False
    examples = ferplus.read(config.data, config.input)
    assert examples.images[:, 0, 0, 0].tolist() == [3]
    assert examples.votes is None


@pytest.mark.parametrize("name", ["fer2013.csv", "fer2013new.csv"])
def test_either_file_may_be_the_path(tmp_path, name):
    config = write(tmp_path, VOTES)
    by_folder = ferplus.fingerprint(config.data)
    config.data.path = str(tmp_path / name)
    assert ferplus.fingerprint(config.data) == by_folder


@pytest.mark.parametrize(
    ("votes", "message"),
    [
        (VOTES[:3], "3 rows, expected the 4 of .*fer2013.csv: give files with the same rows in the same order"),
        ((*VOTES, VOTES[3]), "5 rows, expected the 4 of"),
        ((VOTES[0], VOTES[2], VOTES[1], VOTES[3]), "line 3: Usage PublicTest, expected Training as in this row of"),
        ((VOTES[0][:-2], *VOTES[1:]), r"line 2: Training,.*; expected Usage, a name and 10 whole"),
        (("Training,a.png,4,0,0,x,3,2,0,0,0,0", *VOTES[1:]), r"line 2: Training,a.png,4,0,0,x,"),
        (("Training", *VOTES[1:]), "line 2: Training; expected Usage"),
        ([f"{line.split(',')[0]},,{','.join('0' * 10)}" for line in VOTES], "no row's votes name an expression"),
    ],
)
def test_votes_that_do_not_match_the_rows(tmp_path, votes, message):
    config = write(tmp_path, votes)
    with pytest.raises(UserError, match=message):
        ferplus.read(config.data, config.input)


def test_other_columns_and_no_votes(tmp_path):
    config = write(tmp_path, VOTES)
    (tmp_path / "fer2013new.csv").write_text("Usage,neutral\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"fer2013new.csv: columns Usage, neutral, expected Usage, Image name, neutral"):
        ferplus.read(config.data, config.input)
    (tmp_path / "fer2013new.csv").unlink()
    with pytest.raises(UserError, match=r"fer2013new.csv: no such file: get .* from github.com/microsoft/FERPlus"):
        ferplus.read(config.data, config.input)


def test_the_real_votes(fer2013_csv, monkeypatch):
    """Counts of this reader, whose two rules were compared once with the authors' own code on all these rows."""
    votes = fer2013_csv.with_name("fer2013new.csv")
    if not votes.exists():
        pytest.skip(f"no votes at {votes}: get fer2013new.csv from github.com/microsoft/FERPlus")
    with votes.open(encoding="utf-8") as file:
        usage = np.array([line["Usage"] for line in csv.DictReader(file)])
    faces = np.zeros((len(usage), 48, 48), np.uint8)
    monkeypatch.setattr(fer2013, "parse", lambda path: (faces, np.zeros(len(usage), np.int32), usage))
    config = get_config()
    config.data.path = str(fer2013_csv)
    examples = ferplus.read(config.data, config.input)
    assert examples.of_split("Training").class_counts().tolist() == [10122, 7503, 3524, 3430, 2407, 169, 641, 160]
    assert examples.of_split("PublicTest").class_counts().tolist() == [1182, 865, 415, 351, 287, 24, 62, 13]
    np.testing.assert_allclose(examples.votes.sum(axis=1), 1, atol=1e-6)
