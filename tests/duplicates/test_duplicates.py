"""Duplicate detection, from a store to groups."""

import csv
import hashlib
import json
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import soxr
from typer.testing import CliRunner

from eno.audio.windows import WindowPolicy
from eno.cli import app
from eno.data.library.scanning import TRACK_SCHEMA
from eno.duplicates.find import find_duplicates, likely_pairs
from eno.duplicates.quality import Quality, by_quality
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.errors import ConfigError
from eno.similarity.index.build import build_index
from tests.audio_files import write
from tests.duplicates.test_recordings import notes
from tests.fakes import ProjectionEncoder

RATE = 22_050


def music(seed: int, *, stereo: bool = True) -> np.ndarray:
    """Notes with some noise at high frequencies [shape=(frames, channels)]."""
    samples = soxr.resample(notes(seed, score=seed), 8000, RATE)
    air = 0.003 * np.random.default_rng(seed).standard_normal(len(samples))
    return np.repeat((0.5 * samples + air)[:, None], 1 + stereo, axis=1).astype(np.float32)


def make_store(folder, names, vectors=None) -> EmbeddingStore:
    """Create a store; without `vectors`, all tracks are near each other."""
    rng = np.random.default_rng(0)
    vectors = 1 + 0.01 * rng.standard_normal((len(names), 6)) if vectors is None else vectors
    spec = (
        ProjectionEncoder().spec if vectors.shape[1] == 6 else replace(ProjectionEncoder().spec, dim=vectors.shape[1])
    )
    store = EmbeddingStore.create(folder, spec, policy=WindowPolicy(count=1), dtype="float32")
    store.append(names, np.zeros(len(names)), vectors[:, None].astype(np.float32))
    return store


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """A FLAC, its MP3 and a trimmed Vorbis copy of that; another track; and two files that cannot be read."""
    root = tmp_path_factory.mktemp("collection")
    audio = root / "audio"
    audio.mkdir()
    original = music(0)
    write(audio, "flac", original, RATE)
    write(audio, "mp3", original, RATE)
    write(audio, "ogg", 0.5 * original[2 * RATE :], RATE)
    write(audio, "wav-16", music(1), RATE)
    (audio / "broken.flac").write_bytes(b"no music")
    names = ["broken.flac", "flac.flac", "gone.flac", "mp3.mp3", "ogg.ogg", "wav-16.wav"]
    return audio, make_store(root / "store", names)


@pytest.fixture(scope="module")
def index(collection, tmp_path_factory):
    return build_index(collection[1], tmp_path_factory.mktemp("index"), space="none")


@pytest.fixture(scope="module")
def found(collection, index):
    return find_duplicates(index, audio_roots=collection[0], min_cosine=0.5)


