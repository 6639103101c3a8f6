"""Weights files of any script: what they hold, and how it fits a network."""
