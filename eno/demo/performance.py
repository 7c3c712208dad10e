"""Scores → timed notes, and what can be measured on them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eno.demo.instruments import REGISTERS, TEMPI, Rendering
from eno.demo.scores import Score

SPARSE, DENSE = 2.0, 5.0
"""Onsets a second below which music is called sparse, and above which dense."""

POLYPHONIC = 0.5
"""Share of the time in which more than one note sounds, from which on music counts as polyphonic."""


@dataclass(frozen=True)
class Performance:
    """The notes that one track plays.

    Attributes
    ----------
    notes : np.ndarray [shape=(n, 4)]
        Onset and duration in seconds, MIDI pitch, and velocity; in the order of onset.
    bpm : float
        Beats a minute.
    onsets_per_s : float
        Different onsets a second: a chord counts once.
    polyphony : float
        Share of the time with more than one note, of the time with any.
    """

    notes: NDArray[np.float64]
    bpm: float
    onsets_per_s: float
    polyphony: float

    @property
    def density(self) -> str:
        """``"sparse"``, ``"medium"`` or ``"dense"``."""
        if self.onsets_per_s < SPARSE:
            return "sparse"
        return "dense" if self.onsets_per_s > DENSE else "medium"


def perform(
    score: Score, *, beat_q: float, rendering: Rendering, duration_s: float, rng: np.random.Generator
) -> Performance:
    """Play a score at the tempo and in the register of its album, again and again until the time is up.

    Parameters
    ----------
    score : Score
    beat_q : float
        The written beat in quarter notes.
    rendering : Rendering
    duration_s : float
        Length of the track.
    rng : np.random.Generator
        Source of the small differences between tracks: up to 5 % of tempo, loudness, timing.

    Returns
    -------
    Performance
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
    """Keep the longest of notes that start together on one pitch: a synthesiser would end them together."""
    order = np.lexsort((-notes[:, 1], notes[:, 2], notes[:, 0].round(3)))
    onsets, pitches = notes[order, 0].round(3), notes[order, 2]
    first = np.insert((np.diff(onsets) != 0) | (np.diff(pitches) != 0), 0, True)
    longest: NDArray[np.float64] = notes[order[first]]
    return longest


def _octaves_up(notes: NDArray[np.float64], lowest: float) -> int:
    """Find the octaves, in semitones, that bring the mean pitch to `lowest` or less than an octave above."""
    return 12 * math.ceil((lowest - float(np.average(notes[:, 2], weights=notes[:, 1]))) / 12)


def _polyphony(notes: NDArray[np.float64]) -> float:
    edges = np.concatenate([notes[:, 0], notes[:, 0] + notes[:, 1]])
    steps = np.repeat([1, -1], len(notes))
    order = np.lexsort((steps, edges))
    sounding, lengths = np.cumsum(steps[order])[:-1], np.diff(edges[order])
    return float(lengths[sounding > 1].sum() / lengths[sounding > 0].sum())
