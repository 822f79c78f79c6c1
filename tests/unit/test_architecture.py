"""The packages and their imports: no cycle, no framework in the serving wing, and what CONTRIBUTING.md says."""

import ast
import graphlib
import pathlib
import re

import pytest

PACKAGE = pathlib.Path(__file__).resolve().parents[2] / "fer_jax"
CONTRIBUTING = PACKAGE.parent / "CONTRIBUTING.md"
SERVING = {
    "errors",
    "files",
    "labels",
    "cli",
    "preprocess",
    "bundle",
    "faces",
    "serve",
    "web",
    "zoo",
    "recipes",
    "commands",
}
FRAMEWORKS = {"jax", "flax", "optax", "orbax", "tensorflow", "tensorflow_datasets"}
EVERYBODY_MAY_IMPORT = {"errors", "files", "labels"}
MAX_TOP_LEVEL_MODULES = 8
# Modules whose tests stand in another file, below tests/.
TESTED_IN = {
    "experiments/calls.py": "integration/test_calls.py",
    "__init__.py": "unit/serve/test_analyzer.py",
    "commands/dispatch.py": "unit/commands/test_commands.py",
    "commands/completion.py": "unit/commands/test_commands.py",
    "main.py": "integration/test_main.py",
    "errors.py": "integration/test_main.py",
    "benchmark/interleaved.py": "integration/test_benchmark.py",
    "benchmark/latency.py": "integration/test_benchmark.py",
    "benchmark/records.py": "integration/test_benchmark.py",
    "benchmark/seeds.py": "integration/test_benchmark.py",
    "benchmark/training.py": "integration/test_benchmark.py",
    "data/sources/__init__.py": "unit/data/test_loading.py",
    "data/device_pipeline.py": "unit/data/test_pipelines.py",
    "data/pipeline.py": "unit/data/test_pipelines.py",
    "data/tf_pipeline.py": "unit/data/test_pipelines.py",
    "data/buffered.py": "unit/data/test_pipelines.py",
    "data/tfds_builders/fer2013.py": "unit/data/sources/test_tfds.py",
    "explain/guided.py": "unit/explain/test_attribution.py",
    "explain/pictures.py": "integration/test_look.py",
    "models/keras_hdf5.py": "unit/models/test_keras_mini_xception.py",
    "models/network.py": "unit/models/test_networks.py",
    "models/registry.py": "unit/models/test_networks.py",
    **{
        f"models/{name}.py": "unit/models/test_networks.py"
        for name in (
            "ckplus",
            "jaffe",
            "mini_xception",
            "resnet18",
            "six_conv",
            "vgg",
            "vgg16",
        )
    },
    "ops/layout.py": "unit/ops/test_convolution.py",
    "preprocess/scaling.py": "unit/preprocess/test_crop.py",
    "training/profiling.py": "unit/training/test_loop.py",
    "training/progress.py": "unit/training/test_chunk_metrics.py",
    "training/restore.py": "unit/experiments/test_run.py",
    "training/seed_run.py": "unit/experiments/test_seeds.py",
    "training/setup.py": "unit/training/test_step.py",
    "training/state.py": "unit/training/test_step.py",
}


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


def test_the_imports_between_rooms_have_no_cycle(imported):
    graphlib.TopologicalSorter(imported).prepare()  # raises CycleError, which names the cycle


def test_the_serving_wing_imports_no_framework_and_nothing_of_training(imported):
    for path in (path for path in PACKAGE.rglob("*.py") if room_of(path) in SERVING):
        assert not FRAMEWORKS & {name.partition(".")[0] for name in imports_of(path)}, path
    for room in SERVING:
        assert imported.get(room, set()) <= SERVING, room


def test_tensorflow_is_for_data_alone():
    for path in (path for path in PACKAGE.rglob("*.py") if room_of(path) != "data"):
        assert not {"tensorflow", "tensorflow_datasets"} & {name.partition(".")[0] for name in imports_of(path)}, path


def test_few_modules_lie_at_the_top_level():
    modules = [path.name for path in PACKAGE.glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= MAX_TOP_LEVEL_MODULES, modules


def test_the_table_in_contributing_is_what_the_code_imports(imported):
    rows = re.findall(
        r"^\| `fer_jax/(\w+)(?:\.py|/)` \|.*\|([^|]*)\|$", CONTRIBUTING.read_text(encoding="utf-8"), re.MULTILINE
    )
    documented = {room: set(re.findall(r"`(\w+)`", allowed)) for room, allowed in rows}
    actual = {room: rooms - EVERYBODY_MAY_IMPORT for room, rooms in imported.items() if room != "__init__"}
    assert documented == actual, "bring the table of packages in CONTRIBUTING.md up to date"


def test_every_module_with_logic_has_its_tests():
    folder = PACKAGE.parent / "tests"
    for path in PACKAGE.rglob("*.py"):
        if any(
            isinstance(node, ast.FunctionDef | ast.ClassDef)
            for node in ast.parse(path.read_text(encoding="utf-8")).body
        ):
            inside = path.relative_to(PACKAGE)
            name = f"test_{inside.parent.name if inside.name == '__init__.py' else inside.stem}.py"
            expected = TESTED_IN.get(str(inside), pathlib.Path("unit") / inside.with_name(name))
            assert (folder / expected).is_file(), f"{inside} has no tests at tests/{expected}"
    gone = [module for module in TESTED_IN if not (PACKAGE / module).is_file()]
    assert not gone, gone


def test_text_files_and_pipes_name_their_encoding():
    """Else it is the locale's: cp1252 on Windows, ASCII in a container."""
    code = [PACKAGE, *(PACKAGE.parent / name for name in ("configs", "docs", "launch", "peers", "tools"))]
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
        case ast.Attribute(value=ast.Name(id="av" | "os" | "gzip" | "Image") | ast.Attribute(), attr="open"):
            return False
        case ast.Attribute(attr="open"):
            mode = [*call.args[:1], keywords.get("mode")]
        case _:
            return False
    return not any("b" in ast.unparse(node) for node in mode if node)
