"""From a student to a checked graph of operators."""
