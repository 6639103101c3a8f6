"""Damage to the bytes and values of real files, all of it drawn from a random.Random."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import yaml

EDGE = 512
"""Bytes at both ends, where formats keep their headers."""
NUMBERS = (0, 1, -1, 2, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, -(2**31), 2**32, 2**63 - 1)
TEXTS = (
    b"0", b"-1", b"1", b"2147483648", b"99999999999999999999", b"1e308", b"1e-9", b"nan", b"x",
    b"", b"-0.0", b"[]", b"{}", b"null", b"1" * 400,
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 3, 10**6, 10**12, -(10**12), 1.5, 1e308, float("nan"),
    float("inf"), "", "x", "\n", "../x", "🦓", "a" * 5000, [], [[]], [1, 2], {}, {"a": 1}, {"": []},
)  # fmt: skip


def damaged(content: bytes, other: bytes, chance: Random) -> bytes:
    """Return the content with one to three kinds of damage.

    Args:
        other: another file of its kind, of which pieces are taken.
    """
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        content = chance.choice(DAMAGES)(content, other, chance)
    return content


def _place(content: bytes, chance: Random) -> int:
    """Return a position, half of the time near an end."""
    size = len(content)
    if chance.random() < 0.5:
        near = chance.randrange(min(EDGE, size) or 1)
        return near if chance.random() < 0.7 else max(0, size - 1 - near)
    return chance.randrange(size or 1)


def _flipped(content: bytes, other: bytes, chance: Random) -> bytes:
    made = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 8, 64)) if made else 0):
        made[_place(content, chance)] ^= 1 << chance.randrange(8)
    return bytes(made)


def _overwritten(content: bytes, other: bytes, chance: Random) -> bytes:
    at, length = _place(content, chance), chance.choice((1, 2, 4, 16, 256))
    filler = chance.choice((b"\0", b"\xff", b" ", chance.randbytes(1)))
    noise = chance.randbytes(length) if chance.random() < 0.3 else filler * length
    return content[:at] + noise + content[at + length :]


def _number(content: bytes, other: bytes, chance: Random) -> bytes:
    at, length = _place(content, chance), chance.choice((1, 2, 4, 8))
    number = chance.choice(NUMBERS) % (1 << (8 * length))
    written = number.to_bytes(length, chance.choice(("little", "big")))
    return content[:at] + written + content[at + length :]


def _cut(content: bytes, other: bytes, chance: Random) -> bytes:
    return content[: _place(content, chance)]


def _without(content: bytes, other: bytes, chance: Random) -> bytes:
    at = _place(content, chance)
    return content[:at] + content[at + chance.choice((1, 4, 64, 1024)) :]


def _doubled(content: bytes, other: bytes, chance: Random) -> bytes:
    at, length = _place(content, chance), chance.choice((1, 4, 64, 1024))
    return content[:at] + content[at : at + length] * chance.choice((2, 2, 50)) + content[at:]


def _spliced(content: bytes, other: bytes, chance: Random) -> bytes:
    if chance.random() < 0.5:
        return content[: _place(content, chance)] + other[_place(other, chance) :]
    at, source = _place(content, chance), _place(other, chance)
    length = chance.choice((4, 64, 1024))
    return content[:at] + other[source : source + length] + content[at + length :]


def _retold(content: bytes, other: bytes, chance: Random) -> bytes:
    """Replace a number that stands in text."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?", content[:100_000]))
    if not found:
        return _flipped(content, other, chance)
    match = chance.choice(found)
    return content[: match.start()] + chance.choice(TEXTS) + content[match.end() :]


DAMAGES: Sequence[Callable[[bytes, bytes, Random], bytes]] = (
    _flipped, _overwritten, _number, _cut, _without, _doubled, _spliced, _retold,
)  # fmt: skip


def changed(value: Any, chance: Random) -> Any:
    """Return nested dicts and lists with one value or key inside replaced, removed or moved."""
    if not (isinstance(value, dict | list) and value) or chance.random() < 0.06:
        return chance.choice(VALUES)
    made: Any = dict(value) if isinstance(value, dict) else list(value)
    key = chance.choice(list(value) if isinstance(value, dict) else list(range(len(value))))
    way = chance.random()
    if way < 0.1:
        del made[key]
    elif way < 0.15 and isinstance(made, dict):
        made[chance.choice(("x", "", "a.b", "__class__"))] = made.pop(key)
    elif way < 0.2:
        made[key] = made[chance.choice(list(made) if isinstance(made, dict) else [0])]
    else:
        made[key] = changed(value[key], chance)
    return made


