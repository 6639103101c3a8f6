"""Reading, running and writing at the same time, in order, with little in memory."""

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
"""So many items are read in advance, and so many wait to be written."""


def overlapped(
    items: Iterable[Item],
    read: Callable[[Item], Read],
    run: Callable[[Item, Read], Made],
    write: Callable[[Item, Read, Made], None],
    expected: type[Exception],
) -> Iterator[tuple[Item, Exception | None]]:
    """Every item with the error that it met, in order; one thread reads, one writes.

    Decoders and encoders let other threads run, and so cost no time of their own. Whatever is not
    `expected`, Ctrl-C too, ends the work: what has begun to be written is written whole, the rest
    is dropped.

    Args:
        items: one after the other; taken from in the caller's thread.
        read, run, write: the steps of an item; `run` stays in the caller's thread.
        expected: the kind of error that concerns one item alone.
    """
    reader, writer = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
    rest = iter(items)
    going: deque[tuple[Item, Future[None]]] = deque()
    try:
        coming = deque((item, reader.submit(read, item)) for item in islice(rest, AHEAD))
        while coming:
            item, reading = coming.popleft()
            coming.extend((next_one, reader.submit(read, next_one)) for next_one in islice(rest, 1))
            try:
                found = reading.result()
                made = run(item, found)
            except expected as error:
                yield item, error
                continue
            going.append((item, writer.submit(write, item, found, made)))
            if len(going) > AHEAD:
                yield _finished(*going.popleft(), expected)
        while going:
            yield _finished(*going.popleft(), expected)
    finally:
        reader.shutdown(cancel_futures=True)
        writer.shutdown(cancel_futures=True)


def _finished(
    item: Item, writing: Future[None], expected: type[Exception]
) -> tuple[Item, Exception | None]:
    try:
        writing.result()
    except expected as error:
        return item, error
    return item, None
