"""The private operator of PyTorch that the kernels and the bench call.

It may change or vanish with any release. Callers compare its result on a small case before they
rely on it, and use another way where that fails.
"""

import torch
from torch import Tensor


def int8_product(a: Tensor, b: Tensor) -> Tensor:
    """Multiply int8 matrices, ``(m, k)`` by ``(k, n)``, to int32.

    Raises:
        AttributeError: If this build has no such operator.
        RuntimeError: If it refuses the sizes or the device.
    """
    return torch._int_mm(a, b)
