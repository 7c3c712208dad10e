"""The interface of executors: tasks in, one result per task out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from eno.audio.track_decoding import FileStamp
from eno.data.library.files import Track


@dataclass(frozen=True)
class Task:
    """A track to embed.

    Attributes
    ----------
    known_hash : str or None
        Hash of the samples that its vectors in the store were computed from; if it is still the same, nothing is
        encoded.
    """

    track: Track
    known_hash: str | None = None


@dataclass(frozen=True, eq=False)
class Embedded:
    """A track that was embedded.

    Attributes
    ----------
    starts_s : np.ndarray [shape=(n,), dtype=float64]
        Start of every window.
    vectors : np.ndarray [shape=(n, layers, dim), dtype=float32]
    """

    track: Track
    stamp: FileStamp
    duration_s: float
    starts_s: np.ndarray
    vectors: np.ndarray


@dataclass(frozen=True)
class Untouched:
    """A track whose file changed, but not its samples, so that its vectors are still right."""

    track: Track
    stamp: FileStamp


@dataclass(frozen=True)
class Failed:
    """A track that could not be embedded. The reason includes what to do."""

    track: Track
    reason: str


Result = Embedded | Untouched | Failed


class Executor(Protocol):
    """Embeds tracks: in this process, in several, or on a cluster."""

    def __call__(self, tasks: Sequence[Task], stop: Callable[[], bool]) -> Iterator[Result]:
        """Embed tracks.

        Once `stop` returns True, tasks under way are finished and no others begun. Results of all tasks that were begun
        are yielded in any order.
        """
