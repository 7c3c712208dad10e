"""Tags that nobody trained: prompts for them, and labelled tracks to calibrate on."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eno.data.labels.encoder import LabelEncoder
from eno.encoders import Encoder
from eno.encoders.text import TextEncoder
from eno.errors import ConfigError, LabelError
from eno.files import read_lines
from eno.models.zero_shot import ZeroShotHead

DEFAULT_TEMPLATES = ("This audio is a {} song.", "{} music", "a {} track", "The music is {}.")
"""The first is that of CLAP's authors; the others make the mean depend less on its grammar."""


def zero_shot_head(encoder: Encoder, labels: LabelEncoder, templates: Sequence[str] | None = None) -> ZeroShotHead:
    """Make a head out of the names of tags.

    Parameters
    ----------
    encoder : Encoder
        One with a text tower.
    labels : LabelEncoder
        The tags.
    templates : sequence of str, optional
        Prompts, each with ``{}`` for the tag.

    Returns
    -------
    ZeroShotHead
        Not calibrated.

    Raises
    ------
    ConfigError
        The encoder takes no text, there are no tags, or a template has no ``{}``.
    """
    templates = list(templates or DEFAULT_TEMPLATES)
    if not isinstance(encoder, TextEncoder):
        raise ConfigError(f"The encoder {encoder.spec.name!r} takes no text; tags by name need 'clap' or 'laion'.")
    if not labels.all_labels:
        raise ConfigError("There are no tags to look for.")
    for template in templates:
        if "{}" not in template:
            raise ConfigError(f"The prompt {template!r} has no {{}} for the tag, as in {DEFAULT_TEMPLATES[0]!r}.")
    # The empty tag last: what these prompts say when they say nothing.
    tags = [*labels.all_labels, ""]
    texts = [_fill(template, tag) for tag in tags for template in templates]
    distinct = sorted(set(texts))
    vector_of = dict(zip(distinct, encoder.encode_text(distinct), strict=True))
    means = np.stack([vector_of[text] for text in texts]).reshape(len(tags), len(templates), -1).mean(axis=1)
    return ZeroShotHead(prompts=means[:-1], neutral=means[-1], logit_scale=encoder.logit_scale)


def read_tags(path: Path) -> LabelEncoder:
    """Read tags: one a line, or the vocabulary that ``eno labels`` wrote.

    Raises
    ------
    LabelError
        The file cannot be read, or holds no tags.
    """
    if path.suffix == ".json":
        return LabelEncoder.load(path)
    lines = [line.strip() for line in read_lines(path, LabelError)]
    tags = [line for line in lines if line and not line.startswith("#")]
    if not tags:
        raise LabelError(f"{path}: holds no tags; write one a line.")
    return LabelEncoder([], tags)


def read_labelled(path: Path, labels: LabelEncoder) -> tuple[list[str], np.ndarray]:
    """Read labelled tracks from CSV with the columns ``track`` and ``tag``, one tag a row.

    Parameters
    ----------
    path : Path
        The file. A track has every tag that it is listed with and none of the others; a row with an empty tag names a
        track that has none.
    labels : LabelEncoder
        The tags; others in the file are passed over.

    Returns
    -------
    tracks : list of str
        In the order in which they come first.
    Y : np.ndarray [shape=(n, num_labels), dtype=float32]
        Their labels.

    Raises
    ------
    LabelError
        The file cannot be read, or lacks a column.
    """
    rows = list(csv.DictReader(read_lines(path, LabelError)))
    if not rows or not {"track", "tag"} <= set(rows[0]):
        raise LabelError(f"{path}: needs the columns track and tag, and at least one row.")
    tags: dict[str, list[str]] = {}
    for row in rows:
        if row["track"]:
            tags.setdefault(row["track"], []).append(row["tag"] or "")
    Y = np.stack([labels.encode(names, [], names) for names in tags.values()])
    return list(tags), Y


def _fill(template: str, tag: str) -> str:
    text = " ".join(template.replace("{}", tag).split())
    return text or "music"
