"""Exact int32 sums of table entries: matrix products and convolutions of operand codes.

A kernel multiplies codes, uint8 that address the rows and columns of a product table. A
`Convolution` is a whole layer, from float activations to float results. Every instruction set
gives the same bits.
"""

from axopt.kernels.baseline import scalar_gemm
from axopt.kernels.batched import MatrixProduct
from axopt.kernels.convolution import Convolution, Output, Quantiser
from axopt.kernels.dispatch import active, available, force_isa
from axopt.kernels.gates import lstm_gates
from axopt.kernels.operations import Window
from axopt.kernels.plan import Plan, first_operand_plan, plan
from axopt.kernels.products import conv2d_codes, gemm_codes, lut_gemm
from axopt.kernels.sums import conv2d_sums, gemm_sums, matmul_sums
from axopt.kernels.table import PackedTable
from axopt.kernels.timing import explain

__all__ = [
    "Convolution",
    "MatrixProduct",
    "Output",
    "PackedTable",
    "Plan",
    "Quantiser",
    "Window",
    "active",
    "available",
    "conv2d_codes",
    "conv2d_sums",
    "explain",
    "first_operand_plan",
    "force_isa",
    "gemm_codes",
    "gemm_sums",
    "lstm_gates",
    "lut_gemm",
    "matmul_sums",
    "plan",
    "scalar_gemm",
]
