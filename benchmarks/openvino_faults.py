"""Show OpenVINO's faults in quantised networks: a minimal model each, on every kind of CPU.

    python benchmarks/openvino_faults.py

It prints a table of fault x kind of CPU. A cell is the mean difference between the model as
OpenVINO compiles it and the same model without folding and int8 kernels, over the standard
deviation of the latter. About 0 is right. Each kind that this CPU can emulate runs in its own
process, limited by ONEDNN_MAX_CPU_ISA; `own` is the CPU as it is. Weights have 7 bits, so that no
sum saturates.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops

from gan_slimming.runtime.openvino_int8 import ISA_LIMIT, kinds_of_cpu

LOWEST = np.float32(-3.4e38)
RIGHT = 0.005
"""Largest difference that counts as right: codes flip where a value lies between two."""


@dataclass
class Net:
    """The operators of a quantised network, as OpenVINO reads ONNX's QuantizeLinear.

    Attributes:
        exact: whether weight codes are float32, and a Maximum without effect keeps quantisers from
            being folded.
        random: generator of all numbers, with a fixed seed.
    """

    exact: bool
    random: Any = field(default_factory=lambda: np.random.default_rng(0))

    def numbers(self, low: float, high: float, *shape: int) -> Any:
        return ops.constant(self.random.uniform(low, high, shape).astype(np.float32))

    def weight(self, shape: tuple[int, ...], scales: tuple[int, ...], size: float) -> Any:
        """Make weights from 7-bit codes and a scale for each output channel."""
        codes = self.random.integers(-63, 64, shape).astype(np.float32 if self.exact else np.int8)
        codes = ops.convert(ops.constant(codes), "f32")
        return ops.multiply(codes, self.numbers(0.5 * size, 1.5 * size, *scales))

    def conv(self, x: Any, inputs: int, outputs: int, kernel: int = 1, pad: int = 0) -> Any:
        """Convolve without a bias; outputs have about the standard deviation of inputs."""
        size = 1 / (36 * np.sqrt(inputs * kernel**2))
        weight = self.weight((outputs, inputs, kernel, kernel), (outputs, 1, 1, 1), size)
        return ops.convolution(x, weight, [1, 1], [pad, pad], [pad, pad], [1, 1])

    def quantize(self, x: Any, scale: Any = 0.01, code: str = "i8") -> Any:
        """Round to codes and scale back, with a scale for each channel or one for all."""
        scale = np.asarray(scale, np.float32)
        scale = scale.reshape(1, -1, 1, 1) if scale.ndim else scale
        codes = np.iinfo({"i8": np.int8, "u8": np.uint8}[code])
        low, high = np.float32(codes.min), np.float32(codes.max)
        x = ops.maximum(x, LOWEST) if self.exact else x
        x = ops.fake_quantize(x, low * scale, high * scale, low, high, 256)
        return ops.multiply(ops.convert(ops.convert(x, code), "f32"), scale)


def negative_scales(net: Net, x: Any) -> Any:
    """Multiply channels by numbers, some negative, before a quantiser (a norm's scale).

    Wrong on every kind if height and width are dynamic. The product is folded into the quantiser
    with swapped limits, in float as well. Right with static shapes.
    """
    return net.quantize(ops.multiply(x, net.numbers(-1, 1, 1, 8, 1, 1)))


def _two_values(net: Net, x: Any) -> Any:
    y = net.conv(net.quantize(x), 8, 16)
    return ops.concat([y, ops.tanh(y)], 1)


def concat(net: Net, x: Any) -> Any:
    """Quantise the concatenation of two signed tensors, and convolve.

    Wrong on every kind without AMX: the zero point of unsigned codes is lost. Right with a Relu on
    both tensors, or with a Maximum before the quantiser.
    """
    return net.conv(net.quantize(_two_values(net, x)), 32, 8, 3, pad=1)


def concat_then_pad(net: Net, x: Any) -> Any:
    """Put a Maximum before that quantiser, and a Pad after it.

    Wrong on every kind without AMX. Right without the Pad.
    """
    y = net.quantize(ops.maximum(_two_values(net, x), LOWEST))
    sides = ops.constant(np.array([0, 0, 1, 1]))
    return net.conv(ops.pad(y, sides, sides, "reflect"), 32, 8, 3)


def concat_then_shuffle(net: Net, x: Any) -> Any:
    """Put a Maximum before that quantiser, and a DepthToSpace after it.

    Wrong on every kind without AMX. Right without the DepthToSpace.
    """
    y = net.quantize(ops.maximum(_two_values(net, x), LOWEST))
    return net.conv(ops.depth_to_space(y, "blocks_first", 2), 8, 8, 3, pad=1)


def one_pixel(net: Net, x: Any) -> Any:
    """Quantise a convolution's sums with a scale per channel, for an image of one pixel.

    Wrong with AMX if height and width are dynamic. Right for a batch of two, for 2x2 pixels
    and with static shapes.
    """
    y = net.quantize(net.conv(net.quantize(x), 8, 16), net.random.uniform(0.002, 0.02, 16))
    y = ops.relu(ops.add(y, net.numbers(-0.3, 0.3, 1, 16, 1, 1)))
    return net.conv(net.quantize(y, code="u8"), 16, 8)


def rounded_sums_then_negative_scales(net: Net, x: Any) -> Any:
    """Multiply channels of quantised sums by numbers, some negative, in two residual blocks.

    Wrong on every kind if height and width are dynamic. Right with positive numbers, with
    static shapes and for a single block.
    """
    for _ in range(2):
        sums = net.conv(net.quantize(x), 8, 8)
        rounded = net.quantize(sums, net.random.uniform(0.005, 0.015, 8))
        x = ops.add(x, ops.multiply(rounded, net.numbers(-1, 1, 1, 8, 1, 1)))
    return x


def read_twice(net: Net, x: Any) -> Any:
    """Use the output of a convolution without a bias twice.

    Wrong on every kind if height and width are dynamic: its scale is moved past one of the two
    uses. Right with a non-zero bias, or with static shapes.
    """
    y = net.conv(net.quantize(x), 8, 8)
    return ops.add(y, ops.tanh(y))


def equal_scales_then_shuffle(net: Net, x: Any) -> Any:
    """Quantise four channels with four equal scales and make one channel of them.

    Cannot be compiled on any kind: the four scales are moved past the DepthToSpace. Right with
    one scale for all.
    """
    y = net.quantize(net.conv(net.quantize(x), 8, 4), [0.01] * 4)
    y = net.quantize(ops.depth_to_space(y, "blocks_first", 2))
    return net.conv(y, 1, 8)


def transposed(net: Net, x: Any) -> Any:
    """Apply a transposed convolution to one pixel of 100 signed channels (DCGAN's first layer).

    Off by 1.5 % under AVX512_CORE. Right on every other kind.
    """
    weight = net.weight((100, 64, 4, 4), (1, 64, 1, 1), 1 / 360)
    return ops.convolution_backprop_data(net.quantize(x), weight, [1, 1])


Shape = tuple[int, ...]
FAULTS: tuple[tuple[Callable[[Net, Any], Any], Shape, bool], ...] = (
    (negative_scales, (1, 8, 16, 16), True),
    (concat, (1, 8, 16, 16), False),
    (concat_then_pad, (1, 8, 16, 16), False),
    (concat_then_shuffle, (1, 8, 16, 16), False),
    (one_pixel, (1, 8, 1, 1), True),
    (rounded_sums_then_negative_scales, (1, 8, 16, 16), True),
    (read_twice, (1, 8, 16, 16), True),
    (equal_scales_then_shuffle, (1, 8, 16, 16), False),
    (transposed, (1, 100, 1, 1), False),
)
"""Builder, input shape, and whether height and width are dynamic."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--fixed", action="store_true", help="static shapes for all models")
    parser.add_argument("--here", action="store_true", help="this process only, as JSON")
    options = parser.parse_args()
    if options.here:
        rows = (
            (builder, shape, is_open and not options.fixed) for builder, shape, is_open in FAULTS
        )
        print(json.dumps({row[0].__name__: difference(*row) for row in rows}))
        return
    kinds = [*kinds_of_cpu(), "own"]
    found = {kind: on(kind, options.fixed) for kind in kinds}
    print(f"OpenVINO {version('openvino')}; wrong where above {RIGHT}")
    print(f"{'':34}", *(f"{kind:>17}" for kind in kinds))
    for builder, _, _ in FAULTS:
        row = [found[kind][builder.__name__] for kind in kinds]
        cells = (told if isinstance(told, str) else f"{told:.4f}" for told in row)
        print(f"{builder.__name__:34}", *(f"{cell:>17}" for cell in cells))


def on(kind: str, fixed: bool) -> dict[str, float | str]:
    """Return name of a fault -> `difference`, from a process limited to a kind of CPU."""
    env = {name: value for name, value in os.environ.items() if name != ISA_LIMIT}
    env |= {} if kind == "own" else {ISA_LIMIT: kind}
    command = [sys.executable, __file__, "--here", *(["--fixed"] if fixed else [])]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def difference(builder: Callable[[Net, Any], Any], shape: Shape, dynamic: bool) -> float | str:
    """Return the mean difference over the standard deviation, or 'no compilation'."""
    given = np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)
    exact = made = np.zeros(0)
    for is_exact in (True, False):
        x = ops.parameter([shape[0], shape[1], -1, -1] if dynamic else shape, np.float32)
        model: Any = openvino.Model([builder(Net(is_exact), x)], [x], builder.__name__)  # pyright: ignore
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
        settings |= {"LP_TRANSFORMS_MODE": False} if is_exact else {}
        try:
            compiled = openvino.Core().compile_model(model, "CPU", settings)
        except RuntimeError:
            if is_exact:
                raise
            return "no compilation"
        exact, made = made, compiled([given])[0].copy()
    return float(np.abs(made - exact).mean() / exact.std())


if __name__ == "__main__":
    main()
