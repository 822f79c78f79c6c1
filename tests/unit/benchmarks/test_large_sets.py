"""Sets larger than memory, at small size."""

import sys

import pytest

from benchmarks import large_sets
from fer_jax.data import sources
from fer_jax.errors import UserError
from tests.unit.benchmarks.test_steps import config_of

linux = pytest.mark.skipif(sys.platform != "linux", reason="RssAnon is Linux's")


@linux
def test_the_peak_of_anonymous_memory_is_seen():
    hold = "import time, numpy as np; block = np.ones({} << 20, np.uint8); time.sleep(0.1)"
    small, large = (large_sets.peak_of([sys.executable, "-c", hold.format(size)])[1] for size in (1, 41))
    assert 39 <= large - small < 60
    with pytest.raises(UserError, match="failed: no such set"):
        large_sets.peak_of([sys.executable, "-c", "raise SystemExit('no such set')"])


@linux
def test_preparing_and_opening_a_set_takes_a_fraction_of_its_bytes(tmp_path):
    """Sets of 1 and of 96 MB, prepared and gathered from."""
    code = """
import sys, pathlib, numpy as np
from fer_jax.data import cache, lazy
from fer_jax.data.examples import Examples
from fer_jax.recipes import default
config = default.get_config()
config.input.size, config.input.channels, count = 200, 3, int(sys.argv[1])
images = lazy.Decoded(count, lambda i: np.full((200, 200, 3), i % 256, np.uint8), config.input)
examples = Examples(images, np.zeros(count, np.int32), np.full(count, 'all'), ('a', 'b'))
path = pathlib.Path(sys.argv[2]) / sys.argv[1]
cache._write(path, examples, True)
opened = cache._opened(path).take(np.arange(0, count, 2))
out = np.empty((4, 200, 200, 3), np.uint8)
for start in range(0, count // 2, 4):
    lazy.gather(opened.images, np.arange(start, start + 4), out)
    assert out[3, 0, 0, 0] == 2 * (start + 3) % 256
"""
    small, large = (large_sets.peak_of([sys.executable, "-c", code, count, str(tmp_path)])[1] for count in ("8", "800"))
    assert large - small < 60


def test_a_table_lists_files_again_and_again(tmp_path):
    large_sets.make_files(tmp_path, 16)
    lines = large_sets.make_table(tmp_path, 4001).read_text(encoding="utf-8").splitlines()
    assert len(lines) == 4002 and lines[1].startswith("0.jpg,angry,val") and lines[2001].startswith("200.jpg,")
    held_out = {line.partition(",")[0] for line in lines if line.endswith(",val")}
    assert len(held_out) == 200 == sum(line.partition(",")[0] in held_out for line in lines)
    assert len({line.rpartition(",")[0] for line in lines[1:]}) == 2000  # a file has one label
    config = config_of(**{"data.source": "list", "data.path": str(tmp_path / "4001.csv"), "input.size": 16})
    assert len(sources.find("list").read(config.data, config.input)) == 4001


def test_streaming_is_measured_beside_a_resident_set():
    found = large_sets.streamed_over_resident(config_of(), 40, 0.0, 2)
    assert len(found["runs"]) == 2 and set(found["images_per_s"]) == {"streamed", "resident"}
    assert found["ratio"] > 0 and found["by_processor_time"]["ratio"] > 0


@pytest.mark.slow
@linux
def test_a_large_set_is_prepared_and_begun_beside_a_small_one(tmp_path):
    prepared, begun = large_sets.sets(tmp_path, 2100, 16, 1)
    assert prepared["images_per_s"] > 0 and prepared["peak_mb"] > 10
    assert abs(begun["more_anonymous_mb"]) < 200 and begun["small_s"] > 0
