"""Which tracks a long file is made of: by a CUE sheet beside or inside it, or by its chapters."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eno.audio.audio_file import MIN_DURATION_S
from eno.data.layout import DataRoot
from eno.data.library.cue import CueError, CueFile, CueSheet, CueTrack, decode_cue, parse_cue
from eno.data.library.files import Tracks
from eno.data.library.walking import IO_THREADS
from eno.files import AudioRoots, Section, printable

logger = logging.getLogger(__name__)

_MOST_BYTES = 1 << 20  # no CUE sheet is longer, but a file of another kind may be called so
_HASH_DIGITS = 32
_LEAD_OUT = 170  # number of what follows the last track, in a CUESHEET block of FLAC; 255 if it is not from a CD
_WITH_SHEETS, _WITH_CHAPTERS = r"(?i)^(flac|ape|wv|tta|mpc8?|tak)$", r"(?i)^(mov,|matroska|ogg)"  # containers


class Outline(NamedTuple):
    """The tracks of a file, and what is known of their album.

    `source` names the sheet in messages. `cue_hash` is that of the CUE sheet beside the file, if it is from there.
    """

    source: str
    tracks: tuple[CueTrack, ...]
    album: str | None = None
    performer: str | None = None
    genre: str | None = None
    year: int | None = None
    disc_number: int | None = None
    cue_hash: str | None = None

    @classmethod
    def of(cls, source: str, sheet: CueSheet, file: CueFile, cue_hash: str | None = None) -> Outline:
        """Return the outline of one of the files of a CUE sheet."""
        album = sheet.title, sheet.performer, sheet.genre, sheet.year, sheet.disc_number
        return cls(source, tuple(file.tracks), *album, cue_hash)

    def rows(self, whole: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Divide the row of a file in the tracks table into those of its tracks.

        Raises CueError if a track begins after the end of the file.
        """
        ends = [*(track.start_s for track in self.tracks[1:]), whole["duration_s"]]
        last = self.tracks[-1]
        if last.start_s >= ends[-1]:
            raise CueError(f"track {last.number} begins at {last.start_s:.2f} s, but the file ends at {ends[-1]:.2f} s")
        return [
            self._row(whole, track, end_s) for track, end_s in zip(self.tracks, ends, strict=True) if track.is_audio
        ]

    def _row(self, whole: Mapping[str, Any], track: CueTrack, end_s: float) -> dict[str, Any]:
        row = dict(whole) | {
            "track_id": f"{whole['track_id']}#{track.number:02d}",
            "title": track.title,
            "artist": track.performer or self.performer or whole.get("artist"),
            "album": whole.get("album") or self.album or whole.get("title"),
            "album_artist": whole.get("album_artist") or self.performer,
            "track_number": track.number,
            "disc_number": whole.get("disc_number") or self.disc_number,
            "year": whole.get("year") or self.year,
            "genres": whole.get("genres") or ((self.genre,) if self.genre else ()),
            "musicbrainz_recording_id": None,  # of the whole file
            "start_s": track.start_s,
            "end_s": end_s,
            "duration_s": end_s - track.start_s,
        }
        if row["duration_s"] < MIN_DURATION_S:
            lasts = f"lasts {row['duration_s']:.3g} s according to {self.source}"
            row["problem"] = f"{lasts}; at least {MIN_DURATION_S} s are needed"
        return row


def cue_outlines(tracks: Tracks) -> dict[str, Outline]:
    """Read the CUE sheets among the files of a collection; return the outlines of audio files by their track ids.

    Files with a single track have none. A sheet that cannot be used is ignored with a warning.
    """
    if not tracks.cue_sheets:
        return {}
    folders = {printable(os.path.dirname(name)) for _, name in tracks.cue_sheets}
    audio: dict[str, list[str]] = defaultdict(list)
    for track_id in tracks.ids.to_pylist():
        if (folder := os.path.dirname(track_id)) in folders:
            audio[folder].append(track_id)
    with ThreadPoolExecutor(IO_THREADS, thread_name_prefix="cue") as pool:
        contents = list(pool.map(_content, (Path(root, name) for root, name in tracks.cue_sheets)))
    found: dict[str, tuple[bool, str, Outline]] = {}
    for (_, name), content in zip(tracks.cue_sheets, contents, strict=True):
        source = printable(name)
        if content is None:
            continue
        try:
            sheet = parse_cue(decode_cue(content))
        except CueError as error:
            logger.warning("%s: cannot be used (%s); the files that it describes stay whole.", source, error)
            continue
        cue_hash = hashlib.sha256(content).hexdigest()[:_HASH_DIGITS]
        for file in sheet.files:
            track_id = _on_disk(file, sheet, source, audio[os.path.dirname(source)])
            if track_id is None or len(file.tracks) < 2:
                continue
            # Of several sheets for a file, the one that is named like it.
            stem, base = os.path.splitext(source)[0], os.path.splitext(track_id)[0]
            one = stem not in (base, track_id), source, Outline.of(source, sheet, file, cue_hash)
            if track_id not in found or one[:2] < found[track_id][:2]:
                found[track_id] = one
    return {track_id: outline for track_id, (_, _, outline) in found.items()}


