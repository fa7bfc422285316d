"""Free corrections: how a layer is best quantised for a circuit, without retraining.

What a layer's calibration stored - histograms of its input channels and windows of its input -
decides on which codes both operands are put, in which order, and what is added to the results.
No forward pass of the model is needed.
"""

from axopt.corrections.allowed import ALL, NONE, Corrections
from axopt.corrections.correction import Correction, LayerCorrector
from axopt.corrections.strides import exact_strides

__all__ = ["ALL", "NONE", "Correction", "Corrections", "LayerCorrector", "exact_strides"]
