"""Random access to the samples of an audio file, with libsndfile if possible, else with FFmpeg.

Positions are frames (one sample of every channel) at the rate of the file, counted from the first frame that a player
would play.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile

from eno.audio.libsndfile import SoundFileDecoder


class Decoder(Protocol):
    """An open audio file. `name` is that of the decoding library: ``"soundfile"`` or ``"pyav"``."""

    sample_rate: int
    channels: int
    frames: int
    container: str
    codec: str
    name: str

    def read(self, start: int, frames: int) -> np.ndarray:
        """Decode a span [shape=(frames, channels), dtype=float32], shorter only if the file ends early."""

    def close(self) -> None:
        """Close the file."""


def open_decoder(path: Path, *, max_duration_s: float = math.inf) -> Decoder:
    """Open a file with the first decoder that accepts it; raise AudioError if none does, or the file is too long."""
    try:
        return SoundFileDecoder(path, max_duration_s=max_duration_s)
    except soundfile.SoundFileError:
        return open_with_ffmpeg(path, max_duration_s=max_duration_s)


def open_with_ffmpeg(path: Path, *, max_duration_s: float = math.inf) -> Decoder:
    """Open a file with FFmpeg; see `open_decoder`."""
    from eno.audio.ffmpeg import PyAVDecoder  # 0.1 s and 30 MB that only some formats need

    return PyAVDecoder(path, max_duration_s=max_duration_s)
