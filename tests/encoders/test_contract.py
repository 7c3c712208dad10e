"""What holds for every encoder."""

from pathlib import Path

import numpy as np
import pytest

from eno.encoders import ENCODERS, load_encoder
from tests.checkpoints import music, save_simple_cnn
from tests.encoders.conftest import FAMILIES

CASES = (
    "musicnn", "musicnn both", "clap", "clap pooled", "clap fused", "mert 95m", "mert 330m", "stats", "simple_cnn",
    *(f"hf {family}" for family in FAMILIES),
)  # fmt: skip


@pytest.fixture(scope="module", params=CASES)
def arguments(request, small_clap, fused_clap, small_mert, small_models, tmp_path_factory):
    name, _, variant = request.param.partition(" ")
    options = {
        "musicnn": {"checkpoint": variant or "msd"},
        "clap": {
            "model": str(fused_clap if variant == "fused" else small_clap),
            "output": "pooled" if variant == "pooled" else "projection",
        },
        "mert": {"model": str(small_mert.get(variant)), "window_s": 1.0},
        "stats": {},
        "simple_cnn": {"model": str(tmp_path_factory.getbasetemp() / "best_model.pt"), "window_s": 1.0},
        "hf": {"model": str(small_models / variant)} | ({"window_s": 1.0} if variant not in ("ast", "whisper") else {}),
    }[name]
    if name == "simple_cnn":
        save_simple_cnn(Path(options["model"]))
    return name, options


@pytest.fixture(scope="module")
def encoder(arguments):
    name, options = arguments
    return load_encoder(name, device="cpu", **options)


@pytest.fixture(scope="module")
def windows(encoder):
    return music(encoder.spec.window_samples, encoder.spec.sample_rate, count=5)


@pytest.fixture(scope="module")
def vectors(encoder, windows):
    return encoder.encode(windows)


def test_every_encoder_is_here():
    # laion needs its package: test_laion.py, which has it, tests the same.
    assert {case.partition(" ")[0] for case in CASES} == set(ENCODERS) - {"laion"}


def test_shape_and_type_are_those_of_the_spec(encoder, vectors):
    assert vectors.shape == (5, len(encoder.spec.layers), encoder.spec.dim)
    assert vectors.dtype == np.float32


def test_different_windows_have_different_vectors(vectors):
    flat = vectors.reshape(len(vectors), -1)
    distances = np.linalg.norm(flat[:, None] - flat[None], axis=2)[np.triu_indices(len(flat), 1)]
    assert distances.min() > 1e-3 * np.linalg.norm(flat, axis=1).max()


def test_alone_or_in_any_batch_a_window_has_the_same_vector(encoder, windows, vectors):
    for chosen in ([0], [3], [4, 3, 2, 1, 0, 4], [2, 2, 2]):
        again = encoder.encode(windows[chosen])
        scale = np.abs(vectors[chosen]).max()
        np.testing.assert_allclose(again, vectors[chosen], atol=1e-5 * scale)


def test_silence_clipping_and_offset_are_finite(encoder, windows):
    silence = np.zeros_like(windows[0])
    clipped = np.clip(windows[0] * 100, -1, 1)
    assert np.isfinite(encoder.encode(np.stack([silence, clipped, silence + 1, silence + 1e-9]))).all()


def test_level_matters_as_the_spec_says(encoder, windows, vectors):
    changes = [np.abs(encoder.encode(windows * gain) - vectors).max() for gain in (0.25, 2.0)]
    scale = np.abs(vectors).max()
    if encoder.spec.gain_invariant:
        assert max(changes) < 1e-3 * scale
    else:
        assert min(changes) > 1e-3 * scale


def test_no_windows_give_no_vectors(encoder):
    none = np.zeros((0, encoder.spec.window_samples), np.float32)
    assert encoder.encode(none).shape == (0, len(encoder.spec.layers), encoder.spec.dim)


@pytest.mark.parametrize("change", [-1, 1])
def test_windows_of_another_length_are_refused(encoder, change):
    with pytest.raises(ValueError, match=f"expected .b, {encoder.spec.window_samples}"):
        encoder.encode(np.zeros((1, encoder.spec.window_samples + change), np.float32))


def test_spec_brings_the_encoder_back(encoder):
    spec = encoder.spec
    again = load_encoder(spec.name, device="cpu", **spec.options, **spec.location).spec
    assert again == spec
    assert type(spec).from_dict(spec.to_dict()).fingerprint == spec.fingerprint


def test_bfloat16_is_near_and_has_the_same_identity(arguments, encoder, windows, vectors):
    name, options = arguments
    if name == "stats":
        pytest.skip("computes in NumPy")
    half = load_encoder(name, device="cpu", dtype="bfloat16", **options)
    assert half.spec == encoder.spec
    rounded = half.encode(windows)
    assert rounded.dtype == np.float32
    cosines = (rounded * vectors).sum(-1) / np.linalg.norm(rounded, axis=-1) / np.linalg.norm(vectors, axis=-1)
    assert cosines.min() > 0.99
    assert not np.array_equal(rounded, vectors)
