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

from eno.audio.decoders import Decoder, open_decoder, open_with_ffmpeg
from eno.audio.libsndfile import too_long
from eno.errors import AudioError

logger = logging.getLogger(__name__)

MIN_DURATION_S = 0.5
"""Files shorter than this are refused: they hold no music."""

# A mono mix this much weaker than the loudest channel (20 dB) means that the channels cancel.
_CANCELLATION = 10.0 ** (-20 / 10)
# soxr's filter at its "HQ" setting rings for under 20 ms at 8 kHz, less at higher rates.
_RESAMPLER_MARGIN_S = 0.05
_PROBED_SPANS, _PROBED_SPAN_S = 8, 0.25


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
def open_audio(path: Path, *, max_duration_s: float = math.inf) -> Iterator[AudioFile]:
    """Open a file for decoding spans.

    Raises AudioError if it cannot be opened, is shorter than `MIN_DURATION_S`, or is longer than `max_duration_s`. A
    file that is too long is not decoded to its end.
    """
    check_is_file(path)
    if path.is_symlink() and not path.exists():
        raise AudioError(path, f"is a link to {path.readlink()}, which does not exist; repair or remove the link")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except FileNotFoundError:
        raise AudioError(path, "no such file") from None
    except PermissionError:
        raise AudioError(path, "cannot be read: permission denied; change its permissions") from None
    except OSError as error:
        raise AudioError(path, f"cannot be opened ({error.strerror})") from error
    if empty:
        raise AudioError(path, "is empty (0 bytes); copy it again from its source")
    audio = AudioFile(path, max_duration_s=max_duration_s)
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

    def __init__(self, path: Path, *, max_duration_s: float = math.inf) -> None:
        self.path, self._max_duration_s = path, max_duration_s
        self._decoder: Decoder = open_decoder(path, max_duration_s=max_duration_s)
        frames, rate = self._decoder.frames, self._decoder.sample_rate
        if frames < MIN_DURATION_S * rate:
            self.close()
            length = f"{frames / rate:.3g} s ({frames} sample{'s' * (frames != 1)})" if frames else "no audio at all"
            raise AudioError(path, f"holds {length}; at least {MIN_DURATION_S} s are needed")
        if frames > max_duration_s * rate:
            self.close()
            raise too_long(path, max_duration_s)

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
        length = min(self._decoder.frames, round(_PROBED_SPAN_S * self._decoder.sample_rate))
        starts = np.linspace(0, self._decoder.frames - length, _PROBED_SPANS).astype(int)
        return any(_cancelling_channel(self._read(int(start), length)) is not None for start in starts)

    def span(self, sample_rate: int, start: int, samples: int) -> np.ndarray:
        """Decode mono audio at `sample_rate` from sample `start` on [shape=(samples,), dtype=float32]."""
        native = self._decoder.sample_rate
        shared = math.gcd(native, sample_rate)
        up, down = sample_rate // shared, native // shared
        # A span that is resampled alone rings at its edges and may lie between the samples of the whole file. It is
        # therefore decoded with a margin, from a frame at which both rates have a sample.
        margin = round(_RESAMPLER_MARGIN_S * native) if up != down else 0
        first = max(0, (start * down // up - margin) // down * down)
        end = min(self._decoder.frames, -(-(start + samples) * down // up) + margin)
        audio = _mono(self._read(first, end - first))
        if up != down:
            audio = soxr.resample(audio, native, sample_rate, quality="HQ")
        offset = start - first * up // down
        return np.ascontiguousarray(audio[offset : offset + samples], dtype=np.float32)

    def _read(self, start: int, frames: int) -> np.ndarray:
        try:
            read = self._decoder.read(start, frames)
        except soundfile.SoundFileError as error:
            # FFmpeg skips some damage at which libsndfile gives up.
            promised = self._decoder.frames
            self._decoder.close()
            self._decoder = open_with_ffmpeg(self.path, max_duration_s=self._max_duration_s)
            if self._decoder.frames < promised:
                raise self._ends_early(self._decoder.frames, promised) from error
            read = self._decoder.read(start, frames)
        if len(read) < frames:
            raise self._ends_early(start + len(read), self._decoder.frames)
        return self._finite(read, start)

    def _ends_early(self, decoded: int, promised: int) -> AudioError:
        rate = self._decoder.sample_rate
        return AudioError(
            self.path,
            f"is truncated or damaged: only {decoded / rate:.2f} s of the {promised / rate:.2f} s that its header "
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


def _mono(samples: np.ndarray) -> np.ndarray:
    """Return the mean of the channels [shape=(frames,)], or the loudest channel if they cancel."""
    channel = _cancelling_channel(samples)
    if channel is not None:
        return samples[:, channel]
    mean: np.ndarray = samples.mean(axis=1)
    return mean


def _cancelling_channel(samples: np.ndarray) -> int | None:
    """Return the loudest channel if the mean of the channels nearly vanishes compared with it, else None."""
    if samples.shape[1] == 1:
        return None
    energies = np.square(samples, dtype=np.float64).sum(axis=0)
    mixed = np.square(samples.mean(axis=1), dtype=np.float64).sum()
    loudest = int(energies.argmax())
    # One channel of n at unit gain leaves 1/n² of its energy in the mean, which is no cancellation.
    return loudest if mixed * samples.shape[1] ** 2 < _CANCELLATION * energies[loudest] else None
