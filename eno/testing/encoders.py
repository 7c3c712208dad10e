"""The contract of encoders."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np

from eno.encoders import Encoder, load_encoder
from eno.testing.expect import expect, expect_close, expect_error


def check_encoder(encoder: Encoder) -> None:
    """Run every check of `ENCODER_CHECKS` on an encoder in full precision.

    ``load_encoder(spec.name, **spec.options, **spec.location)`` must load it again. An AssertionError describes a
    failure.

    Examples
    --------
    >>> from eno.encoders import load_encoder
    >>> check_encoder(load_encoder("stats", window_s=2.0))
    """
    for check in ENCODER_CHECKS:
        check(encoder)


def chords(samples: int, sample_rate: int, seed: int = 0, count: int = 1) -> np.ndarray:
    """Return windows of decaying chords with partials and noise [shape=(count, samples), dtype=float32].

    Their levels and spectra are in the range of music.
    """
    random = np.random.default_rng(seed)
    time = np.arange(samples) / sample_rate
    windows = []
    for _ in range(count):
        wave = 0.003 * random.standard_normal(samples)
        for pitch in random.uniform(60, 1500, size=5):
            envelope = np.exp(-((time * random.uniform(0.5, 3)) % 1.0) * random.uniform(1, 6))
            wave += sum(0.1 / k * np.sin(2 * np.pi * pitch * k * time) for k in (1, 2, 3, 5)) * envelope
        windows.append(wave)
    return np.stack(windows).astype(np.float32)


def returns_vectors_of_its_spec(encoder: Encoder) -> None:
    """Vectors are float32, have the shape of the spec, and differ between windows."""
    vectors = encoder.encode(_windows(encoder))
    expected = (5, len(encoder.spec.layers), encoder.spec.dim)
    expect(vectors.shape == expected, f"5 windows have vectors of shape {vectors.shape}, expected {expected}.")
    expect(vectors.dtype == np.float32, f"vectors have the type {vectors.dtype}, expected float32.")
    flat = vectors.reshape(len(vectors), -1)
    distances = np.linalg.norm(flat[:, None] - flat[None], axis=2)[np.triu_indices(len(flat), 1)]
    expect(distances.min() > 1e-3 * np.linalg.norm(flat, axis=1).max(), "different windows have the same vector.")


def does_not_depend_on_the_batch(encoder: Encoder) -> None:
    """A window has the same vector alone and in any batch."""
    windows = _windows(encoder)
    vectors = encoder.encode(windows)
    for chosen in ([0], [3], [4, 3, 2, 1, 0, 4], [2, 2, 2]):
        tolerance = 1e-5 * float(np.abs(vectors[chosen]).max())
        allowed = tolerance + 1e-7 * np.abs(vectors[chosen])
        difference = np.abs(encoder.encode(windows[chosen]) - vectors[chosen])
        expect((difference <= allowed).all(), f"vectors of windows {chosen} depend on the batch they are in.")


def takes_silence_clipping_and_offset(encoder: Encoder) -> None:
    """Vectors of extreme windows are finite."""
    window = _windows(encoder)[0]
    silence = np.zeros_like(window)
    extremes = np.stack([silence, np.clip(window * 100, -1, 1), silence + 1, silence + 1e-9])
    finite = np.isfinite(encoder.encode(extremes)).all(axis=(1, 2)).tolist()
    expect(all(finite), f"vectors of silence, clipping, a constant, and near silence must be finite: {finite}.")


def depends_on_level_as_its_spec_says(encoder: Encoder) -> None:
    """`EncoderSpec.gain_invariant` is true if and only if louder and softer copies have the same vectors."""
    windows = _windows(encoder)
    vectors = encoder.encode(windows)
    changes = [float(np.abs(encoder.encode(windows * gain) - vectors).max()) for gain in (0.25, 2.0)]
    limit = 1e-3 * float(np.abs(vectors).max())
    if encoder.spec.gain_invariant:
        expect(max(changes) < limit, f"gain changes vectors by {max(changes):.3g}, but spec.gain_invariant is true.")
    else:
        expect(min(changes) > limit, f"gain changes vectors by {min(changes):.3g}, but spec.gain_invariant is false.")


def takes_an_empty_batch(encoder: Encoder) -> None:
    """An empty batch of windows has an empty array of vectors."""
    none = encoder.encode(np.zeros((0, encoder.spec.window_samples), np.float32))
    expect_close(none, np.zeros((0, len(encoder.spec.layers), encoder.spec.dim)), 0, "vectors of an empty batch")


def refuses_windows_of_another_length(encoder: Encoder) -> None:
    """Windows of another length raise the ValueError of `EncoderSpec.check_windows`."""
    for change in (-1, 1):
        windows = np.zeros((1, encoder.spec.window_samples + change), np.float32)
        expect_error(
            lambda windows=windows: encoder.encode(windows),  # type: ignore[misc]
            ValueError,
            f"a window of {windows.shape[1]} instead of {encoder.spec.window_samples} samples",
        )


def is_restored_from_its_spec(encoder: Encoder) -> None:
    """The spec survives JSON, and loads the same encoder."""
    spec = encoder.spec
    copy = type(spec).from_dict(json.loads(json.dumps(spec.to_dict())))
    expect(copy.fingerprint == spec.fingerprint, "the spec has another fingerprint after to_dict, JSON and from_dict.")
    again = load_encoder(spec.name, device="cpu", **spec.options, **spec.location).spec
    expect(again == spec, f"load_encoder(spec.name, **spec.options, **spec.location) has the spec {again}, not {spec}.")


ENCODER_CHECKS: tuple[Callable[[Encoder], None], ...] = (
    returns_vectors_of_its_spec,
    does_not_depend_on_the_batch,
    takes_silence_clipping_and_offset,
    depends_on_level_as_its_spec_says,
    takes_an_empty_batch,
    refuses_windows_of_another_length,
    is_restored_from_its_spec,
)
"""Every check of an encoder; each takes what `check_encoder` takes."""


def _windows(encoder: Encoder) -> np.ndarray:
    return chords(encoder.spec.window_samples, encoder.spec.sample_rate, count=5)
