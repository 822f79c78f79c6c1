"""`fer-jax models` as a user runs it, and models by name."""

import numpy as np

import fer_jax
from fer_jax import zoo
from tests.conftest import REPOSITORY, run_commands, run_python


def _run(*arguments):
    return run_python("-m", "tools.models", *arguments, cwd=REPOSITORY)


def test_every_model_has_its_figures_size_and_terms():
    paragraphs = _run().stdout.split("\n\n")[:-1]
    assert [paragraph.split()[0] for paragraph in paragraphs] == zoo.names()
    first = f"mini_xception_wild (the default)\n  take it   when {zoo.USES['mini_xception_wild']}\n"
    assert paragraphs[0].startswith(first)
    assert "\n  network   mini_xception, 205,031 parameters, weights in float16; 48x48 gray; " in paragraphs[0]
    assert [one for one in paragraphs if ", before the prior it is served by\n" in one] == paragraphs[:2]
    for paragraph in paragraphs:
        for part in ("score     PublicTest ", "data      ", "license   ", "names     "):
            assert f"\n  {part}" in paragraph, part


def test_a_model_shows_where_it_lies_and_its_card():
    path, _, heading, *_ = _run("mini_xception_wild").stdout.splitlines()
    assert path == str(zoo.DEFAULT)
    assert heading == "# mini_xception_wild"
    done = _run("mini_exception")
    meant = "no model is called 'mini_exception' (did you mean 'mini_xception' or 'mini_xception_wild'?)"
    assert (done.returncode, done.stderr) == (2, f"error: {meant}: expected one of {', '.join(zoo.names())}\n")


def test_a_model_is_taken_by_its_name():
    assert fer_jax.Analyzer("mini_xception", "none")(np.full((20, 20), 128, np.uint8))[0].label


def test_bundle_and_model_are_one_flag():
    meant = "no bundle at mini_xception_ferplu and no model of that name (did you mean 'mini_xception_ferplus'"
    for done in run_commands(*(f"analyze --{flag}=mini_xception_ferplu x.png" for flag in ("bundle", "model"))):
        assert done.returncode == 2
        assert meant in done.stderr
