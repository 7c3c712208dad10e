"""Which of several copies of a recording is worth keeping, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.fft import rfft

from eno.audio.audio_file import open_audio
from eno.data.library.tags import read_tags

_LOSSLESS = ("pcm", "flac", "alac", "wavpack", "ape", "tta", "float", "double", "wmalossless")
# A bit of these codings goes so much further than one of MP3, by common listening tests.
_WORTH = {"opus": 1.6, "vorbis": 1.25, "aac": 1.25}

_COMPLETE = 0.95  # of the sound of the longest copy: what is cut further is not a matter of taste
_FULL_BAND = 0.8  # of the widest copy's: what has less was made from something lossy, or at a lower rate
_SPAN_S, _FRAME = 20.0, 2048
_AUDIBLE_DB = -80.0  # below the strongest frequency; encoders leave nothing above where they cut
_OFTEN = 0.75  # so many frames have less; a click that has all frequencies tells nothing


@dataclass(frozen=True, kw_only=True)
class Quality:
    """What one file is worth.

    Attributes
    ----------
    lossless : bool
        Its coding keeps every sample. The file may still have been made from one that does not.
    kbps : float
        Bits a second, in thousands.
    bandwidth_hz : float
        Highest frequency that is there.
    channels, sample_rate : int
    sounding_s : float
        Length without the silence at both ends.
    size : int
        Bytes.
    tags : int
        How many fields of its tags are filled in.
    codec : str
    """

    lossless: bool
    kbps: float
    bandwidth_hz: float
    channels: int
    sample_rate: int
    sounding_s: float
    size: int
    tags: int
    codec: str


def read_quality(path: Path, *, sounding_s: float, known: Mapping[str, Any] | None = None) -> Quality:
    """Look at a file.

    Parameters
    ----------
    path : Path
        An audio file.
    sounding_s : float
        Length without the silence at both ends, which only who has heard it all knows.
    known : mapping, optional
        Its row of ``tracks.parquet``, which saves reading its tags; not used where the size differs.

    Raises
    ------
    AudioError
        It cannot be read.
    """
    size = path.stat().st_size
    with open_audio(path) as audio:
        info = audio.info(listen=False)
        length = min(info.frames, round(_SPAN_S * info.sample_rate))
        middle = audio.span(info.sample_rate, (info.frames - length) // 2, length)
    tags = known if known is not None and known.get("size") == size else vars(read_tags(path))
    fields = ("artist", "album_artist", "album", "title", "track_number", "year", "genres", "musicbrainz_recording_id")
    codec = f"{info.container} {info.codec}".lower()
    return Quality(
        lossless=any(name in codec for name in _LOSSLESS),
        kbps=size * 8 / 1000 / info.duration_s,
        bandwidth_hz=_bandwidth_hz(middle, info.sample_rate),
        channels=info.channels,
        sample_rate=info.sample_rate,
        sounding_s=sounding_s,
        size=size,
        tags=sum(bool(tags.get(name)) for name in fields),
        codec=codec,
    )


def _bandwidth_hz(samples: np.ndarray, rate: int) -> float:
    """Highest frequency that is not far below the strongest one."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, _FRAME)[:: _FRAME // 2]
    power = np.square(np.abs(rfft(frames * np.hanning(_FRAME).astype(np.float32), axis=1)))
    power = np.quantile(power, _OFTEN, axis=0)
    if not power.any():
        return 0.0
    there = np.flatnonzero(power > power.max() * 10 ** (_AUDIBLE_DB / 10))
    return float(there[-1] * rate / _FRAME)


@dataclass(frozen=True)
class _Best:
    """What the best of a group has."""

    sounding_s: float
    bandwidth_hz: float


@dataclass(frozen=True)
class _Criterion:
    """One thing that decides, if all before it are equal: more is better. `words` says it of the worse of two."""

    value: Callable[[Quality, _Best], float]
    words: Callable[[Quality, Quality], str]


_CRITERIA = (
    _Criterion(
        lambda one, best: one.sounding_s >= _COMPLETE * best.sounding_s,
        lambda kept, other: f"{kept.sounding_s - other.sounding_s:.1f} s of the sound are missing",
    ),
    _Criterion(
        lambda one, best: one.bandwidth_hz >= _FULL_BAND * best.bandwidth_hz,
        lambda kept, other: (
            f"{'lossless, but made from less: ' * other.lossless}nothing above {other.bandwidth_hz / 1000:.1f} kHz"
        ),
    ),
    _Criterion(lambda one, best: one.lossless, lambda kept, other: "lossy"),
    _Criterion(
        lambda one, best: 0.0 if one.lossless else round(_worth_kbps(one) / 16),
        lambda kept, other: f"{other.kbps:.0f} instead of {kept.kbps:.0f} kbit/s",
    ),
    _Criterion(lambda one, best: one.channels, lambda kept, other: f"{other.channels} instead of {kept.channels}"
               " channels"),
    _Criterion(
        lambda one, best: one.sample_rate,
        lambda kept, other: f"{other.sample_rate} instead of {kept.sample_rate} samples a second",
    ),
    _Criterion(
        lambda one, best: round(one.sounding_s),
        lambda kept, other: f"{kept.sounding_s - other.sounding_s:.1f} s of the sound are missing",
    ),
    _Criterion(lambda one, best: one.tags, lambda kept, other: f"{other.tags} instead of {kept.tags} tags filled in"),
    _Criterion(lambda one, best: one.size, lambda kept, other: "a smaller file"),
)  # fmt: skip


def _worth_kbps(quality: Quality) -> float:
    factor = next((factor for name, factor in _WORTH.items() if name in quality.codec), 1.0)
    return quality.kbps * factor


def by_quality(qualities: Mapping[str, Quality]) -> dict[str, str]:
    """Order copies of one recording, the one to keep first.

    Parameters
    ----------
    qualities : mapping of str to Quality
        By track id.

    Returns
    -------
    dict of str to str
        Track ids, and of each but the first in what it is behind that one. Complete ones come before cut ones, then
        those that reach as high as the others, lossless ones, more bits a second, more channels, a higher sample rate,
        longer ones, ones with better tags, and larger ones; what is alike in all goes by its id.
    """
    best = _Best(*(max(getattr(one, name) for one in qualities.values()) for name in ("sounding_s", "bandwidth_hz")))

    def values(quality: Quality) -> list[float]:
        return [-criterion.value(quality, best) for criterion in _CRITERIA]

    order = sorted(qualities, key=lambda track_id: (values(qualities[track_id]), len(track_id), track_id))
    kept = qualities[order[0]]
    behind = {order[0]: ""}
    for track_id in order[1:]:
        other = qualities[track_id]
        deciding = (one for one in _CRITERIA if one.value(other, best) < one.value(kept, best))
        found = next(deciding, None)
        behind[track_id] = found.words(kept, other) if found else "as good"
    return behind
