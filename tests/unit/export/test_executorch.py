"""export --format executorch: the file computes what the student does, in its own runtime."""

from pathlib import Path
from typing import Any

import pytest
from tests.unit.export.xnnpack_student import made
from torch import nn

from gan_slimming.errors import UserError
from gan_slimming.export.export_model import export_model

SIDE = 16


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path, dict[str, Any]]:
    """Return a student, its .pte file, and the report."""
    pytest.importorskip("executorch", reason="executorch is not installed")
    student, path = made(), tmp_path_factory.mktemp("pte") / "g.pte"
    return student, path, export_model(student, path, size=SIDE)


def test_the_report_names_what_is_outside(
    exported: tuple[nn.Module, Path, dict[str, Any]],
) -> None:
    told = exported[2]
    assert [(row["operator"], row["values"]) for row in told["outside"]] == [("avg_pool2d", 768)]
    assert told["parity"]["executorch"]["error"] <= 1e-5


def test_an_operator_without_a_kernel_is_named_with_its_layer() -> None:
    pytest.importorskip("executorch", reason="executorch is not installed")
    from gan_slimming.export.executorch import check_kernels

    check_kernels([{"operator": "avg_pool2d", "layer": "", "values": 1}])
    with pytest.raises(UserError, match=r"no kernel for no_such in blocks.0; take --format onnx"):
        check_kernels([{"operator": "no_such", "layer": "blocks.0", "values": 1}])
