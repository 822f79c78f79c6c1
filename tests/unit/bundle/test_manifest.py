"""A manifest is written and read whole, or refused with the reason."""

import copy
import json
import pathlib
import subprocess
import sys

import jsonschema
import pytest

from fer_jax.bundle import manifest
from fer_jax.errors import UserError


@pytest.fixture
def folder(tmp_path, manifest_arguments):
    (tmp_path / "model.onnx").write_bytes(b"graph")
    (tmp_path / "weights.safetensors").write_bytes(b"weights")
    manifest.write(tmp_path, **manifest_arguments)
    return tmp_path


def edit(folder, change):
    manifest = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    change(manifest)
    (folder / "bundle.json").write_text(json.dumps(manifest), encoding="utf-8")


def test_what_was_written_is_read(folder, manifest_arguments):
    read = manifest.read(folder)
    assert read.path == folder
    for key in ("name", "labels", "input", "temperature", "uncertain_below", "model", "provenance"):
        assert getattr(read, key) == manifest_arguments[key]
    assert read.crop["detectors"]["haar"] == {"enlarge": 1.1, "offset": [0.0, 0.02]}
    assert read.files == {"onnx": folder / "model.onnx", "weights": folder / "weights.safetensors"}
    assert read.file("onnx").read_bytes() == b"graph"
    with pytest.raises(UserError, match="has no int8 file, only onnx, weights"):
        read.file("int8")


def test_the_manifest_spells_out_the_scaling_and_keeps_the_square_that_the_graphs_cut_out(folder, manifest_arguments):
    spec = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))["input"]
    assert spec.pop("scaling") == {"name": "signed", "factor": 1 / 127.5, "offset": -1.0}
    assert spec == {"size": 48, "channels": 1, "dtype": "uint8", "layout": "NHWC", "resize": "area"}
    seen = manifest.Input(48, 1, "signed", "area", seen=40)
    assert manifest.write(folder, **manifest_arguments | {"input": seen}).input == seen


