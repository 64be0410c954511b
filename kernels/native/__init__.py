"""CPU kernels in C, compiled on this machine at first use, and their Python side.

In flow NumPy arrays and torch tensors' memory; out flow the same numbers as the PyTorch references. Any thread.
"""
