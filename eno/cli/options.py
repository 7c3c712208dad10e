"""Options that several commands share, and how text reaches the console."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from eno.config import Settings, load_settings
from eno.console import console
from eno.errors import ConfigError
from eno.files import printable

if TYPE_CHECKING:
    from eno.audio.windows import WindowPolicy
    from eno.encoders import Encoder
    from eno.spec import EncoderSpec
    from eno.training.collection import Collection
    from eno.training.record import HeadPlan

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Settings file (default: $ENO_CONFIG, or eno.toml if there is one)")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting that goes over the file, e.g. windows.count=16"),
]
DeviceOption = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 …")]
EncoderOption = Annotated[
    str | None, typer.Option(help="Encoder by name ('eno encoders' lists them), hf:<id or folder>, or <module>:<class>")
]
StoreArgument = Annotated[
    str, typer.Argument(help="Store that 'eno embed' made: a folder, or a URI such as s3://bucket/folder")
]
StoreOption = Annotated[
    str, typer.Option("--store", help="Store that 'eno embed' made: a folder, or a URI such as s3://bucket/folder")
]
SplitsOption = Annotated[
    Path | None, typer.Option(help="Folder of train/val/test.parquet (default: that of 'eno split')")
]
LabelsOption = Annotated[Path | None, typer.Option(help="Vocabulary (default: that of 'eno labels')")]
DataRootOption = Annotated[Path | None, typer.Option("--data-root", help="Folder of raw/ and processed/")]


def settings(config: Path | None, overrides: list[str] | None, **options: str | Path | None) -> Settings:
    """Settings of the file, then --set, then the options that have a name of their own."""
    named = [f"{name}={json.dumps(str(value))}" for name, value in options.items() if value is not None]
    return load_settings(config, [*(overrides or ()), *named])


def encoder_of(chosen: Settings, name: str | None = None) -> Encoder:
    """Load the encoder of the settings, or another one with its settings."""
    from eno.encoders import is_own, load_encoder

    name = name or chosen.encoder
    if is_own(name) and "" not in sys.path:
        sys.path.insert(0, "")  # a module of the user's own lies where the command is run
    return load_encoder(name, device=chosen.device, dtype=chosen.dtype, **chosen.options_of(name))


def encoder_of_spec(chosen: Settings, spec: EncoderSpec, name: str | None = None) -> Encoder:
    """Load the encoder that made some vectors, from where the settings say or else where it lay then.

    Raises
    ------
    ConfigError
        It is one of somebody's own, and was not named.
    """
    from eno.encoders import is_own, load_encoder

    if name is not None:
        return encoder_of(chosen, name)
    if is_own(spec.name):
        raise ConfigError(
            f"The store's encoder {spec.name!r} is no part of eno; if you trust its code, name it: --encoder."
        )
    location = {key: value for key, value in chosen.options_of(spec.name).items() if key in ("model", "revision")}
    place = location if "model" in location else spec.location | location
    return load_encoder(spec.name, device=chosen.device, dtype=chosen.dtype, **spec.options, **place)


def policy_of(chosen: Settings) -> WindowPolicy:
    """Which windows the settings ask for."""
    from eno.audio.windows import WindowPolicy

    return WindowPolicy(**chosen.windows.model_dump())


def collection_of(chosen: Settings, store: str, splits: Path | None, labels: Path | None) -> Collection:
    """Open a store beside the splits and the vocabulary that are named, or those of the data root."""
    from eno.data.labels.encoder import LabelEncoder
    from eno.data.layout import DataRoot
    from eno.embeddings.store.embedding_store import EmbeddingStore
    from eno.training.collection import Collection

    root = DataRoot(chosen.data_root)
    vocabulary = LabelEncoder.load(labels or root.label_encoder)
    return Collection(EmbeddingStore.open(store), splits or root.splits, vocabulary)


def plan_of(chosen: Settings, head: str | None = None) -> HeadPlan:
    """What the settings say of a head, and of what follows it."""
    from eno.training.record import HeadPlan

    head = head or chosen.head
    calibration = chosen.calibration.model_dump(exclude_none=True)
    return HeadPlan(head, chosen.options_of(head), calibration, calibration.pop("album"))


def shown(value: Any) -> str:
    """Text that may hold brackets and odd bytes of file names, as the console takes it."""
    return escape(printable(str(value)))


def print_rows(rows: dict[str, str]) -> None:
    """Print names and values in two columns."""
    width = max(map(len, rows))
    for name, value in rows.items():
        console.print(f"{name:<{width}}  {shown(value)}")
