"""Smaller graphs from the float32 one: half precision, and 8-bit integers calibrated on faces."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator

import numpy as np
import onnx
from onnxruntime import quantization
from onnxruntime.quantization import quant_utils

from fer_jax.export import onnx as onnx_export

CALIBRATION_BATCH = 50  # images; bounds the memory, not the result


def float16(source: str | os.PathLike, path: str | os.PathLike) -> None:
    """Write the graph at `source` with weights and activations in half precision.

    Inputs and outputs keep their types. The pixels are scaled in float32 before they are rounded: the scaling's factor
    in half precision alone would shift a white pixel by 2e-4.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    model = onnx.load(source)
    metadata = onnx_export.metadata(model)
    before_first_convolution = itertools.takewhile(lambda node: node.op_type != "Conv", model.graph.node)
    model = convert_float_to_float16(
        model, keep_io_types=True, node_block_list=[node.name for node in before_first_convolution]
    )
    OnnxModel(model).topological_sort()  # the converter appends its casts at the end
    onnx_export.write(path, model, metadata)


def int8(source: str | os.PathLike, path: str | os.PathLike, faces: np.ndarray) -> None:
    """Write the graph at `source` in 8-bit integers, as pairs of QuantizeLinear and DequantizeLinear.

    Weights have one scale an output channel, activations one scale a tensor, fitted to the range seen over `faces`.
    Weights use 7 of their 8 bits: processors with AVX2 and no VNNI add pairs of products in 16 bits, which overflow
    with 8, so that the same bundle would score worse on an older laptop than where it was measured.

    Args:
      faces: uint8 (N, size, size, channels), of the training data: what is scored later must not set the ranges.
    """
    model = onnx.load(source)
    metadata = onnx_export.metadata(model)
    model = onnx.shape_inference.infer_shapes(model)
    quant_utils.add_pre_process_metadata(model)  # already folded: without the mark it warns that it should be
    quantization.quantize_static(
        model,
        path,
        _Faces(faces),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        reduce_range=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        # biases as integers would need a scale and a zero point each: a tenth of mini-Xception's file, the same results
        extra_options={"QuantizeBias": False},
    )
    onnx_export.write(path, onnx.load(path), metadata)


def composition(path: str | os.PathLike) -> tuple[int, int]:
    """Of an int8 file: how many of its bytes are 8-bit weights, and how many of its convolutions are depthwise."""
    graph = onnx.load(path).graph
    weight_bytes = sum(
        math.prod(tensor.dims)
        for tensor in graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) > 1
    )
    groups = [attribute.i for node in graph.node for attribute in node.attribute if attribute.name == "group"]
    return weight_bytes, sum(group > 1 for group in groups)


class _Faces(quantization.CalibrationDataReader):
    def __init__(self, faces: np.ndarray):
        self._batches: Iterator[np.ndarray] = (
            faces[start : start + CALIBRATION_BATCH] for start in range(0, len(faces), CALIBRATION_BATCH)
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"images": batch}
