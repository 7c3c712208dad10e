"""What a search starts from: tracks, files, passages, texts, tags, albums and artists."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eno.audio.windows import WindowPolicy
from eno.encoders import Encoder
from eno.encoders.text import TextEncoder
from eno.errors import ConfigError, SimilarityError
from eno.files import printable
from eno.similarity.indexed import IndexedTracks
from eno.similarity.listening import Heard, listen
from eno.similarity.mixing import NOTHING, Query, to_unit
from eno.similarity.ranking import Search
from eno.similarity.where import Where


def of_track(tracks: IndexedTracks, track_id: str) -> Query:
    """Ask for what sounds like a track of the index.

    Raises
    ------
    SimilarityError
        It is not in the index, or has a vector of nothing but zeros.
    """
    rows = tracks.rows_of(track_id)
    if len(rows) == 0:
        rows = tracks.index.rows_of([track_id])  # says what is close to it
    vectors = tracks.index.vectors(rows)
    sounding = np.linalg.norm(vectors, axis=1) > NOTHING
    if not sounding.any():
        raise SimilarityError(f"{track_id}: its vector says nothing; it may be silent. Ask for another track.")
    starts = tracks.index.starts_s[rows]
    return Query(
        name=track_id,
        vectors=vectors[sounding],
        starts_s=starts[sounding],
        track_ids=(track_id,),
        tags=tracks.tags_of(rows),
    )


def of_file(
    tracks: IndexedTracks,
    path: Path,
    encoder: Encoder,
    policy: WindowPolicy,
    *,
    from_s: float | None = None,
    to_s: float | None = None,
    track_id: str | None = None,
) -> Query:
    """Ask for what sounds like an audio file, or a passage of it.

    Parameters
    ----------
    tracks : IndexedTracks
        What is searched.
    path : Path
        Any audio file.
    encoder : Encoder
        That of the index.
    policy : WindowPolicy
        The windows of the store's tracks.
    from_s, to_s : float, optional
        Where a passage begins and ends, in seconds.
    track_id : str, optional
        The track of the index that the file is.

    Raises
    ------
    AudioError
        The file cannot be read, or is silent there.
    ConfigError
        The passage is none.
    FingerprintMismatch
        The index holds vectors of another encoder.
    """
    tracks.index.require(encoder.spec)
    heard = listen(path, encoder, policy, from_s=from_s, to_s=to_s)
    return of_heard(tracks, heard, encoder, name=printable(path), from_s=from_s, track_id=track_id)


def of_heard(
    tracks: IndexedTracks,
    heard: Heard,
    encoder: Encoder,
    *,
    name: str,
    from_s: float | None = None,
    track_id: str | None = None,
) -> Query:
    """Ask for what sounds like audio that the index's encoder has heard; see `of_file`.

    Raises
    ------
    SimilarityError
        Its vector says nothing in the index's space.
    """
    index = tracks.index
    if index.level == "tracks":
        raw, starts = encoder.spec.renormalise(heard.vectors.mean(axis=0))[np.newaxis], np.array([from_s or 0.0])
    else:
        raw, starts = heard.vectors, heard.starts_s
    vectors = index.space.apply(raw.reshape(len(raw), *index.space.shape))
    if not vectors.any():
        raise SimilarityError(f"{name}: its vector says nothing in the space of the index. Ask for another file.")
    tags = {}
    if tracks.tags is not None and tracks.tags.predict is not None:
        tags = tracks.named(tracks.tags.predict(heard.vectors))
    elif track_id is not None:
        tags = tracks.tags_of(tracks.rows_of(track_id))
    return Query(
        name=name,
        vectors=vectors,
        starts_s=starts,
        track_ids=() if track_id is None else (track_id,),
        tags=tags,
        notes=_notes(heard, encoder),
    )


def _notes(heard: Heard, encoder: Encoder) -> tuple[str, ...]:
    if heard.duration_s >= encoder.spec.window_s:
        return ()
    return (
        f"Only {heard.duration_s:.2g} s were heard, and repeated to fill the {encoder.spec.window_s:.2g} s that "
        f"{encoder.spec.name} listens to.",
    )


def of_text(tracks: IndexedTracks, text: str, encoder: Encoder) -> Query:
    """Ask for what a text describes.

    Raises
    ------
    ConfigError
        The encoder takes no text, or there is none.
    FingerprintMismatch
        The index holds vectors of another encoder.
    """
    if not isinstance(encoder, TextEncoder):
        raise ConfigError(
            f"The encoder {encoder.spec.name!r} takes no text; a search by text needs a store of 'clap' or 'laion'."
        )
    if not text.strip():
        raise ConfigError("The text is empty; say what to look for, as in 'sad piano with rain'.")
    index = tracks.index
    index.require(encoder.spec)
    vectors = encoder.encode_text([text])
    mapped = index.space.apply_text(vectors.reshape(1, *index.space.shape))
    said = " ".join(re.findall(r"[\w&'-]+", text.casefold()))
    tags = {tag: 1.0 for tag in tracks.known_tags() if f" {tag.casefold()} " in f" {said} "}
    return Query(name=repr(text), vectors=mapped, starts_s=np.zeros(1), tags=tags)


def of_tags(tracks: IndexedTracks, tags: Sequence[str]) -> Query:
    """Ask for the tracks that most surely have all of some tags, as a predictor says.

    Raises
    ------
    ConfigError
        There are no tags, no predictor, or single windows are searched.
    UnknownName
        The predictor knows no such tag.
    """
    if tracks.tags is None or not tags:
        raise ConfigError("A search by tags needs tags, and a predictor that knows them: name it with --model.")
    if tracks.index.level != "tracks":
        raise ConfigError("Tags are of whole tracks: search by them without --windows.")
    names = [tracks.tags.names[tracks.tags.place(tag)] for tag in tags]
    together = np.append(tracks.tags.together(names), 0.0).astype(np.float32)
    return Query(
        name=", ".join(names),
        vectors=np.zeros((0, tracks.index.space.dim), np.float32),
        starts_s=np.zeros(0),
        tags=dict.fromkeys(names, 1.0),
        scores=together[tracks.tag_rows],
    )


def of_album(tracks: IndexedTracks, name: str) -> Query:
    """Ask for what sounds like an album, by the mean of its tracks.

    Parameters
    ----------
    tracks : IndexedTracks
        What is searched.
    name : str
        Its title, or its ``album_id`` where several albums have that title.

    Raises
    ------
    SimilarityError
        There is none, or several are called so.
    """
    table = tracks.facts.table
    ids = table["album_id"].to_numpy(zero_copy_only=False)
    mask = ids == name
    if not mask.any():
        titles = tracks.facts.spellings("album", name)
        mask = np.isin(table["album"].to_numpy(zero_copy_only=False).astype(object), titles)
        called = sorted({one for one in ids[mask] if one is not None})
        if len(called) > 1:
            raise SimilarityError(f"{len(called)} albums are called {name!r}. Name one by: {', '.join(called)}.")
    return _centroid(tracks, f"album {name}", np.append(mask, False)[tracks.fact_rows])


def of_artist(tracks: IndexedTracks, name: str) -> Query:
    """Ask for what sounds like an artist, by the mean of the tracks.

    Raises
    ------
    SimilarityError
        There is none of that name.
    """
    spellings = tracks.facts.spellings("artists", name)
    return _centroid(tracks, f"artist {spellings[0]}", tracks.may_be_found(Where(artists=tuple(spellings))))


def _centroid(tracks: IndexedTracks, name: str, mask: np.ndarray) -> Query:
    rows = np.flatnonzero(mask & tracks.index.live)
    if len(rows) == 0:
        raise SimilarityError(f"No track of the index is of the {name}.")
    ids = tuple(dict.fromkeys(tracks.index.ids[rows].tolist()))
    return Query(
        name=name,
        vectors=to_unit(tracks.index.vectors(rows).mean(axis=0), name)[np.newaxis],
        starts_s=np.zeros(1),
        track_ids=ids,
        tags=tracks.tags_of(rows),
    )


def rows_allowed(tracks: IndexedTracks, query: Query, where: Where | str | None, *, same_album: bool) -> np.ndarray:
    """Rows that may be found for a query [shape=(rows,), dtype=bool]: not its own, nor by default its albums'."""
    allowed = tracks.may_be_found(where)
    own = np.concatenate([np.zeros(0, np.int64), *(tracks.rows_of(one) for one in query.track_ids)])
    if not same_album:
        allowed &= ~tracks.albums.members(tracks.albums.of(own)[0])
    allowed[own] = False
    return allowed


def search_of(tracks: IndexedTracks, query: Query) -> Search:
    """Give what finds the rows that are best for a query."""
    scores = query.scores
    if scores is None:
        return lambda n, allowed: tracks.nearest(query.vectors, n, allowed)

    def by_score(n: int, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = np.flatnonzero(allowed & (scores > 0))
        rows = rows[np.argsort(-scores[rows], kind="stable")][:n]
        return scores[rows], rows

    return by_score
