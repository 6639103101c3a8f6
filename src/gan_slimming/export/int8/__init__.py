"""Quantised layers as integers, in the forms that runtimes execute."""
