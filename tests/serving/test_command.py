"""The command ``eno serve``."""

import signal
import socket
import sys
import tempfile
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from eno.cli import app
from eno.cli.serving import AccessOptions
from eno.errors import ConfigError, EnoError, FingerprintMismatch, MissingExtra, ModelError
from tests.command import served
from tests.serving.conftest import save_predictor
from tests.similarity.small_collection import OwnEncoder

OWN = "tests.similarity.small_collection:OwnEncoder"
ROOT = Path(__file__).parents[2]


def error_of(*arguments):
    result = CliRunner().invoke(app, ["serve", *map(str, arguments)])
    assert isinstance(result.exception, EnoError), result.output
    return result.exception


def test_errors_are_reported_before_the_server_starts(collection, tmp_path):
    data, store = collection
    assert isinstance(error_of(), ConfigError)
    assert isinstance(error_of("--model", tmp_path), ModelError)
    assert "name it: --encoder" in str(error_of("--store", store.path))
    save_predictor(store, tmp_path / "other", encoder=OwnEncoder(seed=1))
    other = error_of("--store", store.path, "--model", tmp_path / "other", "--encoder", OWN)
    assert isinstance(other, FingerprintMismatch)
    (tmp_path / "token").write_text(" \n")
    assert "token is empty" in str(error_of("--model", data.root / "model", "--token-file", tmp_path / "token"))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "music.home", ""])
def test_an_address_that_others_can_reach_needs_a_token(collection, host):
    command = ["--model", collection[0].root / "model", "--host", host, "--host-name", "music.home"]
    assert "--no-token" in str(error_of(*command))


def test_accepted_hosts():
    open_to_all = AccessOptions(host="0.0.0.0", no_token=True).access()
    assert open_to_all.token is None and "localhost" in open_to_all.hosts  # no DNS rebinding
    assert AccessOptions(host="127.8.0.1").access().hosts == ("localhost", "127.0.0.1", "::1", "127.8.0.1")
    with pytest.raises(ConfigError, match="--host-name a b"):
        AccessOptions(host_name=["a b"]).access()


def test_a_unix_socket_takes_the_place_of_the_port(collection, tmp_path, monkeypatch):
    asked = {}

    def run(app, **options):
        asked.update(options)

    monkeypatch.setattr("uvicorn.run", run)
    place = tmp_path / "eno.sock"
    result = CliRunner().invoke(
        app, ["serve", "--model", str(collection[0].root / "model"), "--encoder", OWN, "--socket", str(place)]
    )
    assert result.exit_code == 0, result.output
    assert asked["uds"] == str(place)
    assert str(place) in result.output.replace("\n", "") and "http://" not in result.output


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    error = error_of("--model", "x")
    assert isinstance(error, MissingExtra) and ".[serve]" in str(error)


def stop(process):
    """Stop the service as systemd does, and return what it printed."""
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert process.returncode in (0, -signal.SIGTERM)
    assert "Traceback" not in output
    return output


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs signals of POSIX")
def test_serve_reload_and_stop(collection, tmp_path):
    data, store = collection
    (tmp_path / "token").write_text("s3cret\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["--model", data.root / "model", "--store", store.path, "--data-root", data.root, "--port", port,
                 "--map", "pca", "--token-file", tmp_path / "token",
                 "--feedback", tmp_path / "feedback.jsonl"]  # fmt: skip
    ask = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": "Bearer s3cret"})
    with served("--encoder", OWN, *arguments, client=ask) as (process, until):
        song = (data.audio / "heap/01.wav").read_bytes()
        tagged = ask.post("/v1/tag", content=song, headers={"Content-Type": "audio/wav"})
        assert tagged.json()["files"][0]["tags"]
        assert ask.get("/v1/info", headers={"Authorization": ""}).status_code == 401
        process.send_signal(signal.SIGHUP)
        until(lambda: 'eno_reloads_total{outcome="done"} 1.0' in ask.get("/metrics").text)
        assert f"http://127.0.0.1:{port}/" in stop(process)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # if it exists but does not listen yet
@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs Unix sockets")
def test_requests_through_a_unix_socket(collection):
    data, _ = collection
    with tempfile.TemporaryDirectory() as folder:  # the path of a socket has at most about 100 characters
        place = Path(folder) / "eno.sock"
        ask = httpx.Client(transport=httpx.HTTPTransport(uds=str(place)), base_url="http://localhost")
        arguments = ["--encoder", OWN, "--model", data.root / "model", "--socket", place]
        with served(*arguments, client=ask, socket_path=place) as (process, _):
            song = (data.audio / "heap/01.wav").read_bytes()
            tagged = ask.post("/v1/tag", content=song, headers={"Content-Type": "audio/wav"})
            assert tagged.json()["files"][0]["tags"]
            assert ask.get("/v1/info", headers={"Host": "elsewhere.example"}).status_code in (400, 403, 421)
            assert f"{place} (Unix socket)" in stop(process).replace("\n", "")
