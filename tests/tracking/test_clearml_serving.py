"""ClearML Serving with its own commands and request path, on a stub of the server."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from eno.audio.windows import WindowPolicy
from eno.data.labels.encoder import LabelEncoder
from eno.encoders.stats import Stats
from eno.inference.predictor import EnoPredictor
from eno.models.familiarity import Familiarity
from eno.models.heads.linear import LinearHead
from eno.tracking.clearml_serving import Preprocess, _from_form
from tests.audio_files import music
from tests.clearml_stub import clearml_stub, schema_problems

ROOT = Path(__file__).parents[2]
LABELS = LabelEncoder(["jazz", "rock"], ["calm"])

# The commands of clearml-serving, and what its container does to answer a request.
DEPLOY = """
import asyncio, base64, contextlib, io, json, shlex, sys
from clearml_serving.__main__ import cli
from clearml_serving.serving.model_request_processor import ModelRequestProcessor
def run(command):
    sys.argv = shlex.split(command)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        cli()
    return printed.getvalue()
create, add, bodies = json.load(sys.stdin)
service = run(create).strip().rpartition("id=")[2]
run(add.replace("SERVICE_ID", service))
processor = ModelRequestProcessor(task_id=service)
processor.deserialize(skip_sync=False)
def answer(body):
    body = base64.b64decode(body["bytes"]) if "bytes" in body else body
    try:
        return asyncio.run(processor.process_request("tag", "1", body))
    except ValueError as error:
        return {"rejected": str(error)}
print("ANSWERS" + json.dumps([answer(body) for body in bodies]))
"""


@pytest.fixture(scope="module")
def predictor():
    encoder = Stats()
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, encoder.spec.dim)).astype(np.float32)
    head = LinearHead(l2=(10.0,)).fit(X, (X[:, :3] > 0).astype(np.float32))
    familiarity = Familiarity.fit(X, np.arange(60))
    return EnoPredictor(encoder, head, LABELS, policy=WindowPolicy(count=2), familiarity=familiarity)


@pytest.fixture(scope="module")
def folder(predictor, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "eno"
    predictor.save(folder)
    return folder


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    path = tmp_path_factory.mktemp("audio") / "song.flac"
    soundfile.write(path, music(12.0, 16_000, seed=1), 16_000)
    return path


@pytest.fixture
def loaded(folder):
    preprocess = Preprocess()
    preprocess.load(str(folder))
    return preprocess


def request(preprocess, body):
    state = {}
    return preprocess.postprocess(preprocess.process(preprocess.preprocess(body, state), state), state)


def form(content, name):
    head = f'--xyz\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    return head.encode() + content + b"\r\n--xyz--\r\n"


def test_the_printed_commands_deploy_the_predictor(predictor, folder, song, tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CLEARML", "TRAINS"))}
    environment |= {"HOME": str(tmp_path), "CLEARML_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    vector = predictor.embed(song)
    audio = song.read_bytes()

    def run(*command, **options):
        found = subprocess.run(
            [sys.executable, *map(str, command)], env=environment, capture_output=True, text=True, **options
        )
        assert found.returncode == 0, found.stderr
        return found.stdout

    with clearml_stub() as (stub, to_stub):
        environment |= to_stub
        printed = run(ROOT / "scripts" / "serve.py", folder, "--name", "eno-v1", "--publish")
        create, add = (line for line in printed.splitlines() if line.startswith("clearml-serving"))
        bodies = [{"bytes": base64.b64encode(audio).decode()}, {"embeddings": [vector.tolist()]}, {"bytes": "AAAA"}]
        printed = run("-c", DEPLOY, input=json.dumps([create, add, bodies]))
        answers = json.loads(printed.rpartition("ANSWERS")[2])
        (model,) = stub.models.values()
        assert schema_problems(stub.calls)[0] == []

    assert (model["name"], model["ready"]) == ("eno-v1", True)
    assert model["labels"] == {"jazz": 0, "rock": 1, "calm": 2}
    assert predictor.encoders[0].spec.label in model["tags"]
    expected = predictor.predict_proba(song)
    for answer in (answers[0], answers[1]["tracks"][0]):
        found = {tag["tag"]: tag["probability"] for tag in answer["tags"]}
        assert [found[label] for label in LABELS.all_labels] == pytest.approx(expected.tolist(), abs=1e-5)
        assert {key: answer[key] for key in ("genres", "descriptors")} == predictor.predict(song)
        assert (answer["familiarity"], answer["unfamiliar"]) == (pytest.approx(1 / 61), True)  # trained on noise
    assert "cannot be decoded" in answers[2]["rejected"]


def test_a_file_can_be_sent_in_three_ways(predictor, loaded, song):
    audio = song.read_bytes()
    bodies = [audio, form(audio, "song.flac"), {"audio": base64.b64encode(audio).decode(), "name": "song.flac"}]
    answers = [request(loaded, body) for body in bodies]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["encoder"] == predictor.encoders[0].spec.label
    everything = request(loaded, bodies[2] | {"threshold": 0.0, "top": 1})
    assert everything["genres"] == ["jazz", "rock"]
    assert len(everything["tags"]) == 1


@pytest.mark.parametrize("name", ["../../../etc/x.flac", "a/b.flac", "\0.flac", "x" * 5000 + ".flac"])
def test_a_file_name_cannot_escape_the_temporary_folder(loaded, song, name):
    assert request(loaded, {"audio": base64.b64encode(song.read_bytes()).decode(), "name": name})["tags"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "no audio: send the bytes of a file"),
        (b"", "no audio"),
        ({"audio": "http://example.org/song.mp3"}, "'audio' is not base64"),
        ({"audio": 7}, "no audio"),
        ({"embeddings": []}, "must be a list of 1 to"),
        ({"embeddings": [[1.0]]}, "must be finite numbers with the shape"),
        ({"embeddings": [["a"]]}, "must contain only numbers"),
        ({"embeddings": [[1.0]], "threshold": 2}, "'threshold' must be a number from 0 to 1"),
        ({"embeddings": [[1.0]], "top": "many"}, "'top' must be a number"),
        (b"no music at all", "cannot be decoded"),
    ],
)
def test_malformed_requests_are_rejected_with_a_reason(loaded, body, message):
    with pytest.raises(ValueError, match=message):
        request(loaded, body)


def test_non_finite_vectors_and_large_files_are_rejected(folder, predictor, monkeypatch):
    monkeypatch.setenv("ENO_SERVING_MAX_BYTES", "10")
    preprocess = Preprocess()
    preprocess.load(str(folder))
    with pytest.raises(ValueError, match="the file has 11 bytes; the limit is 10"):
        request(preprocess, b"x" * 11)
    with pytest.raises(ValueError, match="must be finite"):
        request(preprocess, {"embeddings": [[float("nan")] * predictor.encoders[0].spec.dim]})


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('filename="song.flac"', "song.flac"),
        ("filename*=UTF-8''Bj%C3%B6rk.flac", "Björk.flac"),
        ("filename=\"Bj?rk.flac\"; filename*=iso-8859-1'en'Bj%F6rk.flac", "Björk.flac"),
    ],
)
def test_names_of_files_in_forms(header, name):
    body = f'--x\r\nContent-Disposition: form-data; name="file"; {header}\r\n\r\n'.encode() + b"\0\r\n1\r\n--x--\r\n"
    assert _from_form(body) == (b"\0\r\n1", name)
