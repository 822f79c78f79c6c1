"""The graph for everything else: ONNX with any batch, BatchNorm folded into the convolutions, standard operators."""

import os
import pathlib
import tempfile
from collections.abc import Iterable, Mapping

import jax
import onnx
import onnxruntime

from fer_jax.export import graph
from fer_jax.export.graph import Source

OPSET = 17  # of 2022: read by ONNX Runtime from 1.12 on, and by what is compared with it in browsers and on GPUs


def save(path: str | os.PathLike, source: Source) -> None:
    """Write the graph of `source`: input "images", outputs "logits" and, if it has them, "class_maps"."""
    from jax2onnx import to_onnx  # seconds

    images = graph.symbolic_images(source.input)
    names = [name for name in graph.OUTPUTS if name in jax.eval_shape(source.infer, images)]

    def outputs_in_order(images: jax.Array) -> tuple[jax.Array, ...]:
        outputs = source.infer(images)
        return tuple(outputs[name] for name in names)

    model = to_onnx(
        outputs_in_order, [images], model_name="fer_jax", opset=OPSET, input_names=["images"], output_names=names
    )
    write(path, _fold(model), source.metadata)


def write(path: str | os.PathLike, model: onnx.ModelProto, metadata: Mapping[str, str]) -> None:
    """Write `model` after trimming it.

    Equal constants become one, names short, and it says the domains it uses and the oldest file version that holds it.
    """
    _share_constants(model.graph)
    _shorten_names(model.graph)
    used = {node.domain for node in model.graph.node}
    imports = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(imports)
    model.ir_version = onnx.helper.find_min_ir_version_for(imports)
    model.producer_name, model.producer_version = "fer_jax", ""
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def metadata(model: onnx.ModelProto) -> dict[str, str]:
    """Read what `write` stored in the file."""
    return {entry.key: entry.value for entry in model.metadata_props}


def _fold(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` after ONNX Runtime's rewrites that stay within standard operators.

    They fold BatchNorm and biases into the convolutions before them, compute what is constant and cancel the
    transpositions between channels-last and channels-first.
    """
    del model.graph.value_info[:]  # jax2onnx leaves shapes from before its own rewrites there, which mislead
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(pathlib.Path(folder) / "folded.onnx")
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(options.optimized_model_filepath)


def _share_constants(graph: onnx.GraphProto) -> None:
    """Keep one of each set of equal constants."""
    first: dict[bytes, str] = {}
    kept: dict[str, str] = {}
    for initializer in graph.initializer:
        nameless = onnx.TensorProto()
        nameless.CopyFrom(initializer)
        nameless.ClearField("name")
        kept[initializer.name] = first.setdefault(nameless.SerializeToString(deterministic=True), initializer.name)
    needed = [initializer for initializer in graph.initializer if kept[initializer.name] == initializer.name]
    del graph.initializer[:]
    graph.initializer.extend(needed)
    for node in graph.node:
        node.input[:] = [kept.get(name, name) for name in node.input]


def _shorten_names(graph: onnx.GraphProto) -> None:
    """Number the inner tensors: the names that converters build up are a third of a small network's file."""
    kept = {value.name for value in (*graph.input, *graph.output)} | {""}
    short: dict[str, str] = {}

    def rename(names: Iterable[str]) -> list[str]:
        return [name if name in kept else short.setdefault(name, f"t{len(short)}") for name in names]

    for initializer in graph.initializer:
        (initializer.name,) = rename([initializer.name])
    for index, node in enumerate(graph.node):
        node.name, node.doc_string = f"n{index}", ""
        node.input[:], node.output[:] = rename(node.input), rename(node.output)
    del graph.value_info[:]
