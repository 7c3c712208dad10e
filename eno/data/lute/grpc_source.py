"""Albums of a running Lute, over gRPC."""

from __future__ import annotations

import importlib.resources
import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from eno.data.lute.albums import ALBUM_SCHEMA
from eno.data.lute.records import AlbumBatch, ProgressCallback, as_album
from eno.errors import CatalogueError, MissingExtra

try:
    import grpc
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
except ImportError as error:
    raise MissingExtra("lute", "grpcio") from error

_METHOD = "/lute.AlbumService/SearchAlbums"
_PAGE_ALBUMS = 500
_SWEEPS = 3
_WAITS_S = (1.0, 4.0, 15.0)  # pauses between the attempts to fetch a page
_REPLY_S = 60.0
_TEMPORARY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED)


def load_messages() -> dict[str, Any]:
    """Return the message classes of ``lute.proto`` by name."""
    # Built at run time, since generated Python code only works with the version of protobuf that generated it.
    content = importlib.resources.files("eno.data.lute").joinpath("lute.binpb").read_bytes()
    pool = descriptor_pool.DescriptorPool()
    names = []
    for file in descriptor_pb2.FileDescriptorSet.FromString(content).file:
        pool.Add(file)
        names += [message.name for message in file.message_type]
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"lute.{name}")) for name in names}


_MESSAGES = load_messages()


def read_grpc(address: str, on_progress: ProgressCallback) -> Iterator[AlbumBatch]:
    """Yield all albums of a running Lute at ``grpc://host:port``, or ``grpcs://host:port`` for TLS.

    Lute has no export, so a search for all albums is read page by page. Its order is not stable: pages may overlap and
    miss albums. Repeated albums are skipped, and the pages are fetched again while there are fewer albums than the
    reported total. Credits and Spotify ids stay null, since Lute's messages lack them.
    """
    scheme, _, target = address.partition("://")
    host, _, port = target.rstrip("/").rpartition(":")
    if not host or not port.isdigit():
        raise CatalogueError(f"{address}: expected {scheme}://host:port.")
    limits = [("grpc.max_receive_message_length", -1)]
    if scheme == "grpcs":
        channel = grpc.secure_channel(f"{host}:{port}", grpc.ssl_channel_credentials(), options=limits)
    else:
        channel = grpc.insecure_channel(f"{host}:{port}", options=limits)
    with channel:
        search = channel.unary_unary(
            _METHOD,
            request_serializer=_MESSAGES["SearchAlbumsRequest"].SerializeToString,
            response_deserializer=_MESSAGES["SearchAlbumsReply"].FromString,
        )
        yield from _sweep(address, search, on_progress)


def _sweep(address: str, search: Any, on_progress: ProgressCallback) -> Iterator[AlbumBatch]:
    seen: set[str] = set()
    total = 0
    for _ in range(_SWEEPS):
        offset = 0
        while True:
            reply = _page(address, search, offset, f"after {len(seen)} of {total or 'an unknown number of'} albums")
            total = reply.total
            if not reply.albums:
                break
            new = [(i, album) for i, album in enumerate(reply.albums, offset) if album.file_name not in seen]
            seen.update(album.file_name for _, album in new)
            unreadable: list[str] = []
            table = pa.Table.from_pylist([as_album(_as_dict(album), unreadable) for _, album in new], ALBUM_SCHEMA)
            yield AlbumBatch(table, [i for i, _ in new], "album at offset", unreadable)
            offset += len(reply.albums)
            on_progress(min(len(seen), total), total)
            if offset >= total:
                break
        if len(seen) >= total:
            break
    if len(seen) < total:
        raise CatalogueError(
            f"{address}: returned {len(seen)} of the {total} albums that it reports; nothing was imported. Try again "
            "while Lute is not crawling, or import its lute.db."
        )


def _as_dict(message: Any) -> dict[str, Any]:
    """Convert an album or a part of one; optional fields that are not set are omitted."""
    fields = [one for one in message.DESCRIPTOR.fields if not one.has_presence or message.HasField(one.name)]
    values = {field.name: getattr(message, field.name) for field in fields}
    return {
        name: value
        if isinstance(value, str | int | float)
        else [_as_dict(one) if hasattr(one, "DESCRIPTOR") else one for one in value]
        for name, value in values.items()
    }


def _page(address: str, search: Any, offset: int, progress: str) -> Any:
    # An empty query finds every album that is not a duplicate.
    request = _MESSAGES["SearchAlbumsRequest"](query={}, pagination={"offset": offset, "limit": _PAGE_ALBUMS})
    for wait_s in (*_WAITS_S, None):
        try:
            return search(request, timeout=_REPLY_S)
        except grpc.RpcError as error:
            if wait_s is not None and error.code() in _TEMPORARY:
                time.sleep(wait_s)
                continue
            raise CatalogueError(
                f"{address}: no response {progress} ({error.code().name}, {error.details()}); nothing was imported. "
                "Check that Lute is running there."
            ) from error
    raise AssertionError("unreachable")
