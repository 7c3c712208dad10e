"""Whether two files hold the same recording, judged by their samples.

A copy keeps the waveform where it is audible, whatever codec, gain or sample rate it went through; music that is played
once more keeps at most the loudness of its notes. So two files are laid over each other at the best offset, and asked

- whether their waveforms agree in phase, in bands and in pieces of two seconds (``coherence``): a second take, however
  exact, a remix and another mastering speed fail here;
- whether the levels of the bands rise and fall together within these pieces (``detail``): tones that are held, as in
  drones, agree in phase with any other stretch of themselves, and fail here.

The offset is sought with the levels first, over all of both files, and then to the sample with the phase transform.

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

SAMPLE_RATE = 8000
"""Samples per second at which files are compared: every codec keeps the waveform up to 4 kHz."""

MAX_DURATION_S = 600.0
"""Of longer files the beginning is compared."""

MIN_OVERLAP = 0.5
"""Two files share at least this part of what sounds in the longer one, or are not the same."""

MIN_COHERENCE = 0.9
MIN_DETAIL = 0.8
"""What a copy reaches at least; ``scripts/bench/duplicates.py`` measures what copies and others reach."""

EVEN_DB = 0.6
"""Where levels move less than this there is nothing by which one stretch could be told from another."""

_FRAME, _HOP = 1024, 256
_BANDS, _LOWEST_HZ, _HIGHEST_HZ = 24, 150.0, 3600.0  # below 4 kHz, where resamplers and MP3 at 64 kbit/s begin to cut
_FLOOR = 1e-4  # of the mean energy: what is 40 dB below it is the codec's
_SILENCE = 1e-5  # of the loudest frame: what is 50 dB below it is not music
_TREND_FRAMES = 63  # slower changes of level than these 2 s are left out
_PIECE = 2 * SAMPLE_RATE
_PIECES, _QUICK_PIECES = 60, 8
_OFFSETS, _APART_FRAMES, _LEAST_LIKENESS = 8, 8, 0.35
_RIVAL = 0.7  # of the best phase: held tones are in phase at many offsets, and only the detail tells which is right
_WORST = 0.1  # of the pieces may disagree: a click, or a passage where a codec had too few bits


@dataclass(frozen=True)
class Likeness:
    """How two recordings compare.

    Attributes
    ----------
    same : bool or None
        None where it cannot be told.
    reason : str
        Why, in words.
    offset_s : float or None
        Where the second one begins on the clock of the first one; None where no offset stands out.
    overlap : float
        Share of what sounds in the longer one that both have.
    coherence, detail : float
        See the module; 1 for identical samples, about 0 for unrelated ones.
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
        First sample that sounds, and the one after the last; equal where nothing does.
    evenness_db : float
        How much the levels of bands move about their trend, root mean square.
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
        """Levels of the bands without their trend [shape=(frames, bands)], in dB; 0 where nothing sounds."""
        if end:
            levels = 10 * np.log10(energies[first:end] + self.floor)
            self.changes[first:end] = levels - uniform_filter1d(levels, _TREND_FRAMES, axis=0, mode="nearest")
        self.frames = first, end
        self.evenness_db = float(np.sqrt(np.square(self.changes[first:end]).mean())) if end else 0.0
        self.powers = np.concatenate([[0.0], np.cumsum(np.square(self.changes, dtype=np.float64).sum(axis=1))])

    @classmethod
    def read(cls, path: Path) -> Recording:
        """Decode a file.

        Raises
        ------
        AudioError
            It cannot be read.
        """
        with open_audio(path) as audio:
            length = min(audio.samples(SAMPLE_RATE), round(MAX_DURATION_S * SAMPLE_RATE))
            return cls(audio.span(SAMPLE_RATE, 0, length))

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return self.samples.nbytes + self.changes.nbytes + self.powers.nbytes


