"""Tiny data sets in the layouts of the real ones, made of synthetic faces, for the tests that read them."""

from __future__ import annotations

import csv
import dataclasses
import pathlib
from collections.abc import Sequence

import cv2
import numpy as np
from ml_collections import ConfigDict

from configs import default
from fer_jax import labels
from fer_jax.data import sources
from fer_jax.data.examples import Examples
from fer_jax.data.sources import jaffe, synthetic


def faces(names: Sequence[str], size: int, seed: int = 0) -> np.ndarray:
    """Synthetic faces uint8 (N, size, size) with the named expressions; contempt looks neutral."""
    canonical = [labels.canonical(name) for name in names]
    return synthetic.draw(
        [labels.FER2013.index("neutral" if name == "contempt" else name) for name in canonical], size, seed=seed
    )[..., 0]


def noise(split: Sequence[str], size: int = 16, classes: int = 7) -> Examples:
    """Gray images of noise with drawn labels, one for each name in `split`."""
    rng, count = np.random.default_rng(0), len(split)
    return Examples(
        images=rng.integers(0, 256, (count, size, size, 1), dtype=np.uint8),
        labels=rng.integers(0, classes, count, dtype=np.int32),
        split=np.array(split),
        label_names=tuple("abcdefg"[:classes]),
    )


def config_of(source: str, path: pathlib.Path | str, size: int = 48, channels: int = 1, **args) -> ConfigDict:
    """The default config with a source, its path and arguments, and the images' geometry."""
    config = default.get_config()
    config.data.source, config.data.path = source, str(path)
    config.input.size, config.input.channels = size, channels
    config.data.args.update(args)
    return config


def data_of(**values) -> ConfigDict:
    """`config.data` of the default config with other values."""
    data = default.get_config().data
    data.update(values)
    return data


def read(*given, **options) -> Examples:
    """What the source of `config_of` with these arguments reads, its images decoded."""
    config = config_of(*given, **options)
    examples = sources.find(config.data.source).read(config.data, config.input)
    return dataclasses.replace(examples, images=np.asarray(examples.images))


def draw(folder: pathlib.Path, *names: str, size: int = 48) -> pathlib.Path:
    """One gray image a name in a folder, whose value is its position in `names`."""
    for value, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / name), np.full((size, size), value, np.uint8))
    return folder


def write_fer2013(
    folder: pathlib.Path, counts: dict[str, int] | None = None, kaggle: bool = False, votes: bool = False
) -> pathlib.Path:
    """A csv of FER2013 with `counts` rows of each split, classes in turn.

    `kaggle` gives the columns of icml_face_data.csv; `votes` writes FER+'s fer2013new.csv beside it, ten votes a row of
    which eight are for the label. Returns the csv's path.
    """
    counts = counts or {"Training": 70, "PublicTest": 21, "PrivateTest": 21}
    splits = [split for split, count in counts.items() for _ in range(count)]
    numbers = [i % 7 for count in counts.values() for i in range(count)]
    images = faces([labels.FER2013[number] for number in numbers], 48)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ("icml_face_data.csv" if kaggle else "fer2013.csv")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("emotion", " Usage", " pixels") if kaggle else ("emotion", "pixels", "Usage"))
        for number, split, image in zip(numbers, splits, images, strict=True):
            pixels = " ".join(map(str, image.ravel()))
            writer.writerow((number, split, pixels) if kaggle else (number, pixels, split))
    if votes:
        words = [labels.canonical(name) for name in labels.FERPLUS]
        with (folder / "fer2013new.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("Usage", "Image name", *labels.FERPLUS, "unknown", "NF"))
            for i, (number, split) in enumerate(zip(numbers, splits, strict=True)):
                row = [0] * 10
                row[words.index(labels.FER2013[number])] = 8
                row[8] = 2  # unknown
                writer.writerow((split, f"fer{i:07}.png", *row))
    return path


def write_folder(
    folder: pathlib.Path,
    names: Sequence[str] = ("angry", "happy", "sad"),
    counts: dict[str, int] | None = None,
    size: int = 48,
) -> pathlib.Path:
    """A folder of images, one subfolder a class. `counts` are images of each class, by split folder; "" is none."""
    for seed, (split, count) in enumerate((counts or {"": 10}).items()):
        for name in names:
            (folder / split / name).mkdir(parents=True, exist_ok=True)
            for i, image in enumerate(faces([name] * count, size, seed=seed)):
                cv2.imwrite(str(folder / split / name / f"{i:03}.png"), image)
    return folder


def write_jaffe(folder: pathlib.Path, people: int = 5, pictures: int = 1, size: int = 64) -> pathlib.Path:
    """JAFFE's tiffs: `pictures` of each expression of each person, with a README and a .DS_Store beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 0
    for person in ("KA", "KL", "KM", "KR", "MK", "NA", "NM", "TM", "UY", "YM")[:people]:
        for code, name in jaffe.CODES.items():
            for picture, image in enumerate(faces([name] * pictures, size, seed=number), 1):
                number += 1
                cv2.imwrite(str(folder / f"{person}.{code}{picture}.{number}.tiff"), image)
    (folder / "README").write_text("about the set", encoding="utf-8")
    (folder / ".DS_Store").write_bytes(b"\0")
    return folder


def write_ckplus(
    folder: pathlib.Path, layout: str = "folders", people: int = 5, frames: int = 4, size: int = 64
) -> pathlib.Path:
    """CK+ in the layout "folders" (by expression) or "original", with a sequence of every expression and person.

    The original's sequences have `frames` frames, of which the folders have the last three; each person has an eighth
    sequence without a label there. A .DS_Store is in every folder.
    """
    for i in range(people):
        person = f"S{10 + i:03}"
        for number, name in enumerate((*labels.CKPLUS, None), 1):
            sequence = f"{number:03}"
            names = [f"{person}_{sequence}_{frame:08}" for frame in range(1, frames + 1)]
            images = faces([name or "neutral"] * frames, size, seed=10 * i + number)
            if layout == "folders":
                target, kept = folder / (name or ""), slice(-3 if name else frames, None)
            else:
                target, kept = folder / "cohn-kanade-images" / person / sequence, slice(None)
                emotion = folder / "Emotion" / person / sequence
                emotion.mkdir(parents=True)
                if name:
                    (emotion / f"{names[-1]}_emotion.txt").write_text(f"   {number:.7e}\n", encoding="utf-8")
            target.mkdir(parents=True, exist_ok=True)
            (target / ".DS_Store").write_bytes(b"\0")
            for stem, image in zip(names[kept], images[kept], strict=True):
                cv2.imwrite(str(target / f"{stem}.png"), image)
    return folder
