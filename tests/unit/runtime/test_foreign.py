"""Exported files of other tools, by their own shapes."""

from collections.abc import Callable

import numpy as np
import pytest

from gan_slimming.errors import UserError
from gan_slimming.runtime.foreign import ForeignFileWarning, Port, adapt_foreign

Run = Callable[..., np.ndarray]


def port(*shape: int | None, dtype: str = "float32") -> Port:
    return Port("x", shape, np.dtype(dtype))


def halved(given: np.ndarray) -> np.ndarray:
    return given * given.dtype.type(0.5)


def adapted(run: Run, *ports: Port) -> tuple[Run, str, dict[str, object]]:
    with pytest.warns(ForeignFileWarning) as caught:
        wrapped, contract = adapt_foreign(run, ports, "their.onnx")
    return wrapped, str(caught[0].message), vars(contract)


IMAGE = np.random.default_rng(0).random((1, 3, 20, 30), np.float32) * 2 - 1


@pytest.mark.parametrize(
    "given",
    [port(None, 3, None, None), port(1, None, None, None), port(1, None, None, 3),
     port(1, 3, None, None, dtype="float16")],
)  # fmt: skip
def test_layouts_and_numbers(given: Port) -> None:
    def run(x: np.ndarray) -> np.ndarray:
        assert x.dtype == given.dtype
        assert x.shape[3 if given.shape[3] == 3 else 1] == 3
        return halved(x)

    wrapped, said, contract = adapted(run, given)
    assert wrapped(IMAGE) == pytest.approx(IMAGE / 2, abs=1e-3)
    assert wrapped(IMAGE).dtype == np.float32
    assert (contract["channels"], contract["low"], contract["multiple_of"]) == (3, -1, 1)
    assert said.endswith("taken: images of 3 channel(s) in [-1, 1]")


def test_a_single_size_is_scaled_to_and_back() -> None:
    def run(x: np.ndarray) -> np.ndarray:
        assert x.shape == (1, 3, 16, 8)
        return x.repeat(2, 2).repeat(2, 3)

    wrapped, said, contract = adapted(run, port(1, 3, 16, 8))
    assert contract["scale"] == 2
    assert "all scaled to 8x16 and back" in said
    assert wrapped(np.full((1, 3, 20, 30), 0.3, np.float32)) == pytest.approx(
        np.full((1, 3, 40, 60), 0.3), abs=1e-5
    )


def test_multiples_and_ranges_are_tried() -> None:
    def run(x: np.ndarray) -> np.ndarray:
        if x.shape[2] % 4 or x.shape[3] % 4:
            raise RuntimeError("odd")
        return abs(x)

    assert adapted(run, port(1, 3, None, None))[2]["multiple_of"] == 4
    assert adapted(run, port(1, 3, None, None))[2]["low"] == 0
    contract = adapted(lambda x: abs(x) * 250, port(1, 1, None, None))[2]
    assert (contract["channels"], contract["high"]) == (1, 255)
    contract = adapted(lambda x: x, port(1, None, None, 3, dtype="uint8"))[2]
    assert (contract["low"], contract["high"]) == (0, 255)


def test_what_takes_no_image_is_refused_with_what_it_takes() -> None:
    for shape, text in (((1, 3, None, None), r"1x3x\?x\?"), ((1, None), r"1x\?")):
        two = (port(1, 3, None, None), Port("z", shape, np.dtype("float32")))
        with pytest.raises(UserError, match=rf"takes x \(1x3x\?x\?\), z \({text}\), not one image"):
            adapt_foreign(halved, two, "their.onnx")
    with pytest.raises(UserError, match="not an image of 1 or 3 channels"):
        adapt_foreign(halved, [port(1, 19, None, None)], "their.onnx")
    with pytest.raises(UserError, match="does not make an image of an image: it makes 1x3"):
        adapt_foreign(lambda x: x.mean((2, 3)), [port(1, 3, None, None)], "their.onnx")


@pytest.mark.parametrize("shape", [(4,), (None, 4), (1, 1, 1, 4)])
def test_a_further_input_of_fixed_length_gets_its_first_place(
    shape: tuple[int | None, ...],
) -> None:
    """As the weights of styles have it, in front of the image or behind it."""
    seen: list[np.ndarray] = []

    def run(weights: np.ndarray, image: np.ndarray) -> np.ndarray:
        seen.append(weights)
        return image * weights.reshape(-1)[0]

    ports = (Port("style", shape, np.dtype("float32")), port(1, 3, None, None))
    with pytest.warns(ForeignFileWarning, match="the first place of style"):
        wrapped, contract = adapt_foreign(run, ports, "their.onnx")
    image = np.full((1, 3, 8, 8), 0.5, np.float32)
    assert np.array_equal(wrapped(image), image)
    assert contract.channels == 3
    assert seen[-1].shape == tuple(n or 1 for n in shape)
    assert seen[-1].reshape(-1).tolist() == [1, 0, 0, 0]


def test_noise_is_noise() -> None:
    wrapped, contract = adapt_foreign(halved, [port(None, 128)], "their.onnx")
    assert contract.latent_size == 128
    assert wrapped is halved
