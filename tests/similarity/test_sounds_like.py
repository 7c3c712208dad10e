"""All kinds of queries, compared with explicitly computed cosines."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
from scipy.special import expit
from scipy.stats import gmean

from eno.audio.reading import decode
from eno.audio.windows import WindowPolicy
from eno.data.labels.encoder import LabelEncoder
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.errors import AudioError, ConfigError, FingerprintMismatch, SimilarityError, UnknownName
from eno.similarity.index.build import build_index
from eno.similarity.index.index import SimilarityIndex
from eno.similarity.metadata import TrackMetadata
from eno.similarity.query import MINUS_WEIGHT, combine
from eno.similarity.sounds_like import SoundsLike
from eno.similarity.tag_table import make_tag_table, read_tag_table, table_key, with_predictor
from eno.similarity.where import Where
from eno.tagging import VectorTagger
from tests.fakes import ProjectionEncoder
from tests.similarity.small_collection import POLICY, RATE, OwnEncoder, build

FIRST = "Low/2001 - Things We Lost/01.wav"
ANY = {"per_artist": None, "same_album": True}


@pytest.fixture(scope="module")
def encoder():
    return OwnEncoder()


@pytest.fixture(scope="module")
def collection(tmp_path_factory, encoder):
    data, store = build(tmp_path_factory.mktemp("collection"), encoder)
    return data, store, {level: build_index(store, level=level, space="none") for level in ("tracks", "windows")}


@pytest.fixture(scope="module")
def sounds(collection, encoder):
    data, store, indexes = collection
    metadata = TrackMetadata.read(store.track_ids(), data)
    return SoundsLike(indexes["tracks"], store, encoder=encoder, metadata=metadata, audio_roots=data.audio)


@pytest.fixture(scope="module")
def passages(collection, encoder, sounds):
    data, store, indexes = collection
    options = {"encoder": encoder, "metadata": sounds.tracks.metadata, "audio_roots": data.audio}
    return SoundsLike(indexes["windows"], store, **options)


@pytest.fixture(scope="module")
def unit(collection):
    """Unit vector of each track."""
    names, vectors = collection[1].matrix()
    return dict(zip(names, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), strict=True))


def _ranked(unit, query, *, without=()):
    query = query / np.linalg.norm(query)
    cosines = {name: float(vector @ query) for name, vector in unit.items() if name not in without}
    return sorted(cosines.items(), key=lambda item: -item[1])


def _same(answer, expected):
    assert [one.track_id for one in answer] == [name for name, _ in expected]
    np.testing.assert_allclose([one.score for one in answer], [score for _, score in expected], atol=2e-3)


class TestSeeds:
    def test_track(self, sounds, unit):
        _same(sounds.like(FIRST, k=23, **ANY), _ranked(unit, unit[FIRST], without=[FIRST]))
        # By default the query's own album is skipped, and there are at most two tracks per artist.
        expected, artists = [], []
        for name, score in _ranked(unit, unit[FIRST]):
            artist = sounds.tracks.metadata.row(int(sounds.tracks.metadata.rows_of([name])[0]))["artist"]
            if not name.startswith("Low/2001") and (artist is None or artists.count(artist) < 2):
                expected.append((name, score))
                artists.append(artist)
        _same(sounds.like(FIRST, k=8), expected[:8])

    def test_names_of_a_track(self, collection, sounds):
        audio = collection[0].audio
        for name in (FIRST, audio / FIRST, audio / "heap" / ".." / FIRST):
            assert sounds.find(name) == FIRST
        assert sounds.find("takk/03.WAV") == "SR/Takk/03.wav"
        with pytest.raises(SimilarityError, match=r"6 tracks match '01\.wav'\. .*\n  Grouper/Ruins/01\.wav\n"):
            sounds.find("01.wav")
        assert sounds.find("x" * 5000) is None

    def test_file_outside_the_collection(self, collection, sounds, tmp_path):
        copy = tmp_path / "copy.wav"
        shutil.copy(collection[0].audio / FIRST, copy)
        answer = sounds.like(copy, k=3, per_artist=None)
        assert answer[0].track_id == FIRST
        assert answer[0].score == pytest.approx(1, abs=1e-3)
        assert answer.notes == ()

    def test_passage(self, collection, sounds, encoder, unit):
        # Windows of 0.5 s that overlap by half, from 0.6 to 1.7 s; the last one ends with the passage.
        samples = decode(collection[0].audio / FIRST, sample_rate=RATE)
        starts = [4800, 6800, 8800, 9600]
        windows = np.stack([samples[start : start + 4000] for start in starts])
        query = sounds.seed(FIRST, from_s=0.6, to_s=1.7)
        expected = encoder.encode(windows)[:, 0].mean(axis=0)
        _same(sounds.nearest(query, k=20, **ANY), _ranked(unit, expected, without=[FIRST])[:20])

    def test_mean_and_subtraction(self, sounds, unit):
        seeds, minus = ["Grouper/Ruins/01.wav", "SR/Takk/02.wav"], ["heap/01.wav"]
        wanted = np.mean([unit[name] for name in seeds], axis=0) - MINUS_WEIGHT * unit[minus[0]]
        answer = sounds.like(*seeds, minus=minus, k=21, **ANY)
        _same(answer, _ranked(unit, wanted, without=[*seeds, *minus]))

    def test_album_and_artist(self, sounds, unit):
        ruins = [name for name in unit if "Ruins" in name]
        wanted = np.mean([unit[name] for name in ruins], axis=0)
        for query in (sounds.album("ruins"), sounds.album("release/album/ruins"), sounds.artist("GROUPER")):
            _same(sounds.nearest(query, k=21, **ANY), _ranked(unit, wanted, without=ruins))
        with pytest.raises(SimilarityError, match=r"No track has the album 'Ruin'\. Similar names: Ruins"):
            sounds.album("Ruin")

    def test_text(self, sounds, unit, encoder):
        query = sounds.text("slowcore, cold: rainy")
        _same(sounds.nearest(query, k=24, **ANY), _ranked(unit, encoder.encode_text(["slowcore, cold: rainy"])[0]))
        assert set(query.tags) == {"Slowcore", "cold"}

    def test_shared_tags_and_metadata(self, sounds):
        by_name = {one.track_id: one for one in sounds.like(FIRST, k=23, **ANY)}
        assert by_name["V/Slow Songs/01.wav"].shared == ("Slowcore", "melancholic")
        assert by_name["Grouper/Ruins/01.wav"].shared == ("melancholic",)
        assert by_name["heap/01.wav"].shared == ()
        one = by_name["SR/Takk/01.wav"]
        assert (one.artist, one.album, one.title, one.year) == ("Sigur Rós", "Takk…", "01", 2005)
        assert "start_s" not in one.to_dict()

    def test_ambiguous_album_title(self, sounds, collection):
        table = sounds.tracks.metadata.table
        both = table.set_column(table.column_names.index("album"), "album", [["Hits"] * len(table)])
        with pytest.raises(SimilarityError, match=r"6 albums are called 'hits'\. Specify one by its id: SR/Takk/"):
            SoundsLike(sounds.index, sounds.store, metadata=TrackMetadata(both)).album("hits")


class TestFilters:
    def test_filters_apply_during_the_search(self, sounds, unit):
        # The two tracks least similar to the query.
        *_, (first, _), (second, _) = _ranked(unit, unit[FIRST])
        where = f"path in ('{first}', '{second}')"
        _same(sounds.like(FIRST, k=2, where=where, **ANY), _ranked({n: unit[n] for n in (first, second)}, unit[FIRST]))

    def test_no_track_meets_the_conditions(self, sounds):
        with pytest.raises(SimilarityError, match="No indexed track meets all of these conditions"):
            sounds.like(FIRST, where=Where(years=(1900, 1901)))

    def test_fewer_results_than_requested(self, sounds):
        answer = sounds.like(FIRST, k=99, where=Where(artists=("sigur ros",)), per_artist=None)
        assert len(answer) == 3
        assert answer.notes == (
            "Found 3 of 99 requested. Filters and skipping the query's own albums excluded the rest.",
        )
        assert answer.excluded_by == ("where", "same_album")

    @pytest.mark.parametrize(
        "options", [{"k": 0}, {"per_artist": 0}, {"per_album": -1}, {"diversity": 1.1}, {"diversity": float("nan")}]
    )
    def test_numbers_out_of_range(self, sounds, options):
        with pytest.raises(ConfigError, match=f"{next(iter(options))} is"):
            sounds.like(FIRST, **options)

    def test_diversity(self, sounds, unit):
        def spread(answer):
            vectors = np.stack([unit[one.track_id] for one in answer])
            return (vectors @ vectors.T).mean()

        plain, diverse = (sounds.like(FIRST, k=6, diversity=value, **ANY) for value in (0.0, 0.8))
        assert diverse[0].track_id == plain[0].track_id
        assert spread(diverse) < spread(plain)


class TestPassages:
    def test_best_window_of_each_track(self, collection, passages):
        names, starts, vectors = collection[1].windows()
        vectors = vectors[:, 0] / np.linalg.norm(vectors[:, 0], axis=1, keepdims=True)
        own = names == FIRST
        cosines = vectors @ vectors[own].T
        expected = {}
        for row in np.argsort(-cosines.max(axis=1), kind="stable"):
            if not own[row]:
                moment = starts[own][cosines[row].argmax()]
                expected.setdefault(names[row], (names[row], starts[row], moment, cosines[row].max()))
        answer = passages.like(FIRST, k=23, **ANY)
        assert {one.track_id for one in answer} == set(expected)  # near ties may swap by rounding
        assert [one.score for one in answer] == sorted((one.score for one in answer), reverse=True)
        for one in answer:
            _, start_s, query_s, score = expected[one.track_id]
            assert one.score == pytest.approx(score, abs=2e-3)
            assert (one.start_s, one.query_s) == (pytest.approx(start_s), pytest.approx(query_s))
        assert answer[0].to_dict()["start_s"] == answer[0].start_s

    def test_a_cut_passage_is_found_at_its_position(self, collection, passages, tmp_path):
        samples = decode(collection[0].audio / FIRST, sample_rate=RATE)
        start = round(passages.index.starts_s[passages.index.rows_of(FIRST)[2]] * RATE)
        soundfile.write(tmp_path / "cut.wav", samples[start : start + 4000], RATE, subtype="FLOAT")
        best = passages.like(tmp_path / "cut.wav")[0]
        assert (best.track_id, best.start_s) == (FIRST, pytest.approx(start / RATE))
        assert best.score == pytest.approx(1, abs=1e-3)


class TestTags:
    class Head:
        takes_windows = False
        asked = 0

        def predict_proba(self, X):
            self.asked += 1
            return expit(np.asarray(X)[:, :3] / 40 + 0.5).astype(np.float32)

    @pytest.fixture
    def predictor(self, collection):
        class Parts(VectorTagger):
            specs, labels = collection[1].specs, LabelEncoder(["Slowcore"], ["cold", "rain"])
            head, calibration = self.Head(), None

        return Parts()

    @pytest.fixture
    def tagged(self, collection, sounds, encoder, predictor, tmp_path):
        table = make_tag_table(tmp_path / "tags", "state-key", collection[1], predictor)
        tags = with_predictor(table, predictor)
        return SoundsLike(sounds.index, sounds.store, encoder=encoder, metadata=sounds.tracks.metadata, tags=tags)

    def test_tracks_are_ranked_by_all_tags_together(self, collection, tagged, predictor):
        names, vectors = collection[1].matrix()
        probabilities = predictor.head.predict_proba(vectors)
        together = gmean(probabilities[:, [2, 1]], axis=1)
        answer = tagged.nearest(tagged.tags(["rain", "COLD"]), k=24, **ANY)
        assert {one.track_id: one.score for one in answer} == {
            name: pytest.approx(score, abs=1e-3) for name, score in zip(names, together, strict=True)
        }
        assert [one.score for one in answer] == sorted((one.score for one in answer), reverse=True)
        for one in answer:
            above = probabilities[names.index(one.track_id), [2, 1]] > 0.5
            assert set(one.shared) == {tag for tag, named in zip(("rain", "cold"), above, strict=True) if named}
        with pytest.raises(UnknownName, match="Did you mean 'rain'"):
            tagged.tags(["rein"])
        with pytest.raises(ConfigError, match="cannot be combined"):
            combine([tagged.tags(["rain"]), tagged.seed(FIRST)])

    def test_tags_of_a_file(self, collection, tagged, tmp_path):
        shutil.copy(collection[0].audio / FIRST, tmp_path / "copy.wav")
        of_file, of_track = tagged.seed(tmp_path / "copy.wav").tags, tagged.seed(FIRST).tags
        assert of_file == {tag: pytest.approx(sure, abs=1e-3) for tag, sure in of_track.items()}
        assert of_track

    def test_heads_that_take_windows(self, collection, predictor, tmp_path):
        predictor.head.takes_windows = True
        predictor.head.predict_proba = lambda bags: expit(bags.padded()[0].max(axis=1)[:, :3] / 40)
        table = make_tag_table(tmp_path, "a-b", collection[1], predictor)
        names, _, vectors = collection[1].windows()
        for place, name in enumerate(table.track_ids.to_pylist()):
            expected = expit(vectors[names == name, 0].max(axis=0)[:3] / 40)
            np.testing.assert_allclose(table.probabilities[:, place], expected, atol=1e-3)

    @pytest.mark.parametrize("suffix", [".npy", ".parquet"])
    @pytest.mark.parametrize("size", [0, 100])
    def test_a_damaged_table_is_made_again(self, collection, predictor, tmp_path, suffix, size):
        key = table_key(tmp_path / "model", collection[1])
        wanted = np.array(make_tag_table(tmp_path / "tags", key, collection[1], predictor).probabilities)
        os.truncate(tmp_path / "tags" / f"{key}{suffix}", size)
        assert read_tag_table(tmp_path / "tags", key) is None
        make_tag_table(tmp_path / "tags", f"{key}2", collection[1], predictor)  # which removes outdated tables
        make_tag_table(tmp_path / "tags", key, collection[1], predictor)
        np.testing.assert_array_equal(read_tag_table(tmp_path / "tags", key).probabilities, wanted)

    def test_the_table_is_cached_until_store_or_predictor_change(self, collection, predictor, tmp_path):
        store = collection[1]
        model = tmp_path / "model"
        (model / "head").mkdir(parents=True)
        (model / "head" / "weights").write_text("1")
        key = table_key(model, store)
        made = make_tag_table(tmp_path / "tags", key, store, predictor)
        kept = read_tag_table(tmp_path / "tags", table_key(model, store))
        np.testing.assert_array_equal(kept.probabilities, made.probabilities)
        assert kept.names == ("Slowcore", "cold", "rain")
        (model / "head" / "weights").write_text("2")
        assert read_tag_table(tmp_path / "tags", table_key(model, store)) is None
        make_tag_table(tmp_path / "tags", table_key(model, store), store, predictor)
        assert read_tag_table(tmp_path / "tags", key) is not None  # tables of two predictors coexist
        copy = tmp_path / "store"
        shutil.copytree(store.path, copy)
        changed = EmbeddingStore.open(copy)
        changed.append(["new"], np.zeros(1), np.ones((1, 1, 6), np.float32))
        assert read_tag_table(tmp_path / "tags", table_key(model, changed)) is None
        make_tag_table(tmp_path / "tags", table_key(model, changed), changed, predictor)
        assert len(list((tmp_path / "tags").iterdir())) == 2

    def test_tables_of_predictors_that_are_gone_are_removed(self, collection, predictor, tmp_path):
        store, folder, keys = collection[1], tmp_path / "tags", []

        def tag(name, weights):
            model = tmp_path / name
            (model / "head").mkdir(parents=True, exist_ok=True)
            (model / "head" / "weights").write_text(weights)
            keys.append(table_key(model, store))
            make_tag_table(folder, keys[-1], store, predictor, saved=model)
            return {path.stem for path in folder.glob("*.npy")} == {path.stem for path in folder.glob("*.parquet")}

        assert all([tag("a", "1"), tag("b", "2"), tag("a", "3")])
        assert {path.stem for path in folder.iterdir()} == {keys[1], keys[2]}  # the first was trained again
        shutil.rmtree(tmp_path / "b")
        assert tag("c", "4")
        assert {path.stem for path in folder.iterdir()} == {keys[2], keys[3]}
        for name in "def":
            assert tag(name, name)
        assert {path.stem for path in folder.iterdir()} == {*keys[-3:]}

    def test_files_that_another_process_writes_are_kept(self, collection, predictor, tmp_path):
        for name in (".a-b.npy.1.tmp", ".c-d.npy.2.tmp", "e-f.npy", "g-h.npy"):
            (tmp_path / name).write_bytes(b"unfinished")
        for stale in (".c-d.npy.2.tmp", "g-h.npy"):
            os.utime(tmp_path / stale, (1, 1))
        make_tag_table(tmp_path, "state-key", collection[1], predictor)
        left = {path.name for path in tmp_path.iterdir()}
        assert left == {".a-b.npy.1.tmp", "e-f.npy", "state-key.npy", "state-key.parquet"}

    def test_a_table_may_be_removed_as_soon_as_it_is_there(self, collection, predictor, tmp_path, monkeypatch):
        remove = lambda folder, key, store: [file.unlink() for file in folder.iterdir()]  # noqa: E731
        monkeypatch.setattr("eno.similarity.tag_table._remove_outdated", remove)
        table = make_tag_table(tmp_path, "a-b", collection[1], predictor)
        assert table.probabilities.shape == (3, 24)
        assert read_tag_table(tmp_path, "a-b") is None


class TestBadInput:
    def test_unknown_track(self, sounds):
        with pytest.raises(SimilarityError, match=r"Did you mean 'SR/Takk/01\.wav'"):
            sounds.like("SR/Tak/01.wav")

    def test_silence(self, sounds, tmp_path):
        soundfile.write(tmp_path / "silence.wav", np.zeros(3 * RATE), RATE)
        with pytest.raises(AudioError, match="silence has no tags and no neighbours"):
            sounds.like(tmp_path / "silence.wav")

    def test_shorter_than_a_window(self, tmp_path, collection):
        encoder = ProjectionEncoder()
        encoder.spec = type(encoder.spec)(**(encoder.spec.to_dict() | {"window_samples": 8000}))
        encoder.encode = lambda windows: ProjectionEncoder().encode(windows[:, :4000])
        store = EmbeddingStore.create(tmp_path / "store", encoder.spec, policy=POLICY)
        store.append(["a", "b"], np.zeros(2), np.random.default_rng(0).standard_normal((2, 1, 6)))
        sounds = SoundsLike(build_index(store), store, encoder=encoder)
        soundfile.write(tmp_path / "short.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 5000), RATE)
        answer = sounds.like(tmp_path / "short.wav", k=2)
        assert len(answer) == 2
        assert answer.notes == (
            "The audio is 0.62 s long and was repeated to fill the window of 1 s that projection needs.",
        )

    @pytest.mark.parametrize(
        ("span", "error", "message"),
        [
            ({"from_s": 99}, AudioError, r"is 3\.0 s long, so a passage cannot begin at 99 s"),
            ({"from_s": 1, "to_s": 1.2}, ConfigError, r"at least 0\.5 s long"),
            ({"from_s": 2, "to_s": 1}, ConfigError, r"at least 0\.5 s long"),
        ],
    )
    def test_invalid_passages(self, sounds, span, error, message):
        with pytest.raises(error, match=message):
            sounds.seed(FIRST, **span)

    def test_nothing_to_search_for(self, sounds):
        for seeds in ([], [""]):
            with pytest.raises((ConfigError, SimilarityError)):
                sounds.like(*seeds)
        with pytest.raises(ConfigError, match="text is empty"):
            sounds.text(" ")
        with pytest.raises(SimilarityError, match="cancel out, so nothing is left"):
            one = sounds.seed(FIRST)
            combine([one, type(one)(name="opposite", vectors=-one.vectors, starts_s=one.starts_s)])

    def test_wrong_or_missing_encoder(self, sounds, collection, tmp_path):
        without_encoder = SoundsLike(sounds.index, sounds.store, audio_roots=collection[0].audio)
        with pytest.raises(ConfigError, match="must be encoded with 'tests"):
            without_encoder.seed(FIRST, from_s=1)
        with pytest.raises(AudioError, match="is a folder"):
            without_encoder.like(tmp_path)
        without_encoder.encoder = OwnEncoder(seed=1)
        for ask in (lambda: without_encoder.seed(FIRST, from_s=1), lambda: without_encoder.text("rain")):
            with pytest.raises(FingerprintMismatch):
                ask()
        without_encoder.encoder = ProjectionEncoder()
        with pytest.raises(ConfigError, match="The encoder 'projection' cannot encode text"):
            without_encoder.text("sad piano with rain")

    def test_index_older_than_its_store(self, collection, tmp_path):
        shutil.copytree(collection[1].path, tmp_path / "store")
        store = EmbeddingStore.open(tmp_path / "store")
        assert SoundsLike(collection[2]["tracks"], collection[1]).notes == ()
        index = build_index(store, space="none")
        store.append(["new"], np.zeros(1), np.ones((1, 1, 6), np.float32))
        sounds = SoundsLike(index, store)
        (note,) = sounds.notes
        assert f"eno index add {tmp_path / 'store'}" in note
        assert len(sounds.like(FIRST, k=5)) == 5

    def test_truncated_index(self, collection, tmp_path):
        shutil.copytree(collection[2]["tracks"].folder, tmp_path / "index")
        for path in sorted((tmp_path / "index").iterdir()):
            whole = path.read_bytes()
            path.write_bytes(whole[: len(whole) // 2])
            with pytest.raises(SimilarityError, match="eno index build"):
                SoundsLike(SimilarityIndex.open(tmp_path / "index"), collection[1])
            path.write_bytes(whole)

    def test_removed_tracks_are_not_found(self, collection, encoder, tmp_path):
        shutil.copytree(collection[1].path, tmp_path / "store")
        store = EmbeddingStore.open(tmp_path / "store")
        index = build_index(store, space="none")
        index.live = index.live & (index.ids != "heap/01.wav")
        sounds = SoundsLike(index, store)
        assert len(sounds.like(FIRST, k=99, **ANY)) == 22
        with pytest.raises(SimilarityError, match="No track is called"):
            sounds.like("heap/01.wav")


def test_one_call_opens_everything(collection, sounds, tmp_path):
    data, store, _ = collection
    shutil.copytree(store.path, tmp_path / "store", ignore=shutil.ignore_patterns("index"))
    opened = SoundsLike.open(tmp_path / "store", data_root=data.root, space="none")
    assert opened.like(FIRST) == sounds.like(FIRST)
    assert opened.find(data.audio / FIRST) == FIRST
    assert SoundsLike.open(tmp_path / "store").like(FIRST, k=3)[0].artist is None


def test_concurrent_searches(sounds):
    names = sounds.store.track_ids() * 4
    where = Where(genres=("slowcore", "ambient"), expression="duration_s > 1")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda name: sounds.like(name, k=4, where=where, diversity=0.3), names))
    assert answers == [sounds.like(name, k=4, where=where, diversity=0.3) for name in names[:24]] * 4


def test_query_windows_follow_the_policy_of_the_store(sounds):
    assert sounds.store.policy == POLICY != WindowPolicy()


class TestPlaylist:
    def test_begins_with_the_track(self, sounds):
        answer = sounds.playlist(sounds.seed(FIRST), minutes=0.5, seed=2, same_album=True)
        assert answer[0].track_id == FIRST
        assert len({one.track_id for one in answer}) == len(answer)
        assert answer.duration_s == pytest.approx(30, abs=3)
        assert answer == sounds.playlist(sounds.seed(FIRST), minutes=0.5, seed=2, same_album=True)

    def test_other_queries_begin_with_the_nearest_track(self, sounds):
        query = sounds.artist("grouper")
        answer = sounds.playlist(query, minutes=0.2, where=Where(artists=("low",)))
        assert answer[0].track_id == sounds.nearest(query, where=Where(artists=("low",)))[0].track_id
        assert {one.artist for one in answer} == {"Low"}

    def test_too_few_tracks(self, sounds):
        answer = sounds.playlist(sounds.seed(FIRST), minutes=10)
        assert answer.notes == (
            f"The playlist lasts {answer.duration_s / 60:.1f} of 10 minutes: no other track may be played.",
        )

    def test_invalid_playlists(self, sounds, passages):
        with pytest.raises(ConfigError, match="without --windows"):
            passages.playlist(passages.seed(FIRST), minutes=1)
        with pytest.raises(ConfigError, match="more than 0"):
            sounds.playlist(sounds.seed(FIRST), minutes=0)
        bare = SoundsLike(sounds.index, sounds.store)
        with pytest.raises(SimilarityError, match=r"durations of the tracks are unknown\. Run 'eno scan'"):
            bare.playlist(bare.seed(FIRST), minutes=1)
