"""The front as a PNG, drawn without pyplot so that no global state is read or left behind."""

import io
import warnings
from collections.abc import Sequence
from math import ceil, nan
from typing import TYPE_CHECKING, Any

from axopt.report import labels, texts, view
from axopt.report.record import Point, RunRecord
from axopt.report.view import Limits

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import ErrorbarContainer
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    Handle = Line2D | ErrorbarContainer  # what stands in the legend

WIDTH_IN = 8.0
HEIGHT_IN = 6.0
DPI = 200
LEFT, BOTTOM, WIDTH = 0.085, 0.09, 0.895  # of the axes, relative to the figure
LEGEND_COLUMNS = 2
LEGEND_ROW = 0.0285  # of the figure's height
LABEL_PT = 7.5
LABEL_GAP_PT = 5.5
CHARACTER_WIDTH = 0.62  # of the font size, of DejaVu Sans digits and capitals
TITLE_CHARACTERS = 72  # what fits the width
NOTICE_CHARACTERS = 120
NOTICE_COLOUR = "#A32A00"
EDGE_WIDTH = 0.5
BARS: dict[str, Any] = {
    "markeredgecolor": "white",
    "elinewidth": 0.8,
    "capsize": 1.8,
    "capthick": 0.8,
}
HOLLOW: dict[str, Any] = {"markerfacecolor": "white", "markeredgewidth": 1.0}
# a `$` in a name is a dollar, not the start of a formula
PLAIN: dict[str, Any] = {"parse_math": False}


def pareto_png(record: RunRecord) -> bytes:
    """Draw the front, the uniform assignments, the exact multiplier and the search's trials.

    Returns:
        A PNG of 1600 x 1200 pixels.
    """
    figure = pareto_figure(record)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # a character that the font lacks is drawn as a box
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def pareto_figure(record: RunRecord) -> "Figure":
    """Draw the front, the uniform assignments, the exact multiplier and the search's trials.

    Args:
        record: The record of a search.

    Returns:
        A figure of 8 x 6 inches. Notebooks show it; pyplot does not know it.

    Example:
        >>> from axopt.report import example_record
        >>> [axes.get_ylabel() for axes in pareto_figure(example_record()).axes]
        ['Top-1 accuracy (%), test split, n = 359']
    """
    from axopt.report.figure import new_figure

    figure = new_figure(WIDTH_IN, HEIGHT_IN, DPI)
    axes = figure.add_axes((LEFT, BOTTOM, WIDTH, 0.5))
    limits = view.limits(record)
    axes.set_xlim(limits.x_low, limits.x_high)
    axes.set_ylim(limits.y_low, limits.y_high)
    handles = [
        *_draw_front(axes, record, limits),
        *_draw_uniform(axes, record, limits),
        *_draw_trials(axes, record),
        *_draw_exact(axes, record),
    ]
    top = _head(figure, record) - LEGEND_ROW * ceil(len(handles) / LEGEND_COLUMNS)
    axes.set_position((LEFT, BOTTOM, WIDTH, top - BOTTOM))
    _label_uniform(axes, record, limits)
    _dress(axes, record, handles)
    return figure


def _head(figure: "Figure", record: RunRecord) -> float:
    """Write the title, the line below it and the first notice; return where they end."""
    title = texts.one_line(record.title, TITLE_CHARACTERS)
    figure.text(LEFT, 0.96, title, fontsize=12, fontweight="bold", **PLAIN)
    figure.text(LEFT, 0.93, texts.run_line(record), fontsize=8, color="#666666", **PLAIN)
    notices = texts.notices(record)
    if not notices:
        return 0.915
    more = f" (and {len(notices) - 1} more, see report.html)" if len(notices) > 1 else ""
    notice = texts.one_line(notices[0], NOTICE_CHARACTERS - len(more)) + more
    figure.text(LEFT, 0.903, notice, fontsize=8, color=NOTICE_COLOUR, **PLAIN)
    return 0.888


def _draw_front(axes: "Axes", record: RunRecord, limits: Limits) -> "list[Handle]":
    line = view.front_line(record)
    dominated = [point for point in record.front if point.dominated]
    solid, dotted = view.line_parts(record)
    _draw_line(axes, solid, limits, alpha=0.6)
    dense = len(record.front) >= view.DENSE
    style: dict[str, Any] = {"marker": "o", "color": view.FRONT_COLOUR, "markersize": 4.5}
    if dense:
        style |= {"markersize": 3.5, "elinewidth": 0, "capsize": 0}
        _draw_band(axes, line)
    handles: list[Handle] = []
    if line:
        handles.append(
            _draw_points(axes, line, limits, zorder=6, label=texts.FRONT_TITLE, **style)
        )
    if dominated:
        style |= HOLLOW | {"markeredgecolor": view.FRONT_COLOUR}
        title = texts.dominated_title(record)
        handles.append(_draw_points(axes, dominated, limits, zorder=5.5, label=title, **style))
    if dotted:
        title = texts.alike_title(record)
        handles += _draw_line(axes, dotted, limits, linestyle=(0, (1.2, 1.6)), label=title)
    return handles


