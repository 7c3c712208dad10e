"""Selection of the predicted tags to write, and of their fields."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from eno.data.library.walking import is_audio
from eno.errors import AudioError, LabelError
from eno.files import printable, read_lines
from eno.inference.predictions import TagProbability

_NAMES = ("track_id", "folder", "path")  # path is from earlier versions
_FAMILIES = {"genres": "genre", "descriptors": "descriptor", "tags": "descriptor"}


@dataclass(frozen=True, kw_only=True)
class TagChoice:
    """Rules for the tags to write."""

    min_probability: float | None = None  # by default, tags must exceed the thresholds of the predictor
    limit: int | None = None  # of genres, and of descriptors; the most probable ones are used
    genres_only: bool = False
    descriptors_as: str = "mood"  # or "style" or "both"

    def fields(self, tags: Iterable[TagProbability]) -> dict[str, list[str]]:
        """Return the values of each field, most probable first.

        Examples
        --------
        >>> tags = [TagProbability("Dub", "genre", 0.4, 0.3), TagProbability("calm", "descriptor", 0.2, 0.3)]
        >>> TagChoice().fields(tags)
        {'genre': ['Dub']}
        >>> TagChoice(min_probability=0.1, descriptors_as="style").fields(tags)
        {'genre': ['Dub'], 'style': ['calm']}
        """
        selected = sorted((tag for tag in tags if self._is_selected(tag)), key=lambda tag: -tag.probability)
        genres, descriptors = (
            [tag.tag for tag in selected if tag.family == one][: self.limit] for one in ("genre", "descriptor")
        )
        found = {"genre": genres}
        if not self.genres_only:
            places = ("mood", "style") if self.descriptors_as == "both" else (self.descriptors_as,)
            found |= dict.fromkeys(places, descriptors)
        return {field: values for field, values in found.items() if values}

    def _is_selected(self, tag: TagProbability) -> bool:
        if self.min_probability is None:
            return tag.probability > tag.threshold
        return tag.probability >= self.min_probability


def read_tagged(path: Path) -> Iterator[tuple[str, list[TagProbability] | AudioError, bool]]:
    """Yield the name, the tags or error, and whether it is unfamiliar, of each line of ``eno tag --json``.

    The name is a file, a folder (with ``--album``), or the id of a track in a store. All tags exceed their thresholds.
    """
    for number, line in enumerate(read_lines(path, LabelError), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            name = next(row[key] for key in _NAMES if key in row)
            if "error" in row:
                yield name, AudioError(name, str(row["error"])), False
                continue
            unfamiliar = row.get("unfamiliar", False)
            if not isinstance(unfamiliar, bool):
                raise ValueError(f"unfamiliar is {unfamiliar!r}")
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
        yield name, tags, unfamiliar


def album_files(folder: Path) -> list[Path]:
    """Return the audio files in a folder, but not in its subfolders, sorted by name."""
    return sorted(path for path in folder.iterdir() if is_audio(path.name) and not path.is_dir())
