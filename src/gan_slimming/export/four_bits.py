"""Weights of at most 4 bits in an ONNX file: two to a byte, as INT4.

A Cast in front of the weight makes bytes of it while the file is loaded, so that convolutions run
in int8 as before, bit for bit. DequantizeLinear of INT4 itself would make ONNX Runtime compute them
in float: it does not multiply in 4 bits.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from gan_slimming.export.trace.integers import quantized_layers

OPSET = 21
"""The least ONNX opset with INT4."""
BITS = 4


def fits_four_bits(module: nn.Module) -> bool:
    """Return whether any quantised layer of a generator has weights of at most 4 bits."""
    quantizers = (layer.weight_quantizer for layer in quantized_layers(module).values())
    return any(quantizer is not None and quantizer.bits <= BITS for quantizer in quantizers)


def store_in_four_bits(model: onnx.ModelProto) -> None:
    """Store int8 weights whose codes are -8 to 7 as INT4, in place."""
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.INT8 or len(tensor.dims) < 2:
            continue
        codes = numpy_helper.to_array(tensor)
        if not codes.size or codes.min() < -8 or codes.max() > 7:
            continue
        name = tensor.name
        tensor.CopyFrom(_packed(f"{name}:int4", codes))
        casts.append(
            helper.make_node("Cast", [tensor.name], [name], f"{name}:cast", to=TensorProto.INT8)
        )
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _packed(name: str, codes: np.ndarray) -> onnx.TensorProto:
    """Return an INT4 tensor; the first of two codes is the lower half of their byte."""
    flat = (codes.astype(np.int16).ravel() & 15).astype(np.uint8)
    flat = np.append(flat, np.zeros(len(flat) % 2, np.uint8))
    packed = flat[::2] | (flat[1::2] << 4)
    return helper.make_tensor(name, TensorProto.INT4, codes.shape, packed.tobytes(), raw=True)
