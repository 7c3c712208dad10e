"""Which of the predicted tags a file is to say, and in which fields."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from eno.data.library.files import AUDIO_SUFFIXES
from eno.errors import AudioError, LabelError
from eno.files import printable, read_lines
from eno.inference.predictions import TagProbability

_FAMILIES = {"genres": "genre", "descriptors": "descriptor", "tags": "descriptor"}


@dataclass(frozen=True, kw_only=True)
class TagChoice:
    """Which tags are written.

    Parameters
    ----------
    min_probability : float, optional
        Tags from this probability on. Without it those above the thresholds that the predictor learned.
    limit : int, optional
        At most so many of the likeliest genres, and of the likeliest descriptors.
    genres_only : bool
        Leave descriptors out.
    descriptors_as : {"mood", "style", "both"}
        The field of descriptors.
    """

    min_probability: float | None = None
    limit: int | None = None
    genres_only: bool = False
    descriptors_as: str = "mood"

    def fields(self, tags: Iterable[TagProbability]) -> dict[str, list[str]]:
        """Values of each field, the likeliest first, as `eno.tagfiles.edits.plan_edit` takes them.

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
    """Read what ``eno tag --json`` printed.

    Parameters
    ----------
    path : Path
        JSON lines. What stands in them was chosen by that command: all of it counts as named.

    Yields
    ------
    name : str
        A file, a folder (with ``--album``), or an id of a store.
    found : list of TagProbability or AudioError
        Its tags, or why it has none.

    Raises
    ------
    LabelError
        The file cannot be read, or a line is of another kind.
    """
    for number, line in enumerate(read_lines(path, LabelError), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            name = row["path"]
            if "error" in row:
                yield name, AudioError(name, str(row["error"]))
                continue
            tags = [
                TagProbability(tag, family, float(probability), -1.0)
                for heading, family in _FAMILIES.items()
                for tag, probability in row.get(heading, {}).items()
            ]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LabelError(
                f"{printable(path)}: line {number} is none of 'eno tag --json' ({error!r}); expected an object with "
                "path, genres and descriptors."
            ) from error
        yield name, tags


def album_files(folder: Path) -> list[Path]:
    """Give the audio files that lie in a folder itself: the tracks of an album, in order."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".") and not path.is_dir()
    )
