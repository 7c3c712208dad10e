"""The pictures of the report."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from eno.data.figures import PICTURE_S, CoOccurrence, LabelFigures, TrackPicture
from eno.errors import MissingExtra

try:
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator
except ImportError as error:
    raise MissingExtra("explore", "matplotlib") from error

_INK, _BLUE, _GRID = "#333333", "#2f6f9f", "#dddddd"
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "eno",  # the same figures give the same file
    "svg.fonttype": "path",
    "font.family": ["DejaVu Sans"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _INK,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "font.size": 9,
    "text.parse_math": False,  # names may hold dollar signs
}
_MAX_NAME = 30
_WIDTH = 4.8  # inches: shrunk to a phone the letters still can be read


@contextmanager
def _figure(width: float, height: float) -> Iterator[Figure]:
    with mpl.rc_context(_STYLE):
        yield Figure(figsize=(width, height), layout="constrained", facecolor="white")


def _svg(figure: Figure) -> str:
    return _encode(figure, "svg", "image/svg+xml", metadata={"Date": None, "Creator": None})


def _png(figure: Figure) -> str:
    return _encode(figure, "png", "image/png", dpi=110, metadata={"Software": None})


def _encode(figure: Figure, kind: str, mime: str, **options: Any) -> str:
    file = io.BytesIO()
    figure.savefig(file, format=kind, **options)
    return f"data:{mime};base64,{base64.b64encode(file.getvalue()).decode()}"


def bars(title: str, rows: Sequence[tuple[str, int]]) -> str:
    """Draw horizontal bars, the first row on top, as an address that holds the picture."""
    names, values = [shorten(name) for name, _ in rows], [value for _, value in rows]
    with _figure(_WIDTH, 0.6 + 0.2 * len(rows)) as figure:
        axes = figure.subplots()
        drawn = axes.barh(range(len(rows)), values, color=_BLUE)
        axes.bar_label(drawn, fmt="{:,.0f}", padding=2, fontsize=8, color=_INK)
        axes.set_yticks(range(len(rows)), names)
        axes.invert_yaxis()
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.margins(x=0.1)
        axes.set_title(title)
        return _svg(figure)


def columns(title: str, rows: Sequence[tuple[str, int]], label: str) -> str:
    """Draw upright columns."""
    with _figure(_WIDTH, 2.4) as figure:
        axes = figure.subplots()
        axes.bar(range(len(rows)), [value for _, value in rows], color=_BLUE, width=0.85)
        step = -(-len(rows) // 12)
        axes.set_xticks(range(0, len(rows), step), [name for name, _ in rows[::step]])
        axes.set_xlabel(label)
        axes.set_ylabel("albums")
        axes.yaxis.set_major_formatter("{x:,g}")
        axes.set_title(title)
        return _svg(figure)


def rank_frequency(genres: LabelFigures, descriptors: LabelFigures) -> str:
    """Draw how many albums the n-th label has, on logarithmic axes: the head and the tail."""
    with _figure(_WIDTH, 3) as figure:
        axes = figure.subplots()
        most = max(count for family in (genres, descriptors) for _, count in family.counts[:1])
        for name, family, colour in (("genres", genres, _BLUE), ("descriptors", descriptors, "#c2691c")):
            counts = [count for _, count in family.counts]
            if counts:
                axes.loglog(range(1, len(counts) + 1), counts, color=colour, marker=".", markersize=3, linewidth=1)
                axes.annotate(
                    name,
                    (len(counts), counts[-1]),
                    xytext=(4, 0),
                    textcoords="offset points",
                    color=colour,
                    va="center",
                )
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1,) if most > 1000 else (1, 2, 5)))
            axis.set_major_formatter("{x:,g}")
            axis.set_minor_locator(NullLocator())
        axes.set_xlabel("rank of the label")
        axes.set_ylabel("albums")
        axes.margins(x=0.22)
        axes.set_xlim(left=0.9)
        axes.grid(color=_GRID)
        axes.set_title("From the head to the tail")
        return _svg(figure)


def heat_map(found: CoOccurrence) -> str:
    """Draw how much more often than by chance labels go together."""
    names = [shorten(name) for name in found.labels]
    with _figure(2.2 + 0.26 * len(names), 1.8 + 0.24 * len(names)) as figure:
        axes = figure.subplots()
        colours = mpl.colormaps["RdBu_r"].with_extremes(bad="#e8e8e8")
        shades = np.clip(np.log2(np.where(found.lift == 0, np.nan, found.lift)), -4, 4)
        image = axes.imshow(shades, cmap=colours, vmin=-4, vmax=4)
        axes.set_xticks(range(len(names)), names, rotation=60, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(length=0)
        bar = figure.colorbar(image, ax=axes, shrink=0.6, ticks=[-4, -2, 0, 2, 4])
        bar.ax.set_yticklabels(["×1/16 or less", "×1/4", "as by chance", "×4", "×16 or more"])
        axes.set_title("How much more often than by chance; grey: never")
        return _png(figure)


def durations(durations_s: np.ndarray) -> str:
    """Draw how long the tracks are; what is longer than fifteen minutes stands in the last column."""
    minutes = np.minimum(durations_s / 60, 15)
    counts, edges = np.histogram(minutes, bins=np.arange(0, 15.75, 0.5))
    with _figure(_WIDTH, 2.4) as figure:
        axes = figure.subplots()
        axes.bar(edges[:-1], counts, width=0.46, align="edge", color=_BLUE)
        axes.set_xlim(0, edges[-1])
        axes.set_xlabel("minutes; the last column holds all that is longer")
        axes.set_ylabel("tracks")
        axes.yaxis.set_major_formatter("{x:,g}")
        axes.set_title("Lengths of the tracks")
        return _svg(figure)


def track_pictures(track: TrackPicture) -> list[tuple[str, str]]:
    """Draw the track, its first five seconds and its mel spectrogram; captions and addresses."""
    extent_of_it = "the whole track" if track.duration_s < PICTURE_S else f"the first {PICTURE_S // 60} minutes"
    with _figure(9, 1.8) as figure:
        axes = figure.subplots()
        times = np.linspace(0, track.duration_s, track.envelope.shape[1])
        axes.fill_between(times, track.envelope[0], track.envelope[1], color=_BLUE, linewidth=0)
        axes.set_xlim(0, track.duration_s)
        axes.set_xlabel("seconds")
        axes.set_title(f"Waveform, {extent_of_it}")
        whole = _png(figure)
    with _figure(9, 1.8) as figure:
        axes = figure.subplots()
        axes.plot(np.arange(len(track.start)) / track.sample_rate, track.start, color=_BLUE, linewidth=0.4)
        axes.set_xlim(0, max(len(track.start), 1) / track.sample_rate)
        axes.set_xlabel("seconds")
        axes.set_title("Waveform, the first five seconds")
        start = _png(figure)
    with _figure(9, 3) as figure:
        axes = figure.subplots()
        extent = (0, track.duration_s, 0, len(track.mel_db))
        image = axes.imshow(track.mel_db, aspect="auto", origin="lower", cmap="magma", extent=extent)
        axes.set_xlabel("seconds")
        axes.set_ylabel("mel band")
        figure.colorbar(image, ax=axes, label="dB")
        axes.set_title(f"Mel spectrogram, {extent_of_it}")
        mel = _png(figure)
    return [(f"waveform, {extent_of_it}", whole), ("waveform of the start", start), ("mel spectrogram", mel)]


def shorten(name: str) -> str:
    """Give a name as the pictures can show it: not too long, and with "?" for letters that the font lacks."""
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    path = mpl.font_manager.findfont("DejaVu Sans")
    known = mpl.font_manager.get_font(path).get_charmap()
    text = "".join(char if ord(char) in known else "?" for char in name)
    return text if len(text) <= _MAX_NAME else f"{text[: _MAX_NAME - 1]}…"
