"""What one program may hold on the GPUs that kernels are compiled for."""

from __future__ import annotations

from typing import Final

HOPPER_SHARED: Final = 227 * 1024
