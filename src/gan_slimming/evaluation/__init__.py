"""Evaluation of images: their sources, the metrics measured on them, and the results."""
