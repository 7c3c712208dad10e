"""Reading, writing and restoring genre, mood, style, grouping and fields of one's own in audio files of all formats.

The names are those of MusicBrainz Picard; STYLE, which Picard lacks, and fields of one's own, such as INSTRUMENTS, are
named as in Mp3tag and other programs:

========  ==========  ==========  ========  ========  ============================  ==========================
field     ID3v2.4     ID3v2.3     Vorbis    APEv2     MP4                           ASF
========  ==========  ==========  ========  ========  ============================  ==========================
genre     TCON        TCON        GENRE     Genre     ©gen                          WM/Genre
mood      TMOO        TXXX:MOOD   MOOD      Mood      ----:com.apple.iTunes:MOOD    WM/Mood
style     TXXX:STYLE  TXXX:STYLE  STYLE     Style     ----:com.apple.iTunes:STYLE   WM/Style
grouping  TIT1        TIT1        GROUPING  Grouping  ©grp                          WM/ContentGroupDescription
other     TXXX:OTHER  TXXX:OTHER  OTHER     Other     ----:com.apple.iTunes:OTHER   OTHER
========  ==========  ==========  ========  ========  ============================  ==========================

ID3v2.3 has no lists, so several values are one text there, separated by "; ".

TMOO only exists in ID3v2.4. ``TXXX:MOOD`` is not written beside it, since readers merge the two and would show every
mood twice.
"""

from __future__ import annotations

import base64
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import mutagen
from mutagen.apev2 import TEXT, APENoHeaderError, APEv2, APEv2File
from mutagen.asf import ASFTags
from mutagen.flac import VCFLACDict
from mutagen.id3 import ID3, TCON, TIT1, TMOO, TXXX, ID3FileType
from mutagen.mp4 import MP4FreeForm, MP4Tags
from mutagen.oggflac import OggFLACVComment
from mutagen.oggopus import OggOpusVComment
from mutagen.oggspeex import OggSpeexVComment
from mutagen.oggvorbis import OggVCommentDict

from eno.audio.audio_file import check_is_file
from eno.data.library.tags import open_ape, other_tags
from eno.errors import AudioError
from eno.files import printable
from eno.tagfiles.field_names import FIELDS

logger = logging.getLogger(__name__)

_UTF8 = 3
_SEPARATOR = "; "
_TEXT_FRAMES: dict[str, Any] = {"TCON": TCON, "TIT1": TIT1, "TMOO": TMOO, "TXXX": TXXX}
_FRAMES = {"genre": ("TCON",), "mood": ("TMOO", "TXXX"), "grouping": ("TIT1",)}  # others are TXXX
_KEYS = {
    "MP4": {"genre": "©gen", "grouping": "©grp"},
    "ASF": {"genre": "WM/Genre", "mood": "WM/Mood", "style": "WM/Style", "grouping": "WM/ContentGroupDescription"},
}
_FREE: Any = MP4FreeForm
_open_ape_block: Any = APEv2File
_KINDS: tuple[tuple[str, Any], ...] = (
    ("ID3", ID3), ("Vorbis", (VCFLACDict, OggVCommentDict, OggOpusVComment, OggFLACVComment, OggSpeexVComment)),
    ("APEv2", APEv2), ("MP4", MP4Tags), ("ASF", ASFTags),
)  # fmt: skip


