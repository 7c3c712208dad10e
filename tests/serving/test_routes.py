"""Responses of the service, compared with the library."""

import gzip
import json
from urllib.parse import quote

import httpx
import numpy as np
import pytest
import soundfile

from eno.inference.predictor import EnoPredictor
from eno.similarity.index.index import SimilarityIndex, index_folder
from eno.similarity.metadata import TrackMetadata
from eno.similarity.sounds_like import SoundsLike
from eno.similarity.where import Where
from eno.training.feedback import Feedback
from tests.serving.conftest import make_service, running, save_predictor
from tests.similarity.small_collection import RATE, OwnEncoder

TRACK = "Low/2018 - Double/01.wav"
PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def ask(address):
    with httpx.Client(base_url=address, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def predictor(collection):
    return EnoPredictor.load(collection[0].root / "model", encoder=OwnEncoder())


@pytest.fixture(scope="module")
def sounds(collection):
    data, store = collection
    index = SimilarityIndex.open(index_folder(store))
    return SoundsLike(index, store, encoder=OwnEncoder(), metadata=TrackMetadata.read(index.track_ids(), data))


@pytest.fixture(scope="module")
def song(collection, tmp_path_factory):
    """A file that is not in the collection, made from one of its tracks."""
    samples, _ = soundfile.read(collection[0].audio / TRACK)
    path = tmp_path_factory.mktemp("song") / "song.flac"
    soundfile.write(path, 0.7 * samples[1000:20_000], RATE)
    return path


def track_address(track_id, behind=""):
    return f"/v1/tracks/{quote(track_id)}{behind}"


def test_tags_are_those_of_the_predictor(ask, predictor, song):
    answer = ask.post("/v1/tag", files={"file": ("My song.flac", song.read_bytes())}).json()
    (file,) = answer["files"]
    assert (file["name"], answer["encoder"]) == ("My song.flac", predictor.encoders[0].spec.label)
    assert {key: file[key] for key in ("genres", "descriptors")} == predictor.predict(song)
    expected = predictor.predict_tags(song)
    assert [tag["tag"] for tag in file["tags"]] == [tag.tag for tag in expected]
    for found, tag in zip(file["tags"], expected, strict=True):
        assert found["probability"] == pytest.approx(tag.probability, abs=1e-4)
        assert (found["threshold"], found["named"]) == (tag.threshold, tag.probability > tag.threshold)
    one = predictor.prediction(song)
    assert (file["familiarity"], file["unfamiliar"]) == (pytest.approx(one.familiarity, abs=0.03), one.unfamiliar)


def test_each_file_has_tags_or_a_problem(ask, predictor, song):
    files = [("file", ("a.flac", song.read_bytes())), ("x", ("b.mp3", b"no music")), ("file", ("c", song.read_bytes()))]
    answer = ask.post("/v1/tag", files=files)
    assert answer.status_code == 200
    first, second, third = answer.json()["files"]
    assert first["tags"] == third["tags"] and first["tags"]
    assert (second["name"], second["tags"], second["problem"]["status"]) == ("b.mp3", [], 422)
    assert "not audio that can be decoded" in second["problem"]["detail"]
    alone = ask.post("/v1/tag", content=b"no music", headers={"Content-Type": "audio/mpeg"})
    assert (alone.status_code, alone.headers["content-type"]) == (422, PROBLEM)
    assert alone.json()["detail"] == second["problem"]["detail"]


def test_neighbours_of_a_file(ask, sounds, song):
    answer = ask.post("/v1/similar?k=4&per_artist=0", content=song.read_bytes(), headers={"Content-Type": "audio/flac"})
    expected = sounds.like(song, k=4, per_artist=None)
    found = answer.json()
    assert [one["track_id"] for one in found["neighbours"]] == [one.track_id for one in expected]
    assert [one["score"] for one in found["neighbours"]] == pytest.approx([one.score for one in expected], abs=1e-3)
    assert found["file"]["tags"]


def test_a_silent_file_is_refused(ask, tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(3 * RATE), RATE)
    answer = ask.post("/v1/similar", files={"file": (tmp_path / "silence.wav").read_bytes()})
    assert (answer.status_code, "silent" in answer.json()["detail"]) == (422, True)


def test_neighbours_of_a_track(ask, sounds):
    options = "/similar?k=5&genre=Ambient&genre=slowcore&same_album=true&per_artist=3"
    found = ask.get(track_address(TRACK, options)).json()
    where = Where(genres=("Ambient", "slowcore"))
    expected = sounds.like(TRACK, k=5, where=where, same_album=True, per_artist=3)
    assert [(one["track_id"], one["album"]) for one in found["neighbours"]] == [
        (one.track_id, one.album) for one in expected
    ]
    assert found["notes"] == list(expected.notes)
    assert ask.get(track_address(TRACK, "/similar?genre=polka")).status_code == 422


def test_neighbours_of_a_track_with_labels_of_any_family(ask, sounds):
    labels = (("genre", "Ambient"), ("genre", "slowcore"), ("descriptor", "rain"))
    options = {"label": [f"{family}={name}" for family, name in labels], "k": 5, "same_album": True}
    found = ask.get(track_address(TRACK, "/similar"), params=options).json()["neighbours"]
    expected = sounds.like(TRACK, k=5, where=Where(labels=labels), same_album=True)
    assert [one["track_id"] for one in found] == [one.track_id for one in expected]
    assert {one["album"] for one in found} == {"Ruins"}


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("organ", "The label 'organ' has no family or no name; expected, for example, instruments=organ."),
        ("instruments=organ", "The instruments label of the tracks is unknown"),
        ("tags=organ", "'tags' cannot be the name of a family of labels"),
    ],
)
def test_a_label_that_no_track_can_have_is_refused(ask, label, message):
    answer = ask.get(track_address(TRACK, "/similar"), params={"label": label})
    assert (answer.status_code, message in answer.json()["detail"]) == (422, True)


