"""Reading one audio file for the tracks table; runs in worker processes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from eno.audio.reading import probe
from eno.data.library.files import Track
from eno.data.library.packets import packet_hash
from eno.data.library.tags import read_tags
from eno.errors import AudioError
from eno.files import printable

logger = logging.getLogger(__name__)


class RowRequest(NamedTuple):
    """A file to read, or only to hash if its row is `known`."""

    track: Track
    known: dict[str, Any] | None
    hash_audio: bool


def read_row(request: RowRequest) -> dict[str, Any]:
    """Return the row of a file, with the reason as its ``problem`` if it cannot be read."""
    track = request.track
    if request.known is not None:
        return _with_hash(request.known, track)
    row = empty_row(track)
    with _problem_recorded(row, track):
        info = probe(track.path, listen=False)
        row |= {name: getattr(info, name) for name in ("duration_s", "sample_rate", "channels", "container", "codec")}
        row |= vars(read_tags(track.path))
    return _with_hash(row, track) if request.hash_audio and "problem" not in row else row


def empty_row(track: Track) -> dict[str, Any]:
    """Return a row that only says which file it is."""
    return {"track_id": track.id, "size": track.size, "mtime_ns": track.mtime_ns}


def _with_hash(row: dict[str, Any], track: Track) -> dict[str, Any]:
    with _problem_recorded(row, track):
        row["packet_hash"] = packet_hash(track.path)
    return row


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
