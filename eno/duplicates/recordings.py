"""Compare the audio of two files to decide whether they are the same recording.

A copy preserves the audible waveform through any codec, gain or sample rate, whereas another performance preserves at
most the loudness of its notes. So two files are aligned at the best offset and compared in two respects:

- ``coherence``: the waveforms agree in phase, per frequency band and two-second segment. Another take, a remix or
  another mastering speed fails this.
- ``detail``: the levels of the bands rise and fall together within these segments. Sustained tones, as in drones, are
  coherent with any other part of themselves, and fail this.

The offset is first estimated from the levels over both whole files, then to the sample by the phase transform.

References
----------
C. Knapp and G. Carter, "The generalized correlation method for estimation of time delay", IEEE Transactions on
Acoustics, Speech, and Signal Processing, 1976.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.ndimage import uniform_filter1d

from eno.audio.audio_file import open_audio
from eno.files import Section

SAMPLE_RATE = 8000
"""Sample rate for comparisons: every codec preserves the waveform up to 4 kHz."""

MAX_DURATION_S = 600.0
"""Only the beginning of longer files is compared."""

MIN_OVERLAP = 0.5
"""Copies overlap by at least this fraction of the longer one, without silence at both ends."""

MIN_COHERENCE = 0.9
MIN_DETAIL = 0.8
"""Minimum values for a copy, measured by ``scripts/bench/duplicates.py``."""

EVEN_DB = 0.6
"""If the levels vary less than this, one part of the audio cannot be distinguished from another."""

_FRAME, _HOP = 1024, 256
_BANDS, _LOWEST_HZ, _HIGHEST_HZ = 24, 150.0, 3600.0  # below 4 kHz, where resamplers and MP3 at 64 kbit/s begin to cut
_FLOOR = 1e-4  # of the mean energy; whatever is 40 dB below may be codec noise
_SILENCE = 1e-5  # of the loudest frame; whatever is 50 dB below is silence
_TREND_FRAMES = 63  # level changes slower than 2 s are removed
_SEGMENT = 2 * SAMPLE_RATE
_SEGMENTS, _QUICK_SEGMENTS = 60, 8
_OFFSETS, _APART_FRAMES, _LEAST_LIKENESS = 8, 8, 0.35
_RIVAL = (
    0.7  # of the best phase: sustained tones are in phase at many offsets, and only the detail identifies the right one
)
_WORST = 0.1  # fraction of segments that may disagree: clicks, or passages where a codec ran out of bits


@dataclass(frozen=True)
class Likeness:
    """Result of comparing two recordings.

    Attributes
    ----------
    same : bool or None
        None if undecided.
    offset_s : float or None
        Start of the second recording on the time axis of the first; None if no offset stands out.
    overlap : float
        Overlap as a fraction of the longer one, without silence at both ends.
    coherence, detail : float
        See the module: 1 for identical samples, about 0 for unrelated ones.
    """

    same: bool | None
    reason: str
    offset_s: float | None = None
    overlap: float = 0.0
    coherence: float = 0.0
    detail: float = 0.0

    @property
    def score(self) -> float:
        """The weaker of coherence and detail, at least 0."""
        return max(0.0, min(self.coherence, self.detail))


class Recording:
    """One recording, prepared for comparisons.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,), dtype=float32]
        Mono audio at `SAMPLE_RATE`.

    Attributes
    ----------
    sounding : tuple of int
        First sample that is not silent, and the one after the last; equal if all are silent.
    variation_db : float
        Root mean square variation of the band levels around their trend.
    """

    def __init__(self, samples: np.ndarray) -> None:
        self.samples = np.pad(samples, (0, max(0, _FRAME - len(samples))))
        energies = _energies(self.samples)
        total = energies.sum(axis=1)
        sounds = np.flatnonzero(total > max(_SILENCE * total.max(), 1e-12))
        first, end = (int(sounds[0]), int(sounds[-1]) + 1) if len(sounds) else (0, 0)
        self.sounding = first * _HOP, min(len(self.samples), (end - 1) * _HOP + _FRAME) if end else 0
        self.floor = _FLOOR * float(total[first:end].mean()) if end else 0.0
        self.changes = np.zeros_like(energies)
        """Band levels without their trend in dB [shape=(frames, bands)]; 0 in silence."""
        if end:
            levels = 10 * np.log10(energies[first:end] + self.floor)
            self.changes[first:end] = levels - uniform_filter1d(levels, _TREND_FRAMES, axis=0, mode="nearest")
        self.frames = first, end
        self.variation_db = float(np.sqrt(np.square(self.changes[first:end]).mean())) if end else 0.0
        self.powers = np.concatenate([[0.0], np.cumsum(np.square(self.changes, dtype=np.float64).sum(axis=1))])

    @classmethod
    def read(cls, path: Path, section: Section | None = None) -> Recording:
        """Decode a file, or a section of it; raise an AudioError if that fails."""
        with open_audio(path, section=section) as audio:
            length = min(audio.samples(SAMPLE_RATE), round(MAX_DURATION_S * SAMPLE_RATE))
            return cls(audio.span(SAMPLE_RATE, 0, length))

    @property
    def nbytes(self) -> int:
        """Memory use."""
        return self.samples.nbytes + self.changes.nbytes + self.powers.nbytes


def compare(first: Recording, second: Recording) -> Likeness:
    """Decide whether two recordings are the same, wherever each begins and ends."""
    lengths = [end - begin for begin, end in (first.sounding, second.sounding)]
    if min(lengths) < _SEGMENT:
        return Likeness(None, f"one of them has less than {_SEGMENT / SAMPLE_RATE:.0f} s that are not silent")
    if min(lengths) < MIN_OVERLAP * max(lengths):
        return Likeness(False, "one of them is less than half as long")
    even = min(first.variation_db, second.variation_db) < EVEN_DB
    offsets = _likely_offsets(first, second, max(lengths))
    if not offsets:
        return _unless_even(even, Likeness(False, "their levels do not rise and fall together at any offset"))
    refined = [_refine(first, second, offset) for offset in offsets]
    best = max(refined)[0]
    tried = {refined[0][1]} | {offset for phase, offset in refined if phase > _RIVAL * best}
    coherence, detail, offset = max(
        ((*_agreement(first, second, offset), offset) for offset in tried), key=lambda agreed: min(agreed[:2])
    )
    begin, end = _shared(first, second, offset)
    values = offset / SAMPLE_RATE, (end - begin) / max(lengths), coherence, detail
    if coherence < MIN_COHERENCE:
        return Likeness(False, "another performance or mix: their waveforms do not agree", *values)
    if detail < MIN_DETAIL:
        return _unless_even(even, Likeness(False, "the same tones, but their levels do not move together", *values))
    return Likeness(True, "the same recording", *values)


def _unless_even(even: bool, likeness: Likeness) -> Likeness:
    """Return the decision, or an undecided one if the levels vary too little."""
    reason = f"undecided: levels vary by less than {EVEN_DB} dB"
    return replace(likeness, same=None, reason=reason) if even else likeness


def _likely_offsets(first: Recording, second: Recording, longer: int) -> list[int]:
    """Return offsets in samples at which the levels of both change alike, the most likely first."""
    size = next_fast_len(len(first.changes) + len(second.changes), real=True)
    spectra = (rfft(one.changes, size, axis=0) for one in (first, second))
    spectrum = next(spectra) * np.conj(next(spectra))
    products = irfft(spectrum.sum(axis=1), size)
    lags = np.arange(1 - len(second.changes), len(first.changes))
    begins, ends = np.maximum(lags, 0), np.minimum(len(first.changes), lags + len(second.changes))
    powers = (first.powers[ends] - first.powers[begins]) * (second.powers[ends - lags] - second.powers[begins - lags])
    overlaps = np.minimum(first.frames[1], second.frames[1] + lags) - np.maximum(
        first.frames[0], second.frames[0] + lags
    )
    likeness = products[lags] / np.sqrt(np.maximum(powers, 1e-9))
    likeness[overlaps * _HOP < MIN_OVERLAP * longer - _FRAME] = -1
    found: list[int] = []
    while len(found) < _OFFSETS and likeness.max() > _LEAST_LIKENESS:
        best = int(likeness.argmax())
        found.append(int(lags[best]) * _HOP)
        likeness[max(0, best - _APART_FRAMES) : best + _APART_FRAMES + 1] = -1
    return found


def _refine(first: Recording, second: Recording, offset: int) -> tuple[float, int]:
    """Return the phase agreement and the exact offset near an approximate one."""
    size, reach = 2 * _SEGMENT, _HOP + _HOP // 2
    spectrum = np.zeros(size // 2 + 1, np.complex64)
    for segment_a, segment_b in _segments(first, second, offset, _QUICK_SEGMENTS):
        product = rfft(segment_a, size) * np.conj(rfft(segment_b, size))
        spectrum += product / (np.abs(product) + 1e-3 * np.abs(product).mean() + 1e-12)
    likeness = np.abs(irfft(spectrum, size))  # a copy may have inverted polarity
    near = np.concatenate([likeness[-reach:], likeness[: reach + 1]])
    best = int(near.argmax())
    return float(near[best]), offset + best - reach


def _shared(first: Recording, second: Recording, offset: int) -> tuple[int, int]:
    """Return the range in which both are not silent, in samples of the first."""
    begin = max(0, offset, first.sounding[0], second.sounding[0] + offset)
    end = min(len(first.samples), len(second.samples) + offset, first.sounding[1], second.sounding[1] + offset)
    return begin, end


def _segments(first: Recording, second: Recording, offset: int, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return segments spread evenly over the overlap; fewer if it is short."""
    begin, end = _shared(first, second, offset)
    count = max(1, min(count, (end - begin) // _SEGMENT))
    starts = np.linspace(begin, max(begin, end - _SEGMENT), count).astype(int)
    segments = []
    for start in starts.tolist():
        stop = min(start + _SEGMENT, end)
        segments.append((first.samples[start:stop], second.samples[start - offset : stop - offset]))
    return segments


def _agreement(first: Recording, second: Recording, offset: int) -> tuple[float, float]:
    """Return the coherence that nearly all segments reach, and the detail of all segments together."""
    coherences, products, powers = [], 0.0, np.zeros(2)
    for segment_a, segment_b in _segments(first, second, offset, _SEGMENTS):
        if min(len(segment_a), len(segment_b)) < _FRAME:
            continue
        spectra = _spectra(segment_a), _spectra(segment_b)
        energies = [_by_band(np.square(np.abs(spectrum))) for spectrum in spectra]
        sums = [energy.sum(axis=0) for energy in energies]
        floors = [first.floor * len(energies[0]), second.floor * len(energies[0])]
        if all(total.sum() < floor for total, floor in zip(sums, floors, strict=True)):
            continue  # silence in both
        cross = np.abs(_by_band(spectra[0] * np.conj(spectra[1])).sum(axis=0))
        audible = (sums[0] > floors[0]) | (sums[1] > floors[1])
        means = np.sqrt(sums[0] * sums[1]) + 1e-20
        weights = np.sqrt(means) * audible  # between counting bands and counting energy
        coherences.append(float((weights * cross / means).sum() / weights.sum()) if weights.any() else 0.0)
        changes = [
            10 * np.log10(energy + floor) for energy, floor in zip(energies, (first.floor, second.floor), strict=True)
        ]
        changes = [change - change.mean(axis=0) for change in changes]
        products += float((changes[0] * changes[1]).sum())
        powers += [float(np.square(change).sum()) for change in changes]
    detail = products / float(np.sqrt(max(powers.prod(), 1e-12)))
    return float(np.quantile(coherences or [0.0], _WORST)), detail


def _mel(frequency_hz: np.ndarray | float) -> np.ndarray:
    mels: np.ndarray = 2595 * np.log10(1 + np.asarray(frequency_hz) / 700)
    return mels


_WINDOW = np.hanning(_FRAME + 1)[:-1].astype(np.float32)
_EDGES = np.searchsorted(
    _mel(np.fft.rfftfreq(_FRAME, 1 / SAMPLE_RATE)), np.linspace(_mel(_LOWEST_HZ), _mel(_HIGHEST_HZ), _BANDS + 1)
)


def _spectra(samples: np.ndarray) -> np.ndarray:
    """Short-time spectra [shape=(frames, bins), dtype=complex64]."""
    spectra: np.ndarray = rfft(np.lib.stride_tricks.sliding_window_view(samples, _FRAME)[::_HOP] * _WINDOW, axis=1)
    return spectra


def _by_band(values: np.ndarray) -> np.ndarray:
    """Sums over the bins of each band [shape=(frames, bands)]."""
    sums: np.ndarray = np.add.reduceat(values[:, : _EDGES[-1]], _EDGES[:-1], axis=1)
    return sums


def _energies(samples: np.ndarray) -> np.ndarray:
    """Band energies [shape=(frames, bands), dtype=float32]; computed a minute at a time to save memory."""
    step = _HOP * (60 * SAMPLE_RATE // _HOP)
    blocks = [
        _by_band(np.square(np.abs(_spectra(samples[start : start + step + _FRAME - _HOP]))))
        for start in range(0, len(samples) - _FRAME + 1, step)
    ]
    return np.concatenate(blocks)