def test_search_by_description(ask, sounds):
    found = ask.get("/v1/search", params={"text": "rain", "k": 3}).json()["neighbours"]
    assert [one["track_id"] for one in found] == [one.track_id for one in sounds.nearest(sounds.text("rain"), k=3)]


@pytest.mark.parametrize(
    ("q", "expected"), [("", 24), ("LOW", 16), ("takk… 02", 1), ("sigur ros", 3), ("heap/", 2), ("low nothing", 0)]
)
def test_tracks_are_found_by_name(ask, q, expected):
    answer = ask.get("/v1/tracks", params={"q": q, "limit": 200}).json()
    assert (answer["total"], len(answer["tracks"])) == (expected, expected)


def test_pages_together_contain_each_track_once(ask, sounds):
    pages = [ask.get("/v1/tracks", params={"limit": 7, "offset": offset}).json() for offset in (0, 7, 14, 21, 28)]
    ids = [track["track_id"] for page in pages for track in page["tracks"]]
    assert ids == sounds.index.track_ids()


def test_a_track_with_its_tags(ask, predictor, collection):
    answer = ask.get(track_address(TRACK)).json()
    assert (answer["artist"], answer["album"], answer["genres"]) == ("Low", "Double", ["Slowcore", "Noise"])
    probabilities = predictor.predict_vectors(collection[1].matrix([TRACK])[1])[0]
    expected = {tag.tag: tag.probability for tag in predictor.name_tags(probabilities)}
    assert {tag["tag"]: tag["probability"] for tag in answer["tags"]} == pytest.approx(expected, abs=1e-3)
    (familiarity,) = predictor.familiarity_of(collection[1].matrix([TRACK])[1])
    assert (answer["familiarity"], answer["unfamiliar"]) == (pytest.approx(familiarity, abs=1e-4), False)