class TagFile:
    """The fields of an audio file. `like` is a file of the same format, for copies whose names do not reveal it.

    Attributes
    ----------
    kind : str
        ``"ID3"``, ``"Vorbis"``, ``"APEv2"``, ``"MP4"`` or ``"ASF"``.
    tagged : bool
        Whether the file has tags at all.
    status : os.stat_result
        Of the file when it was opened.
    """

    def __init__(self, path: Path, *, like: TagFile | None = None) -> None:
        self.path = path
        check_is_file(path)
        if not path.is_file():
            raise AudioError(path, "no such file")
        self.status = path.stat()  # from before it is read
        try:
            self._file: Any = _opened(path) if like is None else type(like._file)(path)
            if self._file is not None and isinstance(self._file.tags, ID3) and self._file.tags.version[1] in (3, 4):
                # By default mutagen converts everything to ID3v2.4.
                self._file = type(self._file)(path, translate=False)
        except Exception as error:  # damaged files raise many kinds of errors in mutagen
            raise AudioError(
                path, f"its tags cannot be read ({wrong_size(path) or error}); nothing is written"
            ) from error
        if self._file is None:
            raise AudioError(path, "has a format that eno cannot write tags to")
        self.tagged = self._file.tags is not None
        if not self.tagged:
            try:
                self._file.add_tags()
            except (mutagen.MutagenError, NotImplementedError):
                raise AudioError(path, "has a format without tags") from None
        tags = self._file.tags
        self.kind = next((kind for kind, types in _KINDS if isinstance(tags, types)), "")
        if not self.kind:
            raise AudioError(path, f"has tags in a format that eno cannot write ({type(tags).__name__})")
        self._version = 4
        if self.kind == "ID3" and self.tagged and tags.version[:2] in ((2, 2), (2, 3)):
            self._version = 3
            if tags.version[1] == 2:  # obsolete
                tags.update_to_v23()

    def read(self, fields: Iterable[str] = FIELDS) -> dict[str, list[str]]:
        """Return the distinct values of fields."""
        found = {field: list(dict.fromkeys(_texts(self._values(field)))) for field in fields}
        if self._version == 3:  # which has no lists: programs join values as eno does
            found = {field: [one for text in texts for one in _split(text)] for field, texts in found.items()}
        return {field: list(dict.fromkeys(texts)) for field, texts in found.items()}

    def read_elsewhere(self, fields: Iterable[str] = FIELDS) -> dict[str, list[str]]:
        """Return values in other blocks of the file, such as RIFF INFO, which eno reads but does not write."""
        found: dict[str, list[str]] = {field: [] for field in fields}
        for read in (_ape_tags, other_tags):
            try:
                tags = read(self.path)
            except Exception as error:  # damaged blocks raise many kinds of errors
                logger.debug("%s: other tags cannot be read (%s)", printable(self.path), error)
                continue
            for name, values in tags.items():
                if (field := name.casefold()) in found and not found[field]:
                    found[field] = [one for text in _texts(values) for one in _split(text)]
        return found

    def write(self, field: str, values: Sequence[str]) -> None:
        """Set the values of a field; an empty list removes it."""
        self._clear(field)
        tags, texts = self._file.tags, list(values)
        if not texts:
            return
        if self.kind == "ID3":
            frame = _FRAMES.get(field, ("TXXX",))[-1 if self._version == 3 else 0]  # TMOO only exists in ID3v2.4
            more = {"desc": field.upper()} if frame == "TXXX" else {}
            if self._version == 3:  # most programs show only the first of several values
                texts = [_SEPARATOR.join(texts)]
            tags.add(_TEXT_FRAMES[frame](encoding=_UTF8, text=texts, **more))
            return
        key = self._key(field)
        tags[key] = [_FREE(text.encode()) for text in texts] if key.startswith("----:") else texts

    def keep(self, field: str) -> list[Any]:
        """Return all data of a field, as JSON that `restore` accepts."""
        if self.kind == "ID3":
            return [
                [one.FrameID, getattr(one, "desc", ""), int(one.encoding), [str(text) for text in one.text]]
                for one in self._frames(field)
            ]
        if self.kind == "Vorbis":  # a field name may occur in several spellings
            wanted = self._key(field).casefold()
            return [[key, text] for key, text in self._file.tags if key.casefold() == wanted]
        return [[key, _to_json(self._file.tags[key])] for key in self._names(field)]

    def restore(self, field: str, kept: Iterable[Any]) -> None:
        """Restore the data returned by `keep`."""
        self._clear(field)
        tags = self._file.tags
        for one in kept:
            if self.kind == "ID3":
                name, desc, encoding, texts = one
                more = {"desc": desc} if name == "TXXX" else {}
                tags.add(_TEXT_FRAMES[name](encoding=encoding, text=texts, **more))
            elif self.kind == "Vorbis":
                tags.append((one[0], one[1]))
            else:
                tags[one[0]] = _from_json(one[1])

    def save(self, *, remove_empty: bool = False) -> None:
        """Write the tags to the file. With `remove_empty`, a file without any tags left has no tag block."""
        if remove_empty and not self._file.tags:
            self._file.delete()
        elif self.kind == "ID3":  # without a separator, several values stay separate
            self._file.save(v2_version=self._version, v23_sep=None)
        else:
            with self.path.open("rb") as file:
                file.seek(max(0, self.path.stat().st_size - 128))
                id3v1 = file.read()
            self._file.save()
            if self.kind == "APEv2" and id3v1.startswith(b"TAG"):  # mutagen removes it
                with self.path.open("ab") as file:
                    file.write(id3v1)

    def _frames(self, field: str) -> list[Any]:
        names = _FRAMES.get(field, ("TXXX",))
        return [
            frame
            for frame in self._file.tags.values()
            if frame.FrameID in names and (frame.FrameID != "TXXX" or frame.desc.casefold() == field)
        ]

    def _key(self, field: str) -> str:
        """Return the key that a field is written under, in other formats than ID3."""
        usual = {"APEv2": field.title(), "MP4": f"----:com.apple.iTunes:{field.upper()}"}
        return _KEYS.get(self.kind, {}).get(field) or usual.get(self.kind, field.upper())

    def _names(self, field: str) -> list[str]:
        """Return the keys of a field as the file spells them."""
        wanted = self._key(field).casefold()
        return list(dict.fromkeys(key for key in self._file.tags.keys() if key.casefold() == wanted))  # noqa: SIM118

    def _values(self, field: str) -> list[Any]:
        if self.kind == "ID3":
            return [text for one in self._frames(field) for text in getattr(one, "genres", one.text)]
        if self.kind == "Vorbis":
            return [text for _, text in self.keep(field)]
        return [value for key in self._names(field) for value in self._file.tags[key]]

    def _clear(self, field: str) -> None:
        tags = self._file.tags
        if self.kind == "ID3":
            for frame in self._frames(field):
                del tags[frame.HashKey]
        else:
            vorbis = self.kind == "Vorbis"  # its keys ignore case
            for key in {name.casefold() for name, _ in self.keep(field)} if vorbis else self._names(field):
                del tags[key]


