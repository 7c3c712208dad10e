"""Labels that LightGBM has learned so far, kept on disk so that an interrupted training goes on from there."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np

from eno.files import write_json
from eno.models.base import Training, chunks, take
from eno.models.lgbm.labels import Grown

logger = logging.getLogger(__name__)

_STATE = "checkpoint.json"
_LABELS = "label-*.json"


class LabelCheckpoint:
    """A folder with a file for every finished label, all of the same data and settings.

    Parameters
    ----------
    folder : Path
        Is made if it is missing. What another training left there is removed.
    key : str
        Stands for data and settings, see `key_of`.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        if _read(folder / _STATE).get("key") != key:
            if any(folder.glob(_LABELS)):
                logger.warning("%s is of other data or settings: training starts anew", folder)
            self._clear()
            write_json(folder / _STATE, {"key": key, "lightgbm": lgb.__version__})

    def finished(self) -> dict[int, Grown]:
        """Labels that need not be learned again, by number; files that cannot be read do not count."""
        found = (_read(path) for path in sorted(self._folder.glob(_LABELS)))
        grown = [Grown(**content) for content in found if content.keys() == set(Grown._fields)]
        return {one.label: one for one in grown}

    def keep(self, grown: Grown) -> None:
        """Write a label that is finished; one that failed is tried again next time."""
        if not grown.failure:
            write_json(self._folder / f"label-{grown.label:06d}.json", grown._asdict())

    def remove(self) -> None:
        """Remove all of it, when training is done; files of others stay, and with them the folder."""
        self._clear()
        if not any(self._folder.iterdir()):
            self._folder.rmdir()

    def _clear(self) -> None:
        # What says whose labels these are goes first: a crash in between must not leave labels under another key.
        (self._folder / _STATE).unlink(missing_ok=True)
        for path in self._folder.glob(_LABELS):
            path.unlink()


def key_of(training: Training, options: Mapping[str, Any]) -> str:
    """Stand-in for all that decides how labels are learned: vectors, labels, weights, options, LightGBM itself."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps([lgb.__version__, training.shape, options], sort_keys=True).encode())
    for X, Y, rows in ((training.X, training.Y, training.rows), (training.X_val, training.Y_val, training.rows_val)):
        digest.update(str(Y.shape).encode())
        for at in chunks(len(rows)):
            digest.update(take(X, rows[at]).tobytes())
        for part in (Y.indptr.astype(np.int64), Y.indices.astype(np.int64), Y.data):
            digest.update(part.tobytes())
    digest.update(training.weights.tobytes())
    return digest.hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
