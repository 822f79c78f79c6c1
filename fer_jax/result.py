"""Records of a run, of several seeds or of a cross-validation in result.json: one typed record each, one reader."""

import dataclasses
import html
import os
import pathlib
import reprlib
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypedDict

from fer_jax import files
from fer_jax.errors import UserError
from fer_jax.fields import NAMES_OF_KINDS

RESULT = "result.json"
SEED_FOLDER, FOLD_FOLDER = "seed_{}", "fold_{:02d}"
_ADVICE = "if a run left it so, remove it and run the same command again"


class _Scores(TypedDict):
    examples: int
    accuracy: float
    standard_error: float
    loss: float
    top2_accuracy: float
    balanced_accuracy: float
    macro_f1: float
    per_class: dict[str, dict[str, float]]
    confusion: tuple[tuple[int, ...], ...]


class _OfFold(_Scores):
    best_epoch: int


class _Calibration(TypedDict):
    fitted_on: str | None
    temperature: float
    uncertain_below: float


# Objects with these keys and others.
Scores = Annotated[dict[str, Any], _Scores]
Calibration = Annotated[dict[str, Any], _Calibration]


class _OfSeed(TypedDict):
    seed: int
    best_epoch: int
    splits: dict[str, Scores]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Record:
    """Fields of all records.

    Attributes:
      data: one line for people: what was read from where.
      label_names: in the order of the confusion matrix.
      versions: of what the result depends on, and the hardware.
    """

    kind: ClassVar[str]
    what: ClassVar[str]  # for messages

    data: str
    label_names: tuple[str, ...]
    versions: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """The content of result.json."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {"kind": self.kind} | {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Experiment(_Record):
    """Fields of the results of training.

    Attributes:
      config: the config's name.
      split_note: what the splits say about people the network never saw.
      train_seconds, wall_seconds: of training alone, and of everything.
      command: the command line that made it.
      warnings: what the reader of the scores must know, such as a class that a split lacks.
    """

    config: str
    split_note: str
    train_seconds: float
    wall_seconds: float
    command: str
    warnings: tuple[str, ...] = ()

    def write(self, workdir: str | os.PathLike) -> None:
        """Write `workdir`/result.json, whole or not at all."""
        files.write_json(pathlib.Path(workdir) / RESULT, self.to_json())


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunResult(_Experiment):
    """The result of one run.

    Attributes:
      seed: its seed.
      model: the network's name.
      parameters: its numbers, BatchNorm's statistics included.
      selected_on, selected_by: the split and the score that the epoch was chosen by.
      best_epoch, epochs: the chosen epoch and the number of epochs trained.
      splits: {split: scores}, see `fer_jax.evaluation.metrics.scores`; "tta" holds those of each test-time
        augmentation, "noise_ceiling" a share in 0..1 where it is known.
      train_examples, train_examples_per_second: images seen in training, and per second of training.
      seconds: wall clock by phase.
      calibration: see `fer_jax.evaluation.calibration.fit`; None where none was fitted.
      class_counts: {name: examples of the training split}, sums of their targets where these are soft; None in the
        result of an older version.
    """

    kind = "run"
    what = "a run"

    seed: int
    model: str
    parameters: int
    selected_on: str
    selected_by: str
    best_epoch: int
    epochs: int
    splits: dict[str, Scores]
    train_examples: int
    train_examples_per_second: float
    seconds: dict[str, float]
    calibration: Calibration | None = None
    class_counts: dict[str, float] | None = None

    @property
    def folders(self) -> tuple[str, ...]:
        """Names of the runs' folders inside: none."""
        return ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeedsResult(_Experiment):
    """The result of one config with several seeds.

    Attributes:
      seeds: in the order of `per_seed`.
      model, parameters, selected_on, selected_by: as of each run.
      splits: {split: {"mean_accuracy", "std_accuracy", "mean_macro_f1", "std_macro_f1"}}, std being the sample
        standard deviation over seeds.
      per_seed: {"seed", "best_epoch", "epochs", "splits"} of each run.
      train_examples_per_second: of all runs together.
    """

    kind = "seeds"
    what = "several seeds"

    seeds: tuple[int, ...]
    model: str
    parameters: int
    selected_on: str
    selected_by: str
    splits: dict[str, dict[str, float]]
    per_seed: tuple[Annotated[dict[str, Any], _OfSeed], ...]
    train_examples_per_second: float

    @property
    def folders(self) -> tuple[str, ...]:
        """Names of the runs' folders inside, in the order of `per_seed`."""
        return tuple(SEED_FOLDER.format(seed) for seed in self.seeds)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoldsResult(_Experiment):
    """The result of a cross-validation.

    Attributes:
      seed: that the folds were drawn with and every fold was trained with.
      folds: their number.
      mean_accuracy, std_accuracy: over folds; the latter is the sample standard deviation.
      pooled: the scores of all test predictions together, every example once.
      per_fold: {"best_epoch"} and the test scores of each fold.
    """

    kind = "folds"
    what = "a cross-validation"

    seed: int
    folds: int
    mean_accuracy: float
    std_accuracy: float
    pooled: Scores
    per_fold: tuple[Annotated[dict[str, Any], _OfFold], ...]

    @property
    def folders(self) -> tuple[str, ...]:
        """Names of the runs' folders inside, in the order of `per_fold`."""
        return tuple(FOLD_FOLDER.format(number) for number in range(1, self.folds + 1))


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Evaluation(_Record):
    """Scores of something trained before: what `tools.evaluate --json` writes.

    Attributes:
      predictor: what was scored, for people.
      selected_on: the split its epoch was chosen on.
      best_epoch: the epoch, or None if not recorded.
      splits: as of `RunResult`; "calibration" holds what `fer_jax.evaluation.calibration.errors` says of it.
      prior: see `fer_jax.bundle.prior.Prior.to_json`, of each member of an ensemble; None where none was asked for.
      command: the command line that made it; "" in the record of an older version.
    """

    kind = "evaluation"
    what = "an evaluation"

    predictor: str
    selected_on: str
    best_epoch: int | None
    splits: dict[str, Scores]
    prior: tuple[dict[str, Any], ...] | None = None
    command: str = ""

    def __repr__(self) -> str:
        scores = "; ".join(
            f"{split} {100 * s['accuracy']:.2f} % +- {100 * s['standard_error']:.2f} of {s['examples']}, macro-F1 "
            f"{s['macro_f1']:.3f}"
            + "".join(f", {view} {100 * t['accuracy']:.2f} %" for view, t in s.get("tta", {}).items())
            for split, s in self.splits.items()
        )
        return f"Evaluation of {self.predictor} on {self.data}\n{scores}"

    def _repr_html_(self) -> str:
        """The same for notebooks, with each split's confusion matrix as a picture of a table."""
        parts = [f"<pre>{html.escape(repr(self))}</pre>"]
        for split, scores in self.splits.items():
            names = [html.escape(name) for name in self.label_names]
            parts.append(f"<table><caption>{html.escape(split)}: true by predicted</caption><tr><th></th>")
            parts += [*(f"<th>{name}</th>" for name in names), "</tr>"]
            for name, row in zip(names, scores["confusion"], strict=True):
                shares = [count / max(sum(row), 1) for count in row]
                cells = [
                    f'<td style="background:rgba(31,119,180,{share:.2f})">{count}</td>'
                    for count, share in zip(row, shares, strict=True)
                ]
                parts.append(f"<tr><th>{name}</th>{''.join(cells)}</tr>")
            parts.append("</table>")
        return "".join(parts)


