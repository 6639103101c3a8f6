"""Steps overlap, keep their order, and stop when they must."""

import threading
import time

import pytest

from gan_slimming.data.pipeline import AHEAD, overlapped, read_ahead


def test_results_are_in_order_and_single_errors_stay_single() -> None:
    written: list[int] = []

    def read(item: int) -> int:
        if item == 2:
            raise ValueError("unreadable")
        return 10 * item

    def write(item: int, found: int, made: int) -> None:
        assert (found, made) == (10 * item, 10 * item + 1)
        if item == 5:
            raise ValueError("unwritable")
        written.append(item)

    told = list(overlapped(range(9), read, lambda item, found: found + 1, write, ValueError))
    assert sorted(item for item, _ in told) == list(range(9))
    assert {item: str(error) for item, error in told if error} == {
        2: "unreadable",
        5: "unwritable",
    }
    assert written == [0, 1, 3, 4, 6, 7, 8]


def test_reading_and_writing_leave_the_callers_thread_to_the_network() -> None:
    threads: dict[str, set[int]] = {"read": set(), "run": set(), "write": set()}

    def note(step: str) -> None:
        threads[step].add(threading.get_ident())

    steps = overlapped(
        range(4),
        lambda item: note("read"),
        lambda item, found: note("run"),
        lambda item, found, made: note("write"),
        ValueError,
    )
    assert len(list(steps)) == 4
    assert threads["run"] == {threading.get_ident()}
    assert not threads["read"] & threads["run"]
    assert not threads["write"] & (threads["run"] | threads["read"])


def test_little_is_read_in_advance_and_an_interrupt_drops_the_rest() -> None:
    taken: list[int] = []
    written: list[int] = []

    def items():  # type: ignore[no-untyped-def]
        for item in range(100):
            taken.append(item)
            yield item

    def run(item: int, found: int) -> int:
        if item == 3:
            raise KeyboardInterrupt
        return found

    def write(item: int, found: int, made: int) -> None:
        time.sleep(0.01)
        written.append(item)

    with pytest.raises(KeyboardInterrupt):
        list(overlapped(items(), lambda item: item, run, write, ValueError))
    assert len(taken) <= 3 + 1 + AHEAD
    assert set(written) <= {0, 1, 2}


def test_several_threads_read_ahead_in_order() -> None:
    threads: set[int] = set()
    taken: list[int] = []

    def items():  # type: ignore[no-untyped-def]
        for item in range(30):
            taken.append(item)
            yield item

    def read(item: int) -> int:
        threads.add(threading.get_ident())
        time.sleep(0.002 * (3 - item % 3))
        return item * 2

    found = []
    for item, result in read_ahead(items(), read, workers=3):
        found.append((item, result))
        assert len(taken) - len(found) <= AHEAD + 3
    assert found == [(item, 2 * item) for item in range(30)]
    assert len(threads) == 3
    assert threading.get_ident() not in threads


def test_an_error_comes_at_its_item_and_ends_the_reading() -> None:
    def read(item: int) -> int:
        if item == 2:
            raise ValueError("bad")
        return item

    reading = read_ahead(range(100), read)
    assert [next(reading), next(reading)] == [(0, 0), (1, 1)]
    with pytest.raises(ValueError, match="bad"):
        next(reading)
