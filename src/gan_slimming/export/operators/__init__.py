"""The table of operators: how each is written in ONNX."""
