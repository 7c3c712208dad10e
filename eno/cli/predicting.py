"""What commands that name tags share: a predictor, and the tags of files or of a store's tracks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from eno.cli.options import encoder_of, policy_of
from eno.config import Settings
from eno.errors import AudioError, ConfigError

if TYPE_CHECKING:
    from eno.embeddings.store.embedding_store import EmbeddingStore
    from eno.inference.predictions import TagProbability
    from eno.inference.predictor import EnoPredictor

_TEXT_ENCODERS = ("clap", "laion")


class Vocabulary(StrEnum):
    """Tag sets that musicnn brings along."""

    mtt = "mtt"
    msd = "msd"


@dataclass(frozen=True)
class Tagged:
    """Tags of a file, of a track of a store, or of an album.

    Attributes
    ----------
    name : str
        A file, an id of the store, or the folder of the album.
    members : tuple of str
        The files or ids that these are the tags of.
    found : list of TagProbability or AudioError
        Every tag, the likeliest first, or why there are none.
    """

    name: str
    members: tuple[str, ...]
    found: list[TagProbability] | AudioError


def predictor_of(
    chosen: Settings,
    model: Path | None = None,
    encoder: str | None = None,
    tags: str | None = None,
    tags_file: Path | None = None,
    prompt: list[str] | None = None,
    vocabulary: Vocabulary = Vocabulary.mtt,
) -> EnoPredictor:
    """Load a trained predictor, or make one of words, or take musicnn's own tags."""
    from eno.data.labels.encoder import LabelEncoder
    from eno.encoders import is_own
    from eno.inference.predictor import EnoPredictor

    if tags is not None or tags_file is not None:
        from eno.inference.zero_shot import read_tags  # which takes SciPy's optimisers along

        known = chosen.encoder in _TEXT_ENCODERS or is_own(chosen.encoder)
        loaded = encoder_of(chosen, encoder or (chosen.encoder if known else _TEXT_ENCODERS[0]))
        words = [word.strip() for word in (tags or "").split(",") if word.strip()]
        labels = LabelEncoder([], words) if tags_file is None else read_tags(tags_file)
        return EnoPredictor.zero_shot(loaded, labels, templates=prompt, policy=policy_of(chosen))
    if model is not None:
        from eno.inference.predictor_folder import read_description

        if encoder is not None:
            return EnoPredictor.load(model, device=chosen.device, encoder=encoder_of(chosen, encoder))
        options = chosen.options_of(read_description(model).spec.name)
        location = {key: value for key, value in options.items() if key in ("model", "revision")}
        return EnoPredictor.load(model, device=chosen.device, dtype=chosen.dtype, **location)
    if encoder not in (None, "musicnn"):
        raise ConfigError(f"The encoder {encoder!r} has no tags of its own: name some with --tags, or a --model.")
    return EnoPredictor.musicnn(vocabulary.value, device=chosen.device, policy=policy_of(chosen))


def open_store(path: str, predictor: EnoPredictor) -> EmbeddingStore:
    """Open a store whose vectors are those of the predictor's encoder."""
    from eno.embeddings.store.embedding_store import EmbeddingStore

    opened = EmbeddingStore.open(path)
    opened.require(predictor.encoder.spec)
    predictor.policy = opened.policy  # what is calibrated on these vectors and saved listens to the same windows
    return opened


def from_files(predictor: EnoPredictor, paths: list[Path], album: bool) -> Iterator[Tagged]:
    """Tag files and the files in folders, or each folder as one album."""
    from eno.data.library.files import expand_audio

    files = expand_audio(paths)
    if not album:
        for one in predictor.predict_many(files):
            yield Tagged(str(one.path), (str(one.path),), one.error or one.tags)
        return
    for folder, group in groupby(files, key=lambda path: path.parent):
        tracks = tuple(map(str, group))
        try:
            yield Tagged(str(folder), tracks, predictor.name_tags(predictor.predict_album_proba(tracks), album=True))
        except AudioError as error:
            yield Tagged(str(folder), tracks, error)


def from_store(predictor: EnoPredictor, store: EmbeddingStore, album: bool) -> Iterator[Tagged]:
    """Tag the tracks of a store by their vectors, or each of its folders as one album."""
    ids = store.track_ids()
    if not ids:
        return
    probabilities = predictor.predict_tracks(store, ids)
    if not album:
        for name, row in zip(ids, probabilities, strict=True):
            yield Tagged(name, (name,), predictor.name_tags(row))
        return
    folders = [str(PurePosixPath(name).parent) for name in ids]
    members: dict[str, list[str]] = {}
    for folder, name in zip(folders, ids, strict=True):
        members.setdefault(folder, []).append(name)
    for folder, row in zip(*predictor.combine_tracks(probabilities, folders), strict=True):
        yield Tagged(folder, tuple(members[folder]), predictor.name_tags(row, album=True))
