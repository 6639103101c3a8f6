"""A finished generator as an ML program for Core ML, with int8 weights, at one size.

Core ML runs on Apple's systems alone. What is checked anywhere is the saved program: its codes, and
the image that its operators give in torch (`mil.evaluate`).
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import contextlib
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gan_slimming.errors import UserError, one_line
from gan_slimming.export.content import ExportedContent
from gan_slimming.export.mil.evaluate import evaluate
from gan_slimming.export.mil.operators import write_node
from gan_slimming.export.mil.values import Values
from gan_slimming.export.one_size import OneSize, image_error, metadata_at
from gan_slimming.export.packages import pack
from gan_slimming.graph.nodes import value_of
from gan_slimming.runtime.started import KEY

HALF = 2**-11
"""Relative error of half precision, in which scales are stored."""


def convert_coreml(
    one: OneSize, provenance: Mapping[str, Any] | None, check: bool
) -> ExportedContent:
    """Return the .mlpackage of a generator as a zip archive, as `convert_at_one_size` does.

    Raises:
        UserError: an operator has no counterpart, or the saved program computes something else.
    """
    metadata = metadata_at(one, [], provenance)
    with _quiet(), tempfile.TemporaryDirectory(prefix="gan-slimming-") as folder:
        package = Path(folder) / "model.mlpackage"
        try:
            _save(one, metadata, package)
        except UserError:
            raise
        except Exception as error:  # of many types, from coremltools
            raise UserError(
                f"coremltools cannot write the generator ({one_line(error)[:200]}); take --format "
                "onnx, and please report the generator"
            ) from error
        parity = {"coreml": _checked(one, _loaded(package))} if check else {}
        content = pack(package)
    return ExportedContent(content, metadata, [], parity, {})


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what coremltools says about torch's version, its progress and its own insides."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _save(one: OneSize, metadata: Mapping[str, Any], package: Path) -> None:
    """Write the program: half precision, for iOS 17 and macOS 14, which have int8 activations."""
    import coremltools
    from coremltools.converters.mil import Builder
    from coremltools.converters.mil.mil import Function, Program, types

    target = coremltools.target.iOS17
    sources = {}
    for name, node in one.traced.sources.items():
        value = value_of(node)
        kind = types.fp32 if value.is_floating_point() else types.int32
        sources[name] = Builder.placeholder(shape=tuple(value.shape), dtype=kind)
    program = Program()
    with Function(sources, opset_version=target) as function:
        values = Values(one.traced, Builder)
        values.known = {node: function.inputs[name] for name, node in one.traced.sources.items()}
        for node in one.traced.nodes:
            values.known[node] = write_node(values, node)
        result = Builder.identity(x=values.known[one.traced.result], name="output")
        function.set_outputs([result])
    program.add_function("main", function)
    model = coremltools.convert(
        program, convert_to="mlprogram", minimum_deployment_target=target,
        compute_precision=coremltools.precision.FLOAT16, skip_model_load=True,
    )  # fmt: skip
    model.user_defined_metadata[KEY] = json.dumps(dict(metadata))
    model.save(str(package))


def _loaded(package: Path) -> Any:
    """Return the program that a saved package holds."""
    import coremltools
    from coremltools.converters.mil.frontend.milproto.load import load

    model = coremltools.models.MLModel(str(package), skip_model_load=True)
    spec = model.get_spec()
    return load(spec, spec.specificationVersion, model.weights_dir)


def _checked(one: OneSize, program: Any) -> dict[str, Any]:
    """Return the mean difference of the program's image over the image's standard deviation.

    Raises:
        UserError: a layer has other codes, or rounding does not explain the difference.
    """
    _check_codes(one, program)
    with torch.no_grad():
        made = evaluate(program, dict(zip(one.traced.sources, one.inputs, strict=True)))
    return {"image": image_error(one, made.numpy(), "coreml"), "computed_by": "torch"}


def _check_codes(one: OneSize, program: Any) -> None:
    """Raise UserError where the program lacks the codes or scales of a trained layer."""
    written = [
        (operator.quantized_data.val, operator.scale.val.astype(np.float32))
        for operator in program.functions["main"].operations
        if operator.op_type == "constexpr_affine_dequantize"
    ]
    for path, layer in one.traced.layers.items():
        if layer.codes is None or layer.scale is None:
            continue
        same = (
            codes.shape == layer.codes.shape
            and np.array_equal(codes, layer.codes)
            and np.allclose(scale, layer.scale, rtol=2 * HALF, atol=2**-24)
            for codes, scale in written
        )
        if not any(same):
            raise UserError(
                f"the Core ML program has not the weights of {path}; nothing is written. Take "
                "--format onnx, and please report the generator"
            )
