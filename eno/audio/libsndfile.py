"""Decoding with libsndfile, through soundfile."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

import numpy as np
import soundfile

from eno.errors import AudioError

# libsndfile 1.2.2 seeks past the right sample in Vorbis after it has read before or near the end, and in MP3 returns
# wrong samples until the bit reservoir has filled; both are over within half a second.
_SEEK_AHEAD_S = {"OGG": 1.0, "MP3": 1.0}
_BLOCK = 1 << 18  # frames read at once while counting or skipping
_CUT_OFF_CHUNK = re.compile(r"^ ?(?:data|SSND) : (\d+) \(should be (\d+)\)", re.MULTILINE)
_UNKNOWN_SIZE = 0x7FFF_0000  # programs that write to a pipe do not know the size and write one of the largest


class SoundFileDecoder:
    """libsndfile: WAV, AIFF, FLAC, MP3, Ogg Vorbis and Opus, and many more, with exact seeks.

    Raises
    ------
    soundfile.SoundFileError
        libsndfile does not accept the file.
    AudioError
        The file is too long, or shorter than its header promises. Ogg, and MP3 without a Xing header, promise no
        length, so truncation cannot be detected.
    """

    name = "soundfile"

    def __init__(self, path: Path, *, max_duration_s: float = math.inf) -> None:
        # With a descriptor libsndfile detects the format from the content, not from the file name, which may be wrong.
        # It closes the descriptor even if it refuses the file.
        self._file = soundfile.SoundFile(os.open(path, os.O_RDONLY), closefd=True)
        self.sample_rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.container: str = self._file.format
        self.codec: str = self._file.subtype
        self.frames: int = self._file.frames
        self._refuse_cut_off(path)
        if self.container == "MP3" and not _mp3_states_its_length(path):
            # libsndfile then estimates the length from the bit rate, which is inexact.
            self.frames = self._count(max_duration_s)
            if self.frames > max_duration_s * self.sample_rate:
                self._file.close()
                raise too_long(path, max_duration_s)

    def _refuse_cut_off(self, path: Path) -> None:
        # libsndfile reads truncated WAV and AIFF files without an error, and only mentions it in its log.
        chunk = _CUT_OFF_CHUNK.search(self._file.extra_info)
        if chunk and int(chunk[2]) < int(chunk[1]) < _UNKNOWN_SIZE:
            self._file.close()
            raise AudioError(
                path,
                f"is truncated: it holds {int(chunk[2]):,} of the {int(chunk[1]):,} bytes of audio that its header "
                "promises; copy it again from its source",
            )

    def _count(self, max_duration_s: float) -> int:
        frames = 0
        self._file.seek(0)
        while frames <= max_duration_s * self.sample_rate and (block := len(self._file.read(_BLOCK, dtype="float32"))):
            frames += block
        return frames

    def read(self, start: int, frames: int) -> np.ndarray:
        """Decode a span; see `Decoder.read`."""
        ahead = round(_SEEK_AHEAD_S.get(self.container, 0.0) * self.sample_rate)
        samples = self._read_from(max(0, start - ahead), start, frames)
        if ahead and len(samples) < frames:  # happens near a last Ogg page of several seconds
            samples = self._read_from(0, start, frames)
        return samples

    def _read_from(self, begin: int, start: int, frames: int) -> np.ndarray:
        self._file.seek(0)  # else seeks in Vorbis go wrong after reading
        self._file.seek(begin)
        self._skip(start - begin)
        samples: np.ndarray = self._file.read(frames, dtype="float32", always_2d=True)
        return samples

    def _skip(self, frames: int) -> None:
        while frames > 0 and (skipped := len(self._file.read(min(frames, _BLOCK), dtype="float32"))):
            frames -= skipped

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def too_long(path: Path, max_duration_s: float) -> AudioError:
    """Return the error for a file that exceeds the maximum duration."""
    return AudioError(path, f"is longer than the {max_duration_s / 60:g} minutes that are allowed")


def _mp3_states_its_length(path: Path) -> bool:
    """Return whether the first MPEG frame is a Xing, Info or VBRI header, which holds the number of frames."""
    with path.open("rb") as file:
        start = file.read(10)
        if start[:3] == b"ID3":  # the size of the tag: four times seven bits
            size = sum((byte & 0x7F) << shift for byte, shift in zip(start[6:10], (21, 14, 7, 0), strict=True))
            file.seek(10 + size)
        else:
            file.seek(0)
        frame = file.read(4096)
    return any(mark in frame for mark in (b"Xing", b"Info", b"VBRI"))
