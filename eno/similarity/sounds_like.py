"""Search by example: what in a collection sounds like something."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.encoders import Encoder
from eno.errors import AudioError, ConfigError, SimilarityError
from eno.files import printable, printed_file
from eno.similarity import queries
from eno.similarity.answers import Answer, described
from eno.similarity.facts import Facts
from eno.similarity.index.index import SimilarityIndex, index_folder
from eno.similarity.indexed import IndexedTracks
from eno.similarity.mixing import Query, mix
from eno.similarity.playlist import walk
from eno.similarity.queries import rows_allowed, search_of
from eno.similarity.ranking import Limit, choose
from eno.similarity.tag_table import TagTable
from eno.similarity.where import Where

_PER_ARTIST = 2


class SoundsLike:
    """An index that can be asked by track, file, passage, text, tags, album and artist.

    It keeps nothing of a question, so one object may answer many, also from several threads.

    Parameters
    ----------
    index : SimilarityIndex
        Of tracks, or of windows to find passages.
    store : EmbeddingStore
        What it is an index of.
    encoder : Encoder, optional
        The store's encoder; only files and texts need it.
    facts : Facts, optional
        What is known of the tracks; else only their folders are.
    tags : TagTable, optional
        What a predictor says of them: for searches by tags, and to say what neighbours share.
    audio_root : Path or str, optional
        The folder that track ids are relative to: so that files in it are known as tracks, and passages of tracks
        can be heard.

    Attributes
    ----------
    tracks : IndexedTracks
        The index's rows, and what is known of each.
    notes : tuple of str
        What is amiss, and the command that mends it.

    Examples
    --------
    >>> sounds = SoundsLike(index, store, encoder=load_encoder("clap"))  # doctest: +SKIP
    >>> sounds.like("a.ogg", k=10, where=Where(genres=("shoegaze",)), per_artist=2)  # doctest: +SKIP
    """

    def __init__(
        self,
        index: SimilarityIndex,
        store: EmbeddingStore,
        *,
        encoder: Encoder | None = None,
        facts: Facts | None = None,
        tags: TagTable | None = None,
        audio_root: Path | str | None = None,
    ) -> None:
        index.require(store.spec)
        self.index, self.store, self.encoder = index, store, encoder
        self.tracks = IndexedTracks(index, facts, tags)
        self.audio_root = None if audio_root is None else Path(audio_root)
        self.notes: tuple[str, ...] = ()
        if index.is_older_than(store):
            self.notes = (
                "The index is older than its store: what was embedded since is not found, and what has vanished is. "
                f"'{_update_command(index, store)}' mends it.",
            )

    def find(self, name: Path | str) -> str | None:
        """Tell which track of the index is meant; see `eno.similarity.indexed.IndexedTracks.find`."""
        return self.tracks.find(name, self.audio_root)

    def seed(self, name: Path | str, *, from_s: float | None = None, to_s: float | None = None) -> Query:
        """Ask by a track of the index, any audio file, or a passage of either.

        Parameters
        ----------
        name : Path or str
            See `find`; or the path of any audio file. That file is opened: of what strangers send, take only what
            `find` knows.
        from_s, to_s : float, optional
            Where the passage begins and ends, in seconds.

        Raises
        ------
        SimilarityError
            There is no such track or file, or its vector says nothing.
        AudioError
            The file cannot be read, or is silent.
        ConfigError
            A file has to be heard, and there is no encoder.
        """
        track, passage = self.find(name), from_s is not None or to_s is not None
        if track is not None and not passage:
            return queries.of_track(self.tracks, track)
        file = Path(name)
        if track is not None and not os.path.exists(name):
            if self.audio_root is None:
                raise ConfigError(f"A passage of {track} must be heard: name the folder of the audio (--audio-root).")
            file = printed_file(self.audio_root, track)
        elif track is None and not os.path.exists(name):
            return queries.of_track(self.tracks, printable(str(name)))  # says what is close to it
        if file.is_dir():
            raise AudioError(file, "is a folder; name a file, or an album with --like-album")
        encoder = self._hearing(printable(file))
        return queries.of_file(self.tracks, file, encoder, self.store.policy, from_s=from_s, to_s=to_s, track_id=track)

    def _hearing(self, name: str) -> Encoder:
        if self.encoder is None:
            raise ConfigError(f"{name} must be heard by the encoder {self.store.spec.name!r}, which is not loaded.")
        return self.encoder

    def text(self, text: str) -> Query:
        """Ask by a description; see `eno.similarity.queries.of_text`."""
        return queries.of_text(self.tracks, text, self._hearing(repr(text)))

    def tags(self, tags: Sequence[str]) -> Query:
        """Ask by tags; see `eno.similarity.queries.of_tags`."""
        return queries.of_tags(self.tracks, tags)

    def album(self, name: str) -> Query:
        """Ask by an album; see `eno.similarity.queries.of_album`."""
        return queries.of_album(self.tracks, name)

    def artist(self, name: str) -> Query:
        """Ask by an artist; see `eno.similarity.queries.of_artist`."""
        return queries.of_artist(self.tracks, name)

    def like(self, *seeds: Path | str, minus: Sequence[Path | str] = (), **options: Any) -> Answer:
        """Find what sounds like some tracks or files, and less like others.

        Parameters
        ----------
        *seeds : Path or str
            See `seed`; the mean of several.
        minus : sequence of Path or str
            What it shall sound less like.
        **options
            Those of `nearest`.
        """
        return self.nearest(mix([self.seed(one) for one in seeds], [self.seed(one) for one in minus]), **options)

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
    ) -> Answer:
        """Find what is nearest to a query.

        Parameters
        ----------
        query : Query
            From `seed`, `text`, `tags`, `album`, `artist` or `eno.similarity.mixing.mix`.
        k : int
            How many tracks.
        where : Where or str, optional
            Which tracks may be found; text is an expression, see `Where`.
        per_artist, per_album : int or None
            At most so many of each; None for any number. What is by nobody that is known is not counted.
        same_album : bool
            Also tracks of the query's own albums.
        diversity : float
            0 … 1, see `eno.similarity.ranking.choose`.

        Returns
        -------
        Answer
            Fewer than `k` where there are not more.

        Raises
        ------
        SimilarityError
            No track meets the conditions.
        ConfigError
            A number is out of range, or `where` cannot be understood.
        """
        _check(k=k, per_artist=per_artist, per_album=per_album)
        if not 0 <= diversity <= 1:
            raise ConfigError(f"diversity is {diversity}; it must be from 0 to 1.")
        limits = self._limits(per_artist, per_album)
        if self.index.level == "windows":
            limits.append(Limit(self.tracks.tracks, 1))
        scores, rows = choose(
            search_of(self.tracks, query),
            k,
            allowed=rows_allowed(self.tracks, query, where, same_album=same_album),
            limits=limits,
            diversity=diversity,
            vectors=self.index.vectors,
        )
        few = (f"Only {len(rows)} of {k} tracks: there are not more that may be found.",) if len(rows) < k else ()
        return Answer(query.name, described(self.tracks, query, rows, scores), (*query.notes, *few))

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
    ) -> Answer:
        """Make a playlist: a random walk that starts with the query, see `eno.similarity.playlist.walk`.

        Parameters
        ----------
        query : Query
            A track begins the list; of anything else, what is nearest to it does.
        minutes : float
            How long it shall be.
        seed : int
            The same seed gives the same list.
        where, per_artist, per_album, same_album
            See `nearest`.

        Raises
        ------
        SimilarityError
            No track meets the conditions, or their lengths are not known.
        ConfigError
            A number is out of range, `where` cannot be understood, or the index is one of windows.
        """
        _check(per_artist=per_artist, per_album=per_album)
        if not minutes > 0:
            raise ConfigError(f"The playlist's length is {minutes} minutes; it must be above 0.")
        if self.index.level != "tracks":
            raise ConfigError("A playlist is made of whole tracks: make it without --windows.")
        durations, limits = self.tracks.durations_s, self._limits(per_artist, per_album)
        allowed = rows_allowed(self.tracks, query, where, same_album=same_album)
        if not (allowed & np.isfinite(durations)).any():
            raise SimilarityError(
                "The lengths of the tracks are not known. 'eno scan' reads them; --data-root names where it wrote."
            )
        if len(query.track_ids) == 1:
            first = self.tracks.rows_of(query.track_ids[0])
        else:
            first = search_of(self.tracks, query)(1, allowed & np.isfinite(durations))[1]
        played = walk(
            lambda row, n, may: self.tracks.nearest(self.index.vectors(np.array([row])), n, may),
            int(first[0]),
            length_s=60 * minutes,
            durations_s=durations,
            artists=self.tracks.artists,
            allowed=allowed,
            limits=limits,
            seed=seed,
        )
        rows, scores = np.array([row for row, _ in played]), np.array([score for _, score in played])
        answer = Answer(query.name, described(self.tracks, query, rows, scores), query.notes)
        short = 60 * minutes - answer.duration_s > np.nanmax(durations)
        note = f"Only {answer.duration_s / 60:.1f} of {minutes:g} minutes: nothing more was left to play."
        return replace(answer, notes=(*answer.notes, note)) if short else answer

    def _limits(self, per_artist: int | None, per_album: int | None) -> list[Limit]:
        both = ((per_artist, "artists"), (per_album, "albums"))
        return [Limit(getattr(self.tracks, name), most) for most, name in both if most is not None]


def _update_command(index: SimilarityIndex, store: EmbeddingStore) -> str:
    windows = " --windows" if index.level == "windows" else ""
    default = store.folder.local is not None and index.folder == index_folder(store, index.level)
    place = windows if default else f" --index {printable(index.folder)}"
    return f"eno index add {printable(str(store.path))}{place}"


def _check(**numbers: int | None) -> None:
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise ConfigError(f"{name} is {number}; it must be at least 1.")
