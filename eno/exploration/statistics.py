"""The data of the exploration report."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

LIMITS = (10, 30, 100, 300)
"""Minimum numbers of albums per label; the report shows how many labels each would keep."""
PICTURE_S = 600
"""Longer tracks are only pictured up to this length."""


@dataclass(frozen=True)
class Pair:
    """Two labels that occur together."""

    one: str
    other: str
    albums: int  # with both labels
    lift: float  # albums with both, relative to the number expected if the labels were independent


@dataclass(frozen=True)
class LabelStatistics:
    """Distribution of the labels of one family."""

    counts: list[tuple[str, int]]  # label and number of albums, most frequent first
    per_album: dict[int, int]  # number of labels → number of albums with that many
    kept: list[tuple[int, int, float]]  # for each of `LIMITS`: limit, labels kept, share of albums with a kept label


@dataclass(frozen=True)
class CoOccurrence:
    """Pairs of labels that occur together."""

    pairs: list[Pair]  # those with the highest lift
    min_albums: int  # minimum number of albums of a pair
    labels: list[str]  # of the pairs, ordered by hierarchical clustering
    lift: np.ndarray  # of all pairs of `labels` [shape=(k, k)]; nan on the diagonal


@dataclass(frozen=True)
class TrackPicture:
    """One track prepared for plotting."""

    track_id: str
    labels: list[str]  # of its album
    duration_s: float  # of the pictured part: the whole track, or its first `PICTURE_S`
    envelope: np.ndarray  # minimum and maximum of the samples by column [shape=(2, columns)]
    start: np.ndarray  # the first five seconds [shape=(samples,)]
    mel_db: np.ndarray  # mel spectrogram, with the guide's FFT of 2048 samples and hop of 512 [shape=(128, frames)]
    sample_rate: int  # of `start`


@dataclass(frozen=True)
class AudioStatistics:
    """Statistics of the audio files."""

    durations_s: np.ndarray  # of the readable files [shape=(n,)]
    shortest: list[tuple[str, float]]  # track id and seconds
    longest: list[tuple[str, float]]
    formats: list[tuple[str, str, int, int, int]]  # container, codec, sample rate, channels, number of files
    problems: list[tuple[str, int, str]]  # reason, number of unreadable files, one of them


@dataclass(frozen=True)
class Exploration:
    """The content of the report. Statistics without data are None."""

    overview: list[tuple[str, str]]  # name and value
    hints: list[str]  # commands that create missing tables
    genres: LabelStatistics
    descriptors: LabelStatistics
    others: dict[str, LabelStatistics]  # of other families
    co_occurrence: CoOccurrence | None
    years: dict[int, int]  # decade → number of albums
    audio: AudioStatistics | None
    incomplete: list[tuple[str, int, int]]  # albums whose numbers of files and of listed tracks differ
    splits: list[tuple[str, int, int]]  # split, tracks, albums
    track: TrackPicture | None = field(repr=False)
