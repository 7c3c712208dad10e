"""What counts as silence, and that windows without sound do not count."""

import numpy as np
import pytest
import soundfile

from eno.audio.reading import read_windows
from eno.audio.silence import has_sound
from eno.audio.windows import WindowPolicy
from eno.errors import AudioError
from tests.audio_files import music

RATE = 16_000
POLICY = WindowPolicy(count=4)


def tones(seconds):
    return music(seconds, RATE, channels=1)[:, 0]


def noise(level_db, seconds=3):
    return 10 ** (level_db / 20) * np.random.default_rng(0).standard_normal(seconds * RATE).astype(np.float32)


def click(samples):
    samples = samples.copy()
    samples[len(samples) // 2] = 1
    return samples


def dithered(samples):
    random = np.random.default_rng(1)
    return np.round(samples * 2**15 + random.random(len(samples)) - random.random(len(samples))) / 2**15


SILENT = {
    "zeros": np.zeros(3 * RATE),
    "an offset": np.full(3 * RATE, 0.3),
    "dither of 16 bits": dithered(np.zeros(3 * RATE)),
    "an offset and dither": dithered(np.full(3 * RATE, 0.1)),
    "noise at -90 dB": noise(-90),
    "a click": click(np.zeros(3 * RATE)),
    "half a second": np.zeros(RATE // 2),
}
SOUNDING = {
    "music": tones(3),
    "quiet music": tones(3) * 10 ** (-50 / 20),
    "noise at -70 dB": noise(-70),
    "one short note": np.pad(tones(0.25), (RATE, 2 * RATE)),
    "ticks": click(np.zeros(RATE // 4)).tolist() * 12,
    "half a second": tones(0.5),
    "a bass note": 0.01 * np.sin(np.arange(3 * RATE) * 2 * np.pi * 30 / RATE),
}


@pytest.mark.parametrize("name", SILENT)
def test_silence(name):
    assert not has_sound(np.asarray(SILENT[name], np.float32), RATE)


@pytest.mark.parametrize("name", SOUNDING)
def test_sound(name):
    assert has_sound(np.asarray(SOUNDING[name], np.float32), RATE)


def test_windows_without_sound_are_left_out(tmp_path):
    samples = np.concatenate([np.zeros(9 * RATE), tones(3)])
    soundfile.write(tmp_path / "late.wav", samples, RATE, subtype="FLOAT")
    windows = read_windows(tmp_path / "late.wav", sample_rate=RATE, window_samples=3 * RATE, policy=POLICY)
    assert windows.starts_s.tolist() == [9]
    np.testing.assert_allclose(windows.samples, [samples[9 * RATE :]], atol=1e-4)


@pytest.mark.parametrize("seconds", [1, 12])
def test_silent_files_are_refused(tmp_path, seconds):
    soundfile.write(tmp_path / "silent.flac", np.zeros((seconds * RATE, 2)), RATE)
    with pytest.raises(AudioError, match=r"silent\.flac: its .* silent, and silence has no tags and no neighbours"):
        read_windows(tmp_path / "silent.flac", sample_rate=RATE, window_samples=3 * RATE, policy=POLICY)
