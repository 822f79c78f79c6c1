"""`fer-jax recipes` as a user runs it."""

from fer_jax import recipes
from tests.conftest import REPOSITORY, run_python


def _run(*arguments):
    return run_python("-m", "tools.recipes", *arguments, cwd=REPOSITORY)


def test_the_table_names_every_recipe_with_variants_and_scores():
    lines = _run().stdout.splitlines()
    assert [line.split()[0] for line in lines if line[:1].isalpha()][:-1] == recipes.names()
    assert any("variants: xception:distilled, xception:paper" in line for line in lines)
    (score,) = [line for line in lines if "measured: xception:distilled" in line]
    assert "58,423 parameters, PublicTest 67." in score


def test_a_recipe_or_its_variant_shows_its_file_and_what_it_says_of_itself():
    path, _, first, *_ = _run("jaffe:best").stdout.splitlines()
    assert path == str(recipes.folder() / "jaffe.py")
    assert first.startswith("Three networks on JAFFE")
    done = _run("jafe")
    assert done.returncode == 2
    assert done.stderr.startswith("error: no recipe is called 'jafe' (did you mean 'jaffe'?)")
