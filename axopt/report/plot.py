"""The front as a PNG, drawn without pyplot so that no global state is read or left behind."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from axopt.report import labels, view
from axopt.report.record import Point, RunRecord
from axopt.report.view import Limits

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import ErrorbarContainer
    from matplotlib.lines import Line2D

    Handle = Line2D | ErrorbarContainer  # what stands in the legend

WIDTH_IN = 8.0
HEIGHT_IN = 5.4
DPI = 200
LEFT = 0.085  # of the figure's width, where the axes and the titles begin
LABEL_PT = 7.5
LABEL_GAP_PT = 5.5
CHARACTER_WIDTH = 0.62  # of the font size, of DejaVu Sans digits and capitals
# a `$` in a name is a dollar, not the start of a formula
PLAIN: dict[str, Any] = {"parse_math": False}


def pareto_png(record: RunRecord) -> bytes:
    """Draw the front, the uniform assignments, the exact model and the search's trials."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((LEFT, 0.105, 0.895, 0.72))
    limits = view.limits(record)
    axes.set_xlim(limits.x_low, limits.x_high)
    axes.set_ylim(limits.y_low, limits.y_high)
    handles = [
        *_draw_front(axes, record.front, limits),
        *_draw_uniform(axes, record, limits),
        *_draw_exact(axes, record),
        *_draw_trials(axes, record),
    ]
    _label_uniform(axes, record, limits)
    _dress(axes, record, handles)
    figure.text(LEFT, 0.955, record.title, fontsize=12, fontweight="bold", **PLAIN)
    figure.text(LEFT, 0.918, view.run_line(record), fontsize=8, color="#666666", **PLAIN)
    buffer = io.BytesIO()
    canvas.print_png(buffer)  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def _draw_front(axes: "Axes", points: Sequence[Point], limits: Limits) -> "list[Handle]":
    if not points:
        return []
    powers = [point.rel_power for point in points]
    qualities = [point.quality for point in points]
    axes.plot(powers, qualities, color=view.FRONT_COLOUR, linewidth=1.2, alpha=0.6, zorder=2.5)
    style = {"marker": "o", "color": view.FRONT_COLOUR, "label": "front", "zorder": 3}
    if len(points) < view.DENSE:
        return [_draw_points(axes, points, limits, markersize=5, **style)]
    axes.fill_between(
        powers,
        [point.quality_low for point in points],
        [point.quality_high for point in points],
        color=view.FRONT_COLOUR,
        alpha=0.18,
        linewidth=0,
        zorder=2,
    )
    return [_draw_points(axes, points, limits, markersize=3.5, elinewidth=0, capsize=0, **style)]


def _draw_uniform(axes: "Axes", record: RunRecord, limits: Limits) -> "list[Handle]":
    points = view.compared_points(record)
    if not points:
        return []
    style = {
        "marker": "s",
        "markersize": 4.5,
        "color": view.UNIFORM_COLOUR,
        "label": view.uniform_title(record),
    }
    return [_draw_points(axes, points, limits, zorder=4, **style)]


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
        markeredgecolor="white",
        markeredgewidth=0.5,
        **{"elinewidth": 0.8, "capsize": 1.8, "capthick": 0.8, **style},
    )
    below = [point.rel_power for point in points if limits.is_below(point)]
    axes.plot(
        below,
        [_edge(limits)] * len(below),
        marker="v",
        markersize=5,
        linestyle="none",
        color=style["color"],
        zorder=style["zorder"],
        markeredgecolor="white",
        markeredgewidth=0.5,
    )
    return bars


def _edge(limits: Limits) -> float:
    return limits.y_low + 0.018 * (limits.y_high - limits.y_low)


def _draw_exact(axes: "Axes", record: RunRecord) -> "list[Handle]":
    axes.axhline(record.exact.quality, color=view.EXACT_COLOUR, linewidth=0.7, zorder=1)
    axes.axhspan(
        record.exact.quality_low,
        record.exact.quality_high,
        color=view.EXACT_COLOUR,
        alpha=0.06,
        linewidth=0,
        zorder=0,
    )
    handles: list[Handle] = []
    handles += axes.plot(
        [record.exact.rel_power],
        [record.exact.quality],
        marker="D",
        markersize=7,
        linestyle="none",
        color=view.EXACT_COLOUR,
        markeredgecolor="white",
        markeredgewidth=0.8,
        zorder=6,
        label=view.exact_title(record),
    )
    if record.float_quality is not None:
        line = axes.axhline(
            record.float_quality.value,
            color=view.FLOAT_COLOUR,
            linewidth=1.0,
            linestyle=(0, (5, 3)),
            zorder=1,
            label=view.float_title(record),
        )
        handles.append(line)
    return handles


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
        label=view.trials_title(record),
    )
    return [*lines]


def _label_uniform(axes: "Axes", record: RunRecord, limits: Limits) -> None:
    points = view.compared_points(record)
    texts = view.uniform_labels(record, limits)
    pixel = DPI / 72
    anchors = [_pixels(axes, point, limits) for point in points]
    sizes = [(len(text) * CHARACTER_WIDTH * LABEL_PT * pixel, LABEL_PT * pixel) for text in texts]
    box = axes.get_window_extent()
    centres = labels.place_labels(
        anchors,
        sizes,
        _obstacles(axes, record, limits),
        (box.x0, box.y0, box.x1, box.y1),
        LABEL_GAP_PT * pixel,
    )
    for text, centre, anchor, size in zip(texts, centres, anchors, sizes, strict=True):
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
    quality = _edge(limits) if limits.is_below(point) else point.quality
    x, y = axes.transData.transform((point.rel_power, quality))
    return float(x), float(y)


def _obstacles(axes: "Axes", record: RunRecord, limits: Limits) -> list[labels.Box]:
    """Return what labels must not cover: markers, error bars, and the front's line."""
    half = 3.5 * DPI / 72
    boxes = []
    for point in [record.exact, *record.uniform, *record.front]:
        x, y = _pixels(axes, point, limits)
        boxes.append((x - half, y - half, x + half, y + half))
        if not limits.is_below(point):
            low = axes.transData.transform((point.rel_power, point.quality_low))[1]
            high = axes.transData.transform((point.rel_power, point.quality_high))[1]
            boxes.append((x - half / 2, float(low), x + half / 2, float(high)))
    line = [_pixels(axes, point, limits) for point in record.front]
    return boxes + labels.line_obstacles(line, step=half)


def _dress(axes: "Axes", record: RunRecord, handles: "list[Handle]") -> None:
    axes.set_xlabel(view.power_axis(record), fontsize=9, **PLAIN)
    axes.set_ylabel(view.quality_axis(record), fontsize=9, **PLAIN)
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
        ncols=3,
        frameon=False,
        fontsize=8,
        borderaxespad=0.2,
        columnspacing=1.6,
        handletextpad=0.5,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
