"""Decoding with FFmpeg, through PyAV."""

from __future__ import annotations

import io
import logging
import math
import mmap
from collections import deque
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import soxr

from eno.audio.formats import FFMPEG_CONTAINERS
from eno.audio.gaps import Gaps
from eno.audio.libsndfile import too_long
from eno.audio.ogg import OggLink, ogg_links
from eno.audio.stated_lengths import TOLERANCE_S
from eno.audio.workers.heartbeat import note_progress
from eno.errors import AudioError

logger = logging.getLogger(__name__)

# AAC and similar codings overlap their frames, so samples are exact only a few frames after a seek.
_PREROLL_S = 0.25
_CONTAINERS = ",".join(FFMPEG_CONTAINERS)
# Only this family has sample-exact timestamps. In others (milliseconds in Matroska, estimates in raw AAC) a seek ends
# up near the right sample, so they are decoded from the start.
_SEEKABLE = "mov,mp4,m4a"
# Of the others, these state their length in a header; elsewhere FFmpeg estimates it from the file size.
_STATE_LENGTH = ("matroska", "wv", "ape", "tta")

_latest_length: dict[tuple[Path, int, int, bool], tuple[int, int]] = {}


class PyAVDecoder:
    """FFmpeg through PyAV: AAC, ALAC, WMA, WavPack, … and whatever libsndfile refuses or reads only in part.

    All audio is converted to the sample rate of its beginning and to its largest number of channels. Silence replaces
    packets that cannot be decoded or are missing.

    Parameters
    ----------
    beyond_header : bool
        Read a WAV file to its end, whatever length its header states.

    Raises
    ------
    AudioError
        The file cannot be opened, holds no audio, is longer than `max_duration_s`, or more than `TOLERANCE_S` of it are
        missing.
    """

    name = "pyav"

    def __init__(self, path: Path, *, max_duration_s: float = math.inf, beyond_header: bool = False) -> None:
        self._path, self._options = path, {"ignore_length": "1"} if beyond_header else {}
        self._links = ogg_links(path)
        try:
            self._container: Any = self._open()
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
        self._blocks: Iterator[np.ndarray] | None = None  # continues decoding …
        self._position = 0  # … at this frame of the file
        self._kept: deque[tuple[int, np.ndarray]] = deque()  # the latest blocks and where they begin
        self._most_channels = self.channels
        if self._seekable:
            self.frames = round(self._stream.duration * self._stream.time_base * self.sample_rate)
        else:
            self.frames, self.channels = self._length(max_duration_s)

    def _length(self, max_duration_s: float) -> tuple[int, int]:
        """Return the numbers of frames and channels; decodes the file, unless it is the one that was decoded last.

        A process that embeds the sections of a file opens it for each of them.
        """
        status = self._path.stat()
        key = self._path, status.st_size, status.st_mtime_ns, "ignore_length" in self._options
        found = _latest_length.get(key)
        if found is None:
            found = self._count(max_duration_s), self._most_channels
            _latest_length.clear()
            _latest_length[key] = found
        return found

    def _count(self, max_duration_s: float) -> int:
        # The duration of a file is that of its longest stream, and counts from 0 even if the audio begins later.
        promised, streams = None, self._container.streams
        if len(streams) == 1 and self.container.startswith(_STATE_LENGTH) and self._container.duration is not None:
            promised = self._container.duration - max(0, self._container.start_time or 0)
        frames = 0
        for block in self._decode_from(0):
            frames += len(block)
            if frames > max_duration_s * self.sample_rate:
                self.close()
                raise too_long(self._path, max_duration_s)
        if promised is not None and frames / self.sample_rate < promised / av.time_base - TOLERANCE_S:
            self.close()
            raise AudioError(
                self._path,
                f"is truncated: only {frames / self.sample_rate:.2f} s of the {promised / av.time_base:.2f} s that its "
                "header promises can be decoded; copy it again from its source",
            )
        return frames

    def read(self, start: int, frames: int, *, seek_to: int | None = None) -> np.ndarray:
        """Decode a span; see `Decoder.read`."""
        # Windows are read in ascending order, and overlap: a file without an index is decoded only once.
        kept_from = self._kept[0][0] if self._kept else self._position
        if self._blocks is None or self._seekable or start < kept_from:
            self._blocks, self._position = self._decode_from(start if seek_to is None else seek_to), 0
            self._kept.clear()
        while self._position < start + frames and (block := next(self._blocks, None)) is not None:
            self._kept.append((self._position, block))
            self._position += len(block)
            self._forget_before(start)
        self._forget_before(start)
        parts = [block[max(0, start - at) : start + frames - at] for at, block in self._kept if at < start + frames]
        return np.concatenate(parts) if parts else np.zeros((0, self.channels), np.float32)

    def _forget_before(self, start: int) -> None:
        while self._kept and self._kept[0][0] + len(self._kept[0][1]) <= start:
            self._kept.popleft()

    def _decode_from(self, start: int) -> Iterator[np.ndarray]:
        """Decode from `start` on or, if the file has no exact index, from its beginning."""
        begin = max(0, start - round(_PREROLL_S * self.sample_rate)) if self._seekable else 0
        position: int | None = None
        try:
            for samples in _at_rate(self._with_silence(begin), self.sample_rate):
                position = self._position if position is None else position  # the first of the blocks
                position += len(samples)
                if self._seekable and position > self.frames:  # padding by the encoder after the last sample
                    samples = samples[: max(0, len(samples) - (position - self.frames))]
                yield samples
        except av.FFmpegError as error:
            raise AudioError(self._path, f"is damaged: it cannot be decoded ({error.strerror})") from error

    def _with_silence(self, begin: int) -> Iterator[tuple[np.ndarray, int]]:
        """Yield samples and their rate, and before the first set `_position`."""
        samples, silenced_s = None, 0.0
        for missing, frame in self._frames(begin):
            if samples is None and self._seekable:
                seconds = (frame.pts - (self._stream.start_time or 0)) * self._stream.time_base
                self._position = round(seconds * self.sample_rate)
            if samples is not None and missing:
                silenced_s += missing / frame.sample_rate
                if silenced_s > TOLERANCE_S:
                    raise AudioError(self._path, f"is damaged: more than {TOLERANCE_S} s of it cannot be decoded")
                yield np.zeros((missing, self.channels), np.float32), frame.sample_rate
            samples = _as_float32(frame)
            self._most_channels = max(self._most_channels, samples.shape[1])
            if samples.shape[1] != self.channels:
                samples = samples.mean(axis=1, keepdims=True).repeat(self.channels, axis=1)
            yield samples, frame.sample_rate
        if silenced_s:
            logger.warning("%s: %.3f s could not be decoded and were replaced by silence", self._path, silenced_s)

    def _frames(self, begin: int) -> Iterator[tuple[int, Any]]:
        """Yield decoded frames, with the number of samples that are missing before each."""
        for link in range(len(self._links)):
            # AAC may store noise as a mere parameter, and the decoder then generates it from a random state. Reopening
            # the file resets this state, so that a span does not depend on what was read before.
            self._container.close()
            self._container = self._open(link)
            self._stream = self._audio_stream()
            if self._seekable:
                target = (self._stream.start_time or 0) + int(begin / self.sample_rate / self._stream.time_base)
                self._container.seek(target, stream=self._stream, backward=True)
            gaps = Gaps(self._container.format.name, self._stream)
            for packet in self._packets():
                note_progress()  # an hour may be decoded for a window, where a file has no index
                try:
                    frames = packet.decode()
                except av.FFmpegError:
                    gaps.lost()
                    continue
                for place, frame in enumerate(frames):
                    yield gaps.before(None if place else packet, frame), frame

    def _packets(self) -> Iterator[Any]:
        end = None
        try:
            for packet in self._container.demux(self._stream):
                end = packet.pos + packet.size if packet.size and packet.pos is not None else end
                yield packet
        except av.FFmpegError:
            if end is None or not (self._missing_s(end) <= TOLERANCE_S or _only_tags_follow(self._path, end)):
                raise
            flush = av.Packet()
            flush.stream = self._stream
            yield flush

    def _missing_s(self, end: int) -> float:
        """Estimate the duration of what follows a place in the file from its share of the bytes."""
        if self._container.duration is None:
            return math.inf
        return float((1 - end / self._path.stat().st_size) * self._container.duration / av.time_base)

    def _open(self, link: int = 0) -> Any:
        source: Any = str(self._path)
        if len(self._links) > 1:  # FFmpeg gives up where the format changes
            source = io.BufferedReader(OggLink(self._path, self._links, link))
        return av.open(source, metadata_errors="ignore", options={"format_whitelist": _CONTAINERS, **self._options})

    def _audio_stream(self) -> Any:
        return self._container.streams.audio[0]

    def close(self) -> None:
        """Close the file."""
        self._container.close()


