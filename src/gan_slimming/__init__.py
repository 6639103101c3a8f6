"""Turns a trained image generator into a small one, in one optimisation."""
