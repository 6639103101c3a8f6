"""A finished generator as a .tflite model for LiteRT, with XNNPACK's kernels, at one size."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from torch import fx

from gan_slimming.export.content import ExportedContent
from gan_slimming.export.expected import Inputs
from gan_slimming.export.one_size import OneSize, checked, metadata_at
from gan_slimming.export.tflite.emitter import Emitter
from gan_slimming.export.tflite.layers import int8_layer
from gan_slimming.export.tflite.operators import write_node
from gan_slimming.export.trace.graph import TracedGenerator, arguments_of
from gan_slimming.graph.nodes import module_path
from gan_slimming.runtime.litert import (
    channels_last,
    load_model,
    operators_outside,
    start_litert,
)


def convert_litert(
    one: OneSize, provenance: Mapping[str, Any] | None, check: bool
) -> ExportedContent:
    """Return the .tflite model of a generator, as `convert_at_one_size` does.

    Raises:
        UserError: LiteRT lacks an operator, or parity is missed.
    """
    emitter = Emitter(one.traced)
    for node in one.traced.nodes:
        write_node(emitter, node)
    metadata = metadata_at(one, emitter.float_layers, provenance)
    sources = {name: emitter.values[node] for name, node in one.traced.sources.items()}
    result = emitter.values[one.traced.result]
    content = emitter.model.content(sources, [result], json.dumps(metadata))
    started = start_litert(content, 1)
    outside = [
        {"operator": name, "layer": emitter.model.layers[place], "values": values}
        for place, name, values in operators_outside(started.native)
    ]
    parity: dict[str, Any] = {}
    if check:
        alone = partial(_layers_alone, one.traced)
        parity = checked(one, "litert", started, alone, emitter.float_layers)
    return ExportedContent(content, metadata, emitter.float_layers, parity, {}, outside=outside)


def _layers_alone(
    traced: TracedGenerator, nodes: Sequence[fx.Node], given: Inputs
) -> list[np.ndarray]:
    """Return the output of each int8 layer, without the pads in front of it, in one model."""
    emitter = Emitter(dataclasses.replace(traced, sources={}))
    sources, results = {}, []
    for number, node in enumerate(nodes):
        shape = tuple(given[number].shape)
        source = sources[f"input_{number}"] = emitter.source_of(shape)
        bias = emitter.array(arguments_of(node)["bias"])
        emitter.model.layer = module_path(node)
        results.append(int8_layer(emitter, node, source, bias))
    content = emitter.model.content(sources, results, "")
    made = load_model(content, 1).run(*(channels_last(x.numpy()) for x in given))
    return [x.transpose(0, 3, 1, 2) if x.ndim == 4 else x for x in made]
