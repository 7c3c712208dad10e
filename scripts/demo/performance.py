"""Turn scores into timed notes and measure their density and polyphony."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scripts.demo.instruments import REGISTERS, TEMPI, Rendering
from scripts.demo.scores import Score

SPARSE, DENSE = 2.0, 5.0
"""Onsets per second below which music counts as sparse, and above which as dense."""

POLYPHONIC = 0.5
"""Minimum share of the time with several simultaneous notes for music to count as polyphonic."""


@dataclass(frozen=True)
class Performance:
    """The notes of a track.

    Attributes
    ----------
    notes : np.ndarray [shape=(n, 4)]
        Onset and duration in seconds, MIDI pitch, and velocity, sorted by onset.
    bpm : float
        Beats per minute.
    onsets_per_s : float
        Distinct onsets per second; a chord counts once.
    polyphony : float
        Time with several notes divided by the time with any.
    """

    notes: NDArray[np.float64]
    bpm: float
    onsets_per_s: float
    polyphony: float

    @property
    def density(self) -> str:
        """One of "sparse", "medium" and "dense"."""
        if self.onsets_per_s < SPARSE:
            return "sparse"
        return "dense" if self.onsets_per_s > DENSE else "medium"


def perform(
    score: Score, *, beat_q: float, rendering: Rendering, duration_s: float, rng: np.random.Generator
) -> Performance:
    """Play a score at the tempo and in the register of its album, repeated to fill the duration.

    `beat_q` is the written beat in quarter notes; `rng` varies tempo (by up to 5 %), loudness and timing.
    """
    bpm = TEMPI[rendering.tempo] * rng.uniform(0.95, 1.05)
    second_q = bpm * beat_q / 60
    turns = math.ceil(duration_s * second_q / score.length_q)
    notes = np.tile(score.notes, (turns, 1))
    notes[:, 0] += np.repeat(np.arange(turns) * score.length_q, len(score.notes))
    notes[:, :2] /= second_q
    notes = notes[notes[:, 0] < duration_s - 0.1]
    notes[:, 1] = np.minimum(notes[:, 1], duration_s - notes[:, 0])
    notes = _without_unisons(notes)
    notes[:, 2] += _octaves_up(notes, REGISTERS[rendering.register])
    onsets = np.unique(notes[:, 0].round(3)).size
    polyphony = _polyphony(notes)
    notes[:, 0] = np.maximum(notes[:, 0] + rng.normal(0, 0.004, len(notes)), 0)
    notes[:, 1] *= 0.95
    notes[:, 3] = np.clip(rng.normal(88, 7, len(notes)).round(), 60, 112)
    return Performance(notes[np.argsort(notes[:, 0], kind="stable")], bpm, onsets / duration_s, polyphony)


def _without_unisons(notes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keep the longest of simultaneous notes on one pitch, as a synthesiser would end them together."""
    order = np.lexsort((-notes[:, 1], notes[:, 2], notes[:, 0].round(3)))
    onsets, pitches = notes[order, 0].round(3), notes[order, 2]
    first = np.insert((np.diff(onsets) != 0) | (np.diff(pitches) != 0), 0, True)
    longest: NDArray[np.float64] = notes[order[first]]
    return longest


def _octaves_up(notes: NDArray[np.float64], lowest: float) -> int:
    """Return the octave transposition in semitones that moves the mean pitch into the octave above `lowest`."""
    return 12 * math.ceil((lowest - float(np.average(notes[:, 2], weights=notes[:, 1]))) / 12)


def _polyphony(notes: NDArray[np.float64]) -> float:
    edges = np.concatenate([notes[:, 0], notes[:, 0] + notes[:, 1]])
    steps = np.repeat([1, -1], len(notes))
    order = np.lexsort((steps, edges))
    sounding, lengths = np.cumsum(steps[order])[:-1], np.diff(edges[order])
    return float(lengths[sounding > 1].sum() / lengths[sounding > 0].sum())
