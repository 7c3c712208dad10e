"""Random access to the samples of an audio file: libsndfile where it can, FFmpeg where it must.

Both decoders have the same small surface (`Decoder`). Positions are frames (one sample of every
channel) at the file's own rate, counted from the first frame that a player would play.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile

from eno.audio.libsndfile import SoundFileDecoder


class Decoder(Protocol):
    """An open audio file.

    Attributes
    ----------
    sample_rate : int
        Frames per second.
    channels, frames : int
        Channels, and frames of the whole file.
    container, codec : str
        Names of the file format and of the coding in it.
    name : str
        The library that decodes: ``"soundfile"`` or ``"pyav"``.
    """

    sample_rate: int
    channels: int
    frames: int
    container: str
    codec: str
    name: str

    def read(self, start: int, frames: int) -> np.ndarray:
        """Decode a span; float32 [shape=(frames, channels)], shorter only where the file ends early."""

    def close(self) -> None:
        """Close the file."""


def open_decoder(path: Path, *, max_duration_s: float = math.inf) -> Decoder:
    """Open `path` with the first decoder that accepts it.

    Parameters
    ----------
    path : Path
        The file.
    max_duration_s : float
        Where a file must be decoded to learn its length, it is given up after so much.

    Raises
    ------
    AudioError
        Neither decoder accepts the file, or it is too long.
    """
    try:
        return SoundFileDecoder(path, max_duration_s=max_duration_s)
    except soundfile.SoundFileError:
        return open_with_ffmpeg(path, max_duration_s=max_duration_s)


def open_with_ffmpeg(path: Path, *, max_duration_s: float = math.inf) -> Decoder:
    """Open `path` with FFmpeg, whatever libsndfile would say; see `open_decoder`.

    Raises
    ------
    AudioError
        FFmpeg does not accept the file, or it is too long.
    """
    from eno.audio.ffmpeg import PyAVDecoder  # 0.1 s and 30 MB that only some formats need

    return PyAVDecoder(path, max_duration_s=max_duration_s)
