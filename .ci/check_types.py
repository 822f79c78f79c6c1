"""Check types by pyright, for Linux, macOS and Windows.

python .ci/check_types.py        # what differs from main, with its importers, for Linux
python .ci/check_types.py --all  # everything, for all three
"""

import ast
import collections
import json
import pathlib
import subprocess
import sys
import tomllib

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
PLATFORMS = ("Linux", "Darwin", "Windows")
# Errors by file, which may only fall; a file that is not here has none.
ALLOWED = {
    "benchmarks/chunk.py": 1,
    "benchmarks/peaks.py": 1,
    "configs/variants.py": 1,
    "fer_jax/data/augmentation.py": 11,
    "fer_jax/data/camera.py": 1,
    "fer_jax/distributed/parallel.py": 1,
    "fer_jax/environment.py": 1,
    "fer_jax/evaluation/evaluator.py": 1,
    "fer_jax/explain/attribution.py": 5,
    "fer_jax/explain/explaining.py": 1,
    "fer_jax/export/comparison.py": 4,
    "fer_jax/export/graph.py": 4,
    "fer_jax/export/onnx.py": 2,
    "fer_jax/export/quantize.py": 2,
    "fer_jax/models/keras_hdf5.py": 18,
    "fer_jax/models/layers.py": 5,
    "fer_jax/models/pretrained.py": 14,
    "fer_jax/ops/convolution.py": 3,
    "fer_jax/ops/index_pooling.py": 2,
    "fer_jax/ops/normalization.py": 1,
    "fer_jax/ops/platforms.py": 1,
    "fer_jax/ops/pooling.py": 1,
    "fer_jax/report/comparison.py": 3,
    "fer_jax/report/faces.py": 2,
    "fer_jax/report/page.py": 10,
    "fer_jax/report/plots.py": 3,
    "fer_jax/training/checkpoint.py": 1,
    "fer_jax/training/program.py": 1,
}


def checked() -> dict[str, str]:
    """{path: dotted name} of every module that pyproject.toml names."""
    included = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pyright"]["include"]
    paths = [path.relative_to(REPOSITORY) for name in included for path in (REPOSITORY / name).rglob("*.py")]
    return {path.as_posix(): ".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths}


def imports(path: str) -> set[str]:
    """Dotted names of what a module imports, with those of the names in it."""
    names = set()
    for node in ast.walk(ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def changed() -> list[str]:
    """Paths of the modules that differ from main, and of those that import one of them."""
    modules = checked()
    base = _output("git", "merge-base", "main", "HEAD").strip()
    listed = [_output("git", "diff", "--name-only", base), _output("git", "ls-files", "--others", "--exclude-standard")]
    differing = modules.keys() & set("".join(listed).splitlines())
    names = {modules[path] for path in differing}
    return sorted(differing | {path for path in modules if names & imports(path)})


def errors(paths: list[str], platforms: tuple[str, ...]) -> dict[str, list[str]]:
    """{path: its errors}, each once, though several platforms have it; SystemExit when pyright does not run."""
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "--pythonplatform"]
    running = [
        subprocess.Popen([*command, platform, *paths], cwd=REPOSITORY, stdout=subprocess.PIPE) for platform in platforms
    ]
    found = collections.defaultdict(dict)
    for process in running:
        output = process.communicate()[0].decode()
        if not output.startswith("{"):
            raise SystemExit(output or "pyright wrote nothing")
        for error in json.loads(output)["generalDiagnostics"]:
            if error["severity"] == "error":
                path = pathlib.Path(error["file"]).relative_to(REPOSITORY).as_posix()
                start = error["range"]["start"]
                message = error["message"].splitlines()[0]
                found[path][start["line"], start["character"], message] = f"{path}:{start['line'] + 1}: {message}"
    return {path: list(lines.values()) for path, lines in found.items()}


def main(arguments: list[str]) -> int:
    """Check what differs from main, or everything with --all; returns the exit code."""
    everything = arguments == ["--all"]
    paths = sorted(checked()) if everything else changed()
    found = errors([] if everything else paths, PLATFORMS if everything else PLATFORMS[:1]) if paths else {}
    above = {path: lines for path, lines in found.items() if len(lines) > ALLOWED.get(path, 0)}
    for path, lines in above.items():
        print(*lines, f"{path}: {len(lines)} errors, expected at most {ALLOWED.get(path, 0)}", sep="\n")
    for path, allowed in ALLOWED.items():
        exists = (REPOSITORY / path).exists()
        if (path in paths or not exists) and len(found.get(path, [])) < allowed:
            print(f"lower the count of {path} in .ci/check_types.py to {len(found.get(path, []))}")
    print(f"pyright: {sum(map(len, found.values()))} errors in {len(paths)} modules")
    return bool(above)


def _output(*command: str) -> str:
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True, text=True, encoding="utf-8").stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
