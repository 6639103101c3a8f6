"""Translation of video files, frame by frame, with PyAV (the extra [video])."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gan_slimming.data.files import draft_of
from gan_slimming.data.image_files import ImageError
from gan_slimming.data.pipeline import overlapped
from gan_slimming.errors import UserError, one_line

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi")
ENCODERS = {".webm": ("libvpx-vp9", "libvpx"), "": ("libx264", "mpeg4")}
"""Suffix -> encoders, best first; '' for all other suffixes."""
SIGNATURES = (
    (b"ftyp", 4, "mov"), (b"moov", 4, "mov"), (b"mdat", 4, "mov"), (b"wide", 4, "mov"),
    (b"free", 4, "mov"), (b"skip", 4, "mov"), (b"\x1aE\xdf\xa3", 0, "matroska"),
    (b"AVI ", 8, "avi"),
)  # fmt: skip
"""First bytes, their place, and ffmpeg's reader of that format."""
Change = Callable[[Tensor], Tensor]
"""Image (3, height, width), RGB in [-1, 1] -> its translation."""


def is_video(path: str | Path) -> bool:
    """Return whether a file has the suffix of a video."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def require_video() -> None:
    """Raise UserError if PyAV is missing."""
    if find_spec("av") is None:
        raise UserError("video files need PyAV; pip install 'gan-slimming[video]'")


def translate_video(source: Path, target: Path, change: Change) -> int:
    """Write a video of changed frames; times stay, and sound is copied.

    The target appears only when complete: an error or Ctrl-C leaves nothing behind.

    Args:
        change: maps an image (3, height, width), RGB in [-1, 1], to another; all results have one
            size.
    Returns:
        The number of frames.
    Raises:
        ImageError: the source cannot be read, or the target cannot be written.
    """
    import av
    from av.error import FFmpegError

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            draft_of(target) as draft,
            open_video(source) as given,
            av.open(str(draft), "w") as made,
        ):
            return _copy(given, made, change, target.suffix.lower())
    except (FFmpegError, OSError, ValueError) as error:
        reason = one_line(error)[:200]
        raise ImageError(source, reason, "translate") from error


def open_video(path: Path) -> Any:
    """Open a video with the reader of its own format, which its first bytes tell.

    ffmpeg would take a list of other files or addresses under a video's name, and open those.

    Raises:
        ValueError: it is no video of a known format.
        FFmpegError, OSError: it cannot be opened.
    """
    import av

    if not path.is_file():
        raise ValueError("it is no regular file")
    with path.open("rb") as file:
        head = file.read(12)
    for signature, at, reader in SIGNATURES:
        if head[at : at + len(signature)] == signature:
            options = {"protocol_whitelist": "file"}
            return av.open(str(path.resolve()), format=reader, options=options)
    raise ValueError("it is no MP4, MOV, Matroska, WebM or AVI file")


def _copy(given: Any, made: Any, change: Change, suffix: str) -> int:
    """Copy one container into another, with changed frames; return the number of frames."""
    if not given.streams.video:
        raise ValueError("it holds no video")
    images = given.streams.video[0]
    images.thread_type = "AUTO"
    encoder = _add_encoder(made, images, suffix)
    sound = {
        stream.index: made.add_stream_from_template(stream)
        for stream in given.streams.audio
        if suffix == Path(given.name).suffix.lower()  # another container may not support its codec
    }
    frames, early = 0, []

    def run(item: Any, image: Tensor | None) -> Tensor | None:
        return None if image is None else change(image)

    def write(item: Any, _: Tensor | None, image: Tensor | None) -> None:
        if image is None:
            item.stream = sound[item.stream.index]
            early.append(item)
        else:
            made.mux(encoder.encode(_to_frame(image, item, encoder)))
        while encoder.width and early:  # the header, which holds the size, must be written first
            made.mux(early.pop(0))

    steps = _packets_and_frames(given, images, sound)
    for item, _ in overlapped(steps, _to_tensor, run, write, ImageError):
        frames += hasattr(item, "to_ndarray")
    if not frames:
        raise ValueError("it holds no frames")
    made.mux(encoder.encode(None))
    return frames


def _packets_and_frames(given: Any, images: Any, sound: dict[int, Any]) -> Iterator[Any]:
    """Yield packets of sound and decoded frames, in the order of the file."""
    chosen = [stream for stream in given.streams.audio if stream.index in sound]
    for packet in given.demux([images, *chosen]):
        if packet.stream.index in sound:
            if packet.dts is not None:  # the last one is empty
                yield packet
        else:
            yield from packet.decode()


def _add_encoder(made: Any, images: Any, suffix: str) -> Any:
    """Add a video stream of the same rate; its size is set by the first frame."""
    import av

    names = ENCODERS.get(suffix, ENCODERS[""])
    name = next((n for n in names if n in av.codecs_available), names[-1])
    encoder = made.add_stream(name, rate=images.average_rate or Fraction(25))
    encoder.codec_context.time_base = images.time_base
    encoder.width = 0
    return encoder


def _to_tensor(item: Any) -> Tensor | None:
    """Convert a frame to a canonical image; return None for sound."""
    if not hasattr(item, "to_ndarray"):
        return None
    pixels = torch.from_numpy(np.ascontiguousarray(item.to_ndarray(format="rgb24")))
    return pixels.permute(2, 0, 1).float() / 127.5 - 1


def _to_frame(image: Tensor, source: Any, encoder: Any) -> Any:
    """Convert a canonical image to a frame with the time of `source`."""
    import av

    pixels = ((image.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    array = np.ascontiguousarray(pixels.permute(1, 2, 0).cpu().numpy())
    if not encoder.width:
        encoder.height, encoder.width = array.shape[:2]
        # Chroma at half resolution (yuv420p) needs even sides.
        odd = any(side % 2 for side in array.shape[:2])
        encoder.pix_fmt = "yuv444p" if odd and encoder.name != "mpeg4" else "yuv420p"
    frame = av.VideoFrame.from_ndarray(array, format="rgb24")
    frame.pts, frame.time_base = source.pts, source.time_base
    return frame
