"""Teach a predictor tags from a few examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from eno.data.families import DESCRIPTOR, family_name
from eno.data.layout import DataRoot
from eno.data.names import clean_label, label_key
from eno.embeddings.store.joined_stores import Stores
from eno.errors import AudioError, ConfigError, LabelError
from eno.files import AudioRoots, printable
from eno.models.taught.tags import Examples, TaughtTag, TaughtTags
from eno.similarity.lookup import match_track, unknown_track
from eno.similarity.metadata import TrackMetadata
from eno.spec import EncoderSpec
from eno.tagging import VectorTagger

_MIN_BACKGROUND, _MAX_BACKGROUND = 10, 5_000  # tracks; more would hardly change the result


class Teaching:
    """Finds the vectors of examples in a store or computes them, and fits tags to them.

    Parameters
    ----------
    store : EmbeddingStore or JoinedStores
        The collection, which serves as background.
    *specs : EncoderSpec
        Encoders of the predictor; the stores must be made with them.
    embed : callable
        Returns the mean vector of a file that is not in the store.
    audio_roots, data_root : optional
        Folders of the collection's audio, to find files in the store, and of its tables, to know artists.
    """

    def __init__(
        self,
        store: Stores,
        *specs: EncoderSpec,
        embed: Callable[[Path], np.ndarray],
        audio_roots: AudioRoots | None = None,
        data_root: DataRoot | None = None,
    ) -> None:
        store = store.require(*specs)
        self._store, self._embed, self._audio_roots = store, embed, audio_roots
        self._ids = pa.array(store.track_ids(), pa.string())
        self._metadata = TrackMetadata.read(self._ids, data_root)

    def examples(self, names: Iterable[Path | str], *, strict: bool = False) -> tuple[Examples, dict[str, AudioError]]:
        """Return the tracks or files of some names, and the errors of those that cannot be read.

        A name is a file, or one that `eno.similarity.lookup.find_track` finds. With `strict`, errors are raised.
        """
        tracks: list[str] = []
        outside: dict[str, np.ndarray] = {}
        failed: dict[str, AudioError] = {}
        for name in names:
            track = match_track(name, self._ids, self._metadata.table["title"], audio_roots=self._audio_roots)
            if track is not None:
                tracks.append(track)
            elif not Path(name).exists():
                raise unknown_track(name, self._ids)
            else:
                path = Path(name).resolve()
                try:
                    outside[printable(path)] = self._embed(path).ravel()
                except AudioError as error:
                    if strict:
                        raise
                    failed[str(name)] = error
        tracks = list(dict.fromkeys(tracks))
        width = int(np.prod(self._store.view([]).shape[1:]))
        known = np.asarray(self._store.view(tracks), np.float32).reshape(len(tracks), width)
        vectors = np.concatenate([known, np.array(list(outside.values()), np.float32).reshape(-1, width)])
        groups = [*self._groups(tracks), *(printable(Path(path).parent) for path in outside)]
        return Examples((*tracks, *outside), vectors, tuple(groups)), failed

    def _groups(self, tracks: Sequence[str]) -> list[str]:
        rows = map(self._metadata.row, self._metadata.rows_of(tracks).tolist())
        return [row["artist"] or row["album_id"] or row["track_id"] for row in rows]

    def teach(
        self,
        predictor: VectorTagger,
        tag: str,
        examples: Examples,
        counter_examples: Examples,
        *,
        family: str | None = None,
        replace: bool = False,
    ) -> TaughtTags:
        """Return the predictor's taught tags with this one added, or fitted again with these further examples.

        With `replace`, earlier examples are forgotten. Raises a LabelError if the predictor was trained on the tag, if
        there are no examples, if a track is an example and a counter-example, or if `family` cannot be a family's name.
        """
        tag, taught = clean_label(tag), predictor.taught or TaughtTags()
        family = None if family is None else family_name(family)
        before = taught.find(tag)
        _check(tag, before, predictor)
        both = set(examples.names) & set(counter_examples.names)
        if both:
            raise LabelError(f"{min(both)}: is both an example and a counter-example of {tag!r}. Choose one.")
        if before is not None:
            tag, family = before.name, family or before.family
            if not replace:  # what is said now takes precedence
                new = examples.names + counter_examples.names
                examples = before.examples.without(new).joined(examples)
                counter_examples = before.counter_examples.without(new).joined(counter_examples)
        if len(examples) == 0:
            raise LabelError(f"There are no examples of {tag!r}. Name files or tracks that have it.")
        background = self._background({*examples.names, *counter_examples.names})
        fitted = TaughtTag.fit(
            tag, family or DESCRIPTOR, examples, counter_examples, background, exponent=predictor.exponent
        )
        return taught.with_tag(fitted)

    def _background(self, without: set[str]) -> np.ndarray:
        ids = [track for track in self._ids.to_pylist() if track not in without]
        if len(ids) < _MIN_BACKGROUND:
            raise LabelError(
                f"{self._store.path}: has {len(ids)} tracks besides the examples, but at least {_MIN_BACKGROUND} are "
                "needed to compare with. Embed more of your collection with 'eno embed'."
            )
        rows = np.sort(np.random.default_rng(0).permutation(len(ids))[:_MAX_BACKGROUND])
        return np.asarray(self._store.view([ids[row] for row in rows]), np.float32).reshape(len(rows), -1)


def _check(tag: str, before: TaughtTag | None, predictor: VectorTagger) -> None:
    if not tag:
        raise ConfigError("The name of the tag is empty.")
    trained = {label_key(name): name for name in predictor.labels.all_labels}
    if before is None and label_key(tag) in trained:
        raise LabelError(
            f"The predictor was trained on the tag {trained[label_key(tag)]!r}, which cannot be taught. Choose another "
            "name; or correct its predictions in 'eno serve', and train with 'eno train --feedback'."
        )