class TestFindDuplicates:
    def test_the_copies_are_one_group_and_the_best_is_kept(self, found):
        [group] = found.groups
        assert [member.track_id for member in group] == ["flac.flac", "mp3.mp3", "ogg.ogg"]
        assert [member.behind for member in group[:2]] == ["", "lossy"]
        assert "s of the audio are missing" in group[2].behind
        shift = found.to_dict()["groups"][0]["files"][2]["offset_s"]
        assert shift == pytest.approx(2.0, abs=0.001)

    def test_every_pair_has_a_decision_and_a_reason(self, found):
        decisions = {frozenset((pair.first, pair.second)): pair.decision for pair in found.pairs}
        assert len(decisions) == len(found.pairs) == 15
        copies = {"flac.flac", "mp3.mp3", "ogg.ogg"}
        for names, decision in decisions.items():
            if names & {"broken.flac", "gone.flac"}:
                assert decision == "unconfirmed"
            else:
                assert decision == ("same" if names <= copies else "different")
        assert all(pair.likeness.reason for pair in found.pairs)

    def test_unreadable_files_are_reported_and_skipped(self, found):
        assert list(found.problems) == ["broken.flac", "gone.flac"]
        assert found.problems["gone.flac"] == "no such file"

    def test_no_file_is_changed(self, collection, index):
        audio = collection[0]

        def state():
            return {path: hashlib.sha256(path.read_bytes()).digest() for path in sorted(audio.iterdir())}

        before = state()
        find_duplicates(index, audio_roots=audio, min_cosine=0.5)
        assert state() == before

    def test_without_audio_only_durations_decide(self, index):
        rows = [{"track_id": name, "duration_s": length} for name, length in [("flac.flac", 14.0), ("mp3.mp3", 90.0)]]
        tracks = pa.Table.from_pylist(rows, schema=TRACK_SCHEMA)
        found = find_duplicates(index, tracks=tracks, min_cosine=0.5)
        assert found.groups == []
        different = [pair for pair in found.pairs if pair.decision == "different"]
        assert [(pair.first, pair.second) for pair in different] == [("flac.flac", "mp3.mp3")]
        assert different[0].likeness.reason == "durations of 14 and 90 s"
        assert found.count("unconfirmed") == 14

    def test_a_chain_is_not_a_group(self, tmp_path):
        """B overlaps with A and with C, but A hardly with C: a group holds only copies of the file to keep."""
        whole = music(3, stereo=False)
        step = round(0.2 * len(whole))
        for number, name in enumerate("abc"):
            part = whole[number * step : number * step + round(0.6 * len(whole))]
            rate = 48_000 if name == "a" else RATE
            soundfile.write(tmp_path / f"{name}.flac", soxr.resample(part, RATE, rate), rate)
        index = build_index(make_store(tmp_path / "store", ["a.flac", "b.flac", "c.flac"]), space="none")
        found = find_duplicates(index, audio_roots=tmp_path)
        decisions = {pair.first[0] + pair.second[0]: pair.decision for pair in found.pairs}
        assert decisions == {"ab": "same", "bc": "same", "ac": "different"}
        assert [[member.track_id for member in group] for group in found.groups] == [["a.flac", "b.flac"]]

    def test_members_that_were_not_candidates_are_compared_with_the_file_to_keep(self, tmp_path):
        for name in "abc":
            soundfile.write(tmp_path / f"{name}.flac", music(4), RATE)
        angles = np.radians([0, 50, 100])
        vectors = np.column_stack([np.cos(angles), np.sin(angles)])
        index = build_index(make_store(tmp_path / "store", ["a.flac", "b.flac", "c.flac"], vectors), space="none")
        found = find_duplicates(index, audio_roots=tmp_path, min_cosine=0.5, nearest=1)
        assert [member.track_id for member in found.groups[0]] == ["a.flac", "b.flac", "c.flac"]
        later = found.pairs[-1]
        assert (later.first, later.second, later.decision) == ("a.flac", "c.flac", "same")
        assert later.cosine == pytest.approx(np.cos(angles[2]), abs=1e-3)


def test_candidates_are_those_of_exhaustive_comparison(tmp_path):
    vectors = np.random.default_rng(1).standard_normal((1500, 6))
    index = build_index(make_store(tmp_path / "store", [f"{n:04}" for n in range(1500)], vectors), space="none")
    rows, cosines = likely_pairs(index, neighbours=3, min_cosine=0.99, nearest=1)
    units = index.vectors(np.arange(1500))
    products = units @ units.T
    np.fill_diagonal(products, -2)
    expected = set()
    for row in range(1500):
        nearest = np.argsort(-products[row])[:3]
        near = np.union1d(nearest[:1], nearest[products[row, nearest] >= 0.99])
        expected |= {(min(row, other), max(row, other)) for other in near.tolist()}
    assert set(map(tuple, rows.tolist())) == expected
    assert np.allclose(cosines, products[rows[:, 0], rows[:, 1]], atol=1e-5)


LOSSLESS = Quality(lossless=True, kbps=800, bandwidth_hz=20_000, channels=2, sample_rate=44_100, sounding_s=200,
                   size=20_000_000, tags=5, codec="flac pcm_16")  # fmt: skip
MP3 = replace(LOSSLESS, lossless=False, kbps=320, size=8_000_000, codec="mp3 mpeg_layer_iii")


