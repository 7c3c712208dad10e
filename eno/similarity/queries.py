"""What a search starts from: tracks, files, passages, texts, tags, albums, artists, and mixtures of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from eno.data.windows import WindowPolicy
from eno.encoders import Encoder
from eno.encoders.text import TextEncoder
from eno.errors import ConfigError, SimilarityError
from eno.files import printable
from eno.similarity.indexed import IndexedTracks
from eno.similarity.listening import Heard, listen
from eno.similarity.where import Where

MINUS_WEIGHT = 0.5
"""How much "less like this" counts beside "more like that": with as much as 1, results are foremost unlike the one."""

_NOTHING = 1e-3


@dataclass(frozen=True, kw_only=True, eq=False)
class Query:
    """What to look for.

    Attributes
    ----------
    name : str
        What it is, for people.
    vectors : np.ndarray [shape=(n, dim), dtype=float32]
        Unit vectors in the index's space. A row's score is its highest cosine to any of them.
    starts_s : np.ndarray [shape=(n,)]
        Where in a file or track each vector comes from, in seconds; 0 where that means nothing.
    track_ids : tuple of str
        Tracks that it is made of, which are never found.
    tags : dict of str to float
        Its own tags, and how surely it has them.
    scores : np.ndarray, optional [shape=(rows,)]
        The score of each row of the index, in place of vectors.
    notes : tuple of str
        What a person should know about it.
    """

    name: str
    vectors: np.ndarray
    starts_s: np.ndarray
    track_ids: tuple[str, ...] = ()
    tags: dict[str, float] = field(default_factory=dict)
    scores: np.ndarray | None = None
    notes: tuple[str, ...] = ()


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
    sounding = np.linalg.norm(vectors, axis=1) > _NOTHING
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
    index = tracks.index
    index.require(encoder.spec)
    heard = listen(path, encoder, policy, from_s=from_s, to_s=to_s)
    if index.level == "tracks":
        raw, starts = encoder.spec.to_length(heard.vectors.mean(axis=0))[np.newaxis], np.array([from_s or 0.0])
    else:
        raw, starts = heard.vectors, heard.starts_s
    vectors = index.space.apply(raw.reshape(len(raw), *index.space.shape))
    name = printable(path)
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
        vectors=_unit(tracks.index.vectors(rows).mean(axis=0), name)[np.newaxis],
        starts_s=np.zeros(1),
        track_ids=ids,
        tags=tracks.tags_of(rows),
    )


def mix(plus: Sequence[Query], minus: Sequence[Query] = ()) -> Query:
    """More like some, less like others: the mean of the ones, less half of that of the others.

    Parameters
    ----------
    plus, minus : sequence of Query
        Several queries, at least one in `plus`. One alone stays what it is.

    Raises
    ------
    ConfigError
        There is none, or a search by tags among several.
    SimilarityError
        Nothing is left after the subtraction.
    """
    if not plus:
        raise ConfigError("There is nothing to search for: name a track, a file, a text, tags, an album or an artist.")
    if len(plus) == 1 and not minus:
        return plus[0]
    if any(one.scores is not None for one in (*plus, *minus)):
        raise ConfigError("A search by tags cannot be mixed with others.")
    name = " + ".join(one.name for one in plus) + "".join(f" − {one.name}" for one in minus)
    centre = np.mean([_unit(one.vectors.mean(axis=0), one.name) for one in plus], axis=0)
    if minus:
        centre = centre - MINUS_WEIGHT * np.mean([_unit(one.vectors.mean(axis=0), one.name) for one in minus], axis=0)
    sure = {tag: [one.tags[tag] for one in plus if tag in one.tags] for one in plus for tag in one.tags}
    tags = {tag: sum(values) / len(plus) for tag, values in sure.items() if 2 * len(values) >= len(plus)}
    return Query(
        name=name,
        vectors=_unit(centre, name)[np.newaxis],
        starts_s=np.zeros(1),
        track_ids=tuple(dict.fromkeys(track for one in (*plus, *minus) for track in one.track_ids)),
        tags=dict(sorted(tags.items(), key=lambda item: -item[1])),
        notes=tuple(dict.fromkeys(note for one in (*plus, *minus) for note in one.notes)),
    )


def _unit(vector: np.ndarray, name: str) -> np.ndarray:
    length = float(np.linalg.norm(vector))
    if length < _NOTHING:
        raise SimilarityError(f"{name}: nothing is left of the query; what it is made of cancels out.")
    scaled: np.ndarray = (vector / length).astype(np.float32)
    return scaled
