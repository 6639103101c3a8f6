"""Features of image files, computed once and cached."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from gan_slimming.data.image_files import ImageError, read_content
from gan_slimming.data.pipeline import read_ahead
from gan_slimming.evaluation.images import as_image, decoded
from gan_slimming.evaluation.items import full
from gan_slimming.metrics.embedded_set import EmbeddedSet
from gan_slimming.metrics.feature_cache import FeatureCache, FeatureKey
from gan_slimming.perceptual.embeddings import Embedding

CHUNK = 64
"""Images in one entry of the cache."""
CHUNK_BYTES = 2**25
"""Bytes of the files in one entry, which are in memory together; a larger file has its own."""
BATCH = 16
"""Images in one batch of the feature network."""
Tensors = dict[str, Tensor]


def embed_files(
    paths: Sequence[Path],
    embedding: Embedding,
    into: EmbeddedSet,
    *,
    cache: bool = True,
    workers: int = 2,
    on_images: Callable[[int], None] = lambda _: None,
) -> list[tuple[str, str]]:
    """Add the features of image files to a set, from the cache if it has them.

    The key of an entry is the hash of the bytes read, so a file that changes meanwhile cannot
    spoil an entry.

    Args:
        paths: the files, in order.
        embedding: the feature network.
        into: the set that receives the features.
        cache: whether to read and write entries.
        workers: reading and decoding threads.
        on_images: called with the number of images after each chunk.
    Returns:
        (path, reason) of the files that cannot be read and are left out.
    """
    key = FeatureKey(embedding.network, embedding.weights_sha256, embedding.resize)
    store = FeatureCache(key) if cache else None
    chunks = list(_chunks(paths))
    skipped: list[tuple[str, str]] = []

    def read(chunk: tuple[Path, ...]) -> tuple[list[bytes | ImageError], Tensors | None]:
        contents = [_content(path) for path in chunk]
        digests = _digests(contents)
        return contents, store.read(digests) if store and digests else None

    for chunk, (contents, known) in read_ahead(chunks, read, 1):
        if known is None:
            known, bad = _embed(chunk, contents, embedding, workers)
            skipped += bad
            digests = _digests(contents)
            if store and digests and not bad:
                store.write(digests, known)
        into.update(known["features"], known["scores"])
        on_images(len(chunk))
    return skipped


def _chunks(paths: Sequence[Path]) -> Iterator[tuple[Path, ...]]:
    """Yield the files in parts of at most CHUNK files and CHUNK_BYTES bytes."""
    part: list[Path] = []
    total = 0
    for path in paths:
        size = path.stat().st_size if path.is_file() else 0
        if part and (len(part) >= CHUNK or total + size > CHUNK_BYTES):
            yield tuple(part)
            part, total = [], 0
        part.append(path)
        total += size
    if part:
        yield tuple(part)


def _content(path: Path) -> bytes | ImageError:
    try:
        return read_content(path)
    except ImageError as error:
        return error


def _digests(contents: Sequence[bytes | ImageError]) -> list[str]:
    """Return the SHA-256 of each file, or nothing if one could not be read."""
    if any(isinstance(content, ImageError) for content in contents):
        return []
    return [hashlib.sha256(c).hexdigest() for c in contents if isinstance(c, bytes)]


@torch.inference_mode()
def _embed(
    chunk: Sequence[Path],
    contents: Sequence[bytes | ImageError],
    embedding: Embedding,
    workers: int,
) -> tuple[Tensors, list[tuple[str, str]]]:
    """Return features and scores of the readable files, and (path, reason) of the others."""
    features = [torch.empty(0, embedding.dimensions)]
    scores = [torch.empty(0, embedding.classes)]
    bad: list[tuple[str, str]] = []
    waiting: list[Tensor] = []

    def run() -> None:
        if waiting:
            found = embedding.run(as_image(torch.stack(waiting)))
            features.append(found[0].cpu())
            scores.append(found[1].cpu())
            waiting.clear()

    def decode(pair: tuple[Path, bytes | ImageError]) -> Tensor | ImageError:
        if isinstance(pair[1], ImageError):
            return pair[1]
        try:
            return decoded(pair[0], pair[1])
        except ImageError as error:
            return error

    for (path, _), levels in read_ahead(zip(chunk, contents, strict=True), decode, workers):
        if isinstance(levels, ImageError):
            bad.append((str(path), levels.reason))
            continue
        pixels = levels.shape[-2] * levels.shape[-1]
        if waiting and (waiting[0].shape != levels.shape or full(len(waiting), pixels, BATCH)):
            run()
        waiting.append(levels)
    run()
    return {"features": torch.cat(features), "scores": torch.cat(scores)}, bad
