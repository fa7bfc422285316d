"""Emulated layers, their quantisers and their gradients."""

from axopt.layers.base import EmulatedLayer, WeightedLayer
from axopt.layers.calibrators import CALIBRATORS, activation_params
from axopt.layers.conv import EmulatedConv2d
from axopt.layers.gradients import Steps
from axopt.layers.histogram import Histogram
from axopt.layers.linear import EmulatedLinear
from axopt.layers.matmul import EmulatedMatMul
from axopt.layers.native import convolution_of, plan_of
from axopt.layers.quantisation import (
    SIGNED_ZERO_POINT,
    STEPS,
    Quantisation,
    QuantParams,
    rounded,
    weight_params,
)
from axopt.layers.shares import Shares, level_shares
from axopt.layers.surrogate import GRADIENTS, Gradient

__all__ = [
    "CALIBRATORS",
    "GRADIENTS",
    "SIGNED_ZERO_POINT",
    "STEPS",
    "EmulatedConv2d",
    "EmulatedLayer",
    "EmulatedLinear",
    "EmulatedMatMul",
    "Gradient",
    "Histogram",
    "QuantParams",
    "Quantisation",
    "Shares",
    "Steps",
    "WeightedLayer",
    "activation_params",
    "convolution_of",
    "level_shares",
    "plan_of",
    "rounded",
    "weight_params",
]
