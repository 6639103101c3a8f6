"""The contents of generator.safetensors: a finished generator as named tensors, and back.

Weights of quantised layers become integer codes (int8 up to 8 bits). They keep their names and
shapes, so that any safetensors reader can show them, but for those of few bits (`narrow_codes`).
Vectors (biases, scales and shifts of norms, scales of quantisers) are joined in a single float32
tensor, `packed.vectors`. A header entry for each would cost more bytes than the vector. Widths are
not stored, because shapes imply them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gan_slimming.errors import UserError
from gan_slimming.pruning.channel_attributes import restore_numbers
from gan_slimming.pruning.groups import owner_of
from gan_slimming.pruning.padded_norms import check_norms, restore_norms
from gan_slimming.pruning.reparametrised import make_plain
from gan_slimming.pruning.slicing import mark_affine, norm_width, update_attributes
from gan_slimming.quantization.affine import along, dequantize, quantize
from gan_slimming.quantization.fake_quant import (
    ActivationQuantizer,
    OutputQuantizer,
    Quantizer,
    WeightQuantizer,
)
from gan_slimming.serialization.narrow_codes import weight_bits, widen_codes
from gan_slimming.student.layers import SLIM, SlimConvolution, output_axis, to_slim
from gan_slimming.student.places import replace_module

PACKED = "packed.vectors"
WEIGHT_SCALE = "weight_quantizer.scale"
INPUT_SCALE = "input_quantizer.scale"
OUTPUT_SCALE = "output_quantizer.scale"


class Quantizers(NamedTuple):
    """The quantisation of a layer; 0 bits means none."""

    weight_bits: int
    input_bits: int
    signed: bool
    learnt: bool
    output_bits: int = 0

    def row(self) -> list[int]:
        """Return the row of the header; a float output has no entry."""
        return [int(value) for value in self[: None if self.output_bits else 4]]


def pack(module: nn.Module) -> tuple[dict[str, Tensor], list[list[Any]], list[Quantizers]]:
    """Return the tensors to write, the order of the packed vectors, and the distinct quantisations.

    A row of the order is [layer, length (None: a scalar), "field field"]. A quantised layer's row
    ends with the index of its quantisation. Its vectors end with scales: one per output channel of
    the weight, one for the input, and one per channel of a quantised output.

    Raises:
        UserError: a gate is left, a value is not finite, or state is not a tensor.
    """
    tensors: dict[str, Tensor] = {}
    rows: list[list[Any]] = []
    ways: list[Quantizers] = []
    pieces = [torch.empty(0)]
    for path, owner, own in _modules(module):
        fields: dict[int | None, list[str]] = {}
        for field, value in own.items():
            if value.is_floating_point() and not bool(value.isfinite().all()):
                raise UserError(f"{_join(path, field)} is not finite; train again from before that")
            if value.is_floating_point() and value.dim() < 2:
                fields.setdefault(len(value) if value.dim() else None, []).append(field)
            else:
                tensors[_join(path, field)] = _stored(owner, field, value)
        way = _way_of(owner, path)
        channels = own["weight"].shape[output_axis(owner)] if way else None
        if way is not None:
            fields.setdefault(channels, [])
        for length, names in fields.items():
            rows.append([path, length, " ".join(names)])
            pieces += [own[name] for name in names]
            if way is not None and length == channels:
                ways += [way] if way not in ways else []
                rows[-1].append(ways.index(way))
                pieces += _scales(owner)
    tensors[PACKED] = torch.cat([_plain(piece).reshape(-1) for piece in pieces])
    return tensors, rows, ways


def unpack_vectors(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return all tensors by name, packed vectors included, quantised weights still as codes."""
    plan: list[tuple[str, int | None]] = []
    quantized = quantizers_by_layer(header)
    tensors = widen_codes(tensors, header.get("narrow", {}), weight_bits(quantized))
    for path, length, fields, *way in header["vectors"]:
        plan += [(_join(path, field), length) for field in fields.split()]
        if way:
            plan += [(_join(path, WEIGHT_SCALE), length)] if quantized[path].weight_bits else []
            plan += [(_join(path, INPUT_SCALE), None)] if quantized[path].input_bits else []
            plan += [(_join(path, OUTPUT_SCALE), length)] if quantized[path].output_bits else []
    sizes = [1 if length is None else length for _, length in plan]
    flat = tensors[PACKED]
    if sum(sizes) != flat.numel():
        raise ValueError(f"{PACKED} has {flat.numel()} numbers, its index {sum(sizes)}")
    named = {name: tensor for name, tensor in tensors.items() if name != PACKED}
    for (name, length), piece in zip(plan, flat.split(sizes) if sizes else (), strict=True):
        named[name] = piece.reshape(()) if length is None else piece
    return named


