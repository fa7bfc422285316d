"""Prepare a model for emulation, assign multipliers to its layers, and cost them."""

from axopt.model.adapter import Adapter, Forward, adapter_of
from axopt.model.assign import assign_, current_assignment
from axopt.model.assignment import Assignment, LayerAssignment
from axopt.model.correct import (
    Explanation,
    allowed_corrections,
    correct_,
    explain_corrections,
)
from axopt.model.correct import (
    correct_together as correct_together,  # deprecated
)
from axopt.model.costs import Cost, cost
from axopt.model.emulated_model import EmulatedModel, LayerInfo
from axopt.model.memo import DEFAULT_BYTES, Memo, Work
from axopt.model.patterns import matching
from axopt.model.preparation import WEIGHT_SCALES, prepare
from axopt.model.reestimation import Reestimator

__all__ = [
    "DEFAULT_BYTES",
    "WEIGHT_SCALES",
    "Adapter",
    "Assignment",
    "Cost",
    "EmulatedModel",
    "Explanation",
    "Forward",
    "LayerAssignment",
    "LayerInfo",
    "Memo",
    "Reestimator",
    "Work",
    "adapter_of",
    "allowed_corrections",
    "assign_",
    "correct_",
    "cost",
    "current_assignment",
    "explain_corrections",
    "matching",
    "prepare",
]
