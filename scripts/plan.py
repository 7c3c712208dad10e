"""Estimate the time and disk space to embed a large collection.

``scripts/bench/embed.py efficiency`` measures the required rates on your machine: the windows per second that one
device encodes, and that all cores decode. Example, for 3 and 100 million tracks::

    python scripts/plan.py --encoder-rate 45 --decode-rate 86 --dim 200 --tracks 3e6 100e6
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

from eno.embeddings.store.parts import PART_BYTES

_ROW_BYTES = 1  # per window, for its id, start and file, compressed; 0.7 in the million-track store of bench/embed.py
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


def main() -> None:
    """Print a Markdown table with one column per number of tracks."""
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
    chosen = parser.parse_args()
    width = chosen.layers * chosen.dim
    rates = Rates(chosen.encoder_rate, chosen.decode_rate, shared=not chosen.gpu)
    plans = [
        plan(int(tracks), chosen.windows, width * chosen.dtype_bytes, width * 4, rates, chosen.devices)
        for tracks in chosen.tracks
    ]
    print("| tracks | " + " | ".join(f"{int(tracks):,}" for tracks in chosen.tracks) + " |")
    print("|---" * (1 + len(plans)) + "|")
    for name in plans[0]:
        print(f"| {name} | " + " | ".join(one[name] for one in plans) + " |")


if __name__ == "__main__":
    main()
