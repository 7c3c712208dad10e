"""Labels from the names of folders."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import pyarrow as pa

from eno.data.families import DESCRIPTOR, GENRE
from eno.data.imports.items import Item, split_labels
from eno.data.names import name_key
from eno.errors import CatalogueError

_FIELD = re.compile(r"\{(\w*)\}")
_NAMES = ("artist", "album")
FAMILY_OF = {"genres": GENRE, "style": GENRE, "styles": GENRE, "mood": DESCRIPTOR, "moods": DESCRIPTOR,
             "descriptors": DESCRIPTOR}  # fmt: skip
"""Family of labels by the usual names of fields and columns; other names are families themselves."""


def labels_of_folders(
    track_ids: Iterable[str], pattern: str = "{genre}", separators: str = ";|"
) -> tuple[list[Item], list[str]]:
    """Return the labels in the names of the folders around every track, and the tracks that do not fit the pattern.

    Folders are counted from the audio folder down. The first is the genre in each of ``genre/track`` (as in GTZAN),
    ``genre/album/track`` and ``genre/artist/album/track``; the folder above the album would be the genre in the second
    only, and the artist in the third.

    Parameters
    ----------
    pattern : str
        Folders from the audio folder down, such as ``"{genre}/{artist}/{album}"``. ``{artist}`` and ``{album}`` name
        the album, ``{}`` is ignored, every other name is a family of labels.
    separators : str
        Characters that separate several labels in the name of one folder.
    """
    fields = _FIELD.findall(pattern)
    if not any(name and name not in _NAMES for name in fields):
        raise CatalogueError(f"The pattern {pattern!r} names no labels; expected, for example, {{genre}}/{{artist}}.")
    parts = [_regex(part) for part in pattern.strip("/").split("/")]
    items, skipped = [], []
    for track_id in track_ids:
        folders = track_id.split("/")[:-1]
        found: dict[str, str] = {}
        matches = [part.fullmatch(folder) for part, folder in zip(parts, folders, strict=False)]
        if len(folders) < len(parts) or not all(matches):
            skipped.append(f"{track_id}: its folders do not fit {pattern}")
            continue
        for match in matches:
            found |= {name: value for name, value in (match.groupdict() if match else {}).items() if name[0] != "_"}
        items.append(Item([track_id], _labels(found, separators), found.get("artist"), found.get("album")))
    return items, skipped


def named_after_artists(items: Iterable[Item], tracks: pa.Table) -> tuple[int, int]:
    """Count the tracks with a label that is the artist in their tags, and those with an artist in their tags.

    Parameters
    ----------
    tracks : pyarrow.Table
        From `eno.data.library.scanning.read_tracks`.
    """
    columns = (tracks[name].to_pylist() for name in ("track_id", "artist", "album_artist"))
    artists = {track_id: {name_key(name) for name in names if name} for track_id, *names in zip(*columns, strict=True)}
    tagged = [(item, names) for item in items for track_id in item.track_ids if (names := artists.get(track_id))]
    return sum(any(name_key(label) in names for _, label in item.labels) for item, names in tagged), len(tagged)


def _labels(found: Mapping[str, str], separators: str) -> list[tuple[str, str]]:
    return [
        (FAMILY_OF.get(name, name), label)
        for name, text in found.items()
        if name not in _NAMES
        for label in split_labels(text, separators)
    ]


def _regex(part: str) -> re.Pattern[str]:
    numbers = iter(range(1_000_000))
    texts = _FIELD.split(part)
    names = [name or f"_{next(numbers)}" for name in texts[1::2]]
    pieces = [re.escape(texts[0])]
    for name, text in zip(names, texts[2::2], strict=True):
        pieces += [f"(?P<{name}>.+?)", re.escape(text)]
    try:
        return re.compile("".join(pieces))
    except re.error as error:
        raise CatalogueError(f"The pattern {part!r} is not usable ({error}). Use each name once.") from error
