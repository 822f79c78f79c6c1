"""Score a trained run, several as an ensemble, or an exported bundle: fer-jax evaluate --workdir=runs/xception

    fer-jax evaluate --bundle=xception.bundle --data=faces/ --prior=flat
    fer-jax evaluate --bundle=xception.bundle --data=faces/ --calibrate --coverage=0.8 --out=mine.bundle

Every example counts exactly once. --data takes FER2013's csv, a folder of images, a csv or tsv that lists images, or
JAFFE, CK+, RAF-DB, AffectNet and ExpW as they are distributed, with the same labels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from absl import flags

from fer_jax import environment
from fer_jax.cli import options
from fer_jax.errors import UserError

if TYPE_CHECKING:
    from fer_jax.experiments.scoring import Calibrate
    from fer_jax.result import Evaluation

_WORKDIR = options.define_paths("workdir", [], "Folder of a run; several make an ensemble of their probabilities.")
_BUNDLE = options.define_bundle(None, "It is scored as it will run.")
_FORMAT = flags.DEFINE_string("format", "onnx", "Which file of the bundle: onnx, int8, float16, stablehlo.")
_SPLIT = flags.DEFINE_string("split", None, "Split to score. Default: the one the run was selected on.")
_DATA = options.define_path("data", None, "Other data: a csv, or a folder of images. Default: the run's own.")
_CHECKPOINT = flags.DEFINE_enum("checkpoint", "best", ["best", "last"], "Which checkpoint of a run.")
_TTA = flags.DEFINE_list("tta", [], "Test-time augmentation to report beside the plain figure: flip, ten_crop.")
_PRIOR = options.define_prior()
_CALIBRATE = flags.DEFINE_bool(
    "calibrate", False, "Choose on this data which faces are called uncertain, and say what that gives."
)
_COVERAGE = flags.DEFINE_float("coverage", None, "Share of the faces to answer with --calibrate, 0..1. Default: 0.9.")
_REFIT = flags.DEFINE_bool("refit-temperature", False, "With --calibrate, fit the temperature to this data too.")
_OUT = options.define_output("out", None, "With --calibrate, a copy of the bundle that is so calibrated.", folder=True)
_JSON = options.define_output("json", None, "File to write the scores to, as JSON.", folder=False)


def main(argv: list[str]) -> None:
    """Print the scores, write --json and --out."""
    from fer_jax import files
    from fer_jax.experiments import scoring

    calibrate = _calibrate()
    environment.init()
    if bool(_WORKDIR.value) == bool(_BUNDLE.value):
        raise UserError("expected either --workdir (one or more) or --bundle")
    if _BUNDLE.value:
        predictor = scoring.of_bundle(_BUNDLE.value, _FORMAT.value, _PRIOR.value or "")
    else:
        predictor = scoring.of_runs(_WORKDIR.value, _CHECKPOINT.value, _PRIOR.value or "")
    if _REFIT.value and predictor.priors:
        raise UserError(
            "--refit-temperature with a prior, --prior's or the bundle's own: the temperature is fitted before it "
            "is corrected: fit the temperature first"
        )
    split = _SPLIT.value or predictor.selected_on
    result = scoring.score(predictor, split, _DATA.value or "", tuple(_TTA.value), calibrate)
    _show(result)
    if _OUT.value:
        _write_copy(result)
    if _JSON.value:
        files.write_json(_JSON.value, result.to_json())
        print(f"written to {_JSON.value}")


def _calibrate() -> Calibrate | None:
    """Choices that the flags ask for; UserError, before anything is read, where they do not fit together."""
    from fer_jax.bundle import manifest
    from fer_jax.evaluation import calibration
    from fer_jax.experiments.scoring import Calibrate

    if not _CALIBRATE.value:
        given = [flag for flag in (_COVERAGE, _REFIT, _OUT) if flag.value not in (None, False)]
        if given:
            raise UserError(f"--{given[0].name} says how to calibrate: give --calibrate too")
        return None
    coverage = calibration.COVERAGE if _COVERAGE.value is None else _COVERAGE.value
    if not 0 < coverage <= 1:
        raise UserError(f"--coverage={coverage:g}: expected a share above 0 and at most 1, such as 0.9")
    if _OUT.value:
        if not _BUNDLE.value:
            raise UserError("--out writes a copy of a bundle: give --bundle, or export the run by fer-jax export first")
        manifest.refuse_other_content(_OUT.value)
    return Calibrate(coverage, _REFIT.value)


def _write_copy(result: Evaluation) -> None:
    from fer_jax.bundle import manifest

    [(split, scores)] = result.splits.items()
    chosen = scores["calibration"]["chosen"]
    original = manifest.read(_BUNDLE.value)
    # with a prior the logits were divided by the bundle's own temperature before they were corrected
    temperature = original.temperature if result.prior else chosen["temperature"]
    served = ", by which it is served and which the scores above are without"
    prior = f", with the prior {_PRIOR.value}{served}" if _PRIOR.value else ""
    note = (
        f"Calibrated again on {scores['examples']:,} faces of {result.data} ({split}){prior}: the temperature is "
        f"{temperature:.3f}, a face below {chosen['uncertain_below']:.3f} is uncertain; "
        f"{chosen['coverage']:.1%} are answered, {chosen['accuracy_when_certain']:.1%} of these rightly."
    )
    manifest.recalibrated(original, _OUT.value, temperature, chosen["uncertain_below"], note, _PRIOR.value)
    print(f"written to {_OUT.value}")


def _show(result: Evaluation) -> None:
    for split, scores in result.splits.items():
        print(f"{split}: {scores['examples']} examples, {result.predictor}")
        for prior in result.prior or ():
            shares = ", ".join(
                f"{name} {prior['trained'][name]:.3f} to {prior['target'][name]:.3f}" for name in prior["trained"]
            )
            print(f"  prior corrected: {shares}")
        for name, s in [("plain", scores), *scores.get("tta", {}).items()]:
            print(
                f"  {name:9} accuracy {100 * s['accuracy']:.2f} % +- {100 * s['standard_error']:.2f}, "
                f"macro-F1 {s['macro_f1']:.4f}, balanced {100 * s['balanced_accuracy']:.2f} %, "
                f"top-2 {100 * s['top2_accuracy']:.2f} %, loss {s['loss']:.4f}"
            )
        _show_calibration(scores["calibration"], scores["accuracy"])
        width = max(map(len, scores["per_class"]))
        print(f"  {'':{width}}  examples  precision  recall      F1")
        for name, c in scores["per_class"].items():
            print(f"  {name:{width}}  {c['examples']:8}  {c['precision']:9.4f}  {c['recall']:6.4f}  {c['f1']:6.4f}")
        print(f"  confusion (rows true): {json.dumps(scores['confusion'])}")


def _show_calibration(found: Mapping[str, Any], accuracy: float) -> None:
    print(
        f"  confidence {found['mean_confidence']:.3f} at temperature {found['temperature']:.3f}, expected calibration "
        f"error {found['expected_calibration_error']:.3f} (perfect calibration would show {found['unavoidable']:.3f})"
    )
    if chosen := found.get("chosen"):
        if chosen["temperature"] != found["temperature"]:
            print(
                f"  temperature {chosen['temperature']:.3f} fitted to these faces: expected calibration error "
                f"{chosen['expected_calibration_error']:.3f}, by cross-fitting"
            )
        print(
            f"  uncertain_below {chosen['uncertain_below']:.4f} answers {chosen['coverage']:.1%} of these faces, "
            f"{chosen['accuracy_when_certain']:.1%} of the answers right ({accuracy:.1%} of all)"
        )
