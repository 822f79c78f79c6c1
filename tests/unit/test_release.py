"""What a release consists of agrees with itself."""

import re

import yaml

import fer_jax
from tests.conftest import REPOSITORY


def test_the_version_is_the_same_everywhere():
    cited = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == fer_jax.__version__
    newest = re.search(r"^## (\S+)", (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest
    assert newest[1] == fer_jax.__version__


def test_the_citation_has_what_its_format_asks_for():
    cited = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(cited)


def test_the_issue_form_asks_for_the_output_of_info():
    form = yaml.safe_load((REPOSITORY / ".github/ISSUE_TEMPLATE/bug.yml").read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= set(form)
    required = {item["attributes"]["label"] for item in form["body"] if item.get("validations", {}).get("required")}
    assert "fer-jax info" in required
