"""The classical descriptors against librosa, and on sounds with known properties."""

import sys

import librosa
import numpy as np
import pytest

from eno.encoders.stats import Stats
from eno.errors import ConfigError, MissingExtra
from tests.checkpoints import music

RATE, SAMPLES = 22_050, 220_500


@pytest.fixture(scope="module")
def encoder():
    return Stats()


def clicks(bpm: float) -> np.ndarray:
    random = np.random.default_rng(0)
    wave = np.zeros(SAMPLES + 1000, np.float32)
    for beat in range(int(10 * bpm / 60)):
        start = round(beat * 60 / bpm * RATE)
        wave[start : start + 500] = 0.5 * random.standard_normal(500)
    return wave[:SAMPLES]


def test_values_equal_those_of_librosa(encoder):
    window = music(SAMPLES, RATE)
    mfcc = librosa.feature.mfcc(y=window[0], sr=RATE, n_mfcc=20, n_fft=2048, hop_length=512)
    chroma = librosa.feature.chroma_stft(y=window[0], sr=RATE, tuning=0.0, n_fft=2048, hop_length=512)
    contrast = librosa.feature.spectral_contrast(y=window[0], sr=RATE, n_fft=2048, hop_length=512)
    found = encoder.encode(window)[0, 0]
    # librosa's mfcc(y=…) cuts off 80 dB below the loudest moment, which this sound stays within.
    for track, place in ((mfcc, slice(0, 20)), (chroma, slice(20, 32)), (contrast, slice(32, 39))):
        expected = [track.mean(axis=1), track.std(axis=1), np.abs(np.diff(track, axis=1)).mean(axis=1)]
        for i, values in enumerate(expected):
            np.testing.assert_allclose(found[39 * i :][place], values, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("bpm", [70, 90, 120, 150, 180])
def test_tempo_of_clicks(encoder, bpm):
    octaves, clarity = encoder.encode(clicks(bpm)[None])[0, 0, -2:]
    nearest = min(abs(np.log2(bpm / 120) + shift - octaves) for shift in (-1, 0, 1))
    assert nearest < 0.04  # 3 %, in the octave where one may beat time
    assert clarity > 0.5


def test_tempo_of_a_steady_sound_has_low_strength(encoder):
    noise = 0.1 * np.random.default_rng(0).standard_normal((1, SAMPLES)).astype(np.float32)
    assert encoder.encode(noise)[0, 0, -1] < 0.2
    assert not encoder.encode(np.zeros((1, SAMPLES), np.float32))[0, 0, -2:].any()


def test_transposition_rotates_chroma(encoder):
    time = np.arange(SAMPLES) / RATE
    tones = np.stack([np.sin(2 * np.pi * 440 * 2 ** (i / 12) * time) for i in range(4)]).astype(np.float32)
    chroma = encoder.encode(tones)[:, 0, 20:32]
    assert chroma.argmax(axis=1).tolist() == [9, 10, 11, 0]  # from A, counted from C


def test_length_of_windows():
    assert Stats(window_s=5.0).spec.window_samples == 110_250
    with pytest.raises(ConfigError, match=r"window_s = 0\.5: expected 2 to 60"):
        Stats(window_s=0.5)


def test_without_librosa(monkeypatch):
    monkeypatch.setitem(sys.modules, "librosa", None)
    with pytest.raises(MissingExtra, match=r"package librosa, .*pip install librosa, .*pip install '\.\[stats\]'"):
        Stats()
