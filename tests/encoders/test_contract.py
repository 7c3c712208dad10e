"""The contract of every encoder (`eno.testing.check_encoder`), and its half precision."""

from pathlib import Path

import numpy as np
import pytest

from eno.encoders import ENCODERS, load_encoder
from eno.testing import ENCODER_CHECKS
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


def test_every_encoder_is_covered():
    # laion needs its package: test_laion.py, which has it, tests the same.
    assert {case.partition(" ")[0] for case in CASES} == set(ENCODERS) - {"laion"}


@pytest.mark.parametrize("check", ENCODER_CHECKS)
def test_contract(check, encoder):
    check(encoder)


def test_bfloat16_is_close_and_has_the_same_identity(arguments, encoder):
    name, options = arguments
    if name == "stats":
        pytest.skip("computes in NumPy")
    windows = music(encoder.spec.window_samples, encoder.spec.sample_rate, count=5)
    vectors = encoder.encode(windows)
    half = load_encoder(name, device="cpu", dtype="bfloat16", **options)
    assert half.spec == encoder.spec
    rounded = half.encode(windows)
    assert rounded.dtype == np.float32
    cosines = (rounded * vectors).sum(-1) / np.linalg.norm(rounded, axis=-1) / np.linalg.norm(vectors, axis=-1)
    assert cosines.min() > 0.99
    assert not np.array_equal(rounded, vectors)
