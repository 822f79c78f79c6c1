"""Smaller graphs from the float32 one: half precision, and 8-bit integers calibrated on faces."""

import itertools
import os
import pathlib
from collections.abc import Iterator
from typing import cast

import numpy as np
import onnx
from onnxruntime import quantization
from onnxruntime.quantization import quant_utils

from fer_jax.export import onnx as onnx_export
from fer_jax.export.graph import Source

STORED = ("float16", "int8")  # how `compact` stores weights
MIN_STORED = 128  # numbers of a constant that is worth a conversion of its own
CALIBRATION_BATCH = 50  # images; bounds the memory, not the result


def float16(path: str | os.PathLike, source: Source) -> None:
    """Write the ONNX graph of `source` with weights and activations in half precision.

    Inputs and outputs keep their types. The pixels are scaled in float32 before they are rounded: the scaling's factor
    in half precision alone would shift a white pixel by 2e-4.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    model = onnx.load(source.file("onnx"))
    metadata = onnx_export.metadata(model)
    before_first_convolution = itertools.takewhile(lambda node: node.op_type != "Conv", model.graph.node)
    model = convert_float_to_float16(
        model, keep_io_types=True, node_block_list=[node.name for node in before_first_convolution]
    )
    OnnxModel(model).topological_sort()  # the converter appends its casts at the end
    onnx_export.write(path, model, metadata)


def int8(path: str | os.PathLike, source: Source) -> None:
    """Write the ONNX graph of `source` in 8-bit integers, as pairs of QuantizeLinear and DequantizeLinear.

    Weights have one scale an output channel, activations one scale a tensor, fitted to the range seen over its training
    faces. Weights use 7 of their 8 bits: processors with AVX2 and no VNNI add pairs of products in 16 bits, which
    overflow with 8, so that the same bundle would score worse on an older laptop than where it was measured.
    """
    model = onnx.load(source.file("onnx"))
    metadata = onnx_export.metadata(model)
    model = onnx.shape_inference.infer_shapes(model)
    quant_utils.add_pre_process_metadata(model)  # already folded: without the mark it warns that it should be
    quantization.quantize_static(
        model,
        pathlib.Path(path),
        _Faces(cast(np.ndarray, source.faces)),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        reduce_range=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        # biases as integers would need a scale and a zero point each: a tenth of mini-Xception's file, the same results
        extra_options={"QuantizeBias": False},
    )
    onnx_export.write(path, onnx.load(path), metadata)


def compact(path: str | os.PathLike, stored: str) -> None:
    """Store the weights of the ONNX graph at `path` in fewer bits; it computes in float32 all the same.

    ONNX Runtime converts them once, when it loads the file, so that a face takes the time that it took before.
    Activations are not rounded, which leaves far more of the accuracy than `int8` and needs no faces.

    Args:
      stored: one of `STORED`. "int8" has one scale an output channel, of its largest weight (255 steps, all 8 bits: no
        integers are added up); what is no convolution or product with a matrix is stored in half precision.
    """
    model = onnx.load(path)
    metadata = onnx_export.metadata(model)
    axes = _output_axes(model.graph) if stored == "int8" else {}
    nodes, kept = [], []
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < MIN_STORED or np.abs(values).max() > np.finfo(np.float16).max:
            kept.append(tensor)
        elif tensor.name in axes:
            others = tuple(axis for axis in range(values.ndim) if axis != axes[tensor.name] % values.ndim)
            scale = np.maximum(np.abs(values).max(axis=others, keepdims=True) / 127, np.finfo(np.float32).tiny)
            steps = np.round(values / scale).astype(np.int8)
            small, scale_name, wide = (f"{tensor.name}/{part}" for part in ("steps", "scale", "wide"))
            kept += [onnx.numpy_helper.from_array(steps, small), onnx.numpy_helper.from_array(scale, scale_name)]
            nodes.append(onnx.helper.make_node("Cast", [small], [wide], to=onnx.TensorProto.FLOAT))
            nodes.append(onnx.helper.make_node("Mul", [wide, scale_name], [tensor.name]))
        else:
            small = f"{tensor.name}/half"
            kept.append(onnx.numpy_helper.from_array(values.astype(np.float16), small))
            nodes.append(onnx.helper.make_node("Cast", [small], [tensor.name], to=onnx.TensorProto.FLOAT))
    computing = list(model.graph.node)
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend([*nodes, *computing])
    onnx_export.write(path, model, metadata)


def _output_axes(graph: onnx.GraphProto) -> dict[str, int]:
    """The axis of the output channels of each constant that is a kernel or the right factor of a product."""
    axes = {}
    for node in graph.node:
        if node.op_type == "Conv":
            axes[node.input[1]] = 0
        elif node.op_type == "MatMul":
            axes[node.input[1]] = -1
        elif node.op_type == "Gemm":
            transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
            axes[node.input[1]] = 0 if transposed else 1
    return axes


class _Faces(quantization.CalibrationDataReader):
    def __init__(self, faces: np.ndarray):
        self._batches: Iterator[np.ndarray] = (
            faces[start : start + CALIBRATION_BATCH] for start in range(0, len(faces), CALIBRATION_BATCH)
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"images": batch}
