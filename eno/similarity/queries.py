"""Queries from tracks, files, passages, texts, tags, albums and artists."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eno.errors import ConfigError, SimilarityError
from eno.files import Section, printable
from eno.similarity.indexed import IndexedTracks
from eno.similarity.lookup import unknown_track
from eno.similarity.query import NOTHING, Query, to_unit
from eno.similarity.reranking import Search
from eno.similarity.where import Where

if TYPE_CHECKING:
    from eno.audio.windows import WindowPolicy
    from eno.encoders import Encoder
    from eno.similarity.query_audio import EncodedAudio
    from eno.spec import EncoderSpec


def of_track(tracks: IndexedTracks, track_id: str) -> Query:
    """Return the query of a track of the index."""
    rows = tracks.index.rows_of(track_id)
    if len(rows) == 0:
        raise unknown_track(track_id, tracks.names)
    vectors = tracks.index.vectors(rows)
    nonzero = np.linalg.norm(vectors, axis=1) > NOTHING
    if not nonzero.any():
        raise no_direction(track_id)
    starts = tracks.index.starts_s[rows]
    return Query(
        name=track_id,
        vectors=vectors[nonzero],
        starts_s=starts[nonzero],
        track_ids=(track_id,),
        tags=tracks.tags_of(rows),
    )


def no_direction(name: str) -> SimilarityError:
    """Return the error for a track or file whose vectors are zero in the index's space."""
    return SimilarityError(
        f"{name}: the embedding is silent or equals the collection average, so it has no meaningful neighbours. "
        "Try another track or file."
    )


def of_file(
    tracks: IndexedTracks,
    path: Path,
    encoder: Encoder,
    policy: WindowPolicy,
    *,
    section: Section | None = None,
    from_s: float | None = None,
    to_s: float | None = None,
    track_id: str | None = None,
) -> Query:
    """Return the query of an audio file or a passage of it.

    Parameters
    ----------
    encoder, policy
        Encoder and windows of the index's store.
    section : Section, optional
        Which part of the file the track is; by default all of it.
    from_s, to_s : float, optional
        Start and end of a passage in seconds.
    track_id : str, optional
        The track of the index that the file belongs to, if any.

    Raises
    ------
    AudioError
        The file cannot be read, or is silent.
    ConfigError
        The passage is too short.
    FingerprintMismatch
        The index holds vectors of another encoder.
    """
    from eno.similarity.query_audio import encode_audio

    tracks.index.require(encoder.spec)
    audio = encode_audio(path, encoder, policy, section=section, from_s=from_s, to_s=to_s)
    return of_audio(tracks, audio, encoder.spec, name=printable(path), from_s=from_s, track_id=track_id)


def of_audio(
    tracks: IndexedTracks,
    audio: EncodedAudio,
    spec: EncoderSpec,
    *,
    name: str,
    from_s: float | None = None,
    track_id: str | None = None,
    probabilities: np.ndarray | None = None,
) -> Query:
    """Return the query of audio that the index's encoder has encoded; see `of_file`.

    `probabilities` are those of the tags of `tracks` [shape=(tags,)], if they are already predicted.
    """
    index = tracks.index
    if index.level == "tracks":
        raw, starts = spec.renormalise(audio.vectors.mean(axis=0))[np.newaxis], np.array([from_s or 0.0])
    else:
        raw, starts = audio.vectors, audio.starts_s
    vectors = index.space.apply(raw.reshape(len(raw), *index.space.shape))
    if not vectors.any():
        raise no_direction(name)
    tags = {}
    if probabilities is None and tracks.tags is not None and tracks.tags.predict is not None:
        probabilities = tracks.tags.predict(audio.vectors)
    if probabilities is not None and tracks.tags is not None:
        tags = tracks.above_threshold(probabilities)
    elif track_id is not None:
        tags = tracks.tags_of(index.rows_of(track_id))
    notes: tuple[str, ...] = ()
    if audio.duration_s < spec.window_s:
        notes = (
            f"The audio is {audio.duration_s:.2g} s long and was repeated to fill the window of "
            f"{spec.window_s:.2g} s that {spec.name} needs.",
        )
    return Query(
        name=name,
        vectors=vectors,
        starts_s=starts,
        track_ids=() if track_id is None else (track_id,),
        tags=tags,
        notes=notes,
    )


