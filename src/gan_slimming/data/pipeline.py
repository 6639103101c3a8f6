"""Overlapped reading, running and writing of items, in order, with few in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Read = TypeVar("Read")
Made = TypeVar("Made")
AHEAD = 3
"""Most items read in advance, and most items waiting to be written."""


def overlapped(
    items: Iterable[Item],
    read: Callable[[Item], Read],
    run: Callable[[Item, Read], Made],
    write: Callable[[Item, Read, Made], None],
    expected: type[Exception],
) -> Iterator[tuple[Item, Exception | None]]:
    """Yield every item with its error, if any, in order; one thread reads, one writes.

    Decoders and encoders release the interpreter lock, so they cost no extra time. Any error other
    than `expected`, and Ctrl-C, ends the work: started writes are completed, the rest is dropped.

    Args:
        items: iterated in the caller's thread.
        read, run, write: the steps of an item; `run` stays in the caller's thread.
        expected: the type of errors that concern a single item.
    """
    reader, writer = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
    rest = iter(items)
    writes: deque[tuple[Item, Future[None]]] = deque()
    try:
        reads = deque((item, reader.submit(read, item)) for item in islice(rest, AHEAD))
        while reads:
            item, reading = reads.popleft()
            reads.extend((next_one, reader.submit(read, next_one)) for next_one in islice(rest, 1))
            try:
                found = reading.result()
                made = run(item, found)
            except expected as error:
                yield item, error
                continue
            writes.append((item, writer.submit(write, item, found, made)))
            if len(writes) > AHEAD:
                yield _finished(*writes.popleft(), expected)
        while writes:
            yield _finished(*writes.popleft(), expected)
    finally:
        reader.shutdown(cancel_futures=True)
        writer.shutdown(cancel_futures=True)


def read_ahead(
    items: Iterable[Item], read: Callable[[Item], Read], workers: int = 2
) -> Iterator[tuple[Item, Read]]:
    """Every item with what was read for it, in order, while several threads read the next ones.

    At most AHEAD + `workers` results wait at any time. An error of `read` is raised at its item;
    what has not begun is dropped then, and also where the caller stops early.

    Args:
        items: one after the other; taken from in the caller's thread.
        read: called in the threads.
        workers: threads, at least 1.
    """
    pool = ThreadPoolExecutor(max(1, workers))
    rest = iter(items)
    try:
        first = islice(rest, AHEAD + max(1, workers))
        coming = deque((item, pool.submit(read, item)) for item in first)
        while coming:
            item, reading = coming.popleft()
            found = reading.result()
            coming.extend((next_one, pool.submit(read, next_one)) for next_one in islice(rest, 1))
            yield item, found
    finally:
        pool.shutdown(cancel_futures=True)


def _finished(
    item: Item, writing: Future[None], expected: type[Exception]
) -> tuple[Item, Exception | None]:
    try:
        writing.result()
    except expected as error:
        return item, error
    return item, None
