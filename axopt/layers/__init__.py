"""Emulated layers, their quantisers and their gradients."""

from typing import TYPE_CHECKING

from axopt.layers.base import EmulatedLayer, Strides, strides_of
from axopt.layers.calibrators import CALIBRATORS, activation_params
from axopt.layers.code_shares import code_shares
from axopt.layers.conv import EmulatedConv1d, EmulatedConv2d, EmulatedConv3d
from axopt.layers.gradients import Steps
from axopt.layers.histogram import Histogram
from axopt.layers.linear import EmulatedLinear
from axopt.layers.matmul import EmulatedMatMul
from axopt.layers.native import convolution_of, plan_of
from axopt.layers.options import OVERFLOWS, PADDED_TAPS, Accumulator, LayerOptions
from axopt.layers.quantisation import (
    SIGNED_ZERO_POINT,
    STRIDES,
    Quantisation,
    QuantParams,
    rounded,
    weight_params,
)
from axopt.layers.shares import Shares, level_shares
from axopt.layers.specs import LAYERS, LayerSpec, register_layer, spec_named, specs_by_type
from axopt.layers.sums import Products
from axopt.layers.surrogate import GRADIENTS, Gradient
from axopt.layers.transposed import (
    EmulatedConvTranspose1d,
    EmulatedConvTranspose2d,
    EmulatedConvTranspose3d,
    transposed_multiplications,
    transposed_products,
)
from axopt.layers.weighted import WeightedLayer
from axopt.renamed import renamed_names

__all__ = [
    "LAYERS",
    "LayerSpec",
    "register_layer",
    "spec_named",
    "specs_by_type",
    "CALIBRATORS",
    "GRADIENTS",
    "OVERFLOWS",
    "PADDED_TAPS",
    "SIGNED_ZERO_POINT",
    "STRIDES",
    "Accumulator",
    "EmulatedConv1d",
    "EmulatedConv2d",
    "EmulatedConv3d",
    "EmulatedConvTranspose1d",
    "EmulatedConvTranspose2d",
    "EmulatedConvTranspose3d",
    "EmulatedLayer",
    "EmulatedLinear",
    "EmulatedMatMul",
    "Gradient",
    "Histogram",
    "LayerOptions",
    "Products",
    "QuantParams",
    "Quantisation",
    "Shares",
    "Steps",
    "Strides",
    "WeightedLayer",
    "activation_params",
    "code_shares",
    "convolution_of",
    "level_shares",
    "plan_of",
    "rounded",
    "strides_of",
    "transposed_multiplications",
    "transposed_products",
    "weight_params",
]

if not TYPE_CHECKING:  # a type checker shall not accept every name
    __getattr__ = renamed_names(__name__, {"STEPS": "STRIDES"})
