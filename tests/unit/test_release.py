"""What a release consists of agrees with itself."""

import re
import subprocess
import sys

import pytest
import yaml

import fer_jax
from tests.conftest import REPOSITORY


def test_the_version_is_the_same_everywhere():
    cited = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == fer_jax.__version__
    newest = re.search(r"^## (\S+)", (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest
    assert newest[1] == fer_jax.__version__


def test_the_issue_form_asks_for_the_output_of_info():
    form = yaml.safe_load((REPOSITORY / ".github/ISSUE_TEMPLATE/bug.yml").read_text(encoding="utf-8"))
    required = {item["attributes"]["label"] for item in form["body"] if item.get("validations", {}).get("required")}
    assert "fer-jax info" in required


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("github-workflows", ".github/workflows/ci.yml"),
        ("github-workflows", ".github/workflows/release.yml"),
        ("github-issue-forms", ".github/ISSUE_TEMPLATE/bug.yml"),
        ("citation-file-format", "CITATION.cff"),
    ],
)
def test_files_that_others_read_follow_their_schema(schema, file):
    check = [sys.executable, "-m", "check_jsonschema", f"--builtin-schema=vendor.{schema}", REPOSITORY / file]
    done = subprocess.run(check, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["ci", "release"])
def test_workflows_pin_their_actions_and_may_do_little(name):
    text = (REPOSITORY / f".github/workflows/{name}.yml").read_text(encoding="utf-8")
    for used in re.findall(r"uses: (.+)", text):
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v[\d.]+", used), used
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    more = {job: of["permissions"] for job, of in workflow["jobs"].items() if "permissions" in of}
    assert more == ({"publish": {"id-token": "write"}, "site": {"contents": "write"}} if name == "release" else {})
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())
