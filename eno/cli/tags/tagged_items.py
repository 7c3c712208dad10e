"""Tags of files and of the tracks of stores, one by one, for the commands that show and write them."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeAlias

from eno.console import console, progress
from eno.errors import AudioError, ConfigError
from eno.files import printable, section_file

if TYPE_CHECKING:
    import numpy as np

    from eno.embeddings.store.joined_stores import Stores
    from eno.files import Section
    from eno.inference.predictions import TagProbability
    from eno.inference.predictor import EnoPredictor
    from eno.library import Library

_TOP = 5


@dataclass(frozen=True)
class Tagged:
    """Tags of a track or album by descending probability, or why there are none.

    `name` is a file, track id or album folder; `members` are the files or track ids that these tags belong to. For
    `familiarity` see `eno.inference.predictions.Prediction`.
    """

    name: str
    members: tuple[str, ...]
    found: list[TagProbability] | AudioError
    familiarity: float | None = None

    @property
    def unfamiliar(self) -> bool:
        """Whether the track or album is unlike the tracks that the predictor was trained on."""
        from eno.models.familiarity import is_unfamiliar

        return is_unfamiliar(self.familiarity)


@dataclass(frozen=True)
class Selection:
    """Which tags are shown: all above a threshold, the `top` of each family, or those above their own thresholds."""

    top: int | None = None
    threshold: float | None = None

    @classmethod
    def for_predictor(cls, predictor: EnoPredictor, top: int | None, threshold: float | None) -> Selection:
        """Select what the user asked for; by default the top five, if thresholds of tags were not chosen."""
        return cls(top or (_TOP if predictor.calibration is None and threshold is None else None), threshold)

    def keeps(self, rank: int, tag: TagProbability) -> bool:
        """Return whether a tag is shown, from its rank in its family."""
        if self.threshold is not None:
            return tag.probability > self.threshold
        return rank < self.top if self.top is not None else tag.probability > tag.threshold

    def of_family(self, tags: Sequence[TagProbability], family: str) -> list[TagProbability]:
        """Return the tags of a family that are shown."""
        return [tag for rank, tag in enumerate(tag for tag in tags if tag.family == family) if self.keeps(rank, tag)]

    def of(self, predictor: EnoPredictor, probabilities: np.ndarray, *, album: bool) -> np.ndarray:
        """Return the tags of each row that `keeps` may keep [shape=(n, num_labels), dtype=bool], and tied ones."""
        import numpy as np

        if self.threshold is not None:
            return probabilities >= np.float32(self.threshold)
        if self.top is None:
            return probabilities >= (predictor.album_thresholds if album else predictor.thresholds).astype(np.float32)
        chosen = np.zeros(probabilities.shape, bool)
        families = np.array(predictor.labels.families)
        for family in np.unique(families):
            columns = np.flatnonzero(families == family)
            some, last = probabilities[:, columns], max(len(columns) - self.top, 0)
            chosen[:, columns] = some >= np.partition(some, last, axis=1)[:, last, np.newaxis]
        return chosen


def open_for(predictor: EnoPredictor, stores: list[str]) -> Stores:
    """Open the stores of a predictor's encoders, and check that they are."""
    from eno.embeddings.store.joined_stores import open_stores

    opened = open_stores(stores).require(*predictor.specs)
    predictor.policies = opened.policies  # so that a saved predictor uses the windows that it was calibrated on
    return opened


def from_files(predictor: EnoPredictor, paths: list[Path], album: bool, library: Library) -> Iterator[Tagged]:
    """Tag files, including those in folders, and sections of files of the collection; or each folder as one album."""
    from eno.data.library.files import expand_audio

    files, unread = expand_audio(paths, library.settings.exclude)
    sections = _sections(files, library)
    for unlisted, reason in unread.items():
        yield Tagged(str(unlisted), (str(unlisted),), AudioError(unlisted, reason))
    if not album:
        for one in predictor.predict_many(files, sections=sections):
            yield Tagged(str(one.path), (str(one.path),), one.error or one.tags, one.familiarity)
        return
    for folder, group in groupby(files, key=lambda path: path.parent):
        tracks = tuple(map(str, group))
        try:
            whole = predictor.album_prediction(tracks, sections=sections)
            yield Tagged(str(folder), tracks, whole.tags, whole.familiarity)
        except AudioError as error:
            yield Tagged(str(folder), tracks, error)


