"""Decoding with FFmpeg, through PyAV."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np

from eno.audio.formats import FFMPEG_CONTAINERS
from eno.audio.heartbeat import note_progress
from eno.audio.libsndfile import too_long
from eno.errors import AudioError

logger = logging.getLogger(__name__)

# AAC and similar codings overlap their frames, so samples are exact only a few frames after a seek.
_PREROLL_S = 0.25
_MAX_SILENCED_S = 1.0
# Only this family has sample-exact timestamps. In others (milliseconds in Matroska, estimates in raw AAC) a seek ends
# up near the right sample, so they are decoded from the start.
_SEEKABLE = "mov,mp4,m4a"
# Of the others, these state their length in a header; elsewhere FFmpeg estimates it from the file size.
_STATE_LENGTH = ("matroska", "wv", "ape", "tta")


class PyAVDecoder:
    """FFmpeg through PyAV: AAC, ALAC, WMA, WavPack, … and whatever libsndfile refuses.

    Raises
    ------
    AudioError
        The file cannot be opened, holds no audio, or is longer than `max_duration_s`.
    """

    name = "pyav"

    def __init__(self, path: Path, *, max_duration_s: float = math.inf) -> None:
        self._path = path
        try:
            self._container: Any = _open(path)
        except (av.FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise AudioError(path, f"is not audio that can be decoded: {reason}") from error
        if not self._container.streams.audio:
            self._container.close()
            raise AudioError(path, "holds no audio stream")
        self._stream = self._audio_stream()
        coding = self._stream.codec_context  # None where FFmpeg has no decoder for it
        if coding is None or not (coding.sample_rate and coding.channels):  # audio by its name only
            self._container.close()
            raise AudioError(path, "is not audio that can be decoded: unknown codec")
        self.sample_rate: int = coding.sample_rate
        self.channels: int = coding.channels
        self.codec: str = coding.name
        self.container: str = self._container.format.name
        self._seekable = self.container.startswith(_SEEKABLE) and self._stream.duration is not None
        self._frames: Iterator[np.ndarray] | None = None  # continues decoding …
        self._position = 0  # … at this frame of the file
        self._rest = np.zeros((0, self.channels), np.float32)  # decoded, but not yet requested
        if self._seekable:
            seconds = self._stream.duration * self._stream.time_base
            self.frames = round(seconds * self.sample_rate)
        else:
            promised = self._container.duration if self.container.startswith(_STATE_LENGTH) else None
            self.frames = 0
            for block in self._decode_from(0):
                self.frames += len(block)
                if self.frames > max_duration_s * self.sample_rate:
                    self.close()
                    raise too_long(path, max_duration_s)
            if promised is not None and self.frames / self.sample_rate < promised / av.time_base - 1.0:
                self.close()
                raise AudioError(
                    path,
                    f"is truncated: only {self.frames / self.sample_rate:.2f} s of the {promised / av.time_base:.2f} s "
                    "that its header promises can be decoded; copy it again from its source",
                )

    def read(self, start: int, frames: int) -> np.ndarray:
        """Decode a span; see `Decoder.read`."""
        # Windows are read in ascending order, so a file without an index is still decoded only once.
        if self._frames is None or self._seekable or start < self._position:
            self._frames = self._decode_from(start)
            self._rest = self._rest[:0]
        collected, missing = [], frames
        while missing > 0:
            block = self._rest if len(self._rest) else next(self._frames, None)
            if block is None:
                break
            skipped = min(max(start - self._position, 0), len(block))
            wanted = block[skipped : skipped + missing]
            used = skipped + len(wanted)
            self._rest = block[used:]
            self._position += used
            missing -= len(wanted)
            collected.append(wanted)
        return np.concatenate(collected) if collected else np.zeros((0, self.channels), np.float32)

    def _decode_from(self, start: int) -> Iterator[np.ndarray]:
        """Decode from `start` on or, if the file has no exact index, from its beginning."""
        begin = max(0, start - round(_PREROLL_S * self.sample_rate)) if self._seekable else 0
        time_base = self._stream.time_base
        first = self._stream.start_time or 0
        try:
            # AAC may store noise as a mere parameter, and the decoder then generates it from a random state. Reopening
            # the file resets this state, so that a span does not depend on what was read before.
            self._container.close()
            self._container = _open(self._path)
            self._stream = self._audio_stream()
            if self._seekable:
                target = first + int(begin / self.sample_rate / time_base)
                self._container.seek(target, stream=self._stream, backward=True)
            yield from self._positioned(first)
        except av.FFmpegError as error:
            raise AudioError(self._path, f"is damaged: it cannot be decoded ({error.strerror})") from error

    def _positioned(self, first: int) -> Iterator[np.ndarray]:
        """Decode from the present position of the stream on, and set `_position`."""
        position: int | None = None
        silenced, samples = 0, np.zeros((0, self.channels), np.float32)
        for frame in self._decoded():
            if frame is None:  # like players, replace a lost packet by silence as long as the packet before it
                samples = np.zeros_like(samples)
                silenced += len(samples)
                if silenced > _MAX_SILENCED_S * self.sample_rate:
                    raise AudioError(self._path, f"is damaged: more than {_MAX_SILENCED_S} s of it cannot be decoded")
            else:
                samples = _as_float32(frame)
                if samples.shape[1] != self.channels:
                    raise AudioError(self._path, "is damaged: the number of its channels changes")
            if position is None:
                if frame is None:
                    continue
                seconds = (frame.pts - first) * self._stream.time_base if self._seekable else 0
                self._position = position = round(seconds * self.sample_rate)
            position += len(samples)
            if self._seekable and position > self.frames:  # padding by the encoder after the last sample
                samples = samples[: len(samples) - (position - self.frames)]
            yield samples
        if silenced:
            logger.warning("%s: %d samples could not be decoded and were replaced by silence", self._path, silenced)

    def _decoded(self) -> Iterator[Any]:
        """Decode frames; None stands for a packet that cannot be decoded and is followed by others."""
        lost = 0
        for packet in self._container.demux(self._stream):
            note_progress()  # an hour may be decoded for a window, where a file has no index
            try:
                frames = packet.decode()
            except av.FFmpegError:
                lost += 1
                continue
            if frames:
                yield from [None] * lost
                lost = 0
            yield from frames

    def _audio_stream(self) -> Any:
        return self._container.streams.audio[0]

    def close(self) -> None:
        """Close the file."""
        self._container.close()


def _open(path: Path) -> Any:
    return av.open(str(path), metadata_errors="ignore", options={"format_whitelist": ",".join(FFMPEG_CONTAINERS)})


def _as_float32(frame: Any) -> np.ndarray:
    """Return the samples of an FFmpeg frame [shape=(frames, channels), dtype=float32], scaled to ±1."""
    samples: np.ndarray = frame.to_ndarray()
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if np.issubdtype(samples.dtype, np.integer):
        return samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)
    return samples.astype(np.float32)
