"""The figure that `pareto_figure` returns. Importing this imports matplotlib."""

import io

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

NOTEBOOK_DPI = 100


class ShownFigure(Figure):
    """A figure that notebooks show, whatever backend they use."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=NOTEBOOK_DPI)
        return buffer.getvalue()


def new_figure(width: float, height: float, dpi: float) -> ShownFigure:
    """Return an empty figure, in inches, that no global state of pyplot knows."""
    figure = ShownFigure(figsize=(width, height), dpi=dpi, facecolor="white")
    FigureCanvasAgg(figure)
    return figure
