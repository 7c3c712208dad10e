"""Selection of the predicted tags to write, and of their fields."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eno.data.families import DESCRIPTOR, GENRE, HEADINGS, family_name
from eno.data.library.walking import is_audio
from eno.errors import AudioError, LabelError
from eno.files import printable, read_lines
from eno.inference.predictions import TagProbability
from eno.tagfiles.field_names import field_name

_NAMES = ("track_id", "folder", "path")  # path is from earlier versions
_FAMILIES = {"genres": GENRE, "descriptors": DESCRIPTOR, "tags": DESCRIPTOR}


@dataclass(frozen=True, kw_only=True)
class TagChoice:
    """Rules for the tags to write."""

    min_probability: float | None = None  # by default, tags must exceed the thresholds of the predictor
    limit: int | None = None  # of genres, of descriptors and so on; the most probable ones are used
    genres_only: bool = False
    descriptors_as: str = "mood"  # or "style" or "both"
    others: Mapping[str, str] = field(default_factory=dict)  # other family → field; families without are left out

    def fields(self, tags: Iterable[TagProbability]) -> dict[str, list[str]]:
        """Return the values of each field, most probable first.

        Examples
        --------
        >>> tags = [TagProbability("Dub", "genre", 0.4, 0.3), TagProbability("calm", "descriptor", 0.2, 0.3)]
        >>> TagChoice().fields(tags)
        {'genre': ['Dub']}
        >>> TagChoice(min_probability=0.1, descriptors_as="style").fields(tags)
        {'genre': ['Dub'], 'style': ['calm']}
        >>> TagChoice(others={"instruments": "grouping"}).fields([TagProbability("organ", "instruments", 0.9)])
        {'grouping': ['organ']}
        """
        selected = sorted((tag for tag in tags if self._is_selected(tag)), key=lambda tag: -tag.probability)
        found: dict[str, list[TagProbability]] = defaultdict(list)
        for family, fields in self._fields_of().items():
            own = [tag for tag in selected if tag.family == family][: self.limit]
            for one in fields:
                found[one] += own
        ranked = {name: sorted(own, key=lambda tag: -tag.probability) for name, own in found.items() if own}
        return {name: list(dict.fromkeys(tag.tag for tag in own)) for name, own in ranked.items()}

    def left_out(self, tags: Iterable[TagProbability]) -> list[str]:
        """Return the families of which there are tags, but no field to write them to."""
        families = dict.fromkeys(tag.family for tag in tags if self._is_selected(tag))
        return [] if self.genres_only else [family for family in families if family not in self._fields_of()]

    def _fields_of(self) -> dict[str, tuple[str, ...]]:
        if self.genres_only:
            return {GENRE: ("genre",)}
        descriptors = ("mood", "style") if self.descriptors_as == "both" else (self.descriptors_as,)
        return {GENRE: ("genre",), DESCRIPTOR: descriptors, **{family: (name,) for family, name in self.others.items()}}

    def _is_selected(self, tag: TagProbability) -> bool:
        if self.min_probability is None:
            return tag.probability > tag.threshold
        return tag.probability >= self.min_probability


def other_fields(named: Mapping[str, str]) -> dict[str, str]:
    """Check fields for the tags of other families than genres and descriptors, by family.

    Raises a LabelError if a family is one of these two, or if a name is not usable.
    """
    fields = {family_name(family): field_name(field) for family, field in named.items()}
    if fixed := sorted(fields.keys() & HEADINGS.keys()):
        raise LabelError(f"The family {fixed[0]} has its own field. Choose fields for other families only.")
    return fields


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
                for family, found in _by_family(row).items()
                for tag, probability in found.items()
            ]
        except (ValueError, StopIteration, TypeError, AttributeError) as error:
            raise LabelError(
                f"{printable(path)}: line {number} is not output of 'eno tag --json' ({error!r}); expected an object "
                "with track_id or folder, genres and descriptors."
            ) from error
        yield name, tags, unfamiliar


def _by_family(row: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the tags of each family. Of what else a line has, nothing is an object."""
    found = {heading: value for heading, value in row.items() if heading in _FAMILIES or isinstance(value, dict)}
    return {_FAMILIES.get(heading) or family_name(heading): value for heading, value in found.items()}


def album_files(folder: Path) -> list[Path]:
    """Return the audio files in a folder, but not in its subfolders, sorted by name."""
    return sorted(path for path in folder.iterdir() if is_audio(path.name) and not path.is_dir())
