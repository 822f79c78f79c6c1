"""Score a trained run, several as an ensemble, or an exported bundle: python -m tools.evaluate --workdir=runs/xception

Every example counts exactly once. --data takes any FER2013 csv or folder of images with the same labels.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from absl import flags

from fer_jax import cli, environment
from fer_jax.errors import UserError

if TYPE_CHECKING:
    from fer_jax.result import Evaluation

_WORKDIR = cli.define_paths("workdir", [], "Folder of a run; several make an ensemble of their probabilities.")
_BUNDLE = cli.define_path("bundle", None, "An exported bundle, scored as it will run.")
_FORMAT = flags.DEFINE_string("format", "onnx", "Which file of the bundle: onnx, int8, float16, stablehlo.")
_SPLIT = flags.DEFINE_string("split", None, "Split to score. Default: the one the run was selected on.")
_DATA = cli.define_path("data", None, "Other data: a FER2013 csv or a folder of images. Default: the run's own.")
_CHECKPOINT = flags.DEFINE_enum("checkpoint", "best", ["best", "last"], "Which checkpoint of a run.")
_TTA = flags.DEFINE_list("tta", [], "Test-time augmentation to report beside the plain figure: flip, ten_crop.")
_JSON = cli.define_output("json", None, "File to write the scores to, as JSON.", folder=False)


def main(argv: list[str]) -> None:
    """Print the scores and write --json."""
    from fer_jax import files
    from fer_jax.experiments import scoring

    environment.init()
    if bool(_WORKDIR.value) == bool(_BUNDLE.value):
        raise UserError("expected either --workdir (one or more) or --bundle")
    if _BUNDLE.value:
        predictor = scoring.of_bundle(_BUNDLE.value, _FORMAT.value)
    else:
        predictor = scoring.of_runs(_WORKDIR.value, _CHECKPOINT.value)
    result = scoring.score(predictor, _SPLIT.value or predictor.selected_on, _DATA.value or "", tuple(_TTA.value))
    _show(result)
    if _JSON.value:
        files.write_json(_JSON.value, result.to_json())
        print(f"written to {_JSON.value}")


def _show(result: Evaluation) -> None:
    for split, scores in result.splits.items():
        print(f"{split}: {scores['examples']} examples, {result.predictor}")
        for name, s in [("plain", scores), *scores.get("tta", {}).items()]:
            print(
                f"  {name:9} accuracy {100 * s['accuracy']:.2f} % +- {100 * s['standard_error']:.2f}, "
                f"macro-F1 {s['macro_f1']:.4f}, balanced {100 * s['balanced_accuracy']:.2f} %, "
                f"top-2 {100 * s['top2_accuracy']:.2f} %, loss {s['loss']:.4f}"
            )
        width = max(map(len, scores["per_class"]))
        print(f"  {'':{width}}  examples  precision  recall      F1")
        for name, c in scores["per_class"].items():
            print(f"  {name:{width}}  {c['examples']:8}  {c['precision']:9.4f}  {c['recall']:6.4f}  {c['f1']:6.4f}")
        print(f"  confusion (rows true): {json.dumps(scores['confusion'])}")


if __name__ == "__main__":
    cli.run(main)