Result = RunResult | SeedsResult | FoldsResult
KINDS: dict[str, type[Result | Evaluation]] = {
    record.kind: record for record in (RunResult, SeedsResult, FoldsResult, Evaluation)
}


def read(workdir: str | os.PathLike) -> Result | None:
    """The result in the folder of a run, of several seeds or of a cross-validation; None while there is none.

    Raises:
      UserError: result.json is empty, cut off, or not what this package writes.
    """
    path = pathlib.Path(workdir) / RESULT
    if not path.exists():
        return None
    found = load(path)
    if isinstance(found, Evaluation):
        raise UserError(f"{path} holds {found.what}, not the result of training: move it out of the run's folder")
    return found


def runs_inside(workdir: str | os.PathLike) -> list[str]:
    """Names of the folders of runs in a folder of several seeds or of a cross-validation, finished or not."""
    patterns = (SEED_FOLDER.format("*"), FOLD_FOLDER.replace(":02d", "").format("*"))
    found = [path for pattern in patterns for path in pathlib.Path(workdir).glob(pattern)]
    return sorted(path.name for path in found if (path / "config.json").is_file())


def runs_of(workdir: str | os.PathLike) -> list[pathlib.Path]:
    """The folders of the runs of a folder: those inside of several seeds or a cross-validation, else the folder."""
    return [pathlib.Path(workdir) / name for name in runs_inside(workdir)] or [pathlib.Path(workdir)]


