"""The result of a sensitivity analysis: a plain value that is kept as JSON."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from axopt.errors import SensitivityError
from axopt.exploration import Known
from axopt.files import as_path, read_bytes, write_atomically, write_text_atomically

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
MEASURED, GRADIENT = "measured", "gradient"
METHODS = (MEASURED, GRADIENT)
EXACT = "exact"
JSON_FILE, CSV_FILE = "sensitivity.json", "sensitivity.csv"
MAP_FILE, BARS_FILE = "sensitivity.png", "sensitivity-layers.png"
MAX_BYTES = 64 << 20
"""Largest file that `Sensitivity.load` reads."""

Values = tuple[tuple[float, ...], ...]
"""One tuple a gene, with one value an option."""


@dataclass(frozen=True)
class Sensitivity:
    """What the objective and the metric are when one gene of a base assignment changes.

    A gene is a layer, or a group of layers that share a multiplier. Genes may have different
    options.

    Attributes:
        names: Names of the genes, in the order of execution.
        layers: Names of the layers of every gene.
        options: Labels of the options of every gene: the multiplier's key, with " swapped" where
            the weight is the first operand.
        values: Objective of the base assignment with one gene changed to one option; for the
            option that the base has, the objective of the base.
        qualities: Value of the metric for the same assignments; None if ``method`` is "gradient".
        around: What the base is: "exact", the label of the option that every layer has, or
            "assignment".
        base: Label of the base's option of every gene.
        base_value: Objective of the base.
        base_quality: Value of the metric for the base.
        exact_quality: Value of the metric with the reference multiplier in every layer.
        reference: Key of the exact multiplier.
        objective: Name of the objective.
        metric: Name of the metric.
        unit: Unit of the metric, "" for a plain number.
        higher_is_better: Whether a higher value of the metric is better.
        method: "measured" or "gradient".
        samples: Number of samples.
        sample_layers: Cost: sum over all calls of emulated layers of the number of samples.
        evaluations: The same in evaluations of one assignment on these samples.
        agreement: Spearman's rank correlation of estimated and measured values, where some were
            measured to check a "gradient" estimate; else None.
        checked: Number of values that ``agreement`` compares.

    Raises:
        SensitivityError: If the parts do not fit each other or a number is not finite.

    Example:
        >>> from axopt.sensitivities import Sensitivity
        >>> found = Sensitivity(
        ...     names=("conv", "fc"), layers=(("conv",), ("fc",)),
        ...     options=(("v1/exact", "v1/rough"), ("v1/exact", "v1/rough")),
        ...     values=((0.0, 0.5), (0.0, 0.1)), qualities=((90.0, 70.0), (90.0, 89.0)),
        ...     around="exact", base=("v1/exact", "v1/exact"), base_value=0.0, base_quality=90.0,
        ...     exact_quality=90.0, reference="v1/exact", objective="divergence", metric="top1",
        ...     unit="%", higher_is_better=True, method="measured", samples=128,
        ...     sample_layers=640, evaluations=2.5,
        ... )
        >>> found.most_sensitive(1), found.known().values
        (('conv',), ((0.0, 0.5), (0.0, 0.1)))
    """

    names: tuple[str, ...]
    layers: tuple[tuple[str, ...], ...]
    options: tuple[tuple[str, ...], ...]
    values: Values
    qualities: Values | None
    around: str
    base: tuple[str, ...]
    base_value: float
    base_quality: float
    exact_quality: float
    reference: str
    objective: str
    metric: str
    unit: str
    higher_is_better: bool
    method: str
    samples: int
    sample_layers: int
    evaluations: float
    agreement: float | None = None
    checked: int = 0

    def __post_init__(self) -> None:
        _check_texts(self)
        if self.method not in METHODS:
            raise _wrong("method", f"one of {', '.join(METHODS)}", self.method)
        sizes = tuple(map(len, self.options))
        if not sizes or 0 in sizes or len({*self.names}) != len(sizes):
            raise _wrong("names", "distinct, each with at least one option", self.names)
        for field in ("names", "layers", "base"):
            if len(getattr(self, field)) != len(sizes):
                raise _wrong(field, f"of {len(sizes)} genes", getattr(self, field))
        for field in ("values", "qualities"):
            values = getattr(self, field)
            if values is None and field == "qualities":
                continue
            if tuple(map(len, values)) != sizes or not all(
                _is_number(v) for g in values for v in g
            ):
                raise _wrong(field, "one finite number an option of every gene", values)
        for field in ("base_value", "base_quality", "exact_quality", "evaluations"):
            if not _is_number(getattr(self, field)):
                raise _wrong(field, "a finite number", getattr(self, field))
        for field, least in (("samples", 1), ("sample_layers", 0), ("checked", 0)):
            if type(getattr(self, field)) is not int or getattr(self, field) < least:
                raise _wrong(field, f"an integer >= {least}", getattr(self, field))
        if not isinstance(self.higher_is_better, bool):
            raise _wrong("higher_is_better", "true or false", self.higher_is_better)
        if not (self.agreement is None or _is_number(self.agreement)):
            raise _wrong("agreement", "a finite number or None", self.agreement)

    @property
    def differences(self) -> Values:
        """What a change adds to the objective of the base, negative where it lowers it."""
        return tuple(tuple(v - self.base_value for v in gene) for gene in self.values)

    @property
    def drops(self) -> Values | None:
        """How much worse the metric is than with the exact multiplier everywhere; None if unknown.

        In the metric's unit, positive where it is worse.
        """
        if self.qualities is None:
            return None
        sign = 1.0 if self.higher_is_better else -1.0
        return tuple(tuple(sign * (self.exact_quality - v) for v in g) for g in self.qualities)

    def contributions(self) -> Values:
        """Return what each option of a gene contributes to the objective, at least 0.

        It is the value of the option less that of the reference multiplier in the same gene, or of
        the gene's best option if the reference is none of its options. Around the exact network
        this is the value itself, less that of the base. Negative contributions become 0: they are
        within the noise.
        """
        found = []
        for labels, values, base in zip(self.options, self.values, self.base, strict=True):
            at = dict(zip(labels, values, strict=True))
            if self.reference in at:
                zero = at[self.reference]
            else:
                zero = self.base_value if base == self.reference else min(values)
            found.append(tuple(max(value - zero, 0.0) for value in values))
        return tuple(found)

    def known(self, objective: int = 0) -> Known:
        """Return the additive model of the objective, for `axopt.exploration.SearchSpace`.

        The sum of `contributions` over the genes of an assignment estimates its objective, less
        that of the exact network.

        Args:
            objective: Position of the objective in the problem.
        """
        return Known(objective, self.contributions(), exact=False)

    def most_sensitive(self, count: int | None = None) -> tuple[str, ...]:
        """Return names of genes, by falling mean contribution of their options.

        Args:
            count: How many; all by default.
        """
        means = [math.fsum(values) / len(values) for values in self.contributions()]
        order = sorted(range(len(means)), key=lambda gene: (-means[gene], gene))
        return tuple(self.names[gene] for gene in order[:count])

    def summary(self, count: int = 3) -> str:
        """Return a few sentences: what was measured, at which cost, and which layers matter.

        Args:
            count: How many of the most sensitive layers are named.
        """
        base = "the exact network" if self.around == EXACT else f"{self.around} in every layer"
        if self.around == "assignment":
            base = "the assignment given"
        worst = []
        contributions = dict(zip(self.names, self.contributions(), strict=True))
        options = dict(zip(self.names, self.options, strict=True))
        for name in self.most_sensitive(count):
            largest = max(contributions[name])
            label = options[name][contributions[name].index(largest)]
            worst.append(f"{name} (up to {largest:.4g} with {label})")
        how = "Measured" if self.method == MEASURED else "Estimated by gradients"
        lines = [
            f"{how} around {base} on {self.samples} samples, one change at a time, at the cost of "
            f"{self.evaluations:.1f} evaluations of the network on these samples.",
            f"Most sensitive by mean {self.objective}: {', '.join(worst)}.",
        ]
        if self.agreement is not None:
            lines.append(
                f"Rank correlation of estimate and measurement: {self.agreement:.2f} on "
                f"{self.checked} values."
            )
        return "\n".join(lines)

    def table(self) -> pd.DataFrame:
        """Return one row an option of every gene.

        Returns:
            The columns gene, option, objective's name, difference (to the base), contribution,
            quality and drop (in the metric's unit; NaN if unknown).
        """
        import pandas as pd

        contributions, drops, differences = self.contributions(), self.drops, self.differences
        rows = [
            {
                "gene": name,
                "option": label,
                self.objective: self.values[g][o],
                "difference": differences[g][o],
                "contribution": contributions[g][o],
                "quality": math.nan if self.qualities is None else self.qualities[g][o],
                "drop": math.nan if drops is None else drops[g][o],
            }
            for g, name in enumerate(self.names)
            for o, label in enumerate(self.options[g])
        ]
        return pd.DataFrame(rows)

    def as_json(self) -> dict[str, Any]:
        """Return plain values, which `from_json` takes."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_json(cls, document: Any, source: str = "sensitivity") -> Self:
        """Rebuild a result from `as_json`, or from what JSON made of it.

        Args:
            document: The plain values.
            source: Name of the document in messages.

        Raises:
            SensitivityError: If it is not one; names the source and the field.
        """
        if not isinstance(document, Mapping) or document.get("schema") != SCHEMA:
            raise SensitivityError(f"{source}: must be an object with `schema` {SCHEMA}.")
        known = {field.name for field in fields(cls)}
        given = {key: _as_tuples(value) for key, value in document.items() if key != "schema"}
        if given.keys() != known:
            wrong = sorted(given.keys() ^ known)[0]
            raise SensitivityError(
                f"{source}: must have the fields of a sensitivity, check {wrong!r}."
            )
        try:
            return cls(**given)
        except SensitivityError as error:
            raise SensitivityError(f"{source}: {error}") from None

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write values, table and pictures into a folder, which is made.

        The files are ``sensitivity.json``, which `load` reads, ``sensitivity.csv``, the heat map
        ``sensitivity.png`` and the bar chart ``sensitivity-layers.png``.

        Args:
            folder: The folder; files of these names are replaced.

        Returns:
            The path of the folder.
        """
        from axopt.sensitivities.pictures import bar_chart, heat_map

        folder = as_path(folder, "folder")
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.as_json(), indent=1, allow_nan=False)
        write_text_atomically(folder / JSON_FILE, text + "\n")
        write_text_atomically(folder / CSV_FILE, self.table().to_csv(index=False))
        write_atomically(folder / MAP_FILE, heat_map(self))
        write_atomically(folder / BARS_FILE, bar_chart(self))
        return folder

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote.

        Args:
            path: ``sensitivity.json``, or its folder.

        Raises:
            SensitivityError: If the file is damaged or no sensitivity; names the file.
            OSError: If it cannot be read or has more than 64 MiB.
        """
        file = as_path(path, "path")
        file = file / JSON_FILE if file.is_dir() else file
        content = read_bytes(file, limit=MAX_BYTES)
        try:
            document = json.loads(content.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise SensitivityError(f"{file}: must be JSON: {error}") from None
        return cls.from_json(document, str(file))


def _check_texts(result: Sensitivity) -> None:
    """Refuse fields of names and labels that hold anything else."""
    for field in ("around", "reference", "objective", "metric", "unit", "method"):
        if not isinstance(getattr(result, field), str):
            raise _wrong(field, "a text", getattr(result, field))
    for field in ("names", "base"):
        if not _are_texts(getattr(result, field)):
            raise _wrong(field, "texts", getattr(result, field))
    for field in ("layers", "options"):
        lists = getattr(result, field)
        if not isinstance(lists, tuple) or not all(map(_are_texts, lists)):
            raise _wrong(field, "lists of texts", lists)
    for field in ("values", "qualities"):
        lists = getattr(result, field)
        rows = isinstance(lists, tuple) and all(isinstance(row, tuple) for row in lists)
        if not rows and not (lists is None and field == "qualities"):
            raise _wrong(field, "lists of numbers", lists)


def _are_texts(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(text, str) and text for text in value)


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _as_tuples(value: Any) -> Any:
    """Return lists of JSON as tuples."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(map(_as_tuples, value))
    return value


def _wrong(field: str, rule: str, value: object) -> SensitivityError:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return SensitivityError(f"`{field}` must be {rule}, got {shown}.")
