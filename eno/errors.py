"""Every error that eno raises deliberately.

::

    EnoError
    ├── AudioError           an audio file that cannot be read
    ├── ConfigError          a setting that is unknown or has an invalid value
    ├── UnknownName          no encoder, head, … has that name
    ├── MissingExtra         an optional package is not installed
    ├── WeightsError         pretrained weights that are missing, damaged or do not fit
    ├── StoreError           an embedding store that is missing, damaged or misused
    │   └── FingerprintMismatch   embeddings and settings come from different encoders
    ├── CatalogueError       albums, tracks, matches or splits that cannot be used
    │   └── LabelError       labels that cannot be used
    ├── SimilarityError      an index that is missing or damaged, or a query that cannot be answered
    ├── ModelError           a saved head or predictor that cannot be loaded or used
    ├── TrainingError        training that cannot continue
    ├── TrackingError        an experiment tracker that is required and fails
    └── NotFitted            a head that is used before it has been fitted

A message says what was found, what was expected and what to do. The command line prints these errors without a
traceback; any other exception is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from eno.files import printable


class EnoError(Exception):
    """Base of every error that eno raises deliberately."""


class AudioError(EnoError):
    """An audio file that cannot be read.

    Parameters
    ----------
    path : Path or str
        The file.
    reason : str
        What is wrong with it and what to do, without the path.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = Path(path), reason

    def __str__(self) -> str:
        return f"{printable(self.path)}: {self.reason}"


class ConfigError(EnoError):
    """A setting that is unknown or has an invalid value."""


class UnknownName(EnoError):
    """No encoder, head, … has that name.

    Parameters
    ----------
    kind : str
        What was looked up, for example ``"encoder"``.
    name : str
        The unknown name.
    choices : iterable of str
        The valid names.
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
        The extra of eno that contains it.
    package : str
        What pip installs, for example ``"ray[data]"``.
    needed_by : str, optional
        Another package that needs it; None if it is eno itself.
    """

    def __init__(self, extra: str, package: str, needed_by: str | None = None) -> None:
        super().__init__(extra, package, needed_by)
        self.extra, self.package, self.needed_by = extra, package, needed_by

    def __str__(self) -> str:
        return (
            f"{self.needed_by or 'This'} needs the package {self.package}, which is not installed. Install it with: "
            f"pip install {shlex.quote(self.package)}, or install the whole extra {self.extra!r} from eno's "
            f"repository: pip install '.[{self.extra}]'"
        )


class WeightsError(EnoError):
    """Pretrained weights that are missing, damaged or do not fit the network."""


class StoreError(EnoError):
    """An embedding store that is missing, damaged or misused."""


class FingerprintMismatch(StoreError):
    """Embeddings and settings come from different encoders.

    Parameters
    ----------
    found, expected : str
        Where they come from, with name and fingerprint of the encoder.
    remedy : str
        What to do.
    """

    def __init__(self, found: str, expected: str, remedy: str) -> None:
        super().__init__(found, expected, remedy)
        self.found, self.expected, self.remedy = found, expected, remedy

    def __str__(self) -> str:
        return f"Encoders do not match: found {self.found}, expected {self.expected}. {self.remedy}"


class CatalogueError(EnoError):
    """Albums, tracks, matches or splits that cannot be used."""


class LabelError(CatalogueError):
    """Labels that cannot be used."""


class SimilarityError(EnoError):
    """An index that is missing or damaged, or a query that cannot be answered."""


class ModelError(EnoError):
    """A saved head or predictor that cannot be loaded or used."""


class TrainingError(EnoError):
    """Training that cannot continue."""


class TrackingError(EnoError):
    """An experiment tracker that is required and fails."""


class Interrupted(EnoError):
    """Somebody stopped a job; what it had done is kept."""


class NotFitted(EnoError):
    """A head that is used before it has been fitted."""

    def __init__(self, head: str) -> None:
        super().__init__(head)
        self.head = head

    def __str__(self) -> str:
        return f"This {self.head} is not fitted yet: call fit(X, Y) or load(directory) first."


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its type if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def check_format(path: Path | str, found: Any, supported: int, error: type[EnoError]) -> None:
    """Raise `error` if this version of eno does not read the format of a file."""
    if isinstance(found, bool) or not isinstance(found, int) or not 1 <= found <= supported:
        is_newer = isinstance(found, int) and found > supported
        remedy = "A newer version wrote it: upgrade eno." if is_newer else "The file is damaged: restore it."
        raise error(
            f"{printable(path)}: has format {found!r}; this version of eno reads up to format {supported}. {remedy}"
        )
