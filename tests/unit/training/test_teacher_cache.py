"""The teacher's answers: exact, each asked for once, and never another image's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gan_slimming.data.folder import ImageSet
from gan_slimming.data.inputs import downscaled
from gan_slimming.training.teacher_cache import BLOCK, MEMORY_LIMIT, Arena, TeacherCache


class Teacher:
    """Counts its calls; its answer depends on everything that it is shown together."""

    def __init__(self) -> None:
        self.shown: list[Tensor] = []

    def __call__(self, images: Tensor) -> list[Tensor]:
        self.shown.append(images)
        return [images / 2 + images.mean()]


@pytest.fixture
def images() -> ImageSet:
    pixels = torch.randint(0, 256, (5, 3, 8, 8), generator=torch.Generator().manual_seed(3))
    rows = torch.tensor([4, 0, 2])
    return ImageSet(pixels.to(torch.uint8), rows, tuple(Path(str(i)) for i in range(3)))


class Asked:
    """A teacher behind its cache, asked about images."""

    def __init__(
        self,
        images: ImageSet,
        teacher: Callable[[Tensor], list[Tensor]],
        memory_limit: int = MEMORY_LIMIT,
    ) -> None:
        self.images, self.teacher, self.cache = images, teacher, TeacherCache(memory_limit)

    def __call__(self, *keys: tuple[int, int], downscale: int = 1) -> tuple[Tensor, list[Tensor]]:
        indices, augmentations = (torch.tensor(values) for values in zip(*keys, strict=True))
        (shown,) = self.images.batch(indices, augmentations, downscale)
        whole = [(*key, downscale) for key in keys]
        return shown, self.cache.answers(whole, lambda k: self.teacher(shown[k : k + 1]))


def test_answers_fit_their_images_views_and_sizes(images: ImageSet) -> None:
    outputs = Asked(images, Teacher())
    whole = [[(2, 0), (0, 1)], [(0, 1), (1, 0), (0, 0)], [(2, 1)]]
    parts = [[(2, 7), (0, 2)], [(0, 3), (1, 7), (1, 6)]]
    for downscale, shows in ((2, whole + parts), (1, whole)):
        for _ in range(2):  # made, then remembered
            for keys in shows:
                shown, (answers,) = outputs(*keys, downscale=downscale)
                indices, augmentations = (torch.tensor(v) for v in zip(*keys, strict=True))
                assert torch.equal(shown, images.images(indices, augmentations, downscale))
                mean = shown.mean(dim=(1, 2, 3), keepdim=True)
                torch.testing.assert_close(answers, shown / 2 + mean, rtol=0, atol=5e-4)


def test_an_answer_does_not_depend_on_the_batch_or_on_the_order(images: ImageSet) -> None:
    first = Asked(images, Teacher())
    (together,) = first((0, 0), (1, 1), (2, 0))[1]
    second = Asked(images, Teacher())
    for place, key in ((2, (2, 0)), (0, (0, 0)), (1, (1, 1))):
        assert torch.equal(second(key)[1][0][0], together[place])


def test_each_is_asked_for_once_and_alone(images: ImageSet) -> None:
    teacher = Teacher()
    outputs = Asked(images, teacher)
    for _ in range(3):
        outputs((0, 0), (0, 1), (1, 0))
    assert [tuple(x.shape) for x in teacher.shown] == [(1, 3, 8, 8)] * 3
    outputs((0, 0), downscale=2)
    assert [tuple(x.shape) for x in teacher.shown[3:]] == [(1, 3, 4, 4)]


def test_differences_far_below_an_8_bit_step_survive(images: ImageSet) -> None:
    """The known-wrong variant, answers kept as 8-bit images, loses them."""
    offset = 0.1 / 127.5
    plain = Asked(images, lambda x: [x * 0.4])
    moved = Asked(images, lambda x: [x * 0.4 + offset])
    (first,), (second,) = plain((0, 0))[1], moved((0, 0))[1]
    assert first.dtype == torch.float32
    assert float((second - first).mean()) == pytest.approx(offset, rel=0.02)

    def as_8_bit(x: Tensor) -> Tensor:
        return ((x + 1) * 127.5).round() / 127.5 - 1

    lost = (as_8_bit(second) == as_8_bit(first)).float().mean()
    assert lost > 0.8


def test_the_memory_limit_is_kept_and_costs_only_time(images: ImageSet) -> None:
    one = 3 * 8 * 8 * 2
    teacher = Teacher()
    outputs = Asked(images, teacher, memory_limit=2 * one + 1)
    (expected,) = Asked(images, Teacher())((0, 0), (1, 0), (2, 0))[1]
    for _ in range(2):
        assert torch.equal(outputs((0, 0), (1, 0), (2, 0))[1][0], expected)
    assert outputs.cache.bytes == sum(a.nbytes for (a,) in outputs.cache.kept.values()) == 2 * one
    assert len(teacher.shown) == 4


def test_answers_on_disk_are_the_same_and_leave_no_file(images: ImageSet, tmp_path: Path) -> None:
    teacher = Teacher()
    outputs = Asked(images, teacher)
    outputs.cache = TeacherCache(folder=tmp_path / "answers")
    keys = (0, 0), (1, 0), (2, 1)
    (expected,) = Asked(images, Teacher())(*keys)[1]
    for _ in range(2):
        assert torch.equal(outputs(*keys)[1][0], expected)
    assert len(teacher.shown) == 3
    assert list((tmp_path / "answers").iterdir()) == []


def test_a_full_disk_costs_only_time(
    images: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", refuse, raising=False)
    outputs = Asked(images, Teacher())
    outputs.cache = TeacherCache(folder=tmp_path)
    with pytest.warns(UserWarning, match=r"no more .* are kept: .*: No space left") as caught:
        first = outputs((0, 0), (1, 0))[1][0]
    assert torch.equal(outputs((0, 0), (1, 0))[1][0], first)  # a second warning is an error
    assert len(caught) == 1
    assert list(tmp_path.iterdir()) == []


def test_features_are_kept_beside_the_image(images: ImageSet) -> None:
    """Numbers inside a network may be larger than float16 can hold."""
    asked: list[float] = []

    def teacher(x: Tensor) -> list[Tensor]:
        asked.append(float(x.mean()))
        return [x, torch.full((1, 2, 5), 1e6 * asked[-1])]

    outputs = Asked(images, teacher)
    for _ in range(2):
        shown, (_, features) = outputs((2, 1), (0, 0))
        assert features.shape == (2, 2, 5)
        expected = (1e6 * shown.mean(dim=(1, 2, 3))).tolist()
        assert features[:, 0, 0].tolist() == pytest.approx(expected, rel=4e-3)
    assert len(asked) == 2
    outputs.cache.clear()
    outputs((2, 1), (0, 0))
    assert asked[2:] == asked[:2]
    assert outputs.cache.bytes == 2 * (3 * 8 * 8 + 2 * 5) * 2


def test_answers_lie_in_a_few_blocks_whatever_they_are(images: ImageSet) -> None:
    """The known-wrong variant, a tensor of its own for each, leaves holes all over the heap."""
    outputs = Asked(images, lambda x: [x, x.sum(dim=1), x.mean(dim=(1, 2))])
    for index in range(3):
        outputs((index, 0))
    kept = [x for answer in outputs.cache.kept.values() for x in answer]
    assert len(kept) == 9
    assert (
        len({x.untyped_storage().data_ptr() for x in kept}) == len(outputs.cache.arena.blocks) == 1
    )


def test_what_lies_in_an_arena_is_a_copy_of_its_own() -> None:
    arena = Arena()
    values = [
        torch.rand(3, 5),
        torch.rand(7).to(torch.bfloat16),
        torch.rand(()),
        torch.rand(4).half(),
    ]
    put = [arena.put(x) for x in values]
    for x, there in zip(values, put, strict=True):
        assert torch.equal(x, there)
        assert there.dtype == x.dtype
        assert there.is_contiguous()
    values[0].zero_()
    assert put[0].any()


def test_a_full_arena_takes_another_block_and_a_large_tensor_one_of_its_size() -> None:
    arena = Arena()
    for size in (BLOCK - 64, 64, 1, 2 * BLOCK):
        assert arena.put(torch.full((size,), 3, dtype=torch.uint8)).sum() == 3 * size
    assert [block.numel() for block in arena.blocks] == [BLOCK, BLOCK, 2 * BLOCK]


def test_shrinking_takes_means_of_the_whole_image() -> None:
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert downscaled(image, 2).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert downscaled(image, 1) is image
