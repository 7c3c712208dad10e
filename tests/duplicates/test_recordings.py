"""Which recordings count as the same."""

import numpy as np
import pytest
import soxr
from scipy.ndimage import gaussian_filter1d
from scipy.signal import butter, sosfilt

from eno.duplicates.recordings import SAMPLE_RATE, Recording, compare

SECONDS = 14


def notes(seed: int, *, score: int = 0, jitter_s: float = 0.0) -> np.ndarray:
    """Synthesise plucked notes: `score` determines pitches and onsets, `seed` the performance."""
    rng, touch = np.random.default_rng([score, 3]), np.random.default_rng([seed, 5])
    samples = np.zeros(SECONDS * SAMPLE_RATE)
    for _ in range(5 * SECONDS):
        onset_s, pitch = rng.uniform(0, SECONDS - 1), 110 * 2 ** (rng.integers(36) / 12)
        start = max(0, round((onset_s + jitter_s * touch.standard_normal()) * SAMPLE_RATE))
        t = np.arange(min(SAMPLE_RATE, len(samples) - start)) / SAMPLE_RATE
        tone = sum(np.sin(2 * np.pi * pitch * k * t) / k for k in range(1, 8) if pitch * k < 3900)
        samples[start : start + len(t)] += np.exp(-6 * t) * tone
    noise = 0.003 * touch.standard_normal(len(samples))
    return (samples / np.abs(samples).max() + noise).astype(np.float32)


def drone(seed: int, *, depth: float) -> np.ndarray:
    """Synthesise five tones, each of which swells slowly on its own."""
    rng = np.random.default_rng([seed, 7])
    t = np.arange(SECONDS * SAMPLE_RATE) / SAMPLE_RATE
    samples = 0.001 * rng.standard_normal(len(t))
    for k in (2, 3, 4, 6, 9):
        swell = gaussian_filter1d(rng.standard_normal(10 * SECONDS), 6)
        samples += (1 + depth * np.interp(t, np.arange(len(swell)) / 10, swell / swell.std())) * np.sin(
            2 * np.pi * 110 * k * t
        )
    return (samples / 10).astype(np.float32)


def likeness(first: np.ndarray, second: np.ndarray):
    return compare(Recording(first.astype(np.float32)), Recording(second.astype(np.float32)))


ORIGINAL = notes(0)


def quantised(samples, step=0.01):
    """Add signal-dependent noise 30 dB below the music, as a codec does."""
    return np.round(samples / step) * step


def resampled(samples):
    return soxr.resample(soxr.resample(samples, SAMPLE_RATE, 11_025), 11_025, SAMPLE_RATE)


def equalised(samples):
    return sosfilt(butter(1, 800, fs=SAMPLE_RATE, output="sos"), samples)


def padded(samples):
    return np.pad(samples, (12_345, 40_000))


@pytest.mark.parametrize(
    ("change", "offset_s"),
    [
        (lambda samples: samples, 0),
        (lambda samples: -0.1 * samples, 0),
        (quantised, 0),
        (resampled, 0),
        (equalised, 0),
        (padded, -12_345 / SAMPLE_RATE),
        (lambda samples: samples[20_007:], 20_007 / SAMPLE_RATE),
        (lambda samples: quantised(0.2 * samples[20_007:-9_000], 0.002), 20_007 / SAMPLE_RATE),
    ],
    ids=["identical", "inverted and quieter", "quantised", "resampled", "equalised", "padded", "trimmed", "all"],
)
def test_a_copy_is_found_with_its_offset(change, offset_s):
    found = likeness(ORIGINAL, change(ORIGINAL))
    assert found.same is True, found
    assert found.offset_s == pytest.approx(offset_s, abs=3 / SAMPLE_RATE)  # filters add a small delay
    assert found.score > 0.9
    turned = likeness(change(ORIGINAL), ORIGINAL)
    assert turned.same is True
    assert turned.offset_s == pytest.approx(-offset_s, abs=3 / SAMPLE_RATE)


def test_silence_does_not_count_as_overlap():
    other = notes(1, score=1)
    assert likeness(padded(ORIGINAL), padded(other)).same is False
    ends = likeness(ORIGINAL, padded(ORIGINAL[: 10 * SAMPLE_RATE]))
    assert ends.same is True
    assert ends.overlap == pytest.approx(10 / 14, abs=0.1)


@pytest.mark.parametrize("jitter_s", [0.003, 0.03])
def test_another_take_is_not_the_same(jitter_s):
    found = likeness(ORIGINAL, notes(1, jitter_s=jitter_s))
    assert found.same is False, found
    assert found.coherence < 0.8


def test_a_remix_is_not_the_same():
    half = len(ORIGINAL) // 2
    voice = notes(2, score=2)
    voice[:half] = 0
    found = likeness(ORIGINAL, ORIGINAL + voice)
    assert found.same is False, found


def test_another_speed_is_not_the_same():
    assert likeness(ORIGINAL, soxr.resample(ORIGINAL, 100, 103)).same is False


def test_a_short_excerpt_is_not_the_same():
    assert likeness(ORIGINAL, ORIGINAL[: 5 * SAMPLE_RATE]).same is False


def test_drones_are_distinguished_by_their_swells():
    one, other = drone(0, depth=0.4), drone(1, depth=0.4)
    assert likeness(one, other).same is not True
    assert likeness(one, quantised(one, 0.003)[16_000:]).same is True


def test_an_unvarying_tone_is_undecided():
    tone = drone(0, depth=0.0)
    found = likeness(tone, np.roll(drone(1, depth=0.0), 5000))
    assert found.same is None
    assert "levels vary by less than" in found.reason


@pytest.mark.parametrize("samples", [np.zeros(80_000), np.zeros(100), 0.1 * ORIGINAL[:4000]])
def test_almost_silent_audio_is_undecided(samples):
    for pair in ((samples, ORIGINAL), (ORIGINAL, samples), (samples, samples)):
        found = likeness(*pair)
        assert found.same is None
        assert "not silent" in found.reason
