"""Small generators of every construction that a user may bring, one docstring line each.

None of them knows anything of the package. `NETS` maps a name to a factory and to the kind of its
inputs; `inputs_of` makes them at a size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from tests.property import foreign_images as images
from tests.property import foreign_layers as layers
from tests.property import foreign_norms as norms
from tests.property import foreign_numbers as numbers
from tests.property import foreign_styles as styles
from torch import Tensor, nn


class Net(NamedTuple):
    """How to build a net, and what it takes: 'image', 'latent', 'latent+class', ..."""

    build: Callable[[], nn.Module]
    takes: str = "image"


NETS: dict[str, Net] = {
    "linear_to_image": Net(styles.LinearToImage, "latent"),
    "unflattened": Net(styles.unflattened, "latent"),
    "named_view": Net(styles.NamedView, "latent"),
    "named_split": Net(images.NamedSplit),
    "squeeze_excite": Net(images.SqueezeExcite),
    "conv_excite": Net(images.ConvExcite),
    "adain": Net(styles.AdaIN, "image+style"),
    "viewed_adain": Net(styles.ViewedAdaIN, "image+style"),
    "conditional_batch_norm": Net(styles.ConditionalBatchNorm, "latent+class"),
    "one_embedding": Net(styles.OneEmbedding, "image+class"),
    "self_attention": Net(styles.SelfAttention),
    "tokens": Net(styles.Tokens),
    "fused_attention": Net(styles.FusedAttention),
    "multi_head": Net(styles.MultiHead),
    "esrgan": Net(images.esrgan),
    "norm_groups": Net(layers.norm_groups),
    "anime_gan_v2": Net(norms.AnimeGanV2),
    "inverted": Net(norms.inverted),
    "conv_next": Net(norms.conv_next),
    "normalised": Net(norms.Normalised),
    "not_thinned": Net(norms.NotThinned),
    "pixel_norm": Net(layers.pixel_normalised),
    "unit_length": Net(layers.UnitLength),
    "spectral": Net(layers.spectral),
    "parametrised": Net(layers.parametrised),
    "shared_twice": Net(layers.SharedTwice),
    "tied_weights": Net(layers.TiedWeights),
    "tied_transpose": Net(layers.TiedTranspose),
    "equalized": Net(layers.equalized),
    "style_gan": Net(styles.StyleGan, "latent"),
    "blurred": Net(images.Blurred),
    "per_channel_blur": Net(images.PerChannelBlur),
    "shuffled": Net(images.Shuffled),
    "unshuffled": Net(images.Unshuffled),
    "many_ends": Net(styles.ManyEnds, "image+image+class"),
    "constants": Net(layers.Constants),
    "plus": Net(layers.Plus),
    "gated": Net(layers.Gated),
    "subclasses": Net(layers.subclasses),
    "unet_skip": Net(images.UNetSkip),
    "encoder": Net(styles.Encoder),
    "channels_last": Net(styles.ChannelsLast, "latent"),
    "counted": Net(numbers.Counted),
    "assigned": Net(numbers.Assigned, "image+style"),
    "sliced_weight": Net(numbers.SlicedWeight),
    "changed_views": Net(numbers.ChangedViews),
}


def inputs_of(takes: str, size: int, seed: int = 0, batch: int = 1) -> tuple[Tensor, ...]:
    """Inputs in float64: images (batch, 3, size, size + 4), vectors (batch, 8), classes."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for kind in takes.split("+"):
        if kind == "class":
            made.append(torch.randint(0, 4, (batch,), generator=generator))
            continue
        shape = (batch, 8) if kind in ("latent", "style") else (batch, 3, size, size + 4)
        made.append(torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1)
    return tuple(made)
