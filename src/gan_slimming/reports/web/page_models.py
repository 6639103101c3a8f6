"""The models of a page: each in the form that is quickest in its backend, checked as by export."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from gan_slimming.config import InputContract
from gan_slimming.data.adapter import check_channels, dummy_inputs
from gan_slimming.data.dummy import input_shapes
from gan_slimming.errors import UserError, one_line
from gan_slimming.export.convert import FLOAT, ExportedContent, convert
from gan_slimming.export.parity import check_image
from gan_slimming.metrics.complexity import parameters_of
from gan_slimming.reports.web.float_codes import float_codes
from gan_slimming.runtime.sessions import KEY, read_metadata, require

LIMIT_BYTES = 1 << 30
"""Size above which a file is refused: a tab of a browser has 4 GiB at most, and holds it twice."""
BACKENDS = ("wasm", "webgpu")


@dataclass(frozen=True)
class PageModel:
    """A generator of a page."""

    name: str
    """The generator's name."""
    contract: InputContract
    """The sizes and the convention of its files."""
    contents: dict[str, bytes]
    """Backend -> ONNX model; one object where both take the same."""
    form: str
    """float, integer or qdq, in WebAssembly."""
    macs: float
    """Multiply-accumulates of an image; of a pixel, where it takes images."""
    parameters: int | None = None
    """Number of parameters; None for an exported file."""
    parity: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Differences to torch's image, as `export` reports them; empty for an exported file."""
    restricted: str = ""
    """Why the files take fewer sizes than the generator; '' where they take all."""

    def files(self, role: str) -> dict[str, bytes]:
        """Return file name -> content, for student or teacher."""
        names = {self._path(role, backend): self.contents[backend] for backend in self.contents}
        return dict(sorted(names.items()))

    def record(self, role: str) -> dict[str, Any]:
        """Return what the page has to know."""
        shapes = input_shapes(self.contract, 1)
        files = {
            backend: {
                "path": self._path(role, backend),
                "bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
            for backend, content in self.contents.items()
        }
        return {
            "name": self.name,
            "contract": dataclasses.asdict(self.contract),
            "inputs": {name: list(shape) for name, shape in shapes.items()},
            "form": self.form,
            "macs": self.macs,
            "parameters": self.parameters,
            "files": files,
        }

    def _path(self, role: str, backend: str) -> str:
        own = self.contents[backend] is not self.contents["wasm"]
        return f"{role}-{backend}.onnx" if own else f"{role}.onnx"


def page_model(module: nn.Module) -> PageModel:
    """Convert a generator: int8 for WebAssembly where it is quantised, float codes for WebGPU.

    Raises:
        UserError: it cannot be exported, or no page can run it.
    """
    require("onnx", "onnxruntime")
    from gan_slimming.export.trace.integers import is_quantized

    if not is_quantized(module):
        exported = convert(module, quantization="none", runtimes=["onnxruntime"])
        contents = {backend: exported.content for backend in BACKENDS}
    else:
        exported = convert(module, quantization="integer", runtimes=["onnxruntime"])
        contents = {"wasm": exported.content, "webgpu": _for_webgpu(module, exported)}
    model = _from_metadata(exported.metadata, contents)
    return dataclasses.replace(
        model,
        parameters=parameters_of(module),
        parity=exported.parity,
        restricted=exported.restricted,
    )


def _for_webgpu(module: nn.Module, exported: ExportedContent) -> bytes:
    """Return the model with float codes, after comparing its image with torch's."""
    contract = InputContract.from_record(exported.metadata["contract"])
    alone = {"fixed_size": True, "own_size": contract.size} if contract.size else {}
    content = float_codes(convert(module, quantization="qdq", runtimes=(), **alone).content)
    inputs = dummy_inputs(contract, contract.next_side(64))
    check_image(module, content, inputs, ["onnxruntime"])
    return content


def exported_model(path: Path) -> PageModel:
    """Return the model of an exported .onnx file, as it is.

    One with integers is for WebAssembly alone: WebGPU has no kernels for them.

    Raises:
        UserError: it is no such file, of another tool, or no page can run it.
    """
    require("onnx")
    import onnx

    if path.suffix.lower() != ".onnx":
        raise UserError(f"{path} is OpenVINO's format; export it as .onnx, or give the generator")
    content = _read(path)
    try:
        entries = onnx.load_from_string(content).metadata_props
    except Exception as error:  # protobuf raises types of its own
        raise UserError(f"{path} is no ONNX file ({one_line(error)[:100]})") from error
    text = next((entry.value for entry in entries if entry.key == KEY), "")
    if not text:
        raise UserError(
            f"{path} was not written by gan-slimming export, and does not say which images it "
            "takes; give the generator itself"
        )
    metadata, _ = read_metadata(text, path)
    backends = BACKENDS if metadata.get("form") == FLOAT else BACKENDS[:1]
    return _from_metadata(metadata, dict.fromkeys(backends, content))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from error


def _from_metadata(metadata: dict[str, Any], contents: dict[str, bytes]) -> PageModel:
    contract = InputContract.from_record(metadata["contract"])
    name = str(metadata.get("generator", "generator"))
    _check(name, contract, max(map(len, contents.values())))
    macs = metadata.get("macs", metadata.get("macs_per_pixel", 0.0))
    return PageModel(name, contract, contents, str(metadata.get("form", FLOAT)), macs)


def _check(name: str, contract: InputContract, size_bytes: int) -> None:
    """Raise UserError for a generator that no page can run."""
    if contract.signal:
        raise UserError(f"{name} makes waveforms, and a page draws images; run its exported file")
    if not contract.latent_size:
        check_channels(contract)
    if contract.extras:
        kinds = ", ".join(extra.kind for extra in contract.extras)
        given, way = ("noise", "sample") if contract.latent_size else ("an image", "translate")
        raise UserError(
            f"{name} takes more than {given} ({kinds}), for which the page has no controls; run it "
            f"with gan-slimming {way}"
        )
    if size_bytes > LIMIT_BYTES:
        raise UserError(
            f"{name} has {size_bytes / 2**20:.0f} MiB as ONNX, a browser's tab holds at most "
            f"{LIMIT_BYTES / 2**20:.0f}; compress it first (gan-slimming compress)"
        )


def check_pair(student: PageModel, teacher: PageModel) -> None:
    """Raise UserError for a teacher that does not take the student's inputs."""
    fields = ("latent_size", "classes", "scale")
    for field in fields:
        ours, theirs = getattr(student.contract, field), getattr(teacher.contract, field)
        if ours != theirs:
            raise UserError(
                f"the teacher {teacher.name} has {field} {theirs}, the student {ours}; name the "
                "teacher that it was trained from"
            )


def as_json(value: Any) -> bytes:
    """Return JSON, in one form for equal values."""
    return json.dumps(value, indent=1, sort_keys=True).encode()
