"""Settings from ``eno.toml`` and the command line.

Every setting has a default, so the file is optional. Options of encoders, heads and calibration are checked against the
signatures of their classes and functions.
"""

from __future__ import annotations

import difflib
import inspect
import os
import tomllib
import typing
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, create_model

from eno.errors import ConfigError
from eno.registry import ENCODERS, HEADS, TRAINED_HEADS, import_class

FILE = "eno.toml"
OWN = "own"
"""Section with the options of an encoder that is not part of eno; any key is allowed."""

_TAKE_OPTIONS = {
    **{name: HEADS[name] for name in TRAINED_HEADS},
    **ENCODERS,
    "calibration": "eno.models.calibration:fit_calibration",
}
"""Section → the class or function whose keyword arguments are its keys."""
# Parameters that are not up to the user.
_NOT_OPTIONS = {
    "device", "dtype", "auto.options", "blend.options", "calibration.groups", "calibration.known",
    "lightgbm.checkpoint",
}  # fmt: skip
_PATHS = ("data_root", "files", "model", "labels.aliases", "labels.hierarchy")
_PLACES = ("embeddings", "store", "lute")  # a path or a URI


class Section(BaseModel):
    """A table of the settings file. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class WindowSettings(Section):
    """``[windows]``: which windows of a track are encoded, see `eno.audio.windows.WindowPolicy`."""

    count: int = Field(default=8, ge=1)
    hop_s: float | None = Field(default=None, gt=0)


class LabelSettings(Section):
    """``[labels]``: which labels are kept, see `eno.data.labels.vocabulary.build_vocabulary`."""

    min_albums: int | None = Field(default=None, ge=1)
    min_artists: int | None = Field(default=None, ge=1)
    secondary_weight: float = Field(default=1.0, ge=0.5, le=1)
    aliases: Path | None = None
    hierarchy: Path | None = None


class SplitSettings(Section):
    """``[split]``: fractions of the validation and test splits, and the random seed; validation can be 0."""

    val: float = Field(default=0.15, ge=0, lt=0.5)
    test: float = Field(default=0.15, gt=0, lt=0.5)
    seed: int = 0


class IndexSettings(Section):
    """``[index]``: how a similarity index is built, see `eno.similarity.index.build.build_index`."""

    kind: Literal["auto", "exact", "ivf", "ivfpq"] | None = None
    memory_mb: float | None = Field(default=None, gt=0)
    space: Literal["none", "standardise", "whiten"] | None = None
    seed: int | None = None


class TrackingSettings(Section):
    """``[tracking]``: whether and where runs are tracked, see `eno.tracking.experiment.Tracking`."""

    mode: Literal["auto", "online", "offline", "off"] = "auto"
    project: str | None = None
    close_s: float = Field(default=60.0, gt=0)


class Settings(Section):
    """All settings.

    Attributes
    ----------
    audio_roots : tuple of Path
        Folders of the collection's audio; ``DATA_ROOT/raw/audio`` if there are none.
    exclude : tuple of str
        Globs of files and folders that do not belong to the collection; see `eno.files.AudioRoots`.
    files : Path or None
        Text file that lists the only files of the collection, one path per line, absolute or below an audio folder.
    data_root : Path
        Folder of ``raw/`` and ``processed/``.
    lute : str or None
        Source of Lute's albums: a file, or ``grpc://host:port``.
    embeddings, store : str
        Folder or URI of all embedding stores, and of the current one; see `eno.library.Library.store_place`.
    model : Path
        Folder of the current predictor, or its name on the Hugging Face hub or id in ClearML.
    device, dtype : str
        See `eno.encoders.load_encoder`.
    validation : {"folds", "fixed"}
        See `eno.training.record.HeadPlan`.
    album : str
        How the probabilities of tracks are combined into those of their album; see `eno.models.aggregation.aggregate`.
    options : dict
        Section name → options of an encoder, a head or ``calibration``, as they were set. Use `options_of`.
    """

    audio_roots: tuple[Path, ...] = ()
    exclude: tuple[str, ...] = ()
    files: Path | None = None
    data_root: Path = Path("data")
    lute: str | None = None
    embeddings: str = "embeddings"
    store: str | None = None
    model: Path = Path("models/eno")
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    encoder: str = "musicnn"
    head: str = "auto"
    validation: Literal["folds", "fixed"] = "folds"
    windows: WindowSettings = WindowSettings()
    labels: LabelSettings = LabelSettings()
    split: SplitSettings = SplitSettings()
    index: IndexSettings = IndexSettings()
    album: Literal["mean_logit", "mean", "max", "median_logit"] = "mean_logit"
    tracking: TrackingSettings = TrackingSettings()
    options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    _source: str = PrivateAttr(default=FILE)
    _overridden: frozenset[str] = PrivateAttr(default=frozenset())

    @property
    def base(self) -> Path:
        """Folder of the settings file."""
        return Path(self._source).parent

    def options_of(self, name: str) -> dict[str, Any]:
        """Return the options that were set for an encoder, a head or ``calibration``, checked and converted."""
        kind, colon, _ = name.partition(":")
        if colon and kind != "hf":
            return self.options.get(OWN, {})
        if not has_options(kind):
            return {}
        try:
            checked = options_model(kind).model_validate(self.options.get(kind, {}))
        except ValidationError as error:
            raise ConfigError(self._explain(error, prefix=(kind,))) from None
        given = {key: getattr(checked, key) for key in type(checked).model_fields if key in checked.model_fields_set}
        found = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
        if kind in ("blend", "auto"):
            members = found.get("heads", option_defaults(kind)["heads"])
            return found | {"options": {head: self.options_of(head) for head in members if head != kind}}
        return found

    def _explain(self, error: ValidationError, prefix: tuple[str, ...] = ()) -> str:
        return "\n".join(_explain(one, prefix, self._source, self._overridden) for one in error.errors())


def has_options(name: str) -> bool:
    """Whether an encoder, a head or ``calibration`` has a section of its own."""
    return name in _TAKE_OPTIONS


@cache
def options_model(name: str) -> type[BaseModel]:
    """Build the pydantic model of the options of an encoder, a head or ``calibration`` from its signature."""
    target = import_class(_TAKE_OPTIONS[name])
    hints = typing.get_type_hints(target.__init__ if inspect.isclass(target) else target, include_extras=True)
    fields: dict[str, Any] = {
        one.name: (hints[one.name], None if one.default is inspect.Parameter.empty else one.default)
        for one in inspect.signature(target).parameters.values()
        if one.kind is inspect.Parameter.KEYWORD_ONLY and not {one.name, f"{name}.{one.name}"} & _NOT_OPTIONS
    }
    return create_model(name, __base__=Section, **fields)


def option_defaults(name: str) -> dict[str, Any]:
    """Return the options of an encoder, a head or ``calibration`` with their defaults."""
    return {key: field.default for key, field in options_model(name).model_fields.items()}


def load_settings(path: Path | None = None, overrides: Iterable[str] = ()) -> Settings:
    """Read the settings; a mistake in them raises a ConfigError.

    Parameters
    ----------
    path : Path, optional
        The settings file, by default ``$ENO_CONFIG``, or else the nearest ``eno.toml`` in the current folder and those
        above it. Paths in a file found above are relative to its folder, otherwise to the current folder.
    overrides : iterable of str
        ``section.key=value``, which take precedence over the file. The value is TOML or plain text.
    """
    if path is None and "ENO_CONFIG" in os.environ:
        path = Path(os.environ["ENO_CONFIG"])
    found = settings_file() if path is None else path
    values = _read_toml(found) if found is not None else {}
    if path is None and found is not None and found.parent != Path():
        _rebase(values, found.parent)
    overridden = set()
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise ConfigError(f"--set {override}: expected section.key=value, for instance windows.count=16.")
        _put(values, key.strip().split("."), _toml_value(text.strip()))
        overridden.add(key.strip())
    return make_settings(values, source=str(found or FILE), overridden=overridden)


def settings_file() -> Path | None:
    """Find ``eno.toml`` in the current folder or the nearest folder above it."""
    if Path(FILE).is_file():
        return Path(FILE)
    return next((folder / FILE for folder in Path.cwd().parents if (folder / FILE).is_file()), None)


def make_settings(values: Mapping[str, Any], *, source: str = FILE, overridden: Iterable[str] = ()) -> Settings:
    """Check settings that are laid out as in the file; a ConfigError mentions `source`."""
    values = dict(values)
    options = {name: values.pop(name) for name in (*_TAKE_OPTIONS, OWN) if name in values}
    for name, section in options.items():
        if not isinstance(section, Mapping):
            raise ConfigError(f"{source}: {name} = {section!r}: expected a section of options.")
    calibration = dict(options.get("calibration", {}))
    if "album" in calibration:  # its former place
        values.setdefault("album", calibration.pop("album"))
        options["calibration"] = calibration
    overridden = frozenset(overridden)
    try:
        made = Settings.model_validate({**values, "options": {**values.get("options", {}), **options}})
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(one, (), source, overridden) for one in error.errors())) from None
    made._source, made._overridden = source, overridden
    return made


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not valid TOML: {error}.") from error


def _rebase(values: dict[str, Any], folder: Path) -> None:
    """Make relative paths absolute, the default ones included."""
    for name in (*_PATHS, *_PLACES):
        section, _, key = name.rpartition(".")
        place = values.get(section, {}) if section else values
        default = None if section else Settings.model_fields[key].default
        value = place.get(key, default) if isinstance(place, dict) else None
        if value is not None and "://" not in str(value):
            place[key] = str(folder / str(value))
    if isinstance(values.get("audio_roots"), list):
        values["audio_roots"] = [str(folder / str(one)) for one in values["audio_roots"]]


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


def _explain(problem: Mapping[str, Any], prefix: tuple[str, ...], file: str, overridden: Iterable[str]) -> str:
    keys = [*prefix, *map(str, problem["loc"])]
    name = ".".join(keys)
    source = "--set" if any(one == name or one.startswith(f"{name}.") for one in overridden) else file
    if problem["type"] != "extra_forbidden":
        return f"{source}: {name} = {problem['input']!r}: {problem['msg'][0].lower()}{problem['msg'][1:]}."
    choices = _keys_of(keys[:-1])
    close = difflib.get_close_matches(keys[-1], choices, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"{source}: unknown key {name!r}.{hint} Known here: {', '.join(choices)}."


def _keys_of(section: list[str]) -> list[str]:
    if not section:
        return [*(key for key in Settings.model_fields if key != "options"), *_TAKE_OPTIONS, OWN]
    if section[0] in _TAKE_OPTIONS:
        return list(options_model(section[0]).model_fields)
    model = Settings.model_fields[section[0]].annotation
    return list(model.model_fields) if inspect.isclass(model) and issubclass(model, BaseModel) else []
