"""A file of single images serves batches as one of any batch does."""

from __future__ import annotations

import numpy as np
import pytest

from gan_slimming.runtime.foreign import Port
from gan_slimming.runtime.started import Started


@pytest.mark.parametrize(("batch", "calls"), [(1, 3), (None, 1)])
def test_images_of_a_batch_go_one_by_one_where_they_have_to(batch: int | None, calls: int) -> None:
    seen = []

    def run(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        seen.append(len(images))
        return images + labels

    port = Port("input", (batch, 2), np.dtype(np.float32))
    images, labels = np.arange(6.0).reshape(3, 2), np.ones((3, 2))
    made = Started(run, None, "", ports=(port, port)).for_any_batch()(images, labels)
    np.testing.assert_array_equal(made, images + 1)
    assert len(seen) == calls
