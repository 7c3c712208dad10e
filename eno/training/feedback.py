"""What people say of predicted tags: one correction a line, only ever appended.

A line is JSON: ``time``, ``track_id``, ``tag``, ``family`` and ``verdict``. Of several about the same tag of a track
the last one counts.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from eno.data.labels.encoder import LabelEncoder
from eno.data.names import label_key
from eno.errors import LabelError

logger = logging.getLogger(__name__)

VERDICTS = ("accept", "add", "reject", "withdraw")
"""It has the tag, as predicted; it has it, though not predicted; it has it not; nothing is said any more."""

FAMILIES = ("genre", "descriptor")


@dataclass(frozen=True, kw_only=True)
class Correction:
    """What somebody says of a tag of a track.

    Attributes
    ----------
    time : str
        When, ISO 8601.
    track_id, tag : str
        Of what.
    family : str
        ``"genre"`` or ``"descriptor"``.
    verdict : str
        One of `VERDICTS`.
    """

    time: str
    track_id: str
    tag: str
    family: str
    verdict: str

    def __post_init__(self) -> None:
        if not all(isinstance(value, str) for value in asdict(self).values()):
            raise ValueError("a field is no text")
        if self.verdict not in VERDICTS or self.family not in FAMILIES:
            raise ValueError(f"verdict {self.verdict!r}, family {self.family!r}")

    @property
    def subject(self) -> tuple[str, str, str]:
        """Track, family and tag, whatever the case of its name."""
        return self.track_id, self.family, label_key(self.tag)


class Feedback:
    """The corrections of a file.

    Parameters
    ----------
    path : Path
        The file; it is made with the first correction. A line that is no correction is passed over with a warning.

    Raises
    ------
    LabelError
        The file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._latest: dict[tuple[str, str, str], Correction] = {}
        if path.exists():
            self._count(_read(path))

    def _count(self, corrections: Iterable[Correction]) -> None:
        for correction in corrections:
            self._latest.pop(correction.subject, None)  # so that the newest stands last
            if correction.verdict != "withdraw":
                self._latest[correction.subject] = correction

    def append(self, corrections: Iterable[Correction]) -> None:
        """Add corrections; when it returns they are on disk.

        Raises
        ------
        OSError
            The file cannot be written to.
        """
        new = list(corrections)
        lines = "".join(json.dumps(asdict(one)) + "\n" for one in new).encode()  # ASCII, whatever a name holds
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+") as file:
                if file.tell() and _last_byte(file.fileno(), file.tell()) != b"\n":  # a write that was cut off
                    lines = b"\n" + lines
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
            self._count(new)

    def latest(self) -> list[Correction]:
        """What counts, the oldest first."""
        with self._lock:
            return list(self._latest.values())

    def of_track(self, track_id: str) -> list[Correction]:
        """What counts of one track."""
        return [one for one in self.latest() if one.track_id == track_id]

    def apply(self, ids: list[str], labels: LabelEncoder, truth: np.ndarray) -> np.ndarray:
        """Set labels right.

        Parameters
        ----------
        ids : list of str
            Tracks.
        labels : LabelEncoder
            The vocabulary. A tag that is accepted also brings what it implies.
        truth : np.ndarray [shape=(n, num_labels)]
            Their labels; changed in place.

        Returns
        -------
        np.ndarray [shape=(n,), dtype=int64]
            How many corrections each track has got.
        """
        rows = {track_id: row for row, track_id in enumerate(ids)}
        counts = np.zeros(len(ids), np.int64)
        # Rejected last: somebody may accept a subgenre and yet reject what it implies.
        for one in sorted(self.latest(), key=lambda one: one.verdict == "reject"):
            row = rows.get(one.track_id)
            names = ([one.tag], None, None) if one.family == "genre" else (None, None, [one.tag])
            columns = np.flatnonzero(labels.encode(*names))
            if row is None or len(columns) == 0:
                continue
            if one.verdict == "reject":
                columns = columns[[label_key(labels.all_labels[place]) == label_key(one.tag) for place in columns]]
            truth[row, columns] = float(one.verdict != "reject")
            counts[row] += 1
        return counts


def _read(path: Path) -> Iterable[Correction]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise LabelError(f"{path}: cannot be read ({error.strerror}).") from error
    for number, line in enumerate(lines, 1):
        try:
            if line.strip():
                yield Correction(**json.loads(line))
        except (ValueError, TypeError) as error:
            logger.warning("%s, line %d: is no correction (%s)", path, number, error)


def _last_byte(descriptor: int, size: int) -> bytes:
    os.lseek(descriptor, size - 1, os.SEEK_SET)
    return os.read(descriptor, 1)
