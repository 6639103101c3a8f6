"""A generator in the operators that XNNPACK takes."""
