"""A run's records that no training made, and what a page of a report holds."""

import html.parser
import json

import numpy as np

from configs import default
from fer_jax import config as configs
from fer_jax import labels
from fer_jax.data.examples import Examples
from fer_jax.evaluation import metrics
from fer_jax.training import metric_log
from tests.results import run_result

NAMES = labels.FER2013
SPLITS = {"Training": 64, "PublicTest": 90, "PrivateTest": 80}


def made_examples(channels=1, size=48):
    rng = np.random.default_rng(0)
    n = sum(SPLITS.values())
    return Examples(
        rng.integers(0, 256, (n, size, size, channels), dtype=np.uint8),
        (np.arange(n) % 7).astype(np.int32),
        np.repeat(list(SPLITS), list(SPLITS.values())),
        NAMES,
        description="234 made-up faces",
    )


def made_run(workdir, examples, *, epochs=3, finished=True, predictions=True, skill=2.0, **changes):
    """The records that a run leaves, with random logits."""
    config = default.get_config()
    config.update_from_flattened_dict({"epochs": epochs, "name": "made", **changes})
    configs.save(config, workdir)
    for epoch in range(1, epochs + 1):
        row = {
            "epoch": epoch,
            "step": 10 * epoch,
            "examples": 640 * epoch,
            "learning_rate": 0.001 / epoch,
            "train_loss": 2 / epoch,
            "train_accuracy": 1 - 0.7 / epoch,
            "PublicTest_loss": 2.1 / epoch,
            "PublicTest_accuracy": 0.9 - 0.6 / epoch,
            "PublicTest_macro_f1": 0.8 - 0.6 / epoch,
            "seconds_startup": 4.5,
            "seconds_train": 10.25 * epoch,
            "seconds_eval": 1.0 * epoch,
        }
        with (workdir / metric_log.JSONL).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    if not finished:
        return None
    splits = {}
    for name in ("PublicTest", "PrivateTest"):
        split = examples.of_split(name)
        rng = np.random.default_rng(1)
        logits = (rng.normal(size=(len(split), 7)) + skill * np.eye(7)[split.labels]).astype(np.float32)
        splits[name] = metrics.scores(logits, split.labels, NAMES)
        if predictions:
            (workdir / "predictions").mkdir(exist_ok=True)
            np.savez(workdir / "predictions" / f"{name}.npz", logits=logits, labels=split.labels)
    result = run_result(
        seed=config.seed,
        data=examples.description,
        label_names=NAMES,
        epochs=epochs,
        splits=splits,
        train_seconds=10.25 * epochs,
        wall_seconds=50.0,
        seconds={"startup": 4.5, "train": 30.5, "eval": 3.0},
        versions={"jax": "0.0.1", "device": "1 x tree"},
        calibration=None,
    )
    result.write(workdir)
    return result


class Page(html.parser.HTMLParser):
    """What a test wants to know of a page: its text, its pictures, what it would load, and that tags are closed."""

    def __init__(self, path):
        super().__init__()
        self.images, self.addresses, self.words, self.open_tags, self.headings = [], [], [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(" ".join(self.words).split())
        assert not self.open_tags

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag not in ("meta", "img", "br"):
            self.open_tags.append(tag)
        if tag == "img":
            self.images.append(attributes["src"])
        self.addresses += [value for name, value in attributes.items() if name in ("src", "href", "xlink:href")]

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open_tags.pop() == tag

    def handle_data(self, data):
        if self.open_tags and self.open_tags[-1] not in ("style", "script"):
            self.words.append(data)
        if self.open_tags and self.open_tags[-1] == "h2":
            self.headings.append(data.strip())
