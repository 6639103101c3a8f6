"""torch.export graphs of generators, shared by pruning and export."""
