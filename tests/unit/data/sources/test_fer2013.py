"""The csv of FER2013: both layouts, exactly the pixels written, and a line number for whatever is wrong."""

import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fer_jax import labels
from fer_jax.data import cache, ferplus_votes
from fer_jax.data.sources import fer2013
from fer_jax.errors import UserError
from tests import datasets

PIXELS = 48 * 48


def row(seed=0, emotion=0, usage="Training"):
    pixels = np.random.default_rng(seed).integers(0, 256, PIXELS)
    return f"{emotion},{' '.join(map(str, pixels))},{usage}"


def write(path, *rows, header="emotion,pixels,Usage"):
    path.write_text("".join(f"{line}\n" for line in (header, *rows)), encoding="utf-8")
    return path


@settings(deadline=None, max_examples=25)
@given(
    faces=st.lists(
        st.tuples(st.binary(min_size=PIXELS, max_size=PIXELS), st.integers(0, 6), st.sampled_from(fer2013.SPLITS)),
        min_size=1,
        max_size=3,
    )
)
def test_reads_back_what_was_written(faces, tmp_path_factory):
    path = tmp_path_factory.mktemp("csv") / "fer2013.csv"
    write(path, *(f"{emotion},{' '.join(map(str, pixels))},{usage}" for pixels, emotion, usage in faces))
    images, emotions, usage = fer2013.parse(path)
    assert (images.dtype, images.shape, emotions.dtype) == (np.uint8, (len(faces), 48, 48), np.int32)
    assert [image.tobytes() for image in images] == [pixels for pixels, _, _ in faces]
    assert list(zip(emotions, usage, strict=True)) == [(emotion, use) for _, emotion, use in faces]


