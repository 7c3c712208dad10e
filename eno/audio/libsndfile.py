"""Decoding with libsndfile, through soundfile."""

from __future__ import annotations

import logging
import math
import os
import re
from pathlib import Path

import numpy as np
import soundfile

from eno.audio.stated_lengths import TOLERANCE_S
from eno.audio.workers.heartbeat import note_progress
from eno.errors import AudioError

logger = logging.getLogger(__name__)

# libsndfile 1.2.2 seeks past the right sample in Vorbis after it has read before or near the end, and in MP3 returns
# wrong samples until the bit reservoir has filled; both are over within half a second.
_SEEK_AHEAD_S = {"OGG": 1.0, "MP3": 1.0}
_BLOCK = 1 << 18  # frames read at once while skipping
_CUT_OFF_CHUNK = re.compile(r"^ ?(?:data|SSND) : (\d+) \(should be (\d+)\)", re.MULTILINE)
_UNKNOWN_SIZE = 0x7FFF_0000  # programs that write to a pipe do not know the size and write one of the largest


class SoundFileDecoder:
    """libsndfile: WAV, AIFF, FLAC, MP3, Ogg Vorbis and Opus, and many more, with exact seeks.

    Raises
    ------
    soundfile.SoundFileError
        libsndfile does not accept the file.
    AudioError
        The file is more than `TOLERANCE_S` shorter than its header promises. Ogg promises no length, so truncation
        cannot be detected.

    Attributes
    ----------
    frames : int
        According to the header, or for MP3 without a Xing header an estimate. More than these are never decoded.
    """

    name = "soundfile"

    def __init__(self, path: Path) -> None:
        # With a descriptor libsndfile detects the format from the content, not from the file name, which may be wrong.
        # It closes the descriptor even if it refuses the file.
        self._file = soundfile.SoundFile(os.open(path, os.O_RDONLY), closefd=True)
        self.sample_rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.container: str = self._file.format
        self.codec: str = self._file.subtype
        self.frames: int = self._file.frames
        self._refuse_cut_off(path)

    def _refuse_cut_off(self, path: Path) -> None:
        # libsndfile reads truncated WAV and AIFF files without an error, and only mentions it in its log.
        chunk = _CUT_OFF_CHUNK.search(self._file.extra_info)
        if chunk and int(chunk[2]) < int(chunk[1]) < _UNKNOWN_SIZE:
            missing_s = (
                (int(chunk[1]) / int(chunk[2]) - 1) * self.frames / self.sample_rate if self.frames else math.inf
            )
            if missing_s <= TOLERANCE_S:
                logger.warning("%s is truncated: the last %.2f s are missing", path, missing_s)
                return
            self._file.close()
            raise AudioError(
                path,
                f"is truncated: it holds {int(chunk[2]):,} of the {int(chunk[1]):,} bytes of audio that its header "
                "promises; copy it again from its source",
            )

    def read(self, start: int, frames: int, *, seek_to: int | None = None) -> np.ndarray:
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
            note_progress()
            frames -= skipped

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def too_long(path: Path, max_duration_s: float) -> AudioError:
    """Return the error for a file that exceeds the maximum duration."""
    return AudioError(path, f"is longer than the {max_duration_s / 60:g} minutes that are allowed")
