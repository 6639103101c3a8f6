"""Files for LiteRT: whose they are, how they take images, and what XNNPACK leaves."""

import os

import numpy as np
import pytest

from gan_slimming.runtime.litert import (
    channels_last,
    load_model,
    operators_outside,
    quiet,
    start_litert,
)


def test_what_a_library_writes_to_stderr_is_silenced(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet():
        os.write(2, b"hidden")
    os.write(2, b"shown")
    assert capfd.readouterr().err == "shown"


def test_only_values_of_four_axes_have_channels() -> None:
    assert channels_last(np.zeros((1, 3, 4, 5))).shape == (1, 4, 5, 3)
    assert channels_last(np.zeros((1, 7))).shape == (1, 7)


def _content(metadata: str) -> bytes:
    """Return a model of an operator that XNNPACK takes, and of one that it leaves."""
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")
    from gan_slimming.export.tflite.model import Model

    model = Model()
    source = model.tensor((1, 4, 6, 3))
    inner = model.emit("ABS", [source], (1, 4, 6, 3))
    model.emit("NEG", [inner], (1, 4, 6, 3))  # nobody reads it
    pads = model.constant(np.array([[0, 0], [1, 1], [0, 0], [0, 0]], np.int32))
    result = model.emit("MIRROR_PAD", [inner, pads], (1, 6, 6, 3), "MirrorPadOptions")
    return model.content({"input": source}, [result], metadata)


def test_operators_outside_xnnpack_are_named_and_unread_ones_dropped() -> None:
    loaded = load_model(_content(""), 1)
    assert operators_outside(loaded.native) == [(1, "MIRROR_PAD", 108)]
    values = -np.arange(72, dtype=np.float32).reshape(1, 4, 6, 3)
    expected = np.pad(-values, ((0, 0), (1, 1), (0, 0), (0, 0)), mode="reflect")
    assert np.array_equal(loaded.run(values)[0], expected)


def test_files_of_this_package_take_channels_first_and_others_as_they_are() -> None:
    own, foreign = (start_litert(_content(text), 1) for text in ('{"format": 1}', ""))
    assert (own.metadata, foreign.metadata) == ('{"format": 1}', "")
    assert own.ports[0].shape == (1, 4, 6, 3)
    assert own.run(np.zeros((1, 3, 4, 6), np.float32)).shape == (1, 3, 6, 6)
    assert foreign.run(np.zeros((1, 4, 6, 3), np.float32)).shape == (1, 6, 6, 3)
