"""export --format coreml: the saved program holds what was trained."""

# pyright: reportMissingImports=false

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.tiny_nets import SHALLOW
from tests.unit.export.xnnpack_student import Net, made
from torch import nn

import gan_slimming as gs
from gan_slimming.data.adapter import dummy_inputs
from gan_slimming.errors import UserError
from gan_slimming.export.export_model import export_model
from gan_slimming.models.registry import attach_spec, build_generator, infer_spec, spec_of

SIDE = 16
MISSING = "coremltools is not installed"
QUIET = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path, dict[str, Any]]:
    """Return a student, its package, and the report."""
    pytest.importorskip("coremltools", reason=MISSING)
    student, path = made(), tmp_path_factory.mktemp("ml") / "g.mlpackage"
    return student, path, export_model(student, path, size=SIDE)


@QUIET
def test_the_package_has_the_trained_codes(
    exported: tuple[nn.Module, Path, dict[str, Any]],
) -> None:
    from gan_slimming.export.coreml import _loaded
    from gan_slimming.export.trace.integers import quantized_layers

    student, path, told = exported
    assert (told["format"], told["quantization"], told["outside"]) == ("coreml", "qdq", None)
    assert told["size_bytes"] == sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
    assert told["parity"]["coreml"]["image"] < 0.05
    operators = _loaded(path).functions["main"].operations
    kinds = [operator.op_type for operator in operators]
    layers = quantized_layers(student)
    for kind in ("quantize", "dequantize", "constexpr_affine_dequantize"):
        assert kinds.count(kind) == len(layers) == 6
    codes = [o.quantized_data.val for o in operators if o.op_type.startswith("constexpr")]
    assert {array.dtype for array in codes} == {np.dtype(np.int8)}
    first = layers["first"]
    expected = (first.weight / first.weight_quantizer.scale.view(-1, 1, 1, 1)).round()
    assert np.array_equal(codes[0], expected.detach().numpy())


@QUIET
def test_it_describes_itself(exported: tuple[nn.Module, Path, dict[str, Any]]) -> None:
    import coremltools

    from gan_slimming.runtime.started import KEY

    model = coremltools.models.MLModel(str(exported[1]), skip_model_load=True)
    assert '"quantized_layers": 6' in model.user_defined_metadata[KEY]
    description = model.get_spec().description
    assert [port.name for port in description.input] == ["input"]
    assert [port.name for port in description.output] == ["output"]


@QUIET
@pytest.mark.parametrize("how", [{"quantize_outputs": True}, {"bits": 4}])
def test_other_quantisers_are_kept_as_well(how: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("coremltools", reason=MISSING)
    told = export_model(made(**how), tmp_path / "g.mlpackage", size=SIDE)
    assert told["parity"]["coreml"]["image"] < 0.1


@QUIET
@pytest.mark.parametrize("name", ["cartoongan", "fast-style", "cyclegan", "dcgan"])
def test_registered_generators_are_written(name: str, tmp_path: Path) -> None:
    pytest.importorskip("coremltools", reason=MISSING)
    torch.manual_seed(0)
    net = build_generator(name, width=4, **SHALLOW.get(name, {})).eval()
    contract = infer_spec(net).contract
    inputs = dummy_inputs(contract, contract.next_side(SIDE))
    prepared = gs.prepare(net, inputs)
    gs.calibrate(prepared, [inputs])
    student = gs.extract(prepared)
    attach_spec(student, spec_of(net))
    plain = export_model(student, tmp_path / "f.mlpackage", size=SIDE, quantization="none")
    assert plain["parity"]["coreml"]["image"] < 0.01
    assert export_model(student, tmp_path / "g.mlpackage", size=SIDE)["quantization"] == "qdq"


class Reversing(Net):
    """A step that the table lacks."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return super().forward(image).flip(3)


@QUIET
def test_an_operator_that_the_format_lacks_is_named(tmp_path: Path) -> None:
    pytest.importorskip("coremltools", reason=MISSING)
    with pytest.raises(UserError, match=r"Core ML model has no flip as in forward; take --format"):
        export_model(Reversing().eval(), tmp_path / "g.mlpackage", size=SIDE)
    assert not list(tmp_path.iterdir())
