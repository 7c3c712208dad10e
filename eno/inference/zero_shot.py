"""Zero-shot tagging: prompts for tags, and labelled tracks for calibration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eno.data.labels.encoder import LabelEncoder
from eno.data.names import clean_label, label_key
from eno.encoders import Encoder
from eno.encoders.text import TextEncoder
from eno.errors import ConfigError, LabelError
from eno.files import csv_records, read_lines
from eno.models.heads.zero_shot import ZeroShotHead

DEFAULT_TEMPLATES = ("This audio is a {} song.", "{} music", "a {} track", "The music is {}.")
"""The first template is from CLAP's authors; averaging over several makes results less dependent on wording."""


def zero_shot_head(encoder: Encoder, labels: LabelEncoder, templates: Sequence[str] | None = None) -> ZeroShotHead:
    """Create an uncalibrated head from the names of tags; the encoder must have a text tower.

    A tag's vector is the mean over prompts made from the `templates`, by default `DEFAULT_TEMPLATES`. A ConfigError is
    raised if a template has no ``{}`` for the tag, if there are no tags, or if the encoder takes no text.
    """
    templates = list(templates or DEFAULT_TEMPLATES)
    if not isinstance(encoder, TextEncoder):
        raise ConfigError(f"The encoder {encoder.spec.name!r} cannot encode text. Choose 'clap' or 'laion'.")
    if not labels.all_labels:
        raise ConfigError("There are no tags. Specify at least one.")
    for template in templates:
        if "{}" not in template:
            raise ConfigError(f"The prompt {template!r} has no {{}} for the tag. Example: {DEFAULT_TEMPLATES[0]!r}.")
    # The last prompt has an empty tag, for a neutral vector.
    tags = [*labels.all_labels, ""]
    texts = [_fill(template, tag) for tag in tags for template in templates]
    distinct = sorted(set(texts))
    vector_of = dict(zip(distinct, encoder.encode_text(distinct), strict=True))
    means = np.stack([vector_of[text] for text in texts]).reshape(len(tags), len(templates), -1).mean(axis=1)
    return ZeroShotHead(prompts=means[:-1], neutral=means[-1], logit_scale=encoder.logit_scale)


def read_tags(path: Path) -> LabelEncoder:
    """Read tags from a text file with one tag per line, or from a vocabulary (.json) that ``eno labels`` wrote."""
    if path.suffix == ".json":
        return LabelEncoder.load(path)
    lines = map(clean_label, read_lines(path, LabelError))
    tags: dict[str, str] = {}
    for line in lines:
        if line and not line.startswith("#"):
            tags.setdefault(label_key(line), line)
    if not tags:
        raise LabelError(f"{path}: no tags found. Write one tag per line.")
    return LabelEncoder([], tags.values())


def read_labelled(path: Path, labels: LabelEncoder) -> tuple[list[str], np.ndarray]:
    """Read labelled tracks from a CSV file with the columns ``track`` and ``tag``, one row per tag.

    A track is taken to have no other tags than those listed; a row with an empty tag lists a track without tags. Tags
    that are not in `labels` are ignored.

    Returns
    -------
    tracks : list of str
        In the order of their first rows.
    Y : np.ndarray [shape=(n, num_labels), dtype=float32]
    """
    names, rows = csv_records(path, LabelError, separators=",;\t")
    if not rows or not {"track", "tag"} <= set(names):
        raise LabelError(f"{path}: expected the columns track and tag, and at least one row.")
    tags: dict[str, list[str]] = {}
    for _, row in rows:
        if row["track"]:
            tags.setdefault(row["track"], []).append(row["tag"])
    Y = np.stack([labels.encode(one, [], one, dict.fromkeys(labels.others, one)) for one in tags.values()])
    return list(tags), Y


def _fill(template: str, tag: str) -> str:
    text = " ".join(template.replace("{}", tag).split())
    return text or "music"