def _content(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        logger.warning("%s: cannot be read (%s); the files that it describes stay whole.", printable(path), error)
        return None
    if len(content) > _MOST_BYTES:
        logger.warning("%s: is too long for a CUE sheet and is ignored.", printable(path))
        return None
    return content


def _on_disk(file: CueFile, sheet: CueSheet, cue: str, audio: Iterable[str]) -> str | None:
    """Return the audio file that a sheet means, which may have another format, or the name of the sheet."""
    names = {os.path.basename(track_id).lower(): track_id for track_id in audio}
    wanted = file.name.replace("\\", "/").rpartition("/")[2].lower()
    if wanted in names:
        return names[wanted]
    stems = defaultdict(list)
    for name, track_id in names.items():
        stems[name.rpartition(".")[0]].append(track_id)
    likely = [wanted.rpartition(".")[0] or wanted]
    if len(sheet.files) == 1:
        stem = os.path.basename(cue).lower().removesuffix(".cue")
        if stem in names:  # album.flac.cue
            return names[stem]
        likely.append(stem)
    return next((stems[stem][0] for stem in likely if len(stems[stem]) == 1), None)


def may_have_outline(containers: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return for which containers `own_outline` looks for tracks."""
    return pc.match_substring_regex(containers, f"{_WITH_SHEETS}|{_WITH_CHAPTERS}")


def own_outline(path: Path, name: str, container: str) -> Outline | None:
    """Return the outline inside a file: a tag with a CUE sheet, the CUESHEET block of a FLAC, or two or more chapters.

    A damaged sheet is ignored with a warning, in which `name` stands for the file.
    """
    try:
        if re.match(_WITH_CHAPTERS, container):
            tracks, source = _chapters(path), f"the chapters of {name}"
        else:
            sheet, tracks = _sheet_inside(path, container)
            source = f"the CUE sheet in {name}"
            if sheet is not None:
                return _usable(Outline.of(source, sheet, sheet.files[0]))
    except CueError as error:
        logger.warning("%s: its CUE sheet cannot be used (%s); it stays one track.", name, error)
        return None
    return _usable(Outline(source, tracks))


def _usable(outline: Outline) -> Outline | None:
    return outline if len(outline.tracks) > 1 else None


def _sheet_inside(path: Path, container: str) -> tuple[CueSheet | None, tuple[CueTrack, ...]]:
    """Return the sheet in the tags of a file; or else the tracks of a CUESHEET block, which has no titles."""
    import mutagen
    from mutagen.apev2 import APEv2
    from mutagen.flac import VCFLACDict

    if not re.match(_WITH_SHEETS, container):
        return None, ()
    try:
        file: Any = mutagen.File(path)
    except Exception as error:  # damaged tags raise many kinds of errors; the audio may be intact
        logger.debug("%s: its tags cannot be read (%s)", printable(path), error)
        return None, ()
    tags: Any = getattr(file, "tags", None)
    if isinstance(tags, VCFLACDict | APEv2) and "cuesheet" in tags:
        value: Any = tags["cuesheet"]
        sheet = parse_cue(str(value if isinstance(tags, APEv2) else value[0]))
        if len(sheet.files) != 1:
            raise CueError(f"it is about {len(sheet.files)} files")
        return sheet, ()
    block = getattr(file, "cuesheet", None)
    rate = getattr(getattr(file, "info", None), "sample_rate", 0)
    if block is None or not rate:
        return None, ()
    tracks: list[CueTrack] = []
    for track in block.tracks:
        begins = [index.index_offset for index in track.indexes if index.index_number == 1]
        if track.track_number in (_LEAD_OUT, 255):
            continue
        if not begins:
            raise CueError(f"track {track.track_number} has no index 1")
        start_s = (track.start_offset + begins[0]) / rate
        if tracks and start_s <= tracks[-1].start_s:
            raise CueError(f"track {track.track_number} is not after the track before")
        tracks.append(CueTrack(track.track_number, start_s, is_audio=track.type == 0))
    return None, tuple(tracks)


def _chapters(path: Path) -> tuple[CueTrack, ...]:
    import av  # takes 0.1 s and 30 MB

    try:
        with path.open("rb") as file, av.open(file, "r", metadata_errors="replace") as container:
            # Versions before PyAV 15 cannot read chapters.
            found: list[Any] = container.chapters() if hasattr(container, "chapters") else []
    except (av.FFmpegError, OSError, ValueError) as error:
        logger.debug("%s: its chapters cannot be read (%s)", printable(path), error)
        return ()
    starts: dict[float, str | None] = {}
    for chapter in sorted(found, key=lambda one: one["start"] * one["time_base"]):
        title = chapter["metadata"].get("title", "").strip() or None
        starts.setdefault(max(0.0, float(chapter["start"] * chapter["time_base"])), title)
    return tuple(CueTrack(number, start_s, title) for number, (start_s, title) in enumerate(starts.items(), 1))


def own_audio(root: DataRoot) -> AudioRoots:
    """Return the audio folder of a data root, with the sections that its tracks table lists."""
    return AudioRoots((root.audio,), sections=read_sections(root.tracks))


def read_sections(path: Path) -> dict[str, Section]:
    """Read which tracks are sections of a file from the tracks table; none if there is no table, or it is damaged."""
    columns = ["track_id", "start_s", "end_s"]
    try:
        if not path.is_file():
            return {}
        with pq.ParquetFile(path) as file:  # `read_table` would import Arrow's data sets first
            if not set(columns) <= set(file.schema_arrow.names):
                return {}
            is_section = file.read(["start_s"])["start_s"].is_valid()
            if not pc.any(is_section).as_py():
                return {}
            found = file.read(columns).filter(is_section)
    except (pa.ArrowException, OSError):  # whatever needs the table gives the reason
        return {}
    return {track_id: Section(*limits) for track_id, *limits in zip(*found.to_pydict().values(), strict=True)}
