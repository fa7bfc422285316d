"""Corrections: quantise a layer so that a multiplier does the least harm, without retraining.

A correction chooses the codes of both operands, their order, and a gain and a shift of the
results. It is found from what calibration stored of the layer's input: histograms of its channels
and a sample of its windows. No forward pass of the model is needed.
"""

from typing import TYPE_CHECKING

from axopt.corrections.allowed import ALL, BY_POWER, NONE, Corrections
from axopt.corrections.correction import SIMILAR_ERROR, LayerCorrector
from axopt.corrections.result import Correction
from axopt.corrections.stored import cache_folder
from axopt.corrections.strides import exact_strides
from axopt.renamed import renamed_names

__all__ = [
    "ALL",
    "BY_POWER",
    "NONE",
    "SIMILAR_ERROR",
    "Correction",
    "Corrections",
    "LayerCorrector",
    "cache_folder",
    "exact_strides",
]

if not TYPE_CHECKING:  # a type checker shall not accept every name
    __getattr__ = renamed_names(__name__, {"Choice": "Correction", "exact_steps": "exact_strides"})
