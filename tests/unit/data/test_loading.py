"""From a config to the examples of a run, and to one split of any data with the same labels."""

import pytest

from fer_jax import labels
from fer_jax.data import loading, sources
from fer_jax.errors import UserError
from tests import datasets
from tests.datasets import draw


def csv(path, *rows):
    lines = [f"{emotion},{' '.join([str(value)] * 48 * 48)},{usage}" for value, (usage, emotion) in enumerate(rows)]
    path.write_text("\n".join(["emotion,pixels,Usage", *lines, ""]), encoding="utf-8")
    return path


@pytest.fixture
def config(tmp_path):
    rows = ("Training", 0), ("PublicTest", 3), ("Training", 6)
    config = datasets.config_of("fer2013", csv(tmp_path / "fer2013.csv", *rows))
    config.data.cache_dir = str(tmp_path / "cache")
    return config


def test_a_config_gives_all_its_examples(config, caplog):
    examples = loading.load(config)
    assert examples.images[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert examples.split.tolist() == ["Training", "PublicTest", "Training"]
    assert "labels in order: 0 angry, 1 disgust, 2 fear, 3 happy, 4 sad, 5 surprise, 6 neutral" in caplog.text
    assert loading.load_split(config, "PublicTest").labels.tolist() == [3]


SPLITS = ("train/sad/1.png", "train/fear/1.png", "test/sad/1.png", "test/fear/1.png", "test/fear/2.png")


def of_one_class(config, folder):
    config.data.path = str(csv(folder / "happy.csv", *[("Training", 3)] * 5, ("PublicTest", 3)))
    return loading.load(config)


def of_another_source(config, folder):
    config.data.source = "celeba"
    return loading.load(config)


def other(split, *names):
    """A loading of a split of a folder with these images."""
    return lambda config, folder: loading.load_split(config, split, str(draw(folder / "x", *names)), labels.FER2013)


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (of_another_source, "config.data.source is 'celeba': expected one of fer2013, ferplus, jaffe"),
        (of_one_class, "all are happy, expected at least two classes"),
        (lambda config, _: loading.load_split(config, "PrivateTest"), "'PrivateTest': there are Training, PublicTest"),
        (
            lambda config, _: loading.load_split(config, "PublicTest", "/no/such"),
            "/no/such: no such file or folder, expected FER2013's csv or a folder",
        ),
        (other("", "happy/1.png", "hapy/2.png"), "the data has examples of hapy, expected only angry, disgust"),
        (other("PublicTest", *SPLITS), "no examples of split 'PublicTest': there are Training, PrivateTest"),
        (other("val", *SPLITS), "no examples of split 'PublicTest': there are Training, PrivateTest"),
    ],
)
def test_what_cannot_be_loaded(config, tmp_path, load, words):
    with pytest.raises(UserError, match=words):
        load(config, tmp_path)


@pytest.mark.parametrize(
    ("name", "word"), [("jaffe", "JAFFE's images"), ("ckplus", "CK+ as"), ("folder", "one folder a class")]
)
def test_a_folder_without_the_data_is_refused(name, word, tmp_path):
    for path, found in (("", "no folder"), (tmp_path / "nowhere", "no folder"), (tmp_path, "")):
        with pytest.raises(UserError) as error:
            datasets.read(name, path)
        assert found in str(error.value) and f"expected {word}" in str(error.value)


def test_every_source_has_a_record_and_labels_are_known_before_the_data_is_read():
    assert all(isinstance(sources.data_set(name), sources.DataSet) for name in sources.SOURCES)
    assert sources.data_set("jaffe").labels == labels.JAFFE
    assert sources.data_set("folder").labels == ()


def folder_of(*names):
    return lambda folder: draw(folder / "faces", *names)


def list_of(text):
    """A list of drawn images, as data that is written into a folder."""

    def write(folder):
        (draw(folder, "happy/1.png", "sad/2.png", "joy/3.png") / "list.tsv").write_text(text, encoding="utf-8")
        return folder / "list.tsv"

    return write


def raf_db(folder):
    draw(folder / "raf", "Image/aligned/test_0001_aligned.jpg", "Image/aligned/train_1_aligned.jpg")
    (folder / "raf/EmoLabel").mkdir()
    (folder / "raf/EmoLabel/list_patition_label.txt").write_text("test_0001.jpg 4\ntrain_1.jpg 2\n", encoding="utf-8")
    return folder / "raf"


@pytest.mark.parametrize(
    ("write", "split", "expected"),
    [
        (lambda folder: csv(folder / "a.csv", ("PrivateTest", 5), ("PublicTest", 2)), "PrivateTest", [5]),
        (folder_of("happiness/1.png", "anger/2.png"), "PublicTest", [0, 3]),  # without splits it is taken whole
        (folder_of("joy/1.png", "contempt/2.png"), "", [3]),
        (folder_of(*SPLITS), "PrivateTest", [2, 2, 4]),
        (folder_of(*SPLITS), "test", [2, 2, 4]),
        (folder_of(*SPLITS), "Testing", [2, 2, 4]),
        (folder_of(*SPLITS), "train", [2, 4]),
        (list_of("label\tpath\nsadness\tsad/2.png\njoy\tjoy/3.png\n"), "PublicTest", [4, 3]),
        (list_of("emotion,split,file\nhappy,test,happy/1.png\nsad,train,sad/2.png\n"), "PrivateTest", [3]),
        (raf_db, "test", [3]),
        (lambda folder: datasets.write_jaffe(folder / "j", people=1), "", [0, 1, 2, 3, 6, 4, 5]),
        (
            lambda folder: datasets.write_ckplus(folder / "c", "original", people=1),
            "",
            [number for number in (0, 1, 2, 3, 4, 5) for _ in range(3)],
        ),
    ],
)
def test_other_data_is_recognized_and_has_the_models_numbers(config, tmp_path, write, split, expected):
    config.data.args.votes_weight = 0.5  # of FER2013, not of other data
    own = config.data.path
    examples = loading.load_split(config, split, str(write(tmp_path)), labels.FER2013)
    assert (examples.labels.tolist(), examples.label_names) == (expected, labels.FER2013)
    assert examples.images.shape[1:] == (48, 48, 1)
    assert config.data.path == own


