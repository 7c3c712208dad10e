"""The statistics of the exploration report, as data."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

LIMITS = (10, 30, 100, 300)
"""Minimum numbers of albums for which the report shows how many labels would be kept."""
PICTURE_S = 600
"""Maximum length of the pictured beginning of a track."""


@dataclass(frozen=True)
class Pair:
    """Two labels, the number of albums with both, and its ratio to the number expected if they were independent."""

    one: str
    other: str
    albums: int
    lift: float


@dataclass(frozen=True)
class LabelStatistics:
    """Distribution of the labels of one family.

    Attributes
    ----------
    counts : list of tuple
        Label and number of albums, most frequent first.
    per_album : dict of int to int
        Number of labels → number of albums that have that many.
    kept : list of tuple
        For each of `LIMITS`: the limit, number of labels that reach it, share of albums with at least one of these.
    """

    counts: list[tuple[str, int]]
    per_album: dict[int, int]
    kept: list[tuple[int, int, float]]


@dataclass(frozen=True)
class CoOccurrence:
    """Labels that occur together.

    Attributes
    ----------
    pairs : list of Pair
        Those with the highest lift.
    min_albums : int
        Minimum number of albums of a pair.
    labels : list of str
        The labels of the pairs, ordered by hierarchical clustering.
    lift : np.ndarray [shape=(k, k)]
        Lift of every pair of `labels`; nan on the diagonal.
    """

    pairs: list[Pair]
    min_albums: int
    labels: list[str]
    lift: np.ndarray


@dataclass(frozen=True)
class TrackPicture:
    """One track prepared for plotting.

    Attributes
    ----------
    labels : list of str
        Labels of its album.
    duration_s : float
        Length of the pictured part: the whole track, or its first `PICTURE_S`.
    envelope : np.ndarray [shape=(2, columns)]
        Minimum and maximum of the samples by column.
    start : np.ndarray [shape=(samples,)]
        The first five seconds at `sample_rate`.
    mel_db : np.ndarray [shape=(128, frames)]
        Mel spectrogram in decibels, with the guide's FFT of 2048 samples and hop of 512.
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
    """Statistics of the audio files.

    Attributes
    ----------
    durations_s : np.ndarray [shape=(n,)]
        Lengths of the readable files.
    shortest, longest : list of tuple
        Track id and seconds.
    formats : list of tuple
        Container, codec, sample rate, channels, number of files.
    problems : list of tuple
        Reason, number of unreadable files, one of them.
    """

    durations_s: np.ndarray
    shortest: list[tuple[str, float]]
    longest: list[tuple[str, float]]
    formats: list[tuple[str, str, int, int, int]]
    problems: list[tuple[str, int, str]]


@dataclass(frozen=True)
class Exploration:
    """Everything that the report shows. Statistics without a source are None.

    Attributes
    ----------
    overview : list of tuple of str
        Name and value.
    hints : list of str
        Which command creates a missing source.
    years : dict of int to int
        Albums by decade.
    incomplete : list of tuple
        Album, number of its files, number of its tracks in the catalogue; where these differ.
    splits : list of tuple
        Split, tracks, albums.
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
