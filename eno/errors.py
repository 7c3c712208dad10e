"""Every error that eno raises on purpose.

::

    EnoError
    ├── AudioError           a file that cannot be read as music
    ├── ConfigError          a setting that is unknown or has a wrong value
    ├── UnknownName          no encoder, head, … of that name
    ├── MissingExtra         an optional package is not installed
    ├── WeightsError         pretrained weights cannot be had or are not what they should be
    ├── StoreError           an embedding store that is missing, damaged or misused
    │   └── FingerprintMismatch   vectors of one encoder meet the settings of another
    ├── CatalogueError       albums, tracks, matches or splits that cannot be used
    │   └── LabelError       labels that cannot be used
    ├── SimilarityError      an index or a query that cannot be used
    ├── ModelError           a saved head or predictor that cannot be loaded or used
    ├── TrainingError        training that cannot go on
    ├── TrackingError        an experiment tracker that a run depends on
    └── NotFitted            a head is asked before it was fitted

A message says what was found, what was expected and what to do about it. The command line prints
these without a traceback; anything else is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from eno.files import printable


class EnoError(Exception):
    """Base of every error that eno raises on purpose."""


class AudioError(EnoError):
    """A file that cannot be read as music.

    Parameters
    ----------
    path : Path or str
        The file.
    reason : str
        What is wrong with it and what to do, without the path.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = Path(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{printable(self.path)}: {self.reason}"


class ConfigError(EnoError):
    """A setting that is unknown or has a wrong value."""


class UnknownName(EnoError):
    """No thing of that kind has that name.

    Parameters
    ----------
    kind : str
        What was looked up, for instance ``"encoder"``.
    name : str
        The name that was asked for.
    choices : iterable of str
        The names there are.
    """

    def __init__(self, kind: str, name: str, choices: Iterable[str]) -> None:
        self.kind, self.name, self.choices = kind, name, sorted(choices)
        super().__init__(kind, name, self.choices)

    def __str__(self) -> str:
        close = difflib.get_close_matches(self.name, self.choices, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        return f"Unknown {self.kind} {self.name!r}.{hint} Choose from: {', '.join(self.choices)}."


class MissingExtra(EnoError):
    """An optional package is not installed.

    Parameters
    ----------
    extra : str
        The extra of eno that brings it.
    package : str
        The package that could not be imported.
    """

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(extra, package)
        self.extra, self.package = extra, package

    def __str__(self) -> str:
        return f'{self.package} is not installed. It comes with: pip install "eno[{self.extra}]"'


class WeightsError(EnoError):
    """Pretrained weights cannot be had or are not what they should be."""


class StoreError(EnoError):
    """An embedding store that is missing, damaged or misused."""


class FingerprintMismatch(StoreError):
    """Vectors of one encoder meet the settings of another.

    Parameters
    ----------
    found, expected : str
        Name and fingerprint of both sides.
    remedy : str
        What to do.
    """

    def __init__(self, found: str, expected: str, remedy: str) -> None:
        super().__init__(found, expected, remedy)
        self.found, self.expected, self.remedy = found, expected, remedy

    def __str__(self) -> str:
        return f"Embeddings do not belong together: found {self.found}, expected {self.expected}. {self.remedy}"


class CatalogueError(EnoError):
    """Albums, tracks, matches or splits that cannot be used."""


class LabelError(CatalogueError):
    """Labels that cannot be used."""


class SimilarityError(EnoError):
    """An index that is missing or damaged, or a query that cannot be answered."""


class ModelError(EnoError):
    """A saved head or predictor that cannot be loaded or used."""


class TrainingError(EnoError):
    """Training that cannot go on."""


class TrackingError(EnoError):
    """An experiment tracker that a run depends on, and that does not do its part."""


class NotFitted(EnoError):
    """A head is asked before it was fitted."""

    def __init__(self, head: str) -> None:
        super().__init__(head)
        self.head = head

    def __str__(self) -> str:
        return f"This {self.head} is not fitted yet: call fit(X, Y) or load(directory) first."
