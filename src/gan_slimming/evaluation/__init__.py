"""Judging images: where they come from, what is measured on them, and how results are told."""
