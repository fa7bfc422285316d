"""Emulated layers, their quantisers and their gradients."""

from axopt.layers.base import EmulatedLayer, plan_of
from axopt.layers.calibrators import CALIBRATORS, activation_params
from axopt.layers.conv import EmulatedConv2d
from axopt.layers.histogram import Histogram
from axopt.layers.linear import EmulatedLinear
from axopt.layers.quantisation import (
    SIGNED_ZERO_POINT,
    STEPS,
    Quantisation,
    QuantParams,
    weight_params,
)

__all__ = [
    "CALIBRATORS",
    "SIGNED_ZERO_POINT",
    "STEPS",
    "EmulatedConv2d",
    "EmulatedLayer",
    "EmulatedLinear",
    "Histogram",
    "QuantParams",
    "Quantisation",
    "activation_params",
    "plan_of",
    "weight_params",
]