def is_section(name: str) -> bool:
    """Return whether the name of a file or track stands for a section of a file, such as ``mix.flac#07``."""
    return section_file(name) is not None and not os.path.exists(name)


def _sections(files: list[Path], library: Library) -> dict[Path, tuple[Path, Section]]:
    """Return the files and limits of the paths that stand for sections of files; the scan knows them."""
    from eno.data.imports.paths import TrackPaths

    named = [path for path in files if is_section(str(path))]
    if not named:
        return {}
    roots = library.audio_roots
    tracks = TrackPaths(roots.sections, roots.folders)
    found = {path: tracks.find(str(path)) for path in named}
    if unknown := [path for path, ids in found.items() if len(ids) != 1]:
        raise ConfigError(
            f"{printable(unknown[0])}: there is no such file, and the collection has no such section of a file. If "
            "its CUE sheet is new, run: eno scan"
        )
    return {path: (roots.file(ids[0]), roots.sections[ids[0]]) for path, ids in found.items()}


def from_store(
    predictor: EnoPredictor, store: Stores, album: bool, selection: Selection | None = None
) -> Iterator[Tagged]:
    """Tag the tracks of a store from their vectors, or each of its folders as one album; name the selected tags only.

    Tracks are predicted in batches, and albums as soon as all of their tracks are predicted.
    """
    ids = store.track_ids()
    if not ids:
        return
    # On a terminal the results themselves show how far it is.
    bar: AbstractContextManager[Callable[..., None]] = (
        nullcontext(lambda done, total: None) if console.is_terminal else progress("tagging")
    )
    with bar as show:
        done = 0
        for names, probabilities, familiarity in (_albums if album else _tracks)(predictor, store, ids):
            chosen = None if selection is None else selection.of(predictor, probabilities, album=album)
            tags = predictor.name_rows(probabilities, album=album, chosen=chosen)
            for (name, members), found, one in zip(names, tags, familiarity, strict=True):
                yield Tagged(name, members, found, one)
            done += sum(len(members) for _, members in names)
            show(done, len(ids))


_Batch: TypeAlias = tuple[list[tuple[str, tuple[str, ...]]], "np.ndarray", "Sequence[float | None]"]


def _tracks(predictor: EnoPredictor, store: Stores, ids: list[str]) -> Iterator[_Batch]:
    for rows, X in predictor.vector_batches(store, ids):
        names = [ids[row] for row in rows.tolist()]
        yield [(name, (name,)) for name in names], predictor.predict_vectors(X), predictor.familiarity_of(X)


def _albums(predictor: EnoPredictor, store: Stores, ids: list[str]) -> Iterator[_Batch]:
    import numpy as np

    from eno.models.familiarity import of_album

    folder_of = {name: str(PurePosixPath(name).parent) for name in ids}
    expected = Counter(folder_of.values())
    waiting: dict[str, list[tuple[str, np.ndarray, float | None]]] = defaultdict(list)
    for names, probabilities, familiarity in _tracks(predictor, store, sorted(ids, key=folder_of.__getitem__)):
        for (name, _), row, known in zip(names, probabilities, familiarity, strict=True):
            waiting[folder_of[name]].append((name, row, known))
        complete = [folder for folder, tracks in waiting.items() if len(tracks) == expected[folder]]
        if not complete:
            continue
        tracks = {folder: sorted(waiting.pop(folder), key=lambda track: track[0]) for folder in complete}
        rows = np.stack([row for folder in complete for _, row, _ in tracks[folder]])
        folders, combined = predictor.combine_tracks(rows, [folder for folder in complete for _ in tracks[folder]])
        yield (
            [(folder, tuple(name for name, _, _ in tracks[folder])) for folder in folders],
            combined,
            [of_album([known for _, _, known in tracks[folder]]) for folder in folders],
        )


def written(tagged: Iterator[Tagged], selection: Selection, out: Path) -> Iterator[Tagged]:
    """Write the tags that are shown to a Parquet file on the way."""
    from eno.inference.export import TagFile

    with TagFile(out) as file:
        for one in tagged:
            if not isinstance(one.found, AudioError):
                families = dict.fromkeys(["genre", "descriptor", *(tag.family for tag in one.found)])
                kept = [tag for family in families for tag in selection.of_family(one.found, family)]
                file.add(one.name, kept, one.familiarity)
            yield one
