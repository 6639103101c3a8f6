"""Kernels of convolutions rewritten exactly, and which of them pay."""
