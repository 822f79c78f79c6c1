"""FER+: its authors' rules on worked examples, and votes that do not belong to the csv."""

import csv

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_jax import labels
from fer_jax.data import ferplus_votes
from fer_jax.data.sources import fer2013, ferplus
from fer_jax.errors import UserError
from tests import datasets

HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
COUNTS = st.lists(st.integers(0, 10), min_size=10, max_size=10)


def one_hot(name):
    return [float(name == other) for other in labels.FERPLUS]


@pytest.mark.parametrize(
    ("counts", "majority", "distribution"),
    [
        ([8, 0, 2, 0, 0, 0, 0, 0, 0, 0], one_hot("neutral"), one_hot("neutral")),  # 8 of 10 are three quarters
        ([6, 0, 1, 1, 0, 0, 0, 0, 2, 0], one_hot("neutral"), one_hot("neutral")),  # 6 of the 8 that are no outliers
        ([4, 0, 0, 1, 3, 2, 0, 0, 0, 0], None, [4 / 7, 0, 0, 0, 3 / 7, 0, 0, 0]),  # 7 of 9 are, the 2 stay out
        ([5, 0, 0, 3, 1, 0, 0, 0, 1, 0], one_hot("neutral"), [5 / 8, 0, 0, 3 / 8, 0, 0, 0, 0]),
        ([5, 0, 0, 5, 0, 0, 0, 0, 0, 0], None, [0.5, 0, 0, 0.5, 0, 0, 0, 0]),  # half is no majority, equal ones enter
        ([0, 4, 1, 1, 1, 1, 1, 1, 0, 0], one_hot("happiness"), one_hot("happiness")),  # single votes do not count
        ([0, 0, 0, 0, 0, 0, 0, 8, 2, 0], one_hot("contempt"), one_hot("contempt")),
        ([2, 2, 2, 2, 2, 0, 0, 0, 0, 0], None, None),  # more than three
        ([3, 0, 2, 2, 0, 0, 0, 0, 0, 3], None, None),  # unknown ends it: 3 of 10 are in
        ([6, 0, 0, 0, 0, 0, 0, 0, 4, 0], one_hot("neutral"), one_hot("neutral")),  # 6 of 10 are in before unknown
        ([2, 0, 0, 0, 0, 0, 0, 0, 8, 0], None, None),  # won by unknown
        ([2, 0, 0, 0, 0, 0, 0, 0, 0, 8], None, None),  # won by not a face
        ([1, 1, 1, 1, 1, 1, 1, 1, 1, 1], None, None),  # all outliers
        ([0] * 10, None, None),
    ],
)
def test_the_two_rules_of_the_authors(counts, majority, distribution):
    assert ferplus_votes.majority(counts) == majority
    assert ferplus_votes.distribution(counts) == distribution


@given(COUNTS)
def test_targets_are_distributions_that_keep_the_order_of_the_votes(counts):
    for rule in (ferplus_votes.majority, ferplus_votes.distribution):
        target = rule(counts)
        if target is not None:
            assert sum(target) == pytest.approx(1)
            assert min(target) >= 0
            assert counts[int(np.argmax(target))] == max(counts)
    if ferplus_votes.majority(counts) is not None:
        assert np.argmax(ferplus_votes.majority(counts)) == np.argmax(ferplus_votes.distribution(counts))


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([8, 0, 2, 0, 0, 0, 0, 0, 0, 0], {"surprise": 0.2, "neutral": 0.8}),
        ([0, 0, 0, 0, 4, 1, 2, 2, 2, 0], {"angry": 4 / 6, "fear": 2 / 6}),  # contempt and unknown left out, 1 is none
        ([0, 0, 0, 0, 0, 0, 0, 8, 2, 0], None),
        ([1, 1, 1, 1, 1, 1, 1, 1, 1, 1], None),
        ([0] * 10, None),
    ],
)
def test_shares_of_the_expressions_of_fer2013(counts, expected):
    found = ferplus_votes.shares(counts, labels.FER2013)
    assert found == (expected and [expected.get(name, 0) for name in labels.FER2013])


@given(COUNTS)
def test_shares_keep_the_order_of_the_votes(counts):
    found = ferplus_votes.shares(counts, labels.FERPLUS)
    assert (found is None) == (max(counts[: ferplus_votes.EXPRESSIONS]) < 2)
    if found:
        assert sum(found) == pytest.approx(1)
        assert found[int(np.argmax(counts[:8]))] == max(found)


@pytest.mark.parametrize("name", ["", "fer2013.csv"])
def test_the_votes_lie_beside_the_csv(tmp_path, name):
    assert ferplus_votes.beside(str(tmp_path / name)) == tmp_path / "fer2013new.csv"


def write(folder, votes, usages=("Training", "Training", "PublicTest", "PublicTest"), emotions=(0,) * 4):
    """Rows of faces whose pixels all are the row's number, and the lines of votes beside them."""
    rows = enumerate(zip(emotions, usages, strict=True))
    faces = [f"{emotion},{' '.join([str(i)] * 48 * 48)},{usage}" for i, (emotion, usage) in rows]
    (folder / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *faces, ""]), encoding="utf-8")
    (folder / "fer2013new.csv").write_text("\n".join([HEADER, *votes, ""]), encoding="utf-8")
    return datasets.config_of("ferplus", folder)


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
    config = datasets.config_of("ferplus", fer2013_csv)
    examples = ferplus.read(config.data, config.input)
    assert examples.of_split("Training").class_counts().tolist() == [10122, 7503, 3524, 3430, 2407, 169, 641, 160]
    assert examples.of_split("PublicTest").class_counts().tolist() == [1182, 865, 415, 351, 287, 24, 62, 13]
    np.testing.assert_allclose(examples.votes.sum(axis=1), 1, atol=1e-6)
