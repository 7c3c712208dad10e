"""Random walks, and M3U files."""

import os
from urllib.parse import unquote_to_bytes

import numpy as np
import pyarrow as pa
import pytest

from eno.files import printable
from eno.similarity.groups import Groups
from eno.similarity.playlist import ARTIST_GAP, BREADTH, random_walk, write_m3u
from eno.similarity.reranking import GroupLimit
from eno.similarity.search_result import Neighbour

TRACKS = 400


@pytest.fixture(scope="module")
def vectors():
    drawn = np.random.default_rng(0).standard_normal((TRACKS, 8))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def durations():
    return np.random.default_rng(1).uniform(60, 400, TRACKS)


@pytest.fixture(scope="module")
def artists():
    return np.random.default_rng(2).integers(0, 30, TRACKS)


@pytest.fixture
def take_walk(vectors, durations, artists):
    def nearest(row, n, allowed):
        rows = np.flatnonzero(allowed)
        scores = vectors[rows] @ vectors[row]
        order = np.argsort(-scores)[:n]
        return scores[order], rows[order]

    def take_walk(minutes=60, **options):
        defaults = {"durations_s": durations, "artists": Groups.of_values(pa.array(artists)), "seed": 0}
        options = defaults | {"allowed": np.ones(TRACKS, bool)} | options
        return random_walk(nearest, 0, length_s=60 * minutes, **options)

    return take_walk


class TestWalk:
    def test_each_step_goes_to_a_near_neighbour(self, take_walk, vectors, artists, durations):
        played = [row for row, _ in take_walk(120)]
        assert len(set(played)) == len(played) > 20
        for place in range(1, len(played)):
            before = played[:place]
            open_rows = [row for row in range(TRACKS) if row not in before]
            open_rows = [row for row in open_rows if artists[row] not in artists[before[-ARTIST_GAP:]]]
            cosines = vectors[open_rows] @ vectors[before[-1]]
            assert played[place] in np.array(open_rows)[np.argsort(-cosines)[:BREADTH]]

    @pytest.mark.parametrize("minutes", [10, 33, 60, 200])
    def test_ends_near_the_wanted_length(self, take_walk, durations, minutes):
        played = [row for row, _ in take_walk(minutes)]
        # The last track is the best of eight, of 60 to 400 s, and misses the wanted end by at most half of the longest.
        assert abs(durations[played].sum() - 60 * minutes) < 200

    def test_the_seed_determines_the_walk(self, take_walk):
        assert take_walk(seed=3) == take_walk(seed=3)
        assert len({tuple(take_walk(seed=seed)) for seed in range(4)}) == 4

    def test_a_single_artist(self, take_walk):
        played = take_walk(40, artists=Groups.of_values(pa.array(["one"] * TRACKS)))
        assert len(played) > 5

    def test_limits_and_allowed_tracks(self, take_walk, artists, durations):
        short = durations < 120
        limit = GroupLimit(Groups.of_values(pa.array(artists)), 1)
        played = [row for row, _ in take_walk(9999, allowed=short, limits=[limit])]
        # It ends early, after one track by each artist who has a short one.
        assert sorted(artists[played]) == sorted({*artists[short], artists[0]})
        unknown = np.where(np.arange(TRACKS) % 2, np.nan, durations)
        assert all(row % 2 == 0 for row, _ in take_walk(60, durations_s=unknown))


class TestM3U:
    def _entries(self, path):
        lines = path.read_text("utf-8").splitlines()
        assert lines[0] == "#EXTM3U"
        assert all(line.startswith("#EXTINF:") for line in lines[1::2])
        return lines[1::2], lines[2::2]

    def test_relative_and_absolute(self, tmp_path):
        audio = tmp_path / "audio"
        (audio / "Sigur Rós").mkdir(parents=True)
        (audio / "Sigur Rós" / "a.ogg").touch()
        (audio / "#1.ogg").touch()
        tracks = [
            Neighbour(track_id="Sigur Rós/a.ogg", score=1, artist="Sigur Rós", title="Svefn-\nG", duration_s=61.7),
            Neighbour(track_id="#1.ogg", score=1),
            Neighbour(track_id="gone.ogg", score=1),
        ]
        assert write_m3u(tmp_path / "lists" / "l.m3u8", tracks, audio) == ["gone.ogg"]
        titles, places = self._entries(tmp_path / "lists" / "l.m3u8")
        assert titles == ["#EXTINF:62,Sigur Rós - Svefn- G", "#EXTINF:-1,#1", "#EXTINF:-1,gone"]
        assert places[0] == "../audio/Sigur Rós/a.ogg"
        assert all((tmp_path / "lists" / place).exists() for place in places[:2])
        write_m3u(audio / "l.m3u8", tracks, audio)
        assert self._entries(audio / "l.m3u8")[1] == ["Sigur Rós/a.ogg", "./#1.ogg", "gone.ogg"]
        write_m3u(audio / "l.m3u8", tracks, audio, absolute=True)
        assert self._entries(audio / "l.m3u8")[1][0] == str(audio / "Sigur Rós/a.ogg")

    @pytest.mark.parametrize("name", [b"caf\xe9.ogg", b"two\nlines.ogg"])
    def test_names_that_cannot_be_a_line_of_utf8(self, tmp_path, name):
        file = tmp_path / os.fsdecode(name)
        file.touch()
        track = Neighbour(track_id=printable(os.fsdecode(name)), score=1, title=printable(os.fsdecode(name)))
        assert write_m3u(tmp_path / "l.m3u8", [track], tmp_path) == []
        (place,) = self._entries(tmp_path / "l.m3u8")[1]
        assert unquote_to_bytes(place.removeprefix("file://")) == os.fsencode(file)
