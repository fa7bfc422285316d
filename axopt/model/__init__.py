"""Prepare a model for emulation, assign multipliers to its layers, and cost them."""

from axopt.model.assign import assign_, current_assignment
from axopt.model.assignment import Assignment, LayerAssignment
from axopt.model.costs import Cost, cost
from axopt.model.emulated_model import EmulatedModel, LayerInfo
from axopt.model.preparation import WEIGHT_SCALES, prepare

__all__ = [
    "WEIGHT_SCALES",
    "Assignment",
    "Cost",
    "EmulatedModel",
    "LayerAssignment",
    "LayerInfo",
    "assign_",
    "cost",
    "current_assignment",
    "prepare",
]
