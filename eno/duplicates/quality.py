"""Decide which of several copies of a recording to keep, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.fft import rfft

from eno.audio.audio_file import open_audio
from eno.data.library.tags import read_tags
from eno.files import Section

_LOSSLESS = ("pcm", "flac", "alac", "wavpack", "ape", "tta", "float", "double", "wmalossless")
# How many bits of MP3 one bit of these codecs is worth, by common listening tests.
_EFFICIENCY = {"opus": 1.6, "vorbis": 1.25, "aac": 1.25}
_CODEC_NAMES = {"opus": "Opus", "vorbis": "Vorbis", "aac": "AAC", "mp3": "MP3"}

_COMPLETE = 0.95  # fraction of the longest copy; a shorter one is cut
_FULL_BAND = 0.8  # fraction of the widest copy; a narrower one was made from a lossy file or at a lower rate
_SPAN_S, _FRAME = 20.0, 2048
_AUDIBLE_DB = -80.0  # relative to the strongest frequency; encoders leave nothing above their cutoff
_OFTEN = 0.75  # quantile over frames, which ignores clicks


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Quality of a file.

    Attributes
    ----------
    lossless : bool
        Whether its codec is lossless. The file may still have been made from a lossy one.
    bandwidth_hz : float
        Highest audible frequency.
    sounding_s : float
        Duration without the silence at both ends.
    tags : int
        Number of tag fields with a value.
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


def read_quality(
    path: Path, *, section: Section | None = None, sounding_s: float, known: Mapping[str, Any] | None = None
) -> Quality:
    """Measure the quality of a file, or section of it, whose duration without silence at both ends is `sounding_s`.

    `known` is its row of ``tracks.parquet``, to avoid reading its tags; it is ignored if the file's size differs.
    """
    size = path.stat().st_size
    with open_audio(path) as audio:
        info = audio.info(listen=False)
    with open_audio(path, section=section) as audio:
        frames = audio.samples(info.sample_rate)
        length = min(frames, round(_SPAN_S * info.sample_rate))
        middle = audio.span(info.sample_rate, (frames - length) // 2, length)
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
    """Return the highest frequency that is not far below the strongest one."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, _FRAME)[:: _FRAME // 2]
    power = np.square(np.abs(rfft(frames * np.hanning(_FRAME).astype(np.float32), axis=1)))
    power = np.quantile(power, _OFTEN, axis=0)
    if not power.any():
        return 0.0
    there = np.flatnonzero(power > power.max() * 10 ** (_AUDIBLE_DB / 10))
    return float(there[-1] * rate / _FRAME)


@dataclass(frozen=True)
class _Best:
    """The best values of a group."""

    sounding_s: float
    bandwidth_hz: float


# Criteria in order of importance: a value that is better the higher it is, and what to say of the worse of two files.
_CRITERIA: tuple[tuple[Callable[[Quality, _Best], float], Callable[[Quality, Quality], str]], ...] = (
    (lambda file, best: file.sounding_s >= _COMPLETE * best.sounding_s, lambda kept, other: _missing(kept, other)),
    (
        lambda file, best: file.bandwidth_hz >= _FULL_BAND * best.bandwidth_hz,
        lambda kept, other: (
            f"{'lossless, but from a worse source: ' * other.lossless}nothing above {other.bandwidth_hz / 1000:.1f} kHz"
        ),
    ),
    (lambda file, best: file.lossless, lambda kept, other: "lossy"),
    (
        lambda file, best: 0.0 if file.lossless else round(_equivalent_kbps(file) / 16),
        lambda kept, other: _lower_rate(kept, other),
    ),
    (lambda file, best: file.channels, lambda kept, other: f"{other.channels} instead of {kept.channels} channels"),
    (
        lambda file, best: file.sample_rate,
        lambda kept, other: f"sample rate of {other.sample_rate} instead of {kept.sample_rate} Hz",
    ),
    (lambda file, best: round(file.sounding_s), lambda kept, other: _missing(kept, other)),
    (lambda file, best: file.tags, lambda kept, other: f"{other.tags} instead of {kept.tags} filled tag fields"),
    (lambda file, best: file.size, lambda kept, other: "a smaller file"),
)


def _missing(kept: Quality, other: Quality) -> str:
    return f"{kept.sounding_s - other.sounding_s:.1f} s of the audio are missing"


def _equivalent_kbps(quality: Quality) -> float:
    return quality.kbps * next((factor for name, factor in _EFFICIENCY.items() if name in quality.codec), 1.0)


def _codec_name(quality: Quality) -> str:
    return next((shown for name, shown in _CODEC_NAMES.items() if name in quality.codec), quality.codec.split()[-1])


def _lower_rate(kept: Quality, other: Quality) -> str:
    if _codec_name(kept) == _codec_name(other):
        return f"{other.kbps:.0f} instead of {kept.kbps:.0f} kbit/s"
    better, worse = (f"{_codec_name(one)} at {one.kbps:.0f} kbit/s" for one in (kept, other))
    return f"{worse}, which is worth less than {better}"


def by_quality(qualities: Mapping[str, Quality]) -> dict[str, str]:
    """Order copies of one recording by quality, the best first, with the respect in which each is worse than the first.

    The criteria are, in this order: completeness, bandwidth, losslessness, bit rate (by codec efficiency), channels,
    sample rate, duration, number of tags, file size, and the track id.
    """
    best = _Best(*(max(getattr(one, name) for one in qualities.values()) for name in ("sounding_s", "bandwidth_hz")))

    def values(quality: Quality) -> list[float]:
        return [-value(quality, best) for value, _ in _CRITERIA]

    order = sorted(qualities, key=lambda track_id: (values(qualities[track_id]), len(track_id), track_id))
    kept = qualities[order[0]]
    behind = {order[0]: ""}
    for track_id in order[1:]:
        other = qualities[track_id]
        reasons = (words(kept, other) for value, words in _CRITERIA if value(other, best) < value(kept, best))
        behind[track_id] = next(reasons, "equally good")
    return behind
