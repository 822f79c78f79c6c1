"""A bundle: one folder with a trained network in formats that outlive the framework, and all that is needed to use it.

`bundle.json`, described by `bundle.schema.json` beside this module, names the labels in order, the input, the crop
policy, the calibration, where the weights come from and the checksum of every file. Reading needs neither JAX nor
TensorFlow.
"""

import dataclasses
import functools
import json
import os
import pathlib
import re
import reprlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fer_jax import files
from fer_jax.bundle.formats import FILES
from fer_jax.errors import UserError
from fer_jax.preprocess import scaling

FORMAT_VERSION = 1
MANIFEST = "bundle.json"
# Escape sequences of terminals, and characters that turn the order of a line around.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_LARGEST = 1e300  # infinity is not a number of JSON, but Python reads it
_TYPES = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "null": type(None)}


@dataclasses.dataclass(frozen=True)
class Input:
    """Input of the graphs: uint8 (batch, size, size, channels) raw pixels in 0..255, gray or RGB.

    Attributes:
      size: height and width in pixels.
      channels: 1 (gray) or 3 (RGB).
      scaling: name in `fer_jax.preprocess.scaling.SCALINGS`; the graphs apply it themselves.
      resize: "area" or "linear", the filter that brings a crop to `size`.
      seen: side in pixels of the central square that the graphs cut out themselves, over which class maps lie; None
        where they see all.
    """

    size: int
    channels: int
    scaling: str
    resize: str
    seen: int | None = None


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A bundle that was read and found whole.

    Attributes:
      path: the folder.
      name: for people.
      labels: names of the classes in the order of the logits.
      input: what the graphs take.
      crop: {"border": "replicate", "detectors": {name: {"enlarge": float, "offset": [x, y]}}}, see the schema.
      temperature: probabilities are softmax(logits / temperature).
      uncertain_below: a largest probability below it is flagged uncertain; 0 flags nothing.
      model: {"name", "args", "parameters"} of the network, and "stored" where model.onnx has its weights in fewer bits.
      provenance: {"licence", "training_data", "result", "config", "versions", "created"}, and where they are known
        "class_counts", "formats" and "prior", the shares of the classes by which the bundle is served.
      files: absolute path of each file by its role, a key of `formats.FILES`.
    """

    path: pathlib.Path
    name: str
    labels: tuple[str, ...]
    input: Input
    crop: Mapping[str, Any]
    temperature: float
    uncertain_below: float
    model: Mapping[str, Any]
    provenance: Mapping[str, Any]
    files: Mapping[str, pathlib.Path]

    def file(self, role: str) -> pathlib.Path:
        """Path of the file of `role`; UserError names the roles there are when it is absent."""
        if role not in self.files:
            raise UserError(f"{self.path}: has no {role} file, only {', '.join(self.files)}: export it again with it")
        return self.files[role]


def is_bundle(path: str | os.PathLike) -> bool:
    """Return whether `path` is a folder with a bundle.json, whole or not."""
    return (pathlib.Path(path) / MANIFEST).is_file()


def write(
    folder: str | os.PathLike,
    *,
    name: str,
    labels: Sequence[str],
    input: Input,
    crop: Mapping[str, Any],
    temperature: float,
    uncertain_below: float,
    model: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> Bundle:
    """Write bundle.json for the files of `formats.FILES` that lie in `folder`, and read the bundle back.

    Give a folder made by `fer_jax.files.atomic_path`, so that the bundle appears whole. The arguments are the
    attributes of `Bundle`; what the schema refuses is a defect of the caller and raises `ValueError`.
    """
    folder = pathlib.Path(folder)
    factor, offset = scaling.factor_and_offset(input.scaling)
    manifest = {
        "format_version": FORMAT_VERSION,
        "name": name,
        "labels": list(labels),
        "input": {
            "size": input.size,
            "channels": input.channels,
            "dtype": "uint8",
            "layout": "NHWC",
            "scaling": {"name": input.scaling, "factor": factor, "offset": offset},
            "resize": input.resize,
        }
        | ({"seen": input.seen} if input.seen else {}),
        "crop": crop,
        "temperature": temperature,
        "uncertain_below": uncertain_below,
        "model": model,
        "provenance": provenance,
        "files": {
            file: {"sha256": files.sha256(folder / file), "bytes": (folder / file).stat().st_size, "role": role}
            for role, file in FILES.items()
            if (folder / file).is_file()
        },
    }
    manifest = json.loads(json.dumps(manifest))  # tuples become lists, which is what the schema knows as arrays
    if problem := violation(manifest, _schema()):
        raise ValueError(problem)
    files.write_json(folder / MANIFEST, manifest)
    return read(folder)


def refuse_other_content(out: str | os.PathLike) -> None:
    """UserError when a bundle at `out` would replace anything but a bundle or an empty folder."""
    out = pathlib.Path(out)
    if not out.exists():
        return
    if not out.is_dir():
        raise UserError(f"{out} is a file: give --out a folder that is new or holds a bundle")
    other = sorted({entry.name for entry in out.iterdir()} - {MANIFEST, *FILES.values()})
    if other:
        raise UserError(
            f"{out} holds {other[0]}, which is no part of a bundle and would be lost: give --out a folder "
            "that is new or holds a bundle alone"
        )


def recalibrated(
    bundle: Bundle, out: str | os.PathLike, temperature: float, uncertain_below: float, note: str, prior: str = ""
) -> Bundle:
    """Write a copy of a bundle with another calibration, whole or not at all, and read it.

    Args:
      bundle: the original.
      out: the folder of the copy: new, or a bundle to be replaced.
      temperature, uncertain_below: see `Bundle`.
      note: a line for people, what they were chosen on; it goes to the end of the card.
      prior: by which the copy is served where no other is asked for, see `fer_jax.bundle.prior.parse`; "" keeps the
        original's.

    Raises:
      UserError: `out` holds something else.
    """
    refuse_other_content(out)
    with files.atomic_path(out) as tmp:
        tmp.mkdir()
        for path in bundle.files.values():  # not the folder, in which anything may lie, links among it
            shutil.copyfile(path, tmp / path.name)
        if (card := tmp / FILES["card"]).is_file():
            card.write_text(f"{card.read_text(encoding='utf-8').rstrip()}\n\n{note}\n", encoding="utf-8")
        write(
            tmp,
            **{key: getattr(bundle, key) for key in ("name", "labels", "input", "crop", "model")},
            provenance={**bundle.provenance, **({"prior": prior} if prior else {})},
            temperature=temperature,
            uncertain_below=uncertain_below,
        )
    return read(out)


def read(path: str | os.PathLike) -> Bundle:
    """The bundle in the folder `path`, after checking its format, its schema and the checksum of every file.

    Raises:
      UserError: no bundle there, a newer format, a bundle.json against the schema, a missing or altered file.
    """
    path = files.expand(path).absolute()
    if not is_bundle(path):
        raise UserError(f"no bundle at {path}: expected a folder with {MANIFEST}, as fer-jax export writes it")
    manifest = files.read_json(path / MANIFEST, "a bundle's manifest", "copy the bundle again or export it again")
    version = manifest.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise UserError(
            f"{path}: bundle of format {version}, this fer_jax reads up to {FORMAT_VERSION}: install a newer fer_jax"
        )
    if problem := violation(manifest, _schema()):
        raise UserError(f"{path / MANIFEST}: {problem}: copy the bundle again or export it again")
    for name, entry in manifest["files"].items():
        _check_file(path / name, entry)
    spec = manifest["input"]
    return Bundle(
        path=path,
        labels=tuple(manifest["labels"]),
        input=Input(spec["size"], spec["channels"], spec["scaling"]["name"], spec["resize"], spec.get("seen")),
        files={entry["role"]: path / name for name, entry in manifest["files"].items()},
        **{key: manifest[key] for key in ("name", "crop", "temperature", "uncertain_below", "model", "provenance")},
    )


def _check_file(path: pathlib.Path, entry: Mapping[str, Any]) -> None:
    remedy = "copy the bundle again or export it again"
    if path.is_symlink():
        raise UserError(f"{path}: a link to {path.readlink()}, which is not followed: copy the file itself")
    if not path.is_file():
        raise UserError(f"{path}: missing, bundle.json lists it: {remedy}")
    if (size := path.stat().st_size) != entry["bytes"]:
        raise UserError(f"{path}: altered, {size:,} bytes where bundle.json says {entry['bytes']:,}: {remedy}")
    if files.sha256(path) != entry["sha256"]:
        raise UserError(f"{path}: altered, its sha256 is not the one in bundle.json: {remedy}")


@functools.cache
def _schema() -> dict[str, Any]:
    """Schema of bundle.json, its roles those of the table of formats."""
    found = json.loads(pathlib.Path(__file__).with_name("bundle.schema.json").read_text(encoding="utf-8"))
    found["properties"]["files"]["additionalProperties"]["properties"]["role"]["enum"] = list(FILES)
    return found


def violation(value: Any, schema: Mapping[str, Any], where: str = "") -> str | None:
    """The first violation of `schema` by a value of JSON, in one line of printable characters; None without one.

    `schema` is read without a library, which serving would need to install.

    Args:
      value: as `json.loads` gives it.
      schema: with the keywords that bundle.schema.json uses.
      where: the place of the value in the document.
    """
    for expected in _expected(value, schema):
        return f"{where or 'it'} is {reprlib.repr(value)}, expected {expected}"
    if isinstance(value, list) and "items" in schema:
        return _first(violation(item, schema["items"], f"{where}[{i}]") for i, item in enumerate(value))
    if isinstance(value, dict):
        inside, others = schema.get("properties", {}), schema.get("additionalProperties", {})
        return _first(
            violation(item, inside.get(name, others), f"{where}.{name}".removeprefix("."))
            for name, item in value.items()
        )
    return None


def _first(violations: Iterator[str | None]) -> str | None:
    return next(filter(None, violations), None)


def _expected(value: Any, schema: Mapping[str, Any]) -> Iterator[str]:
    """Describe what was expected of a value itself, whatever is inside it."""
    types = [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type", ())
    if types and (isinstance(value, bool) or not any(isinstance(value, _TYPES[name]) for name in types)):
        yield f"{' or '.join(types)}"
    if "enum" in schema and (value not in schema["enum"] or isinstance(value, bool)):  # True == 1
        yield f"one of {schema['enum']}"
    if isinstance(value, int | float):
        least, most = schema.get("minimum", -_LARGEST), schema.get("maximum", _LARGEST)
        if not least <= value <= most:
            yield f"a number in {least:g}..{most:g}"
    elif isinstance(value, str):
        if _CONTROL.search(value) or not re.search(schema.get("pattern", ""), value):
            yield schema.get("title", "printable characters")
    elif isinstance(value, list):
        yield from _of_list(value, schema)
    elif isinstance(value, dict):
        yield from _of_object(value, schema)


def _of_list(value: list[Any], schema: Mapping[str, Any]) -> Iterator[str]:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        yield f"{schema.get('minItems', '')}..{schema.get('maxItems', '')} entries"
    if schema.get("uniqueItems") and len(set(map(repr, value))) < len(value):
        yield "different entries"


def _of_object(value: dict[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    if len(value) < schema.get("minProperties", 0):
        yield "entries in it"
    yield from (f"a {name!r} in it" for name in schema.get("required", ()) if name not in value)
    pattern, closed = schema.get("propertyNames", {}).get("pattern", ""), schema.get("additionalProperties") is False
    for name in value:
        if closed and name not in schema["properties"]:
            yield f"no {reprlib.repr(name)} in it"
        if _CONTROL.search(name) or not re.search(pattern, name):
            yield f"another name than {reprlib.repr(name)}"
