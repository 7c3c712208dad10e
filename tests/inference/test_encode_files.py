"""Tagging many files, tagging in many threads, and tagging of embeddings."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile

from eno import EnoPredictor, LabelEncoder, WindowPolicy, read_windows
from eno.encoders.musicnn.encoder import MusiCNN, tag_labels
from eno.errors import AudioError
from eno.inference.encode_files import encode_files
from eno.models import IdentityHead, MLPHead, create_head
from eno.models.bags import Bags
from tests.audio_files import music
from tests.fakes import ProjectionEncoder

LABELS = LabelEncoder(["shoegaze"], ["melancholic", "noisy"])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Six songs of different lengths, and two unreadable files."""
    folder = tmp_path_factory.mktemp("songs")
    paths = []
    for seed in range(6):
        paths.append(folder / f"{seed}.flac")
        soundfile.write(paths[-1], music(2 + 2 * seed, 16_000, seed=seed), 16_000)
    (folder / "broken.flac").write_bytes(b"fLaC" + bytes(100))
    return [paths[0], folder / "broken.flac", *paths[1:], folder / "missing.mp3"]


def train_predictor(encoder, head, *, windows=False):
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((120, encoder.spec.dim)).astype(np.float32), rng.integers(0, 2, (40, 3))
    bags = Bags(X, np.full(40, 3))
    X = bags if windows else bags.means()
    return EnoPredictor(encoder, head.fit(X[:30], Y[:30], X[30:], Y[30:]), LABELS, policy=WindowPolicy(count=4))


@pytest.fixture(scope="module", params=[False, True], ids=["means", "windows"])
def predictor(request):
    options = {"pooling": "attention"} if request.param else {}
    return train_predictor(ProjectionEncoder(), MLPHead(hidden=(8,), max_epochs=2, **options), windows=request.param)


@pytest.mark.parametrize("batch_windows", [1, 7, 1000])
def test_many_files_equal_single_files_and_keep_their_order(predictor, files, batch_windows):
    found = list(predictor.predict_many(map(str, files), batch_windows=batch_windows, threads=3))
    assert [one.path for one in found] == files
    assert [type(one.error) for one in found] == [AudioError if i in (1, 7) else type(None) for i in range(8)]
    assert found[1].named == {"genres": [], "descriptors": []} and found[1].tags == []
    assert "no such file" in found[7].error.reason
    for one in found:
        if one.error is None:
            alone = predictor.predict_proba(one.path)
            np.testing.assert_allclose(one.probabilities, alone, atol=1e-6)
            assert one.named == LABELS.decode(one.probabilities, 0.5)
            assert one.tags == predictor.name_tags(one.probabilities)
    assert next(predictor.predict_many(files, threshold=0)).named == LABELS.decode(np.ones(3))


