"""Read the notes of scores with music21 into arrays."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from eno.errors import EnoError
from scripts.demo.catalogue import METRES, Tune, corpus_folder
from scripts.demo.headers import abc_tunes

_Note: TypeAlias = tuple[float, float, float, bool]  # onset, duration, pitch, and whether it goes on from another one

# A note or rest in Humdrum: beginning of a tie, length, dots, pitch, accidental, end of a tie.
_KERN = re.compile(r"(\[?)(\d+)(\.*)([A-Ga-g]+|r)(#*|-*|n)([\]_]?)")
_STEPS = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}

MIN_NOTES = 24
MIN_BEATS = 12

# Probe-tone ratings of Krumhansl and Kessler (1982) for C major and C minor.
_MAJOR = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
_MINOR = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])


class UnusableScore(EnoError):
    """A score that cannot be used in the corpus, with the reason."""


@dataclass(frozen=True)
class Score:
    """The notes of a tune.

    Attributes
    ----------
    notes : np.ndarray [shape=(n, 4)]
        Onset and duration in quarter notes, MIDI pitch, and number of the part, sorted by onset.
    length_q : float
        Length of the tune in quarter notes, including rests.
    """

    notes: NDArray[np.float64]
    length_q: float


def read_score(tune: Tune) -> Score:
    """Parse a tune up to the first change of its metre class.

    Raises
    ------
    UnusableScore
        music21 cannot parse it, it is too short, or its notes contradict its written mode.
    """
    path, _, index = tune.id.partition("#")
    file = corpus_folder() / path
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the corpus has overfull bars, which music21 corrects
            if tune.style.source.texture == "monophonic":
                rows, length_q = list(_abc_notes(_abc_file(file)[int(index)])), None
            else:
                rows, length_q = _part_notes(file, tune.metre)
    except UnusableScore:
        raise
    except Exception as error:  # one file that the parser fails on must not stop the build
        raise UnusableScore(f"music21 cannot parse it: {error!r}") from error
    if len(rows) < MIN_NOTES:
        raise UnusableScore(f"it has {len(rows)} notes, fewer than {MIN_NOTES}")
    notes = np.array(sorted(rows), dtype=np.float64)
    score = Score(notes, length_q or float((notes[:, 0] + notes[:, 1]).max()))
    if score.length_q < MIN_BEATS * tune.beat_q:
        raise UnusableScore(f"it is shorter than {MIN_BEATS} beats")
    if tune.mode is not None and estimated_mode(score) != tune.mode:
        raise UnusableScore(f"its written mode is {tune.mode}, but its notes are not")
    return score


def estimated_mode(score: Score) -> str:
    """Return the mode of the key whose Krumhansl–Kessler profile correlates best with the pitch class durations."""
    classes = score.notes[:, 2].astype(int) % 12
    sounding = np.bincount(classes, weights=score.notes[:, 1], minlength=12)

    def best(profile: NDArray[np.float64]) -> float:
        return max(float(np.corrcoef(sounding, np.roll(profile, tonic))[0, 1]) for tonic in range(12))

    return "major" if best(_MAJOR) >= best(_MINOR) else "minor"


def melodic_shingles(score: Score, beat_q: float) -> frozenset[tuple[int, ...]]:
    """Return melodic fingerprints of a tune: runs of intervals in semitones from the start of its parts.

    They are the runs of 12 intervals among the first 48 notes of each part, and of 10 intervals between the first 32
    beats of the highest part. Two settings of a tune share a run even if they differ in key, upbeat, rhythm or
    ornamentation, so tunes that share any run count as duplicates.
    """
    shingles: set[tuple[int, ...]] = set()
    lines = []
    for number in np.unique(score.notes[:, 3]):
        part = score.notes[score.notes[:, 3] == number]
        lines.append(part[np.append(np.diff(part[:, 0]) > 0, True)])  # sorted by pitch within a chord
        shingles |= _runs(lines[-1][:48, 2], 12)
    melody = max(lines, key=lambda line: float(line[:, 2].mean()))
    for upbeat_q in beat_q * np.array([0, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4]):
        beats = np.arange(melody[0, 0] + upbeat_q, score.length_q, beat_q)[:32]
        shingles |= _runs(melody[np.searchsorted(melody[:, 0], beats + 1e-6) - 1, 2], 10)
    return frozenset(shingles)


def _runs(pitches: NDArray[np.float64], length: int) -> set[tuple[int, ...]]:
    """Return the runs of intervals except monotonous ones, which different tunes share."""
    intervals = np.diff(pitches).astype(int).tolist()
    runs = (tuple(intervals[start : start + length]) for start in range(len(intervals) - length + 1))
    return {run for run in runs if len(set(run)) > 3}


@functools.lru_cache(maxsize=4)
def _abc_file(path: Path) -> list[str]:
    return abc_tunes(path.read_text("utf-8"))


def _abc_notes(text: str) -> Iterator[tuple[float, float, float, int]]:
    """Read the notes from music21's ABC tokens, which is ten times as fast as its streams."""
    from music21.abcFormat import ABCChord, ABCFile, ABCNote
    from music21.pitch import Pitch

    onset_q, held = 0.0, None
    for token in ABCFile().readstr(text).tokens:
        if isinstance(token, ABCChord):
            raise UnusableScore("it has chords")
        if not isinstance(token, ABCNote) or token.inGrace:
            continue
        duration_q = float(token.quarterLength)
        if token.activeTuplet is not None:
            duration_q *= float(token.activeTuplet.tupletMultiplier())
        pitch = None if token.isRest else float(Pitch(token.pitchName).midi)
        if held is not None and token.tie in ("stop", "continue") and pitch == held[2]:
            held = (held[0], held[1] + duration_q, held[2], 0)
        else:
            if held is not None:
                yield held
            held = None if pitch is None else (onset_q, duration_q, pitch, 0)
        onset_q += duration_q
    if held is not None:
        yield held


