"""Whether a generator can be exported, tried before it is trained."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from gan_slimming.config import InputContract
from gan_slimming.data.adapter import dummy_inputs
from gan_slimming.errors import UserError, one_line
from gan_slimming.export.convert import TRACED_SIZE, ExportedContent, convert
from gan_slimming.export.export_model import sizes_in_words
from gan_slimming.models.registry import infer_spec
from gan_slimming.runtime.sessions import require
from gan_slimming.student.student import Student, calibrate
from gan_slimming.student.surgery import extract

IN_INTEGERS = {"onnx": "integer", "openvino": "qdq"}
"""Format -> the quantization that its own runtime computes in int8."""
RUNTIME = {"onnx": "onnxruntime", "openvino": "openvino"}


@dataclass(frozen=True)
class Rehearsal:
    """What a trial export of one format has shown."""

    format: str
    quantization: str
    """qdq, integer or none."""
    sizes: str
    """Images that the file will take, in words; '' for noise or where there will be no file."""
    problem: str
    """Why there will be no file; '' where there will be one."""
    restricted: str
    """Why the file will take fewer sizes than the generator; '' where it takes all."""

    def __str__(self) -> str:
        """Return the result in one line."""
        if self.problem:
            return f"{self.format} cannot be exported: {self.problem}"
        why = f": {self.restricted}" if self.restricted else ""
        return f"{self.format} can be exported" + (f", for {self.sizes}{why}" if self.sizes else "")


def require_runtimes(formats: Sequence[str]) -> None:
    """Raise UserError where a format's package is not installed."""
    if formats:
        require("onnx", *(RUNTIME[name] for name in formats))


def quantization_of(format: str, *, quantized: bool) -> str:
    """Return the quantization with which the format's own runtime computes in int8."""
    return IN_INTEGERS[format] if quantized else "none"


def rehearse(student: Student, formats: Sequence[str], side: int) -> list[Rehearsal]:
    """Export a cut copy of a prepared student to memory, once for each format.

    Every third channel is cut, because norms and numbers of a cut generator may differ from those
    of a whole one. Nothing is compared: a student before its training shows nothing by its values.

    Args:
        student: it is not changed.
        formats: of `EXPORTS`.
        side: height and width in pixels for a file of a single size.
    """
    trial = copy.deepcopy(student).cpu().float().eval()
    contract = infer_spec(trial.module).contract
    example = dummy_inputs(contract, contract.next_side(TRACED_SIZE))
    if quantized := bool(trial.quantized_weights()):
        calibrate(trial, [example])
    with torch.no_grad():
        for gate in trial.gates:
            gate[1::3] = 0.0
    small = extract(trial)
    return [_tried(small, name, side, quantized=quantized) for name in formats]


def _tried(generator: nn.Module, format: str, side: int, *, quantized: bool) -> Rehearsal:
    """Write one file to memory, and run it once."""
    quantization = quantization_of(format, quantized=quantized)
    try:
        made = convert(generator, quantization=quantization, own_size=side, runtimes=())
        _run(made, RUNTIME[format])
    except UserError as error:
        return Rehearsal(format, quantization, "", str(error), "")
    return Rehearsal(format, quantization, sizes_in_words(made), "", made.restricted)


def _run(made: ExportedContent, runtime: str) -> None:
    """Run a file once; raise UserError where its runtime refuses it."""
    from gan_slimming.export.parity import START

    contract = InputContract.from_record(made.metadata["contract"])
    inputs = dummy_inputs(contract, contract.next_side(TRACED_SIZE))
    more = {"kernels": "unchecked"} if runtime == "openvino" else {}
    try:
        START[runtime](made.content, 1, **more).run(*(x.numpy() for x in inputs))
    except Exception as error:  # each runtime has errors of its own
        raise UserError(f"{runtime} does not run the file ({one_line(error)[:200]})") from error
