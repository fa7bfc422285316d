"""The front as inline SVG for the page, whose style sheet has the colours of its classes.

The titles of the axes stand in the page, where they wrap on a narrow screen.
"""

from collections.abc import Iterable

from axopt.report import labels, texts, view
from axopt.report.record import Point, RunRecord
from axopt.report.texts import escape
from axopt.report.view import Limits

WIDTH = 760
HEIGHT = 450
LEFT = 58
RIGHT = 14
TOP = 10
BOTTOM = 28
LABEL_PX = 11
LABEL_GAP = 7
CHARACTER_WIDTH = 0.6  # of the font size, of a sans-serif font's digits and capitals


class _Plane:
    """From the record's units to SVG pixels."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits

    def x(self, power: float) -> float:
        share = (power - self.limits.x_low) / (self.limits.x_high - self.limits.x_low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, quality: float) -> float:
        share = (quality - self.limits.y_low) / (self.limits.y_high - self.limits.y_low)
        return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)

    def place(self, point: Point) -> labels.Position:
        """Return where ``point`` is marked: points below the plane stand at its lower edge."""
        y = HEIGHT - BOTTOM - 6 if self.limits.is_below(point) else self.y(point.quality)
        return self.x(point.rel_power), y


def pareto_svg(record: RunRecord) -> str:
    """Draw the same picture as `plot.pareto_png`; each point of the front is a focusable group.

    The group of point i has ``data-index="i"`` and its place as ``data-x`` and ``data-y``.
    """
    plane = _Plane(view.limits(record))
    density = "dense" if len(record.front) >= view.DENSE else "sparse"
    if len(record.uniform) >= view.DENSE:
        density += " crowded"
    parts = [
        f'<svg id="plot" class="{density}" viewBox="0 0 {WIDTH} {HEIGHT}" role="group" '
        f'aria-label="Quality against relative power of the front">',
        f'<clipPath id="inside"><rect x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" '
        f'height="{HEIGHT - TOP - BOTTOM}"/></clipPath>',
        *_axes(record, plane),
        '<g clip-path="url(#inside)">',
        *_levels(record, plane),
        _trials(record, plane),
        *(_uniform(record, point, plane) for point in view.compared_points(record)),
        *_exact(record, plane),
        *_lines(record, plane),
        '</g><g role="radiogroup" aria-label="Points of the front">',
        *(_point(record, i, point, plane) for i, point in enumerate(record.front)),
        "</g>",
        *_labels(record, plane),
        "</svg>",
    ]
    return "\n".join(parts)


def _axes(record: RunRecord, plane: _Plane) -> Iterable[str]:
    limits = plane.limits
    bottom = HEIGHT - BOTTOM
    for tick in view.ticks(limits.x_low, limits.x_high, 8):
        x = f"{plane.x(tick):.1f}"
        yield f'<path class="grid" d="M{x} {TOP}V{bottom}"/>'
        yield f'<text class="tick" x="{x}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>'
    for tick in view.ticks(limits.y_low, limits.y_high, 9):
        y = plane.y(tick)
        yield f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
        yield (
            f'<text class="tick" x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>'
        )
    yield f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{WIDTH - RIGHT}"/>'


def _levels(record: RunRecord, plane: _Plane) -> Iterable[str]:
    baseline = record.reference_point
    top, bottom = sorted((plane.y(baseline.quality_low), plane.y(baseline.quality_high)))
    yield (
        f'<rect class="band" x="{LEFT}" y="{top:.1f}" width="{WIDTH - LEFT - RIGHT}" '
        f'height="{bottom - top:.1f}"/>'
    )
    yield f'<path class="level" d="M{LEFT} {plane.y(baseline.quality):.1f}H{WIDTH - RIGHT}"/>'
    if record.float_quality is not None:
        y = plane.y(record.float_quality.value)
        yield f'<path class="float" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'


def _trials(record: RunRecord, plane: _Plane) -> str:
    """Draw all trials as one path of round dots, a tenth of the size of circles."""
    inside = [
        f"M{plane.x(power):.0f} {plane.y(quality):.0f}h0"
        for power, quality in view.completed_trials(record)
        if plane.limits.holds(quality)
    ]
    return f'<path class="trials" d="{"".join(dict.fromkeys(inside))}"/>'


def _lines(record: RunRecord, plane: _Plane) -> Iterable[str]:
    """Draw the front's line, dotted between points that cannot be told apart."""
    for kind, parts in zip(("line", "line alike"), view.line_parts(record), strict=True):
        places = [(*plane.place(a), *plane.place(b)) for a, b in parts]
        path = "".join(f"M{x:.1f} {y:.1f}L{to_x:.1f} {to_y:.1f}" for x, y, to_x, to_y in places)
        if path:
            yield f'<path class="{kind}" d="{path}"/>'


