"""Reading other people's weights: every wrapper, and every way in which a file can be bad."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from gan_slimming.errors import UserError
from gan_slimming.models.checkpoints import (
    DISCRIMINATOR_WRAPPERS,
    GENERATOR_WRAPPERS,
    load_checked,
    read_state_dict,
)

STATE = {"weight": torch.arange(4.0).view(2, 2), "bias": torch.ones(2)}


class Trap:
    """Unpickling this, as a careless loader would, leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (str(self.path), "w")


def refusal(path: Path) -> str:
    """The text with which a file is refused; one line."""
    with pytest.raises(UserError) as caught:
        read_state_dict(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def assert_is_state(read: dict[str, torch.Tensor]) -> None:
    assert read.keys() == STATE.keys()
    assert all(torch.equal(read[name], STATE[name]) for name in STATE)


@pytest.mark.parametrize("wrapper", GENERATOR_WRAPPERS)
def test_wrappers_are_taken_off(tmp_path: Path, wrapper: str) -> None:
    torch.save({"epoch": 3, wrapper: STATE}, tmp_path / "w.pth")
    assert_is_state(read_state_dict(tmp_path / "w.pth"))


def test_nested_wrappers_and_parallel_prefixes_are_taken_off(tmp_path: Path) -> None:
    prefixed = {f"module.module.{name}": tensor for name, tensor in STATE.items()}
    torch.save({"model": {"state_dict": prefixed}}, tmp_path / "w.pth")
    assert_is_state(read_state_dict(tmp_path / "w.pth"))


def test_the_generator_is_taken_where_a_checkpoint_holds_more(tmp_path: Path) -> None:
    torch.save({"model": {"other": torch.zeros(1)}, "netG": STATE}, tmp_path / "w.pth")
    assert_is_state(read_state_dict(tmp_path / "w.pth"))


def test_a_prefix_of_some_names_only_stays(tmp_path: Path) -> None:
    torch.save({"module.a": torch.zeros(1), "b": torch.zeros(1)}, tmp_path / "w.pth")
    assert read_state_dict(tmp_path / "w.pth").keys() == {"module.a", "b"}


def test_safetensors_and_old_torch_files_are_read(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "w.safetensors")
    torch.save(STATE, tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    assert_is_state(read_state_dict(tmp_path / "w.safetensors"))
    assert_is_state(read_state_dict(str(tmp_path / "w.pt")))


def test_entries_that_are_no_tensors_go(tmp_path: Path) -> None:
    torch.save({**STATE, "epoch": 7}, tmp_path / "w.pth")
    assert_is_state(read_state_dict(tmp_path / "w.pth"))


@pytest.mark.parametrize("new_format", [True, False])
def test_code_is_refused_and_not_run(tmp_path: Path, new_format: bool) -> None:
    sprung, path = tmp_path / "sprung", tmp_path / "w.pth"
    torch.save({"w": Trap(sprung)}, path, _use_new_zipfile_serialization=new_format)
    text = refusal(path)
    assert "holds code or an object (io.open" in text
    assert "nothing in it was run" in text
    assert not sprung.exists()


def test_the_trap_would_spring(tmp_path: Path) -> None:
    """The test above means something: an unsafe loader does run what is in the file."""
    pickle.loads(pickle.dumps(Trap(tmp_path / "sprung"))).close()
    assert (tmp_path / "sprung").exists()


def test_a_plain_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "w.pkl"
    path.write_bytes(pickle.dumps({"w": Trap(tmp_path / "sprung")}))
    assert "nothing in it was run" in refusal(path)
    assert not (tmp_path / "sprung").exists()


def test_a_whole_module_is_refused_by_its_class(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "w.pth")
    text = refusal(tmp_path / "w.pth")
    assert "torch.nn.modules.linear.Linear" in text
    assert "save the network's state_dict() instead" in text


@pytest.mark.parametrize("content", ["<!DOCTYPE html><html>404</html>", "Not found\n"])
def test_a_text_file_is_no_checkpoint(tmp_path: Path, content: str) -> None:
    path = tmp_path / "w.pth"
    path.write_text(content)
    assert "is not a PyTorch checkpoint; nothing in it was run" in refusal(path)


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
def test_a_truncated_checkpoint_is_refused(tmp_path: Path, kept: float, new_format: bool) -> None:
    path = tmp_path / "w.pth"
    torch.save({"w": torch.zeros(1000)}, path, _use_new_zipfile_serialization=new_format)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    assert "is cut short or damaged; nothing in it was run" in refusal(path)


@pytest.mark.parametrize("content", [b"", b"hello, this is text", None])
def test_a_bad_safetensors_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "w.safetensors"
    save_file(STATE, path)
    path.write_bytes(path.read_bytes()[:-4] if content is None else content)
    assert "is not a whole safetensors file" in refusal(path)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "none.pth")
    assert "is a folder" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"epoch": 1, "lr": 0.1}, "a dict of epoch, lr"),
        ([1, 2], "a list"),
        ({}, "a dict of nothing"),
    ],
)
def test_a_checkpoint_without_tensors_is_refused(tmp_path: Path, content: Any, found: str) -> None:
    torch.save(content, tmp_path / "w.pth")
    assert f"holds no state dict but {found}" in refusal(tmp_path / "w.pth")


