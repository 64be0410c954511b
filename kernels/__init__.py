"""Kernels beside their PyTorch references; each call chooses between the two (`kernels.dispatch`).

In flow torch tensors; out flow torch tensors of the same dtype and device. Nothing here knows a network.
The version stays below 0.10: another package named `kernels` exists, and libraries that probe for it must
not mistake this one for theirs.
"""

__version__ = "0.1.0"