def of_text(tracks: IndexedTracks, text: str, encoder: Encoder) -> Query:
    """Return the query of a text description; the encoder must have a text tower."""
    from eno.encoders.text import TextEncoder

    if not isinstance(encoder, TextEncoder):
        raise ConfigError(
            f"The encoder {encoder.spec.name!r} cannot encode text. Search by text in a store of 'clap' or 'laion'."
        )
    if not text.strip():
        raise ConfigError("The text is empty. Describe what to look for, for instance 'sad piano with rain'.")
    index = tracks.index
    index.require(encoder.spec)
    vectors = encoder.encode_text([text])
    mapped = index.space.apply_text(vectors.reshape(1, *index.space.shape))
    words = " ".join(re.findall(r"[\w&'-]+", text.casefold()))
    tags = {tag: 1.0 for tag in tracks.vocabulary() if f" {tag.casefold()} " in f" {words} "}
    return Query(name=repr(text), vectors=mapped, starts_s=np.zeros(1), tags=tags)


def of_tags(tracks: IndexedTracks, tags: Sequence[str]) -> Query:
    """Return the query for tracks with the highest predicted probability of having all of some tags."""
    if tracks.tags is None or not tags:
        raise ConfigError("A search by tags needs at least one tag, and a predictor. Specify it with --model.")
    if tracks.index.level != "tracks":
        raise ConfigError("Tags describe whole tracks. Search by tags without --windows.")
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
    """Return the query of an album (the mean of its tracks) by its title, or its ``album_id`` if that is ambiguous."""
    table = tracks.metadata.table
    ids = table["album_id"].to_numpy(zero_copy_only=False)
    mask = ids == name
    if not mask.any():
        titles = tracks.metadata.spellings("album", name)
        mask = np.isin(table["album"].to_numpy(zero_copy_only=False).astype(object), titles)
        candidates = sorted({one for one in ids[mask] if one is not None})
        if len(candidates) > 1:
            raise SimilarityError(
                f"{len(candidates)} albums are called {name!r}. Specify one by its id: {', '.join(candidates)}."
            )
    return _centroid(tracks, f"album {name}", np.append(mask, False)[tracks.metadata_rows])


def of_artist(tracks: IndexedTracks, name: str) -> Query:
    """Return the query of an artist: the mean of all tracks."""
    spellings = tracks.metadata.spellings("artists", name)
    return _centroid(tracks, f"artist {spellings[0]}", tracks.matching(Where(artists=tuple(spellings))))


def _centroid(tracks: IndexedTracks, name: str, mask: np.ndarray) -> Query:
    rows = np.flatnonzero(mask & tracks.index.live)
    if len(rows) == 0:
        raise SimilarityError(f"The index has no track of the {name}.")
    return Query(
        name=name,
        vectors=to_unit(tracks.index.vectors(rows).mean(axis=0), name)[np.newaxis],
        starts_s=np.zeros(1),
        track_ids=tuple(dict.fromkeys(tracks.index.ids[rows].tolist())),
        tags=tracks.tags_of(rows),
    )


def allowed_rows(tracks: IndexedTracks, query: Query, where: Where | str | None, *, same_album: bool) -> np.ndarray:
    """Return which rows a query may find [shape=(rows,), dtype=bool].

    The query's own tracks are excluded, and all tracks of their albums unless `same_album` is true.
    """
    allowed = tracks.matching(where)
    own = np.concatenate([np.zeros(0, np.int64), *(tracks.index.rows_of(one) for one in query.track_ids)])
    if not same_album:
        allowed &= ~tracks.albums.members(tracks.albums.of(own)[0])
    allowed[own] = False
    return allowed


def search_for(tracks: IndexedTracks, query: Query) -> Search:
    """Return the function that searches for a query."""
    scores = query.scores
    if scores is None:
        return lambda n, allowed: tracks.nearest(query.vectors, n, allowed)

    def by_score(n: int, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = np.flatnonzero(allowed & (scores > 0))
        rows = rows[np.argsort(-scores[rows], kind="stable")][:n]
        return scores[rows], rows

    return by_score
