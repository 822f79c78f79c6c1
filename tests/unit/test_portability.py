"""What must not depend on the system's code page, read from the source: on Windows that is seldom UTF-8."""

import ast

import pytest

from tests.unit.test_architecture import PACKAGE, SERVING

TOOLS = PACKAGE.parent / "tools"
# OpenCV opens paths in the system's code page: bytes go through imdecode, imencode and FileStorage in memory.
BY_PATH = {"imread", "imwrite", "imreadmulti", "haveImageReader"}
TEXT_MODES = {"r", "w", "a", "x", "r+", "w+", "a+"}


def calls(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node, node.func


@pytest.mark.parametrize("path", sorted([*PACKAGE.rglob("*.py"), *TOOLS.rglob("*.py")]), ids=str)
def test_opencv_opens_no_picture_by_its_path(path):
    named = [f"{path}:{call.lineno}" for call, function in calls(path) if function.attr in BY_PATH]
    assert named == [], "use fer_jax.preprocess.images.read and write"


@pytest.mark.parametrize(
    "path",
    sorted(path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0].removesuffix(".py") in SERVING),
    ids=str,
)
def test_text_files_of_the_serving_wing_are_utf_8(path):
    unnamed = [
        f"{path}:{call.lineno}"
        for call, function in calls(path)
        if (function.attr in ("read_text", "write_text") or (function.attr == "open" and _mode(call) in TEXT_MODES))
        and not any(keyword.arg == "encoding" for keyword in call.keywords)
    ]
    assert unnamed == []


def _mode(call):
    """The first argument, where it is written out."""
    return getattr(call.args[0], "value", None) if call.args else None
