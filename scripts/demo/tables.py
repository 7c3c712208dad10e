"""The tables that the demo prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich import box
from rich.markup import escape
from rich.table import Table

from eno.inference.predictor import EnoPredictor
from eno.similarity.sounds_like import SoundsLike

_NEIGHBOURS = 3


def tags_table(predictor: EnoPredictor, audio: Path, truth: Mapping[str, np.ndarray]) -> Table:
    """Compare the tags of some tracks, whose rows of labels are in `truth`, with the predicted ones."""
    table = _table("predicted tags of some test tracks", track=2, true_tags=3, predicted_tags=3)
    for track_id, row in truth.items():
        true = [name for names in predictor.labels.decode(row).values() for name in names]
        predicted = [tag for tag in predictor.predict_tags(audio / track_id) if tag.probability > tag.threshold]
        marked = [f"{'[green]✓[/]' if tag.tag in true else '[red]✗[/]'} {escape(tag.tag)}" for tag in predicted]
        table.add_row(_short(track_id), escape(", ".join(true)), ", ".join(marked) or "[dim]none[/]")
    return table


def neighbours_table(sounds: SoundsLike, ids: Sequence[str]) -> Table:
    """List the nearest neighbours of some tracks on other albums."""
    table = _table("nearest neighbours on other albums", track=2, neighbour=2, cosine=None, shared_tags=3)
    for track_id in ids:
        for number, found in enumerate(sounds.like(track_id, k=_NEIGHBOURS)):
            own = _short(track_id) if number == 0 else ""
            table.add_row(own, _short(found.track_id), f"{found.score:.2f}", escape(", ".join(found.shared)))
    return table


def _table(title: str, **columns: int | None) -> Table:
    """Return an empty table with columns of relative widths; None is for numbers."""
    table = Table(title=title, box=box.SIMPLE_HEAD, show_lines=True)
    for name, ratio in columns.items():
        table.add_column(name.replace("_", " "), ratio=ratio, justify="left" if ratio else "right")
    return table


def _short(track_id: str) -> str:
    return escape("/".join(track_id.split("/")[-3:]))
