"""Checkpoints of the labels trained so far, from which interrupted training resumes."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np

from eno.files import read_json_object, write_json
from eno.models.heads.lgbm.labels import LabelTrees
from eno.models.training_data import TrainingData, chunks, take

logger = logging.getLogger(__name__)

_STATE = "checkpoint.json"
_LABELS = "label-*.json"


class LabelCheckpoint:
    """A folder with one file per trained label. Labels with another key (see `key_of`) are removed."""

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        if read_json_object(folder / _STATE).get("key") != key:
            if any(folder.glob(_LABELS)):
                logger.warning(
                    "%s: the checkpoint has other data or settings; training starts from the beginning", folder
                )
            _clear(folder)
            write_json(folder / _STATE, {"key": key, "lightgbm": lgb.__version__})

    def finished(self) -> dict[int, LabelTrees]:
        """Return trained labels by index; unreadable files are ignored."""
        found = (read_json_object(path) for path in sorted(self._folder.glob(_LABELS)))
        trained = [LabelTrees(**content) for content in found if content.keys() == set(LabelTrees._fields)]
        return {one.label: one for one in trained}

    def add(self, trained: LabelTrees) -> None:
        """Write a label; failed ones are not written, so that they are tried again."""
        if not trained.failure:
            write_json(self._folder / f"label-{trained.label:06d}.json", trained._asdict())


def remove_checkpoint(folder: Path) -> None:
    """Remove a checkpoint and those of its folds, and each folder if nothing else is in it."""
    for fold in folder.iterdir():
        if fold.name.isdecimal() and fold.is_dir():
            remove_checkpoint(fold)
    _clear(folder)
    if not any(folder.iterdir()):
        folder.rmdir()


def _clear(folder: Path) -> None:
    # The key is removed first: a crash in between must not leave labels under another key.
    (folder / _STATE).unlink(missing_ok=True)
    for path in folder.glob(_LABELS):
        path.unlink()


def key_of(data: TrainingData, options: Mapping[str, Any]) -> str:
    """Return a hash of everything that training depends on: vectors, labels, weights, options, LightGBM's version."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps([lgb.__version__, data.shape, options], sort_keys=True).encode())
    for X, Y, rows in ((data.X, data.Y, data.rows), (data.X_val, data.Y_val, data.rows_val)):
        digest.update(str(Y.shape).encode())
        for at in chunks(len(rows)):
            digest.update(take(X, rows[at]).tobytes())
        for part in (Y.indptr.astype(np.int64), Y.indices.astype(np.int64), Y.data):
            digest.update(part.tobytes())
    for weights in (data.weights, data.weights_val):
        for name, values in weights.to_arrays().items():
            digest.update(name.encode() + values.tobytes())
    return digest.hexdigest()
