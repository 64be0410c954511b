"""8-bit float products: weights by channel, activations by row; the reference beside its Triton kernel."""
