"""Decoding with FFmpeg, through PyAV."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np

from eno.audio.libsndfile import too_long
from eno.errors import AudioError

logger = logging.getLogger(__name__)

# AAC and its relatives overlap their frames: what follows a seek is exact only after a few of them.
_PREROLL_S = 0.25
_MAX_SILENCED_S = 1.0
# Whatever a file is called: a playlist would make FFmpeg open what it names, from a disk or a network.
_CONTAINERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,dtshd,eac3,flac,flv,iff,loas,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp2,mp3,"
    "mpc,mpc8,mpeg,mpegts,ogg,oma,opus,qcp,rm,shn,sox,spx,tak,truehd,tta,voc,vqf,w64,wav,wsd,wv,xa,xwma"
)
# Only this family stores an index with sample-exact timestamps. In the others (Matroska's milliseconds,
# raw AAC's guessed positions) a seek lands next to the right sample, so they are read from the start.
_SEEKABLE = "mov,mp4,m4a"
# Of the others these have a header with the length; elsewhere FFmpeg estimates it from the size of the file.
_STATE_LENGTH = ("matroska", "wv", "ape", "tta")


class PyAVDecoder:
    """FFmpeg through PyAV: AAC, ALAC, WMA, WavPack, … and whatever libsndfile refuses.

    Parameters
    ----------
    path : Path
        The file.
    max_duration_s : float
        See `eno.audio.decoders.open_decoder`.

    Raises
    ------
    AudioError
        The file cannot be opened, holds no audio, or is too long.
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
        if coding is None or not (coding.sample_rate and coding.channels):  # taken for audio by its name alone
            self._container.close()
            raise AudioError(path, "is not audio that can be decoded: its coding is unknown")
        self.sample_rate: int = coding.sample_rate
        self.channels: int = coding.channels
        self.codec: str = coding.name
        self.container: str = self._container.format.name
        self._seekable = self.container.startswith(_SEEKABLE) and self._stream.duration is not None
        self._frames: Iterator[np.ndarray] | None = None  # decoding goes on from here …
        self._position = 0  # … which is this frame of the file
        self._rest = np.zeros((0, self.channels), np.float32)  # decoded, not yet asked for
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
                    f"ends after {self.frames / self.sample_rate:.2f} s although its header promises "
                    f"{promised / av.time_base:.2f} s: truncated; copy it again from its source",
                )

    def read(self, start: int, frames: int) -> np.ndarray:
        """Decode a span; see `Decoder.read`."""
        # Windows come in ascending order, so a file without an index is still decoded only once.
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
        """Decode on from `start` or, where the file has no exact index, from its beginning."""
        begin = max(0, start - round(_PREROLL_S * self.sample_rate)) if self._seekable else 0
        time_base = self._stream.time_base
        first = self._stream.start_time or 0
        try:
            # AAC may code noise as "noise here", which the decoder then draws from a generator of its own: a
            # decoder opened anew draws the same for the same span, whatever was read before.
            self._container.close()
            self._container = _open(self._path)
            self._stream = self._audio_stream()
            if self._seekable:
                target = first + int(begin / self.sample_rate / time_base)
                self._container.seek(target, stream=self._stream, backward=True)
            yield from self._positioned(first)
        except av.FFmpegError as error:
            raise AudioError(self._path, f"cannot be decoded ({error.strerror}): it is damaged") from error

    def _positioned(self, first: int) -> Iterator[np.ndarray]:
        """Samples of the stream from its present place on; sets where in the file that is."""
        position: int | None = None
        silenced, samples = 0, np.zeros((0, self.channels), np.float32)
        for frame in self._decoded():
            if frame is None:  # players go over a lost packet in silence; it is taken to be as long as the one before
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
            if self._seekable and position > self.frames:  # the encoder's padding after the last sample
                samples = samples[: len(samples) - (position - self.frames)]
            yield samples
        if silenced:
            logger.warning("%s: %d samples could not be decoded and are silent", self._path, silenced)

    def _decoded(self) -> Iterator[Any]:
        """Frames of the stream; None for a packet that cannot be decoded, unless nothing comes after it."""
        lost = 0
        for packet in self._container.demux(self._stream):
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
    return av.open(str(path), metadata_errors="ignore", options={"format_whitelist": _CONTAINERS})


def _as_float32(frame: Any) -> np.ndarray:
    """Samples of an FFmpeg frame as float32 in ±1 [shape=(frames, channels)]."""
    samples: np.ndarray = frame.to_ndarray()
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if np.issubdtype(samples.dtype, np.integer):
        return samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)
    return samples.astype(np.float32)
