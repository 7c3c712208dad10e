"""Estimate what a large collection needs: time and disk space to embed it, CPU time and memory of the other commands.

``python -m scripts.bench.embed efficiency`` measures the required rates on your machine: the windows per second that
one device encodes, and that all cores decode. Example, for 3 and 100 million tracks::

    python scripts/plan.py --encoder-rate 45 --decode-rate 86 --dim 200 --tracks 3e6 100e6

The other commands are extrapolated from runs of ``scripts/bench/rehearsal.py``, by a line through the smallest and the
largest. ``rehearsal.json`` beside it has those of the documentation; ``--rehearsal`` names a file of your own.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eno.embeddings.store.parts import PART_BYTES

_ROW_BYTES = 1  # per window, for its id, start and file, compressed; 0.7 in the million-track store of bench/embed.py
_REHEARSAL = Path(__file__).parent / "bench" / "rehearsal.json"
_TRACKS_PER_STORE = 3_000_000  # planning a run over these takes 3 GB of memory, by the same benchmark


@dataclass(frozen=True)
class Rates:
    """Windows per second.

    Attributes
    ----------
    encoder : float
        Encoded by one device.
    decode : float
        Decoded by one core; by all cores if they are shared.
    shared : bool
        Whether encoder and decoders share the cores, as without a GPU.
    """

    encoder: float
    decode: float
    shared: bool

    @property
    def job(self) -> float:
        """Windows per second that one device with its decoders embeds."""
        return 1 / (1 / self.encoder + 1 / self.decode) if self.shared else self.encoder


def plan(tracks: int, windows: int, vector_bytes: int, pooled_bytes: int, rates: Rates, devices: int) -> dict[str, str]:
    """Return the rows of the plan.

    Parameters
    ----------
    tracks, windows : int
        Number of tracks, and of windows per track.
    vector_bytes, pooled_bytes : int
        Size of a window's vector in the store, and of a track's mean in float32.
    rates : Rates
    devices : int
        GPUs, or machines without one.
    """
    hours = tracks * windows / rates.job / 3600
    size = tracks * windows * (vector_bytes + _ROW_BYTES)
    cores = "shared" if rates.shared else str(math.ceil(rates.encoder / rates.decode))
    return {
        "device hours": f"{hours:,.0f}",
        f"days on {devices} devices": f"{hours / devices / 24:,.1f}",
        "decoding cores per device": cores,
        "stores": f"{math.ceil(tracks / _TRACKS_PER_STORE)}",
        "parts": f"{math.ceil(tracks * windows * vector_bytes / PART_BYTES):,}",
        "vectors, before compression": f"{size / 1e9:,.0f} GB",
        "one vector per track": f"{tracks * pooled_bytes / 1e9:,.1f} GB",
    }


def read_runs(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the smallest and the largest run of a rehearsal that only differ in the sizes of the collections."""
    runs = json.loads(path.read_text(encoding="utf-8"))["runs"]
    largest = max(runs, key=lambda run: run["size"]["tracks"])
    others = ("labels", "windows", "dim")
    alike = [run for run in runs if all(run["size"][name] == largest["size"][name] for name in others)]
    smallest = min(alike, key=lambda run: run["size"]["tracks"])
    if smallest is largest:
        raise SystemExit(
            f"{path}: has a single run with these options. Add one of another size: "
            f"python -m scripts.bench.rehearsal --tracks N --out {path}"
        )
    return smallest, largest


def extrapolated(small: dict[str, Any], large: dict[str, Any], command: str, unit: str, tracks: float) -> float:
    """Return the value of a command at a number of tracks, on the line through two runs that does not fall."""
    (low, few), (high, most) = ((run["commands"][command][unit], run["size"]["tracks"]) for run in (small, large))
    return high + max(0.0, high - low) / (most - few) * (tracks - most)


def needs(small: dict[str, Any], large: dict[str, Any], tracks: Sequence[float]) -> dict[str, list[str]]:
    """Return CPU time and memory of each command in both runs, by number of tracks."""
    return {
        command: [
            f"{duration(extrapolated(small, large, command, 'cpu', one))}, "
            f"{extrapolated(small, large, command, 'mib', one) / 1024:,.1f} GiB"
            for one in tracks
        ]
        for command in large["commands"]
        if command in small["commands"]
    }


def duration(seconds: float) -> str:
    """Format a time in the unit in which it has at most three digits before the point.

    Examples
    --------
    >>> [duration(seconds) for seconds in (3.21, 90, 7200, 360_000)]
    ['3 s', '90 s', '120 min', '100 h']
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 10_000 else f"{seconds / 3600:,.0f} h"


def print_table(heading: str, tracks: Sequence[float], rows: dict[str, list[str]]) -> None:
    """Print a Markdown table with one column per number of tracks."""
    print(f"| {heading} | " + " | ".join(f"{int(one):,}" for one in tracks) + " |")
    print("|---" * (1 + len(tracks)) + "|")
    for name, cells in rows.items():
        print(f"| {name} | " + " | ".join(cells) + " |")


def main() -> None:
    """Print Markdown tables with one column per number of tracks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder-rate", type=float, required=True, help="windows per second that one device encodes")
    parser.add_argument(
        "--decode-rate",
        type=float,
        required=True,
        help="windows per second that one core decodes; without a GPU, all cores",
    )
    parser.add_argument(
        "--gpu", action="store_true", help="the encoder runs on a GPU, so decoding has the cores to itself"
    )
    parser.add_argument("--tracks", type=float, nargs="+", default=[3e6, 100e6])
    parser.add_argument("--windows", type=int, default=8, help="windows per track")
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--dim", type=int, required=True)
    parser.add_argument("--dtype-bytes", type=int, default=2, choices=(2, 4), help="bytes per value: 2 for float16")
    parser.add_argument("--devices", type=int, default=8)
    parser.add_argument("--rehearsal", type=Path, default=_REHEARSAL, help="results of scripts/bench/rehearsal.py")
    chosen = parser.parse_args()
    width = chosen.layers * chosen.dim
    rates = Rates(chosen.encoder_rate, chosen.decode_rate, shared=not chosen.gpu)
    plans = [
        plan(int(tracks), chosen.windows, width * chosen.dtype_bytes, width * 4, rates, chosen.devices)
        for tracks in chosen.tracks
    ]
    print_table("tracks", chosen.tracks, {name: [one[name] for one in plans] for name in plans[0]})
    small, large = read_runs(chosen.rehearsal)
    size = large["size"]
    print(
        f"\nCPU time and peak memory, extrapolated from {small['size']['tracks']:,} and {size['tracks']:,} tracks with "
        f"{size['windows']} windows of {size['dim']} values and {size['labels']} labels, {large['cores']} cores. For "
        "more than ten times as many tracks it is an order of magnitude; indexes of more than 100,000 are of another "
        "kind.\n"
    )
    print_table("command", chosen.tracks, needs(small, large, chosen.tracks))


if __name__ == "__main__":
    main()