@functools.lru_cache(maxsize=1024)  # half a second each, and renditions read their scores again
def _part_notes(path: Path, metre: str) -> tuple[list[tuple[float, float, float, int]], float]:
    """Read the notes of all parts up to a change of the metre class, with ties joined, and the end of the last."""
    if path.suffix == ".krn":
        return _kern_notes(path.read_text("latin-1"))
    from music21 import converter

    score: Any = converter.parse(path, forceSource=True, storePickle=False)
    parts = [part.flatten() for part in score.parts]
    if len(parts) < 2:
        raise UnusableScore("it has one part only")
    changes = [
        float(time.offset)
        for time in parts[0].getElementsByClass("TimeSignature")
        if METRES.get(time.ratioString, ("", 0.0))[0] != metre
    ]
    end_q = min([*changes, float(score.duration.quarterLength)])
    rows = []
    for number, voice in enumerate(parts):
        rows += [row for row in _joined(_sounding(voice), number) if row[0] < end_q]
    cut = [(onset, min(duration, end_q - onset), pitch, part) for onset, duration, pitch, part in rows]
    return cut, end_q


def _kern_notes(text: str) -> tuple[list[tuple[float, float, float, int]], float]:
    """Read a Humdrum file in which every spine is a voice without chords, as Palestrina's masses are.

    music21 gives the same notes, after a second per file.
    """
    parts: list[list[_Note]] = []
    ends: list[float] = []
    for line in text.splitlines():
        if line.startswith("**"):
            parts, ends = [[] for _ in line.split("\t")], [0.0] * (line.count("\t") + 1)
        if line.startswith("*M") and max(ends) > 0:
            raise UnusableScore("its metre changes")
        if line[:1] in "!*=":  # also empty lines
            continue
        for number, token in enumerate(line.split("\t")):
            if token == ".":  # what began before goes on
                continue
            found = _KERN.fullmatch(token)
            if found is None:
                raise UnusableScore(f"its token {token!r} is not of a single voice")
            tie, length, dots, letters, accidental, untie = found.groups()
            duration_q = (4 * 2 ** len(length) if length.strip("0") == "" else 4 / int(length)) * (2 - 0.5 ** len(dots))
            if letters != "r":
                octave = 4 + len(letters) if letters.islower() else 5 - len(letters)
                step = _STEPS[letters[0].lower()] + accidental.count("#") - accidental.count("-")
                parts[number].append((ends[number], duration_q, float(12 * octave + step), bool(untie) and not tie))
            ends[number] += duration_q
    if len(parts) < 2:
        raise UnusableScore("it has one part only")
    # The lowest voice stands first in a Humdrum file, the highest in a score.
    return [row for number, part in enumerate(reversed(parts)) for row in _joined(part, number)], max(ends)


def _sounding(part: Any) -> Iterator[_Note]:
    """Yield the notes of a part of music21."""
    for element in part.notes:
        if not element.duration.isGrace:
            for note in element.notes if element.isChord else (element,):
                goes_on = note.tie is not None and note.tie.type in ("stop", "continue")
                yield float(element.offset), float(element.quarterLength), float(note.pitch.midi), goes_on


def _joined(notes: Iterable[_Note], number: int) -> list[tuple[float, float, float, int]]:
    held: dict[float, int] = {}
    rows: list[tuple[float, float, float, int]] = []
    for onset, duration, pitch, goes_on in notes:
        if goes_on and pitch in held:
            first = rows[held[pitch]]
            rows[held[pitch]] = (first[0], onset + duration - first[0], pitch, number)
        else:
            held[pitch] = len(rows)
            rows.append((onset, duration, pitch, number))
    return rows
