"""An open audio file, decoded as mono spans at any rate."""

from __future__ import annotations

import logging
import math
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from eno.audio.decoders import Decoder, SectionDecoder, open_decoder, open_with_ffmpeg
from eno.audio.libsndfile import too_long
from eno.audio.stated_lengths import TOLERANCE_S
from eno.audio.workers.heartbeat import note_progress
from eno.errors import AudioError
from eno.files import Section

logger = logging.getLogger(__name__)

MIN_DURATION_S = 0.5
"""Files shorter than this are refused: they hold no music."""

# A mono mix this much weaker than the loudest channel (20 dB) means that the channels cancel.
_CANCELLATION = 10.0 ** (-20 / 10)
# soxr's filter at its "HQ" setting rings for under 20 ms at 8 kHz, less at higher rates.
_RESAMPLER_MARGIN_S = 0.05
_PROBED_BLOCKS = 8
# Each block of this length is mixed down on its own, so that a span does not depend on where it begins and ends.
_DOWNMIX_BLOCK_S = 0.25
_ROUNDING_S = 0.05  # headers of whole files promise up to this much more than there is
_PIECE_S = 30  # long spans are decoded in pieces, to save memory


@dataclass(frozen=True, kw_only=True)
class AudioInfo:
    """Properties of an audio file.

    Attributes
    ----------
    decoder : str
        The library that decodes it.
    downmix : str or None
        ``"mean"``, or ``"loudest channel"`` if the channels cancel each other in at least one of the decoded spans;
        None if no spans were decoded.
    """

    path: Path
    sample_rate: int
    channels: int
    frames: int
    container: str
    codec: str
    decoder: str
    downmix: str | None

    @property
    def duration_s(self) -> float:
        """Duration in seconds."""
        return self.frames / self.sample_rate


@contextmanager
def open_audio(path: Path, *, section: Section | None = None, max_duration_s: float = math.inf) -> Iterator[AudioFile]:
    """Open a file, or a section of it as if that were a file of its own, for decoding spans.

    Raises AudioError if it cannot be opened, is shorter than `MIN_DURATION_S`, or is longer than `max_duration_s`. A
    file that is too long is not decoded to its end.
    """
    check_is_file(path)
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except FileNotFoundError:
        reason = "no such file"
        if path.is_symlink():
            reason = f"is a link to {path.readlink()}, which does not exist; repair or remove the link"
        raise AudioError(path, reason) from None
    except PermissionError:
        raise AudioError(path, "cannot be read: permission denied; change its permissions") from None
    except OSError as error:
        raise AudioError(path, f"cannot be opened ({error.strerror})") from error
    if empty:
        raise AudioError(path, "is empty (0 bytes); copy it again from its source")
    audio = AudioFile(path, section=section, max_duration_s=max_duration_s)
    try:
        yield audio
    finally:
        audio.close()


def check_is_file(path: Path) -> None:
    """Raise AudioError for a folder, named pipe, socket or device, which must not be opened: it may block for good."""
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except OSError:  # opening the file gives the reason
        return
    if kind != stat.S_IFREG:
        raise AudioError(path, f"is {_KINDS.get(kind, 'a device')}, not an audio file")


_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}


