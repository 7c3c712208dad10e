"""Settings: ``eno.toml``, checked; a key that eno does not know is an error.

Every setting has a default, so the file is optional. ``--set section.key=value`` on the command line goes over the
file. Options of encoders and heads have their defaults where they are documented, on their classes;
here only what a user sets is kept.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eno.errors import ConfigError

DEFAULT_FILE = Path("eno.toml")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WindowSettings(_Section):
    """``[windows]``: which parts of a track are listened to; see `eno.audio.windows.WindowPolicy`."""

    count: int = Field(default=8, ge=1)
    hop_s: float | None = Field(default=None, gt=0)


class LabelSettings(_Section):
    """``[labels]``: which labels are learned; see `eno.data.labels.vocabulary.build_vocabulary`."""

    min_albums: int = Field(default=100, ge=1)
    min_artists: int = Field(default=10, ge=1)
    secondary_weight: float = Field(default=1.0, gt=0, le=1)
    aliases: Path | None = None
    hierarchy: Path | None = None


class SplitSettings(_Section):
    """``[split]``: shares of the tracks that are held out, and the seed of the draw."""

    val: float = Field(default=0.15, gt=0, lt=0.5)
    test: float = Field(default=0.15, gt=0, lt=0.5)
    seed: int = 0


class MusicnnSettings(_Section):
    """``[musicnn]``: options of `eno.encoders.musicnn.encoder.MusiCNN`."""

    checkpoint: Literal["mtt", "msd", "both"] | None = None
    output: Literal["penultimate", "pooled", "tags"] | None = None
    batch_size: int | None = Field(default=None, ge=1)


class ClapSettings(_Section):
    """``[clap]``: options of `eno.encoders.clap.encoder.CLAP`."""

    model: str | None = None
    revision: str | None = None
    output: Literal["projection", "pooled"] | None = None
    batch_size: int | None = Field(default=None, ge=1)


class LaionSettings(_Section):
    """``[laion]``: options of `eno.encoders.clap.laion.LaionCLAP`."""

    model: str | None = None
    int16: bool | None = None
    batch_size: int | None = Field(default=None, ge=1)


class MertSettings(_Section):
    """``[mert]``: options of `eno.encoders.mert.MERT`."""

    model: str | None = None
    revision: str | None = None
    layers: str | tuple[int, ...] | None = None  # checked where the depth is known
    pooling: Literal["mean", "max", "mean_std"] | None = None
    window_s: float | None = None
    batch_size: int | None = Field(default=None, ge=1)


class TransformersSettings(MertSettings):
    """``[hf]``: options of `eno.encoders.transformers_audio.TransformersAudio`."""


class StatsSettings(_Section):
    """``[stats]``: options of `eno.encoders.stats.Stats`."""

    window_s: float | None = None


class SimpleCNNSettings(_Section):
    """``[simple_cnn]``: options of `eno.cnn.encoder.SimpleCNNTagger`."""

    model: str | None = None
    window_s: float | None = None
    n_mels: int | None = None
    sample_rate: int | None = None
    batch_size: int | None = Field(default=None, ge=1)


class MLPSettings(_Section):
    """``[mlp]``: options of `eno.models.mlp.MLPHead`."""

    hidden: tuple[int, ...] | None = None
    dropout: float | None = Field(default=None, ge=0, lt=1)
    learning_rate: float | None = Field(default=None, gt=0)
    weight_decay: float | None = Field(default=None, ge=0)
    warm_up: float | None = Field(default=None, ge=0, lt=1)
    batch_size: int | None = Field(default=None, ge=1)
    max_epochs: int | None = Field(default=None, ge=1)
    patience: int | None = Field(default=None, ge=1)
    loss: Literal["bce", "focal", "asymmetric"] | None = None
    loss_options: dict[str, float] | None = None
    class_weights: Literal["none", "balanced", "effective"] | None = None
    label_smoothing: float | None = Field(default=None, ge=0, lt=1)
    mixup: float | None = Field(default=None, ge=0)
    pooling: Literal["none", "mean", "attention", "max"] | None = None
    seed: int | None = None


class LinearSettings(_Section):
    """``[linear]``: options of `eno.models.linear.LinearHead`."""

    l2: tuple[float, ...] | None = None
    max_iterations: int | None = Field(default=None, ge=1)
    seed: int | None = None


class LightGBMSettings(_Section):
    """``[lightgbm]``: options of `eno.models.lgbm.head.LightGBMHead`."""

    num_leaves: int | None = Field(default=None, ge=2)
    learning_rate: float | None = Field(default=None, gt=0)
    feature_fraction: float | None = Field(default=None, gt=0, le=1)
    min_data_in_leaf: int | None = Field(default=None, ge=1)
    max_bin: int | None = Field(default=None, ge=2)
    rounds: int | None = Field(default=None, ge=1)
    early_stopping: int | None = Field(default=None, ge=1)
    min_judged: int | None = Field(default=None, ge=1)
    max_rows: int | None = Field(default=None, ge=1)
    seed: int | None = None
    threads: int | None = Field(default=None, ge=1)
    executor: Literal["local", "ray"] | None = None


class KNNSettings(_Section):
    """``[knn]``: options of `eno.models.knn.KNNHead`."""

    k: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    temperatures: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    smoothing: float | None = Field(default=None, ge=0)
    seed: int | None = None


class BlendSettings(_Section):
    """``[blend]``: options of `eno.models.blend.BlendHead`; those of its heads are in their own sections."""

    heads: tuple[str, ...] = ("linear", "mlp", "lightgbm")
    seed: int | None = None


class IndexSettings(_Section):
    """``[index]``: how the index for similarity is built; see `eno.similarity.index.build.build_index`."""

    kind: Literal["auto", "exact", "ivf", "ivfpq"] | None = None
    memory_mb: float | None = Field(default=None, gt=0)
    space: Literal["none", "standardise", "whiten"] | None = None
    seed: int | None = None


class CalibrationSettings(_Section):
    """``[calibration]``: options of `eno.models.calibration.fit_calibration`, and how tracks make an album."""

    method: Literal["platt", "temperature", "none"] | None = None
    rule: Literal["expected", "expected_macro", "micromacro", "scut", "pcut", "global", "fixed"] | None = None
    precision_floor: float | None = Field(default=None, gt=0, lt=1)
    album: Literal["mean_logit", "mean", "max", "median_logit"] = "mean_logit"


class TrackingSettings(_Section):
    """``[tracking]``: whether and where runs are tracked; see `eno.tracking.experiment.Tracking`."""

    mode: Literal["auto", "online", "offline", "off"] = "auto"
    project: str | None = None
    close_s: float = Field(default=60.0, gt=0)


class Settings(_Section):
    """All settings.

    Attributes
    ----------
    data_root : Path
        Holds ``raw/`` and ``processed/``.
    embeddings : str
        Holds the embedding stores: a folder, or a URI of one.
    device, dtype : str
        See `eno.encoders.load_encoder`.
    encoder, head : str
        Names in the registries.
    windows, labels, split, musicnn, clap, laion, mert, hf, stats, simple_cnn, mlp, linear, lightgbm, knn, blend
        The sections of the file.
    calibration, tracking
        Those of what follows a head, and of experiment tracking.
    own : dict
        Options of an encoder of the user's own, whatever these are.
    """

    data_root: Path = Path("data")
    embeddings: str = "embeddings"
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    encoder: str = "musicnn"
    head: str = "mlp"
    windows: WindowSettings = WindowSettings()
    labels: LabelSettings = LabelSettings()
    split: SplitSettings = SplitSettings()
    musicnn: MusicnnSettings = MusicnnSettings()
    clap: ClapSettings = ClapSettings()
    laion: LaionSettings = LaionSettings()
    mert: MertSettings = MertSettings()
    hf: TransformersSettings = TransformersSettings()
    stats: StatsSettings = StatsSettings()
    simple_cnn: SimpleCNNSettings = SimpleCNNSettings()
    own: dict[str, Any] = Field(default_factory=dict)
    mlp: MLPSettings = MLPSettings()
    linear: LinearSettings = LinearSettings()
    lightgbm: LightGBMSettings = LightGBMSettings()
    knn: KNNSettings = KNNSettings()
    blend: BlendSettings = BlendSettings()
    calibration: CalibrationSettings = CalibrationSettings()
    index: IndexSettings = IndexSettings()
    tracking: TrackingSettings = TrackingSettings()

    def options_of(self, name: str) -> dict[str, Any]:
        """Options that the user set for an encoder or head; none for a name without a section."""
        kind, colon, _ = name.partition(":")
        if colon and kind != "hf":
            return self.own
        section = getattr(self, kind, None)
        if isinstance(section, BlendSettings):
            of_heads = {head: self.options_of(head) for head in section.heads if head != kind}
            return section.model_dump(exclude_none=True) | {"options": of_heads}
        return section.model_dump(exclude_none=True) if isinstance(section, _Section) else {}


def load_settings(path: Path | None = None, overrides: Iterable[str] = ()) -> Settings:
    """Read the settings.

    Parameters
    ----------
    path : Path, optional
        The file; if not given, ``$ENO_CONFIG`` or ``eno.toml`` in the current folder, where there is one.
    overrides : iterable of str
        Settings in the form ``section.key=value`` that go over the file; the value is TOML, or plain text.

    Returns
    -------
    Settings
        The checked settings.

    Raises
    ------
    ConfigError
        The file is missing or not TOML, a key is unknown, or a value is wrong; the message names it.
    """
    if path is None and "ENO_CONFIG" in os.environ:
        path = Path(os.environ["ENO_CONFIG"])
    values: dict[str, Any] = {}
    source = path or DEFAULT_FILE
    if path is not None or DEFAULT_FILE.exists():
        values = _read_toml(source)
    overridden = set()
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise ConfigError(f"--set {override}: expected section.key=value, for instance windows.count=16.")
        _put(values, key.strip().split("."), _toml_value(text.strip()))
        overridden.add(key.strip())
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(problem, source, overridden) for problem in error.errors())) from None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not valid TOML: {error}.") from error


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text  # encoder=musicnn needs no quotes


def _put(values: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {'.'.join(keys)}: {key} is a single value, not a section.")
    values[keys[-1]] = value


def _explain(problem: Mapping[str, Any], file: Path, overridden: set[str]) -> str:
    keys = [str(part) for part in problem["loc"]]
    name = ".".join(keys)
    source = "--set" if name in overridden else file
    if problem["type"] != "extra_forbidden":
        return f"{source}: {name} = {problem['input']!r}: {problem['msg'][0].lower()}{problem['msg'][1:]}."
    section: type[BaseModel] = Settings
    for key in keys[:-1]:
        section = Settings.model_fields[key].annotation  # type: ignore[assignment]
    choices = list(section.model_fields)
    close = difflib.get_close_matches(keys[-1], choices, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"{source}: unknown key {name!r}.{hint} Known here: {', '.join(choices)}."
