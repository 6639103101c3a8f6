"""Exported files in stock runtimes: sessions, int8 layers, kernels, timings."""
