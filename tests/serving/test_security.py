"""Access control, and behaviour under load and at shutdown."""

import json
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
        until(lambda: service.request_limit.active == 0 and not list(service.uploads.path.iterdir()))
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
    assert not service.uploads.path.exists()


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


BODY = {"track_id": TRACK, "tag": "rain", "verdict": "accept"}


@pytest.fixture(scope="module")
def proxied(collection, tmp_path_factory):
    access = Access(hosts=local_names("127.0.0.1", ["Music.Home:8443"]), names=("Music.Home:8443",))
    service = make_service(collection, tmp_path_factory.mktemp("feedback"))
    with running(service, access, root_path="/eno") as address, httpx.Client(base_url=address) as client:
        yield client


@pytest.mark.parametrize(
    ("host", "headers", "status"),
    [
        ("localhost:80", {}, 201),  # a program
        ("localhost:8000", {"Origin": "http://LOCALHOST:8000"}, 201),
        ("localhost", {"Origin": "http://localhost:80"}, 201),
        ("[::1]:8000", {"Origin": "http://[::1]:8000"}, 201),
        ("music.home", {"Origin": "https://music.home"}, 201),  # the proxy ends HTTPS
        ("127.0.0.1:8000", {"Origin": "https://music.home:8443"}, 201),  # the proxy replaces Host
        ("127.0.0.1:8000", {"Origin": "https://music.home:9999"}, 403),
        ("localhost:8000", {"Origin": "http://evil.example"}, 403),
        ("localhost:8000", {"Origin": "http://localhost:8001"}, 403),
        ("localhost:8000", {"Origin": "http://localhost.evil.example:8000"}, 403),
        ("localhost:8000", {"Origin": "null"}, 403),
        ("localhost:8000", {"Origin": ""}, 403),
        ("localhost:8000", {"Origin": "http://localhost:port"}, 403),
        ("localhost:8000", {"Referer": "http://evil.example/page"}, 403),
        ("localhost:8000", {"Referer": "http://localhost:8000/"}, 201),
        ("localhost:8000", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("localhost:8000", {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:8000"}, 403),
    ],
)
def test_the_page_that_sent_a_request_is_compared_with_the_host(proxied, host, headers, status):
    assert proxied.post("/v1/feedback", json=BODY, headers={"Host": host} | headers).status_code == status


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/tag"), ("POST", "/v1/similar"), ("GET", "/v1/search?text=x")]
)
def test_pages_of_other_sites_cannot_use_the_model(proxied, method, path):
    evil = {"Origin": "http://evil.example", "Content-Type": "application/octet-stream"}
    assert proxied.request(method, path, headers=evil).status_code == 403


def test_feedback_must_be_json(proxied):
    content = json.dumps(BODY)
    for kind in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}):
        assert proxied.post("/v1/feedback", content=content, headers=kind).status_code == 415
    kind = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert proxied.post("/v1/feedback", content=content, headers=kind).status_code == 201


@pytest.mark.parametrize("host", ["MUSIC.home.", "music.home:8443", "localhost.", "127.0.0.1:1", "[0:0:0:0:0:0:0:1]"])
def test_spellings_of_a_host(proxied, host):
    assert proxied.get("/healthz", headers={"Host": host}).status_code == 200


def test_the_session_is_found_among_cookies_of_other_applications(guarded):
    session = f"eno_session={Access(token='s3cret').session()}"
    for cookies in (f'prefs={{"a":1}}; {session}', f"{session}; a b=c", f"x; =; {session};;", f'q="a; {session}'):
        assert guarded.get("/v1/info", headers={"Cookie": cookies}).status_code == 200
    guarded.cookies.clear()
    assert guarded.get("/v1/info", headers={"Cookie": 'prefs={"a":1}'}).status_code == 401


def test_head_and_options(proxied):
    paths = ["/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/assets/app.js", "/v1/info", "/v1/tags",
             "/v1/map", "/v1/tracks", f"/v1/tracks/{TRACK}", f"/v1/tracks/{TRACK}/audio", "/v1/feedback"]  # fmt: skip
    for path in paths:
        for prefix in ("", "/eno"):  # a proxy may keep the prefix
            got, head = proxied.get(prefix + path), proxied.head(prefix + path)
            assert (head.status_code, head.content) == (200, b""), path
            if path not in ("/metrics", "/openapi.json"):
                assert head.headers.get("content-length") == got.headers.get("content-length"), path
    part = proxied.head(f"/v1/tracks/{TRACK}/audio", headers={"Range": "bytes=0-3"})
    assert (part.status_code, part.headers["content-length"]) == (206, "4")
    assert proxied.head("/v1/tracks/none").status_code == 404
    for path, methods in (
        ("/v1/feedback", "GET, POST, HEAD, OPTIONS"),
        ("/healthz", "GET, HEAD, OPTIONS"),
        ("/v1/tag", "POST, OPTIONS"),
    ):
        assert proxied.put(path).headers["allow"] == proxied.options(path).headers["allow"] == methods
    assert proxied.head("/v1/tag").status_code == 405
    moved = proxied.get("/eno", follow_redirects=False)
    assert (moved.status_code, moved.headers["location"]) == (308, "/eno/")
    assert proxied.get("/enoxyz").status_code == 404
