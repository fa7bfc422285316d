"""What a layer may get: multipliers and operand orders, as the numbers of genes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from axopt.errors import ArgumentError
from axopt.multipliers import Multiplier, MultiplierLibrary, load_library


@dataclass(frozen=True)
class Option:
    """What a layer may get: a multiplier and its operand order.

    Attributes:
        multiplier: The multiplier.
        swap: Whether the weight is the first operand.

    Example:
        >>> from axopt.problem import options_of
        >>> options_of(["mul8s_1KV8"], operand_order=False)[0].swap
        False
    """

    multiplier: Multiplier
    swap: bool


def default_library() -> MultiplierLibrary:
    """Return the multipliers that a search chooses from by default: the signed ones of v1.

    Example:
        >>> from axopt.problem import default_library
        >>> len(default_library())
        13
    """
    return load_library().select(release="v1", signed=True)


def options_of(
    library: MultiplierLibrary | Iterable[str | Multiplier] | None, operand_order: bool
) -> tuple[Option, ...]:
    """Return the options of every gene, by falling power, so that neighbours are alike.

    Args:
        library: Multipliers, or their names in the bundled library; the default library if None.
        operand_order: Whether multipliers that do not commute are two options, one an order.

    Returns:
        The options; the number of an option is the value of a gene.

    Raises:
        ArgumentError: If the library is empty or one name instead of a list.
        MultiplierError: If a multiplier is listed twice.
        UnknownMultiplierError: If a name is unknown.

    Example:
        >>> from axopt.problem import options_of
        >>> [option.multiplier.name for option in options_of(["mul8s_1L2H", "mul8s_1KV8"], False)]
        ['mul8s_1KV8', 'mul8s_1L2H']
    """
    if library is None:
        library = default_library()
    elif isinstance(library, str):
        raise ArgumentError(f"`library` must be a list of multipliers, got {library!r}.")
    elif not isinstance(library, MultiplierLibrary):
        bundled = load_library(narrow=True)
        library = MultiplierLibrary(bundled[m] if isinstance(m, str) else m for m in library)
    if not library:
        raise ArgumentError("`library` must hold at least one multiplier, got none.")
    return in_order(
        Option(multiplier, swap)
        for multiplier in library.values()
        for swap in (False, True)
        if not swap or (operand_order and not multiplier.is_commutative)
    )


def in_order(options: Iterable[Option]) -> tuple[Option, ...]:
    """Return options by falling power, so that neighbours are alike; each once."""
    return tuple(
        sorted(
            dict.fromkeys(options),
            key=lambda o: (-o.multiplier.power_mw, o.multiplier.key, o.swap),
        )
    )


def default_reference(options: Sequence[Option]) -> Multiplier:
    """Return the exact 8 x 8 multiplier of the kind searched, signed where both kinds are."""
    signed = any(option.multiplier.signed for option in options)
    for option in options:
        multiplier = option.multiplier
        if multiplier.is_exact and not multiplier.is_narrow and multiplier.signed == signed:
            return multiplier
    return load_library().exact(signed=signed)


def nearest(options: Sequence[Option], wanted: Option) -> Option:
    """Return the option of a gene that is nearest to one that the gene need not have.

    Args:
        options: The options of the gene.
        wanted: The option looked for: it is returned if the gene has it. Otherwise the power of
            its multiplier counts, then its operand order.
    """
    if wanted in options:
        return wanted
    power = wanted.multiplier.power_mw
    return min(
        options,
        key=lambda o: (
            o.multiplier != wanted.multiplier,
            abs(o.multiplier.power_mw - power),
            o.multiplier.power_mw,
            o.multiplier.key,
            o.swap != wanted.swap,
        ),
    )