def quantizers_by_layer(header: Mapping[str, Any]) -> dict[str, Quantizers]:
    """Map every quantised layer to its quantisation."""
    ways = [
        Quantizers(w, i, bool(s), bool(t), output)
        for w, i, s, t, output in ((*way, 0)[:5] for way in header["quantizers"])
    ]
    return {path: ways[way[0]] for path, _, _, *way in header["vectors"] if way}


def fill(module: nn.Module, header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Turn a freshly built generator, on any device, into the packed one, in place.

    Raises:
        AttributeError, KeyError, TypeError, ValueError, ...: file and generator do not belong
            together.
    """
    make_plain(module)
    for path in header["identities"]:
        module.get_submodule(path)
        replace_module(module, path, nn.Identity())
    restore_numbers(module, header.get("numbers", ()))
    restore_norms(module, header.get("padded_norms", {}))
    quantized = quantizers_by_layer(header)
    slim: dict[int, tuple[nn.Module, nn.Module]] = {}
    for path, way in quantized.items():
        _quantize_layer(module, path, way, slim)
    state = unpack_vectors(header, tensors)
    expected = {name for name in module.state_dict() if not name.endswith("._extra_state")}
    if missing := sorted(expected - state.keys()):
        raise ValueError(f"{', '.join(missing[:3])} missing ({len(missing)} of {len(expected)})")
    for path, way in quantized.items():
        if way.weight_bits:
            axis = output_axis(module.get_submodule(path))
            name = _join(path, "weight")
            scale = along(state[_join(path, WEIGHT_SCALE)], axis, state[name].dim())
            if state[name].shape[axis] != scale.numel():
                raise ValueError(f"{name} and its scales do not belong together")
            state[name] = dequantize(state[name].float(), scale)
    for name, value in state.items():
        _place(module, name, value)
    check_norms(module)
    for path, layer, own in _modules(module):
        if own:
            update_attributes(layer)
            _check_lengths(path, layer)


def _join(path: str, field: str) -> str:
    return f"{path}.{field}" if path else field


def _modules(module: nn.Module) -> Iterator[tuple[str, nn.Module, dict[str, Tensor]]]:
    """Yield the path of every module but quantisers, with its own parameters and saved buffers."""
    for path, owner in module.named_modules(remove_duplicate=False):
        if isinstance(owner, Quantizer):
            continue
        if type(owner).get_extra_state is not nn.Module.get_extra_state:
            raise UserError(
                f"{path or 'the generator'} ({type(owner).__name__}) keeps state that is not a "
                "tensor (get_extra_state), which the file cannot hold; make it a buffer"
            )
        hidden = owner._non_persistent_buffers_set
        buffers = {name: b for name, b in owner._buffers.items() if name not in hidden}
        own = {**owner._parameters, **buffers}
        yield path, owner, {name: value for name, value in own.items() if value is not None}


def _way_of(layer: nn.Module, path: str) -> Quantizers | None:
    """Return the quantisation of a layer, None for none."""
    if isinstance(layer, tuple(SLIM.values())) and (
        getattr(layer, "gate", None) is not None or getattr(layer, "input_gate", None) is not None
    ):
        raise UserError(f"{path} still has a gate; save what student.extract() returned")
    if not isinstance(layer, SlimConvolution):
        return None
    weights, inputs, outputs = _quantizers(layer)
    if weights is None and inputs is None:
        return None
    return Quantizers(
        weights.bits if weights is not None else 0,
        inputs.bits if inputs is not None else 0,
        inputs is not None and inputs.signed,
        inputs is not None and inputs.learnt,
        outputs.bits if outputs is not None else 0,
    )


def _quantizers(layer: Any) -> tuple[Any, Any, Any]:
    """Return the quantisers of weight, input and output; None where there is none."""
    return layer.weight_quantizer, layer.input_quantizer, layer.output_quantizer


def _scales(layer: Any) -> list[Tensor]:
    """Return the scales of a quantised layer: of its weight, its input and its output."""
    # A dead channel's float64 scale underflows in float32, and 0 would divide by zero.
    tiny = torch.finfo(torch.float32).tiny
    return [q.scale.detach().clamp_min(tiny) for q in _quantizers(layer) if q is not None]


def _stored(layer: Any, field: str, value: Tensor) -> Tensor:
    """Return a quantised weight's codes, else the values."""
    quantizer = getattr(layer, "weight_quantizer", None)
    if field != "weight" or not isinstance(quantizer, WeightQuantizer):
        return _plain(value)
    scale = along(quantizer.scale, quantizer.axis, value.dim())
    codes = quantize(value.detach(), scale, *quantizer.codes)
    return _plain(codes.to(torch.int8 if quantizer.bits <= 8 else torch.int16))


def _plain(value: Tensor) -> Tensor:
    """Copy a tensor to the CPU, in float32 if it is floating point."""
    dtype = torch.float32 if value.is_floating_point() else value.dtype
    return value.detach().to("cpu", dtype, copy=True).contiguous()


def _quantize_layer(
    module: nn.Module, path: str, way: Quantizers, slim: dict[int, tuple[nn.Module, nn.Module]]
) -> None:
    """Replace a layer by its student version, with initial quantisers.

    Args:
        slim: replaced layers, by the id of the old one: (old, new). A module in two places is
            replaced wherever it was quantised, and stays shared there. The old one is held, or
            another layer could be given its id.
    """
    layer: Any = module.get_submodule(path)
    if id(layer) in slim:
        _set_module(module, path, slim[id(layer)][1])
        return
    if not isinstance(layer, SlimConvolution):
        if type(layer) not in SLIM or not issubclass(SLIM[type(layer)], SlimConvolution):
            raise TypeError(f"{path} is a {type(layer).__name__}, which is never quantised")
        plain, layer = layer, to_slim(layer)
        # Separate tables, because a module in two places need not be quantised in both.
        layer._parameters, layer._buffers = dict(layer._parameters), dict(layer._buffers)
        slim[id(plain)] = plain, layer
        _set_module(module, path, layer)
    if way.weight_bits:
        layer.weight_quantizer = WeightQuantizer(layer.weight, output_axis(layer), way.weight_bits)
    if way.input_bits:
        fixed = None if way.learnt else 1.0
        layer.input_quantizer = ActivationQuantizer(way.input_bits, fixed_range=fixed)
        layer.input_quantizer.signed = way.signed
    if way.output_bits:
        channels, dims = layer.weight.shape[output_axis(layer)], layer.weight.dim() - 2
        layer.output_quantizer = OutputQuantizer(channels, way.output_bits, dims)


def _set_module(root: nn.Module, path: str, layer: nn.Module) -> None:
    """Put a module in this one place, leaving other places of the old one alone."""
    parent, attribute = owner_of(root, path)
    setattr(parent, attribute, layer)


def _place(module: nn.Module, name: str, value: Tensor) -> None:
    """Replace one parameter or buffer."""
    owner, field = owner_of(module, name)
    table: dict[str, Any] = owner._parameters if field in owner._parameters else owner._buffers
    old = table.get(field)
    if old is None and norm_width(owner) is not None:
        mark_affine(owner)  # a student gives every norm a scale and a shift
    elif old is None:
        raise ValueError(f"there is no place for {name}")
    elif not _narrows(owner, old.shape, value.shape):
        raise ValueError(f"{name} is {list(value.shape)}, expected at most {list(old.shape)}")
    if table is owner._parameters:
        trains = old is None or old.requires_grad
        value = nn.Parameter(value.clone(), requires_grad=trains)
    table[field] = value


def _narrows(layer: nn.Module, old: Sequence[int], new: Sequence[int]) -> bool:
    """Return whether cutting channels can lead from one shape to the other."""
    convolution = isinstance(layer, nn.modules.conv._ConvNd)
    fits = len(old) == len(new) and all(0 < n <= o for n, o in zip(new, old, strict=True))
    return fits and (not convolution or tuple(old[2:]) == tuple(new[2:]))


def _check_lengths(path: str, layer: Any) -> None:
    """Check that a layer's bias is as long as the layer is wide."""
    width = getattr(layer, "out_channels", getattr(layer, "out_features", None))
    width = norm_width(layer) if width is None else width
    bias = getattr(layer, "bias", None)
    if isinstance(bias, Tensor) and isinstance(width, int) and len(bias) != width:
        raise ValueError(f"{_join(path, 'bias')} has {len(bias)} values for {width} channels")
