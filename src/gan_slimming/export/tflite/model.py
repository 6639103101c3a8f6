"""A .tflite model under construction: its tensors, constants and operators."""

# pyright: reportMissingImports=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gan_slimming.runtime.started import KEY

VERSION, IDENTIFIER = 3, b"TFL3"
"""Of the format."""
SIGNATURE = "serving_default"
"""Name of the only signature, by which apps call the model."""
_DTYPES = {"float32": "FLOAT32", "int32": "INT32", "int64": "INT64", "int8": "INT8"}
_VERSIONS = {"CONV_2D": 6, "TRANSPOSE_CONV": 3, "FULLY_CONNECTED": 12, "DEPTHWISE_CONV_2D": 3,
             "DEQUANTIZE": 5, "RESIZE_BILINEAR": 3}  # fmt: skip
"""Operator -> its version, where it is not 1."""
ALIGNMENT = 16
"""Of constants, in bytes."""
_OLD = 127
"""Greatest operator code that old readers know."""


class Model:
    """A writer of one .tflite model. Tensors are known by their numbers."""

    def __init__(self) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._schema: Any = schema
        self._tensors: list[Any] = []
        self._buffers: list[Any] = [schema.BufferT()]
        self._operators: list[Any] = []
        self._codes: list[str] = []
        self._known: dict[tuple[Any, ...], int] = {}
        self.layer = ""
        self.layers: list[str] = []
        """Path in the generator of each operator."""

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Return a tensor's shape, as it is in the file."""
        return tuple(self._tensors[tensor].shape)

    def made_by(self, tensor: int) -> str:
        """Return the name of the operator that makes a tensor; '' where none does."""
        makers = (o for o in reversed(self._operators) if tensor in o.outputs)
        return next((self._codes[o.opcodeIndex] for o in makers), "")

    def tensor(
        self,
        shape: Sequence[int],
        dtype: str = "float32",
        name: str = "",
        grid: tuple[Any, Any, int] | None = None,
    ) -> int:
        """Add a tensor.

        Args:
            grid: of int8: scales, zero points and the axis of the scales.
        """
        tensor = self._schema.TensorT()
        tensor.shape = [int(side) for side in shape]
        tensor.type = getattr(self._schema.TensorType, _DTYPES[dtype])
        tensor.name, tensor.buffer = name, 0
        if grid is not None:
            scales, zeros, axis = grid
            tensor.quantization = self._schema.QuantizationParametersT()
            tensor.quantization.scale = np.atleast_1d(np.asarray(scales, np.float32))
            tensor.quantization.zeroPoint = np.atleast_1d(np.asarray(zeros, np.int64))
            tensor.quantization.quantizedDimension = axis
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def constant(self, value: Any, scales: np.ndarray | None = None, axis: int = 0) -> int:
        """Add a constant; equal ones are stored once.

        Args:
            value: an array, or whole numbers as int32.
            scales: of int8 codes, one for each place along `axis`.
        """
        array = np.asarray(value)
        array = array.astype(np.int32) if isinstance(value, list | tuple) else array
        data = np.ascontiguousarray(array).tobytes()
        grid = None if scales is None else (scales, np.zeros(len(scales)), axis)
        marks = b"" if scales is None else scales.tobytes()
        key = (array.dtype.name, array.shape, data, marks, axis)
        if key not in self._known:
            tensor = self._known[key] = self.tensor(array.shape, array.dtype.name, grid=grid)
            self._buffers.append(_aligned(self._schema, data))
            self._tensors[tensor].buffer = len(self._buffers) - 1
        return self._known[key]

    def emit(
        self,
        operator: str,
        inputs: Sequence[int],
        shape: Sequence[int],
        options: str = "",
        dtype: str = "float32",
        grid: tuple[Any, Any, int] | None = None,
        **values: Any,
    ) -> int:
        """Add an operator with one output, and return that.

        Args:
            options: name of the schema's table of options, whose fields are `values`.
        """
        output = self.tensor(shape, dtype, grid=grid)
        made = self._schema.OperatorT()
        if operator not in self._codes:
            self._codes.append(operator)
        made.opcodeIndex = self._codes.index(operator)
        made.inputs, made.outputs = list(inputs), [output]
        if options:
            made.builtinOptionsType = getattr(self._schema.BuiltinOptions, options)
            made.builtinOptions = getattr(self._schema, f"{options}T")()
            for field, value in values.items():
                setattr(made.builtinOptions, field, value)
        self._operators.append(made)
        self.layers.append(self.layer)
        return output

    def content(self, inputs: Mapping[str, int], outputs: Sequence[int], metadata: str) -> bytes:
        """Return the file: what the outputs need, and nothing else."""
        import flatbuffers

        schema = self._schema
        numbers = self._drop_unneeded({*inputs.values(), *outputs})
        inputs = {name: numbers[old] for name, old in inputs.items()}
        outputs = [numbers[old] for old in outputs]
        graph = schema.SubGraphT()
        graph.tensors, graph.operators = self._tensors, self._operators
        graph.inputs, graph.outputs = list(inputs.values()), list(outputs)
        model = schema.ModelT()
        model.version, model.subgraphs, model.buffers = VERSION, [graph], self._buffers
        model.operatorCodes = [self._code(name) for name in self._codes]
        model.signatureDefs = [self._signature(inputs, outputs)]
        if metadata:
            entry = schema.MetadataT()
            model.buffers.append(_aligned(schema, metadata.encode()))
            entry.name, entry.buffer = KEY, len(model.buffers) - 1
            model.metadata = [entry]
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
        return bytes(builder.Output())

    def _code(self, name: str) -> Any:
        code = self._schema.OperatorCodeT()
        code.builtinCode = getattr(self._schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, _OLD)
        code.version = _VERSIONS.get(name, 1)
        return code

    def _signature(self, inputs: Mapping[str, int], outputs: Sequence[int]) -> Any:
        names = ["output", *(f"output_{n}" for n in range(1, len(outputs)))]
        signature = self._schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = SIGNATURE, 0
        signature.inputs = [self._entry(*pair) for pair in inputs.items()]
        pairs = zip(names, outputs, strict=True)
        signature.outputs = [self._entry(*pair) for pair in pairs]
        return signature

    def _entry(self, name: str, tensor: int) -> Any:
        entry = self._schema.TensorMapT()
        entry.name, entry.tensorIndex = name, tensor
        self._tensors[tensor].name = name
        return entry

    def _drop_unneeded(self, wanted: set[int]) -> dict[int, int]:
        """Remove operators, tensors and constants that no wanted tensor depends on.

        Returns:
            Old number of a tensor -> its new one.
        """
        kept, layers, wanted = [], [], set(wanted)
        for operator, layer in zip(reversed(self._operators), reversed(self.layers), strict=True):
            if operator.outputs[0] in wanted:
                kept.append(operator)
                layers.append(layer)
                wanted.update(operator.inputs)
        codes, self.layers = self._codes, layers[::-1]
        self._operators = kept[::-1]
        self._codes = list(dict.fromkeys(codes[o.opcodeIndex] for o in self._operators))
        numbers = {old: new for new, old in enumerate(sorted(wanted))}
        for operator in self._operators:
            operator.opcodeIndex = self._codes.index(codes[operator.opcodeIndex])
            operator.inputs = [numbers[old] for old in operator.inputs]
            operator.outputs = [numbers[old] for old in operator.outputs]
        self._tensors = [self._tensors[old] for old in numbers]
        buffers = [self._buffers[0]]
        for tensor in self._tensors:
            if tensor.buffer:
                buffers.append(self._buffers[tensor.buffer])
                tensor.buffer = len(buffers) - 1
        self._buffers = buffers
        return numbers


def _aligned(schema: Any, data: bytes) -> Any:
    """Return a buffer whose data begin at a multiple of ALIGNMENT, as the format asks for.

    flatbuffers' own writer aligns bytes to bytes.
    """

    class Aligned(schema.BufferT):
        """A buffer that packs itself."""

        def Pack(self, builder: Any) -> int:
            """Write the buffer; return its place."""
            builder.StartVector(1, len(data), ALIGNMENT)
            builder.head = builder.Head() - len(data)
            builder.Bytes[builder.Head() : builder.Head() + len(data)] = data
            vector = builder.EndVector()
            schema.BufferStart(builder)
            schema.BufferAddData(builder, vector)
            return schema.BufferEnd(builder)

    return Aligned()
