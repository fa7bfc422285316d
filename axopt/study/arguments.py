"""Arguments of a search: checked, and as the plain values that settings hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from axopt.data import Dataset, Split
from axopt.errors import ArgumentError
from axopt.model import EmulatedModel
from axopt.multipliers import Multiplier


def check_types(emulated: object, data: object) -> None:
    """Refuse what is no emulated model and no data set."""
    if not isinstance(emulated, EmulatedModel):
        raise ArgumentError(
            f"`emulated` must be a model made by `axopt.prepare`, got {type(emulated).__name__}."
        )
    if not isinstance(data, Dataset):
        raise ArgumentError(
            "`data` must be a Dataset with the splits train, validation and test (see "
            f"`axopt.load_data` and `axopt.data.Dataset`), got {type(data).__name__}."
        )


def names_of(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return ``fixed`` or ``candidates`` with multipliers as their names."""

    def name(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return list(map(name, value))
        return value.key if isinstance(value, Multiplier) else value

    return {pattern: name(value) for pattern, value in (given or {}).items()}


def as_texts(seeds: str | Path | Sequence[str | Path] | None) -> str | list[str] | None:
    """Return seeds as the settings hold them."""
    if seeds is None or isinstance(seeds, str | Path):
        return None if seeds is None else str(seeds)
    return [str(seed) for seed in seeds]


def subset_of(split: Split, n: int | None, argument: str) -> Split:
    """Return ``n`` samples of a split; all if it is None."""
    if n is None:
        return split
    if not 1 <= n <= len(split):
        raise ArgumentError(f"`{argument}` must be in 1..{len(split)}, got {n}.")
    return split.take(n)
