"""Families of multipliers by name: gate lists from parameters."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from axopt.circuits.families.parameters import REQUIRED, Flag, KeptSet, Parameter
from axopt.circuits.families.signs import sign_magnitude
from axopt.circuits.netlist import Netlist
from axopt.errors import ArgumentError, CircuitError, described
from axopt.registry import Registry, blamed_on

FLAGS = {"area", "debug", "delay", "help", "json", "name", "power", "quiet", "release", "to"}
"""Flags that every family has on the command line."""

Make = Callable[..., Netlist]

_HERE = "axopt.circuits.families"
_OWN = {
    "exact": f"{_HERE}.arrays",
    "truncated": f"{_HERE}.arrays",
    "broken": f"{_HERE}.broken",
    "broken_array": f"{_HERE}.broken",
    "column_truncated": f"{_HERE}.broken",
    "compressor": f"{_HERE}.compressors",
    "drum": f"{_HERE}.segments",
    "dynamic_segment": f"{_HERE}.segments",
    "mitchell": f"{_HERE}.logarithm",
    "recursive": f"{_HERE}.recursive",
    "static_segment": f"{_HERE}.segments",
}

SIGNED = Flag("signed", "operands and product in two's complement")
SIGN_MAGNITUDE = Flag(
    "sign_magnitude", "with signed: an unsigned multiplier between negations, not Baugh-Wooley"
)


@dataclass(frozen=True)
class Family:
    """A family of multipliers.

    Attributes:
        name: Its name in `FAMILIES`.
        title: What it computes, in one line.
        label: First part of the names of its multipliers.
        article: Author, venue and year of the article that describes it.
        parameters: Its parameters, ``signed`` and ``sign_magnitude`` included.
        make: Makes the gate list from checked values of all of the family's own parameters.
        makes_signed: Whether ``make`` has the parameter ``signed``; else signed multipliers are
            unsigned ones between negations.

    Example:
        >>> [parameter.name for parameter in FAMILIES["truncated"].parameters]
        ['bits_a', 'bits_w', 'slot_a', 'slot_w', 'reduction', 'signed', 'sign_magnitude']
    """

    name: str
    title: str
    label: str
    article: str
    parameters: tuple[Parameter, ...]
    make: Make
    makes_signed: bool

    def checked(self, parameters: Mapping[str, object]) -> dict[str, Any]:
        """Return the values of all parameters, in their order.

        Args:
            parameters: Values by the names of the parameters; those with a default may be absent.

        Raises:
            CircuitError: If a parameter is unknown or missing, or its value breaks its rule.
        """
        known = [parameter.name for parameter in self.parameters]
        for name in parameters:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}."
                raise CircuitError(f"{self.name}: {name!r} is not a parameter; {hint}")
        values = {}
        for parameter in self.parameters:
            value = parameters.get(parameter.name, parameter.default)
            if value is REQUIRED:
                raise CircuitError(
                    f"{self.name}: `{parameter.name}` must be given: {parameter.rule}."
                )
            values[parameter.name] = parameter.checked(value)
        if values.get("sign_magnitude") and not values["signed"]:
            raise CircuitError(f"{self.name}: `sign_magnitude` must be False unless `signed`.")
        return values

    def netlist(self, parameters: Mapping[str, object]) -> Netlist:
        """Return the gate list; see `generate`."""
        values = self.checked(parameters)
        signed = values.pop("signed")
        wrapped = values.pop("sign_magnitude", not self.makes_signed)
        if self.makes_signed:
            values["signed"] = signed and not wrapped
        with blamed_on("family of multipliers", self.name):
            netlist = self.make(**values)
        if not isinstance(netlist, Netlist) or netlist.signed != values.get("signed", False):
            kind = "a signed" if values.get("signed") else "an unsigned"
            raise CircuitError(
                f"{self.name}: the function must return {kind} Netlist, got {described(netlist)}."
            )
        if not (signed and wrapped):
            return netlist
        try:
            return sign_magnitude(netlist)
        except CircuitError as error:
            raise CircuitError(
                f"{self.name}: there is no signed multiplier of these parameters: {error}"
            ) from error

    def name_of(self, parameters: Mapping[str, object]) -> str:
        """Return a name for the multiplier of these parameters; other parameters, other name.

        Example:
            >>> FAMILIES["truncated"].name_of({"bits_a": 4, "bits_w": 5, "signed": True})
            'trunc4x5s'
        """
        values = self.checked(parameters)
        widths = [values[n] for n in ("bits_a", "bits_w") if n in values]
        for parameter in self.parameters:
            if isinstance(parameter, KeptSet):
                widths = values[parameter.name].shape
        parts = [f"{self.label}{'x'.join(map(str, widths))}{'s' if values['signed'] else 'u'}"]
        for parameter in self.parameters:
            value = values[parameter.name]
            told = parameter.name in ("bits_a", "bits_w", "signed")
            if not told and (parameter.default is REQUIRED or value != parameter.default):
                parts.append(parameter.in_name(value))
        return "_".join(parts)

    def describe(self, parameters: Mapping[str, object]) -> str:
        """Return family, parameters and article in a line, for the source of a multiplier.

        Example:
            >>> FAMILIES["recursive"].describe({"bits_a": 4, "bits_w": 4})  # doctest: +ELLIPSIS
            'recursive, bits_a 4, bits_w 4, exact_from 16, signed False; Kulkarni, Gupta and ...'
        """
        values = self.checked(parameters)
        shown = [f"{p.name} {p.shown(values[p.name])}" for p in self.parameters]
        return "; ".join(filter(None, [", ".join([self.name, *shown]), self.article]))


FAMILIES = Registry[Family](
    "family of multipliers", group="axopt.families", built_in=_OWN, argument="family", kind=Family
)
"""Families by name."""


def register_family(
    name: str,
    *,
    title: str,
    parameters: Sequence[Parameter],
    article: str = "",
    label: str = "",
    signed: Literal["sign_magnitude", "own"] = "sign_magnitude",
) -> Callable[[Make], Family]:
    """Return a decorator that makes a function a family of multipliers.

    Args:
        name: A new name, which `generate` and the command line take.
        title: What its multipliers compute, in one line.
        parameters: The parameters of the function, which is called with keywords.
        article: Author, venue and year of the article that describes it.
        label: First part of the names of its multipliers; ``name`` by default.
        signed: How signed multipliers are made. ``"sign_magnitude"``: by negations around the
            unsigned multiplier that the function makes. ``"own"``: by the function, which has one
            more parameter ``signed``.

    Returns:
        A decorator; the decorated name becomes a `Family`.

    Raises:
        ArgumentError: If ``name`` is taken, a text is no printable one, or ``parameters`` are no
            `Parameter` objects of different names.

    Example:
        >>> from axopt.circuits import NetlistBuilder, generate
        >>> @register_family("and", title="a AND w", parameters=[])
        ... def conjunction():
        ...     build = NetlistBuilder(2, 2, signed=False)
        ...     return build.netlist([build.and_(x, y) for x, y in zip(build.a, build.w)])
        >>> generate("and").table().tolist()
        [[0, 0, 0, 0], [0, 1, 0, 1], [0, 0, 2, 2], [0, 1, 2, 3]]
        >>> FAMILIES.remove("and")
    """
    own = signed == "own"
    for argument, text in (("title", title), ("article", article), ("label", label)):
        if not isinstance(text, str) or not text.isprintable():
            raise ArgumentError(f"`{argument}` must be a printable text, got {described(text)}.")
    if signed not in ("own", "sign_magnitude"):
        raise ArgumentError(
            f"`signed` must be 'own' or 'sign_magnitude', got {described(signed)}."
        )
    everything = (*_checked(parameters), SIGNED, *([SIGN_MAGNITUDE] if own else []))

    def register(make: Make) -> Family:
        if not callable(make):
            raise ArgumentError(f"a family must be a function, got {described(make)}.")
        family = Family(name, title, label or name, article, everything, make, own)
        FAMILIES.add(name, family)
        return family

    return register


def _checked(parameters: Sequence[Parameter]) -> list[Parameter]:
    checked: list[Parameter] = []
    for parameter in parameters:
        if not isinstance(parameter, Parameter):
            raise ArgumentError(f"`parameters` must be Parameters, got {described(parameter)}.")
        taken = {p.name for p in (*checked, SIGNED, SIGN_MAGNITUDE)} | FLAGS
        if not re.fullmatch("[a-z][a-z0-9_]*", parameter.name) or parameter.name in taken:
            raise ArgumentError(
                "`parameters` must have different names in lower case, other than those of the"
                f" flags {', '.join(sorted(FLAGS))}, got {parameter.name!r}."
            )
        checked.append(parameter)
    return checked


def generate(family: str, **parameters: Any) -> Netlist:
    """Make a multiplier of a family.

    Args:
        family: A name of `FAMILIES`.
        **parameters: The family's parameters; every family has ``signed``.

    Returns:
        Its gate list.

    Raises:
        ArgumentError: If there is no such family.
        CircuitError: If a parameter is unknown or missing, or breaks its rule.

    Example:
        >>> netlist = generate("truncated", bits_a=4, bits_w=5, signed=True)
        >>> int(netlist.table()[-1, -1]) == (127 & ~15) * (127 & ~7)
        True
    """
    return FAMILIES[family].netlist(parameters)
