"""Tags inside audio files, the same few from every kind of file."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mutagen
from mutagen.id3 import ID3
from mutagen.mp4 import MP4Tags

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Tags:
    """What a file says of its music; None where it says nothing.

    Attributes
    ----------
    artist, album_artist, album, title : str, optional
        Several artists are joined with ``"; "``.
    track_number, disc_number : int, optional
        Counted from 1.
    year : int, optional
        That of the first release where the file knows it, since Lute's dates are such; otherwise of this one.
    genres : tuple of str
    musicbrainz_recording_id, musicbrainz_release_id, musicbrainz_release_group_id, spotify_album_id : str, optional
    """

    artist: str | None = None
    album_artist: str | None = None
    album: str | None = None
    title: str | None = None
    track_number: int | None = None
    disc_number: int | None = None
    year: int | None = None
    genres: tuple[str, ...] = ()
    musicbrainz_recording_id: str | None = None
    musicbrainz_release_id: str | None = None
    musicbrainz_release_group_id: str | None = None
    spotify_album_id: str | None = None


# Field → its names, the first one that is there counts. Names are in lower case without spaces, "_" and "-"; ID3 frames
# and MP4 atoms stand for themselves. After Picard's table of tag names.
_NAMES = {
    "artist": ("artist", "TPE1", "©ART", "author"),
    "album_artist": ("albumartist", "TPE2", "aART", "wm/albumartist", "ensemble"),
    "album": ("album", "TALB", "©alb", "wm/albumtitle"),
    "title": ("title", "TIT2", "©nam"),
    "track_number": ("tracknumber", "track", "TRCK", "trkn", "wm/tracknumber"),
    "disc_number": ("discnumber", "disc", "TPOS", "disk", "wm/partofset"),
    "year": ("originaldate", "originalyear", "TDOR", "TORY", "wm/originalreleasetime", "wm/originalreleaseyear",
             "date", "TDRC", "TYER", "©day", "year", "wm/year"),
    "genres": ("genre", "TCON", "©gen", "wm/genre"),
    "musicbrainz_recording_id": ("musicbrainztrackid", "UFID:http://musicbrainz.org", "musicbrainz/trackid"),
    "musicbrainz_release_id": ("musicbrainzalbumid", "musicbrainz/albumid"),
    "musicbrainz_release_group_id": ("musicbrainzreleasegroupid", "musicbrainz/releasegroupid"),
    "spotify_album_id": ("spotifyalbumid", "spotifyalbumuri"),
}  # fmt: skip
_MORE_MP4 = {"gnre": "genre"}
_NUMBER = re.compile(r"\d+")
_YEAR = re.compile(r"(?<!\d)(?:1[5-9]|20)\d\d(?!\d)")
_SPOTIFY_PREFIX = re.compile(r"^(?:spotify:album:|https?://open\.spotify\.com/album/)")


def read_tags(path: Path) -> Tags:
    """Read the tags of a file.

    Parameters
    ----------
    path : Path
        ID3 (MP3, WAV, AIFF), Vorbis comments (FLAC, Ogg, Opus), MP4, ASF (WMA) and APEv2 (WavPack, Monkey's Audio) are
        understood.

    Returns
    -------
    Tags
        Empty ones for a file without tags, or with tags that are damaged: the audio may be fine.
    """
    try:
        file = mutagen.File(path)
    except Exception as error:  # mutagen lets many kinds of error through on damaged files
        logger.debug("%s: its tags cannot be read (%s)", path, error)
        return Tags()
    if file is None or not file.tags:
        return Tags()
    values = _values(file.tags)

    def texts(field: str) -> list[str]:
        return next((values[name] for name in _NAMES[field] if values.get(name)), [])

    def text(field: str) -> str | None:
        return "; ".join(dict.fromkeys(texts(field))) or None

    def first(field: str, pattern: re.Pattern[str]) -> int | None:
        found = (pattern.search(one) for one in texts(field))
        return next((int(match[0]) for match in found if match), None)

    spotify = next(iter(texts("spotify_album_id")), None)
    return Tags(
        **{name: text(name) for name in ("artist", "album_artist", "album", "title")},
        **{name: text(name) for name in _NAMES if name.startswith("musicbrainz")},
        track_number=first("track_number", _NUMBER),
        disc_number=first("disc_number", _NUMBER),
        year=first("year", _YEAR),
        genres=tuple(dict.fromkeys(texts("genres"))),
        spotify_album_id=_SPOTIFY_PREFIX.sub("", spotify) if spotify else None,
    )


def _values(tags: Any) -> dict[str, list[str]]:
    pairs = _id3_pairs(tags) if isinstance(tags, ID3) else _pairs(tags)
    found: dict[str, list[str]] = {}
    for name, values in pairs:
        kept = [value for value in values if value]
        if kept:
            found.setdefault(name, []).extend(kept)
    return found


def _id3_pairs(tags: Any) -> Iterator[tuple[str, list[str]]]:
    for frame in tags.values():
        if frame.FrameID == "UFID":
            yield f"UFID:{frame.owner}", [frame.data.decode("ascii", "replace").strip()]
        elif frame.FrameID == "TXXX":
            yield _plain(frame.desc), _texts(frame.text)
        elif frame.FrameID == "TCON":
            yield frame.FrameID, _texts(frame.genres)  # which resolves numbers of ID3v1's list
        elif frame.FrameID.startswith("T"):
            yield frame.FrameID, _texts(frame.text)


def _pairs(tags: Any) -> Iterator[tuple[str, list[str]]]:
    items = tags.items() if hasattr(tags, "items") else tags
    merged: dict[str, list[str]] = {}
    for key, values in items:
        listed = values if isinstance(values, list | tuple) else getattr(values, "value", values)
        listed = listed.split("\0") if isinstance(listed, str) else listed
        if not isinstance(listed, list | tuple):
            continue
        if isinstance(tags, MP4Tags) and key.startswith("----:"):
            key = _plain(key.rsplit(":", 1)[-1])
        elif not isinstance(tags, MP4Tags):
            key = _plain(key)
        merged.setdefault(_MORE_MP4.get(key, key), []).extend(_texts(listed))
    yield from merged.items()


def _texts(values: Iterable[Any]) -> list[str]:
    """Give values as text; numbers of MP4 come as pairs of number and total, pictures and the like are passed over."""
    texts = []
    for value in values:
        if isinstance(value, tuple):
            texts.append(str(value[0] or ""))
        elif isinstance(value, bytes):
            texts += value.decode("utf-8", "replace").split("\0") if len(value) < 1000 else []
        else:
            texts += str(getattr(value, "value", value)).split("\0")
    return [text.strip() for text in texts]


def _plain(name: str) -> str:
    return re.sub(r"[ _-]", "", name.casefold())
