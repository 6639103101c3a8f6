"""OpenVINO on CPUs whose int8 kernels add two products in 16 bits, which saturate.

Those are x86 CPUs without VNNI or AMX. Weights of up to PORTABLE_WEIGHT_BITS are exact there too,
wider ones are not; and negative inputs take another path, which loses their zero point behind some
operators (a concatenation and then a pad, in OpenVINO 2026). What int8 kernels would get wrong is
therefore computed in float, on the same grids: wide weights, negative values in a network that
concatenates, and whatever a trial shows.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

from gan_slimming.config import PORTABLE_WEIGHT_BITS, InputContract

INT8_KERNELS = "LP_TRANSFORMS_MODE"
"""OpenVINO's name for turning quantised layers into int8 ones."""
_CORES: list[Any] = []
"""Held for good: with OpenVINO 2026.4, a signal after one is given up can end in a crash."""
LOWEST = np.finfo(np.float32).min
TRIAL_SIZE = 64
"""Least height and width, in pixels, of the picture that int8 kernels are tried on."""
FLIPS = 0.05
"""Mean difference over the spread of a picture that rounding alone may always make."""
NOISE, MORE = 1e-4, 1.5
"""A change of the input so small beside its range, and how many times the difference that it makes
int8 kernels may make. A network that amplifies flips of codes does so wherever they come from; a
lost zero point makes more."""


def exact_request(
    model: Any, source: Path | bytes, settings: dict[str, Any], contract: InputContract | None
) -> Any:
    """An infer request of OpenVINO that computes what the quantisers of the model say.

    Args:
        model, source: what was read, and from where.
        settings: of the compilation.
        contract: what the generator takes, and None where nobody knows: the int8 kernels are then
            not tried on a picture.
    """
    fast = None
    suspect = has_quantizers(model) and saturates()
    if not (suspect and (_has_wide_weights(model) or _joins_signed(model))):
        fast = _own_core().compile_model(model, "CPU", settings).create_infer_request()
        if not suspect or contract is None:
            return fast
    core = _own_core()
    apart = core.read_model(source)
    _keep_quantisers_apart(apart)
    settings = {**settings, INT8_KERNELS: False}
    exact = core.compile_model(apart, "CPU", settings).create_infer_request()
    if fast is None or contract is None:
        return exact
    # One request each, for good: a second one that is given up takes memory of the first with it.
    first, *rest = _trial(contract)
    made, expected = (np.array(request.infer([first, *rest])[0]) for request in (fast, exact))
    noise = np.random.default_rng(1).standard_normal(first.shape, np.float32) * np.ptp(first)
    moved = np.array(exact.infer([first + NOISE * noise, *rest])[0])
    return fast if only_flips(made, expected, moved) else exact


def _own_core() -> Any:
    """OpenVINO for one form of one model: two forms must not share prepared weights."""
    import openvino

    _CORES.append(openvino.Core())
    return _CORES[-1]


@functools.cache
def saturates() -> bool:
    """Whether int8 convolutions lose the top of large sums on this CPU, by trying one."""
    import openvino
    from openvino import opset13 as ops

    codes = np.full((16, 16, 1, 1), 127, np.int8)
    pixels = ops.parameter([1, 16, 4, 4], np.float32)
    limits = np.float32(0), np.float32(255)
    quantized = ops.fake_quantize(pixels, *limits, *limits, 256)
    weight = ops.multiply(ops.convert(ops.constant(codes), "f32"), ops.constant(np.float32(1)))
    window = [1, 1], [0, 0], [0, 0], [1, 1]
    made = ops.convolution(quantized, weight, *window)
    model = openvino.Model([made], [pixels], "trial")  # pyright: ignore
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    made = compiled(np.full((1, 16, 4, 4), 255, np.float32))[0]
    return bool(np.abs(made - 16 * 127 * 255).max() > 1)


def has_quantizers(model: Any) -> bool:
    """Whether anything in a model is quantised."""
    return any(op.get_type_name() == "FakeQuantize" for op in model.get_ops())


def _has_wide_weights(model: Any) -> bool:
    """Whether any int8 weight has more than PORTABLE_WEIGHT_BITS."""
    most = 2 ** (PORTABLE_WEIGHT_BITS - 1)
    constants = (op for op in model.get_ops() if op.get_type_name() == "Constant")
    held = (op.data for op in constants if op.get_element_type().get_type_name() == "i8")
    return any(np.abs(codes.astype(np.int16)).max(initial=0) > most for codes in held)


def _joins_signed(model: Any) -> bool:
    """Whether anything is concatenated in a model that quantises negative values."""
    kinds = [(op.get_type_name(), op) for op in model.get_ops()]
    joins = (op.get_element_type().is_real() for kind, op in kinds if kind == "Concat")
    lows = (op.input_value(1).get_node() for kind, op in kinds if kind == "FakeQuantize")
    return any(joins) and any(
        low.get_type_name() == "Constant" and bool((low.data < 0).any()) for low in lows
    )


def _keep_quantisers_apart(model: Any) -> None:
    """Put a Max that changes nothing in front of every quantiser, in place.

    In float, OpenVINO folds what stands in front into the quantiser, and gets negative scales of
    channels wrong.
    """
    from openvino import opset13 as ops

    for op in model.get_ordered_ops():
        if op.get_type_name() == "FakeQuantize":
            read = op.input(0).get_source_output()
            op.input(0).replace_source_output(ops.maximum(read, LOWEST).output(0))


def _trial(contract: InputContract) -> list[np.ndarray]:
    """A picture of patches and some noise, or a latent and a class, a batch of one."""
    random = np.random.default_rng(0)
    if contract.latent_size:
        noise = random.standard_normal((1, contract.latent_size), np.float32)
        return [noise, np.zeros(1, np.int64)][: 2 if contract.classes else 1]
    step = contract.multiple_of
    side = -(-max(TRIAL_SIZE, contract.min_size) // step) * step
    patches = random.random((1, contract.channels, 4, 4), np.float32)
    patches = np.repeat(np.repeat(patches, -(-side // 4), 2), -(-side // 4), 3)[..., :side, :side]
    values = 0.9 * patches + 0.1 * random.random(patches.shape, np.float32)
    return [contract.low + (contract.high - contract.low) * values]


def only_flips(made: np.ndarray, expected: np.ndarray, moved: np.ndarray) -> bool:
    """Whether rounding can have made the difference between int8 kernels and float.

    Args:
        made, expected: pictures by int8 kernels and in float.
        moved: in float, of an input that was changed by very little.
    """
    flips = max(FLIPS * expected.std(), MORE * np.abs(moved - expected).mean())
    return bool(np.abs(made - expected).mean() <= flips)