@pytest.mark.parametrize(
    ("kept", "other", "behind"),
    [
        (LOSSLESS, MP3, "lossy"),
        (
            MP3,
            replace(LOSSLESS, bandwidth_hz=11_000),
            "lossless, but from a worse source: nothing above 11.0 kHz",
        ),
        (MP3, replace(LOSSLESS, sounding_s=150), "50.0 s of the audio are missing"),
        (MP3, replace(MP3, kbps=128), "128 instead of 320 kbit/s"),
        (
            replace(MP3, codec="ogg opus", kbps=128),
            replace(MP3, kbps=160),
            "MP3 at 160 kbit/s, which is worth less than Opus at 128 kbit/s",
        ),
        (
            replace(MP3, codec="mov aac", kbps=132),
            replace(MP3, kbps=137),
            "MP3 at 137 kbit/s, which is worth less than AAC at 132 kbit/s",
        ),
        (replace(MP3, codec="mov aac", kbps=132), replace(MP3, codec="mov aac", kbps=99), "99 instead of 132 kbit/s"),
        (LOSSLESS, replace(LOSSLESS, channels=1), "1 instead of 2 channels"),
        (replace(LOSSLESS, sample_rate=48_000, tags=0), LOSSLESS, "sample rate of 44100 instead of 48000 Hz"),
        (LOSSLESS, replace(LOSSLESS, sounding_s=196), "4.0 s of the audio are missing"),
        (LOSSLESS, replace(LOSSLESS, tags=2, size=30_000_000), "2 instead of 5 filled tag fields"),
        (LOSSLESS, replace(LOSSLESS, size=10_000_000), "a smaller file"),
    ],
)
def test_which_file_is_kept_and_why(kept, other, behind):
    for order in ({"x": kept, "b": other}, {"b": other, "x": kept}):
        assert by_quality(order) == {"x": "", "b": behind}
        assert list(by_quality(order)) == ["x", "b"]


class TestCommand:
    def test_json_and_csv(self, collection, tmp_path):
        audio, store = collection
        out = tmp_path / "new" / "folder" / "pairs.csv"
        options = ["--audio-root", str(audio), "--min-cosine", "0.5", "--set", "data_root='nowhere'"]
        options += ["--store", str(store.path)]
        result = CliRunner().invoke(app, ["duplicates", *options, "--json", "--out", str(out)])
        assert result.exit_code == 0, result.output
        printed = [json.loads(line) for line in result.stdout.splitlines()]
        assert {row["keep"] for row in printed if row["keep"]} == {"flac.flac"}
        with out.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == len(printed) == 15
        same = [row for row in rows if row["decision"] == "same"]
        assert {row["group"] for row in same} == {"1"}
        assert all(float(row["score"]) > 0.9 for row in same)

    def test_text_output(self, collection):
        audio, store = collection
        result = CliRunner().invoke(
            app, ["duplicates", "--store", str(store.path), "--audio-root", str(audio), "--min-cosine", "0"]
        )
        assert "keep  flac.flac  (the next best: lossy)" in result.stdout
        assert "failed  gone.flac: no such file" in result.stdout
        assert "3 same, 3 different, 9 unconfirmed" in result.stdout
        assert "groups: 1, redundant files: 2" in result.stdout

    def test_an_invalid_output_is_refused_before_the_comparison(self, collection):
        result = CliRunner().invoke(app, ["duplicates", "--store", str(collection[1].path), "--out", "pairs.xlsx"])
        assert "must end in .csv or .json" in str(result.exception)

    @pytest.mark.parametrize("name", ["file/pairs.csv", "folder.csv"])
    def test_an_output_that_cannot_be_written_is_refused_before_the_comparison(self, collection, tmp_path, name):
        (tmp_path / "file").touch()
        (tmp_path / "folder.csv").mkdir()
        result = CliRunner().invoke(
            app, ["duplicates", "--store", str(collection[1].path), "--out", str(tmp_path / name)]
        )
        assert isinstance(result.exception, ConfigError)
        assert re.search(r"--out .*: cannot be written \(.*\)\. Choose another file\.", str(result.exception))
