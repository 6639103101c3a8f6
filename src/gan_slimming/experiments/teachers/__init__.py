"""Training of dense teachers, each by its paper's own losses."""