@settings(deadline=None, max_examples=100)
@given(
    position=st.integers(0, PIXELS - 1),
    separator=st.sampled_from([" ", "  ", "\t"]),
    token=st.one_of(
        st.integers(-300, 99999).map(str),
        st.text("0123456789+-._ex٣ ", max_size=6),
        st.sampled_from(["255", "256", "65536", "65791", "-65281", "007", "1_0", "", "9" * 30]),
    ),
)
@example(position=PIXELS - 1, separator=" ", token="-")
@example(position=0, separator=" ", token="+")
def test_accepts_exactly_2304_whole_numbers_of_a_byte(position, separator, token, tmp_path_factory):
    tokens = [str(i % 256) for i in range(PIXELS)]
    tokens[position] = token
    text = separator.join(tokens)
    read = text.split()
    valid = len(read) == PIXELS and all(t.isascii() and t.isdigit() and int(t) <= 255 for t in read)
    path = write(tmp_path_factory.mktemp("csv") / "fer2013.csv", f"0,{text},Training")
    if valid:
        np.testing.assert_array_equal(fer2013.parse(path)[0].ravel(), [int(t) for t in read])
    else:
        with pytest.raises(UserError, match=r"line 2: (\d+ pixels, expected 48 x 48 = 2304|pixel \d+ is)"):
            fer2013.parse(path)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_the_two_layouts_give_the_same(tmp_path, newline, start):
    rows = [row(i, i % 7, fer2013.SPLITS[i % 3]) for i in range(7)]
    ours = write(tmp_path / "fer2013.csv", *rows)
    kaggle = tmp_path / "icml_face_data.csv"
    swapped = [f"{emotion},{usage},{pixels}" for emotion, pixels, usage in (line.split(",") for line in rows)]
    kaggle.write_text(start + newline.join(["emotion, Usage, pixels", *swapped, ""]), newline="", encoding="utf-8")
    for first, second in zip(fer2013.parse(ours), fer2013.parse(kaggle), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(("size", "channels"), [(48, 1), (48, 3), (64, 1), (24, 3)])
def test_images_have_the_geometry_of_the_input(tmp_path, size, channels):
    path = write(tmp_path / "a.csv", row(0), row(1, 3, "PublicTest"))
    examples = datasets.read("fer2013", path, size, channels)
    assert examples.images.shape == (2, size, size, channels)
    assert examples.label_names == labels.FER2013
    assert examples.split.tolist() == ["Training", "PublicTest"]
    assert (examples.images == examples.images[..., :1]).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("0," + " ".join(["7"] * 2303) + ",Training", "2303 pixels, expected 48 x 48 = 2304"),
        ("0,,Training", "0 pixels"),
        ("0,256" + " 7" * 2303 + ",Training", "pixel 1 is '256', expected a whole number of 0..255"),
        (row(usage="Validation"), "Usage is 'Validation', expected one of Training, PublicTest, PrivateTest"),
        (row(emotion=7), "emotion is '7', expected one of 0 angry, .*6 neutral"),
        (row(emotion="happy"), "emotion is 'happy', expected one of 0 angry"),
        ("3,1 2 3", "2 fields, expected emotion, pixels, Usage"),
        (row()[:5000], "fields, expected emotion, pixels, Usage"),
        (row()[:-3], "Usage is 'Train'"),
    ],
)
def test_a_wrong_row_is_named_by_its_line(tmp_path, wrong, message):
    path = write(tmp_path / "fer2013.csv", row(1), wrong, row(2))
    with pytest.raises(UserError, match=rf"fer2013.csv, line 3: .*{message}.*: correct or remove the line"):
        fer2013.parse(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no column emotion, pixels, Usage: found nothing"),
        (b"\n", "no column emotion, pixels, Usage: found nothing, expected emotion, pixels, Usage"),
        (b"emotion,pixels\n0,1 2 3\n", "no column Usage: found emotion, pixels, expected"),
        (b"emotion;pixels;Usage\n0;1 2 3;Training\n", "no column .*, with commas: download"),
        (b"0,1 2 3,Training\n", "no column .*: found 0, 1 2 3, Training"),
        (b"\x89PNG\xff\xfe\x00", "no column .*: other faces|no column .*: download"),
        (b"emotion,pixels,Usage\n", "no rows below the header"),
        (b"emotion,pixels,Usage\n0,\xff\xfe 3,Training\n1", "line 2: 2 pixels, expected 48 x 48"),
        (b"emotion,pixels,Usage\nangry,1 2,Training\n", "emotion is 'angry', .*; other faces are read as files"),
        (b'emotion,pixels,Usage\n0,"' + b"1 " * 2_500_000, "line 2: field larger than field limit"),
    ],
)
def test_a_file_that_is_no_fer2013(tmp_path, content, message):
    path = tmp_path / "fer2013.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        fer2013.parse(path)


def test_the_csv_is_found_in_its_folder(tmp_path):
    with pytest.raises(UserError, match=r"0 csv files.*Kaggle's .Challenges in Representation Learning"):
        fer2013.locate(str(tmp_path))
    only = write(tmp_path / "faces.csv", row())
    assert fer2013.locate(str(only)) == fer2013.locate(str(tmp_path)) == only
    write(tmp_path / "other.csv", row())
    with pytest.raises(UserError, match=r"2 csv files, none of them fer2013.csv or icml_face_data.csv: give the path"):
        fer2013.locate(str(tmp_path))
    known = write(tmp_path / "icml_face_data.csv", row())
    assert fer2013.locate(str(tmp_path)) == known


@pytest.mark.parametrize(("path", "found"), [("", "is empty"), ("/no/such/fer2013.csv", "no such file")])
def test_no_data_says_where_it_can_be_had(path, found):
    with pytest.raises(UserError, match=f"{found}.*Recognition Challenge.*--config=quickstart needs no data"):
        fer2013.locate(path)


