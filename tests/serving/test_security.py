"""Access control, and behaviour under load and at shutdown."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import pytest

from eno.serving.security import Access, local_names
from tests.serving.conftest import LIMITS, make_service, running
from tests.similarity.small_collection import OwnEncoder

TRACK = "Low/2018 - Double/01.wav"


class WaitingEncoder(OwnEncoder):
    """Waits for an event before it encodes."""

    def __init__(self):
        super().__init__()
        self.may, self.entered, self.windows = threading.Event(), threading.Event(), 0

    def encode(self, windows):
        self.entered.set()
        assert self.may.wait(30)
        self.windows += len(windows)
        return super().encode(windows)


@pytest.fixture
def song(collection):
    return (collection[0].audio / TRACK).read_bytes()


@pytest.fixture
def slow(collection, tmp_path):
    encoder = WaitingEncoder()
    limits = replace(LIMITS, max_waiting=2, watch_s=0)
    service = make_service(collection, tmp_path, encoder=encoder, limits=limits)
    with running(service) as address:
        yield encoder, service, address
        encoder.may.set()


def tag(address, song):
    return httpx.post(f"{address}/v1/tag", content=song, headers={"Content-Type": "audio/wav"}, timeout=30)


def until(holds):
    for _ in range(500):
        if holds():
            return
        time.sleep(0.01)
    pytest.fail("timed out")


def test_requests_over_the_limit_are_refused_at_once(slow, song):
    encoder, service, address = slow
    with ThreadPoolExecutor(2) as pool:
        inside = [pool.submit(tag, address, song) for _ in range(2)]
        until(lambda: service.request_limit.active == 2)
        refused = tag(address, song)
        assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
        assert int(refused.headers["Retry-After"]) >= 1
        assert httpx.get(f"{address}/v1/tracks").status_code == 200  # requests without the model still work
        encoder.may.set()
        assert [one.result().status_code for one in inside] == [200, 200]
    assert tag(address, song).status_code == 200


def test_a_disconnected_client_frees_its_slot(slow, song):
    encoder, service, address = slow
    for _ in range(4):  # twice the limit
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{address}/v1/tag", content=song, headers={"Content-Type": "audio/wav"}, timeout=0.5)
        until(lambda: service.request_limit.active == 0 and not list(service.upload_folder.iterdir()))
    encoder.may.set()
    assert tag(address, song).status_code == 200
    assert encoder.windows <= 4 * 2  # only the first cancelled file had reached the encoder


def test_shutdown_finishes_running_requests(collection, song, tmp_path):
    encoder = WaitingEncoder()
    service = make_service(collection, tmp_path, encoder=encoder)
    with ThreadPoolExecutor(1) as pool:
        with running(service) as address:
            asked = pool.submit(tag, address, song)
            assert encoder.entered.wait(30)
            threading.Timer(0.3, encoder.may.set).start()
        assert asked.result().status_code == 200
    assert not service.upload_folder.exists()


@pytest.fixture(scope="module")
def guarded(collection, tmp_path_factory):
    access = Access(token="s3cret", hosts=local_names("127.0.0.1", ["music.home"]), origins=("https://friend.example",))
    service = make_service(collection, tmp_path_factory.mktemp("guarded"))
    with running(service, access) as address, httpx.Client(base_url=address) as client:
        yield client


@pytest.mark.parametrize("path", ["/v1/tracks", "/v1/info", "/metrics", f"/v1/tracks/{TRACK}/audio", "/v1/nowhere"])
@pytest.mark.parametrize("shown", [None, "Bearer wrong", "Basic s3cret", "Bearer", "Bearer \xff"])
def test_everything_requires_the_token(guarded, path, shown):
    answer = guarded.get(path, headers={} if shown is None else {"Authorization": shown.encode("latin-1")})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.headers["content-type"] == "application/problem+json"


def test_token_and_session_give_access(guarded):
    right = {"Authorization": "Bearer s3cret"}
    assert guarded.get("/v1/tracks", headers=right).status_code == 200
    cookie = guarded.post("/v1/session", headers=right).headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "s3cret" not in cookie
    guarded.cookies.clear()
    session = {"Cookie": cookie.partition(";")[0]}
    part = {"Range": "bytes=0-3"} | session
    assert guarded.get(f"/v1/tracks/{TRACK}/audio", headers=part).content == b"RIFF"
    assert guarded.get("/v1/tracks", headers={"Cookie": session["Cookie"][:-1]}).status_code == 401
    assert guarded.post("/v1/session", headers={"Authorization": "Bearer x"}).status_code == 401
    for path in ("/", "/healthz", "/readyz", "/assets/app.js"):
        assert guarded.get(path).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"), [("evil.example", 421), ("localhost:99", 200), ("music.home", 200), ("[::1]:8", 200)]
)
def test_unknown_host_headers_are_refused(guarded, host, status):
    assert guarded.get("/healthz", headers={"Host": host}).status_code == status


def test_pages_of_other_sites(guarded):
    right = {"Authorization": "Bearer s3cret"}
    evil = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"} | right
    friend = evil | {"Origin": "https://friend.example"}
    body = {"track_id": TRACK, "tag": "rain", "verdict": "accept"}
    assert guarded.post("/v1/feedback", json=body, headers=evil).status_code == 403
    assert "access-control-allow-origin" not in guarded.get("/v1/tags", headers=evil).headers
    allowed = guarded.post("/v1/feedback", json=body, headers=friend)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (201, "https://friend.example")
    asked = {"Origin": "https://friend.example", "Access-Control-Request-Method": "POST"}
    before = guarded.options("/v1/feedback", headers=asked)
    assert (before.status_code, "POST" in before.headers["access-control-allow-methods"]) == (204, True)


def test_no_cross_origin_access_by_default(address):
    answer = httpx.get(f"{address}/v1/tags", headers={"Origin": "https://friend.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_content_security_policy(address):
    policy = dict(part.split(" ", 1) for part in httpx.get(address).headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'" and policy["script-src"] == "'self'"
    assert httpx.get(f"{address}/docs").status_code == 404
