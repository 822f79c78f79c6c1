"""The packages and their imports: they lead downwards, and no framework is in the serving wing."""

import ast
import graphlib
import pathlib

import pytest

from tests.conftest import run_python

PACKAGE = pathlib.Path(__file__).resolve().parents[2] / "fer_jax"
SERVING = {"errors", "files", "labels", "preprocess", "bundle", "faces", "serve", "web", "zoo", "recipes"}
# Commands of the serving wing; the others import the training wing too.
LIGHT_COMMANDS = {"analyze", "webcam", "web", "models", "push", "detector", "extract_faces", "recipes", "completion"}
FRAMEWORKS = {"jax", "flax", "optax", "orbax", "tensorflow", "tensorflow_datasets"}
MAX_TOP_LEVEL_MODULES = 8
FLOORS = [
    *("errors", "labels", "fields", "ops", "files", "templates", "recipes", "environment", "result", "distributed"),
    *("preprocess", "zoo", "bundle", "faces", "serve", "web"),
    *("evaluation", "data", "models", "training", "config", "report", "export", "experiments", "explain"),
    *("cli", "main", "__main__"),
]


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path):
    """Dotted names of everything a module imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.fixture(scope="module")
def imported():
    """{room: rooms it imports}; a room is a package or a module at the top level of fer_jax."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        rooms = {name.split(".")[1] for name in imports_of(path) if name.startswith("fer_jax.")}
        found.setdefault(room_of(path), set()).update(rooms - {room_of(path), "__version__"})
    return found


def test_imports_lead_downwards(imported):
    assert sorted(imported) == sorted([*FLOORS, "__init__"])
    assert not imported["__init__"] & {"cli", "main", "__main__"}
    for i, room in enumerate(FLOORS):
        assert imported[room] <= set(FLOORS[:i]), (
            f"{room} imports {imported[room] - set(FLOORS[:i])}, which lie above it"
        )


def test_no_module_imports_itself_by_way_of_others():
    modules = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
    modules = {name.removesuffix(".__init__"): path for name, path in modules.items()}

    def module_of(name):
        return name if name in modules else name.rpartition(".")[0]

    imports = {name: {*map(module_of, imports_of(path))} & set(modules) for name, path in modules.items()}
    graphlib.TopologicalSorter(imports).prepare()  # raises CycleError, with the circle


def test_the_serving_wing_imports_no_framework_and_nothing_of_training(imported):
    for path in PACKAGE.rglob("*.py"):
        light = room_of(path) == "cli" and path.stem in LIGHT_COMMANDS
        if room_of(path) in SERVING or light:
            assert not FRAMEWORKS & {name.partition(".")[0] for name in imports_of(path)}, path
        if light:
            rooms = {name.split(".")[1] for name in imports_of(path) if name.startswith("fer_jax.")}
            assert rooms <= SERVING | {"cli"}, path
    for room in SERVING:
        assert imported.get(room, set()) <= SERVING, room


def test_tensorflow_is_for_data_alone():
    for path in (path for path in PACKAGE.rglob("*.py") if room_of(path) != "data"):
        assert not {"tensorflow", "tensorflow_datasets"} & {name.partition(".")[0] for name in imports_of(path)}, path


def test_few_modules_lie_at_the_top_level():
    modules = [path.name for path in PACKAGE.glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= MAX_TOP_LEVEL_MODULES, modules


def test_text_files_and_pipes_name_their_encoding():
    """Else it is the locale's: cp1252 on Windows, ASCII in a container."""
    code = [PACKAGE, *(PACKAGE.parent / name for name in ("benchmarks", "configs", "docs", "launch", "peers", "tools"))]
    for path in (path for folder in code for path in folder.rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and opens_text(call):
                assert "encoding" in {keyword.arg for keyword in call.keywords}, f"{path}:{call.lineno}"


def opens_text(call):
    """Whether a call opens a text file or a pipe of text, by its name and mode."""
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    match call.func:
        case ast.Attribute(attr="read_text" | "write_text"):
            return True
        case ast.Attribute(value=ast.Name(id="subprocess")):
            return "text" in keywords or "universal_newlines" in keywords
        case ast.Attribute(value=ast.Name(id="os"), attr="fdopen") | ast.Name(id="open"):
            mode = [*call.args[1:2], keywords.get("mode")]
        case ast.Attribute(value=ast.Name(id="av" | "os" | "gzip" | "Image" | "opener") | ast.Attribute(), attr="open"):
            return False
        case ast.Attribute(attr="open"):
            mode = [*call.args[:1], keywords.get("mode")]
        case _:
            return False
    return not any("b" in ast.unparse(node) for node in mode if node)


def test_opencv_opens_no_picture_by_its_path():
    """OpenCV takes paths in the system's code page: bytes go through imdecode, imencode and FileStorage in memory."""
    by_path = {"imread", "imwrite", "imreadmulti", "haveImageReader"}
    for path in (path for folder in (PACKAGE, PACKAGE.parent / "tools") for path in folder.rglob("*.py")):
        called = {
            node.attr
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Attribute)
        }
        assert not called & by_path, f"{path}: use fer_jax.preprocess.images.read and write"


def test_the_package_is_imported_where_the_extra_is_blocked():
    code = """if True:
        import sys

        class Blocked:
            def find_spec(self, name, path=None, target=None):
                if name == "ml_collections":
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        sys.meta_path.insert(0, Blocked())
        import fer_jax
        print(*fer_jax.__all__)"""
    done = run_python("-c", code)
    assert done.stdout.split() == ["Analyzer", "Face", "Faces", "UserError", "__version__", "analyze"], done.stderr