def test_expressions_the_model_does_not_know_are_left_out_and_counted(config, tmp_path, caplog):
    root = draw(tmp_path / "faces", "joy/1.png", "contempt/2.png", "contempt/3.png")
    examples = loading.load_split(config, "", str(root), labels.FER2013)
    assert (examples.labels.tolist(), examples.images[0, 0, 0, 0]) == ([3], 0)
    assert examples.description.endswith("left out 2 of contempt")
    assert "left out 2 of contempt: the model knows angry, disgust" in caplog.text


def test_another_list_has_the_columns_of_the_runs_own(config, tmp_path):
    table = list_of("emotion,file,gesicht\nhappy,happy/1.png,sad/2.png\n")(tmp_path)
    config.data.source, config.data.args = "list", {"file": "gesicht"}
    assert loading.load_split(config, "", str(table), labels.FER2013).images[0, 0, 0, 0] == 1


@pytest.mark.parametrize("name", ["", "fer2013.csv", "fer2013new.csv"])
def test_fer_plus_is_meant_by_its_own_file_and_by_a_model_that_was_trained_on_it(config, tmp_path, name):
    datasets.write_fer2013(tmp_path / "both", votes=True)
    path, of_model = str(tmp_path / "both" / name), datasets.config_of("ferplus", "")
    of_model.data.cache_dir = config.data.cache_dir
    assert loading.load_split(of_model, "PublicTest", path).label_names == labels.FERPLUS
    expected = labels.FERPLUS if name == "fer2013new.csv" else labels.FER2013
    assert loading.load_split(config, "PublicTest", path).label_names == expected
    (tmp_path / "both" / "fer2013new.csv").unlink()
    if name != "fer2013new.csv":  # without the votes there are only FER2013's labels
        assert loading.load_split(of_model, "PublicTest", path).label_names == labels.FER2013


def test_the_noise_ceiling_is_the_share_of_labels_the_votes_agree_with(config, tmp_path, caplog):
    config.data.path = str(datasets.write_fer2013(tmp_path / "voted", {"Training": 14, "PublicTest": 7}, votes=True))
    assert loading.noise_ceilings(config) == {"Training": 1.0, "PublicTest": 1.0}
    votes = tmp_path / "voted" / "fer2013new.csv"
    votes.write_text("\n".join(votes.read_text(encoding="utf-8").splitlines()[:-1]), encoding="utf-8")
    assert loading.noise_ceilings(config) == {}
    assert "no noise ceiling: " in caplog.text
    votes.unlink()
    assert loading.noise_ceilings(config) == {}


def test_other_data_gets_the_merged_classes_and_keeps_every_image(config, tmp_path):
    config.data.clean = ("drop_flat", "merge_angry_disgust")
    six = tuple(name for name in labels.FER2013 if name != "disgust")
    flat = csv(tmp_path / "other.csv", ("PublicTest", 1), ("PublicTest", 6), ("PublicTest", 0))
    assert loading.load_split(config, "PublicTest", str(flat), six).labels.tolist() == [0, 5, 0]
    root = draw(tmp_path / "faces", "angry/1.png", "sad/2.png")
    assert loading.load_split(config, "", str(root), six).labels.tolist() == [0, 3]


def test_splits_come_before_cleaning(config, tmp_path):
    """A step that only touches the training split needs to know which that is."""
    config.data.path = str(csv(tmp_path / "happy.csv", *[("Training", 3)] * 5, ("PublicTest", 4)))
    config.data.clean, config.data.args.subsample_happy_by = ("subsample_happy",), 2
    examples = loading.load(config)
    assert examples.split.tolist() == ["Training"] * 3 + ["PublicTest"]
    assert "subsample_happy removed 2 of Training (2 happy)" in examples.description


def test_images_that_no_split_uses_are_counted(config, tmp_path, caplog):
    root = draw(tmp_path / "faces", *(f"{name}/{i}.png" for name in ("happy", "sad") for i in range(4)))
    splits = ("train", "val", "extra", "")
    rows = "".join(f"{name}/{i}.png,{name},{split}\n" for name in ("happy", "sad") for i, split in enumerate(splits))
    (root / "list.csv").write_text(f"file,label,split\n{rows}", encoding="utf-8")
    config.data.source, config.data.path = "list", str(root / "list.csv")
    loading.load(config)
    assert "4 of 8 examples are in splits that are not used: 2 of extra, 2 of no split" in caplog.text
