"""The paper's systems and rivals: methods, tables, and co-evolutionary compression."""
