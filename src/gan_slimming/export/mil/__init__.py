"""A generator in the operators of Core ML's ML programs (MIL)."""
