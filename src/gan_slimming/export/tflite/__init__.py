"""A generator in the operators of LiteRT (.tflite), for XNNPACK's kernels."""
