"""Families of multipliers: gate lists from parameters."""

from axopt.circuits.families.parameters import (
    REQUIRED,
    Constant,
    Flag,
    Integer,
    KeptSet,
    OneOf,
    Parameter,
)
from axopt.circuits.families.registry import FAMILIES, Family, generate, register_family
from axopt.circuits.families.signs import sign_magnitude

__all__ = [
    "FAMILIES",
    "REQUIRED",
    "Constant",
    "Family",
    "Flag",
    "Integer",
    "KeptSet",
    "OneOf",
    "Parameter",
    "generate",
    "register_family",
    "sign_magnitude",
]