def of_safetensors(content: bytes, other: bytes, chance: Random) -> bytes:
    """Change the index of tensors or, more often, the header of a saved generator."""
    length = int.from_bytes(content[:8], "little")
    index, rest = json.loads(content[8 : 8 + length]), content[8 + length :]
    own = index.get("__metadata__", {}).get("gan_slimming")
    if own is not None and chance.random() < 0.8:
        header = json.loads(own)
        for _ in range(chance.choice((1, 1, 2))):
            header = changed(header, chance) if isinstance(header, dict | list) else header
        index["__metadata__"]["gan_slimming"] = json.dumps(header)
    else:
        index = changed(index, chance)
    text = json.dumps(index).encode()
    return len(text).to_bytes(8, "little") + text + rest


def of_yaml(content: bytes, other: bytes, chance: Random) -> bytes:
    """Change the values of a YAML file."""
    return yaml.safe_dump(changed(yaml.safe_load(content), chance), allow_unicode=True).encode()


def of_json_lines(content: bytes, other: bytes, chance: Random) -> bytes:
    """Change a value in one line of JSON, or of a file that is one object."""
    lines = content.splitlines(keepends=True)
    at = chance.randrange(len(lines))
    try:
        lines[at] = json.dumps(changed(json.loads(lines[at]), chance)).encode() + b"\n"
    except ValueError:  # the last line of a run under way
        return damaged(content, other, chance)
    return b"".join(lines)


def of_archive(content: bytes, other: bytes, chance: Random) -> bytes:
    """Damage a part of a zip archive, and write its checksums anew."""
    made = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
            entries = old.infolist()
            pickle = [entry for entry in entries if entry.filename.endswith("data.pkl")]
            hit = chance.choice(pickle if pickle and chance.random() < 0.6 else entries)
            for entry in entries:
                part = old.read(entry)
                new.writestr(entry.filename, damaged(part, other, chance) if entry is hit else part)
    except zipfile.BadZipFile:  # of the format before it
        return damaged(content, other, chance)
    return made.getvalue()


def of_onnx(content: bytes, other: bytes, chance: Random) -> bytes:
    """Change fields of an ONNX model: dimensions, attributes, names, operators, metadata."""
    import onnx

    model = onnx.load_model_from_string(content)
    graph = model.graph
    for _ in range(chance.choice((1, 1, 2, 3))):
        node, way = chance.choice(graph.node), chance.randrange(8)
        if way == 0 and graph.initializer:
            tensor = chance.choice(graph.initializer)
            if tensor.dims:
                tensor.dims[chance.randrange(len(tensor.dims))] = chance.choice(NUMBERS)
        elif way == 1 and node.attribute:
            attribute = chance.choice(node.attribute)
            if attribute.ints:
                attribute.ints[chance.randrange(len(attribute.ints))] = chance.choice(NUMBERS)
            attribute.i = chance.choice(NUMBERS)
        elif way == 2 and node.input:
            names = [n for other_node in graph.node for n in (*other_node.input, "", "x")]
            node.input[chance.randrange(len(node.input))] = chance.choice(names)
        elif way == 3:
            node.op_type = chance.choice([n.op_type for n in graph.node] + ["If", "Loop", "X", ""])
        elif way == 4 and graph.initializer:
            chance.choice(graph.initializer).data_type = chance.randrange(20)
        elif way == 5 and model.metadata_props:
            entry = chance.choice(model.metadata_props)
            header = changed(json.loads(entry.value), chance) if entry.value[:1] == "{" else "x"
            entry.value = json.dumps(header)
        elif way == 6:
            shape = chance.choice((graph.input[0], graph.output[0])).type.tensor_type
            shape.elem_type = chance.randrange(20)
            if shape.shape.dim:
                chance.choice(shape.shape.dim).dim_value = chance.choice(NUMBERS)
        elif way == 7:
            del graph.node[chance.randrange(len(graph.node))]
            if not graph.node:
                break
    return model.SerializeToString()