def _draw_line(
    axes: "Axes", parts: Sequence[tuple[Point, Point]], limits: Limits, **style: Any
) -> "list[Line2D]":
    """Draw parts of the front's line, with a gap between any two."""
    x, y = [], []
    for part in parts:
        x += [*(point.rel_power for point in part), nan]
        y += [*(_shown_quality(point, limits) for point in part), nan]
    return axes.plot(x, y, color=view.FRONT_COLOUR, linewidth=1.2, zorder=4.5, **style)


def _draw_band(axes: "Axes", points: Sequence[Point]) -> None:
    """Draw the error bars of many points as one band."""
    axes.fill_between(
        [point.rel_power for point in points],
        [point.quality_low for point in points],
        [point.quality_high for point in points],
        color=view.FRONT_COLOUR,
        alpha=0.18,
        linewidth=0,
        zorder=2,
    )


def _draw_uniform(axes: "Axes", record: RunRecord, limits: Limits) -> "list[Handle]":
    points = view.compared_points(record)
    if not points:
        return []
    prefix, _ = view.short_names([point.label for point in points])
    style: dict[str, Any] = {"marker": "s", "markersize": 6, "color": view.UNIFORM_COLOUR}
    if len(points) >= view.DENSE:  # their bars would hide the front
        style |= {"markersize": 3.5, "elinewidth": 0, "capsize": 0}
    title = texts.uniform_title(prefix)
    return [_draw_points(axes, points, limits, zorder=4, label=title, **style)]


def _draw_points(
    axes: "Axes", points: Sequence[Point], limits: Limits, **style: Any
) -> "ErrorbarContainer":
    """Draw error bars, and an arrowhead at the lower edge for each point below it."""
    shown = [point for point in points if not limits.is_below(point)]
    bars = axes.errorbar(
        [point.rel_power for point in shown],
        [point.quality for point in shown],
        yerr=[
            [max(0.0, point.quality - point.quality_low) for point in shown],
            [max(0.0, point.quality_high - point.quality) for point in shown],
        ],
        linestyle="none",
        **{**BARS, **style, "markeredgewidth": BARS["capthick"]},  # caps are markers too
    )
    _draw_estimates(axes, shown, style["color"])
    bars[0].set_markeredgewidth(style.get("markeredgewidth", EDGE_WIDTH))
    below = [point.rel_power for point in points if limits.is_below(point)]
    axes.plot(
        below,
        [_edge(limits)] * len(below),
        marker="v",
        markersize=5,
        linestyle="none",
        color=style["color"],
        zorder=style["zorder"],
        markeredgecolor=style.get("markeredgecolor", "white"),
        markerfacecolor=style.get("markerfacecolor", style["color"]),
        markeredgewidth=style.get("markeredgewidth", EDGE_WIDTH),
    )
    return bars


def _draw_estimates(axes: "Axes", points: Sequence[Point], color: str) -> None:
    """Draw a horizontal bar over the interval of each estimated power."""
    for point in points:
        if "rel_power" in point.intervals:
            low, high = point.intervals["rel_power"]
            axes.hlines(point.quality, low, high, color=color, linewidth=0.8, zorder=3)


def _edge(limits: Limits) -> float:
    return limits.y_low + 0.018 * (limits.y_high - limits.y_low)


def _shown_quality(point: Point, limits: Limits) -> float:
    """Return the height of a point's mark; points below the plane stand at its lower edge."""
    return _edge(limits) if limits.is_below(point) else point.quality


def _draw_exact(axes: "Axes", record: RunRecord) -> "list[Handle]":
    """Draw the level and the interval of the baseline, the exact points and the float model."""
    baseline = record.reference_point
    axes.axhline(baseline.quality, color=view.EXACT_COLOUR, linewidth=0.7, zorder=1)
    axes.axhspan(
        baseline.quality_low,
        baseline.quality_high,
        color=view.EXACT_COLOUR,
        alpha=0.06,
        linewidth=0,
        zorder=0,
    )
    handles: list[Handle] = []
    handles += _draw_diamond(axes, baseline, texts.baseline_title(record))
    if record.has_uncorrected:
        hollow = HOLLOW | {"markeredgecolor": view.EXACT_COLOUR, "zorder": 4.9}
        handles += _draw_diamond(axes, record.exact, texts.exact_title(record), **hollow)
    if record.float_quality is not None:
        line = axes.axhline(
            record.float_quality.value,
            color=view.FLOAT_COLOUR,
            linewidth=1.0,
            linestyle=(0, (5, 3)),
            zorder=1,
            label=texts.float_title(record),
        )
        handles.append(line)
    return handles


