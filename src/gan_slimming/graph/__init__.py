"""Graphs of generators by torch.export: what pruning and export share."""
