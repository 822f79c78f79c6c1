"""Recipes are found by name from anywhere, files by their path."""

import pathlib

import pytest

from fer_jax import recipes
from fer_jax.errors import UserError


def test_a_name_becomes_the_recipes_file_and_keeps_its_variant():
    path, _, variant = recipes.resolve("xception:distilled").rpartition(":")
    assert pathlib.Path(path) == recipes.folder() / "xception.py"
    assert pathlib.Path(path).is_absolute()
    assert variant == "distilled"
    assert recipes.resolve("quickstart") == str(recipes.folder() / "quickstart.py:").removesuffix(":")
    assert pathlib.Path(recipes.resolve("default")).is_file()


@pytest.mark.parametrize("spec", ["configs/xception.py:distilled", "mine.py", "folder/mine", "/there/mine.py:a=b", ""])
def test_a_path_stays_as_it_is(spec):
    assert recipes.resolve(spec) == spec


def test_a_file_in_the_folder_does_not_run_in_place_of_a_recipe_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("xception").write_text("", encoding="utf-8")
    assert recipes.resolve("xception:distilled") == f"{recipes.folder() / 'xception.py'}:distilled"
    assert recipes.resolve("./xception") == "./xception"


def test_a_mistyped_name_is_refused_with_its_neighbor():
    with pytest.raises(UserError, match=r"recipe is called 'xeption' \(did you mean 'xception'\?\): expected a file"):
        recipes.resolve("xeption")


def test_recipes_import_each_other_from_here_and_default_and_variants_are_none():
    from fer_jax.recipes import default, xception

    assert "quickstart" in recipes.names()
    assert not {"default", "variants"} & set(recipes.names())
    assert xception.get_config().name == "xception_best"
    assert default.get_config().name == "default"
    with pytest.raises(ImportError):
        from fer_jax.recipes import absent  # noqa: F401


def test_changes_of_an_ablation_are_found_by_name_where_there_is_no_such_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kept = recipes.folder() / "ablations" / "optimizers.json"
    for name in ("optimizers", "optimizers.json", "configs/ablations/optimizers.json"):
        assert recipes.ablation(pathlib.Path(name)) == kept
    for name in ("absent.json", "elsewhere/optimizers.json"):
        assert recipes.ablation(pathlib.Path(name)) == pathlib.Path(name)
    pathlib.Path("optimizers.json").write_text("{}", encoding="utf-8")
    assert recipes.ablation(pathlib.Path("optimizers.json")) == pathlib.Path("optimizers.json")