def test_tags_are_counted(ask, predictor, collection):
    named = predictor.predict_vectors(collection[1].matrix()[1]) > predictor.thresholds
    found = {tag["tag"]: tag["tracks"] for tag in ask.get("/v1/tags").json()["tags"]}
    assert list(found) == predictor.labels.all_labels
    assert [found[tag] for tag in found] == pytest.approx(
        named.sum(axis=0), abs=1
    )  # probabilities are cached in half precision


def test_whole_audio_and_ranges(ask, collection):
    content = (collection[0].audio / TRACK).read_bytes()
    whole = ask.get(track_address(TRACK, "/audio"))
    assert whole.content == content and whole.headers["content-type"].startswith("audio/")
    part = ask.get(track_address(TRACK, "/audio"), headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, content[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(content)}"
    beyond = ask.get(track_address(TRACK, "/audio"), headers={"Range": f"bytes={len(content)}-"})
    assert beyond.status_code == 416


@pytest.mark.parametrize(
    "path",
    [
        "../secret.wav",
        "..%2fsecret.wav",
        "Low/../../secret.wav",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "link.wav",
        "a%00b",
        "%ff",
    ],
)
def test_only_files_of_the_catalogue_are_served(ask, collection, path):
    (collection[0].root / "raw" / "secret.wav").write_bytes(b"secret")
    for behind in ("/audio", "/similar", ""):
        answer = ask.get(f"/v1/tracks/{path}{behind}")
        assert (answer.status_code, answer.headers["content-type"]) == (404, PROBLEM)


def test_a_link_out_of_the_audio_folder_is_not_followed(collection, tmp_path):
    service = make_service(collection, tmp_path)
    (tmp_path / "secret.wav").write_bytes(b"secret")
    inside = collection[0].audio / TRACK
    kept = inside.read_bytes()
    inside.unlink()
    inside.symlink_to(tmp_path / "secret.wav")
    try:
        assert service.snapshot.catalogue.audio(TRACK) is None
    finally:
        inside.unlink()
        inside.write_bytes(kept)
    assert service.snapshot.catalogue.audio(TRACK) == inside


def test_map_of_the_collection(ask, collection):
    answer = ask.get("/v1/map")
    content = answer.json()
    assert (content["count"], content["tags"]["names"]) == (24, ["Ambient", "Slowcore", "rain"])
    bare = ask.get("/v1/map", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in bare.headers
    assert json.loads(bare.content) == content
    assert len(gzip.compress(bare.content)) < len(bare.content)


def test_corrections_are_saved_and_shown(ask, service):
    body = {"track_id": TRACK, "tag": "slowCORE", "verdict": "reject"}
    answer = ask.post("/v1/feedback", json=body)
    assert (answer.status_code, answer.json()["tag"], answer.json()["family"]) == (201, "Slowcore", "genre")
    own = {"track_id": TRACK, "tag": "night  drive", "family": "descriptor", "verdict": "add"}
    assert ask.post("/v1/feedback", json=own).json()["tag"] == "night drive"
    other = own | {"tag": "harp", "family": "Instruments"}
    assert ask.post("/v1/feedback", json=other).json()["family"] == "instruments"
    ask.post("/v1/feedback", json=other | {"verdict": "withdraw"})
    listed = ask.get("/v1/feedback", params={"track_id": TRACK}).json()
    assert [(one["tag"], one["verdict"]) for one in listed["corrections"]] == [
        ("night drive", "add"),
        ("Slowcore", "reject"),
    ]
    assert listed["corrections"][::-1] == ask.get(track_address(TRACK)).json()["corrections"]
    assert [one.verdict for one in Feedback(service.feedback.path).latest()] == ["reject", "add"]
    ask.post("/v1/feedback", json=body | {"verdict": "withdraw"})
    assert ask.get("/v1/feedback").json()["total"] == 1


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"track_id": "nobody"}, 404), ({"tag": "polka"}, 422), ({"tag": " "}, 422), ({"verdict": "maybe"}, 422),
        ({"tag": "\ud800"}, 422), ({"more": 1}, 422), ({"family": "tags"}, 422),
    ],
)  # fmt: skip
def test_invalid_corrections(ask, changed, status):
    body = {"track_id": TRACK, "tag": "rain", "verdict": "add"} | changed
    answer = ask.post("/v1/feedback", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
    assert answer.json()["status"] == status


def test_errors_are_problem_details(ask):
    for method, path, status in (
        ("GET", "/nowhere", 404), ("DELETE", "/v1/tracks", 405), ("GET", "/v1/tracks?limit=0", 422),
        ("GET", "/v1/tracks?offset=-1", 422), ("GET", "/v1/search?text=", 422),
    ):  # fmt: skip
        answer = ask.request(method, path)
        assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
        assert {"type", "title", "status", "detail"} <= answer.json().keys()


def test_health_and_metrics(ask, song):
    assert ask.get("/healthz").json() == ask.get("/readyz").json() == {"status": "ok", "outdated": False}
    ask.post("/v1/tag", content=song.read_bytes(), headers={"Content-Type": "audio/flac"})
    figures = ask.get("/metrics").text
    assert 'eno_requests_total{method="POST",route="/v1/tag",status="200"}' in figures
    assert 'route="/v1/tracks/{track_id:path}"' in figures and TRACK not in figures
    assert "eno_model_requests 0.0" in figures


@pytest.mark.parametrize(("model", "stored"), [(None, True), ("model", False)])
def test_predictor_or_store_can_be_served_alone(collection, song, tmp_path, model, stored):
    service = make_service(collection, tmp_path, model=model, stored=stored)
    with running(service) as address, httpx.Client(base_url=address) as ask:
        tagged = ask.post("/v1/tag", content=song.read_bytes(), headers={"Content-Type": "audio/flac"})
        listed, tags = ask.get("/v1/tracks"), ask.get("/v1/tags").json()["tags"]
        assert (tagged.status_code, listed.status_code) == ((404, 200) if stored else (200, 404))
        assert ("melancholic" in [tag["tag"] for tag in tags]) == stored
        assert ask.get("/v1/info").json()["tags"] == (0 if stored else 3)


def test_a_retrained_predictor_is_loaded_without_losing_requests(collection, song, tmp_path):
    data, store = collection
    save_predictor(store, data.root / "changing")
    service = make_service(collection, tmp_path, model="changing")
    with running(service) as address, httpx.Client(base_url=address) as ask:

        def tag():
            answer = ask.post("/v1/tag", content=song.read_bytes(), headers={"Content-Type": "audio/flac"})
            assert answer.status_code == 200, answer.text
            return {tag["tag"]: tag["probability"] for tag in answer.json()["files"][0]["tags"]}

        before = tag()
        save_predictor(store, data.root / "changing", folders=("Grouper", "SR", "Low"))
        expected = EnoPredictor.load(data.root / "changing", encoder=OwnEncoder()).predict_proba(song)
        for _ in range(200):
            after = tag()
            if after != before:
                break
        assert [after[label] for label in service.snapshot.predictor.labels.all_labels] == pytest.approx(
            expected.tolist(), abs=1e-4
        )
        save_predictor(store, data.root / "changing", encoder=OwnEncoder(seed=1))
        for _ in range(200):
            assert tag() == after
            if 'eno_reloads_total{outcome="refused"}' in ask.get("/metrics").text:  # absent until the first
                break
        else:
            pytest.fail("the predictor of another encoder was not refused")


def test_candidates_are_listed_for_the_end_of_an_id(ask):
    several = ask.get(track_address("01.wav", "/similar"))
    assert several.status_code == 404
    assert len(several.json()["candidates"]) == 6
    assert "6 tracks match it. Specify more of the path" in several.json()["detail"]
    one = ask.get(track_address("2018 - Double/01.wav"))
    assert one.json()["candidates"] == [TRACK]
    assert "candidates" not in ask.get(track_address("nothing like it")).json()
