"""Pictures of multipliers: the errors of one, and power against error of several.

They are drawn without pyplot, so that no global state is read or left behind.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from axopt.errors import ArgumentError
from axopt.files import as_path, write_atomically
from axopt.multipliers.metrics import exact_table
from axopt.multipliers.multiplier import Multiplier, as_multiplier

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".pdf", ".svg")
"""Formats of pictures."""

COMPARED = {
    "mae": "Mean absolute error",
    "wce": "Worst-case error",
    "mre": "Mean relative error (%)",
    "wcre": "Worst-case relative error (%)",
    "ep": "Error probability (%)",
    "mse": "Mean squared error",
}
"""Errors that `compare_picture` can draw, with the titles of their axis."""

_DPI = 200
_LABELLED = 40  # more names than this would hide the points
_COLOURS = {True: "#0072B2", False: "#D55E00"}
_MARKERS = {True: "o", False: "s"}
_GREY = "#555555"
_PLACES = [(dx, dy) for dy in (-3, 4, -10, 11) for dx in (6, -6)]
"""Where a name may stand beside its point, in points; the first that is free is taken."""
_STYLE: Any = {
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.linewidth": 0.7,
    "svg.hashsalt": "axopt",
    "pdf.fonttype": 42,
}
_PLAIN: dict[str, Any] = {"parse_math": False}


def error_picture(multiplier: Multiplier, file: str | os.PathLike[str]) -> Path:
    """Draw the error of each pair of operands as a heat map.

    Colours are symmetric about zero: red where products are too large, blue where too small.

    Args:
        multiplier: The multiplier.
        file: The picture, ``.png``, ``.pdf`` or ``.svg``; it is replaced.

    Returns:
        The path of the file.

    Raises:
        ArgumentError: If the file has another suffix, or ``multiplier`` is none.
        OSError: If the file cannot be written.

    Example:
        >>> from axopt import load_library
        >>> error_picture(load_library(narrow=True)["v2022/mul8x2u_0AJ"], "errors.svg").name
        'errors.svg'
    """
    as_multiplier(multiplier)
    file = _checked(file)
    import matplotlib as mpl
    from matplotlib.figure import Figure

    bits_a, bits_w = multiplier.bits_a, multiplier.bits_w
    error = multiplier.table - exact_table(multiplier.signed, bits_a, bits_w)
    largest = float(np.abs(error).max())
    typical = float(np.quantile(np.abs(error), 0.995))
    limit = typical if 0 < 4 * typical < largest else largest or 1.0
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.7, 4.1), dpi=_DPI, facecolor="white", layout="constrained")
        axes = figure.add_subplot()
        first, second = (_values(bits, multiplier.signed) for bits in (bits_a, bits_w))
        image = axes.imshow(
            error,
            cmap="RdBu_r",
            vmin=-limit,
            vmax=limit,
            origin="lower",
            interpolation="nearest",
            aspect="equal" if bits_a == bits_w else "auto",
            extent=(second[0] - 0.5, second[-1] + 0.5, first[0] - 0.5, first[-1] + 0.5),
        )
        axes.set_xticks(_ticks(second))
        axes.set_yticks(_ticks(first))
        axes.set_xlabel("Second operand (columns)")
        axes.set_ylabel("First operand (rows)")
        bar = figure.colorbar(
            image,
            cax=axes.inset_axes((1.05, 0.0, 0.05, 1.0)),  # as high as the map
            extend="both" if limit < largest else "neither",
        )
        bar.set_label("Product minus exact product")
        bar.ax.ticklabel_format(useOffset=False)
        axes.set_title(_title(multiplier), **_PLAIN)
        _save(figure, file)
    return file


def compare_picture(
    multipliers: Sequence[Multiplier], file: str | os.PathLike[str], *, metric: str = "mae"
) -> Path:
    """Draw power against error of several multipliers.

    Published figures are filled marks. Estimates are hollow ones, with a bar over the interval of
    the power. A line joins the multipliers that no other one of their kind and widths dominates.

    Args:
        multipliers: The multipliers, at least one. If widths differ, absolute errors are in
            per cent of ``2**(bits_a + bits_w)``, the number of values of a product.
        file: The picture, ``.png``, ``.pdf`` or ``.svg``; it is replaced.
        metric: The error, a key of `COMPARED`.

    Returns:
        The path of the file.

    Raises:
        ArgumentError: If there is none, one is no `Multiplier`, there is no such metric, or the
            file has another suffix.
        OSError: If the file cannot be written.

    Example:
        >>> from axopt import load_library
        >>> chosen = load_library().select(signed=True, pareto="mae", release="v1")
        >>> compare_picture(list(chosen.values()), "compared.svg").name
        'compared.svg'
    """
    file = _checked(file)
    multipliers = [as_multiplier(multiplier) for multiplier in multipliers]
    if not multipliers:
        raise ArgumentError("`multipliers` must be at least one, got none.")
    if metric not in COMPARED:
        raise ArgumentError(f"`metric` must be one of {', '.join(COMPARED)}, got {metric!r}.")
    import matplotlib as mpl
    from matplotlib.figure import Figure

    errors, label = _errors(multipliers, metric)
    powers = np.array([multiplier.power_mw for multiplier in multipliers])
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(6.0, 4.2), dpi=_DPI, facecolor="white", layout="constrained")
        axes = figure.add_subplot()
        _set_error_axis(axes, errors)
        axes.set_xlabel(label)
        axes.set_ylabel("Power (mW)")
        axes.set_axisbelow(True)
        axes.grid(color="#E4E4E4", linewidth=0.6)
        kinds = [(m.signed, m.bits_a, m.bits_w) for m in multipliers]
        for kind in sorted(set(kinds)):
            of_kind = np.array([kind == other for other in kinds])
            _draw_front(axes, errors[of_kind], powers[of_kind], _COLOURS[kind[0]])
        for signed in (True, False):
            for estimated in (False, True):
                chosen = [
                    i
                    for i, m in enumerate(multipliers)
                    if m.signed == signed and ("power_mw" in m.intervals) == estimated
                ]
                if chosen:
                    _draw_kind(axes, multipliers, errors, chosen)
        axes.margins(x=0.06, y=0.08)
        room = 0.025 * float(powers.max())  # for marks at no power
        axes.set_ylim(bottom=-room if powers.min() < room else 0.0)
        axes.legend(frameon=False, fontsize=8)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        if len(multipliers) <= _LABELLED:
            _label(figure, axes, multipliers, errors, powers)
        _save(figure, file)
    return file


def _title(multiplier: Multiplier) -> str:
    kind = "signed" if multiplier.signed else "unsigned"
    errors = multiplier.metrics
    return (
        f"{multiplier.key}, {kind} {multiplier.bits_a} x {multiplier.bits_w} bits\n"
        f"MAE {errors.mae:.4g}, WCE {errors.wce:.0f}, bias {errors.bias:.4g}"
    )


def _values(bits: int, signed: bool) -> npt.NDArray[np.int64]:
    return np.arange(2**bits) - (2 ** (bits - 1) if signed else 0)


def _ticks(values: npt.NDArray[np.int64]) -> list[int]:
    """Return up to five operands as ticks: both ends, and multiples of a quarter of the range."""
    step = max(1, len(values) // 4)
    return sorted({*values[::step].tolist(), int(values[-1])})


def _errors(multipliers: Sequence[Multiplier], metric: str) -> tuple[npt.NDArray[np.float64], str]:
    """Return the error of each multiplier, and the title of the axis."""
    values = np.array([float(getattr(m.metrics, metric)) for m in multipliers])
    widths = {(m.bits_a, m.bits_w) for m in multipliers}
    label = COMPARED[metric]
    if len(widths) > 1 and metric in ("mae", "wce"):
        values *= [100.0 / 2 ** (m.bits_a + m.bits_w) for m in multipliers]
        label += " (% of the product's range)"
    return values, label


def _set_error_axis(axes: Axes, errors: npt.NDArray[np.float64]) -> None:
    """Make the axis of errors logarithmic, with a place for zero at its left end if needed."""
    positive = errors[errors > 0]
    if not len(positive) or positive.max() <= 10 * positive.min():
        return
    if len(positive) == len(errors):
        axes.set_xscale("log")
        return
    least = 10.0 ** np.floor(np.log10(positive.min()))
    axes.set_xscale("symlog", linthresh=least, linscale=0.4)
    top = int(np.ceil(np.log10(positive.max())))
    decades = [10.0**power for power in range(round(float(np.log10(least))), top + 1)]
    axes.set_xticks([0.0, *decades])


def _draw_front(
    axes: Axes,
    errors: npt.NDArray[np.float64],
    powers: npt.NDArray[np.float64],
    colour: str,
) -> None:
    """Join the points that no other one dominates."""
    front = [
        i
        for i in np.lexsort((powers, errors))
        if not np.any(
            (errors <= errors[i])
            & (powers <= powers[i])
            & ((errors < errors[i]) | (powers < powers[i]))
        )
    ]
    if len(front) > 1:
        axes.plot(errors[front], powers[front], color=colour, alpha=0.35, linewidth=1.0, zorder=1)


def _draw_kind(
    axes: Axes,
    multipliers: Sequence[Multiplier],
    errors: npt.NDArray[np.float64],
    chosen: Sequence[int],
) -> None:
    """Draw the multipliers of one kind and origin of figures."""
    first = multipliers[chosen[0]]
    estimated = "power_mw" in first.intervals
    colour = _COLOURS[first.signed]
    powers = [multipliers[i].power_mw for i in chosen]
    bars = None
    if estimated:
        intervals = [multipliers[i].intervals["power_mw"] for i in chosen]
        bars = np.array(
            [
                (power - low, high - power)
                for power, (low, high) in zip(powers, intervals, strict=True)
            ]
        ).T
    kind = "Signed" if first.signed else "Unsigned"
    axes.errorbar(
        errors[list(chosen)],
        powers,
        yerr=bars,
        linestyle="none",
        marker=_MARKERS[first.signed],
        markersize=5.5,
        color=colour,
        markerfacecolor="white" if estimated else colour,
        markeredgecolor=colour if estimated else "white",
        markeredgewidth=1.1 if estimated else 0.6,
        elinewidth=0.9,
        capsize=2.0,
        capthick=0.9,
        zorder=3,
        label=f"{kind}, {'estimated, with interval' if estimated else 'published'}",
    )


def _label(
    figure: Figure,
    axes: Axes,
    multipliers: Sequence[Multiplier],
    errors: npt.NDArray[np.float64],
    powers: npt.NDArray[np.float64],
) -> None:
    """Write names beside their points, where they cover neither points nor other names."""
    from matplotlib.patheffects import withStroke

    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # what is placed now stays where it is
    names = [multiplier.name for multiplier in multipliers]
    ambiguous = len(set(names)) < len(names)
    texts = [m.key if ambiguous else m.name for m in multipliers]
    points = axes.transData.transform(np.column_stack([errors, powers]))
    scale = figure.dpi / 72.0
    taken: list[tuple[float, ...]] = [
        (x - 4 * scale, y - 4 * scale, x + 4 * scale, y + 4 * scale) for x, y in points
    ]
    for (x, _), multiplier in zip(points, multipliers, strict=True):
        ends = multiplier.intervals.get("power_mw")
        if ends is not None:
            low, high = (axes.transData.transform((0.0, end))[1] for end in ends)
            taken.append((x - 2 * scale, low, x + 2 * scale, high))
    legend = axes.get_legend()
    if legend is not None:
        taken.append(tuple(legend.get_window_extent().extents))
    frame = axes.get_window_extent()
    for text, point, error, power in zip(texts, points, errors, powers, strict=True):
        width, height = 0.60 * 6.5 * scale * len(text), 7.5 * scale
        for dx, dy in _PLACES:
            left = point[0] + dx * scale - (width if dx < 0 else 0.0)
            low = point[1] + dy * scale
            box = (left, low, left + width, low + height)
            inside = frame.x0 <= left and box[2] <= frame.x1 + width and frame.y0 <= low
            if inside and not any(_overlap(box, other) for other in taken):
                break
        else:
            continue  # its point stays without a name; the table has all of them
        taken.append(box)
        axes.annotate(
            text,
            (error, power),
            (dx, dy),
            textcoords="offset points",
            ha="right" if dx < 0 else "left",
            va="bottom",
            fontsize=6.5,
            color=_GREY,
            gid=text,
            path_effects=[withStroke(linewidth=2.0, foreground="white")],
            **_PLAIN,
        )


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _checked(file: str | os.PathLike[str]) -> Path:
    path = as_path(file, "file")
    if path.suffix.lower() not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise ArgumentError(f"`file` must end in one of {known}, got {str(path)!r}.")
    return path


def _save(figure: Figure, file: Path) -> None:
    """Write a picture; equal multipliers give equal bytes."""
    kind = file.suffix.lower()[1:]
    metadata: dict[str, Any] = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
    content = io.BytesIO()
    with warnings.catch_warnings():
        # a character that the font lacks is drawn as a box
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        figure.savefig(
            content, format=kind, metadata=metadata[kind], bbox_inches="tight", pad_inches=0.05
        )
    write_atomically(file, content.getvalue())
