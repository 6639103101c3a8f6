"""The student: a generator with gates and quantisers, and the surgery that makes it small."""
