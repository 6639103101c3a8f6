"""Verdicts on layers that int8 kernels get wrong: one check per file and CPU, in a subprocess."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import openvino

from gan_slimming.config import InputContract
from gan_slimming.data.files import cache_folder, write_atomically
from gan_slimming.runtime import kernel_check
from gan_slimming.runtime.openvino_int8 import (
    INT8_KERNELS,
    ISA_LIMIT,
    all_in_float,
    compile_request,
    cpu_flags,
    has_quantizers,
    keep_in_float,
    kinds_of_cpu,
    quantized_layers,
    read_model,
)

VERSION = 3
"""Version of the check; verdicts of other versions are ignored."""


def open_request(
    model: Any, source: Path | bytes, settings: dict[str, Any], contract: InputContract | None
) -> tuple[Any, tuple[str, ...]]:
    """Compile a model so that it computes what its quantisers say.

    Args:
        model, source: the model, and its file or content.
        settings: of the compilation.
        contract: the generator's inputs; None takes the shapes of the model's inputs.
    Returns:
        An infer request, and the paths of the quantised layers that it computes in float.
    """
    if not has_quantizers(model):
        return compile_request(model, settings), ()
    precision = settings.get("INFERENCE_PRECISION_HINT", "f32")
    wrong = wrong_layers(source, contract, precision=precision)
    paths = paths_of(model, wrong)
    if wrong and len(wrong) == len(quantized_layers(model)):
        exact = all_in_float(read_model(source))
        return compile_request(exact, {**settings, INT8_KERNELS: False}), paths
    if wrong:
        model = keep_in_float(read_model(source), wrong)
    return compile_request(model, settings), paths


def paths_of(model: Any, names: Sequence[str]) -> tuple[str, ...]:
    """Return the paths of layers with these OpenVINO names."""
    layers = quantized_layers(model)
    return tuple(layers[name].path for name in names if name in layers)


def wrong_layers(
    source: Path | bytes, contract: InputContract | None, *, kind: str = "", precision: str = "f32"
) -> tuple[str, ...]:
    """Return the quantised layers that int8 kernels get wrong, by OpenVINO's names.

    The check runs in its own process, because OpenVINO may crash it. If it cannot run, all layers
    count as wrong. The verdict is cached for this content, CPU, precision and OpenVINO version.

    Args:
        source: a file's path or its content.
        contract: the generator's inputs; None takes the shapes of the model's inputs.
        kind: of CPU, from `kinds_of_cpu`; empty for this one.
        precision: f32 or bf16, of the float layers.
    """
    limit = kind or os.environ.get(ISA_LIMIT, "")
    file = _verdict_file(source, precision, limit)
    with suppress(OSError, ValueError, KeyError, TypeError):
        return tuple(json.loads(file.read_text())["wrong_layers"])
    layers = _in_a_process(source, contract, precision, limit)
    if layers is None:
        return tuple(quantized_layers(read_model(source)))
    with suppress(OSError):  # a read-only folder costs no more than another check
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps({"wrong_layers": layers}).encode())
    return tuple(layers)


def _in_a_process(
    source: Path | bytes, contract: InputContract | None, precision: str, limit: str
) -> list[str] | None:
    """Run the check in a subprocess, without cuts if it crashes; None if that crashes, too."""
    if not sys.executable:  # embedded Python has no executable to start
        return kernel_check.check_layers(source, {"INFERENCE_PRECISION_HINT": precision}, contract)
    encoded = json.dumps(dataclasses.asdict(contract)) if contract else ""
    with tempfile.TemporaryDirectory(prefix="gan-slimming-") as folder:
        file = source if isinstance(source, Path) else Path(folder, "model.onnx")
        if isinstance(source, bytes):
            file.write_bytes(source)
        command = [sys.executable, "-P", "-m", kernel_check.__name__, str(file), encoded, precision]
        for cuts in ("cuts", "whole"):
            done = subprocess.run(
                [*command, cuts],
                env={**os.environ, ISA_LIMIT: limit or "DEFAULT"}, capture_output=True, text=True,
                check=False,
            )  # fmt: skip
            if done.returncode == 0 and done.stdout:
                return json.loads(done.stdout.splitlines()[-1])
            if done.returncode == -signal.SIGINT:
                raise KeyboardInterrupt
    return None


def wrong_layers_by_kind(
    content: bytes, contract: InputContract, *, all_kinds: bool
) -> dict[str, list[str]]:
    """Return kind of CPU -> paths of the layers that int8 kernels get wrong there.

    Args:
        content: of an ONNX file.
        all_kinds: check `kinds_of_cpu` as well as this CPU, which is `own`.
    """
    model = read_model(content)
    kinds = {"own": "", **{kind: kind for kind in kinds_of_cpu() if all_kinds}}
    return {
        name: list(paths_of(model, wrong_layers(content, contract, kind=kind)))
        for name, kind in kinds.items()
    }


def _verdict_file(source: Path | bytes, precision: str, limit: str) -> Path:
    """Return a verdict's path, by content, CPU, OpenVINO, precision and version of the check."""
    digest = hashlib.sha256()
    if isinstance(source, bytes):
        digest.update(source)
    else:
        for file in (source, source.with_suffix(".bin")):
            digest.update(file.read_bytes() if file.is_file() else b"")
    key = (VERSION, openvino.__version__, precision, _device_name(), cpu_flags(), limit)
    digest.update(repr(key).encode())
    return cache_folder() / "int8-kernels" / f"{digest.hexdigest()}.json"


@functools.cache
def _device_name() -> str:
    return str(openvino.Core().get_property("CPU", "FULL_DEVICE_NAME"))