def load(path: str | os.PathLike) -> Result | Evaluation:
    """The record in one file; UserError, in one line, for a file that is empty, cut off, or of anything else."""
    if not pathlib.Path(path).stat().st_size:
        raise UserError(f"{path} is empty, expected the {RESULT} of a run: {_ADVICE}")
    return from_json(files.read_json(path, f"the {RESULT} of a run", _ADVICE), str(path))


def from_json(value: Mapping[str, Any], path: str) -> Result | Evaluation:
    """The record that `to_json` gave; one without "kind" is an evaluation if it names a predictor, else of a run.

    Fields that are not known are left out. Raises UserError, naming `path`, for another kind, a missing field and a
    value of another type than its annotation.
    """
    kind = value.get("kind", "evaluation" if "predictor" in value else "run")
    if kind not in tuple(KINDS):
        raise UserError(f"{path} is of kind {str(kind)[:40]!r}: expected one of {', '.join(KINDS)}")
    record, kept = KINDS[kind], {}
    hints = typing.get_type_hints(record, include_extras=True)
    for field in dataclasses.fields(record):
        if field.name in value:
            if problem := _problem(value[field.name], hints[field.name], field.name):
                raise UserError(f"{path}: {problem} in the result of {record.what}: {_ADVICE}")
            kept[field.name] = tuple(found) if isinstance(found := value[field.name], list) else found
        elif field.default is dataclasses.MISSING:
            raise UserError(f"{path}: no {field.name!r} in it: expected the result of {record.what}")
    return record(**kept)


def _problem(value: Any, hint: Any, where: str) -> str:
    """The first place of a value of JSON that is not as an annotation says, in words; "" without one."""
    of, inside = typing.get_origin(hint), typing.get_args(hint)
    if of is types.UnionType or of is typing.Union:
        problems = [_problem(value, one, where) for one in inside]
        return "" if "" in problems else problems[0]
    if hint is Any:
        return ""
    kind = {Annotated: dict, dict: dict, tuple: list}.get(of, hint)
    if isinstance(value, bool) or not isinstance(value, int | float if kind is float else kind):
        return f"{where} is {reprlib.repr(value)}, expected {_NAMES[kind]}"
    if of is Annotated:
        keys = typing.get_type_hints(inside[1], include_extras=True)
        parts = [(name, value.get(name), expected) for name, expected in keys.items()]
    elif of is dict:
        parts = [(name, one, inside[1]) for name, one in value.items()]
    else:
        parts = [(number, one, inside[0]) for number, one in enumerate(value if of is tuple else ())]
    return next(filter(None, (_problem(one, expected, f"{where}.{name}") for name, one, expected in parts)), "")


_NAMES = NAMES_OF_KINDS | {dict: "an object", list: "a list", type(None): "null"}