class AudioFile:
    """An open audio file; see `open_audio`."""

    def __init__(self, path: Path, *, section: Section | None = None, max_duration_s: float = math.inf) -> None:
        self.path, self._section, self._max_duration_s = path, section, max_duration_s
        self._has_silent_end = False
        self._decoder = self._in_section(open_decoder(path, max_duration_s=max_duration_s))
        frames, rate = self._decoder.frames, self._decoder.sample_rate
        if frames < MIN_DURATION_S * rate:
            self.close()
            length = f"{frames / rate:.3g} s ({frames} sample{'s' * (frames != 1)})" if frames else "no audio at all"
            if section is not None:
                length += f" from {section.start_s:.2f} s to {section.end_s:.2f} s"
            raise AudioError(path, f"holds {length}; at least {MIN_DURATION_S} s are needed")
        if frames > max_duration_s * rate:
            self.close()
            raise too_long(path, max_duration_s)

    def _in_section(self, decoder: Decoder) -> Decoder:
        return decoder if self._section is None else SectionDecoder(decoder, self._section)

    def close(self) -> None:
        """Close the file."""
        self._decoder.close()

    @property
    def duration_s(self) -> float:
        """Duration in seconds."""
        return self._decoder.frames / self._decoder.sample_rate

    def samples(self, sample_rate: int) -> int:
        """Return the length of the file in samples at `sample_rate`."""
        return self._decoder.frames * sample_rate // self._decoder.sample_rate

    def info(self, *, listen: bool) -> AudioInfo:
        """Return the properties of the file; `listen` decodes a few spans to find out how it is mixed down."""
        decoder = self._decoder
        downmix = "loudest channel" if listen and self._cancels_somewhere() else "mean"
        return AudioInfo(
            path=self.path,
            sample_rate=decoder.sample_rate,
            channels=decoder.channels,
            frames=decoder.frames,
            container=decoder.container,
            codec=decoder.codec,
            decoder=decoder.name,
            downmix=downmix if listen else None,
        )

    def _cancels_somewhere(self) -> bool:
        length = self._downmix_block
        starts = np.linspace(0, (self._decoder.frames - 1) // length, _PROBED_BLOCKS).astype(int) * length
        ends = np.minimum(starts + length, self._decoder.frames)
        blocks = (self._read(int(start), int(end - start)) for start, end in zip(starts, ends, strict=True))
        return any((_cancelling_channels(block, length) >= 0).any() for block in blocks)

    @property
    def _downmix_block(self) -> int:
        return round(_DOWNMIX_BLOCK_S * self._decoder.sample_rate)

    def span(self, sample_rate: int, start: int, samples: int) -> np.ndarray:
        """Decode mono audio at `sample_rate` from sample `start` on [shape=(samples,), dtype=float32].

        Besides the result, this takes the memory of half a minute of the file, however long the span is.
        """
        samples = max(0, min(samples, self.samples(sample_rate) - start))
        piece = _PIECE_S * sample_rate
        if samples <= piece:
            return self._piece(sample_rate, start, samples)
        span = np.empty(samples, np.float32)
        for at in range(0, samples, piece):
            note_progress()
            span[at : at + piece] = self._piece(sample_rate, start + at, min(piece, samples - at))
        return span

    def _piece(self, sample_rate: int, start: int, samples: int) -> np.ndarray:
        native = self._decoder.sample_rate
        shared = math.gcd(native, sample_rate)
        up, down = sample_rate // shared, native // shared
        # A span that is resampled alone rings at its edges and may lie between the samples of the whole file. It is
        # therefore decoded with a margin, from a frame at which both rates have a sample.
        margin = round(_RESAMPLER_MARGIN_S * native) if up != down else 0
        first = max(0, (start * down // up - margin) // down * down)
        end = min(self._decoder.frames, -(-(start + samples) * down // up) + margin)
        audio = self._mono(first, end)
        if up != down:
            audio = soxr.resample(audio, native, sample_rate, quality="HQ")
        offset = start - first * up // down
        return np.ascontiguousarray(audio[offset : offset + samples], dtype=np.float32)

    def _mono(self, first: int, end: int) -> np.ndarray:
        """Mix down whole blocks: the mean of the channels or, where they cancel each other, the loudest one."""
        if self._decoder.channels == 1:
            return self._read(first, end - first)[:, 0]
        length = self._downmix_block
        begin = first // length * length
        read = self._read(begin, min(self._decoder.frames, -(-end // length) * length) - begin, seek_to=first)
        mono: np.ndarray = read.mean(axis=1)
        for block, channel in enumerate(_cancelling_channels(read, length)):
            if channel >= 0:
                mono[block * length : (block + 1) * length] = read[block * length : (block + 1) * length, channel]
        return mono[first - begin : end - begin]

    def _read(self, start: int, frames: int, *, seek_to: int | None = None) -> np.ndarray:
        decoder, damage = self._decoder, None
        try:
            read = decoder.read(start, frames, seek_to=seek_to)
        except soundfile.SoundFileError as error:
            read, damage = np.zeros((0, decoder.channels), np.float32), error
        if len(read) < frames and decoder.name != "pyav":
            # FFmpeg skips some damage at which libsndfile gives up.
            decoder.close()
            self._decoder = self._in_section(open_with_ffmpeg(self.path, max_duration_s=self._max_duration_s))
            decodable, self._decoder.frames = self._decoder.frames, decoder.frames
            if decodable < decoder.frames - TOLERANCE_S * decoder.sample_rate:
                raise self._ends_early(decodable) from damage
            read = self._decoder.read(start, frames)
        if len(read) < frames:
            read = self._with_silent_end(read, start, frames)
        return self._finite(read, start)

    def _with_silent_end(self, read: np.ndarray, start: int, frames: int) -> np.ndarray:
        end, rate = start + len(read), self._decoder.sample_rate
        if not len(read):  # the audio may end long before this span
            earlier = max(0, start - round(TOLERANCE_S * rate))
            end = earlier + len(self._decoder.read(earlier, start - earlier))
        missing_s = (self._decoder.frames - end) / rate
        if missing_s > TOLERANCE_S:
            raise self._ends_early(end)
        if not self._has_silent_end and missing_s > _ROUNDING_S:
            logger.warning("%s: the last %.3f s are missing and were replaced by silence", self.path, missing_s)
        self._has_silent_end = True
        return np.pad(read, [(0, frames - len(read)), (0, 0)])

    def _ends_early(self, decoded: int) -> AudioError:
        rate = self._decoder.sample_rate
        return AudioError(
            self.path,
            f"is truncated or damaged: only {decoded / rate:.2f} s of the {self.duration_s:.2f} s that its header "
            "promises can be decoded; copy it again from its source",
        )

    def _finite(self, samples: np.ndarray, start: int) -> np.ndarray:
        finite = np.isfinite(samples)
        if finite.all():
            return samples
        where = f"in the span from {start / self._decoder.sample_rate:.2f} s"
        if not finite.any():
            raise AudioError(self.path, f"holds only NaN or infinite samples {where}; export it again")
        logger.warning("%s: %d NaN or infinite samples %s were set to 0", self.path, (~finite).sum(), where)
        return np.where(finite, samples, np.float32(0))


def _cancelling_channels(samples: np.ndarray, block: int) -> np.ndarray:
    """Return the loudest channel of blocks in which it nearly vanishes from the mean of the channels, else -1."""
    channels = samples.shape[1]
    if channels == 1:
        return np.full(-(-len(samples) // block), -1)
    starts = range(0, len(samples), block)
    energies = np.add.reduceat(np.square(samples, dtype=np.float64), starts, axis=0)
    mixed = np.add.reduceat(np.square(samples.mean(axis=1), dtype=np.float64), starts)
    # One channel of n at unit gain leaves 1/n² of its energy in the mean, which is no cancellation.
    cancels = mixed * channels**2 < _CANCELLATION * energies.max(axis=1)
    return np.where(cancels, energies.argmax(axis=1), -1)
