"""Options for training the CNN."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from eno.cnn.augment import Augment
from eno.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class CNNSettings:
    """Options for training a `eno.cnn.network.SimpleCNN`. The command line of scripts/train.py is generated from them.

    The defaults were selected on the validation split of the demo corpus, for a training of two minutes on two cores:
    crops of 3 s are as good as crops of 5 s in 60 % of the time, and a learning rate of 0.003 is better than 0.001.
    SpecAugment did not help in such a short training; the other augmentations were not tried. "one_cycle" is the
    learning rate schedule of L. N. Smith and N. Topin, "Super-convergence" (2019).
    """

    epochs: Annotated[int, Field(ge=1, description="maximum number of passes over the training tracks")] = 18
    batch_size: Annotated[int, Field(ge=1, description="crops per step")] = 16
    learning_rate: Annotated[float, Field(gt=0, description="maximum learning rate of Adam")] = 3e-3
    schedule: Annotated[Literal["one_cycle", "constant"], Field(description="learning rate schedule")] = "one_cycle"
    patience: Annotated[int, Field(ge=1, description="stop after this many epochs without a lower validation loss")] = (
        10
    )
    crop_s: Annotated[
        float, Field(ge=0.5, le=600, description="length of training crops and of prediction windows, in seconds")
    ] = 3.0
    val_windows: Annotated[int, Field(ge=1, description="windows per validation track, spread evenly")] = 3
    loss: Annotated[
        Literal["bce", "focal", "asymmetric"],
        Field(description="binary cross-entropy, or a loss that reduces the weight of easy decisions"),
    ] = "bce"
    gamma: Annotated[
        float | None,
        Field(ge=0, description="exponent of the focal loss (default 2) or of the asymmetric for negatives (4)"),
    ] = None
    label_smoothing: Annotated[float, Field(ge=0, lt=1, description="0.1 turns targets 1 and 0 into 0.95 and 0.05")] = (
        0.0
    )
    class_weights: Annotated[
        Literal["none", "balanced", "effective"], Field(description="how to weight the positives of rare labels")
    ] = "none"
    spec_augment: Annotated[bool, Field(description="mask mel bands and frames")] = False
    pitch_shift: Annotated[float, Field(description="shift the pitch by at most this many semitones")] = 0.0
    time_stretch: Annotated[float, Field(description="maximum change of tempo, for instance 0.1 for ±10 percent")] = 0.0
    mixup: Annotated[
        float, Field(ge=0, description="mix pairs of crops with weights from Beta(mixup, mixup), for instance 0.2")
    ] = 0.0
    num_workers: Annotated[
        int, Field(ge=0, description="worker processes that read features; 0 reads in the training process")
    ] = 0
    seed: Annotated[int, Field(description="seed of initial weights, track order, crops and augmentations")] = 0
    device: Annotated[str, Field(description="auto, cpu, cuda, cuda:1 …")] = "auto"

    def __post_init__(self) -> None:
        for name, hint in typing.get_type_hints(type(self), include_extras=True).items():
            try:
                TypeAdapter(hint).validate_python(getattr(self, name))
            except ValidationError as error:
                raise ConfigError(f"{name} is {getattr(self, name)!r}: {error.errors()[0]['msg']}.") from None
        if self.gamma is not None and self.loss == "bce":
            raise ConfigError(f"gamma is {self.gamma}, but the loss is 'bce'. Choose the loss focal or asymmetric.")
        self.augment()

    @property
    def loss_options(self) -> dict[str, float]:
        """Options of the loss by their names in `eno.models.losses.MultiLabelLoss`."""
        return {} if self.gamma is None else {"gamma" if self.loss == "focal" else "gamma_negative": self.gamma}

    def augment(self) -> Augment | None:
        """Return the augmentation of training crops, or None."""
        chosen = Augment(spec_augment=self.spec_augment, pitch_shift=self.pitch_shift, time_stretch=self.time_stretch)
        return None if chosen == Augment() else chosen


def describe_options() -> dict[str, dict[str, Any]]:
    """Return ``type``, ``default``, ``choices`` (or None) and ``help`` of each option of `CNNSettings`."""
    described = {}
    for name, hint in typing.get_type_hints(CNNSettings, include_extras=True).items():
        (kind, field), default = typing.get_args(hint), getattr(CNNSettings, name)
        choices = typing.get_args(kind) if typing.get_origin(kind) is Literal else None
        found = float if default is None else type(default)
        described[name] = {"type": found, "default": default, "choices": choices, "help": field.description}
    return described
