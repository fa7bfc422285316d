"""The settings of a search: one value, checked once, read from TOML and kept with the run.

Importing this imports neither torch nor NumPy.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from axopt.errors import ArgumentError
from axopt.exploration.algorithms import (
    ALGORITHMS,
    DEFAULT_ALGORITHM,
    DEFAULT_POPULATION,
    default_budget,
)
from axopt.files import as_path, open_regular
from axopt.problem.objectives import OBJECTIVES

MAX_BYTES = 1_000_000
"""Size of the largest settings file that is read."""

MAX_KEY_PARTS = 50
"""Most parts that a key of a settings file may have (``a.b`` has two)."""

Rule = tuple[Callable[[Any], bool], str]
"""What a value must be: a test, and the words for messages."""


def whole(low: int) -> Rule:
    """Return the rule of integers from ``low``."""
    return (lambda value: type(value) is int and value >= low), f"an integer >= {low}"


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value) and value.isprintable()


def _is_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_text, value))


def _is_groups(value: object) -> bool:
    items = list(value.values()) if isinstance(value, Mapping) else value
    return isinstance(items, list | tuple) and all(_is_text(i) or _is_texts(i) for i in items)


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(key, str) and isinstance(item, bool | int | float | str)
        for key, item in value.items()
    )


def _is_weights(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(key, str) and type(item) in (int, float) and 0 < item < float("inf")
        for key, item in value.items()
    )


def _is_names(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        _is_text(k) and _is_text(v) for k, v in value.items()
    )


def _is_lists(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        _is_text(key) and _is_texts(names) and names for key, names in value.items()
    )


def _is_finite(value: object) -> bool:
    return type(value) in (int, float) and -float("inf") < value < float("inf")  # type: ignore[operator]


CORRECTIONS = (
    "order",
    "affine",
    "activation_codes",
    "weight_codes",
    "mean_error",
    "gain",
    "order_by_power",
)
"""Names of `axopt.Corrections`, which imports torch."""


def _is_corrections(value: object) -> bool:
    return isinstance(value, list | tuple) and all(name in CORRECTIONS for name in value)


UNIFORM, SENSITIVITY, BOTH = "uniform", "sensitivity", "both"
SEEDS = (UNIFORM, SENSITIVITY, BOTH)
"""Words for the points that a search evaluates first; others are paths."""


def _is_seeds(value: object) -> bool:
    return _is_text(value) or _is_texts(value)


TEXT: Rule = (_is_text, "a printable, non-empty text")
TEXTS: Rule = (_is_texts, "a list of texts")
FLAG: Rule = (lambda value: isinstance(value, bool), "true or false")

RULES: dict[str, Rule] = {
    "algorithm": TEXT,
    "algorithm_options": (_is_table, "a table of plain values"),
    "budget": whole(1),
    "seed": whole(0),
    "population": whole(2),
    "operand_order": FLAG,
    "groups": (_is_groups, "a list or a table of patterns"),
    "fixed": (_is_names, "a table of names of multipliers"),
    "candidates": (_is_lists, "a table of lists of at least one name of a multiplier"),
    "max_multipliers": whole(1),
    "max_drop": (lambda value: _is_finite(value) and value >= 0, "a finite number >= 0"),
    "max_power": (lambda value: _is_finite(value) and value > 0, "a finite number > 0"),
    "max_delay_ns": (lambda value: _is_finite(value) and value > 0, "a finite number > 0"),
    "correct": (
        lambda value: isinstance(value, bool) or _is_corrections(value),
        f"true, false or a list of corrections ({', '.join(CORRECTIONS)})",
    ),
    "reestimate_samples": whole(1),
    "objective": TEXT,
    "divergence_outputs": (_is_weights, "a table of positive numbers"),
    "objectives": TEXTS,
    "metric": TEXT,
    "seeds": (_is_seeds, f"{', '.join(SEEDS)}, a path, or a list of these"),
    "sensitivity_samples": whole(1),
    "validation_samples": whole(1),
    "confirm_samples": whole(1),
    "max_points": whole(2),
    "test_samples": whole(1),
    "batch_size": whole(1),
    "staged": FLAG,
    "reuse_mb": whole(0),
}
"""Setting -> what its value must be; the defaults are in `SearchConfig`."""


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """The settings of `axopt.search` that are plain values.

    Attributes:
        algorithm: A name of `axopt.exploration.list_algorithms`.
        algorithm_options: Options of that algorithm, see `axopt.exploration.algorithm_options`.
        budget: Distinct assignments to evaluate, sensitivities included; None for the default
            of the algorithm: 200 for auto, 60 for additive, 500 for others.
        seed: Seed of the algorithm.
        population: Points of one generation, for algorithms that have generations.
        operand_order: Whether operand orders are genes too.
        groups: Layers that share a gene: patterns, or name -> patterns; None for no groups.
        fixed: Name or pattern of layers -> the multiplier that they keep.
        candidates: Name or pattern of layers -> the multipliers that they choose from.
        max_multipliers: Most distinct multipliers of an assignment, None for any number.
        max_drop: Largest drop of interest on the validation split, None for any.
        max_power: Largest relative power of interest, None for any.
        max_delay_ns: Largest delay of a multiplier in ns, None for any.
        correct: Whether layers get the corrections that help them, or names of corrections that
            they may get.
        reestimate_samples: Training samples on which batch norms are re-estimated, None for none.
        objective: What is minimised first: a name of `axopt.study.OBJECTIVES` or of a metric.
        divergence_outputs: Path of an output -> weight of its divergence, for models with several
            outputs.
        objectives: Names of `axopt.study.OBJECTIVES` to minimise beside it.
        metric: Name of the metric.
        seeds: What is evaluated first: "uniform", "sensitivity", "both", paths of run folders or
            assignments, or a list of these; None for what suits the algorithm.
        sensitivity_samples: Most validation samples on which sensitivities are measured.
        validation_samples: Number of validation samples, None for all.
        confirm_samples: Number of further validation samples on which the front is measured
            again, None for none.
        max_points: Most points of the front that are measured on test and reported, None for all.
        test_samples: Number of test samples, None for all.
        batch_size: Samples at a time.
        staged: Whether evaluations may stop early.
        reuse_mb: Memory in MiB for results of layers that candidates have in common.

    Raises:
        ArgumentError: If a value breaks its rule; names the setting, the rule and the value.

    Example:
        >>> from axopt.study import SearchConfig
        >>> config = SearchConfig(budget=200, algorithm="tpe")
        >>> print(config.to_toml())
        algorithm = "tpe"
        budget = 200
        seed = 0
        population = 40
        operand_order = false
        correct = true
        objective = "divergence"
        objectives = ["rel_power"]
        metric = "top1"
        sensitivity_samples = 128
        batch_size = 64
        staged = true
        reuse_mb = 1024
        >>> SearchConfig(budget=0)
        Traceback (most recent call last):
            ...
        axopt.errors.ArgumentError: `budget` must be an integer >= 1, got 0.
    """

    algorithm: str = DEFAULT_ALGORITHM
    algorithm_options: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    budget: int | None = None
    seed: int = 0
    population: int = DEFAULT_POPULATION
    operand_order: bool = False
    groups: Mapping[str, str | Sequence[str]] | Sequence[str | Sequence[str]] | None = None
    fixed: Mapping[str, str] = field(default_factory=dict)
    candidates: Mapping[str, Sequence[str]] = field(default_factory=dict)
    max_multipliers: int | None = None
    max_drop: float | None = None
    max_power: float | None = None
    max_delay_ns: float | None = None
    correct: bool | Sequence[str] = True
    reestimate_samples: int | None = None
    objective: str = "divergence"
    divergence_outputs: Mapping[str, float] = field(default_factory=dict)
    objectives: Sequence[str] = ("rel_power",)
    metric: str = "top1"
    seeds: str | Sequence[str] | None = None
    sensitivity_samples: int = 128
    validation_samples: int | None = None
    confirm_samples: int | None = None
    max_points: int | None = None
    test_samples: int | None = None
    batch_size: int = 64
    staged: bool = True
    reuse_mb: int = 1024

    def __post_init__(self) -> None:
        for part in fields(self):
            value = getattr(self, part.name)
            if value is None and part.default is None:
                continue
            fits, rule = RULES[part.name]
            if not fits(value):
                raise ArgumentError(f"`{part.name}` must be {rule}, got {value!r}.")
        if self.algorithm not in ALGORITHMS:
            ALGORITHMS[self.algorithm]  # raises, with near misses
        if self.budget is None:
            object.__setattr__(self, "budget", self.evaluations)
        for name in self.objectives:
            if name not in OBJECTIVES:
                OBJECTIVES[name]  # raises, with near misses

    @property
    def evaluations(self) -> int:
        """The budget, settled."""
        return default_budget(self.algorithm) if self.budget is None else self.budget

    def settings(self) -> dict[str, Any]:
        """Return the settings that are not None or empty, as plain values."""
        return {
            name: _plain(value)
            for name, value in asdict(self).items()
            if value is not None and value != {}
        }

    def to_toml(self) -> str:
        """Return TOML that `from_toml` turns into an equal value."""
        return to_toml(self.settings())

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str]) -> Self:
        """Read the settings of a search from a file.

        Args:
            path: A TOML file with settings as its keys.

        Raises:
            ArgumentError: If it is no TOML file of at most 1 MB, or a key is unknown or repeated
                or has a wrong value; names the file, the key, the rule and the value.
            OSError: If it cannot be read.

        Example:
            >>> from pathlib import Path
            >>> from axopt.study import SearchConfig
            >>> length = Path("run.toml").write_text("budget = 200")
            >>> SearchConfig.from_toml("run.toml").budget
            200
        """
        return cls(**read_settings(as_path(path, "path"), RULES))


def read_settings(path: str | os.PathLike[str], rules: Mapping[str, Rule]) -> dict[str, Any]:
    """Read a TOML file whose keys and values ``rules`` name.

    Args:
        path: The file.
        rules: Key -> what its value must be.

    Returns:
        The values that the file holds.

    Raises:
        ArgumentError: If it is no TOML file of at most 1 MB, or a key is unknown or repeated or
            has a wrong value: ``file: key: rule, got value``.
        OSError: If it cannot be read.
    """
    where = os.fspath(path)
    text = _text_of(path)
    if _has_long_key(text):
        raise ArgumentError(f"{where}: keys must have at most {MAX_KEY_PARTS} parts.")
    try:
        values = tomllib.loads(text)
    except ValueError as error:  # of tomllib, or of an integer with thousands of digits
        raise ArgumentError(f"{where}: {_explained(str(error), text)}") from None
    except RecursionError:
        raise ArgumentError(f"{where}: must be TOML, got values nested too deeply.") from None
    for key, value in values.items():
        if key not in rules:
            near = difflib.get_close_matches(key, rules, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise ArgumentError(
                f"{where}: {key}: must be a known setting, got {_short(key)}{hint}"
            )
        if not _fits_64_bits(value):
            raise ArgumentError(f"{where}: {key}: must have integers of at most 64 bits.")
        fits, rule = rules[key]
        if not fits(value):
            raise ArgumentError(f"{where}: {key}: must be {rule}, got {_short(value)}.")
    return values


def to_toml(settings: Mapping[str, Any]) -> str:
    """Return settings as TOML, one a line, tables in one line."""
    return "\n".join(f"{key} = {_value(value)}" for key, value in settings.items())


def _text_of(path: str | os.PathLike[str]) -> str:
    with open_regular(path) as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ArgumentError(f"{path}: must have at most {MAX_BYTES} bytes, got more.")
    try:
        return content.decode("utf-8-sig")  # some editors begin a file with a byte order mark
    except UnicodeDecodeError as error:
        raise ArgumentError(f"{path}: must be UTF-8, got {error.reason}.") from None


def _has_long_key(text: str) -> bool:
    """Return whether a key has so many parts that tomllib takes minutes, as it is quadratic."""
    bare = re.sub(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*', "", text)
    return any(run.count(".") >= MAX_KEY_PARTS for run in re.split(r"[^\w. \t-]", bare))


def _fits_64_bits(value: Any) -> bool:
    """Return whether the integers in a value of TOML are as TOML allows them."""
    if isinstance(value, dict):
        return all(map(_fits_64_bits, value.values()))
    if isinstance(value, list):
        return all(map(_fits_64_bits, value))
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def _explained(message: str, text: str) -> str:
    """Return a message of tomllib with the key of its line, for a key that is repeated."""
    repeated = re.search(r"Cannot overwrite a value \(at line (\d+)|at end of document", message)
    if "Cannot overwrite" not in message or repeated is None:
        return f"must be TOML: {message}."
    lines = text.splitlines()
    line = lines[int(repeated[1]) - 1] if repeated[1] else lines[-1]
    key, _, value = line.partition("=")
    return f"{key.strip()}: must be given once, got it again: {value.strip()[:60]}."


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        items = (f"{_quoted(key)} = {_value(item)}" for key, item in value.items())
        return f"{{{', '.join(items)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _quoted(value) if isinstance(value, str) else repr(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
