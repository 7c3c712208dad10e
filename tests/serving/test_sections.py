"""Tracks that are sections of a long file, in the service, its player, and ``eno tag``."""

import json
from urllib.parse import quote

import httpx
import numpy as np
import pyarrow as pa
import pytest
import soundfile

from eno.data.library.scanning import TRACK_SCHEMA, read_tracks
from eno.data.tables import write_table
from eno.files import AudioRoots, Section
from eno.mapping.map import write_map
from eno.reporting.page import audio_address
from eno.similarity.index.build import build_index
from eno.similarity.playlist import write_m3u
from eno.similarity.sounds_like import SoundsLike
from tests.browser import launched, needs_browser, wait
from tests.command import eno
from tests.serving.conftest import make_service, running, save_predictor
from tests.similarity.small_collection import POLICY, RATE, OwnEncoder, build

OWN = "tests.similarity.small_collection:OwnEncoder"
FIRST, SECOND = "mix/set #1.wav#01", "mix/set #1.wav#02"


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """The small collection, and a file with two tracks of 3 and 5 seconds."""
    data, store = build(tmp_path_factory.mktemp("sections"), OwnEncoder())
    (data.audio / "mix").mkdir()
    samples = 0.1 * np.random.default_rng(5).standard_normal(8 * RATE)
    soundfile.write(data.audio / "mix" / "set #1.wav", samples, RATE, subtype="FLOAT")
    rows = read_tracks(data.tracks).to_pylist()
    for track_id, start_s, end_s in ((FIRST, 0.0, 3.0), (SECOND, 3.0, 8.0)):
        row = {"track_id": track_id, "size": 1, "mtime_ns": 1, "genres": [], "title": f"From {start_s:g} s"}
        rows.append(row | {"start_s": start_s, "end_s": end_s, "duration_s": end_s - start_s})
        length = OwnEncoder().spec.window_samples
        starts = POLICY.starts(round((end_s - start_s) * RATE), length, RATE)
        windows = np.stack([samples[round(start_s * RATE) + at :][:length] for at in starts]).astype(np.float32)
        store.append([track_id] * len(starts), starts / RATE, OwnEncoder().encode(windows))
    write_table(data.tracks, pa.Table.from_pylist(rows, schema=TRACK_SCHEMA))
    build_index(store)
    save_predictor(store, data.root / "model")
    return data, store


def address_of(track_id, behind=""):
    return f"/v1/tracks/{quote(track_id)}{behind}"


def test_the_service_knows_which_part_of_the_file_a_track_is(collection, tmp_path):
    content = (collection[0].audio / "mix" / "set #1.wav").read_bytes()
    with running(make_service(collection, tmp_path)) as address, httpx.Client(base_url=address) as ask:
        found = ask.get(address_of(SECOND)).json()
        assert (found["section"], found["audio"], found["duration_s"]) == ([3, 8], True, 5)
        assert ask.get(address_of(SECOND, "/audio")).content == content
        assert ask.get(address_of("heap/01.wav")).json()["section"] is None
        similar = ask.get(address_of(SECOND, "/similar?k=25&per_artist=0&same_album=true")).json()
        assert FIRST in [one["track_id"] for one in similar["neighbours"]]


@needs_browser
def test_the_player_plays_only_the_section(collection, tmp_path):
    with (
        running(make_service(collection, tmp_path)) as address,
        launched() as browser,
        browser.new_context(reduced_motion="reduce") as context,
    ):
        page = context.new_page()
        page.goto(f"{address}/#/track/{quote(SECOND, safe='')}")
        wait(page, f"document.querySelector('[data-play={json.dumps(SECOND)}]')")
        page.click(f"[data-play={json.dumps(SECOND)}]")
        wait(page, "document.querySelector('#audio').currentTime > 0")
        assert page.get_attribute("#audio", "src") == f"v1/tracks/{quote(SECOND)}/audio#t=3,8"
        assert page.evaluate("document.querySelector('#audio').currentTime") >= 3
        page.evaluate("document.querySelector('#audio').currentTime = 7.8")
        wait(page, "document.querySelector('#audio').paused")
        assert page.evaluate("document.querySelector('#audio').currentTime") == pytest.approx(8, abs=0.3)


def test_a_passage_is_counted_from_the_start_of_the_section(collection):
    data, store = collection
    sounds = SoundsLike.open(store, data_root=data, encoder=OwnEncoder())
    samples, _ = soundfile.read(data.audio / "mix" / "set #1.wav", dtype="float32")
    cut = data.root / "cut.wav"
    soundfile.write(cut, samples[4 * RATE : 5 * RATE], RATE, subtype="FLOAT")
    passage, expected = sounds.seed(SECOND, from_s=1, to_s=2), sounds.seed(cut, from_s=0, to_s=1)
    np.testing.assert_allclose(passage.vectors, expected.vectors, atol=1e-6)


def test_links_and_playlists_name_start_and_end(collection, tmp_path):
    data, store = collection
    roots = AudioRoots((data.audio,), sections={FIRST: Section(0, 3), SECOND: Section(3, 8)})
    assert audio_address(roots, SECOND, data.audio) == "mix/set%20%231.wav#t=3.000,8.000"
    sounds = SoundsLike.open(store, data_root=data, encoder=OwnEncoder())
    found = [one for one in sounds.like(FIRST, k=25, per_artist=None, same_album=True) if one.track_id == SECOND]
    assert write_m3u(tmp_path / "list.m3u8", found, sounds.audio_roots, absolute=True) == []
    assert (tmp_path / "list.m3u8").read_text().splitlines() == [
        "#EXTM3U",
        "#EXTINF:5,From 3 s",
        "#EXTVLCOPT:start-time=3.000",
        "#EXTVLCOPT:stop-time=8.000",
        str(data.audio / "mix" / "set #1.wav"),
    ]
    names, vectors = store.matrix()
    write_map(tmp_path / "map.html", list(names), vectors, method="pca", audio_roots=roots)
    assert "set%20%231.wav#t=3.000,8.000" in (tmp_path / "map.html").read_text()


def test_a_section_is_tagged_like_the_same_span_as_a_file(collection, tmp_path):
    data, _ = collection
    samples, rate = soundfile.read(data.audio / "mix" / "set #1.wav", dtype="float32")
    soundfile.write(tmp_path / "cut.wav", samples[3 * rate :], rate, subtype="FLOAT")
    own = ["--model", data.root / "model", "--encoder", OWN, "--data-root", data.root]
    done = eno("tag", SECOND, tmp_path / "cut.wav", *own, "--threshold", 0, "--json", cwd=data.audio)
    assert done.returncode == 0, done.stderr
    section, cut = map(json.loads, done.stdout.splitlines())
    assert section.pop("track_id") == SECOND and cut.pop("track_id").endswith("cut.wav")
    assert section == cut
    missing = eno("tag", "mix/set #1.wav#07", *own, cwd=data.audio)
    assert missing.returncode == 1 and "the collection has no such section" in missing.stderr.replace("\n", " ")


@pytest.mark.parametrize("form", ["beets", "picard"])
def test_sections_are_left_out_of_formats_for_writing(collection, form):
    data, store = collection
    done = eno(
        "tag", "--store", store.path, "--model", data.root / "model", "--threshold", 0, "--format", form,
        "--include-unfamiliar", "--encoder", OWN, cwd=data.root,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 24 and "#01" not in done.stdout
    assert "Left out 2 sections of files" in done.stderr
