"""The trace of a student: a checked graph of operators."""
