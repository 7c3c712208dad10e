"""The interface to experiment trackers, to which training, evaluation and embedding report.

By default a run is not tracked (`NoExperiment`); `eno.tracking.clearml_experiment` sends everything to ClearML.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from eno.registry import import_class

CLEARML = "eno.tracking.clearml_experiment:open_clearml"
"""The function that opens a ClearML experiment, imported on demand because that module depends on this one."""

Curve = tuple[Sequence[float] | np.ndarray, Sequence[float] | np.ndarray]
"""Values on the x axis and on the y axis."""

INTERRUPTED = "interrupted"
"""The problem to report when the user stops a run: it is marked as stopped, not as failed."""

Sections = Mapping[str, Mapping[str, Any]]
"""Section → name → value, with the names of ``eno.toml``."""


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """Whether and where a run is tracked.

    Attributes
    ----------
    mode : {"auto", "online", "offline", "off"}
        ``auto`` is online if ClearML is configured, offline if ``CLEARML_OFFLINE_MODE`` is set, and otherwise off.
    project, name : str, optional
        By default ``eno/<kind>`` and the name of the `Command`.
    queue : str, optional
        Queue of the worker that executes the run instead of this process.
    close_s : float
        Maximum time in seconds to wait for pending uploads at the end of a run.
    """

    mode: str = "auto"
    project: str | None = None
    name: str | None = None
    queue: str | None = None
    close_s: float = 60.0


@dataclass(frozen=True)
class Command:
    """The command of a run, so that a worker can repeat it.

    Attributes
    ----------
    kind : {"training", "tuning", "comparison", "evaluation", "embeddings", "serving"}
    name : str
        Default name of the run.
    entry : tuple of str
        Arguments of the Python interpreter: ``("-m", "eno", "train", …)``, or a script of the repository, whose
        arguments are in the section ``Args``.
    """

    kind: str
    name: str
    entry: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RegisteredModel:
    """A predictor for the model registry, uploaded as one archive.

    `name` is lengthened if it is too short for the registry. `fingerprint` is the name and fingerprint of its encoder.
    `publish` marks it as final: ready for deployment and no longer editable.
    """

    name: str
    folder: Path
    labels: tuple[str, ...]
    fingerprint: str
    tags: tuple[str, ...] = ()
    publish: bool = False


class Experiment(Protocol):
    """A tracked run. No method raises or blocks, except `connect` on a worker."""

    @property
    def queued(self) -> bool:
        """Whether `connect` enqueued the run, so that this process has nothing left to do."""

    def connect(self, sections: Sections) -> dict[str, dict[str, str]]:
        """Record the settings. On a worker, return those that were edited in the tracker, as text.

        Raises
        ------
        TrackingError
            On a worker: the tracker does not answer, so the settings are unknown.
        """

    def scalar(self, title: str, series: str, value: float, step: int) -> None:
        """Add a point to a curve over steps or epochs."""

    def value(self, name: str, value: float | None) -> None:
        """Record a metric that has one value per run. None is skipped."""

    def lines(self, title: str, curves: Mapping[str, Curve], *, x: str, y: str, markers: bool = False) -> None:
        """Plot named curves, or points with `markers`; `x` and `y` are the axis titles."""

    def matrix(self, title: str, values: Sequence[Sequence[float]], names: Sequence[str], *, x: str, y: str) -> None:
        """Plot a matrix whose rows and columns have the same names."""

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Show a table."""

    def artifact(self, name: str, path: Path) -> None:
        """Keep a copy of a file or folder."""

    def describe(self, name: str, content: Mapping[str, Any]) -> None:
        """Record information as JSON, such as the data that was used."""

    def tag(self, *tags: str) -> None:
        """Add tags to the run."""

    def model(self, model: RegisteredModel) -> None:
        """Register the resulting model."""

    def input_model(self, tag: str) -> None:
        """Name the model that the run starts from by a tag that no other model has, if it is registered."""

    def close(self, problem: str | None = None) -> None:
        """End the run. With a problem it is marked as failed, or as stopped if that is `INTERRUPTED`."""


class NoExperiment(Experiment):
    """Track nothing."""

    queued = False

    def connect(self, sections: Sections) -> dict[str, dict[str, str]]:
        """Return no changes."""
        return {}

    def _ignore(self, *_: Any, **__: Any) -> None:
        pass

    scalar = value = lines = matrix = table = artifact = describe = tag = model = input_model = close = _ignore


def open_experiment(tracking: Tracking, command: Command, *, say: Callable[[str], None]) -> Experiment:
    """Start tracking a run; return a `NoExperiment` if tracking is off or not configured.

    Parameters
    ----------
    say : callable
        Shows a line to the user: the URL of the run, or why it is not tracked.

    Raises
    ------
    ConfigError
        Tracking was requested but is not configured, or a queue was requested but tracking is not online.
    """
    if tracking.mode == "off" and tracking.queue is None:
        return NoExperiment()
    return import_class(CLEARML)(tracking, command, say=say) or NoExperiment()
