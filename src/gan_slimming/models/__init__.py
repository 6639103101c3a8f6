"""Generators and discriminators, and loaders of their published weights."""

from gan_slimming.models.cartoongan import CartoonGenerator
from gan_slimming.models.checkpoints import load_checked, read_state_dict
from gan_slimming.models.cyclegan import ResnetGenerator
from gan_slimming.models.discriminators import (
    build_discriminator,
    describe_discriminator,
    load_discriminator,
    registered_discriminators,
)
from gan_slimming.models.patchgan import PatchDiscriminator
from gan_slimming.models.registry import (
    GeneratorSpec,
    build_generator,
    describe,
    infer_spec,
    load_generator,
    registered,
    spec_of,
)

__all__ = [
    "CartoonGenerator",
    "GeneratorSpec",
    "PatchDiscriminator",
    "ResnetGenerator",
    "build_discriminator",
    "build_generator",
    "describe",
    "describe_discriminator",
    "infer_spec",
    "load_checked",
    "load_discriminator",
    "load_generator",
    "read_state_dict",
    "registered",
    "registered_discriminators",
    "spec_of",
]
