"""The audio files of a collection: finding them, reading their tags, keeping the table of tracks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eno.data.library.scanning import ScanReport as ScanReport
    from eno.data.library.scanning import read_tracks as read_tracks
    from eno.data.library.scanning import scan as scan


def __getattr__(name: str) -> Any:
    # Imported on first use, because processes that decode need this package but not PyArrow and mutagen.
    if name not in ("ScanReport", "read_tracks", "scan"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from eno.data.library import scanning

    return getattr(scanning, name)
