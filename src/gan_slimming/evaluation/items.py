"""The inputs of an evaluation, read in batches: photos, frames of a video, or noise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gan_slimming.data.image_files import ImageError
from gan_slimming.data.inputs import Inputs
from gan_slimming.data.pipeline import read_ahead
from gan_slimming.data.video import open_video, require_video
from gan_slimming.errors import UserError, one_line
from gan_slimming.evaluation.images import ImageFolder, as_image, read_image

MOST_PIXELS = 2**19
"""Most pixels in one batch of images, so that large ones are processed one by one."""

Item = tuple[int, Tensor | None]
"""The index of an item, and its frame if it comes from a video."""


@dataclass(frozen=True)
class Items:
    """The inputs of one evaluation: one of `paths`, `video` and `read` is set."""

    names: tuple[str, ...]
    """Names that pair items with images of folders: paths without suffix, or digits."""
    label: str
    """The user's name for them."""
    folder: ImageFolder | None = None
    paths: tuple[Path, ...] = ()
    """Paths of the photos, in the order of `names`."""
    video: Path | None = None
    read: Callable[[int], Inputs] | None = None
    """Index -> inputs without batch axis, of noise, a dataset's item or a table's line."""
    size: int | None = None
    """Side in pixels to which photos are resized; None keeps their size."""

    frames_per_second: float = 30.0
    """Rate of the video; that of a folder whose images are frames is not known."""

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Batch:
    """A batch of items of equal size."""

    indices: tuple[int, ...]
    """Positions in `Items.names`."""
    inputs: Inputs | None
    """Inputs of generators, images in [-1, 1] or latents; None if no generator is judged."""
    images: tuple[Tensor, ...]
    """Images of each folder, (batch, 3, height, width) float32 in [-1, 1]."""


@dataclass(frozen=True)
class _Loaded:
    index: int
    inputs: Inputs
    images: tuple[Tensor, ...]

    @property
    def shapes(self) -> tuple[torch.Size, ...]:
        return tuple(x.shape for x in (*self.inputs, *self.images))


def full(images: int, pixels: int, most: int) -> bool:
    """Return whether a batch of images of so many pixels each can take none more."""
    return images >= most or (images + 1) * pixels > MOST_PIXELS


class Reader:
    """An iterator over batches that decodes images ahead in threads.

    Args:
        items: the inputs.
        folders: the paths of each folder of images, in the order of the items.
        inputs: whether a generator needs the inputs; photos are left unread otherwise.
        workers: decoding threads.
        batch_size: largest number of items in a batch.
        scale: largest ratio of an output's width to its input's.

    Attributes:
        skipped: (name, reason) of items of which a photo, or a folder's image, cannot be read; no
            model is judged on them.
    """

    def __init__(
        self,
        items: Items,
        folders: Sequence[Sequence[Path]] = (),
        *,
        inputs: bool = True,
        workers: int = 2,
        batch_size: int = 32,
        scale: int = 1,
    ) -> None:
        self.scale = scale
        self.items, self.folders = items, folders
        self.inputs, self.workers, self.batch_size = inputs, workers, batch_size
        self.skipped: list[tuple[str, str]] = []

    def __iter__(self) -> Iterator[Batch]:
        waiting: list[_Loaded] = []
        for (index, _), found in self._found():
            if isinstance(found, ImageError):
                self.skipped.append((self.items.names[index], self._reason(found)))
                continue
            if waiting and (self._full(waiting) or found.shapes != waiting[0].shapes):
                yield self._batch(waiting)
                waiting = []
            waiting.append(found)
        if waiting:
            yield self._batch(waiting)

    def _found(self) -> Iterator[tuple[Item, _Loaded | ImageError]]:
        if self.items.read is None:
            return read_ahead(self._source(), self._read, self.workers)
        # A dataset is the user's code, which threads need not suit.
        return ((item, self._read(item)) for item in self._source())

    def _source(self) -> Iterable[Item]:
        if self.items.video is not None:
            return enumerate(read_frames(self.items.video))
        return ((index, None) for index in range(len(self.items)))

    def _read(self, item: Item) -> _Loaded | ImageError:
        index, frame = item
        try:
            inputs = self._inputs_of(index, frame) if self.inputs else ()
            images = tuple(read_image(paths[index]) for paths in self.folders)
        except ImageError as error:
            return error
        return _Loaded(index, inputs, images)

    def _reason(self, error: ImageError) -> str:
        """Return the reason, with the file where it is not the input itself."""
        own = error.path in self.items.paths
        return error.reason if own else f"{error.path}: {error.reason}"

    def _inputs_of(self, index: int, frame: Tensor | None) -> Inputs:
        if self.items.read is not None:
            return self.items.read(index)
        if frame is None:
            frame = read_image(self.items.paths[index], self.items.size)
        return (as_image(frame),)

    def _full(self, waiting: list[_Loaded]) -> bool:
        first = waiting[0]
        sizes = [image.shape[-2] * image.shape[-1] for image in first.images]
        if first.inputs and first.inputs[0].dim() == 3:
            height, width = first.inputs[0].shape[-2:]
            sizes.append(height * width * self.scale**2)
        return full(len(waiting), max(sizes, default=0), self.batch_size)

    def _batch(self, waiting: list[_Loaded]) -> Batch:
        indices = tuple(entry.index for entry in waiting)
        given = zip(*(entry.inputs for entry in waiting), strict=True)
        inputs = tuple(torch.stack(parts) for parts in given) if self.inputs else None
        columns = zip(*(entry.images for entry in waiting), strict=True)
        images = tuple(as_image(torch.stack(column)) for column in columns)
        return Batch(indices, inputs, images)


def read_frames(video: Path) -> Iterator[Tensor]:
    """Yield the frames of a video, (3, height, width) uint8 RGB.

    Raises:
        UserError: PyAV is missing, or the file cannot be read.
    """
    require_video()
    from av.error import FFmpegError

    try:
        with open_video(video) as container:
            for frame in container.decode(video=0):
                pixels = torch.from_numpy(frame.to_ndarray(format="rgb24"))
                yield pixels.permute(2, 0, 1).contiguous()
    except (FFmpegError, OSError, ValueError, IndexError) as error:
        reason = one_line(error)[:200]
        raise UserError(f"cannot read the video {video} ({reason})") from error


def frame_rate(video: Path) -> float:
    """Return the mean rate of a readable video in frames per second; 30 where it is unknown."""
    import av

    with av.open(str(video)) as container:
        return float(container.streams.video[0].average_rate or 30)
