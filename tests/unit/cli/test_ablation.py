"""The table of an ablation."""

from fer_jax.cli import ablation


def row(name, accuracies, **more):
    scores = {"accuracy": accuracies, "macro_f1": [0.5, 0.6], "disgust_recall": [0.25, 0.75]}
    return {"name": name, "change": {}, "seeds": [0, 1], **scores, **more}


def test_the_base_comes_first_then_the_best_change():
    worse = {"change": {"augment.erase": 0.5}, "difference": {"mean": -0.01, "standard_error": 0.004}}
    better = {"change": {"epochs": 9}, "difference": {"mean": 0.02, "standard_error": 0.003}}
    rows = [row("as it is", [0.6, 0.61]), row("erasing", [0.59, 0.6], **worse), row("longer", [0.62, 0.63], **better)]
    assert ablation.table({"rows": rows}).splitlines()[2:] == [
        "| as it is | 2 | 60.50 |  | 0.550 | 50.0 |",
        "| longer (`epochs=9`) | 2 | 62.50 | +2.00 ± 0.30 | 0.550 | 50.0 |",
        "| erasing (`augment.erase=0.5`) | 2 | 59.50 | -1.00 ± 0.40 | 0.550 | 50.0 |",
    ]
