"""Published sets of training images, by name: downloaded, checked by SHA-256, unpacked.

The hashes are those that TensorFlow Datasets and Keras state.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from gan_slimming.data.download import CHUNK_BYTES, Progress, download
from gan_slimming.data.image_files import SUFFIXES
from gan_slimming.errors import UserError, one_line, system_reason

MOST_BYTES = 1 << 32
"""Most bytes that an archive may unpack to."""
_CYCLEGAN = "http://efrosgans.eecs.berkeley.edu/cyclegan/datasets"


@dataclass(frozen=True)
class Dataset:
    """A published archive of images."""

    url: str
    sha256: str
    unpack: bool = True
    """Whether it is unpacked; CIFAR-10 is read as it is."""


DATASETS = {
    "horse2zebra": Dataset(
        f"{_CYCLEGAN}/horse2zebra.zip",
        "a74d9d392eecca9966b51287a76ca126af473d9de4f3e8fc0e9cda08fa1730a1",
    ),
    "summer2winter": Dataset(
        f"{_CYCLEGAN}/summer2winter_yosemite.zip",
        "167fe1726807a9d22bd106b4a6c0bd7953b688af924ac1bf967439c4961e49f9",
    ),
    "maps": Dataset(
        f"{_CYCLEGAN}/maps.zip",
        "639534f69dbf9f36bef8d6292a7698006361221f83f0285d7c9ca78afe6e8a9e",
    ),
    "cifar10": Dataset(
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        unpack=False,
    ),
}


def fetch_dataset(
    name: str,
    folder: Path,
    *,
    url: str | None = None,
    sha256: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Download a set of images into `folder`, and unpack it there under its name.

    What was cut goes on where it was; what is there already is kept.

    Args:
        name: a key of DATASETS.
        url, sha256: another address of the same archive, and another hash.
        progress: called with (bytes so far, bytes of the archive or None).
    Returns:
        The folder with trainA, trainB and so on; for CIFAR-10 the archive.
    Raises:
        UserError: an unknown name, a failed download, other bytes, or a full disk.
    """
    if name not in DATASETS:
        raise UserError(f"no set of images is called {name!r}; take one of {', '.join(DATASETS)}")
    known = DATASETS[name]
    address = url or known.url
    archive = folder / PurePosixPath(known.url).name
    made = folder / name
    if known.unpack and made.is_dir():
        return made
    download(address, archive, (sha256 or known.sha256).lower(), progress=progress)
    if not known.unpack:
        return archive
    try:
        _unpack(archive, made)
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        reason = system_reason(error) if isinstance(error, OSError) else one_line(error)
        raise UserError(f"{archive} cannot be unpacked to {made} ({reason})") from error
    archive.unlink()
    return made


def _unpack(archive: Path, made: Path) -> None:
    """Unpack the images of a zip, below its one folder, to `made`: all of them or nothing."""
    with tempfile.TemporaryDirectory(dir=made.parent, prefix=f".{made.name}.") as place:
        inside = Path(place) / made.name
        inside.mkdir()
        with zipfile.ZipFile(archive) as file:
            entries = [entry for entry in file.infolist() if _is_image(entry.filename)]
            if sum(entry.file_size for entry in entries) > MOST_BYTES:
                raise UserError(f"{archive} would unpack to more than {MOST_BYTES:,} bytes")
            for entry in entries:
                path = inside.joinpath(*PurePosixPath(entry.filename).parts[1:])
                path.parent.mkdir(parents=True, exist_ok=True)
                with file.open(entry) as source, path.open("wb") as target:
                    shutil.copyfileobj(source, target, CHUNK_BYTES)
        if not entries:
            raise UserError(f"{archive} holds no images")
        inside.rename(made)


def _is_image(name: str) -> bool:
    """Return whether an entry is an image at a place below a folder, and nowhere else."""
    path = PurePosixPath(name)
    below = len(path.parts) > 1 and not path.is_absolute() and ".." not in path.parts
    return below and "\\" not in name and path.suffix.lower() in SUFFIXES
