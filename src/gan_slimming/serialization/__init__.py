"""Generators as files: the safetensors file, its packing, and the meaning of MODEL."""