class Recorder(ProjectionEncoder):
    """Remembers how many windows it was given at a time."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def encode(self, windows):
        self.sizes.append(len(windows))
        return super().encode(windows)


def test_a_file_with_many_windows_is_encoded_in_blocks(files, tmp_path):
    long = tmp_path / "long.flac"
    soundfile.write(long, music(90, 8000, seed=9), 8000)
    head, policy = (
        train_predictor(ProjectionEncoder(), MLPHead(hidden=(8,), max_epochs=2)).head,
        WindowPolicy(hop_s=0.5),
    )
    encoder = Recorder()
    predictor = EnoPredictor(encoder, head, LABELS, policy=policy)
    windows = read_windows(long, sample_rate=8000, window_samples=4000, policy=policy).samples
    assert len(windows) == 180
    whole = ProjectionEncoder().encode(windows)
    np.testing.assert_allclose(predictor.embed(long), whole.mean(axis=(0, 1)), rtol=1e-5)
    assert encoder.sizes == [64, 64, 52]
    names = [files[0], long, files[1], tmp_path / "missing.flac", long, files[2]]
    found = list(predictor.predict_many(names, threads=2))
    assert [one.path for one in found] == names and max(encoder.sizes) <= 128
    assert [one.error is None for one in found] == [True, True, False, False, True, True]
    for one in (found[0], found[1], found[4], found[5]):
        np.testing.assert_allclose(one.probabilities, predictor.predict_proba(one.path), atol=1e-6)


def test_a_file_without_many_windows_is_encoded_at_once(files):
    policy = WindowPolicy(count=4)
    encoder = Recorder()
    predictor = EnoPredictor(encoder, IdentityHead(), LabelEncoder(["a"], list("bcdef")), policy=policy)
    windows = read_windows(files[0], sample_rate=8000, window_samples=4000, policy=policy).samples
    np.testing.assert_array_equal(predictor.embed(files[0]), ProjectionEncoder().encode(windows).mean(axis=0)[0])
    assert encoder.sizes == [4]


def test_a_long_silent_file_fails_alone(files, tmp_path):
    silent = tmp_path / "silent.flac"
    soundfile.write(silent, np.zeros(8000 * 40), 8000)
    head = train_predictor(ProjectionEncoder(), MLPHead(hidden=(8,), max_epochs=2)).head
    predictor = EnoPredictor(ProjectionEncoder(), head, LABELS, policy=WindowPolicy(hop_s=0.5))
    found = list(predictor.predict_many([files[0], silent, files[2]]))
    assert [one.error is None for one in found] == [True, False, True]
    assert "its 80 windows are silent" in found[1].error.reason


def test_paths_are_read_lazily_and_stopping_early_leaves_no_threads():
    taken = []
    before = set(threading.enumerate())  # a generator of another test may not have been collected yet

    def names():
        for i in range(1000):
            taken.append(i)
            yield str(i)

    found = encode_files(names(), read=lambda path: [np.full((2, 4), int(str(path)))], encode_long=len,
                         encoders=[np.negative], batch_windows=6, threads=2)  # fmt: skip
    first = next(found)
    assert [(str(path), vectors.tolist()) for path, (vectors,) in first] == [(str(i), [[-i] * 4] * 2) for i in range(3)]
    assert len(taken) < 10
    found.close()
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("decode")]
    with pytest.raises(ValueError, match="at least 1"):
        next(encode_files([], read=len, encode_long=len, encoders=[len], batch_windows=0))


def test_other_exceptions_propagate():
    with pytest.raises(ZeroDivisionError):
        list(encode_files(["a"], read=lambda path: 1 / 0, encode_long=len, encoders=[len], batch_windows=4))


def test_tags_of_embeddings_equal_those_of_files(predictor, files):
    songs = [path for path in files if path.stem.isdigit()]
    if predictor.head.takes_windows:
        windows = [predictor._encode(path)[0][:, 0] for path in songs]
        X = Bags(np.concatenate(windows), np.array([len(one) for one in windows]))
    else:
        X = np.stack([predictor.embed(path) for path in songs])
    assert predictor.predict_embeddings(X) == [predictor.predict(path) for path in songs]
    limit = float(np.median(predictor.predict_vectors(X)))
    assert predictor.predict_embeddings(X, limit) == [predictor.predict(path, limit) for path in songs]


@pytest.mark.parametrize("head", ["mlp", "lightgbm", "linear", "knn", "blend"])
def test_threads_share_a_predictor(files, head):
    shared = train_predictor(ProjectionEncoder(), create_head(head, **{"mlp": {"max_epochs": 2}}.get(head, {})))
    check_in_threads(shared, [path for path in files if path.stem.isdigit()])


def test_threads_share_an_encoder_that_has_not_been_used_yet(files):
    encoder = MusiCNN(checkpoint="mtt", output="tags", batch_size=1)
    check_in_threads(EnoPredictor(encoder, IdentityHead(), tag_labels("mtt"), policy=WindowPolicy(count=2)), files[2:3])


def check_in_threads(shared, songs):
    together = threading.Barrier(8)

    def work(_):
        together.wait()
        return np.stack([shared.predict_proba(path) for path in songs])

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(8)))
    expected = np.stack([shared.predict_proba(path) for path in songs])
    for one in found:
        np.testing.assert_array_equal(one, expected)
