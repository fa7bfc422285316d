"""Design of multipliers for a network: from the data of its layers to gates."""

from axopt.design.design import design_multipliers
from axopt.design.result import Design

__all__ = ["Design", "design_multipliers"]
