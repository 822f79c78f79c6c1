"""The pages: links, the site, its search, and figures beside their records."""

import html
import importlib.util
import json
import os
import re
import statistics

import pytest

from docs.pictures import charts
from tests.conftest import REPOSITORY, run_python

DOCS = REPOSITORY / "docs"
PAGES = sorted([*REPOSITORY.glob("*.md"), *DOCS.rglob("*.md")])
SEARCHED = ("faq", "cite", "docker", "own data", "license", "fine-tune", "offline", "gpu", "neutral", "racist")
SEARCHED += ("batch", "video", "webcam")
# Figures beside a model's name that have no record: compact bundles of mini_xception, the published weights.
UNRECORDED = {"export.md": {"62.52", "62.61"}, "results.md": {"65.0"}}
FIGURE = re.compile(r"(\d+\.\d+)(?: %|(?=\s±\s))")


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("build", DOCS / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs") / "site"
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    words = ["build", "--strict", "--quiet", f"--site-dir={folder}"]
    done = run_python("-m", "mkdocs", *words, cwd=REPOSITORY, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_links_and_pictures_of_the_pages_exist():
    for page in PAGES:
        targets = re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
        missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
        assert missing == [], page


def test_the_site_has_its_tables_and_the_public_names(site):
    page = (site / "reference/api/index.html").read_text(encoding="utf-8")
    assert 'id="fer_jax.analyze"' in page
    assert "loaded once, as a function from pictures and videos" in page
    assert "optim.learning_rate" in (site / "reference/config/index.html").read_text(encoding="utf-8")
    assert "--camera-size" in (site / "reference/commands/index.html").read_text(encoding="utf-8")
    assert not [page for page in site.rglob("*.html") if "<!-- table" in page.read_text(encoding="utf-8")]


def test_the_site_loads_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        loaded = re.findall(
            r"<(?:script|link|img)[^>]+(?:src|href)=\"?(https?:[^\s\">]+)", page.read_text(encoding="utf-8")
        )
        assert not loaded, f"{page}: {loaded}"


def test_the_links_of_the_site_lead_to_headings_that_exist(site):
    """`mkdocs build --strict` lets a link to a missing heading of its own page pass."""
    ids = {
        page: set(re.findall(r' id="?([^">\s]+)', page.read_text(encoding="utf-8"))) for page in site.rglob("*.html")
    }
    for page in ids:
        for path, heading in re.findall(r'<a [^>]*href="?([^":#>]*)#([^">\s]+)', page.read_text(encoding="utf-8")):
            target = (page.parent / path / "index.html").resolve() if path else page
            assert html.unescape(heading) in ids[target], f"{page}: {path}#{heading}"


def test_the_search_finds(site):
    pages = json.loads((site / "search/search_index.json").read_text(encoding="utf-8"))["docs"]
    texts = [f"{page['title']} {page['text']}".lower() for page in pages]
    for words in SEARCHED:
        assert any(all(word in text for word in words.split()) for text in texts), words


def test_readme_and_scores_are_what_the_records_make(build):
    assert (REPOSITORY / "README.md").read_text(encoding="utf-8") == build.readme(), "run python docs/build.py"
    scores = json.loads((REPOSITORY / "configs/scores.json").read_text(encoding="utf-8"))
    assert scores == build.scores(), "run python docs/build.py"


def test_charts_are_those_of_the_records():
    for name, chart in charts.charts().items():
        assert (REPOSITORY / "docs" / "pictures" / name).read_text(encoding="utf-8") == chart, (
            "python -m docs.pictures.charts"
        )


def test_readme_is_short_and_commands_have_one_spelling():
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()) <= 120
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert text.count("python -m fer_jax.main") == 1
    assert set(re.findall(r"-m tools\.(\w+)", text)) <= {"benchmark"}


def numbers(value):
    """Every number in a record."""
    if isinstance(value, dict | list):
        return [number for one in (value.values() if isinstance(value, dict) else value) for number in numbers(one)]
    return [value] if isinstance(value, int | float) else []


def accuracies(split):
    return [split["accuracy"], *(view["accuracy"] for view in split.get("tta", {}).values())]


def figures_of(build):
    """{model, recipe or record: the figures in per cent that its records allow, rounded to one and two digits}."""
    allowed = {}
    for row in (row for rows in build.load("tables").values() for row in rows):
        names = row.get("records") or [row[data] for data in build.DATA if data in row]
        splits = [build.split_of(name) for name in names]
        shares = [statistics.mean(some) for some in zip(*map(accuracies, splits), strict=False)]
        shares += [statistics.stdev(split["accuracy"] for split in splits)] if len(splits) > 1 else []
        shares += [number for name in names for number in numbers(build.load(f"results/{name}")["splits"])]
        for name in (re.search("`?([^`,]+)", row["name"])[1], *names):
            allowed.setdefault(name, set()).update(f"{100 * share:.{digits}f}" for share in shares for digits in (1, 2))
    return allowed


def test_figures_are_those_of_the_records(build):
    """In each line that names a model, a recipe or a record, figures that none of its records has."""
    allowed, wrong = figures_of(build), []
    for page in [*PAGES, *(REPOSITORY / "configs").glob("*.py"), *(REPOSITORY / "fer_jax/zoo").rglob("*.md")]:
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            if named := [name for name in allowed if f"`{name}`" in line or f"`{name}*`" in line]:
                known = set().union(UNRECORDED.get(page.name, ()), *(allowed[name] for name in named))
                wrong += [f"{page.name}:{number}: {found}" for found in FIGURE.findall(line) if found not in known]
    assert not wrong


NUMBER = re.compile(r"(?<![\w.:=x-])\d[\d,]*(?:\.\d+)?(?![\w.:x=-])")
SCALES = (1, 100, 1000, 1e-3, 1e-6, 1e-9, 2**-20)  # shares in per cent, seconds in milliseconds, bytes in MB and MiB
AIMS = {"250,000", "65.6"}  # on a GPU, not measured yet


@pytest.mark.parametrize("page", ["performance", "accelerators"])
def test_tables_of_measurements_are_those_of_the_records(build, page):
    """Every number of three digits or more in a table is one of its records, in some unit and rounding."""
    lines = [
        line
        for path in (build.RECORDS / page).glob("*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    measured = [json.loads(line) for line in lines]
    steps = [one["batch"] / one["images_per_s"] for one in measured if {"batch", "images_per_s"} <= set(one)]
    allowed = set()
    for value in (number * scale for number in numbers(measured) + steps for scale in SCALES):
        allowed |= {f"{value:.{digits}f}" for digits in range(4)} | {f"{float(f'{value:.3g}'):g}"}
    text = build.on_page_markdown((DOCS / f"measured/{page}.md").read_text(encoding="utf-8"))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    shown = [found for row in rows for found in NUMBER.findall(re.sub(r"`[^`]*`", "", row)) if found not in AIMS]
    long = [found.replace(",", "") for found in shown if len(re.sub("[,.]", "", found).lstrip("0")) >= 3]
    assert len(long) > 40
    assert not [found for found in long if found not in allowed and found.rstrip("0").rstrip(".") not in allowed]
