"""The teacher's answers: exact, each asked for once, and never another picture's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gan_slimming.data.folder import PictureSet
from gan_slimming.data.inputs import shrunk
from gan_slimming.training.teacher_cache import BLOCK, Shelf, TeacherOutputs

CPU = torch.device("cpu")


class Teacher:
    """Counts its calls; its answer depends on everything that it is shown together."""

    def __init__(self) -> None:
        self.shown: list[Tensor] = []

    def __call__(self, key: int, pictures: Tensor) -> list[Tensor]:
        assert not torch.is_grad_enabled()
        self.shown.append(pictures)
        return [pictures / 2 + pictures.mean()]


@pytest.fixture
def pictures() -> PictureSet:
    pixels = torch.randint(0, 256, (5, 3, 8, 8), generator=torch.Generator().manual_seed(3))
    rows = torch.tensor([4, 0, 2])
    return PictureSet(pixels.to(torch.uint8), rows, tuple(Path(str(i)) for i in range(3)))


def ask(outputs: TeacherOutputs, *keys: tuple[int, int], shrink: int = 1) -> tuple[Tensor, Tensor]:
    indices, views = (torch.tensor(values) for values in zip(*keys, strict=True))
    (pictures,), numbers, (answers,) = outputs.batch(indices, views, shrink)
    assert len(set(numbers)) == len(keys)
    return pictures, answers


def test_answers_fit_their_pictures_views_and_sizes(pictures: PictureSet) -> None:
    outputs = TeacherOutputs(pictures, Teacher(), CPU)
    whole = [[(2, 0), (0, 1)], [(0, 1), (1, 0), (0, 0)], [(2, 1)]]
    parts = [[(2, 7), (0, 2)], [(0, 3), (1, 7), (1, 6)]]
    for shrink, shows in ((2, whole + parts), (1, whole)):
        for _ in range(2):  # made, then remembered
            for keys in shows:
                shown, answers = ask(outputs, *keys, shrink=shrink)
                indices, views = (torch.tensor(v) for v in zip(*keys, strict=True))
                assert torch.equal(shown, pictures.batch(indices, views, shrink))
                mean = shown.mean(dim=(1, 2, 3), keepdim=True)
                torch.testing.assert_close(answers, shown / 2 + mean, rtol=0, atol=5e-4)


def test_an_answer_does_not_depend_on_the_batch_or_on_the_order(pictures: PictureSet) -> None:
    first = TeacherOutputs(pictures, Teacher(), CPU)
    together = ask(first, (0, 0), (1, 1), (2, 0))[1]
    second = TeacherOutputs(pictures, Teacher(), CPU)
    for place, key in ((2, (2, 0)), (0, (0, 0)), (1, (1, 1))):
        assert torch.equal(ask(second, key)[1][0], together[place])


def test_each_is_asked_for_once_and_alone(pictures: PictureSet) -> None:
    teacher = Teacher()
    outputs = TeacherOutputs(pictures, teacher, CPU)
    for _ in range(3):
        ask(outputs, (0, 0), (0, 1), (1, 0))
    assert [tuple(x.shape) for x in teacher.shown] == [(1, 3, 8, 8)] * 3
    ask(outputs, (0, 0), shrink=2)
    assert [tuple(x.shape) for x in teacher.shown[3:]] == [(1, 3, 4, 4)]


def test_differences_far_below_an_8_bit_step_survive(pictures: PictureSet) -> None:
    """The known-wrong variant, answers kept as 8-bit pictures, loses them."""
    offset = 0.1 / 127.5
    plain = TeacherOutputs(pictures, lambda _, x: [x * 0.4], CPU)
    moved = TeacherOutputs(pictures, lambda _, x: [x * 0.4 + offset], CPU)
    first, second = ask(plain, (0, 0))[1], ask(moved, (0, 0))[1]
    assert first.dtype == torch.float32
    assert float((second - first).mean()) == pytest.approx(offset, rel=0.02)

    def as_8_bit(x: Tensor) -> Tensor:
        return ((x + 1) * 127.5).round() / 127.5 - 1

    lost = (as_8_bit(second) == as_8_bit(first)).float().mean()
    assert lost > 0.8


def test_the_memory_limit_is_kept_and_costs_only_time(pictures: PictureSet) -> None:
    one = 3 * 8 * 8 * 2
    teacher = Teacher()
    outputs = TeacherOutputs(pictures, teacher, CPU, memory_limit=2 * one + 1)
    expected = ask(TeacherOutputs(pictures, Teacher(), CPU), (0, 0), (1, 0), (2, 0))[1]
    for _ in range(2):
        assert torch.equal(ask(outputs, (0, 0), (1, 0), (2, 0))[1], expected)
    assert outputs.bytes == sum(a.nbytes for (a,) in outputs.kept.values()) == 2 * one
    assert len(teacher.shown) == 4


def test_answers_of_another_size_leave_their_room(pictures: PictureSet) -> None:
    """Kept, those of half the size would leave none, and the large ones would be made each time."""
    whole, teacher = 3 * 8 * 8 * 2, Teacher()
    outputs = TeacherOutputs(pictures, teacher, CPU, memory_limit=2 * whole)
    ask(outputs, (0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), shrink=2)
    for _ in range(2):
        ask(outputs, (0, 0), (1, 0))
    assert outputs.bytes == 2 * whole
    assert len(teacher.shown) == 6 + 2


def test_whatever_else_the_teacher_tells_is_kept_beside_its_picture(pictures: PictureSet) -> None:
    """Numbers inside a network may be larger than float16 can hold."""
    told: list[int] = []
    keys: list[int] = []

    def teacher(key: int, x: Tensor) -> list[Tensor]:
        told.append(key)
        return [x, torch.full((1, 2, 5), 1e6 + key)]

    outputs = TeacherOutputs(pictures, teacher, CPU)
    for _ in range(2):
        _, keys, (_, inside) = outputs.batch(torch.tensor([2, 0]), torch.tensor([1, 0]))
        assert inside.shape == (2, 2, 5)
        assert inside[:, 0, 0].tolist() == pytest.approx([1e6 + key for key in keys], rel=4e-3)
    assert told == keys
    outputs.forget()
    outputs.batch(torch.tensor([2, 0]), torch.tensor([1, 0]))
    assert told == keys + keys
    assert outputs.bytes == 2 * (3 * 8 * 8 + 2 * 5) * 2


def test_answers_lie_in_a_few_blocks_whatever_they_are(pictures: PictureSet) -> None:
    """The known-wrong variant, a tensor of its own for each, leaves holes all over the heap."""
    outputs = TeacherOutputs(pictures, lambda _, x: [x, x.sum(dim=1), x.mean(dim=(1, 2))], CPU)
    for index in range(3):
        outputs.batch(torch.tensor([index]), torch.tensor([0]))
    kept = [x for answer in outputs.kept.values() for x in answer]
    assert len(kept) == 9
    assert len({x.untyped_storage().data_ptr() for x in kept}) == len(outputs.shelf.blocks) == 1


def test_what_lies_on_a_shelf_is_a_copy_of_its_own() -> None:
    shelf = Shelf()
    values = [
        torch.rand(3, 5),
        torch.rand(7).to(torch.bfloat16),
        torch.rand(()),
        torch.rand(4).half(),
    ]
    put = [shelf.put(x) for x in values]
    for x, there in zip(values, put, strict=True):
        assert torch.equal(x, there)
        assert there.dtype == x.dtype
        assert there.is_contiguous()
    values[0].zero_()
    assert put[0].any()


def test_a_full_shelf_takes_another_block_and_a_large_tensor_one_of_its_size() -> None:
    shelf = Shelf()
    for size in (BLOCK - 64, 64, 1, 2 * BLOCK):
        assert shelf.put(torch.full((size,), 3, dtype=torch.uint8)).sum() == 3 * size
    assert [block.numel() for block in shelf.blocks] == [BLOCK, BLOCK, 2 * BLOCK]


def test_shrinking_takes_means_of_the_whole_picture() -> None:
    picture = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert shrunk(picture, 2).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert shrunk(picture, 1) is picture
