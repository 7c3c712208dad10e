"""Slow and greedy clients, over sockets: they are disconnected, and take nothing from others."""

import errno
import socket
from dataclasses import replace

import httpx
import pytest

from eno.serving.connections import PunctualProtocol
from tests.serving.conftest import LIMITS, make_service, running

HEAD = b"POST /v1/tag HTTP/1.1\r\nHost: x\r\nContent-Type: audio/wav\r\nContent-Length: 2000\r\n\r\n"
SLOTS = 2


@pytest.fixture
def small(collection, tmp_path, monkeypatch):
    monkeypatch.setattr(PunctualProtocol, "deadline_s", 0.5)
    uploads = replace(LIMITS.uploads, idle_s=0.6, max_per_client=3, max_stored_bytes=2_000_000)
    service = make_service(collection, tmp_path, limits=replace(LIMITS, uploads=uploads, max_waiting=SLOTS))
    with running(service) as address:
        yield service, address


def connect(address, content=b""):
    host, port = address.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    connection.settimeout(0.2)
    connection.sendall(content)
    return connection


def answer(connection, drip=b"x"):
    """Send a byte after the other until the service answers or closes the connection; return what it sent."""
    received = b""
    for _ in range(100):
        try:
            connection.sendall(drip)
            part = connection.recv(4096)
        except TimeoutError:
            continue
        except ConnectionError:
            break
        received += part
        if not part:
            break
    else:
        pytest.fail("the connection is still open")
    connection.close()
    return received


def test_slow_senders_do_not_take_the_slots_of_others(small, collection):
    _, address = small
    slow = [connect(address, HEAD) for _ in range(SLOTS)]
    song = (collection[0].audio / "Low/2018 - Double/01.wav").read_bytes()
    assert httpx.post(f"{address}/v1/tag", content=song, headers={"Content-Type": "audio/wav"}).status_code == 200
    for connection in slow:
        assert answer(connection).startswith(b"HTTP/1.1 408")


def test_uploads_of_one_client_are_limited(small):
    service, address = small
    slow = [connect(address, HEAD) for _ in range(3)]
    while service.uploads._receiving.total() < 3:
        pass
    refused = connect(address, HEAD)
    refused.settimeout(10)
    head = refused.recv(4096)
    assert head.startswith(b"HTTP/1.1 503") and b"retry-after: 10" in head
    for connection in (*slow, refused):
        connection.close()


@pytest.mark.parametrize(
    "start", [b"", b"GET / HTTP/1.1\r\nX: ", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nX: "]
)
def test_slow_headers(small, start):
    assert b"HTTP/1.1 408" in answer(connect(small[1], start))


def test_the_rest_of_a_refused_body_is_not_awaited(small):
    large = HEAD.replace(b"2000", b"9000000")
    assert answer(connect(small[1], large)).startswith(b"HTTP/1.1 413")


def test_the_space_for_uploads_is_limited_and_free_again_afterwards(small):
    service, address = small
    kind = {"Content-Type": "audio/wav"}
    full = httpx.post(f"{address}/v1/tag", content=iter([bytes(1_000_000)] * 3), headers=kind)
    assert (full.status_code, full.headers["retry-after"]) == (503, "10")
    assert httpx.post(f"{address}/v1/tag", content=b"x", headers=kind).status_code == 422
    assert service.uploads.stored_bytes == 0


def test_a_large_body_that_is_no_upload(small):
    answered = httpx.post(f"{small[1]}/v1/feedback", content=iter([bytes(600_000)] * 2))
    assert answered.status_code == 413


@pytest.mark.parametrize("form", [True, False])
def test_a_full_disk(small, monkeypatch, form):
    def full(*_arguments, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("eno.serving.uploads._save" if form else "eno.serving.uploads.Path.open", full)
    sent = {"files": {"file": b"x"}} if form else {"content": b"x", "headers": {"Content-Type": "audio/wav"}}
    answered = httpx.post(f"{small[1]}/v1/tag", **sent)
    assert (answered.status_code, "disk" in answered.json()["detail"]) == (507, True)


def test_a_file_with_an_extended_name_only(small, collection):
    song = (collection[0].audio / "Low/2018 - Double/01.wav").read_bytes()
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    for name, shown in (
        (b"filename*=UTF-8''Sigur%20R%C3%B3s.wav", "Sigur Rós.wav"),
        (b"FileName*=iso-8859-1'en'R%F3s.wav", "Rós.wav"),
        (b"filename=\"plain.wav\"; filename*=UTF-8''R%C3%B3s.wav", "Rós.wav"),
        (b"filename*=UTF-8''a%22b%5C%3Bc.wav", ";c.wav"),
        (b"filename*=UTF-8''", "upload"),
    ):
        body = b'--b\r\nContent-Disposition: form-data; name="file"; ' + name + b"\r\n\r\n" + song + b"\r\n--b--\r\n"
        answered = httpx.post(f"{small[1]}/v1/tag", content=body, headers=kind)
        assert answered.status_code == 200, answered.text
        assert answered.json()["files"][0]["name"] == shown
