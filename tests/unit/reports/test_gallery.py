"""The gallery: samples of a run folder, in order of how far they are from the teacher."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gan_slimming.data.image_files import write_image
from gan_slimming.reports.gallery import DIFFERENCE, Sample, gallery_of, read_samples


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three samples: input, teacher, student of 4 pixels a side."""
    (tmp_path / "samples").mkdir()
    for i in range(3):
        strip = torch.zeros(3, 4, 12)
        strip[:, :, 8:] = 0.1 * (i + 1)
        write_image(tmp_path / "samples" / f"{i:02d}_input_teacher_student.png", strip)
    return tmp_path


HELD_OUT = [
    {"name": f"{i}.jpg", "lpips": lpips, "psnr": 20.0 + i, "sample": sample}
    for i, (lpips, sample) in enumerate(
        [
            (0.2, "00_input_teacher_student.png"),
            (0.9, None),
            (0.4, "01_input_teacher_student.png"),
            (0.1, "02_input_teacher_student.png"),
        ]
    )
]


def test_samples_have_their_views_names_and_distances(folder: Path) -> None:
    warnings: list[str] = []
    samples = read_samples(folder, HELD_OUT, warnings)
    assert not warnings
    assert [s.name for s in samples] == ["0.jpg", "2.jpg", "3.jpg"]
    assert list(samples[0].views) == ["input", "teacher", "student", DIFFERENCE]
    assert samples[1].figures == {"lpips": 0.4, "psnr": 22.0}
    assert (samples[0].views[DIFFERENCE] == 4 * (140 - 128)).all()


def test_places_are_among_all_held_out_images(folder: Path) -> None:
    gallery = gallery_of(read_samples(folder, HELD_OUT, []), HELD_OUT)
    assert gallery is not None
    assert [s.name for s in gallery.shown] == ["2.jpg", "0.jpg", "3.jpg"]
    assert [s.ranks["lpips"] for s in gallery.shown] == [2, 3, 4]
    assert [s.ranks["psnr"] for s in gallery.shown] == [3, 1, 4]  # a higher one is nearer
    assert (gallery.total, gallery.measures) == (4, ["lpips", "psnr"])


def test_a_run_that_measured_no_single_image_is_put_in_order_by_psnr(folder: Path) -> None:
    gallery = gallery_of(read_samples(folder, [], []))
    assert gallery is not None
    assert gallery.measures == ["psnr"]
    assert [s.name for s in gallery.shown] == ["02", "01", "00"]
    expected = 20 * np.log10(255 / (140 - 128))
    assert gallery.shown[-1].figures["psnr"] == pytest.approx(expected, abs=1e-3)


def test_damaged_samples_are_left_out_and_named(folder: Path) -> None:
    (folder / "samples" / "01_input_teacher_student.png").write_bytes(b"no image")
    write_image(folder / "samples" / "02_input_teacher_student.png", torch.zeros(3, 4, 11))
    warnings: list[str] = []
    samples = read_samples(folder, [], warnings)
    assert [s.name for s in samples] == ["00"]
    assert [warning.split()[0] for warning in warnings] == [
        "samples/01_input_teacher_student.png",
        "samples/02_input_teacher_student.png",
    ]


def test_without_samples_there_is_no_gallery(tmp_path: Path) -> None:
    assert read_samples(tmp_path, [], []) == []
    assert gallery_of([]) is None


def test_what_does_not_fit_is_dropped_from_the_middle() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (9, 400, 400, 3), dtype=np.uint8)
    samples = [
        Sample(f"{i}", {"teacher": pixels, "student": pixels[::-1]}, {"lpips": float(i)})
        for i, pixels in enumerate(noise)
    ]
    gallery = gallery_of(samples)
    assert gallery is not None
    kept = [int(s.name) for s in gallery.shown]
    assert 2 <= len(kept) < 9
    assert kept == sorted(kept, reverse=True)
    assert {8, 0} <= set(kept)
    assert 4 not in kept
    assert sum(len(url) for s in gallery.shown for url in s.urls.values()) < 5_000_000