def compare(first: Recording, second: Recording) -> Likeness:
    """Judge whether two recordings are the same, wherever each one begins and ends.

    Parameters
    ----------
    first, second : Recording

    Returns
    -------
    Likeness
    """
    lengths = [end - begin for begin, end in (first.sounding, second.sounding)]
    if min(lengths) < _PIECE:
        return Likeness(None, f"less than {_PIECE / SAMPLE_RATE:.0f} s of one of them sound")
    if min(lengths) < MIN_OVERLAP * max(lengths):
        return Likeness(False, "one of them is less than half as long")
    even = min(first.evenness_db, second.evenness_db) < EVEN_DB
    offsets = _likely_offsets(first, second, max(lengths))
    if not offsets:
        return _uneven(even, Likeness(False, "at no offset do their levels rise and fall together"))
    refined = [_to_the_sample(first, second, offset) for offset in offsets]
    best = max(refined)[0]
    tried = {refined[0][1]} | {offset for phase, offset in refined if phase > _RIVAL * best}
    coherence, detail, offset = max(
        ((*_agreement(first, second, offset), offset) for offset in tried), key=lambda agreed: min(agreed[:2])
    )
    begin, end = _shared(first, second, offset)
    values = offset / SAMPLE_RATE, (end - begin) / max(lengths), coherence, detail
    if coherence < MIN_COHERENCE:
        return Likeness(False, "played or mixed anew: their waveforms do not agree", *values)
    if detail < MIN_DETAIL:
        return _uneven(even, Likeness(False, "the same tones, but their levels do not move together", *values))
    return Likeness(True, "the same recording", *values)


def _uneven(even: bool, likeness: Likeness) -> Likeness:
    """The verdict, unless the sound is too even for one."""
    reason = f"too even to tell: levels move by less than {EVEN_DB} dB"
    return replace(likeness, same=None, reason=reason) if even else likeness


def _likely_offsets(first: Recording, second: Recording, longer: int) -> list[int]:
    """Offsets in samples at which the levels of both change alike, the likeliest first."""
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


def _to_the_sample(first: Recording, second: Recording, offset: int) -> tuple[float, int]:
    """How much of the frequencies is in phase near this offset, and at which one."""
    size, reach = 2 * _PIECE, _HOP + _HOP // 2
    spectrum = np.zeros(size // 2 + 1, np.complex64)
    for piece_a, piece_b in _pieces(first, second, offset, _QUICK_PIECES):
        product = rfft(piece_a, size) * np.conj(rfft(piece_b, size))
        spectrum += product / (np.abs(product) + 1e-3 * np.abs(product).mean() + 1e-12)
    likeness = np.abs(irfft(spectrum, size))  # a copy may be upside down
    near = np.concatenate([likeness[-reach:], likeness[: reach + 1]])
    best = int(near.argmax())
    return float(near[best]), offset + best - reach


def _shared(first: Recording, second: Recording, offset: int) -> tuple[int, int]:
    """Where both sound, in samples of the first one."""
    begin = max(0, offset, first.sounding[0], second.sounding[0] + offset)
    end = min(len(first.samples), len(second.samples) + offset, first.sounding[1], second.sounding[1] + offset)
    return begin, end


def _pieces(first: Recording, second: Recording, offset: int, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """So many pieces, spread over what both share; fewer where it is short."""
    begin, end = _shared(first, second, offset)
    count = max(1, min(count, (end - begin) // _PIECE))
    starts = np.linspace(begin, max(begin, end - _PIECE), count).astype(int)
    pieces = []
    for start in starts.tolist():
        stop = min(start + _PIECE, end)
        pieces.append((first.samples[start:stop], second.samples[start - offset : stop - offset]))
    return pieces


def _agreement(first: Recording, second: Recording, offset: int) -> tuple[float, float]:
    """Coherence that nearly all pieces reach, and detail of all together."""
    coherences, products, powers = [], 0.0, np.zeros(2)
    for piece_a, piece_b in _pieces(first, second, offset, _PIECES):
        if min(len(piece_a), len(piece_b)) < _FRAME:
            continue
        spectra = _spectra(piece_a), _spectra(piece_b)
        energies = [_by_band(np.square(np.abs(spectrum))) for spectrum in spectra]
        sums = [energy.sum(axis=0) for energy in energies]
        floors = [first.floor * len(energies[0]), second.floor * len(energies[0])]
        if all(total.sum() < floor for total, floor in zip(sums, floors, strict=True)):
            continue  # a rest in both
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
    """Energies of the bands [shape=(frames, bands), dtype=float32]; a minute at a time, which keeps memory low."""
    step = _HOP * (60 * SAMPLE_RATE // _HOP)
    blocks = [
        _by_band(np.square(np.abs(_spectra(samples[start : start + step + _FRAME - _HOP]))))
        for start in range(0, len(samples) - _FRAME + 1, step)
    ]
    return np.concatenate(blocks)