def test_no_bundle(tmp_path):
    with pytest.raises(UserError, match=r"no bundle at .*nothing: expected a folder with bundle.json"):
        manifest.read(tmp_path / "nothing")
    assert not manifest.is_bundle(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format_version=2), "bundle of format 2, this fer_jax reads up to 1: install a newer"),
        (lambda m: m.pop("labels"), "it is .*, expected a 'labels' in it"),
        (lambda m: m.update(temperature=0), "temperature is 0, expected a number in 0.01..100"),
        (lambda m: m.update(temperature=float("nan")), "temperature is nan, expected"),
        (lambda m: m.update(temperature=1e308), r"temperature is 1e\+308, expected"),
        (lambda m: m.update(temperature=10**4000), r"temperature is 10{12,}\.\.\.0+, expected"),
        (lambda m: m["crop"]["detectors"]["haar"].update(enlarge=30), "haar.enlarge is 30, expected"),
        (lambda m: m["crop"]["detectors"]["haar"].update(offset=[0, 1e9]), r"haar.offset\[1\] is 1000000000.0"),
        (lambda m: m["provenance"].update(class_counts={"happy": float("inf")}), "class_counts.happy is inf"),
        (lambda m: m["provenance"]["config"].update(data="x"), "provenance.config.data is 'x', expected object"),
        (lambda m: m["provenance"].update(licence="\x1b[2J"), r"licence is '\\x1b\[2J', expected printable characters"),
        (lambda m: m.update(labels=["happy", "\x00sad"]), r"labels\[1\] is '\\x00sad', expected one line of printable"),
        (lambda m: m.update(labels=["happy", "sad\u202e"]), r"labels\[1\] is 'sad\\u202e', expected one line of print"),
        (lambda m: m["input"].update(size=10**7), r"input.size is 10000000, expected a number in 1..1024"),
        (lambda m: m["input"].update(channels=True), r"input.channels is True, expected integer"),
        (lambda m: m.update(labels=["happy", "happy"]), "labels is .* expected different entries"),
        (lambda m: m["input"].update(dtype="float32"), r"input.dtype is 'float32', expected one of \['uint8'\]"),
        (lambda m: m["files"]["model.onnx"].update(role="trained"), r"role is 'trained', expected one of \['onnx', "),
        (lambda m: m["files"].update({"../a.onnx": m["files"].pop("model.onnx")}), "another name than '../a.onnx'"),
    ],
)
def test_a_manifest_that_cannot_be_trusted_is_refused(folder, change, message):
    edit(folder, change)
    with pytest.raises(UserError, match=message) as caught:
        manifest.read(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_truncated_manifest_is_refused(folder, text):
    (folder / "bundle.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"bundle.json: .*: copy the bundle again"):
        manifest.read(folder)


def test_missing_and_altered_files_are_refused(folder):
    graph = folder / "model.onnx"
    graph.write_bytes(b"grapH")
    with pytest.raises(UserError, match=r"model.onnx: altered, its sha256 is not"):
        manifest.read(folder)
    graph.write_bytes(b"graph, longer")
    with pytest.raises(UserError, match=r"model.onnx: altered, 13 bytes where bundle.json says 5"):
        manifest.read(folder)
    graph.unlink()
    with pytest.raises(UserError, match=r"model.onnx: missing"):
        manifest.read(folder)


def test_the_writer_holds_itself_to_the_schema(tmp_path, manifest_arguments):
    with pytest.raises(ValueError, match=r"files is \{\}, expected entries in it"):
        manifest.write(tmp_path, **manifest_arguments)  # no model file there
    assert not manifest.is_bundle(tmp_path)


def test_reading_needs_no_framework(folder):
    code = f"""import sys
from fer_jax.bundle import manifest
manifest.read({str(folder)!r})
assert not {{"jax", "flax", "tensorflow", "onnx"}} & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_copy_has_another_calibration_and_says_so_on_its_card(folder, tmp_path_factory):
    (folder / "README.md").write_text("# Tiny\n")
    (folder / "private").symlink_to("/etc/hostname")  # no part of the bundle
    arguments = {key: getattr(manifest.read(folder), key) for key in ("name", "labels", "input", "crop", "model")}
    provenance = manifest.read(folder).provenance | {"class_counts": {"happy": 3, "sad": 0.5}}
    original = manifest.write(folder, **arguments, provenance=provenance, temperature=1.3, uncertain_below=0.4)
    out = tmp_path_factory.mktemp("copies") / "copy"
    for _ in range(2):  # it replaces a bundle
        copy = manifest.recalibrated(original, out, 2.0, 0.6, "Calibrated again.")
    assert (copy.temperature, copy.uncertain_below) == (2.0, 0.6)
    assert copy.provenance == original.provenance
    assert copy.file("card").read_text() == "# Tiny\n\nCalibrated again.\n"
    assert copy.file("onnx").read_bytes() == b"graph"
    assert not (out / "private").exists()
    assert manifest.read(folder).temperature == 1.3
    copy = manifest.recalibrated(original, out, 2.0, 0.6, "Calibrated again.", prior="flat")
    assert copy.provenance == original.provenance | {"prior": "flat"}
    assert manifest.recalibrated(copy, out, 2.0, 0.6, "Calibrated again.").provenance["prior"] == "flat"
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds notes\.txt, which is no part of a bundle"):
        manifest.recalibrated(original, out, 2.0, 0.6, "")


BUNDLE = json.loads((pathlib.Path(manifest.__file__).parents[1] / "zoo/mini_xception/bundle.json").read_text())
VALUES = (None, True, 0, 1, 3, -1, 7.5, 1e12, "", "x", "a\nb", "../x", [], [0, 0], ["a", "a"], {}, {"a": 1}, "missing")

# 1e12 is an integer to JSON Schema, and none to code that counts with it.
_INTEGER = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
LIBRARY = jsonschema.validators.extend(jsonschema.Draft202012Validator, type_checker=_INTEGER)


def places(value, path=()):
    """Every place in a document."""
    yield path
    for key, inside in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from places(inside, (*path, key))


def changed(path, value):
    document = copy.deepcopy(BUNDLE)
    if not path:
        return value
    place = document
    for key in path[:-1]:
        place = place[key]
    if value == "missing":
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return document


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_changed_manifest_is_refused_where_jsonschema_refuses_it(value):
    ours = manifest._schema()
    for path in places(BUNDLE):
        if value == "missing" and not path:
            continue
        document = changed(path, value)
        found = manifest.violation(document, ours)
        assert (found is None) == LIBRARY(ours).is_valid(document), (path, found)
        assert found is None or "\n" not in found


def test_the_schema_itself_is_one_and_fits_the_bundles():
    jsonschema.Draft202012Validator.check_schema(manifest._schema())
    assert manifest.violation(BUNDLE, manifest._schema()) is None
