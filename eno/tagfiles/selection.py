"""Selection of the predicted tags to write, and of the fields to write them to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from eno.data.library.files import AUDIO_SUFFIXES
from eno.errors import AudioError, LabelError
from eno.files import printable, read_lines
from eno.inference.predictions import TagProbability

_NAMES = ("track_id", "folder", "path")  # the last one in output of earlier versions
_FAMILIES = {"genres": "genre", "descriptors": "descriptor", "tags": "descriptor"}


@dataclass(frozen=True, kw_only=True)
class TagChoice:
    """Rules for the tags to write.

    Parameters
    ----------
    min_probability : float, optional
        Minimum probability of a tag. By default, tags must exceed the thresholds of the predictor.
    limit : int, optional
        Maximum number of genres, and of descriptors; the most probable ones are used.
    descriptors_as : {"mood", "style", "both"}
        The field for descriptors.
    """

    min_probability: float | None = None
    limit: int | None = None
    genres_only: bool = False
    descriptors_as: str = "mood"

    def fields(self, tags: Iterable[TagProbability]) -> dict[str, list[str]]:
        """Return the values of each field for `eno.tagfiles.edits.plan_edit`, most probable first.

        Examples
        --------
        >>> tags = [TagProbability("Dub", "genre", 0.4, 0.3), TagProbability("calm", "descriptor", 0.2, 0.3)]
        >>> TagChoice().fields(tags)
        {'genre': ['Dub']}
        >>> TagChoice(min_probability=0.1, descriptors_as="style").fields(tags)
        {'genre': ['Dub'], 'style': ['calm']}
        """
        named = sorted((tag for tag in tags if self._is_named(tag)), key=lambda tag: -tag.probability)
        genres, descriptors = (
            [tag.tag for tag in named if tag.family == one][: self.limit] for one in ("genre", "descriptor")
        )
        found = {"genre": genres}
        if not self.genres_only:
            places = ("mood", "style") if self.descriptors_as == "both" else (self.descriptors_as,)
            found |= dict.fromkeys(places, descriptors)
        return {field: values for field, values in found.items() if values}

    def _is_named(self, tag: TagProbability) -> bool:
        if self.min_probability is None:
            return tag.probability > tag.threshold
        return tag.probability >= self.min_probability


def read_tagged(path: Path) -> Iterator[tuple[str, list[TagProbability] | AudioError]]:
    """Yield name and tags, or an error, from the output of ``eno tag --json``; all of its tags count as predicted.

    A name is a file, a folder (with ``--album``), or the id of a track in a store.

    Raises
    ------
    LabelError
        The file cannot be read, or a line has another format.
    """
    for number, line in enumerate(read_lines(path, LabelError), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            name = next(row[key] for key in _NAMES if key in row)
            if "error" in row:
                yield name, AudioError(name, str(row["error"]))
                continue
            tags = [
                TagProbability(tag, family, float(probability), -1.0)
                for heading, family in _FAMILIES.items()
                for tag, probability in row.get(heading, {}).items()
            ]
        except (ValueError, StopIteration, TypeError, AttributeError) as error:
            raise LabelError(
                f"{printable(path)}: line {number} is not output of 'eno tag --json' ({error!r}); expected an object "
                "with track_id or folder, genres and descriptors."
            ) from error
        yield name, tags


def album_files(folder: Path) -> list[Path]:
    """Return the audio files in a folder, without those in its subfolders, in order."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".") and not path.is_dir()
    )
