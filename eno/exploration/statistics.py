"""The figures of the exploration phase, as data."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

LIMITS = (10, 30, 100, 300)
"""Minimum numbers of albums for which is shown what they would keep."""
PICTURE_S = 600
"""So many seconds of a track at most are pictured."""


@dataclass(frozen=True)
class Pair:
    """Two labels that go together.

    Attributes
    ----------
    one, other : str
    albums : int
        Albums that have both.
    lift : float
        How many times as many as there would be if they had nothing to do with each other.
    """

    one: str
    other: str
    albums: int
    lift: float


@dataclass(frozen=True)
class LabelStatistics:
    """How the labels of one field or family are distributed.

    Attributes
    ----------
    counts : list of tuple
        Label and its albums, the frequent ones first.
    per_album : dict of int to int
        How many albums have so many of them.
    kept : list of tuple
        For each of `LIMITS`: the limit, labels that reach it, share of the albums with at least one of these.
    """

    counts: list[tuple[str, int]]
    per_album: dict[int, int]
    kept: list[tuple[int, int, float]]


@dataclass(frozen=True)
class CoOccurrence:
    """Which labels go together.

    Attributes
    ----------
    pairs : list of Pair
        The strongest.
    min_albums : int
        A pair needs so many, so that chance is not taken for strength.
    labels : list of str
        Those of the strongest pairs, ordered so that what goes together is together.
    lift : np.ndarray [shape=(k, k)]
        Lift of every two of them; nan on the diagonal.
    """

    pairs: list[Pair]
    min_albums: int
    labels: list[str]
    lift: np.ndarray


@dataclass(frozen=True)
class TrackPicture:
    """One track to look at.

    Attributes
    ----------
    track_id : str
    labels : list of str
        Of its album.
    duration_s : float
        Of what is pictured: the whole track, or its first `PICTURE_S`.
    envelope : np.ndarray [shape=(2, columns)]
        Smallest and largest sample of each stretch.
    start : np.ndarray [shape=(samples,)]
        The first five seconds at `sample_rate`.
    mel_db : np.ndarray [shape=(128, frames)]
        Mel spectrogram in decibels, as the guide makes it: FFT of 2048 samples, hop of 512.
    sample_rate : int
    """

    track_id: str
    labels: list[str]
    duration_s: float
    envelope: np.ndarray
    start: np.ndarray
    mel_db: np.ndarray
    sample_rate: int


@dataclass(frozen=True)
class AudioStatistics:
    """What the audio files are like.

    Attributes
    ----------
    durations_s : np.ndarray [shape=(n,)]
        Of the readable ones.
    shortest, longest : list of tuple
        Track id and seconds.
    formats : list of tuple
        Container, coding, sample rate, channels, number of files.
    problems : list of tuple
        Reason, number of files, one of them.
    """

    durations_s: np.ndarray
    shortest: list[tuple[str, float]]
    longest: list[tuple[str, float]]
    formats: list[tuple[str, str, int, int, int]]
    problems: list[tuple[str, int, str]]


@dataclass(frozen=True)
class Exploration:
    """Everything that a report shows. What has no source yet is None, and `hints` says how to come by it.

    Attributes
    ----------
    overview : list of tuple of str
        Name and figure.
    hints : list of str
    genres, descriptors : LabelStatistics
    co_occurrence : CoOccurrence or None
    years : dict of int to int
        Albums by decade.
    audio : AudioStatistics or None
    incomplete : list of tuple
        Album, tracks that it has here, tracks that it is listed with; where they differ.
    splits : list of tuple
        Part, tracks, albums.
    track : TrackPicture or None
    """

    overview: list[tuple[str, str]]
    hints: list[str]
    genres: LabelStatistics
    descriptors: LabelStatistics
    co_occurrence: CoOccurrence | None
    years: dict[int, int]
    audio: AudioStatistics | None
    incomplete: list[tuple[str, int, int]]
    splits: list[tuple[str, int, int]]
    track: TrackPicture | None = field(repr=False)
