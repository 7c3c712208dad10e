"""The style of the charts in reports, and their encoding as data URIs."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from eno.errors import MissingExtra

try:
    import matplotlib as mpl
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator
except ImportError as error:
    raise MissingExtra("explore", "matplotlib") from error

INK, GRID, BLUE, ORANGE = "#333333", "#dddddd", "#2f6f9f", "#c2691c"
WIDTH = 4.8
"""In inches, so that text stays legible when a chart is scaled down on a phone."""

_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "eno",  # reproducible bytes
    "svg.fonttype": "path",
    "font.family": ["DejaVu Sans"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "font.size": 9,
    "text.parse_math": False,  # names may contain dollar signs
}
_MAX_NAME = 30


@contextmanager
def figure(width: float, height: float) -> Iterator[Figure]:
    """Create a figure in the style of the reports; width and height are in inches."""
    with mpl.rc_context(_STYLE):
        yield Figure(figsize=(width, height), layout="constrained", facecolor="white")


def svg(drawn: Figure) -> str:
    """Encode a figure with few elements as the data URI of an SVG."""
    return _encode(drawn, "svg", "image/svg+xml", metadata={"Date": None, "Creator": None})


def png(drawn: Figure) -> str:
    """Encode a figure with many points as the data URI of a PNG."""
    return _encode(drawn, "png", "image/png", dpi=110, metadata={"Software": None})


def _encode(drawn: Figure, kind: str, mime: str, **options: Any) -> str:
    file = io.BytesIO()
    drawn.savefig(file, format=kind, **options)
    return f"data:{mime};base64,{base64.b64encode(file.getvalue()).decode()}"


def plain_logarithmic(axis: Axis, most: float) -> None:
    """Label a logarithmic axis of counts with 1, 2, 5, 10 …, or with powers of ten only if `most` exceeds 1000."""
    axis.set_major_locator(LogLocator(subs=(1,) if most > 1000 else (1, 2, 5)))
    axis.set_major_formatter("{x:,g}")
    axis.set_minor_locator(NullLocator())


def lift_map(title: str, labels: Sequence[str], lift: np.ndarray) -> str:
    """Draw a heat map of the lift [shape=(k, k)] of pairs of labels, with grey for 0 and NaN, as a data URI."""
    names = [shorten(name) for name in labels]
    longest, cells = max(map(len, names), default=0), max(len(names), 5)
    with figure(1.7 + 0.06 * longest + 0.26 * cells, 0.8 + 0.06 * longest + 0.24 * cells) as drawn:
        axes = drawn.subplots()
        colours = mpl.colormaps["RdBu_r"].with_extremes(bad="#e8e8e8")
        shades = np.clip(np.log2(np.where(lift == 0, np.nan, lift)), -4, 4)
        image = axes.imshow(shades, cmap=colours, vmin=-4, vmax=4)
        axes.set_xticks(range(len(names)), names, rotation=60, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(length=0)
        bar = drawn.colorbar(image, ax=axes, shrink=0.6, ticks=[-4, -2, 0, 2, 4])
        bar.ax.set_yticklabels(["×1/16 or less", "×1/4", "×1", "×4", "×16 or more"])
        axes.set_title(title)
        return png(drawn)


def shorten(name: str) -> str:
    """Shorten a name to 30 characters, and replace letters that the font lacks by "?"."""
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    path = mpl.font_manager.findfont("DejaVu Sans")
    known = mpl.font_manager.get_font(path).get_charmap()
    text = "".join(char if ord(char) in known else "?" for char in name)
    return text if len(text) <= _MAX_NAME else f"{text[: _MAX_NAME - 1]}…"
