"""Quantised layers in integers, in the forms that runtimes execute."""
