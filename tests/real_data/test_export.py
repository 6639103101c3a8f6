"""The released CartoonGAN, calibrated to 8 bits and exported."""

from pathlib import Path

import pytest
import torch

import gan_slimming as gs
from gan_slimming.data.adapter import to_contract
from gan_slimming.data.image_files import list_images, read_image
from gan_slimming.export.trace.graph import trace
from gan_slimming.export.trace.integers import quantized_layers
from gan_slimming.models.registry import spec_of

for package in ("onnx", "onnxruntime", "openvino"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install '.[export]'")

from gan_slimming.export import parity  # noqa: E402
from gan_slimming.export.onnx import onnx_model  # noqa: E402
from gan_slimming.runtime.profiling import executed_layers  # noqa: E402
from gan_slimming.runtime.sessions import start_openvino  # noqa: E402

pytestmark = [pytest.mark.real_data, pytest.mark.slow]


def test_every_layer_of_hayao_computes_in_int8_what_torch_computes(data_root: Path) -> None:
    teacher = gs.load_generator("cartoongan", data_root / "cartoongan" / "Hayao_net_G_fp16.pth")
    contract = spec_of(teacher).contract
    photos = [read_image(p).rgb[None] for p in list_images([data_root / "photos256"])[:3]]
    images = [to_contract(photo, contract) for photo in photos]
    prepared = gs.prepare(teacher, (torch.zeros(1, 3, 64, 64),))
    gs.calibrate(prepared, [(image,) for image in images[:2]])
    student = gs.extract(prepared)
    traced = trace(student, contract, 64, quantized=True)
    crop = images[2][:, :, :64, :96].contiguous()
    for form, runtimes in (("qdq", ["onnxruntime", "openvino"]), ("integer", ["onnxruntime"])):
        rows = parity.check_layers(student, traced, form, 17, (crop,), runtimes)  # pyright: ignore
        assert len(rows) == len(runtimes) * len(quantized_layers(student)) == 26 * len(runtimes)
    content = onnx_model(traced, "qdq", 17, {})[0].SerializeToString()
    found = [layer for layer in executed_layers(start_openvino(content, 1)[1]) if layer.computes]
    assert [layer.int8 for layer in found] == [True] * 26