def test_half_precision_is_raised_to_that_of_the_module() -> None:
    module = nn.Linear(2, 2)
    load_checked(module, {name: tensor.half() for name, tensor in STATE.items()})
    assert module.weight.dtype == torch.float32
    assert torch.equal(module.weight, STATE["weight"])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"bias": None}, "missing bias"),
        ({"gain": torch.zeros(1)}, "unexpected gain"),
        ({"weight": torch.zeros(3, 2)}, "misshapen weight is 3x2, expected 2x2"),
        ({"bias": torch.zeros(2, dtype=torch.int8)}, "not floating point bias (torch.int8)"),
        ({"bias": torch.tensor([1.0, float("nan")])}, "not finite bias"),
    ],
)
def test_misfits_are_named_and_leave_the_module_as_it_was(
    change: dict[str, torch.Tensor | None], text: str
) -> None:
    module = nn.Linear(2, 2)
    before = module.weight.detach().clone()
    state = {name: tensor for name, tensor in (STATE | change).items() if tensor is not None}
    with pytest.raises(UserError) as caught:
        load_checked(module, state, expected="tiny(width=2)", source="w.pth")
    assert str(caught.value).startswith(f"w.pth does not fit tiny(width=2): {text}; ")
    assert torch.equal(module.weight, before)


def test_three_misfits_are_named_and_the_others_counted() -> None:
    state = {f"extra{n}": torch.zeros(1) for n in range(5)}
    with pytest.raises(
        UserError, match="Linear: missing bias, weight; unexpected extra0, "
    ) as error:
        load_checked(nn.Linear(2, 2), state)
    assert "extra2 and 2 more" in str(error.value)


def test_running_statistics_of_old_instance_norms_are_dropped() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 1), nn.InstanceNorm2d(2), nn.BatchNorm2d(2))
    state = dict(module.state_dict())
    state["1.running_mean"], state["1.running_var"] = torch.zeros(2), torch.ones(2)
    state["1.num_batches_tracked"] = torch.tensor(0)
    load_checked(module, state)
    state.pop("2.running_var")
    with pytest.raises(UserError, match=r"missing 2\.running_var; check"):
        load_checked(module, state)


def test_counters_of_batches_are_integers_and_may_be_absent() -> None:
    module = nn.BatchNorm2d(2)
    assert module.num_batches_tracked is not None
    state = dict(module.state_dict()) | {"weight": torch.tensor([3.0, 4.0])}
    load_checked(module, state | {"num_batches_tracked": torch.tensor(7)})
    assert module.num_batches_tracked.item() == 7
    state.pop("num_batches_tracked")
    load_checked(module, state)
    assert module.num_batches_tracked.item() == 7
    assert module.weight.tolist() == [3, 4]


def test_the_kind_of_network_stands_in_the_error() -> None:
    with pytest.raises(UserError, match="check that the file belongs to this discriminator"):
        load_checked(nn.Linear(2, 2), {}, kind="discriminator")


def test_a_wrapper_goes_before_tensors_beside_it(tmp_path: Path) -> None:
    torch.save({"fixed_z": torch.zeros(3), "gen_state_dict": STATE}, tmp_path / "w.pth")
    assert_is_state(read_state_dict(tmp_path / "w.pth"))


def test_each_kind_has_its_own_wrappers(tmp_path: Path) -> None:
    torch.save({"netG": {"other": torch.zeros(1)}, "netD": STATE}, tmp_path / "w.pth")
    assert_is_state(read_state_dict(tmp_path / "w.pth", DISCRIMINATOR_WRAPPERS))
    assert read_state_dict(tmp_path / "w.pth").keys() == {"other"}