def _only_tags_follow(path: Path, end: int) -> bool:
    """Return whether tags follow the audio, and not a second file of the same format."""
    with path.open("rb") as file:
        signature = file.read(4)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content[end : end + 8].startswith((b"APETAGEX", b"TAG", b"ID3")) and content.find(signature, end) < 0


def constant_mp3_frames(path: Path) -> int | None:
    """Count the frames of an MP3 file without decoding it; None if its rate or number of channels changes."""
    from mutagen import mp3

    mpeg: Any = mp3  # has no types
    packets, formats = 0, set()
    try:
        with av.open(str(path), metadata_errors="ignore", options={"format_whitelist": _CONTAINERS}) as container:
            for packet in container.demux(container.streams.audio[0]):
                if packet.size:
                    found = mpeg.MPEGFrame(BytesIO(bytes(packet)[:4]))
                    formats.add((found.sample_rate, found.channels, found.layer, found.version))
                    packets += 1
    except (av.FFmpegError, ValueError, IndexError, mpeg.HeaderNotFoundError):
        return None
    if len(formats) != 1:
        return None
    _, _, layer, version = formats.pop()
    return packets * (384 if layer == 1 else 576 if layer == 3 and version > 1 else 1152)


def vorbis_begins_before_zero(path: Path) -> bool:
    """Return whether an Ogg Vorbis file was cut from a longer one, so that libsndfile's seeks in it go wrong."""
    try:
        with av.open(str(path), metadata_errors="ignore", options={"format_whitelist": "ogg"}) as container:
            first = next(container.demux(container.streams.audio[0]))
            return first.pts is not None and bool(first.pts + (first.duration or 0) < 0)
    except (av.FFmpegError, ValueError, IndexError):
        return False


def _at_rate(blocks: Iterable[tuple[np.ndarray, int]], sample_rate: int) -> Iterator[np.ndarray]:
    """Resample those blocks that have another rate."""
    resampler, current, samples = None, sample_rate, None
    for samples, rate in blocks:
        if rate != current:
            if resampler is not None:
                yield resampler.resample_chunk(samples[:0], last=True)
            current = rate
            resampler = soxr.ResampleStream(rate, sample_rate, samples.shape[1]) if rate != sample_rate else None
        yield samples if resampler is None else resampler.resample_chunk(samples)
    if resampler is not None and samples is not None:
        yield resampler.resample_chunk(samples[:0], last=True)


def _as_float32(frame: Any) -> np.ndarray:
    """Return the samples of an FFmpeg frame [shape=(frames, channels), dtype=float32], scaled to ±1."""
    if frame.format.is_planar and frame.layout.nb_channels >= 8:  # PyAV would read a plane too many and crash
        (frame,) = av.AudioResampler(format=frame.format.packed.name).resample(frame)
    samples: np.ndarray = frame.to_ndarray()
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if np.issubdtype(samples.dtype, np.integer):
        return samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)
    return samples.astype(np.float32)
