"""Search by example: find what in a collection sounds like something."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eno.data.layout import DataRoot
from eno.data.library.outlines import own_audio
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.errors import AudioError, ConfigError, SimilarityError
from eno.files import AudioRoots, printable
from eno.similarity import queries
from eno.similarity.index.build import open_or_build
from eno.similarity.index.index import SimilarityIndex, index_folder
from eno.similarity.index.writer import OnRows
from eno.similarity.indexed import IndexedTracks
from eno.similarity.kept_metadata import metadata_of
from eno.similarity.metadata import TrackMetadata
from eno.similarity.playlist import random_walk
from eno.similarity.queries import allowed_rows, search_for
from eno.similarity.query import Query, combine
from eno.similarity.reranking import GroupLimit, rerank
from eno.similarity.search_result import SearchResult, describe
from eno.similarity.tag_table import TagTable
from eno.similarity.where import Where

if TYPE_CHECKING:
    from eno.encoders import Encoder

_PER_ARTIST = 2
_NO_OTHERS = "The index has no other tracks."


class SoundsLike:
    """Search an index by track, file, passage, text, tags, album or artist. See `open`.

    A search changes nothing in the object, so several threads may use it.

    Parameters
    ----------
    index : SimilarityIndex
        An index of tracks; or of windows, to find passages.
    store : EmbeddingStore
        The indexed store.
    encoder : Encoder or callable, optional
        The store's encoder, needed only for files and texts; or a function that loads it when it is first needed.
    metadata : TrackMetadata, optional
        By default only what follows from the tracks' paths.
    tags : TagTable, optional
        Predicted tags, for searches by tags and for the tags that neighbours share.
    audio_roots : AudioRoots, Path, str or a sequence of these, optional
        The folders that track ids are relative to, to recognise files as tracks and to encode passages of tracks.

    Attributes
    ----------
    notes : tuple of str
        Warnings for the user.

    Examples
    --------
    >>> sounds = SoundsLike.open(store, data_root="data", encoder=load_encoder("clap"))  # doctest: +SKIP
    >>> sounds.like("a.ogg", k=10, where=Where(genres=("shoegaze",)), per_artist=2)  # doctest: +SKIP
    """

    def __init__(
        self,
        index: SimilarityIndex,
        store: EmbeddingStore,
        *,
        encoder: Encoder | Callable[[], Encoder] | None = None,
        metadata: TrackMetadata | None = None,
        tags: TagTable | None = None,
        audio_roots: AudioRoots | Path | str | Iterable[Path | str] | None = None,
    ) -> None:
        index.require(store.spec)
        self.index, self.store = index, store
        self.encoder: Encoder | None = encoder if hasattr(encoder, "spec") else None  # type: ignore[assignment]
        self._load_encoder = None if encoder is self.encoder else encoder
        self.tracks = IndexedTracks(index, metadata, tags)
        self.audio_roots = None if audio_roots is None else AudioRoots.of(audio_roots)
        self.notes: tuple[str, ...] = ()
        if index.is_older_than(store):
            self.notes = (
                "The store has changed since it was indexed, so new tracks are not found and removed ones still are. "
                f"Update the index: {_update_command(index, store)}",
            )

    @classmethod
    def open(
        cls,
        store: EmbeddingStore | Path | str,
        *,
        index: Path | str | None = None,
        level: str = "tracks",
        data_root: DataRoot | Path | str | None = None,
        encoder: Encoder | None = None,
        audio_roots: AudioRoots | Path | str | Iterable[Path | str] | None = None,
        on_progress: OnRows | None = None,
        **options: Any,
    ) -> SoundsLike:
        """Open everything that a store's search needs; the index is built if it does not exist.

        Parameters
        ----------
        index, level, on_progress, **options
            See `eno.similarity.index.build.open_or_build`.
        data_root : DataRoot, Path or str, optional
            Read metadata from its tables, and audio from its folder unless `audio_roots` is given.
        """
        opened = store if isinstance(store, EmbeddingStore) else EmbeddingStore.open(store)
        root = data_root if isinstance(data_root, DataRoot | None) else DataRoot(Path(data_root))
        found = open_or_build(opened, index, level=level, on_progress=on_progress, **options)
        if audio_roots is None and root is not None and root.audio.is_dir():
            audio_roots = own_audio(root)
        metadata = metadata_of(found, root)
        return cls(found, opened, encoder=encoder, metadata=metadata, audio_roots=audio_roots)

    def find(self, name: Path | str) -> str | None:
        """Return the id of the track that a name stands for; see `eno.similarity.lookup.match_track`."""
        return self.tracks.find(name, self.audio_roots)

    def seed(self, name: Path | str, *, from_s: float | None = None, to_s: float | None = None) -> Query:
        """Return the query of a track of the index, of any audio file, or of a passage of either.

        Parameters
        ----------
        name : Path or str
            See `find`; or the path of any audio file, which is opened. For names from untrusted sources accept only
            what `find` returns.
        from_s, to_s : float, optional
            Start and end of the passage in seconds.

        Raises
        ------
        SimilarityError
            There is no such track or file, several tracks match, or the embedding has no direction.
        AudioError
            The file cannot be read, or is silent.
        ConfigError
            Audio must be encoded, and there is no encoder.
        """
        track, passage = self.find(name), from_s is not None or to_s is not None
        if track is not None and not passage:
            return queries.of_track(self.tracks, track)
        file, exists, section = Path(name), os.path.exists(name), None
        if track is not None and not exists:
            if self.audio_roots is None:
                raise ConfigError(
                    f"The audio of {track} is needed to encode a passage. Specify its folder with --audio-root."
                )
            file, section = self.audio_roots.file(track), self.audio_roots.section(track)
        elif track is None and not exists:
            return queries.of_track(self.tracks, printable(str(name)))  # raises, with a suggestion
        if file.is_dir():
            raise AudioError(file, "is a folder. Specify a file, or an album with --like-album")
        encoder = self._require_encoder(printable(file))
        return queries.of_file(
            self.tracks,
            file,
            encoder,
            self.store.policy,
            section=section,
            from_s=from_s,
            to_s=to_s,
            track_id=track,
        )

    def _require_encoder(self, name: str) -> Encoder:
        if self.encoder is None and self._load_encoder is not None:
            self.encoder = self._load_encoder()  # type: ignore[operator]
        if self.encoder is None:
            raise ConfigError(f"{name} must be encoded with {self.store.spec.name!r}, but no encoder was loaded.")
        return self.encoder

    def text(self, text: str) -> Query:
        """Return the query of a description; see `eno.similarity.queries.of_text`."""
        return queries.of_text(self.tracks, text, self._require_encoder(repr(text)))

    def tags(self, tags: Sequence[str]) -> Query:
        """Return the query of tags; see `eno.similarity.queries.of_tags`."""
        return queries.of_tags(self.tracks, tags)

    def album(self, name: str) -> Query:
        """Return the query of an album; see `eno.similarity.queries.of_album`."""
        return queries.of_album(self.tracks, name)

    def artist(self, name: str) -> Query:
        """Return the query of an artist; see `eno.similarity.queries.of_artist`."""
        return queries.of_artist(self.tracks, name)

    def like(self, *seeds: Path | str, minus: Sequence[Path | str] = (), **options: Any) -> SearchResult:
        """Find what sounds like (the mean of) some tracks or files, and less like others. See `seed` and `nearest`."""
        return self.nearest(combine([self.seed(one) for one in seeds], [self.seed(one) for one in minus]), **options)

    def nearest(
        self,
        query: Query,
        *,
        k: int = 10,
        where: Where | str | None = None,
        per_artist: int | None = _PER_ARTIST,
        per_album: int | None = None,
        same_album: bool = False,
        diversity: float = 0.0,
    ) -> SearchResult:
        """Find the nearest neighbours of a query; fewer than `k` if there are no more.

        Parameters
        ----------
        where : Where or str, optional
            Filter; a string is the expression of a `Where`.
        per_artist, per_album : int or None
            Maximum number of tracks by an artist and from an album; None for no limit. Tracks without a known artist
            or album are not limited.
        same_album : bool
            Include tracks from the query's own albums.
        diversity : float
            0 … 1, see `eno.similarity.reranking.rerank`.

        Raises
        ------
        SimilarityError
            No track meets the conditions.
        ConfigError
            A number is out of range, or `where` is invalid.
        """
        _check(k=k, per_artist=per_artist, per_album=per_album)
        if not 0 <= diversity <= 1:
            raise ConfigError(f"diversity is {diversity}; expected a number from 0 to 1.")
        limits = self._limits(per_artist, per_album)
        if self.index.level == "windows":
            limits.append(GroupLimit(self.tracks.tracks, 1))
        scores, rows = rerank(
            search_for(self.tracks, query),
            k,
            allowed=allowed_rows(self.tracks, query, where, same_album=same_album),
            limits=limits,
            diversity=diversity,
            vectors=self.index.vectors,
        )
        result = SearchResult(query.name, describe(self.tracks, query, rows, scores), query.notes)
        if len(rows) == k:
            return result
        all_found = len(rows) >= len(self.tracks.names) - len(query.track_ids)
        reasons = {} if all_found else _reasons(bool(where), per_artist, per_album, same_album)
        why = _NO_OTHERS if all_found else _excluded(list(reasons.values()))
        note = f"Found {len(rows):,} of {k:,} requested. {why}"
        return replace(result, notes=(*result.notes, note), excluded_by=tuple(reasons))

    def playlist(
        self,
        query: Query,
        *,
        minutes: float,
        seed: int = 0,
        where: Where | str | None = None,
        per_artist: int | None = None,
        per_album: int | None = None,
        same_album: bool = False,
    ) -> SearchResult:
        """Create a playlist by `eno.similarity.playlist.random_walk`; other parameters as in `nearest`.

        It starts with the query if that is a single track, otherwise with its nearest neighbour.
        """
        _check(per_artist=per_artist, per_album=per_album)
        if not minutes > 0:
            raise ConfigError(f"The playlist's duration is {minutes} minutes; expected more than 0.")
        if self.index.level != "tracks":
            raise ConfigError("A playlist consists of whole tracks. Create it without --windows.")
        durations, limits = self.tracks.durations_s, self._limits(per_artist, per_album)
        allowed = allowed_rows(self.tracks, query, where, same_album=same_album)
        if not (allowed & np.isfinite(durations)).any():
            raise SimilarityError(
                "The durations of the tracks are unknown. Run 'eno scan', or specify with --data-root where it wrote."
            )
        if len(query.track_ids) == 1:
            first = self.index.rows_of(query.track_ids[0])
        else:
            first = search_for(self.tracks, query)(1, allowed & np.isfinite(durations))[1]
        played = random_walk(
            lambda row, n, mask: self.tracks.nearest(self.index.vectors(np.array([row])), n, mask),
            int(first[0]),
            length_s=60 * minutes,
            durations_s=durations,
            artists=self.tracks.artists,
            allowed=allowed,
            limits=limits,
            seed=seed,
        )
        rows, scores = np.array([row for row, _ in played]), np.array([score for _, score in played])
        result = SearchResult(query.name, describe(self.tracks, query, rows, scores), query.notes)
        if 60 * minutes - result.duration_s <= np.nanmax(durations):
            return result
        note = f"The playlist lasts {result.duration_s / 60:.1f} of {minutes:g} minutes: no other track may be played."
        return replace(result, notes=(*result.notes, note))

    def _limits(self, per_artist: int | None, per_album: int | None) -> list[GroupLimit]:
        limits = [] if per_artist is None else [GroupLimit(self.tracks.artists, per_artist)]
        return limits if per_album is None else [*limits, GroupLimit(self.tracks.albums, per_album)]


def _reasons(filtered: bool, per_artist: int | None, per_album: int | None, same_album: bool) -> dict[str, str]:
    """Return the parameters that may have excluded tracks from a result, described in words."""
    reasons = {"where": "filters"} if filtered else {}
    for limit, kind in ((per_artist, "artist"), (per_album, "album")):
        if limit is not None:
            reasons[f"per_{kind}"] = f"the limit of {limit} per {kind}"
    return reasons if same_album else reasons | {"same_album": "skipping the query's own albums"}


def _excluded(reasons: list[str]) -> str:
    if not reasons:
        return "The index has no others that match."
    listed = " and ".join([", ".join(reasons[:-1]), reasons[-1]] if len(reasons) > 1 else reasons)
    return f"{listed[0].upper()}{listed[1:]} excluded the rest."


def _update_command(index: SimilarityIndex, store: EmbeddingStore) -> str:
    windows = " --windows" if index.level == "windows" else ""
    default = store.folder.local is not None and index.folder == index_folder(store, index.level)
    place = windows if default else f" --index {printable(index.folder)}"
    return f"eno index add {printable(str(store.path))}{place}"


def _check(**numbers: int | None) -> None:
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise ConfigError(f"{name} is {number}; expected at least 1.")