def test_the_real_file(fer2013_csv, tmp_path):
    """Counts are those of the challenge; the first row is the one printed in every notebook about it."""
    config = datasets.config_of("fer2013", fer2013_csv)
    config.data.cache_dir = str(tmp_path / "cache")
    first = cache.read(config.data, config.input)
    started = time.process_time()  # others on the machine do not count
    second = cache.read(config.data, config.input)
    assert time.process_time() - started < 1
    counts = {name: len(first.of_split(name)) for name in first.split_names}
    assert counts.items() >= {"Training": 28709, "PublicTest": 3589}.items()  # PrivateTest where the file has it
    assert first.of_split("Training").class_counts().tolist() == [3995, 436, 4097, 7215, 4830, 3171, 4965]
    assert first.of_split("PublicTest").class_counts().tolist() == [467, 56, 496, 895, 653, 415, 607]
    assert first.images[0, 0, :8, 0].tolist() == [70, 80, 82, 72, 58, 58, 60, 63]
    assert first.images.shape == (sum(counts.values()), 48, 48, 1)
    np.testing.assert_array_equal(first.images, second.images)
    np.testing.assert_array_equal(first.split, second.split)


def test_letters_case_of_the_header_and_empty_rows_do_not_matter(tmp_path):
    path = tmp_path / "fer2013.csv"
    path.write_text(f"Emotion,PIXELS,usage\n{row(1)}\n,,\n\n,,\n", encoding="utf-8")
    assert len(fer2013.parse(path)[0]) == 1


@given(content=st.binary(max_size=3000))
def test_any_file_is_read_or_one_line(content, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    for start in (b"", b"emotion,pixels,Usage\n"):
        path.write_bytes(start + content)
        with pytest.raises(UserError):
            fer2013.parse(path)


def with_votes(tmp_path, weight, votes):
    usages = ("Training", "Training", "PublicTest")
    path = write(tmp_path / "fer2013.csv", *(row(seed, emotion=3, usage=usage) for seed, usage in enumerate(usages)))
    lines = [f"{usage},a.png,{counts}" for usage, counts in zip(usages, votes, strict=False)]
    write(tmp_path / "fer2013new.csv", *lines, header=",".join(ferplus_votes.COLUMNS))
    return datasets.config_of("fer2013", path, votes_weight=weight)


VOTES = ("2,6,2,0,0,0,0,0,0,0", "0,0,0,0,0,0,0,0,0,10", "10,0,0,0,0,0,0,0,0,0")  # mixed, not a face, neutral


def test_votes_are_their_share_of_the_targets_of_training_wherever_they_lie(tmp_path):
    config = with_votes(tmp_path, 0.5, VOTES)
    happy = np.eye(7, dtype=np.float32)[3]
    mixed = [0, 0, 0, 0.5 + 0.5 * 0.6, 0, 0.5 * 0.2, 0.5 * 0.2]
    for folder in ("", "elsewhere"):
        if folder:
            (tmp_path / folder).mkdir()
            moved = (tmp_path / "fer2013new.csv").rename(tmp_path / folder / "votes.csv")
            config.data.args.votes_path = str(moved)
            assert str(moved) in str(fer2013.fingerprint(config.data))
        examples = fer2013.read(config.data, config.input)
        np.testing.assert_allclose(examples.votes, [mixed, happy, happy], atol=1e-6)
        assert examples.labels.tolist() == [3, 3, 3]


def test_without_a_weight_votes_are_not_read_and_another_weight_is_other_data(tmp_path):
    config = with_votes(tmp_path, 0.0, ["damaged"])
    assert fer2013.read(config.data, config.input).votes is None
    configs = [with_votes(tmp_path, weight, VOTES) for weight in (0.0, 0.2, 0.4)]
    assert len({str(fer2013.fingerprint(config.data)) for config in configs}) == 3


def test_votes_that_are_missing_or_of_other_rows_are_refused(tmp_path):
    config = with_votes(tmp_path, 0.5, VOTES[:2])
    with pytest.raises(UserError, match="2 rows, expected the 3 of"):
        fer2013.read(config.data, config.input)
    (tmp_path / "fer2013new.csv").unlink()
    for read in (lambda: fer2013.read(config.data, config.input), lambda: fer2013.fingerprint(config.data)):
        with pytest.raises(UserError, match=r"fer2013new\.csv: no such file: get fer2013new\.csv from"):
            read()