def _opened(path: Path) -> Any:
    try:
        file = mutagen.File(path)
    except mutagen.MutagenError:
        # Opened by its number, a file has no name, whose suffix may be wrong.
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)), "rb") as content:
            found = mutagen.File(content)
        if found is None:
            raise
        file = type(found)(path)
    # Many programs read ID3v2 only, where there is any: a new block would hide the artist and title in APEv2.
    if isinstance(file, ID3FileType) and (file.tags is None or file.tags.version[0] == 1):
        block = _open_ape_block(path)
        return file if block.tags is None else block
    return file


def wrong_size(path: Path) -> str | None:
    """Return what is wrong with the size in the header of a WAV or AIFF file, if it is wrong."""
    with path.open("rb") as file:
        header = file.read(8)
    stated = int.from_bytes(header[4:], "little" if header[:4] == b"RIFF" else "big") + 8
    actual = path.stat().st_size
    if header[:4] not in (b"RIFF", b"FORM") or 0 <= actual - stated <= 1:
        return None
    return (
        f"its header says that it has {stated} bytes, but it has {actual}: it was cut off, or recorded to a pipe. "
        "Copy its audio to a new file, for example with: ffmpeg -i OLD -c copy NEW"
    )


def _ape_tags(path: Path) -> dict[str, list[str]]:
    try:
        return {key: [str(one) for one in value] for key, value in open_ape(path).items() if value.kind == TEXT}
    except APENoHeaderError:
        return {}


def _split(text: str) -> list[str]:
    """Split values that were joined; a slash or comma may be part of a name."""
    return [one for part in text.split(_SEPARATOR.strip()) if (one := part.strip())]


def _texts(values: Iterable[Any]) -> list[str]:
    texts = []
    for value in values:
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        texts += [part.strip() for part in text.split("\0") if part.strip()]
    return texts


def _to_json(value: Any) -> Any:
    """Convert values of MP4, APEv2 or ASF: a text, or a list of texts and marked bytes."""
    if not isinstance(value, list):
        return str(value)
    return [
        {"base64": base64.b64encode(one).decode(), "format": int(getattr(one, "dataformat", 0))}
        if isinstance(one, bytes)
        else str(one)
        for one in value
    ]


def _from_json(value: Any) -> Any:
    if isinstance(value, str):
        return value
    return [_FREE(base64.b64decode(one["base64"]), one["format"]) if isinstance(one, dict) else one for one in value]
