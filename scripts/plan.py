"""What embedding a large collection takes, computed from rates that were measured.

``scripts/bench/embed.py efficiency`` measures them on the machine in question: the windows per second that one device
encodes, and that decoding gives with all cores. Example, for 3 and 100 million tracks::

    python scripts/plan.py --encoder-rate 45 --decode-rate 86 --dim 200 --tracks 3e6 100e6
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

from eno.embeddings.store.parts import PART_BYTES

_ROW_BYTES = 1  # of a window's id, place and file, compressed: 0.7 in the store of a million tracks of bench/embed.py
_TRACKS_PER_STORE = 3_000_000  # one run plans them in 3 GB of memory, by the same bench


@dataclass(frozen=True)
class Rates:
    """Windows per second.

    Attributes
    ----------
    encoder : float
        That one device encodes.
    decode : float
        That one core decodes.
    shared : bool
        Whether encoder and decoders share the cores, as without a GPU; `decode` then is that of all of them.
    """

    encoder: float
    decode: float
    shared: bool

    @property
    def job(self) -> float:
        """That a device with its decoders embeds."""
        return 1 / (1 / self.encoder + 1 / self.decode) if self.shared else self.encoder


def plan(tracks: int, windows: int, vector_bytes: int, pooled_bytes: int, rates: Rates, devices: int) -> dict[str, str]:
    """Compute a plan.

    Parameters
    ----------
    tracks, windows : int
        Tracks, and windows of each.
    vector_bytes, pooled_bytes : int
        Of a window as the store keeps it, and of a track's mean in float32.
    rates : Rates
        What was measured.
    devices : int
        GPUs, or machines without one.

    Returns
    -------
    dict of str to str
        What to read out, by what it is.
    """
    hours = tracks * windows / rates.job / 3600
    size = tracks * windows * (vector_bytes + _ROW_BYTES)
    cores = "shared" if rates.shared else str(math.ceil(rates.encoder / rates.decode))
    return {
        "device hours": f"{hours:,.0f}",
        f"days on {devices} devices": f"{hours / devices / 24:,.1f}",
        "cores to decode, a device": cores,
        "stores": f"{math.ceil(tracks / _TRACKS_PER_STORE)}",
        "parts": f"{math.ceil(tracks * windows * vector_bytes / PART_BYTES):,}",
        "vectors, before compression": f"{size / 1e9:,.0f} GB",
        "one vector a track": f"{tracks * pooled_bytes / 1e9:,.1f} GB",
    }


def main() -> None:
    """Print a table in Markdown, one column for each number of tracks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder-rate", type=float, required=True, help="windows per second of one device")
    parser.add_argument("--decode-rate", type=float, required=True, help="of one core; without a GPU, of all cores")
    parser.add_argument("--gpu", action="store_true", help="decoding goes on beside the encoder")
    parser.add_argument("--tracks", type=float, nargs="+", default=[3e6, 100e6])
    parser.add_argument("--windows", type=int, default=8, help="of a track")
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--dim", type=int, required=True)
    parser.add_argument("--dtype-bytes", type=int, default=2, choices=(2, 4), help="2 for float16")
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
