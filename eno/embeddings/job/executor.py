"""What goes into a run, and what comes out of it: one task a track, one result a task."""

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
    track : Track
        The track.
    known_hash : str or None
        Hash of the samples that its vectors in the store were made of; if they are still the same, nothing is encoded.
    """

    track: Track
    known_hash: str | None = None


@dataclass(frozen=True, eq=False)
class Embedded:
    """A track that was embedded.

    Attributes
    ----------
    track : Track
        The track.
    stamp : FileStamp
        What its file was.
    duration_s : float
        How long it is.
    starts_s : np.ndarray [shape=(n,), dtype=float64]
        Where its windows begin.
    vectors : np.ndarray [shape=(n, layers, dim), dtype=float32]
        Their vectors.
    """

    track: Track
    stamp: FileStamp
    duration_s: float
    starts_s: np.ndarray
    vectors: np.ndarray


@dataclass(frozen=True)
class Untouched:
    """A track whose file changed, but not what is heard: its vectors stay.

    Attributes
    ----------
    track : Track
        The track.
    stamp : FileStamp
        What its file is by now.
    """

    track: Track
    stamp: FileStamp


@dataclass(frozen=True)
class Failed:
    """A track that could not be embedded.

    Attributes
    ----------
    track : Track
        The track.
    reason : str
        What is wrong and what to do.
    """

    track: Track
    reason: str


Result = Embedded | Untouched | Failed


class Executor(Protocol):
    """Something that embeds tracks: in this process, in several, or on a cluster."""

    def __call__(self, tasks: Sequence[Task], stop: Callable[[], bool]) -> Iterator[Result]:
        """Embed tracks.

        Parameters
        ----------
        tasks : sequence of Task
            The tracks.
        stop : callable
            Once it says so, what is under way is finished and nothing more begun.

        Yields
        ------
        Result
            One for each task that was begun, in any order.
        """
