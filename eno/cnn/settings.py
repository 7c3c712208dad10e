"""How the CNN is trained, and what is noted of it."""

from __future__ import annotations

from dataclasses import dataclass

from eno.cnn.augment import Augment
from eno.errors import ConfigError
from eno.models.losses import CLASS_WEIGHTS, LOSSES

SCHEDULES = ("one_cycle", "constant")
"""Schedules of the learning rate by name."""


@dataclass(frozen=True, kw_only=True)
class CNNSettings:
    """How a `eno.cnn.network.SimpleCNN` is trained.

    Attributes
    ----------
    epochs : int
        Passes over the training tracks, at most.
    batch_size : int
        Crops a step.
    learning_rate : float
        Of Adam, at its highest.
    schedule : {"one_cycle", "constant"}
        Whether the learning rate rises and falls over the epochs (L. N. Smith and N. Topin, "Super-convergence", 2019).
    patience : int
        Training ends after so many epochs without a lower validation loss.
    crop_s : float
        Length of a training crop, and of the windows of validation and prediction, in seconds.
    val_windows : int
        Windows of a validation track, spread evenly.
    loss, gamma, label_smoothing
        See `eno.models.losses.MultiLabelLoss`.
    class_weights : {"none", "balanced", "effective"}
        See `eno.models.losses.positive_weights`.
    spec_augment, pitch_shift, time_stretch
        See `eno.cnn.augment.Augment`.
    mixup : float
        See `eno.training.trainer.train_one_epoch`.
    num_workers : int
        Processes that read features; with 0 it is done between the steps, which suits a CPU with few cores.
    seed : int
        Decides the initial weights, the order of the tracks, crops and augmentations.
    device : str
        See `eno.devices.resolve_device`.

    Raises
    ------
    ConfigError
        A value is out of range.

    Notes
    -----
    The defaults were chosen by validation on the demo corpus, for two cores and two minutes: there crops of 3 s are as
    good as those of 5 s in 60 % of the time, and a rate of 0.003 is better than 0.001. In so short a training
    SpecAugment did not pay; others were not tried.
    """

    epochs: int = 18
    batch_size: int = 16
    learning_rate: float = 3e-3
    schedule: str = "one_cycle"
    patience: int = 10
    crop_s: float = 3.0
    val_windows: int = 3
    loss: str = "bce"
    gamma: float = 2.0
    label_smoothing: float = 0.0
    class_weights: str = "none"
    spec_augment: bool = False
    pitch_shift: float = 0.0
    time_stretch: float = 0.0
    mixup: float = 0.0
    num_workers: int = 0
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience", "val_windows"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        for name in ("gamma", "mixup", "num_workers"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must not be below 0.")
        for name, choices in (("loss", LOSSES), ("class_weights", CLASS_WEIGHTS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in choices:
                raise ConfigError(f"Unknown {name} {getattr(self, name)!r}; choose from: {', '.join(choices)}.")
        if not self.learning_rate > 0:
            raise ConfigError(f"learning_rate is {self.learning_rate}; it must be above 0.")
        if not 0.5 <= self.crop_s <= 600:
            raise ConfigError(f"crop_s is {self.crop_s}; expected 0.5 to 600 seconds.")
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(f"label_smoothing is {self.label_smoothing}; it must be at least 0 and below 1.")
        self.augment()

    def augment(self) -> Augment | None:
        """What training crops go through; None for nothing."""
        chosen = Augment(spec_augment=self.spec_augment, pitch_shift=self.pitch_shift, time_stretch=self.time_stretch)
        return None if chosen == Augment() else chosen


@dataclass(frozen=True)
class Epoch:
    """One pass over the training tracks.

    Attributes
    ----------
    number : int
        The first is 1.
    train_loss, val_loss : float
        Mean losses: over the pass, and after it over the validation tracks.
    val_map : float or None
        Macro mean average precision on the validation tracks; None if they have no positives.
    seconds : float
        What it took.
    learning_rate : float
        At its end.
    """

    number: int
    train_loss: float
    val_loss: float
    val_map: float | None
    seconds: float
    learning_rate: float
