"""GPU kernels against PyTorch's and the machine's ceilings, in paired runs."""
