"""What runs the networks: PyTorch, our CPU kernels, ONNX Runtime, 8-bit floats; which one, and how long a hop."""
