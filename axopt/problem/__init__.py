"""Genes, and what they stand for: options, candidates, their objectives.

A gene is a layer or a group of layers, its value the number of an option: a multiplier and an
operand order. An `AssignmentProblem` settles points of such genes as candidates and measures them.

The names below are imported on first use, so that the command line can list objectives without
importing torch.
"""

from typing import TYPE_CHECKING

from axopt.lazy import lazy_names

if TYPE_CHECKING:
    from axopt.problem.candidate import Candidate, LayerSetting
    from axopt.problem.objectives import OBJECTIVES, Measured, Objective, register_objective
    from axopt.problem.options import Option, default_library, options_of
    from axopt.problem.problem import AssignmentProblem

__all__ = [
    "OBJECTIVES",
    "AssignmentProblem",
    "Candidate",
    "LayerSetting",
    "Measured",
    "Objective",
    "Option",
    "default_library",
    "options_of",
    "register_objective",
]

_MODULE_OF = {
    "OBJECTIVES": "objectives",
    "AssignmentProblem": "problem",
    "Candidate": "candidate",
    "LayerSetting": "candidate",
    "Measured": "objectives",
    "Objective": "objectives",
    "Option": "options",
    "default_library": "options",
    "options_of": "options",
    "register_objective": "objectives",
}


__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
