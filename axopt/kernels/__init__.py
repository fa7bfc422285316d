"""Exact int32 sums of table entries: matrix products and convolutions of operand codes.

A kernel sees codes (uint8 row and column numbers of a product table), tables and sizes, never
scales or zero points. Every instruction set gives the same integers.
"""

from axopt.kernels.dispatch import active, available, force_isa
from axopt.kernels.products import conv2d_codes, gemm_codes, lut_gemm
from axopt.kernels.table import PackedTable

__all__ = [
    "PackedTable",
    "active",
    "available",
    "conv2d_codes",
    "force_isa",
    "gemm_codes",
    "lut_gemm",
]
