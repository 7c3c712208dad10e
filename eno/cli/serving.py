"""Run the HTTP service: ``serve``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from eno.cli.commands import SERVICE, command
from eno.cli.options import (
    AudioRootOption,
    DeviceOption,
    EncoderOption,
    IndexOption,
    LibraryOptions,
    PredictorOption,
    StoreOption,
    shown,
)
from eno.cli.search.mapping import Layout
from eno.console import console, progress
from eno.errors import ConfigError, MissingExtra
from eno.library import Library

if TYPE_CHECKING:
    from eno.serving.security import Access
    from eno.serving.service import Limits
    from eno.spec import EncoderSpec

app = typer.Typer()

TOKEN = "ENO_TOKEN"
"""Variable of the environment for the token that clients must send."""
_MB = 1_000_000


@dataclass(frozen=True)
class AccessOptions:
    """Who may use the service."""

    panel: ClassVar[str] = "Access"

    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all interfaces")] = "127.0.0.1"
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port")] = 8000
    socket: Annotated[
        Path | None, typer.Option(help="Unix socket to listen on instead of address and port, for a proxy")
    ] = None
    token_file: Annotated[
        Path | None, typer.Option(help=f"File with the token that clients must send (default: ${TOKEN}, or no token)")
    ] = None
    host_name: Annotated[
        list[str] | None,
        typer.Option(help="Name of the service in browsers, NAME or NAME:PORT, besides localhost; repeatable"),
    ] = None
    root_path: Annotated[str, typer.Option(help="Path below which a proxy shows the service, for example /eno")] = ""
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Let everyone who can reach the address use the service")
    ] = False
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="Site whose pages may call the service (CORS); '*' for all")
    ] = None

    def access(self) -> Access:
        """Read the token, and return which requests are allowed."""
        from eno.serving.security import Access, host_of, is_local, local_names

        names = tuple(self.host_name or ())
        if unusable := [name for name in names if not host_of(name)]:
            raise ConfigError(
                f"--host-name {unusable[0]}: not a host name. Use one such as music.home or music.home:8443."
            )
        token = self._token()
        # A check of the Host header keeps out pages of other sites, not people or programs.
        if token is None and not is_local(self.host) and not self.no_token:
            raise ConfigError(
                f"Anyone who can reach {self.host} could use this service and play the collection. Set a token: "
                "'openssl rand -hex 16 > token.txt' creates one for --token-file token.txt. Without HTTPS, others on "
                "the network can read it. To do without a token, add --no-token."
            )
        any_host = token is not None and not names and not is_local(self.host)
        hosts = () if any_host else local_names(self.host, names)
        return Access(token=token, hosts=hosts, names=names, origins=tuple(self.allow_origin or ()))

    def address(self) -> str:
        """Return where the service listens, for people."""
        if self.socket is not None:
            return f"{self.socket} (Unix socket)"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}{self.prefix()}/"

    def prefix(self) -> str:
        """Return the root path with a slash at its start only."""
        path = self.root_path.strip("/")
        return f"/{path}" if path else ""

    def _token(self) -> str | None:
        token = os.environ.get(TOKEN)
        if self.token_file is not None:
            try:
                token = self.token_file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"{self.token_file}: cannot be read ({error}).") from error
        if token is None:
            return None
        if not token.strip():
            place = self.token_file or f"${TOKEN}"
            raise ConfigError(f"The token in {place} is empty. Set one, for example 32 random letters.")
        if self.no_token:
            raise ConfigError(f"--no-token contradicts --token-file and ${TOKEN}.")
        return token.strip()


@dataclass(frozen=True)
class LimitOptions:
    """What the service accepts."""

    panel: ClassVar[str] = "Limits"

    max_mb: Annotated[float, typer.Option(min=0.001, help="Maximum size of a file, in MB")] = 200.0
    max_minutes: Annotated[float, typer.Option(min=0.01, help="Maximum duration of a file")] = 120.0
    max_waiting: Annotated[int, typer.Option(min=1, help="Maximum number of waiting requests")] = 64
    decoders: Annotated[int | None, typer.Option(min=1, help="Decoding processes (default: half the cores)")] = None

    def limits(self) -> Limits:
        """Return these options as limits of the service."""
        from eno.serving.service import Limits, default_decoders
        from eno.serving.uploads import UploadLimits

        return Limits(
            uploads=UploadLimits(max_bytes=round(self.max_mb * _MB)),
            max_duration_s=60 * self.max_minutes,
            max_waiting=self.max_waiting,
            decoders=self.decoders or default_decoders(),
        )


@command(app, panel=SERVICE, former={"--map": "--layout"})
def serve(
    where: LibraryOptions,
    access: AccessOptions,
    limits: LimitOptions,
    model: PredictorOption = None,
    store: StoreOption = None,
    index: IndexOption = None,
    audio_root: AudioRootOption = None,
    feedback: Annotated[
        Path | None, typer.Option(help="File for corrections by users (default: DATA_ROOT/processed/feedback.jsonl)")
    ] = None,
    layout: Annotated[Layout, typer.Option(help="Layout of the map, see 'eno map'")] = "auto",
    encoder: EncoderOption = None,
    device: DeviceOption = None,
) -> None:
    """Tag files and find similar tracks over HTTP and on a web page.

    Without a store there is no search, and without a predictor there are no tags.
    """
    try:
        import uvicorn

        from eno.serving.app import create_app
        from eno.serving.connections import PunctualProtocol
        from eno.serving.service import Service
    except ImportError as error:
        raise MissingExtra("serve", (error.name or "fastapi").partition(".")[0]) from error
    from eno.serving.snapshot import Sources

    library = where.open(model=model, store=store, audio_root=audio_root, device=device)
    allowed = access.access()
    predictor, place = _sources(library, model, store)
    if place is not None and index is None:
        with progress("indexing") as show:
            Library(library.settings.model_copy(update={"store": place})).index(on_progress=show)
    specs, joined = _encoders(predictor, place)
    loaded = library.encoders_of(specs, encoder)
    sources = Sources(
        model=predictor, store=place, joined=joined, index=index, data_root=library.settings.data_root,
        audio_roots=library.audio_roots if audio_root else library.present_audio_roots, map_method=layout,
    )  # fmt: skip
    service = Service(sources, *loaded, feedback=feedback or library.data.feedback, limits=limits.limits())
    console.print(f"{shown(access.address())}  Press Ctrl-C to stop")
    uvicorn.run(
        create_app(service, allowed, root_path=access.prefix()),
        http=PunctualProtocol,
        host=access.host,
        port=access.port,
        uds=None if access.socket is None else str(access.socket),
        log_level="info",
        access_log=False,  # /metrics counts requests, and paths would reveal what people listen to
        timeout_graceful_shutdown=60,
    )


def _sources(library: Library, model: Path | None, store: str | None) -> tuple[Path | None, str | None]:
    """Return the predictor and store on the command line; if neither is there, those of the library."""
    if model is not None or store is not None:
        return library.predictor_folder() if model else None, store
    model = library.settings.model if library.has_predictor else None
    store = library.store_place() if library.settings.store or library.stores() else None
    if model is None and store is None:
        raise ConfigError(
            "There is nothing to serve yet. Embed the collection with 'eno embed' and train a predictor with "
            "'eno train', or specify them with --store and --model."
        )
    return model, store


def _encoders(model: Path | None, place: str | None) -> tuple[tuple[EncoderSpec, ...], tuple[str, ...]]:
    """Return the encoders that are needed, and the stores from which a predictor of several tags the tracks."""
    from eno.embeddings.store.embedding_store import EmbeddingStore
    from eno.inference.predictor_folder import read_description
    from eno.training.record import stores_for

    store = None if place is None else EmbeddingStore.open(place)
    if model is None:
        assert store is not None
        return store.specs, ()
    specs = read_description(model).specs
    if store is None:
        return specs, ()
    stores = stores_for(model, store)
    return specs, tuple(stores.places) if len(specs) > 1 else ()
