"""Figures of matplotlib and plotly, known by their classes' modules: neither library is imported."""

from __future__ import annotations

import io
from typing import Any, ClassVar

from ..records.media_names import MediaKind
from .media import Media


class Figure(Media):
    """A figure, as it is at this moment: `run.log({"confusion": figure}, step=step)` makes one of a figure that it is given.

    A matplotlib figure becomes a PNG file, in its own size and resolution; a plotly figure an HTML page with all its data, that loads
    plotly's script from the network when it is looked at (with it inside, each would have 5 MB).
    """

    kind: ClassVar[MediaKind] = "figure"


def to_figure(what: str, value: Any) -> Figure | None:
    """Return a matplotlib or plotly figure as a file; None if the value is neither. `what` names it in an error.

    Raises:
        ValueError: its library cannot draw it.
    """
    for draw, modules in ((_draw_matplotlib, ("matplotlib.figure",)), (_draw_plotly, ("plotly.basedatatypes",))):
        if any(cls.__module__ in modules and "Figure" in cls.__name__ for cls in type(value).__mro__):
            try:
                return draw(value)
            except Exception as error:
                raise ValueError(f"{what}: the figure cannot be drawn: {error}") from error
    return None


def _draw_matplotlib(figure: Any) -> Figure:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return Figure(file.getvalue(), "image/png", "png")


def _draw_plotly(figure: Any) -> Figure:
    page: str = figure.to_html(include_plotlyjs="cdn", div_id="figure")  # a div's name is random otherwise, and with it the content
    return Figure(page.encode(), "text/html", "html")
