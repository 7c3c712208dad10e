"""Random access to the samples of an audio file, with libsndfile if possible, else with FFmpeg.

Positions are frames (one sample of every channel) at the rate of the file, counted from the first frame that a player
would play.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile

from eno.audio.libsndfile import SoundFileDecoder
from eno.audio.stated_lengths import length_is_certain
from eno.files import Section

logger = logging.getLogger(__name__)

_MP3_DELAY = 4 * 1152  # by at most so many frames the delay of encoders, and a good estimate, change the length
_UNKNOWN_FRAMES = 2**36 - 1  # the largest number in the header of a FLAC


class Decoder(Protocol):
    """An open audio file. `name` is that of the decoding library: ``"soundfile"`` or ``"pyav"``."""

    sample_rate: int
    channels: int
    frames: int
    container: str
    codec: str
    name: str

    def read(self, start: int, frames: int, *, seek_to: int | None = None) -> np.ndarray:
        """Decode a span [shape=(frames, channels), dtype=float32], shorter only if the file ends early.

        Decoders of AAC generate some noise at random, depending on the packet at which they begin. With `seek_to`, this
        is the packet at which they would begin for a span that starts there, at most 0.25 s after `start`.
        """

    def close(self) -> None:
        """Close the file."""


class SectionDecoder:
    """A section of a file, as if it were a file of its own. It ends with the file if its end lies beyond."""

    def __init__(self, decoder: Decoder, section: Section) -> None:
        self._decoder = decoder
        self.sample_rate, self.channels, self.name = decoder.sample_rate, decoder.channels, decoder.name
        self.container, self.codec = decoder.container, decoder.codec
        self._begin = round(section.start_s * self.sample_rate)
        self.frames = max(0, min(decoder.frames, round(section.end_s * self.sample_rate)) - self._begin)

    def read(self, start: int, frames: int, *, seek_to: int | None = None) -> np.ndarray:
        """Decode a span; see `Decoder.read`."""
        return self._decoder.read(
            self._begin + start, frames, seek_to=None if seek_to is None else self._begin + seek_to
        )

    def close(self) -> None:
        """Close the file."""
        self._decoder.close()


def open_decoder(path: Path, *, max_duration_s: float = math.inf) -> Decoder:
    """Open a file with the first decoder that reads all of it.

    Raises AudioError if there is none, or the file is too long.
    """
    try:
        decoder = SoundFileDecoder(path)
    except soundfile.SoundFileError:
        return open_with_ffmpeg(path, max_duration_s=max_duration_s)
    if length_is_certain(path, decoder.container, decoder.frames) and not _begins_before_zero(path, decoder):
        return decoder
    counted = _constant_mp3_frames(path) if decoder.container == "MP3" else None
    if counted is not None and abs(counted - decoder.frames) <= _MP3_DELAY:
        decoder.frames = min(decoder.frames, counted)
        return decoder
    decoder.close()
    stated_s = decoder.frames / decoder.sample_rate
    is_wav = decoder.container in ("WAV", "WAVEX", "RF64")
    measured = open_with_ffmpeg(path, max_duration_s=max_duration_s, beyond_header=is_wav)
    if decoder.container == "FLAC" and measured.frames < decoder.frames < _UNKNOWN_FRAMES:
        measured.frames = decoder.frames  # the file is truncated
    elif decoder.container not in ("MP3", "OGG", "FLAC") and measured.frames:
        duration_s = measured.frames / measured.sample_rate
        logger.warning("%s: its header states %.6g s; %.6g s can be decoded and are used", path, stated_s, duration_s)
    return measured


def _constant_mp3_frames(path: Path) -> int | None:
    from eno.audio.ffmpeg import constant_mp3_frames

    return constant_mp3_frames(path)


def _begins_before_zero(path: Path, decoder: SoundFileDecoder) -> bool:
    if decoder.codec != "VORBIS":
        return False
    from eno.audio.ffmpeg import vorbis_begins_before_zero

    return vorbis_begins_before_zero(path)


def open_with_ffmpeg(path: Path, *, max_duration_s: float = math.inf, beyond_header: bool = False) -> Decoder:
    """Open a file with FFmpeg; see `open_decoder` and `eno.audio.ffmpeg.PyAVDecoder`."""
    from eno.audio.ffmpeg import PyAVDecoder  # 0.1 s and 30 MB that only some formats need

    return PyAVDecoder(path, max_duration_s=max_duration_s, beyond_header=beyond_header)
