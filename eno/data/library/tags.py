"""Reading of the tags of all formats into the same fields."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mutagen
from mutagen.apev2 import APENoHeaderError, APEv2
from mutagen.id3 import ID3
from mutagen.mp4 import MP4Tags

from eno.files import printable

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Tags:
    """Tags of a file; multiple artists or titles are joined with ``"; "``."""

    artist: str | None = None
    album_artist: str | None = None
    album: str | None = None
    title: str | None = None
    track_number: int | None = None
    disc_number: int | None = None
    year: int | None = None  # of the first release, like Lute's dates, or else of this release
    genres: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    moods: tuple[str, ...] = ()
    groupings: tuple[str, ...] = ()
    musicbrainz_recording_id: str | None = None
    musicbrainz_release_id: str | None = None
    musicbrainz_release_group_id: str | None = None
    spotify_album_id: str | None = None


# Field → names of its tags; the first one found is used. Names are in lower case without spaces, "_" and "-", except
# for ID3 frames and MP4 atoms. From MusicBrainz Picard's table of tag names.
_NAMES = {
    "artist": ("artist", "TPE1", "©ART", "author"),
    "album_artist": ("albumartist", "TPE2", "aART", "wm/albumartist", "ensemble"),
    "album": ("album", "TALB", "©alb", "wm/albumtitle", "product"),
    "title": ("title", "TIT2", "©nam"),
    "track_number": ("tracknumber", "track", "partnumber", "TRCK", "trkn", "wm/tracknumber"),
    "disc_number": ("discnumber", "disc", "TPOS", "disk", "wm/partofset"),
    "year": ("originaldate", "originalyear", "TDOR", "TORY", "wm/originalreleasetime", "wm/originalreleaseyear",
             "date", "datereleased", "TDRC", "TYER", "©day", "year", "wm/year"),
    "genres": ("genre", "TCON", "©gen", "wm/genre"),
    "styles": ("style", "wm/style"),
    "moods": ("mood", "TMOO", "wm/mood"),
    "groupings": ("grouping", "TIT1", "GRP1", "©grp", "contentgroup", "wm/contentgroupdescription"),
    "musicbrainz_recording_id": ("musicbrainztrackid", "UFID:http://musicbrainz.org", "musicbrainz/trackid"),
    "musicbrainz_release_id": ("musicbrainzalbumid", "musicbrainz/albumid"),
    "musicbrainz_release_group_id": ("musicbrainzreleasegroupid", "musicbrainz/releasegroupid"),
    "spotify_album_id": ("spotifyalbumid", "spotifyalbumuri"),
}  # fmt: skip
_USUAL = ("artist", "album", "title", "genres")
_WANTED = frozenset(name for names in _NAMES.values() for name in names)
_NUMBER = re.compile(r"^[^\d/]*(\d{1,6})(?!\d)")  # also A1 and 3/12, but no longer numbers
_YEAR = re.compile(r"(?<!\d)((?:1[5-9]|20)\d\d)(?:\d{4})?(?!\d)")  # also 19930517
_SPOTIFY_PREFIX = re.compile(r"^(?:spotify:album:|https?://open\.spotify\.com/album/)")


def read_tags(path: Path) -> Tags:
    """Read the tags of a file: ID3, Vorbis comments, MP4, ASF and APEv2, and what FFmpeg finds besides.

    Tags that mutagen finds come first, then an APEv2 block of formats with ID3, then those of FFmpeg: RIFF INFO, and
    Matroska, CAF and other formats. Tags are empty if the file has none or if they are damaged, since its audio may be
    intact.
    """
    values: dict[str, list[str]] = {}
    for reader in (_mutagen_values, _ape_values, _ffmpeg_values):
        if all(any(values.get(name) for name in _NAMES[field]) for field in _USUAL):
            break  # other blocks are copies
        try:
            found = reader(path)
        except Exception as error:  # damaged files raise many kinds of errors in mutagen
            logger.debug("%s: its tags cannot be read (%s)", printable(path), error)
            continue
        for names in _NAMES.values():
            if not any(values.get(name) for name in names):  # one field is never mixed of two blocks
                values |= {name: found[name] for name in names if name in found}

    def texts(field: str) -> list[str]:
        return next((values[name] for name in _NAMES[field] if values.get(name)), [])

    def text(field: str) -> str | None:
        return "; ".join(dict.fromkeys(texts(field))) or None

    def many(field: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one for text in texts(field) for part in text.split(";") if (one := part.strip())))

    def first(field: str, pattern: re.Pattern[str]) -> int | None:
        # A tag without a number, such as the original date "unknown", is skipped.
        found = (pattern.search(one) for name in _NAMES[field] for one in values.get(name, []))
        return next((int(match[1]) or None for match in found if match), None)

    spotify = next(iter(texts("spotify_album_id")), None)
    return Tags(
        **{name: text(name) for name in ("artist", "album_artist", "album", "title")},
        **{name: text(name) for name in _NAMES if name.startswith("musicbrainz")},
        track_number=first("track_number", _NUMBER),
        disc_number=first("disc_number", _NUMBER),
        year=first("year", _YEAR),
        genres=many("genres"),
        styles=many("styles"),
        moods=many("moods"),
        groupings=many("groupings"),
        spotify_album_id=_SPOTIFY_PREFIX.sub("", spotify) if spotify else None,
    )


def _mutagen_values(path: Path) -> dict[str, list[str]]:
    file = mutagen.File(path)
    return _values(file.tags) if file is not None and file.tags else {}


open_ape: Any = APEv2
"""Opens the APEv2 block of any file; mutagen has no types."""


def _ape_values(path: Path) -> dict[str, list[str]]:
    """Read an APEv2 block at the end of a file, which mutagen ignores in formats that it expects ID3 in."""
    try:
        return _values(open_ape(path))
    except APENoHeaderError:
        return {}


def _ffmpeg_values(path: Path) -> dict[str, list[str]]:
    return _values(other_tags(path))


def other_tags(path: Path) -> dict[str, list[str]]:
    """Read the tags that FFmpeg finds, by name; those of the container before those of the audio.

    The texts of RIFF INFO need not be UTF-8; others are read as Windows-1252, which most programs write.
    """
    import av  # takes 0.1 s and 30 MB

    found: dict[str, list[str]] = {}
    with path.open("rb") as file, av.open(file, "r", metadata_errors="surrogateescape") as container:
        for metadata in (container.metadata, *(stream.metadata for stream in container.streams.audio[:1])):
            for name, text in metadata.items():
                found.setdefault(name, [_decoded(text)])
    return found


def _decoded(text: str) -> str:
    raw = text.encode("utf-8", "surrogateescape")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def _values(tags: Any) -> dict[str, list[str]]:
    """Collect the texts of the wanted tags only, not of lyrics and pictures."""
    found: dict[str, list[str]] = {}
    for name, values in _id3_pairs(tags) if isinstance(tags, ID3) else _pairs(tags):
        if name in _WANTED and (kept := [text for text in _texts(values) if text]):
            found.setdefault(name, []).extend(kept)
    return found


def _id3_pairs(tags: Any) -> Iterator[tuple[str, Iterable[Any]]]:
    for frame in tags.values():
        if frame.FrameID == "UFID":
            yield f"UFID:{frame.owner}", [frame.data]
        elif frame.FrameID == "TXXX":
            yield _plain(frame.desc), frame.text
        elif frame.FrameID == "TCON":
            yield frame.FrameID, frame.genres  # resolves numbers of ID3v1's list
        elif frame.FrameID in _WANTED:  # other frames need not have texts: lists of people have pairs
            yield frame.FrameID, frame.text


def _pairs(tags: Any) -> Iterator[tuple[str, Iterable[Any]]]:
    for key, values in tags.items():
        if isinstance(tags, MP4Tags):
            name = _plain(key.rsplit(":", 1)[-1]) if key.startswith("----:") else key
        else:
            name = _plain(key)
        yield name, values if isinstance(values, list | tuple) else [getattr(values, "value", values)]


def _texts(values: Iterable[Any]) -> list[str]:
    """Return values as texts. One value may have several, separated by NUL; MP4 has pairs of number and total."""
    texts = []
    for value in values:
        if isinstance(value, tuple):
            value = value[0]
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        # Unpaired surrogates cannot be written to a table.
        text = str(getattr(value, "value", value)).encode("utf-8", "replace").decode("utf-8")
        texts += [part.strip() for part in text.split("\0")]
    return texts


def _plain(name: str) -> str:
    return re.sub(r"[ _-]", "", name.casefold())
