"""Over HTTP: ``serve``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eno.cli.mapping import Method
from eno.cli.options import (
    ConfigOption,
    DataRootOption,
    DeviceOption,
    EncoderOption,
    SetOption,
    encoder_of_spec,
    settings,
    shown,
)
from eno.console import console, errors, progress
from eno.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    from eno.embeddings.store.embedding_store import EmbeddingStore
    from eno.serving.security import Access
    from eno.serving.service import Limits
    from eno.spec import EncoderSpec

app = typer.Typer()

_TOKEN = "ENO_TOKEN"
_MB = 1_000_000


@app.command()
def serve(
    model: Annotated[
        Path | None, typer.Option(help="Predictor that 'eno train' made; without it nothing is tagged")
    ] = None,
    store: Annotated[
        str | None, typer.Option(help="Store whose tracks are served; without it files are only tagged")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all of this machine")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port")] = 8000,
    token_file: Annotated[
        Path | None, typer.Option(help=f"File of the token that clients must show (default: ${_TOKEN}, or none)")
    ] = None,
    host_name: Annotated[
        list[str] | None, typer.Option(help="Name under which the service is asked for, besides localhost")
    ] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="Site whose pages may use the service (CORS); '*' for all")
    ] = None,
    feedback: Annotated[
        Path | None, typer.Option(help="File of corrections (default: DATA_ROOT/processed/feedback.jsonl)")
    ] = None,
    index: Annotated[Path | None, typer.Option(help="The index (default: the one in the store)")] = None,
    audio_root: Annotated[
        Path | None, typer.Option(help="Folder that track ids are relative to (default: DATA_ROOT/raw/audio)")
    ] = None,
    map_method: Annotated[Method, typer.Option("--map", help="How the map is laid out, see 'eno map'")] = Method.AUTO,
    max_mb: Annotated[float, typer.Option(min=0.001, help="Largest file that is taken, in MB")] = 200.0,
    max_minutes: Annotated[float, typer.Option(min=0.01, help="Longest file that is taken")] = 120.0,
    max_waiting: Annotated[int, typer.Option(min=1, help="Requests that may wait for the model")] = 64,
    decoders: Annotated[
        int | None, typer.Option(min=1, help="Processes that decode (default: half of the cores)")
    ] = None,
    encoder: EncoderOption = None,
    device: DeviceOption = None,
    data_root: DataRootOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Tag files and find similar tracks over HTTP, with a page to use in a browser."""
    try:
        import uvicorn

        from eno.serving.app import create_app
        from eno.serving.service import Service
    except ImportError as error:
        raise MissingExtra("serve", (error.name or "fastapi").partition(".")[0]) from error
    from eno.data.layout import DataRoot
    from eno.embeddings.store.embedding_store import EmbeddingStore
    from eno.serving.snapshot import Sources
    from eno.similarity.index.build import open_or_build

    chosen = settings(config, overrides, device=device, data_root=data_root)
    access = _access(host, token_file, host_name, allow_origin)
    opened = None if store is None else EmbeddingStore.open(store)
    if opened is not None:
        with progress("indexing") as show:
            open_or_build(opened, index, on_progress=show, **chosen.index.model_dump(exclude_none=True))
    loaded = encoder_of_spec(chosen, _spec(model, opened), encoder)
    sources = Sources(
        model=model, store=store, index=index, data_root=chosen.data_root, audio_roots=audio_root,
        map_method=map_method.value,
    )  # fmt: skip
    service = Service(
        sources,
        loaded,
        feedback=feedback or DataRoot(chosen.data_root).feedback,
        limits=_limits(max_mb, max_minutes, max_waiting, decoders),
    )
    console.print(f"http://{f'[{host}]' if ':' in host else host}:{port}/  Ctrl-C ends it")
    uvicorn.run(
        create_app(service, access),
        host=host,
        port=port,
        log_level="info",
        access_log=False,  # /metrics counts, and paths are what somebody listens to
        timeout_graceful_shutdown=60,
    )


def _access(host: str, token_file: Path | None, names: list[str] | None, origins: list[str] | None) -> Access:
    from eno.serving.security import Access, local_names

    token = os.environ.get(_TOKEN)
    if token_file is not None:
        try:
            token = token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{token_file}: cannot be read ({error}).") from error
    if token is not None and not token.strip():
        raise ConfigError(f"The token is empty: put one into {token_file or '$' + _TOKEN}, for instance of 32 letters.")
    hosts = local_names(host, names or ())
    if token is None and not hosts:
        errors.print(
            f"[yellow]Whoever reaches {shown(host)} may use this service and hear the collection. --token-file or "
            f"${_TOKEN} lets only those in who show a token; without https, others on the network can read it.[/]"
        )
    return Access(token=token, hosts=hosts, origins=tuple(origins or ()))


def _limits(max_mb: float, max_minutes: float, max_waiting: int, decoders: int | None) -> Limits:
    from eno.serving.service import Limits, default_decoders
    from eno.serving.uploads import UploadLimits

    return Limits(
        uploads=UploadLimits(max_bytes=round(max_mb * _MB)),
        max_duration_s=60 * max_minutes,
        max_waiting=max_waiting,
        decoders=decoders or default_decoders(),
    )


def _spec(model: Path | None, store: EmbeddingStore | None) -> EncoderSpec:
    from eno.inference.predictor_folder import read_description

    if model is None and store is None:
        raise ConfigError("There is nothing to serve: name a predictor (--model), a store (--store), or both.")
    if model is None:
        assert store is not None
        return store.spec
    spec = read_description(model).spec
    if store is not None:
        store.require(spec)
    return spec
