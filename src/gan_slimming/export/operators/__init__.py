"""The table of operators and their ONNX counterparts."""
