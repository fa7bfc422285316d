"""Pictures of sensitivities: a heat map of genes and options, and bars of the genes.

They are drawn without pyplot, so that no global state is read or left behind.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from axopt.sensitivities.result import EXACT, Sensitivity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_GENES = 120
"""Most genes of a heat map; of more, the most sensitive ones are drawn."""

MAX_BARS = 20
"""Most genes of a bar chart."""

MAX_OPTIONS = 80
"""Most options of a heat map, those in the order of falling power."""

_DPI = 160
_ROW, _COLUMN, _CHARACTER = 0.24, 0.42, 0.06  # inches
_LEGIBLE = 14  # values are written into the cells of a map with at most so many options
_COLOUR = "#0072B2"
_LIGHT = "#9CC6E2"
_MISSING = "#EEEEEE"
_DECADES = 4.0
_LEAST = 1e-30  # smaller values count as 0: a logarithmic scale has no room for them
_STYLE: Any = {
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.linewidth": 0.7,
    "svg.hashsalt": "axopt",
}
_PLAIN: dict[str, Any] = {"parse_math": False}
_LONGEST = 34


def heat_map(found: Sensitivity) -> bytes:
    """Draw what each option of each gene contributes to the objective, as a PNG.

    Colours are logarithmic. A cell is grey where a gene does not have the option.

    Args:
        found: The sensitivities.
    """
    import matplotlib as mpl
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    values, genes, options = _matrix(found)
    top = max(float(np.nanmax(values)), _LEAST)
    positive = values[values > _LEAST]
    low = max(float(positive.min()) if positive.size else top / 10, top / 10**_DECADES)
    with mpl.rc_context(_STYLE):
        size = (
            max(3.6, 1.6 + _CHARACTER * _longest(genes) + _COLUMN * len(options)),
            max(2.6, 1.0 + _CHARACTER * _longest(options) + _ROW * len(genes)),
        )
        figure = Figure(figsize=size, dpi=_DPI, facecolor="white", layout="constrained")
        axes = figure.add_subplot()
        axes.set_facecolor(_MISSING)
        shown = np.ma.masked_invalid(np.maximum(values, low))
        norm = LogNorm(min(low, top / 10), top)
        image = axes.imshow(shown, cmap="YlOrRd", norm=norm, aspect="auto", interpolation="none")
        axes.set_xticks(range(len(options)), options, rotation=60, ha="right", fontsize=7)
        axes.set_yticks(range(len(genes)), genes, fontsize=7)
        for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
            for label in labels:
                label.set_parse_math(False)
        axes.tick_params(length=0)
        axes.set_xticks(np.arange(len(options) + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(len(genes) + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=0.8)
        axes.tick_params(which="minor", length=0)
        if len(options) <= _LEGIBLE:
            _write_values(axes, values, norm)
        bar = figure.colorbar(
            image, ax=axes, pad=0.02, fraction=0.05, extend="min", extendfrac=0.02
        )
        bar.set_label(_title_of(found))
        axes.set_title(_caption(found), loc="left", fontsize=9, **_PLAIN)
        return _png(figure)


def bar_chart(found: Sensitivity) -> bytes:
    """Draw the most sensitive genes as bars, as a PNG: mean and largest contribution.

    Args:
        found: The sensitivities.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    order = found.most_sensitive(MAX_BARS)
    contributions = dict(zip(found.names, found.contributions(), strict=True))
    means = [float(np.mean(contributions[name])) for name in order]
    largest = [max(contributions[name]) for name in order]
    with mpl.rc_context(_STYLE):
        size = (6.2, 1.3 + 0.26 * len(order))
        figure = Figure(figsize=size, dpi=_DPI, facecolor="white", layout="constrained")
        axes = figure.add_subplot()
        places = np.arange(len(order))
        axes.barh(places, largest, color=_LIGHT, height=0.72, label="largest of its options")
        axes.barh(places, means, color=_COLOUR, height=0.4, label="mean of its options")
        axes.set_yticks(places, [_shortened(name) for name in order], fontsize=8)
        for label in axes.get_yticklabels():
            label.set_parse_math(False)
        axes.invert_yaxis()
        axes.set_xlabel(_title_of(found))
        axes.set_xlim(left=0.0)
        axes.set_axisbelow(True)
        axes.grid(axis="x", color="#E4E4E4", linewidth=0.6)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=2)
        axes.set_title(_caption(found), loc="left", fontsize=9, **_PLAIN)
        return _png(figure)


def _matrix(found: Sensitivity) -> tuple[npt.NDArray[np.float64], list[str], list[str]]:
    """Return contributions ``(genes, options)``, NaN where there is no such option, and names."""
    kept = set(found.most_sensitive(MAX_GENES))
    rows = [gene for gene, name in enumerate(found.names) if name in kept]
    labels = sorted(found.options, key=len)[-1]
    labels = tuple(dict.fromkeys((*labels, *(o for gene in found.options for o in gene))))
    labels = labels[:MAX_OPTIONS]
    values = np.full((len(rows), len(labels)), np.nan)
    contributions = found.contributions()
    for row, gene in enumerate(rows):
        at = dict(zip(found.options[gene], contributions[gene], strict=True))
        values[row] = [at.get(label, np.nan) for label in labels]
    names = [_shortened(found.names[gene]) for gene in rows]
    return values, names, [_shortened(label.partition("/")[2] or label) for label in labels]


def _write_values(axes: Axes, values: npt.NDArray[np.float64], norm: Any) -> None:
    """Write the value into every cell."""
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            text = "0" if value == 0 else _short(value)
            dark = value > 0 and float(norm(value)) > 0.6
            axes.text(
                column,
                row,
                text,
                ha="center",
                va="center",
                fontsize=5.5,
                color="white" if dark else "#333333",
            )


def _short(value: float) -> str:
    """Return a number with two significant digits in at most six characters."""
    return f"{value:.2g}".replace("e-0", "e-").replace("e+0", "e")


def _title_of(found: Sensitivity) -> str:
    return found.objective.replace("_", " ").capitalize()


def _caption(found: Sensitivity) -> str:
    around = {EXACT: "the exact network", "assignment": "an assignment"}.get(
        found.around, f"{found.around.partition('/')[2] or found.around} in every layer"
    )
    return f"One change at a time around {around}, {found.samples} samples, {found.method}"


def _longest(names: list[str]) -> int:
    return max(map(len, names))


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST else "..." + name[3 - _LONGEST :]


def _png(figure: Figure) -> bytes:
    """Return a picture; equal sensitivities give equal bytes."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        # a character that the font lacks is drawn as a box
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        figure.savefig(content, format="png", metadata={}, bbox_inches="tight", pad_inches=0.05)
    return content.getvalue()
