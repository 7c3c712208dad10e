import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eno.cnn.augment import Augment, pitch_shift, random_crop, spec_augment, time_stretch
from eno.cnn.features import AudioFeatureExtractor
from eno.errors import ConfigError

RATE = 16_000


def log_mel(samples):
    return AudioFeatureExtractor(RATE).from_waveform(samples).numpy()


def sine(frequency_hz, duration_s=1.0):
    return 0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(round(duration_s * RATE)) / RATE)


def peak(features):
    return int(features[0].mean(axis=1).argmax())


@pytest.mark.parametrize("frequency_hz", [440, 1000, 3000])
@pytest.mark.parametrize("semitones", [-7, -3, 2, 5])
def test_a_shifted_sine_peaks_in_the_same_band_as_the_higher_sine(frequency_hz, semitones):
    shifted = pitch_shift(log_mel(sine(frequency_hz)), semitones, sample_rate=RATE)
    expected = log_mel(sine(frequency_hz * 2 ** (semitones / 12)))
    assert abs(peak(shifted) - peak(expected)) <= 1
    assert peak(shifted) != peak(log_mel(sine(frequency_hz)))


def test_zero_shift_and_stretch_are_the_identity():
    features = np.random.default_rng(0).standard_normal((1, 64, 50)).astype(np.float32)
    np.testing.assert_allclose(pitch_shift(features, 0.0, sample_rate=RATE), features, atol=1e-5)
    np.testing.assert_array_equal(time_stretch(features, 1.0), features)


@given(frames=st.integers(2, 400), rate=st.floats(0.5, 1.5))
def test_stretching_interpolates_linearly(frames, rate):
    ramp = np.arange(frames, dtype=np.float32)[None, None]
    stretched = time_stretch(ramp, rate)
    assert stretched.shape == (1, 1, max(1, round(frames / rate)))
    expected = np.minimum(np.arange(stretched.shape[-1]) * rate, frames - 1)
    np.testing.assert_allclose(stretched[0, 0], expected, atol=1e-3)


def test_stretching_by_a_rate_above_1_raises_the_tempo():
    clicks = np.zeros(4 * RATE)
    clicks[:: RATE // 4] = 1.0  # every 250 ms
    fast = np.zeros(4 * RATE)
    fast[:: RATE // 5] = 1.0  # every 200 ms

    def period(features):
        level = features[0].mean(axis=0) - features.mean()
        correlation = np.correlate(level, level, "full")[len(level) :]
        return 4 + correlation[4:12].argmax()

    assert period(time_stretch(log_mel(clicks), 1.25)) == period(log_mel(fast))


def test_masks_replace_bands_and_frames_by_the_mean():
    features = np.random.default_rng(0).normal(-5, 2, (1, 128, 300)).astype(np.float32)
    rng = np.random.default_rng(1)
    bands, frames = [], []
    for _ in range(300):
        masked = spec_augment(features, rng, mel_masks=1, mel_width=16, time_masks=1, time_share=0.1)
        hidden = masked != features
        of_bands, of_frames = hidden.all(axis=(0, 2)), hidden.all(axis=(0, 1))
        assert np.array_equal(hidden[0], of_bands[:, None] | of_frames[None, :])
        np.testing.assert_allclose(masked[hidden], features.mean(), rtol=1e-5)
        for mask, widths in ((of_bands, bands), (of_frames, frames)):
            assert (np.diff(np.flatnonzero(mask)) == 1).all()
            widths.append(mask.sum())
    # Widths are uniform from 0 to the maximum.
    assert (min(bands), max(bands), min(frames), max(frames)) == (0, 16, 0, 30)
    assert np.mean(bands) == pytest.approx(8, abs=1)
    assert np.mean(frames) == pytest.approx(15, abs=2)


def test_the_original_is_not_modified():
    features = np.zeros((1, 32, 40), np.float32)
    features[0, 5] = 1
    before = features.copy()
    Augment(time_stretch=0.3, pitch_shift=4, spec_augment=True)(features, np.random.default_rng(0), sample_rate=RATE)
    np.testing.assert_array_equal(features, before)


@given(frames=st.integers(1, 200), stretch=st.floats(0.01, 0.5), seed=st.integers(0, 1000))
def test_frames_needed_suffice_for_the_fastest_stretch(frames, stretch, seed):
    augment = Augment(time_stretch=stretch)
    features = np.zeros((1, 8, augment.frames_needed(frames)), np.float32)
    assert augment(features, np.random.default_rng(seed), sample_rate=RATE, frames=frames).shape == (1, 8, frames)


def test_crops_start_at_any_frame():
    features = np.arange(10, dtype=np.float32)[None, None]
    rng = np.random.default_rng(0)
    assert {int(random_crop(features, 4, rng)[0, 0, 0]) for _ in range(200)} == set(range(7))
    np.testing.assert_array_equal(random_crop(features, 13, rng)[0, 0], [*range(10), 0, 1, 2])


def test_results_depend_on_the_seed():
    features = np.random.default_rng(0).standard_normal((1, 32, 60)).astype(np.float32)
    augment = Augment(time_stretch=0.2, pitch_shift=3, spec_augment=True)
    first, again, other = (augment(features, np.random.default_rng(seed), sample_rate=RATE) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)


@pytest.mark.parametrize("options", [{"time_stretch": 0.9}, {"pitch_shift": -1}])
def test_settings_out_of_range(options):
    with pytest.raises(ConfigError, match=f"{next(iter(options))} is"):
        Augment(**options)