def _bar(point: Point, plane: _Plane) -> str:
    if plane.limits.is_below(point):
        return ""
    x = plane.x(point.rel_power)
    low, high = plane.y(point.quality_low), plane.y(point.quality_high)
    path = f"M{x:.1f} {low:.1f}V{high:.1f}"
    if "rel_power" in point.intervals:
        left, right = (plane.x(end) for end in point.intervals["rel_power"])
        path += f"M{left:.1f} {plane.y(point.quality):.1f}H{right:.1f}"
    return f'<path class="bar" d="{path}"/>'


def _arrowhead(x: float, y: float) -> str:
    return f'<path class="mark" d="M{x - 5:.1f} {y - 4:.1f}h10l-5 8z"/>'


def _uniform(record: RunRecord, point: Point, plane: _Plane) -> str:
    x, y = plane.place(point)
    if plane.limits.is_below(point):
        mark = _arrowhead(x, y)
    else:
        mark = f'<rect class="mark" x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10"/>'
    title = (
        f"{point.label} everywhere: {texts.quality_interval(record, point)}, "
        f"relative power {texts.cost_text(point, 'rel_power', 3)}"
    )
    return f'<g class="uniform"><title>{escape(title)}</title>{_bar(point, plane)}{mark}</g>'


def _exact(record: RunRecord, plane: _Plane) -> Iterable[str]:
    """Draw a diamond for each exact point, hollow for the one that is not the baseline."""
    for point in view.exact_points(record):
        x, y = plane.place(point)
        is_baseline = point is record.reference_point
        title = texts.baseline_title(record) if is_baseline else texts.exact_title(record)
        yield (
            f'<g class="{"exact" if is_baseline else "exact hollow"}">'
            f"<title>{escape(title)}</title>"
            f'<path class="mark" d="M{x:.1f} {y - 7:.1f}l7 7l-7 7l-7 -7z"/></g>'
        )


def _point(record: RunRecord, index: int, point: Point, plane: _Plane) -> str:
    x, y = plane.place(point)
    if plane.limits.is_below(point):
        mark = _arrowhead(x, y)
    else:
        mark = f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'
    quality = texts.quality_text(record, point.quality)
    power = texts.cost_text(point, "rel_power", 3)
    name = f"{point.label}: {quality}, relative power {power}"
    kind = "point"
    if point.dominated:
        name, kind = f"{name}, dominated on {point.split}", "point dominated"
    if point.alike:
        name += f", cannot be told apart from {point.alike}"
    return (
        f'<g class="{kind}" role="radio" aria-checked="false" aria-label="{escape(name)}" '
        f'tabindex="-1" data-index="{index}" data-x="{x:.1f}" data-y="{y:.1f}">'
        f"{_bar(point, plane)}{mark}</g>"
    )


def _labels(record: RunRecord, plane: _Plane) -> Iterable[str]:
    labelled = view.uniform_labels(record, plane.limits)
    anchors = [plane.place(point) for point, _ in labelled]
    sizes = [(len(text) * CHARACTER_WIDTH * LABEL_PX, float(LABEL_PX)) for _, text in labelled]
    frame = (float(LEFT), float(TOP), float(WIDTH - RIGHT), float(HEIGHT - BOTTOM))
    centres = labels.place_labels(anchors, sizes, _obstacles(record, plane), frame, LABEL_GAP)
    for (_, text), (x, y) in zip(labelled, centres, strict=True):
        yield (
            f'<text class="label" x="{x:.1f}" y="{y + LABEL_PX / 3:.1f}" '
            f'text-anchor="middle">{escape(text)}</text>'
        )


def _obstacles(record: RunRecord, plane: _Plane) -> list[labels.Box]:
    """Return what labels must not cover: marks, error bars, and lines."""
    boxes = []
    for point in view.all_points(record):
        x, y = plane.place(point)
        boxes.append((x - 6, y - 6, x + 6, y + 6))
        if not plane.limits.is_below(point):
            high, low = sorted((plane.y(point.quality_high), plane.y(point.quality_low)))
            boxes.append((x - 2, high, x + 2, low))
    for quality in view.levels(record):
        y = plane.y(quality)
        boxes.append((LEFT, y - 1, WIDTH - RIGHT, y + 1))
    line = [plane.place(point) for point in view.front_line(record)]
    return boxes + labels.line_obstacles(line, 6)
