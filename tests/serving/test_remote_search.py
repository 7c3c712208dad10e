"""``eno similar --serve-url`` prints what ``eno similar`` prints."""

import http.server
import json
import threading

import pytest
from typer.testing import CliRunner

from eno.cli import app
from eno.errors import ConfigError, EnoError, SimilarityError
from eno.serving.security import Access
from tests.serving.conftest import make_service, running

FIRST = "Low/2001 - Things We Lost/01.wav"


@pytest.fixture
def similar(collection):
    """Run the command; return what it prints, or raise the error that it would print."""

    def similar(*arguments):
        words = ["similar", *map(str, arguments), "--data-root", str(collection[0].root)]
        result = CliRunner().invoke(app, words)
        if isinstance(result.exception, EnoError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout, result.stderr

    return similar


@pytest.fixture
def local(collection, similar):
    data, store = collection
    return lambda *arguments: similar(*arguments, "--store", store.path, "--model", data.root / "model")


@pytest.mark.parametrize(
    "arguments",
    [
        [FIRST],
        [FIRST, "--json", "-k", 20, "--per-artist", 0, "--same-album"],
        ["2018 - double/02.WAV", "Takk/01.wav", "--minus", "heap/01.wav", "-k", 4],
        ["--like-album", "ruins", "--like-artist", "Low", "--per-album", 1, "--diversity", 0.5],
        ["--tags", "rain, Slowcore", "--json"],
        [FIRST, "--genre", "ambient", "--year", "2005-", "--path", "*/0[12].wav", "--where", "shelf = 'blue'"],
        [FIRST, "--artist", "grouper", "--album", "Ruins", "--duration", "0:02-0:10", "--descriptor", "rain"],
        [FIRST, "--playlist", 0.4, "--seed", 3, "--per-artist", 3],
    ],
)
def test_the_output_is_that_of_the_local_command(similar, local, address, arguments):
    assert similar(*arguments, "--serve-url", f"{address}/") == local(*arguments)


def test_text_is_encoded_by_the_service(similar, local, address):
    arguments = ["--text", "sad piano with rain", "--json", "-k", 5]
    own = ["--encoder", "tests.similarity.small_collection:OwnEncoder"]
    assert similar(*arguments, "--serve-url", address) == local(*arguments, *own)


def test_files_below_the_audio_folders_are_tracks(similar, local, collection, address, tmp_path):
    file = collection[0].audio / FIRST
    assert similar(file, "--serve-url", address) == local(FIRST)
    (tmp_path / "new.wav").write_bytes(file.read_bytes())
    with pytest.raises(ConfigError, match="is not in the audio folders"):
        similar(tmp_path / "new.wav", "--serve-url", address)


def test_a_playlist_file_has_the_paths_of_this_machine(similar, collection, address, tmp_path):
    similar(FIRST, "--playlist", 0.4, "--serve-url", address, "--m3u", tmp_path / "list.m3u8", "--absolute")
    places = (tmp_path / "list.m3u8").read_text("utf-8").splitlines()[2::2]
    assert places[0] == str(collection[0].audio / FIRST)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ([], ConfigError, "There is nothing to search for"),
        (["Things We Lost/1.wav"], SimilarityError, f"Did you mean '{FIRST}'"),
        (["01"], SimilarityError, "6 tracks match '01'"),
        ([FIRST, "--genre", "Slowcor"], SimilarityError, "Similar names: Slowcore"),
        ([FIRST, "--where", "colour = 1"], ConfigError, "Columns: track_id, path"),
        ([FIRST, "--tags", "rain"], ConfigError, "cannot be combined"),
    ],
)
def test_errors_are_those_of_the_local_command(similar, local, address, arguments, error, message):
    with pytest.raises(error, match=message) as here:
        local(*arguments)
    with pytest.raises(SimilarityError) as there:
        similar(*arguments, "--serve-url", address)
    assert str(there.value) == str(here.value)


@pytest.mark.parametrize(
    "options",
    [["--store", "s"], ["--model", "m"], ["--windows"], ["--from", "0:01"], ["--index", "i"], ["--device", "cpu"]],
)
def test_options_of_a_search_in_this_process_are_refused(similar, address, options):
    with pytest.raises(ConfigError, match=f"^{options[0]} cannot be combined with --serve-url"):
        similar(FIRST, "--serve-url", address, *options)


def test_a_name_is_never_a_file_of_the_service(collection, address, tmp_path):
    import httpx

    secret = tmp_path / "secret.wav"
    secret.write_bytes((collection[0].audio / FIRST).read_bytes())
    answers = [
        httpx.post(f"{address}/v1/neighbours", json={"tracks": [str(path)]}, timeout=60)
        for path in (secret, tmp_path / "nothing.wav", collection[0].audio / FIRST)
    ]
    assert [answer.status_code for answer in answers] == [422] * 3
    assert all("No track is called" in answer.json()["detail"] for answer in answers)


def test_the_token_of_the_service(similar, collection, tmp_path, monkeypatch):
    with running(make_service(collection, tmp_path), Access(token="s3cret")) as address:
        monkeypatch.delenv("ENO_TOKEN", raising=False)
        with pytest.raises(ConfigError, match=r"needs its token\. Set it in the environment as ENO_TOKEN"):
            similar(FIRST, "--serve-url", address)
        monkeypatch.setenv("ENO_TOKEN", "s3cret")
        assert "Low" in similar(FIRST, "--serve-url", address)[0]


class Other(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = b"<html>" if self.path.startswith("/page") else json.dumps({"neighbours": [{"id": 1}]}).encode()
        self.send_response(500 if self.path.startswith("/broken") else 200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_other_servers(similar):
    with http.server.HTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        for path in ("page", "list"):
            with pytest.raises(ConfigError, match="the answer is not that of 'eno serve'"):
                similar(FIRST, "--serve-url", f"{address}/{path}")
        with pytest.raises(ConfigError, match="answers 500"):
            similar(FIRST, "--serve-url", f"{address}/broken")
        server.shutdown()
    with pytest.raises(ConfigError, match=r"cannot be reached \(.*refused\)"):
        similar(FIRST, "--serve-url", address)
    with pytest.raises(ConfigError, match="expected a URL such as"):
        similar(FIRST, "--serve-url", "localhost:8000")
