"""Generators as files: the safetensors file, its packing, and what MODEL names."""
