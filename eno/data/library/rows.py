"""Reading one audio file for the tracks table; runs in worker processes."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from eno.audio.reading import probe
from eno.data.library.cue import CueError
from eno.data.library.files import Track
from eno.data.library.outlines import Outline, own_outline
from eno.data.library.packets import packet_hash
from eno.data.library.tags import read_tags
from eno.errors import AudioError
from eno.files import printable

logger = logging.getLogger(__name__)


class RowRequest(NamedTuple):
    """A file to read, or only to hash if its rows are `known`; `outline` is that of a CUE sheet beside it."""

    track: Track
    known: list[dict[str, Any]] | None
    hash_audio: bool
    outline: Outline | None = None


def read_rows(request: RowRequest) -> list[dict[str, Any]]:
    """Return the row of a file, or those of its sections, with the reason as ``problem`` if it cannot be read."""
    track = request.track
    if request.known is not None:
        return _with_hash(request.known, track)
    row = empty_row(track)
    rows = [row]
    with _problem_recorded(row, track):
        info = probe(track.path, listen=False)
        row |= {name: getattr(info, name) for name in ("duration_s", "sample_rate", "channels", "container", "codec")}
        row |= vars(read_tags(track.path))
        row["cue_hash"] = None if request.outline is None else request.outline.cue_hash
        outline = request.outline or own_outline(track.path, track.id, info.container)
        rows = [row] if outline is None else _divided(row, outline)
    return _with_hash(rows, track) if request.hash_audio and "problem" not in row else rows


def _divided(row: dict[str, Any], outline: Outline) -> list[dict[str, Any]]:
    try:
        return outline.rows(row)
    except CueError as error:
        logger.warning("%s: stays one track, because %s does not fit (%s).", row["track_id"], outline.source, error)
        return [row]


def empty_row(track: Track) -> dict[str, Any]:
    """Return a row that only says which file it is."""
    return {"track_id": track.id, "size": track.size, "mtime_ns": track.mtime_ns}


def _with_hash(rows: list[dict[str, Any]], track: Track) -> list[dict[str, Any]]:
    with _problem_recorded(rows[0], track):
        digest = packet_hash(track.path)
        for row in rows:
            row["packet_hash"] = digest
            if row.get("start_s") is not None:
                section = f"{digest} {row['start_s']} {row['end_s']}"
                row["packet_hash"] = hashlib.sha256(section.encode()).hexdigest()
    return rows


@contextmanager
def _problem_recorded(row: dict[str, Any], track: Track) -> Iterator[None]:
    """Record in the row why its file cannot be read, so that one bad file does not stop the scan."""
    try:
        yield
    except AudioError as error:
        row["problem"] = printable(error.reason)  # may contain a name that is not UTF-8
    except Exception as error:
        logger.debug("%s", printable(track.path), exc_info=True)
        reason = (error.strerror if isinstance(error, OSError) else None) or f"{type(error).__name__}: {error}"
        row["problem"] = printable(f"cannot be read ({reason})")
