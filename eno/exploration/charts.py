"""Charts of the exploration report. Each function returns a data URI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from eno.exploration.statistics import PICTURE_S, CoOccurrence, LabelStatistics, TrackPicture
from eno.reporting import plotting
from eno.reporting.plotting import BLUE, GRID, INK, ORANGE, WIDTH, figure, png, svg


def bars(title: str, rows: Sequence[tuple[str, int]]) -> str:
    """Draw horizontal bars, the first row on top."""
    names, values = [plotting.shorten(name) for name, _ in rows], [value for _, value in rows]
    with figure(WIDTH, 0.6 + 0.2 * len(rows)) as drawn:
        axes = drawn.subplots()
        lines = axes.barh(range(len(rows)), values, color=BLUE)
        axes.bar_label(lines, fmt="{:,.0f}", padding=2, fontsize=8, color=INK)
        axes.set_yticks(range(len(rows)), names)
        axes.invert_yaxis()
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.margins(x=0.1)
        axes.set_title(title)
        return svg(drawn)


def columns(title: str, rows: Sequence[tuple[str, int]], label: str) -> str:
    """Draw a column chart."""
    with figure(WIDTH, 2.4) as drawn:
        axes = drawn.subplots()
        axes.bar(range(len(rows)), [value for _, value in rows], color=BLUE, width=0.85)
        step = -(-len(rows) // 12)
        axes.set_xticks(range(0, len(rows), step), [name for name, _ in rows[::step]])
        axes.set_xlabel(label)
        axes.set_ylabel("albums")
        axes.yaxis.set_major_formatter("{x:,g}")
        axes.set_title(title)
        return svg(drawn)


def rank_frequency(families: Mapping[str, LabelStatistics]) -> str:
    """Draw the number of albums against the rank of the label, on logarithmic axes, for families with labels."""
    with figure(WIDTH, 3) as drawn:
        axes = drawn.subplots()
        most = max(family.counts[0][1] for family in families.values())
        for name, family in families.items():
            colour = {"genres": BLUE, "descriptors": ORANGE}.get(name, INK)
            counts = [count for _, count in family.counts]
            axes.loglog(range(1, len(counts) + 1), counts, color=colour, marker=".", markersize=3, linewidth=1)
            end = (len(counts), counts[-1])
            axes.annotate(name, end, xytext=(4, 0), textcoords="offset points", color=colour, va="center")
        for axis in (axes.xaxis, axes.yaxis):
            plotting.plain_logarithmic(axis, most)
        axes.set_xlabel("rank of label")
        axes.set_ylabel("albums")
        axes.margins(x=0.22)
        axes.set_xlim(left=0.9)
        axes.grid(color=GRID)
        axes.set_title("Albums by rank of label")
        return svg(drawn)


def heat_map(found: CoOccurrence) -> str:
    """Draw the lift of pairs of labels."""
    return plotting.lift_map("Lift of label pairs; grey: never", found.labels, found.lift)


def durations(durations_s: np.ndarray) -> str:
    """Draw a histogram of track lengths; the last column has all of 15 minutes or more."""
    minutes = np.minimum(durations_s / 60, 15)
    counts, edges = np.histogram(minutes, bins=np.arange(0, 15.75, 0.5))
    with figure(WIDTH, 2.4) as drawn:
        axes = drawn.subplots()
        axes.bar(edges[:-1], counts, width=0.46, align="edge", color=BLUE)
        axes.set_xlim(0, edges[-1])
        axes.set_xlabel("minutes (last column: 15 or more)")
        axes.set_ylabel("tracks")
        axes.yaxis.set_major_formatter("{x:,g}")
        axes.set_title("Track lengths")
        return svg(drawn)


def track_pictures(track: TrackPicture) -> list[tuple[str, str]]:
    """Draw waveform, first five seconds and mel spectrogram; return captions and data URIs."""
    extent_shown = "the whole track" if track.duration_s < PICTURE_S else f"the first {PICTURE_S // 60} minutes"
    with figure(9, 1.8) as drawn:
        axes = drawn.subplots()
        times = np.linspace(0, track.duration_s, track.envelope.shape[1])
        axes.fill_between(times, track.envelope[0], track.envelope[1], color=BLUE, linewidth=0)
        axes.set_xlim(0, track.duration_s)
        axes.set_xlabel("seconds")
        axes.set_title(f"Waveform, {extent_shown}")
        whole = png(drawn)
    with figure(9, 1.8) as drawn:
        axes = drawn.subplots()
        axes.plot(np.arange(len(track.start)) / track.sample_rate, track.start, color=BLUE, linewidth=0.4)
        axes.set_xlim(0, max(len(track.start), 1) / track.sample_rate)
        axes.set_xlabel("seconds")
        axes.set_title("Waveform, the first five seconds")
        start = png(drawn)
    with figure(9, 3) as drawn:
        axes = drawn.subplots()
        extent = (0, track.duration_s, 0, len(track.mel_db))
        image = axes.imshow(track.mel_db, aspect="auto", origin="lower", cmap="magma", extent=extent)
        axes.set_xlabel("seconds")
        axes.set_ylabel("mel band")
        drawn.colorbar(image, ax=axes, label="dB")
        axes.set_title(f"Mel spectrogram, {extent_shown}")
        mel = png(drawn)
    return [(f"waveform, {extent_shown}", whole), ("waveform of the start", start), ("mel spectrogram", mel)]
