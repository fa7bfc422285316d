"""Corrections: quantise a layer so that a multiplier does the least harm, without retraining.

A correction chooses the codes of both operands, their order, and a gain and a shift of the
results. It is found from what calibration stored of the layer's input: histograms of its channels
and a sample of its windows. No forward pass of the model is needed.
"""

from axopt.corrections.allowed import ALL, NONE, Corrections
from axopt.corrections.correction import Correction, LayerCorrector
from axopt.corrections.strides import exact_strides

__all__ = ["ALL", "NONE", "Correction", "Corrections", "LayerCorrector", "exact_strides"]
