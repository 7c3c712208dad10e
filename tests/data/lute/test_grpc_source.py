import random
import sys
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_tools import protoc

import eno.data.lute
from eno.data.lute import grpc_source as lute_grpc
from eno.data.lute.albums import read_albums
from eno.data.lute.importing import import_lute
from eno.errors import CatalogueError, MissingExtra
from tests.data.lute.lute_sources import ALBUMS

MESSAGES = lute_grpc.load_messages()
FOLDER = Path(eno.data.lute.__file__).parent


def message(album: dict):
    known = {field.name for field in MESSAGES["Album"].DESCRIPTOR.fields}
    return MESSAGES["Album"](**{key: value for key, value in album.items() if key in known and value is not None})


class Lute:
    def __init__(self, albums, *, shuffled=False, failures=(), promised=None):
        self.albums = [message(album) for album in albums]
        self.shuffled, self.failures = random.Random(0) if shuffled else None, list(failures)
        self.promised = len(self.albums) if promised is None else promised
        self.offsets = []

    def search(self, request, context):
        self.offsets.append(request.pagination.offset)
        if self.failures and (code := self.failures.pop(0)) is not None:
            context.abort(code, "on purpose")
        if self.shuffled:
            self.shuffled.shuffle(self.albums)
        start = request.pagination.offset
        page = self.albums[start : start + request.pagination.limit]
        return MESSAGES["SearchAlbumsReply"](albums=page, total=self.promised)


def test_numbers_out_of_range_stay_empty(tmp_path):
    album = ALBUMS[0] | {"rating_count": 2**32 - 1, "tracks": [{"name": "x", "duration_seconds": 2**31}]}
    with served(Lute([album])) as address:
        import_lute(address, tmp_path / "albums.parquet")
    (row,) = read_albums(tmp_path / "albums.parquet").to_pylist()
    assert (row["rating_count"], row["tracks"][0]["duration_seconds"]) == (None, None)


@contextmanager
def served(lute):
    handler = grpc.unary_unary_rpc_method_handler(
        lute.search,
        request_deserializer=MESSAGES["SearchAlbumsRequest"].FromString,
        response_serializer=MESSAGES["SearchAlbumsReply"].SerializeToString,
    )
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("lute.AlbumService", {"SearchAlbums": handler})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch):
    monkeypatch.setattr(lute_grpc, "_WAITS_S", (0.0, 0.0))
    monkeypatch.setattr(lute_grpc, "_PAGE_ALBUMS", 10)


def many(count: int) -> list[dict]:
    return [{"name": str(i), "file_name": f"release/album/x/{i}", "primary_genres": ["Jazz"]} for i in range(count)]


def test_albums_keep_all_fields_of_the_messages(tmp_path):
    with served(Lute(ALBUMS[:2])) as address:
        report = import_lute(address, tmp_path / "albums.parquet")
    assert report.albums == 2
    missing = {
        "credits": None,
        "spotify_id": None,
        "musicbrainz_release_id": None,
        "musicbrainz_release_group_id": None,
    }
    expected = [{**album, **missing, "rating": album["rating"] or None} for album in ALBUMS[:2]]
    assert read_albums(tmp_path / "albums.parquet").to_pylist() == expected


def test_pages_in_a_stable_order_are_read_once(tmp_path):
    lute, seen = Lute(many(35)), []
    with served(lute) as address:
        report = import_lute(
            address, tmp_path / "a.parquet", on_progress=lambda done, total: seen.append((done, total))
        )
    assert (report.albums, report.repeated) == (35, 0)
    assert lute.offsets == [0, 10, 20, 30]
    assert seen == [(10, 35), (20, 35), (30, 35), (35, 35)]


def test_overlapping_pages_are_fetched_again_until_complete(tmp_path, monkeypatch):
    monkeypatch.setattr(lute_grpc, "_SWEEPS", 20)
    lute = Lute(many(35), shuffled=True)
    with served(lute) as address:
        report = import_lute(address, tmp_path / "a.parquet")
    assert report.albums == 35
    assert lute.offsets.count(0) > 1
    assert len(set(read_albums(tmp_path / "a.parquet")["file_name"].to_pylist())) == 35


def test_an_import_with_fewer_albums_than_promised_fails(tmp_path):
    with (
        served(Lute(many(35), promised=40)) as address,
        pytest.raises(CatalogueError, match="returned 35 of the 40 albums that it reports"),
    ):
        import_lute(address, tmp_path / "a.parquet")
    assert not list(tmp_path.iterdir())


def test_a_page_is_fetched_again_after_a_temporary_failure(tmp_path):
    lute = Lute(many(25), failures=[None, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
    with served(lute) as address:
        assert import_lute(address, tmp_path / "a.parquet").albums == 25
    assert lute.offsets == [0, 10, 10, 10, 20]


def test_a_server_that_dies_midway_keeps_the_existing_table(tmp_path):
    destination = tmp_path / "a.parquet"
    with served(Lute(many(3))) as address:
        import_lute(address, destination)
    with (
        served(Lute(many(25), failures=[None, *[grpc.StatusCode.UNAVAILABLE] * 9])) as address,
        pytest.raises(CatalogueError, match=r"no response after 10 of 25 albums \(UNAVAILABLE"),
    ):
        import_lute(address, destination)
    assert len(read_albums(destination)) == 3
    assert list(tmp_path.iterdir()) == [destination]


def test_permanent_errors_are_not_retried(tmp_path):
    lute = Lute(many(3), failures=[grpc.StatusCode.UNIMPLEMENTED] * 2)
    with served(lute) as address, pytest.raises(CatalogueError, match="UNIMPLEMENTED, on purpose"):
        import_lute(address, tmp_path / "a.parquet")
    assert lute.offsets == [0]


def test_no_server_and_invalid_addresses(tmp_path):
    with served(Lute([])) as address:
        pass
    with pytest.raises(
        CatalogueError, match=r"grpc://127\.0\.0\.1:\d+: no response .*UNAVAILABLE.*Check that Lute is running"
    ):
        import_lute(address, tmp_path / "a.parquet")
    with pytest.raises(CatalogueError, match="grpc://lute: expected grpc://host:port"):
        import_lute("grpc://lute", tmp_path / "a.parquet")


def test_the_compiled_protocol_is_that_of_the_proto_file(tmp_path):
    compiled = tmp_path / "lute.binpb"
    status = protoc.main(["protoc", f"--proto_path={FOLDER}", f"--descriptor_set_out={compiled}", "lute.proto"])
    assert status == 0
    fresh, kept = (
        descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes()) for path in (compiled, FOLDER / "lute.binpb")
    )
    assert fresh == kept


def test_without_grpc_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "grpc", None)
    monkeypatch.delitem(sys.modules, "eno.data.lute.grpc_source")
    with pytest.raises(MissingExtra, match=r"\.\[lute\]"):
        import_lute("grpc://127.0.0.1:1", tmp_path / "a.parquet")
    assert not list(tmp_path.iterdir())
