"""How a search got on: its hypervolume after each trial, as a PNG and as inline SVG."""

import io
import warnings
from typing import TYPE_CHECKING

from axopt.report import texts, view
from axopt.report.record import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_IN, HEIGHT_IN, DPI = 8.0, 4.0, 200
SVG_WIDTH, SVG_HEIGHT = 760, 190
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 8, 26  # of the SVG's axes
HEADROOM = 1.06  # of the axis above the last hypervolume


def steps(record: RunRecord) -> list[tuple[int, float]]:
    """Return after how many trials the hypervolume changed, and to what; the last trial too."""
    found, last = [(0, 0.0)], 0.0
    for number, value in enumerate(record.hypervolumes, start=1):
        if value != last or number == len(record.hypervolumes):
            found.append((number, value))
            last = value
    return found


def history_png(record: RunRecord) -> bytes:
    """Draw the hypervolume after each trial; the record must have them.

    Returns:
        A PNG of 1600 x 800 pixels.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.085, 0.13, 0.895, 0.7))
    title = texts.one_line(record.title, 72)
    figure.text(0.085, 0.93, title, fontsize=12, fontweight="bold", parse_math=False)
    line = texts.one_line(texts.history_text(record), 125)
    figure.text(0.085, 0.87, line, fontsize=8, color="#666666", parse_math=False)
    _draw(axes, record)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # a character that the font lacks is drawn as a box
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        canvas.print_png(buffer)  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def _draw(axes: "Axes", record: RunRecord) -> None:
    numbers, values = zip(*steps(record), strict=True)
    axes.step(numbers, values, where="post", color=view.FRONT_COLOUR, linewidth=1.4)
    axes.set_xlim(0, len(record.hypervolumes))
    axes.set_ylim(0, _top(record))
    axes.set_xlabel(texts.TRIALS_AXIS, fontsize=9)
    axes.set_ylabel(texts.HYPERVOLUME_AXIS, fontsize=9)
    axes.tick_params(labelsize=8, length=3, color="#888888")
    axes.grid(True, color="#E6E6E6", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _top(record: RunRecord) -> float:
    """Return the upper end of the axis; a hypervolume may be 0 throughout."""
    return HEADROOM * max(record.hypervolumes) or 1.0


def history_svg(record: RunRecord) -> str:
    """Draw the same picture for the page, whose style sheet has the colours of its classes."""
    right, bottom = SVG_WIDTH - RIGHT, SVG_HEIGHT - BOTTOM
    across = (right - LEFT) / len(record.hypervolumes)
    up = (bottom - TOP) / _top(record)
    parts = [
        f'<svg id="history" viewBox="0 0 {SVG_WIDTH} {SVG_HEIGHT}" role="img" '
        f'aria-label="{texts.escape(texts.history_text(record))}">'
    ]
    for tick in view.ticks(0, len(record.hypervolumes), 8):
        if tick == int(tick):
            x = f"{LEFT + across * tick:.1f}"
            parts.append(f'<path class="grid" d="M{x} {TOP}V{bottom}"/>')
            parts.append(
                f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{int(tick):,}</text>'
            )
    for tick in view.ticks(0, _top(record), 4):
        y = bottom - up * tick
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{right}"/>')
        parts.append(f'<text x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    path = f"M{LEFT} {bottom}" + "".join(
        f"H{LEFT + across * number:.1f}V{bottom - up * value:.1f}"
        for number, value in steps(record)
    )
    parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>')
    parts.append(f'<path class="history" d="{path}"/></svg>')
    return "\n".join(parts)
