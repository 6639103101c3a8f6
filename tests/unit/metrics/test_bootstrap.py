"""Percentile intervals: known widths, seeds, ratios."""

from __future__ import annotations

import numpy as np
import pytest

from gan_slimming.metrics.bootstrap import bootstrap_interval


def test_the_width_is_that_of_the_mean() -> None:
    values = np.random.Generator(np.random.PCG64(1)).normal(3.0, 2.0, 400)
    low, high = bootstrap_interval(values)
    expected = 2 * 1.96 * values.std() / 400**0.5
    assert high - low == pytest.approx(expected, rel=0.1)
    assert low < values.mean() < high


def test_equal_seeds_give_equal_intervals() -> None:
    values = np.arange(50.0)
    assert bootstrap_interval(values, seed=4) == bootstrap_interval(values, seed=4)
    assert bootstrap_interval(values, seed=4) != bootstrap_interval(values, seed=5)


def test_a_constant_has_no_width_and_shares_stay_in_0_to_1() -> None:
    assert bootstrap_interval(np.full(9, 0.25)) == (0.25, 0.25)
    low, high = bootstrap_interval(np.array([1.0] * 28 + [0.0] * 12))
    assert 0.5 < low < 0.7 < high < 0.9


def test_a_figure_of_several_columns() -> None:
    rows = np.stack([np.arange(1.0, 31), 2 * np.arange(1.0, 31)], axis=1)
    found = bootstrap_interval(rows, lambda means: means[0] / means[1])
    assert found == pytest.approx((0.5, 0.5))


@pytest.mark.parametrize("values", [np.zeros(0), np.array([1.0, np.nan])])
def test_nothing_and_no_numbers_are_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="numbers of at least one image"):
        bootstrap_interval(values)
