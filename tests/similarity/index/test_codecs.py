"""The nearest neighbours of a recording are its own copies in other formats, not other tracks in the same format."""

import numpy as np
import pytest
import soundfile

from eno.audio.reading import read_windows
from eno.audio.windows import WindowPolicy
from eno.encoders import load_encoder
from eno.similarity.index.space import METHODS, Space
from scripts.demo.variants import write_copies

RATE, TRACKS, DURATION_S = 44_100, 12, 3.3
FORMATS = ("flac", "mp3-64", "ogg", "opus", "22050hz")


def tune(number: int) -> np.ndarray:
    """Synthesise a melody over a drone and noise; pairs of tracks share a timbre [shape=(frames, 2)]."""
    timbre, melody = np.random.default_rng(number // 2), np.random.default_rng(100 + number)
    t = np.arange(round(DURATION_S * RATE)) / RATE
    harmonics = timbre.uniform(0.1, 1, 10) / np.arange(1, 11) ** timbre.uniform(0.5, 2)
    attack_s, note_s = timbre.uniform(0.005, 0.08), melody.choice([0.25, 0.35, 0.5])
    pitches = 57 + np.cumsum(melody.choice([-5, -3, -2, -1, 1, 2, 4], 64))
    pitches = 50 + (pitches - 50) % 24
    frequency = 440 * 2 ** ((pitches[(t / note_s).astype(int)] - 69) / 12)
    phase = 2 * np.pi * np.cumsum(frequency) / RATE
    since_s = t % note_s
    envelope = np.minimum(since_s / attack_s, 1) * np.exp(-3 * since_s)
    tones = envelope * sum(a * np.sin(k * phase) for k, a in enumerate(harmonics, 1))
    drone = 0.2 * np.sin(2 * np.pi * 110 * 2 ** (melody.integers(12) / 12) * t)
    noise = 0.01 * timbre.standard_normal((len(t), 2))
    audio = (tones + drone)[:, None] * np.array([1.0, 0.8]) + noise
    return (0.5 * audio / np.abs(audio).max()).astype(np.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Paths of the files [shape=(tracks, formats)]."""
    root = tmp_path_factory.mktemp("codecs")
    names = [f"{number}.flac" for number in range(TRACKS)]
    for number, name in enumerate(names):
        soundfile.write(root / name, tune(number), RATE)
    paths = [variant.path for variant in write_copies(root, names, root, kinds=FORMATS, workers=1)]
    return np.array(paths, dtype=object).reshape(TRACKS, len(FORMATS))


def embed(files, name, **options):
    """Vectors [shape=(tracks, formats, dim)]."""
    encoder = load_encoder(name, device="cpu", **options)
    shape = {"sample_rate": encoder.spec.sample_rate, "window_samples": encoder.spec.window_samples}
    windows = [read_windows(path, policy=WindowPolicy(count=1), **shape).samples for path in files.ravel()]
    return encoder.encode(np.concatenate(windows)).reshape(*files.shape, encoder.spec.dim)


@pytest.fixture(scope="module")
def musicnn(files):
    return embed(files, "musicnn")


def found_in_mixed(vectors, method, query):
    """Accuracy of finding the original of copies in one format, in a collection of mixed formats."""
    collection = vectors[np.arange(TRACKS), np.arange(TRACKS) % len(FORMATS)]
    space = Space.fit(collection, method=method)
    nearest = (space.apply(vectors[:, FORMATS.index(query)]) @ space.apply(collection).T).argmax(axis=1)
    return (nearest == np.arange(TRACKS)).mean()


@pytest.mark.parametrize("method", METHODS)
def test_the_nearest_of_all_files_is_a_copy(musicnn, method):
    vectors = musicnn.reshape(-1, musicnn.shape[-1])
    track = np.repeat(np.arange(TRACKS), len(FORMATS))
    placed = Space.fit(musicnn[:, 0], method=method).apply(vectors)  # a real collection has few copies
    cosines = placed @ placed.T
    np.fill_diagonal(cosines, -1)
    np.testing.assert_array_equal(track[cosines.argmax(axis=1)], track)


@pytest.mark.parametrize("query", FORMATS)
@pytest.mark.parametrize("method", METHODS)
def test_a_copy_finds_its_track_among_tracks_of_its_own_format(musicnn, method, query):
    # If the codec dominated, other tracks in the query's format would come first.
    assert found_in_mixed(musicnn, method, query) == 1


def test_whitening_makes_signal_statistics_robust_to_a_lowpass(files):
    # Stereo MP3 at 64 kbit/s is cut off at 11 kHz, which dominates raw signal statistics.
    vectors = embed(files, "stats", window_s=3.0)
    assert found_in_mixed(vectors, "none", "mp3-64") < 0.5
    assert found_in_mixed(vectors, "whiten", "mp3-64") > 0.9
