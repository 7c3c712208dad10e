"""What the demo prints about tracks, in lines of at most 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.markup import escape

from eno.inference.predictor import EnoPredictor
from eno.similarity.sounds_like import SoundsLike

_NEIGHBOURS = 3
_WIDTH = 80


def first_tags(audio: Path) -> Iterator[str]:
    """Tag the first file below a folder with musicnn's own tags."""
    path = next(path for path in sorted(audio.rglob("*")) if path.is_file())
    yield f"[bold]{_shown(path)}[/]"
    names = [f"{tag.tag} {tag.probability:.2f}" for tag in EnoPredictor.musicnn("mtt").predict_tags(path)[:5]]
    yield from _wrapped(names, "tags of musicnn")


def tag_lines(predictor: EnoPredictor, audio: Path, truth: Mapping[str, np.ndarray]) -> Iterator[str]:
    """Compare the tags of some tracks, whose rows of labels are in `truth`, with the predicted ones."""
    for track_id, row in truth.items():
        true = [name for names in predictor.labels.decode(row).values() for name in names]
        tags = [tag for tag in predictor.predict_tags(audio / track_id) if tag.probability > tag.threshold]
        yield f"[bold]{_shown(audio / track_id)}[/]"
        yield from _wrapped([tag.tag for tag in tags if tag.tag in true], "right")
        yield from _wrapped([tag.tag for tag in tags if tag.tag not in true], "wrong")
        yield from _wrapped([name for name in true if name not in {tag.tag for tag in tags}], "missing")


def neighbour_lines(sounds: SoundsLike, ids: Sequence[str]) -> Iterator[str]:
    """List the nearest neighbours of some tracks on other albums."""
    for track_id in ids:
        yield f"[bold]{_shown(Path(track_id))}[/]"
        for found in sounds.like(track_id, k=_NEIGHBOURS):
            yield f"  {found.score:.2f} {_shown(Path(found.track_id), indent=7)}"
            yield from _wrapped(found.shared, "shared", indent=7)


def _wrapped(names: Sequence[str], heading: str, indent: int = 2) -> Iterator[str]:
    """Break a list of names between names."""
    if not names:
        return
    line = f"{' ' * indent}{heading}:"
    for number, name in enumerate(names):
        part = f" {name}" + "," * (number + 1 < len(names))
        if len(line) + len(part) > _WIDTH:
            yield escape(line)
            line = " " * (indent + 1)
        line += part
    yield escape(line)


def _shown(path: Path, indent: int = 3) -> str:
    """Shorten the name of a track to album and file, in one line."""
    text = f"{path.parent.name}/{path.name}"
    room = _WIDTH - indent
    return escape(text if len(text) <= room else f"{text[: room - 1]}…")
