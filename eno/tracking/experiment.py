"""What a run tells an experiment tracker: its settings, curves, figures, files and the model that came of it.

Training, judging and embedding speak to an `Experiment` and know nothing of who listens. Nobody does by default
(`NoExperiment`); `eno.tracking.clearml_experiment.ClearMLExperiment` sends all of it to ClearML.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

Curve = tuple[Sequence[float] | np.ndarray, Sequence[float] | np.ndarray]
"""Values on the x axis and on the y axis, as many."""

INTERRUPTED = "interrupted"
"""The problem of a run that its user has ended: it counts as stopped, not as failed."""

Sections = Mapping[str, Mapping[str, Any]]
"""Settings by section and name, as ``eno.toml`` has them."""


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """Whether and where a run is tracked.

    Attributes
    ----------
    mode : {"auto", "online", "offline", "off"}
        ``auto`` is online where ClearML is configured, offline where ``CLEARML_OFFLINE_MODE`` says so, and else off.
    project : str, optional
        Name of the project; each kind of run has its own, such as ``eno/training``.
    name : str, optional
        Name of the run; if not given it says what is done.
    queue : str, optional
        Do not run here, but let a worker of this queue do it.
    close_s : float
        Longest time that the end of a run waits for what is still to be sent, in seconds.
    """

    mode: str = "auto"
    project: str | None = None
    name: str | None = None
    queue: str | None = None
    close_s: float = 60.0


@dataclass(frozen=True)
class Command:
    """What is run, so that a worker can run the same.

    Attributes
    ----------
    kind : {"training", "tuning", "comparison", "evaluation", "embeddings", "serving"}
        What it does; project ``eno/<kind>`` holds it.
    name : str
        Its name, if the user gives none.
    entry : tuple of str
        Arguments of the Python interpreter: ``("-m", "eno", "train", …)``, or a script of the repository alone, whose
        arguments a worker takes from the section ``Args``.
    """

    kind: str
    name: str
    entry: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RegisteredModel:
    """A predictor for the model registry.

    Attributes
    ----------
    name : str
        What to call it.
    folder : Path
        Where it lies; all of it is kept, as one archive.
    labels : tuple of str
        Its vocabulary.
    fingerprint : str
        Name and fingerprint of its encoder.
    tags : tuple of str
        To find it by.
    publish : bool
        Whether it is final: ready to be deployed, and not to be changed any more.
    """

    name: str
    folder: Path
    labels: tuple[str, ...]
    fingerprint: str
    tags: tuple[str, ...] = ()
    publish: bool = False


class Experiment(Protocol):
    """Receives what a run tells. No method raises or waits, except `connect` on a worker.

    Attributes
    ----------
    queued : bool
        Whether the run waits in a queue after `connect`, so that nothing is left to do here.
    """

    @property
    def queued(self) -> bool:
        """Whether a worker will do what is to be done."""

    def connect(self, sections: Sections) -> dict[str, dict[str, str]]:
        """Show settings.

        Parameters
        ----------
        sections : mapping of str to mapping of str to Any
            Section → name → value. None is shown as nothing.

        Returns
        -------
        dict of str to dict of str to str
            Those that somebody has changed in the tracker since, as text; only on a worker there can be any.

        Raises
        ------
        TrackingError
            On a worker: the tracker does not answer, so that it is not known what to run.
        """

    def scalar(self, title: str, series: str, value: float, step: int) -> None:
        """Add a point to a curve over steps or epochs."""

    def value(self, name: str, value: float | None) -> None:
        """Note a figure that the run has once; None, where it cannot be told, is left out."""

    def lines(self, title: str, curves: Mapping[str, Curve], *, x: str, y: str, markers: bool = False) -> None:
        """Draw curves, or with `markers` points, by name over axes that are called `x` and `y`."""

    def matrix(self, title: str, values: Sequence[Sequence[float]], names: Sequence[str], *, x: str, y: str) -> None:
        """Draw a matrix whose rows and columns have the same names."""

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Show a table."""

    def artifact(self, name: str, path: Path) -> None:
        """Keep a copy of a file or folder."""

    def describe(self, name: str, content: Mapping[str, Any]) -> None:
        """Note facts, such as which data the run saw; JSON."""

    def tag(self, *tags: str) -> None:
        """Add words to find the run by."""

    def model(self, model: RegisteredModel) -> None:
        """Register what the run has made."""

    def close(self, problem: str | None = None) -> None:
        """End the run; with a problem it counts as failed, or as stopped with `INTERRUPTED`."""


class NoExperiment:
    """Nobody listens; see `Experiment` for what the methods are for."""

    queued = False

    def connect(self, sections: Sections) -> dict[str, dict[str, str]]:
        """Change nothing."""
        return {}

    def scalar(self, title: str, series: str, value: float, step: int) -> None:
        """Do nothing."""

    def value(self, name: str, value: float | None) -> None:
        """Do nothing."""

    def lines(self, title: str, curves: Mapping[str, Curve], *, x: str, y: str, markers: bool = False) -> None:
        """Do nothing."""

    def matrix(self, title: str, values: Sequence[Sequence[float]], names: Sequence[str], *, x: str, y: str) -> None:
        """Do nothing."""

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Do nothing."""

    def artifact(self, name: str, path: Path) -> None:
        """Do nothing."""

    def describe(self, name: str, content: Mapping[str, Any]) -> None:
        """Do nothing."""

    def tag(self, *tags: str) -> None:
        """Do nothing."""

    def model(self, model: RegisteredModel) -> None:
        """Do nothing."""

    def close(self, problem: str | None = None) -> None:
        """Do nothing."""


def open_experiment(tracking: Tracking, command: Command, *, say: Callable[[str], None]) -> Experiment:
    """Begin to track a run.

    Parameters
    ----------
    tracking : Tracking
        Whether and where.
    command : Command
        What is run.
    say : callable
        Takes lines for the user: where the run can be seen, or why it is not tracked.

    Returns
    -------
    Experiment
        `NoExperiment` where it is off, or not configured.

    Raises
    ------
    ConfigError
        Tracking is asked for and not configured, or a queue is named and it is not online.
    """
    if tracking.mode == "off" and tracking.queue is None:
        return NoExperiment()
    from eno.tracking.clearml_experiment import open_clearml  # only where it is wanted

    return open_clearml(tracking, command, say=say) or NoExperiment()
