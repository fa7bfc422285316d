"""Places for labels in a picture, so that they cover neither marks nor each other."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import ceil, hypot

Box = tuple[float, float, float, float]
Position = tuple[float, float]

DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
DISTANCES = (1.0, 2.0, 3.5, 5.0, 7.0, 10.0)
ROUNDING = 1e-6  # px^2, what float arithmetic leaves of an area of 0


def place_labels(
    anchors: Sequence[Position],
    sizes: Sequence[tuple[float, float]],
    obstacles: Sequence[Box],
    frame: Box,
    gap: float,
) -> list[Position]:
    """Return a place beside each anchor where its label covers nothing, nearest places first.

    A label that is placed stays. Where no place is free, the least covered one is taken.

    Args:
        anchors: The points to label, in pixels.
        sizes: Width and height of each label.
        obstacles: Boxes ``(left, low, right, high)`` to keep free.
        frame: The box that labels should not leave.
        gap: Distance between anchor and label at the nearest places.

    Returns:
        The centre of each label.
    """
    taken = list(obstacles)
    centres = []
    for (x, y), (width, height) in zip(anchors, sizes, strict=True):
        best, least = (x, y), float("inf")
        far_x, far_y = width + gap * DISTANCES[-1], height + gap * DISTANCES[-1]
        reach = (x - far_x, y - far_y, x + far_x, y + far_y)
        near = [box for box in taken if _overlap(box, reach) > 0]
        for distance in DISTANCES:
            for right, up in DIRECTIONS:
                centre = (
                    x + right * (width / 2 + gap * distance),
                    y + up * (height / 2 + gap * distance),
                )
                covered = _covered(_box(centre, width, height), near, frame)
                if covered < least:
                    best, least = centre, covered
            if least < ROUNDING:
                break
        centres.append(best)
        taken.append(_box(best, width, height))
    return centres


def line_obstacles(points: Sequence[Position], step: float) -> list[Box]:
    """Return small boxes along the line through ``points``, for `place_labels`."""
    boxes = []
    for (x0, y0), (x1, y1) in pairwise(points):
        count = ceil(hypot(x1 - x0, y1 - y0) / step)
        for i in range(count + 1):
            share = i / max(count, 1)
            centre = (x0 + share * (x1 - x0), y0 + share * (y1 - y0))
            boxes.append(_box(centre, step / 2, step / 2))
    return boxes


def _box(centre: Position, width: float, height: float) -> Box:
    x, y = centre
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _covered(box: Box, taken: Iterable[Box], frame: Box) -> float:
    """Return the area of ``box`` that lies on ``taken`` or outside ``frame``."""
    area = (box[2] - box[0]) * (box[3] - box[1])
    return sum((_overlap(box, other) for other in taken), area - _overlap(box, frame))


def _overlap(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0
