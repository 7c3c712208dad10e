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
    """A track to embed, unless its samples still have the known hash, with which it is in the store."""

    track: Track
    known_hash: str | None = None


@dataclass(frozen=True, eq=False)
class Embedded:
    """A track that was embedded; `starts_s` has shape (n,), `vectors` (n, layers, dim)."""

    track: Track
    stamp: FileStamp
    duration_s: float
    starts_s: np.ndarray
    vectors: np.ndarray


@dataclass(frozen=True)
class Untouched:
    """A track whose file changed, but not its samples, so its vectors are still valid."""

    track: Track
    stamp: FileStamp


@dataclass(frozen=True)
class Failed:
    """A track that could not be embedded. The reason includes what to do.

    If `passing` is true, the file itself may be fine, and the next run tries it again.
    """

    track: Track
    reason: str
    passing: bool = False


Result = Embedded | Untouched | Failed


class Executor(Protocol):
    """Embeds tracks: in this process, in several, or on a cluster."""

    def __call__(self, tasks: Sequence[Task], stop: Callable[[], bool]) -> Iterator[Result]:
        """Yield a result for each track, in any order. Once `stop` returns True, no further tracks are started."""