def _draw_diamond(axes: "Axes", point: Point, title: str, **style: Any) -> "list[Line2D]":
    usual = {"markersize": 7, "markeredgecolor": "white", "markeredgewidth": 0.8, "zorder": 5}
    return axes.plot(
        [point.rel_power],
        [point.quality],
        marker="D",
        linestyle="none",
        color=view.EXACT_COLOUR,
        label=title,
        **{**usual, **style},
    )


def _draw_trials(axes: "Axes", record: RunRecord) -> "list[Handle]":
    done = view.completed_trials(record)
    if not done:
        return []
    powers, qualities = zip(*done, strict=True)
    lines = axes.plot(
        powers,
        qualities,
        linestyle="none",
        marker=".",
        markersize=4,
        color=view.TRIAL_COLOUR,
        alpha=0.8,
        markeredgewidth=0,
        zorder=1,
        label=texts.trials_title(record),
    )
    return [*lines]


def _label_uniform(axes: "Axes", record: RunRecord, limits: Limits) -> None:
    labelled = view.uniform_labels(record, limits)
    pixel = DPI / 72
    anchors = [_pixels(axes, point, limits) for point, _ in labelled]
    sizes = [
        (len(text) * CHARACTER_WIDTH * LABEL_PT * pixel, LABEL_PT * pixel) for _, text in labelled
    ]
    box = axes.get_window_extent()
    centres = labels.place_labels(
        anchors,
        sizes,
        _obstacles(axes, record, limits),
        (box.x0, box.y0, box.x1, box.y1),
        LABEL_GAP_PT * pixel,
    )
    for (_, text), centre, anchor, size in zip(labelled, centres, anchors, sizes, strict=True):
        _write_label(axes, text, centre, anchor, size)


def _write_label(
    axes: "Axes",
    text: str,
    centre: labels.Position,
    anchor: labels.Position,
    size: tuple[float, float],
) -> None:
    """Write ``text`` around ``centre``, with a thin line to its anchor if that is far."""
    from matplotlib.patheffects import withStroke

    inverse = axes.transData.inverted()
    x, y = inverse.transform(centre)
    axes.text(
        x,
        y,
        text,
        fontsize=LABEL_PT,
        color=view.UNIFORM_COLOUR,
        horizontalalignment="center",
        verticalalignment="center_baseline",
        zorder=7,
        path_effects=[withStroke(linewidth=2, foreground="white")],
        **PLAIN,
    )
    near = 2.1 * LABEL_GAP_PT * DPI / 72
    dx = max(0.0, abs(centre[0] - anchor[0]) - size[0] / 2)
    dy = max(0.0, abs(centre[1] - anchor[1]) - size[1] / 2)
    if max(dx, dy) > near:
        ends = inverse.transform([anchor, centre])
        axes.plot(ends[:, 0], ends[:, 1], color=view.UNIFORM_COLOUR, linewidth=0.4, zorder=2)


def _pixels(axes: "Axes", point: Point, limits: Limits) -> labels.Position:
    x, y = axes.transData.transform((point.rel_power, _shown_quality(point, limits)))
    return float(x), float(y)


def _obstacles(axes: "Axes", record: RunRecord, limits: Limits) -> list[labels.Box]:
    """Return what labels must not cover: marks, error bars, and lines."""
    half = 3.5 * DPI / 72
    boxes = []
    for point in view.all_points(record):
        x, y = _pixels(axes, point, limits)
        boxes.append((x - half, y - half, x + half, y + half))
        if not limits.is_below(point):
            low = axes.transData.transform((point.rel_power, point.quality_low))[1]
            high = axes.transData.transform((point.rel_power, point.quality_high))[1]
            boxes.append((x - half / 2, float(low), x + half / 2, float(high)))
    left, _, right, _ = axes.get_window_extent().extents
    for quality in view.levels(record):
        y = float(axes.transData.transform((0, quality))[1])
        boxes.append((float(left), y - 2, float(right), y + 2))
    line = [_pixels(axes, point, limits) for point in view.front_line(record)]
    return boxes + labels.line_obstacles(line, step=half)


def _dress(axes: "Axes", record: RunRecord, handles: "list[Handle]") -> None:
    axes.set_xlabel(texts.power_axis(record), fontsize=9, **PLAIN)
    axes.set_ylabel(texts.quality_axis(record), fontsize=9, **PLAIN)
    axes.tick_params(labelsize=8, length=3, color="#888888")
    axes.grid(True, color="#E6E6E6", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#888888")
    legend = axes.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(-0.008, 1.0),
        ncols=LEGEND_COLUMNS,
        frameon=False,
        fontsize=8,
        borderaxespad=0.2,
        columnspacing=1.6,
        handletextpad=0.5,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
