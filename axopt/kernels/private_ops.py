"""The private operators of PyTorch that this package calls, all of them here.

They may change or vanish with any release. Callers check a result on a small case before they
rely on one, and do without it where that fails.
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
