"""A device that is not the CPU, for machines without a GPU: 'npu', torch's place for new backends.

Its tensors wrap CPU tensors and compute what these compute. Like CUDA, it refuses operators that
mix tensors of two devices, except for single numbers and indices. It also counts the moments at
which the CPU has to wait for results: synchronisations.

Importing this file registers the device for the life of the process, so tests run it in another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.accelerators.cpu import CPUAccelerator
from lightning_fabric.strategies.single_device import SingleDeviceStrategy
from torch.utils import _pytree as pytree

NAME = "npu"
aten: Any = torch.ops.aten
ACROSS = {aten._to_copy.default, aten.copy_.default, aten.is_same_size.default}
"""Operators that take tensors of two devices."""
INDEXED = {
    aten.index.Tensor, aten.index_put.default, aten.index_put_.default,
    aten._index_put_impl_.default, aten._unsafe_index.Tensor,
}  # fmt: skip
"""Operators whose indices may lie on the CPU."""
WAITING = {aten._local_scalar_dense.default, aten.nonzero.default, aten.equal.default,
           aten.is_nonzero.default, aten.masked_select.default}  # fmt: skip
"""Operators whose result the CPU waits for."""
waits: Counter[str] = Counter()
"""Operator -> number of synchronisations since the last `counted`."""


class MixedDevices(RuntimeError):
    """The error of an operator with tensors of two devices."""


class OtherTensor(torch.Tensor):
    """A tensor that claims to be on the device; `held` has its values, on the CPU."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> OtherTensor:
        made = torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, device=torch.device(NAME, 0),
        )  # fmt: skip
        made.held = held
        return made

    @property
    def data(self) -> torch.Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.detach()

    @data.setter
    def data(self, values: torch.Tensor) -> None:  # pyright: ignore
        """Take other values, of any shape; in torch's own setter `held` would stay."""
        torch._C.TensorBase.data.__set__(self, values)  # pyright: ignore
        assert isinstance(values, OtherTensor), f"{NAME}'s tensor was given CPU values"
        self.held = values.held

    def __repr__(self) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        return f"OtherTensor({self.held})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        check_devices(func, args, kwargs)
        to_cpu = "device" in kwargs and torch.device(kwargs["device"] or NAME).type != NAME
        if (
            func in WAITING
            or (func is aten._to_copy.default and to_cpu)
            or (func is aten.copy_.default and not isinstance(args[0], OtherTensor))
        ):
            waits[str(func)] += 1
        if "device" in kwargs and not to_cpu:
            kwargs["device"] = torch.device("cpu")
        owners: dict[int, OtherTensor] = {}

        def unwrap(value: Any) -> Any:
            if isinstance(value, OtherTensor):
                owners[id(value.held)] = value
                return value.held
            return value

        inner_args, inner_kwargs = pytree.tree_map(unwrap, (args, kwargs))
        made = func(*inner_args, **inner_kwargs)
        if to_cpu or (func is aten.copy_.default and not isinstance(args[0], OtherTensor)):
            return args[0] if func is aten.copy_.default else made

        def wrap(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            return owners[id(value)] if id(value) in owners else OtherTensor(value)

        return pytree.tree_map(wrap, made)


def check_devices(func: Any, args: Any, kwargs: Any) -> None:
    """Raise MixedDevices where CUDA would: for a CPU tensor with axes among those of the device."""
    if func in ACROSS:
        return
    given = pytree.tree_leaves((args[:1] if func in INDEXED else args, kwargs))
    given += list(args[2:3]) if func in INDEXED else []
    strangers = [
        x for x in given
        if isinstance(x, torch.Tensor) and not isinstance(x, OtherTensor) and x.dim() > 0
    ]  # fmt: skip
    if strangers:
        shape = tuple(strangers[0].shape)
        raise MixedDevices(f"{func} got a tensor {shape} on {strangers[0].device} beside {NAME}:0")


class Backend:
    """What torch asks of a backend's module."""

    def __getattr__(self, name: str) -> Any:
        answers = {
            "is_initialized": True, "is_available": True, "current_device": 0,
            "_is_in_bad_fork": False, "device_count": 1, "manual_seed_all": None,
            "get_amp_supported_dtype": [torch.bfloat16], "synchronize": None,
        }  # fmt: skip
        if name not in answers:
            raise AttributeError(name)
        return lambda *_: answers[name]


def _empty(size: Any, dtype: Any = None, memory_format: Any = None, **_: Any) -> OtherTensor:
    return OtherTensor(torch.empty(size, dtype=dtype, memory_format=memory_format))


def _empty_strided(size: Any, stride: Any, dtype: Any = None, **_: Any) -> OtherTensor:
    return OtherTensor(torch.empty_strided(size, stride, dtype=dtype))


def _copy_from(source: torch.Tensor, target: OtherTensor, _: bool = False) -> OtherTensor:
    """Copy the numbers of torch.tensor(..., device=...)."""
    target.held.copy_(source)
    return target


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count synchronisations while this lasts."""
    waits.clear()
    yield waits


def fabric_there(accelerator: str, devices: Any, precision: Any) -> Fabric:
    """Return Fabric on the device, in the place of training.device's, which knows none such."""
    assert (accelerator, devices) == (NAME, 1)
    strategy = SingleDeviceStrategy(device=torch.device(NAME, 0))
    return Fabric(accelerator=_Accelerator(), strategy=strategy, precision=precision)


class _Accelerator(CPUAccelerator):
    def setup_device(self, device: torch.device) -> None:
        assert device.type == NAME


def _register() -> torch.library.Library:
    """Register the device; its kernels live as long as what is returned."""
    backends: Any = import_module("torch.utils.backend_registration")
    backends._setup_privateuseone_for_python_backend(NAME, Backend())
    # Module.to keeps each parameter's identity, as it does on the way to CUDA.
    torch.__future__.set_swap_module_params_on_conversion(True)
    # Tensors of a subclass have no version counter in inference mode.
    torch.inference_mode = lambda mode=True: torch.no_grad() if mode else torch.enable_grad()  # pyright: ignore
    library = torch.library.Library("aten", "IMPL")
    library.impl("empty.memory_format", _empty, "PrivateUse1")
    library.impl("empty_strided", _empty_strided, "PrivateUse1")
    library.impl("_copy_from", _copy_from, "PrivateUse1")
    return library


LIBRARY = _register()
